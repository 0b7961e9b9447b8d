//! An Alertmanager configuration as Alertmanager's clients read it.
//!
//! `amtool` parses what `/api/v2/status` shows, strictly: an unknown key ends it. So what goes beyond Alertmanager is left
//! out here, and so are settings that newer versions have and that say nothing, since clients are often older.

use super::AlertmanagerConfig;
use crate::config::receivers::OUTBOX;
use crate::config::section::Value as _;
use crate::config::show::Shown;

/// How the outbox is written where a port must stand.
pub(in crate::config) const OUTBOX_ADDRESS: &str = "outbox:0";

/// Stands for the addresses of webhooks, which are secrets.
const HIDDEN_ADDRESS: &str = "http://secret.invalid/";

type Entries = Vec<(String, Shown)>;

impl AlertmanagerConfig {
    /// Writes the section as YAML for Alertmanager's clients, secrets hidden.
    #[must_use]
    pub fn to_client_yaml(&self) -> String {
        let mut shown = self.show();
        if let Shown::Map(sections) = &mut shown {
            let usual = match super::AlertmanagerGlobal::default().show() {
                Shown::Map(entries) => entries,
                _ => Entries::new(),
            };
            for (key, section) in sections {
                match (key.as_str(), section) {
                    ("global", Shown::Map(global)) => {
                        global.retain(|entry| !entry.0.ends_with("_url") || !usual.contains(entry));
                        name_outbox(global);
                    }
                    ("route", Shown::Map(route)) => plain_route(route),
                    ("receivers", Shown::List(receivers)) => maps(receivers).for_each(plain_receiver),
                    _ => {}
                }
            }
        }
        shown.to_yaml()
    }
}

fn maps(list: &mut [Shown]) -> impl Iterator<Item = &mut Entries> {
    list.iter_mut().filter_map(|item| match item {
        Shown::Map(entries) => Some(entries),
        _ => None,
    })
}

fn plain_route(route: &mut Entries) {
    route.retain(|(key, _)| key != "escalate");
    for (key, value) in route {
        if let ("routes", Shown::List(children)) = (key.as_str(), value) {
            maps(children).for_each(plain_route);
        }
    }
}

fn plain_receiver(receiver: &mut Entries) {
    for (key, value) in receiver {
        let Shown::List(integrations) = value else { continue };
        for integration in maps(integrations) {
            match key.as_str() {
                "email_configs" => {
                    integration.retain(|(key, value)| key != "max_connections" && !(key == "threading" && is_off(value)));
                    name_outbox(integration);
                }
                "webhook_configs" => hide_url(integration),
                _ => {}
            }
        }
    }
}

/// Clients before Alertmanager 0.26 want an address where later ones know that it is a secret.
fn hide_url(webhook: &mut Entries) {
    for (key, value) in webhook {
        if key == "url" {
            *value = Shown::Text(HIDDEN_ADDRESS.to_owned());
        }
    }
}

/// Returns whether a section is not switched on.
fn is_off(section: &Shown) -> bool {
    !matches!(section, Shown::Map(entries) if entries.iter().any(|(key, _)| key == "enabled"))
}

fn name_outbox(entries: &mut Entries) {
    for (key, value) in entries {
        if key.ends_with("smarthost") && matches!(value, Shown::Text(text) if text == OUTBOX) {
            *value = Shown::Text(OUTBOX_ADDRESS.to_owned());
        }
    }
}
