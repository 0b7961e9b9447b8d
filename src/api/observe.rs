//! Turns pictures into events: looks at what the parts publish, compares with the look before, and tells live dashboards and
//! the list "What changed" about the differences.
//!
//! One look a second. The comparison is a plain function of two looks; the task around it only waits.

use super::events::Change;
use super::state::ApiState;
use crate::alerting::history::RECORDS_MAX;
use crate::model::silence::SilenceState;
use crate::model::target::TargetHealth;
use crate::template::library::query_escape;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const PAUSE: Duration = Duration::from_secs(1);

/// A target as people are told of it.
#[derive(Clone, Debug, PartialEq)]
struct SeenTarget {
    health: TargetHealth,
    error: String,
    job: String,
    instance: String,
}

/// An alert as people are told of it.
#[derive(Clone, Debug, PartialEq)]
struct SeenAlert {
    /// The state's word.
    state: &'static str,
    instance: Option<String>,
    fingerprint: u64,
}

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq)]
struct Look {
    /// By job and URL.
    targets: BTreeMap<(String, String), SeenTarget>,
    /// By alert name and labels.
    alerts: BTreeMap<(String, String), SeenAlert>,
    /// By id: last change, state, who and why.
    silences: BTreeMap<String, (i64, SilenceState, String)>,
    /// By file: why it is refused.
    refused: BTreeMap<String, (u32, String)>,
    /// By file: its version in force.
    files: BTreeMap<String, Option<u64>>,
    /// By record: when it last changed, where it stands, receiver and subject.
    notifications: BTreeMap<u64, (i64, String)>,
    /// How many old notifications were removed, as far as this was told.
    removed_notifications: u64,
    /// The state's word; empty where ZooKeeper is not configured.
    zookeeper: &'static str,
    /// Since when it is so.
    zookeeper_since_ms: i64,
    /// By znode of the configuration: why it is refused.
    refused_config: BTreeMap<String, String>,
    /// What this member does, and who leads.
    standing: (&'static str, String),
    reload_failed: bool,
    /// By id: title, and version or why it cannot be shown.
    dashboards: BTreeMap<String, (String, String)>,
}

impl Look {
    fn at(api: &ApiState, now_ms: i64) -> Self {
        let mut look = Self { reload_failed: api.reload_failed(), ..Self::default() };
        let cluster = (api.views.cluster)();
        if cluster.configured {
            look.zookeeper = cluster.status.state.as_str();
            look.zookeeper_since_ms = cluster.status.since_ms;
            look.standing = (cluster.standing.role.as_str(), cluster.standing.leader.clone());
        }
        for znode in &api.overlay().znodes {
            if let Some(error) = &znode.refused {
                look.refused_config.insert(znode.path.clone(), error.to_string());
            }
        }
        if let Some(dashboards) = &api.views.dashboards {
            for entry in &dashboards.catalogue().entries {
                let state = entry.text.as_ref().map_or_else(ToString::to_string, |_| entry.version.clone());
                look.dashboards.insert(entry.id.clone(), (entry.title.clone(), state));
            }
        }
        if let Some(scrape) = &api.views.scrape {
            for target in &scrape.view().active {
                let key = (target.pool.clone(), target.url.clone());
                let label = |name: &str, fallback: &str| target.labels.get(name).unwrap_or(fallback).to_owned();
                let (job, instance) = (label("job", &target.pool), label("instance", &target.url));
                let seen = SeenTarget { health: target.health, error: target.last_error.clone(), job, instance };
                look.targets.insert(key, seen);
            }
        }
        if let Some(rules) = &api.views.rules {
            let view = rules.view();
            for rule in view.groups.iter().flat_map(|group| group.rules.iter()) {
                for alert in rule.alerting.iter().flat_map(|alerting| &alerting.alerts) {
                    let seen = SeenAlert {
                        state: alert.state.as_str(),
                        instance: alert.labels.get("instance").map(str::to_owned),
                        fingerprint: alert.labels.fingerprint(),
                    };
                    look.alerts.insert((rule.name.clone(), alert.labels.to_string()), seen);
                }
            }
            for file in &view.refused {
                look.refused.insert(file.origin.to_string(), (file.line, file.reason.clone()));
            }
            for file in &view.files {
                look.files.insert(file.origin.to_string(), file.active_version);
            }
        }
        if let Some(alerting) = &api.views.alerting {
            let view = alerting.view();
            look.removed_notifications = view.removed_told;
            for silence in &view.silences {
                let text = format!("by {}: {}", silence.created_by, silence.comment);
                look.silences.insert(silence.id.clone(), (silence.updated_at_ms, silence.state_at(now_ms), text));
            }
            for record in view.history.iter().take(64) {
                let text = format!("{} {}", record.receiver, record.subject);
                look.notifications.insert(record.id, (record.updated_at_ms, text.trim().to_owned()));
            }
        }
        look
    }
}

/// One difference: its kind, and the line for "What changed" where it is worth one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Difference {
    kind: &'static str,
    text: Option<String>,
    link: String,
}

fn difference(kind: &'static str, text: Option<String>, link: &str) -> Difference {
    Difference { kind, text, link: link.to_owned() }
}

fn compare(old: &Look, new: &Look) -> Vec<Difference> {
    let mut found = Vec::new();
    targets(old, new, &mut found);
    alerts(old, new, &mut found);
    silences(old, new, &mut found);
    rules(old, new, &mut found);
    if old.reload_failed != new.reload_failed {
        // What is taken again is told by the change of the configuration.
        let refused = "the configuration was refused, in whole or in part: what held before goes on";
        found.push(difference("config", new.reload_failed.then(|| refused.to_owned()), "/status/configuration"));
    }
    for (path, error) in &new.refused_config {
        if old.refused_config.get(path) != Some(error) {
            let first = error.lines().next().unwrap_or_default();
            let text = format!("the configuration in ZooKeeper was refused: {first}");
            found.push(difference("config", Some(text), "/status/configuration"));
        }
    }
    for path in old.refused_config.keys().filter(|path| !new.refused_config.contains_key(*path)) {
        let text = format!("the configuration in ZooKeeper is right again: {path}");
        found.push(difference("config", Some(text), "/status/configuration"));
    }
    dashboards(old, new, &mut found);
    if old.notifications != new.notifications {
        found.push(difference("notification", None, "/notifications"));
    }
    if new.removed_notifications > old.removed_notifications {
        let count = new.removed_notifications - old.removed_notifications;
        let text = format!("{count} old notifications were removed from history and outbox: they keep the newest {RECORDS_MAX}");
        found.push(difference("notification", Some(text), "/notifications"));
    }
    if old.standing != new.standing && !new.standing.0.is_empty() {
        let (role, leader) = &new.standing;
        let text = match *role {
            "leader" => Some("this server tells people".to_owned()),
            "acting" => Some("this server tells people without ZooKeeper".to_owned()),
            "standby" if !leader.is_empty() => Some(format!("{leader} tells people")),
            _ => None,
        };
        found.push(difference("zookeeper", text, "/zookeeper"));
    }
    if old.zookeeper != new.zookeeper {
        // On its way from one to the other is no news.
        let settled = matches!(new.zookeeper, "live" | "away" | "disconnected" | "auth_failed");
        let text = settled.then(|| format!("ZooKeeper is {}", new.zookeeper.replace('_', " ")));
        found.push(difference("zookeeper", text, "/zookeeper"));
    } else if old.zookeeper_since_ms != new.zookeeper_since_ms {
        // Between two looks it was something else.
        let text = (new.zookeeper == "live").then(|| "ZooKeeper was gone for a moment and is live again".to_owned());
        found.push(difference("zookeeper", text, "/zookeeper"));
    }
    found
}

/// A part of a path of the dashboard.
fn part(text: &str) -> String {
    query_escape(text).replace('+', "%20")
}

/// Returns what went wrong without the address, which stands before it: of `Get "URL": dial tcp A: connect: connection refused` the end.
fn plain(error: &str) -> &str {
    if error.starts_with("Get \"") { error.rsplit(": ").next().unwrap_or(error) } else { error }
}

fn targets(old: &Look, new: &Look, found: &mut Vec<Difference>) {
    for (key, target) in &new.targets {
        let before = old.targets.get(key).map(|seen| seen.health);
        if before == Some(target.health) {
            continue;
        }
        let SeenTarget { job, instance, error, .. } = target;
        let text = match (before, target.health) {
            (_, TargetHealth::Down) => Some(format!("{instance} ({job}) went down: {}", plain(error))),
            (Some(TargetHealth::Down), TargetHealth::Up) => Some(format!("{instance} ({job}) is up again")),
            _ => None,
        };
        found.push(difference("target", text, &format!("/targets/{}/{}", part(job), part(instance))));
    }
    if old.targets.keys().any(|key| !new.targets.contains_key(key)) {
        found.push(difference("target", None, "/targets"));
    }
}

fn alerts(old: &Look, new: &Look, found: &mut Vec<Difference>) {
    let told = |what: &str, (name, labels): &(String, String), seen: &SeenAlert| {
        let text = match &seen.instance {
            Some(instance) => format!("{name} {what} on {instance}"),
            None if labels.matches('=').count() > 1 => format!("{name} {what}: {labels}"),
            None => format!("{name} {what}"),
        };
        difference("alert", (seen.state == "firing").then_some(text), &format!("/alerts/{:016x}", seen.fingerprint))
    };
    for (key, seen) in new.alerts.iter().filter(|(key, seen)| old.alerts.get(*key) != Some(*seen)) {
        found.push(told("fires", key, seen));
    }
    for (key, seen) in old.alerts.iter().filter(|(key, _)| !new.alerts.contains_key(*key)) {
        found.push(told("is over", key, seen));
    }
}

fn silences(old: &Look, new: &Look, found: &mut Vec<Difference>) {
    for (id, (updated_ms, state, about)) in &new.silences {
        let text = match old.silences.get(id) {
            None => Some(format!("silence made {about}")),
            Some((_, before, _)) if before != state && *state == SilenceState::Expired => {
                Some(format!("silence ended, made {about}"))
            }
            Some((before_ms, before, _)) if before_ms != updated_ms || before != state => None,
            Some(_) => continue,
        };
        found.push(difference("silence", text, "/silences"));
    }
    if old.silences.keys().any(|id| !new.silences.contains_key(id)) {
        found.push(difference("silence", None, "/silences"));
    }
}

fn rules(old: &Look, new: &Look, found: &mut Vec<Difference>) {
    for (file, (line, reason)) in &new.refused {
        if old.refused.get(file).is_none_or(|(_, before)| before != reason) {
            let first = reason.lines().next().unwrap_or("");
            found.push(difference("rule", Some(format!("{file} was refused, line {line}: {first}")), "/rules"));
        }
    }
    for (file, version) in &new.files {
        match old.files.get(file) {
            Some(before) if before == version => {}
            Some(_) => found.push(difference("rule", Some(format!("{file} changed")), "/rules")),
            None => found.push(difference("rule", Some(format!("{file} was added")), "/rules")),
        }
    }
    for file in old.files.keys().filter(|file| !new.files.contains_key(*file)) {
        found.push(difference("rule", Some(format!("{file} was removed")), "/rules"));
    }
}

fn dashboards(old: &Look, new: &Look, found: &mut Vec<Difference>) {
    for (id, now @ (title, _)) in &new.dashboards {
        let what = match old.dashboards.get(id) {
            Some(before) if before == now => continue,
            Some(_) => "changed",
            None => "was added",
        };
        found.push(difference("config", Some(format!("dashboard {title} {what}")), &format!("/dashboards/{id}")));
    }
    for (_, (title, _)) in old.dashboards.iter().filter(|(id, _)| !new.dashboards.contains_key(*id)) {
        found.push(difference("config", Some(format!("dashboard {title} was removed")), "/dashboards"));
    }
}

fn publish(api: &ApiState, now_ms: i64, difference: Difference) {
    let at = super::json::rfc3339(Some(now_ms));
    api.events.publish(difference.kind, &json!({"at": at, "text": difference.text}));
    let Some(text) = difference.text else { return };
    if let Some(history) = api.views.history.clone() {
        let json = json!({"text": text, "link": difference.link}).to_string();
        drop(api.env.tasks.blocking(move || {
            if let Err(error) = history.append(difference.kind, &json, false) {
                tracing::warn!(%error, "the event history cannot be written");
            }
        }));
    }
    api.events.note(Change { at_ms: now_ms, kind: difference.kind, text, link: difference.link });
}

/// The kinds of changes, for those that come back from the history.
const KINDS: [&str; 7] = ["target", "alert", "silence", "rule", "notification", "config", "zookeeper"];

/// Brings back what changed in the last day, from before this start.
async fn remember(api: &ApiState) {
    let Some(history) = api.views.history.clone() else { return };
    let since_ms = api.env.clock.now_ms() - 86_400_000;
    let read =
        api.env.tasks.blocking(move || history.read_since(since_ms, 200, |event| KINDS.contains(&event.kind.as_str()))).await;
    let Ok(Ok(events)) = read else {
        tracing::warn!("the event history cannot be read");
        return;
    };
    for event in events {
        let data: serde_json::Value = serde_json::from_str(&event.json).unwrap_or_default();
        let Some(kind) = KINDS.into_iter().find(|kind| *kind == event.kind) else { continue };
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        api.events.note(Change { at_ms: event.at_ms, kind, text: text("text"), link: text("link") });
    }
}

/// Looks until `shutdown` says true.
pub async fn observe(api: ApiState, mut shutdown: watch::Receiver<bool>) {
    let mut config = api.config.clone();
    remember(&api).await;
    let mut before = Look::at(&api, api.env.clock.now_ms());
    loop {
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = api.env.clock.sleep(PAUSE) => {}
        }
        let now_ms = api.env.clock.now_ms();
        let now = Look::at(&api, now_ms);
        for difference in compare(&before, &now) {
            publish(&api, now_ms, difference);
        }
        before = now;
        if config.has_changed().unwrap_or(false) {
            drop(Arc::clone(&config.borrow_and_update()));
            publish(&api, now_ms, difference("config", Some("the configuration changed".to_owned()), "/status/configuration"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(old: &Look, new: &Look) -> Vec<(&'static str, Option<String>)> {
        compare(old, new).into_iter().map(|difference| (difference.kind, difference.text)).collect()
    }

    #[test]
    fn a_session_that_was_lost_between_two_looks_is_told() {
        let old = Look { zookeeper: "live", zookeeper_since_ms: 1, ..Look::default() };
        assert_eq!(texts(&old, &old.clone()), []);
        let back = Look { zookeeper_since_ms: 2, ..old.clone() };
        assert_eq!(texts(&old, &back), [("zookeeper", Some("ZooKeeper was gone for a moment and is live again".to_owned()))]);
        let away = Look { zookeeper: "away", zookeeper_since_ms: 3, ..old.clone() };
        assert_eq!(texts(&old, &away), [("zookeeper", Some("ZooKeeper is away".to_owned()))]);
    }

    #[test]
    fn tells_what_became_different() {
        let mut old = Look::default();
        let target = |health, error: &str| SeenTarget {
            health,
            error: error.to_owned(),
            job: "node".to_owned(),
            instance: "db 2".to_owned(),
        };
        let alert = |state, instance: Option<&str>| SeenAlert { state, instance: instance.map(str::to_owned), fingerprint: 10 };
        old.targets.insert(("node".to_owned(), "http://a".to_owned()), target(TargetHealth::Up, ""));
        let mut new = old.clone();
        assert_eq!(texts(&old, &new), []);
        new.targets.insert(
            ("node".to_owned(), "http://a".to_owned()),
            target(TargetHealth::Down, "Get \"http://a\": dial tcp a: connect: connection refused"),
        );
        new.alerts.insert(("Down".to_owned(), "{}".to_owned()), alert("pending", None));
        let down = Some("db 2 (node) went down: connection refused".to_owned());
        assert_eq!(compare(&old, &new)[0].link, "/targets/node/db%202");
        assert_eq!(texts(&old, &new), [("target", down), ("alert", None)]);
        old = new.clone();
        new.alerts.insert(("Down".to_owned(), "{}".to_owned()), alert("firing", None));
        assert_eq!(texts(&old, &new), [("alert", Some("Down fires".to_owned()))]);
        let here = Look { alerts: [(("Down".to_owned(), "{}".to_owned()), alert("firing", Some("db2")))].into(), ..old.clone() };
        assert_eq!(compare(&old, &here)[0].link, "/alerts/000000000000000a");
        assert_eq!(texts(&old, &here), [("alert", Some("Down fires on db2".to_owned()))]);
        assert_eq!(texts(&new, &Look { alerts: BTreeMap::new(), ..new.clone() }), [("alert", Some("Down is over".to_owned()))]);
        old = new.clone();
        new.silences.insert("1".to_owned(), (1, SilenceState::Active, "by li: x".to_owned()));
        new.refused.insert("a.yml".to_owned(), (3, "bad\nworse".to_owned()));
        new.reload_failed = true;
        new.refused_config.insert("/w/config".to_owned(), "/w/config:1:1: web may not be set".to_owned());
        let made = Some("silence made by li: x".to_owned());
        let refused = Some("a.yml was refused, line 3: bad".to_owned());
        let config = Some("the configuration was refused, in whole or in part: what held before goes on".to_owned());
        let znode = Some("the configuration in ZooKeeper was refused: /w/config:1:1: web may not be set".to_owned());
        assert_eq!(texts(&old, &new), [("silence", made), ("rule", refused), ("config", config), ("config", znode)]);
        assert_eq!(texts(&new, &Look { reload_failed: false, ..new.clone() }), [("config", None)]);
        let mended = Some("the configuration in ZooKeeper is right again: /w/config".to_owned());
        assert_eq!(texts(&new, &Look { refused_config: BTreeMap::new(), ..new.clone() }), [("config", mended)]);
    }
}
