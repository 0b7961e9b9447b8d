//! Which texts of an Alertmanager configuration are templates, and where they stand.
//!
//! Alertmanager learns that a template is broken when it is about to tell somebody. Here they are listed when the
//! configuration is read, so that whoever knows templates can refuse them with their places.

use crate::config::error::ConfigError;
use crate::config::place::TextPlace;
use crate::config::section::{Section, Value};
use crate::config::show::Shown;
use crate::config::yaml::Node;

/// Keys of integrations whose texts Alertmanager takes as they are.
const PLAIN: &[&str] = &[
    "alert_source_token",
    "api_key",
    "api_secret",
    "api_url",
    "app_token",
    "app_url",
    "auth_identity",
    "auth_password",
    "auth_secret",
    "auth_username",
    "avatar_url",
    "bot_token",
    "hello",
    "http_config",
    "mrkdwn_in",
    "parse_mode",
    "sigv4",
    "smarthost",
    "threading",
    "tls_config",
    "token",
    "token_id",
    "user_key",
    "webhook_url",
];

/// Keys of integrations whose templates are secrets.
const SECRET: &[&str] = &["routing_key", "service_key", "url"];

/// A text that is executed before use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplatedText {
    /// Which one, in words.
    pub what: String,
    /// The template.
    pub text: String,
    /// Whether nothing of it may be shown.
    pub is_secret: bool,
    /// The file that it stands in.
    pub file: String,
    /// Where.
    pub place: TextPlace,
}

impl TemplatedText {
    /// Makes an error at a byte of the text. Of a secret, only the place is told.
    #[must_use]
    pub fn error(&self, at: Option<usize>, reason: &str) -> ConfigError {
        let spot = at.map_or(self.place.spot, |at| self.place.of(&self.text, at));
        let reason = if self.is_secret { "not a valid template (it is a secret and not shown)" } else { reason };
        ConfigError::at(spot, format!("{}: {reason}", self.what)).in_file(&self.file)
    }
}

/// All templates of a section, in the order of the file. Texts without `{{` are left out: they stand for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplatedTexts(pub Vec<TemplatedText>);

impl Value for TemplatedTexts {
    fn read(&mut self, _: &Node) -> Result<(), ConfigError> {
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Nothing
    }
}

impl Section for TemplatedTexts {
    fn take(&mut self, _: &str, _: &Node) -> Result<bool, ConfigError> {
        Ok(false)
    }

    /// Lists the templates of the section `node`.
    fn check(&mut self, node: &Node) -> Result<(), ConfigError> {
        self.0.clear();
        if let Some(from) = node.get("global").and_then(|global| global.get("smtp_from")) {
            self.collect("smtp_from", from, false)?;
        }
        if let Some(route) = node.get("route") {
            self.collect_route(route)?;
        }
        for receiver in node.get("receivers").map_or(Ok(&[][..]), Node::items)? {
            let name = receiver.get("name").map_or(Ok(""), Node::text)?;
            for (kind, list) in receiver.entries()? {
                let kind = kind.text()?;
                if !kind.ends_with("_configs") {
                    continue;
                }
                for (place, integration) in list.items()?.iter().enumerate() {
                    let what = format!("receiver {name:?}, {kind}[{place}]");
                    for (key, value) in integration.entries()? {
                        let key = key.text()?;
                        if !PLAIN.contains(&key) && !key.ends_with("_file") {
                            self.collect(&format!("{what}.{key}"), value, SECRET.contains(&key))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<(String, Shown)> {
        Vec::new()
    }
}

impl TemplatedTexts {
    fn collect_route(&mut self, route: &Node) -> Result<(), ConfigError> {
        if let Some(labels) = route.get("labels") {
            self.collect("route, labels", labels, false)?;
        }
        for child in route.get("routes").map_or(Ok(&[][..]), Node::items)? {
            self.collect_route(child)?;
        }
        Ok(())
    }

    /// Adds a text, or all texts of a list or a map.
    fn collect(&mut self, what: &str, node: &Node, is_secret: bool) -> Result<(), ConfigError> {
        if node.is_map() {
            for (key, value) in node.entries()? {
                self.collect(&format!("{what}.{}", key.text()?), value, is_secret)?;
            }
            return Ok(());
        }
        if !node.is_scalar() {
            for (place, item) in node.items()?.iter().enumerate() {
                self.collect(&format!("{what}[{place}]"), item, is_secret)?;
            }
            return Ok(());
        }
        let text = node.text()?;
        if text.contains("{{") {
            let (what, text, file) = (what.to_owned(), text.to_owned(), node.source.file.clone());
            self.0.push(TemplatedText { what, text, is_secret, file, place: node.place() });
        }
        Ok(())
    }
}
