//! Values that only receivers have.

use crate::config::alertmanager::clients::OUTBOX_ADDRESS;
use crate::config::error::ConfigError;
use crate::config::section::Value;
use crate::config::show::Shown;
use crate::config::yaml::Node;

/// `host:port`, or `outbox`: the folder of mails that the dashboard shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smarthost {
    /// Without brackets.
    pub host: String,
    /// A number or the name of a service.
    pub port: String,
}

/// The smarthost that keeps mails as files.
pub const OUTBOX: &str = "outbox";

impl Smarthost {
    /// Returns whether nothing was set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.host.is_empty() && self.port.is_empty()
    }

    /// Returns whether mails are kept as files instead of being sent.
    #[must_use]
    pub fn is_outbox(&self) -> bool {
        self.host == OUTBOX && self.port.is_empty()
    }
}

impl Value for Smarthost {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        if text == OUTBOX || text == OUTBOX_ADDRESS {
            *self = Self { host: OUTBOX.to_owned(), port: String::new() };
            return Ok(());
        }
        if text.is_empty() {
            *self = Self::default();
            return Ok(());
        }
        let missing = || node.error(format!("address {text}: missing port in address"));
        let (host, port) = text.rsplit_once(':').ok_or_else(missing)?;
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']').ok_or_else(missing)?,
            None if host.contains(':') => return Err(node.error(format!("address {text}: too many colons in address"))),
            None => host,
        };
        if port.is_empty() {
            return Err(node.error(format!("address {text:?}: port cannot be empty")));
        }
        *self = Self { host: host.to_owned(), port: port.to_owned() };
        Ok(())
    }

    fn show(&self) -> Shown {
        if self.port.is_empty() {
            return Shown::Text(self.host.clone());
        }
        let brackets = self.host.contains(':');
        Shown::Text(if brackets { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) })
    }
}

/// Any YAML, kept as it is; for Jira's fields and webhook payloads.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyValue(pub(crate) Shown);

impl Default for AnyValue {
    fn default() -> Self {
        Self(Shown::Nothing)
    }
}

impl AnyValue {
    /// Returns the value as JSON; what its texts become is up to `text`.
    pub fn to_json(&self, text: &mut dyn FnMut(&str) -> serde_json::Value) -> serde_json::Value {
        to_json(&self.0, text)
    }
}

fn to_json(shown: &Shown, text: &mut dyn FnMut(&str) -> serde_json::Value) -> serde_json::Value {
    match shown {
        Shown::Nothing => serde_json::Value::Null,
        // A word that is no number and no truth value is a text that had no quotes.
        Shown::Word(word) => serde_json::from_str(word).unwrap_or_else(|_| text(word)),
        Shown::Text(template) => text(template),
        Shown::List(list) => list.iter().map(|one| to_json(one, text)).collect(),
        Shown::Map(map) => map.iter().map(|(name, one)| (name.clone(), to_json(one, text))).collect(),
    }
}

impl Value for AnyValue {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        self.0 = shown(node)?;
        Ok(())
    }

    fn show(&self) -> Shown {
        self.0.clone()
    }
}

fn shown(node: &Node) -> Result<Shown, ConfigError> {
    if node.is_map() {
        let entries = node.entries()?.iter().map(|(key, value)| Ok((key.text()?.to_owned(), shown(value)?)));
        return Ok(Shown::Map(entries.collect::<Result<_, ConfigError>>()?));
    }
    if node.is_scalar() {
        return Ok(match node.plain() {
            Some(_) if node.is_null() => Shown::Nothing,
            Some(word) => Shown::Word(word.to_owned()),
            None => Shown::Text(node.text()?.to_owned()),
        });
    }
    Ok(Shown::List(node.items()?.iter().map(shown).collect::<Result<_, _>>()?))
}
