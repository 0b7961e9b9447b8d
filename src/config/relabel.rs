//! Relabelling rules in a configuration file.

use super::error::ConfigError;
use super::section::{Value, section};
use super::show::Shown;
use super::values::Pattern;
use super::yaml::Node;
use crate::model::relabel::{RelabelAction, RelabelConfig};

section! {
    /// The keys of a rule.
    pub struct RelabelKeys "relabeling rule" {
        /// See [`RelabelConfig`].
        source_labels: Vec<String> = RelabelConfig::default().source_labels,
        /// See [`RelabelConfig`].
        separator: String = RelabelConfig::default().separator,
        /// See [`RelabelConfig`].
        regex: Pattern = Pattern(RelabelConfig::default().regex),
        /// See [`RelabelConfig`].
        modulus: u64 = 0,
        /// See [`RelabelConfig`].
        target_label: String = String::new(),
        /// See [`RelabelConfig`].
        replacement: String = RelabelConfig::default().replacement,
        /// See [`RelabelConfig`].
        action: Action = Action::default(),
    }
}

/// The action; any case, as Prometheus reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action(pub RelabelAction);

impl Value for Action {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        if text.is_empty() {
            return Err(node.error("relabel action cannot be empty"));
        }
        let known = RelabelAction::ALL.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(text));
        self.0 = known.ok_or_else(|| node.error(format!("unknown relabel action {text:?}")))?;
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.as_str().to_owned())
    }
}

impl Value for RelabelConfig {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut keys = RelabelKeys::default();
        keys.read(node)?;
        *self = Self {
            source_labels: keys.source_labels,
            separator: keys.separator,
            regex: keys.regex.0,
            modulus: keys.modulus,
            target_label: keys.target_label,
            replacement: keys.replacement,
            action: keys.action.0,
        };
        check(self, node)
    }

    fn show(&self) -> Shown {
        let keys = RelabelKeys {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone(),
            regex: Pattern(self.regex.clone()),
            modulus: self.modulus,
            target_label: self.target_label.clone(),
            replacement: self.replacement.clone(),
            action: Action(self.action),
        };
        keys.show()
    }

    fn null_item() -> Option<String> {
        Some("empty or null relabeling rule".to_owned())
    }
}

/// Judges a rule as Prometheus's `relabel.Config.Validate` does.
fn check(rule: &RelabelConfig, node: &Node) -> Result<(), ConfigError> {
    use RelabelAction as A;
    let usual = RelabelConfig::default();
    let action = rule.action.as_str();
    if rule.action == A::HashMod && rule.modulus == 0 {
        return Err(node.error("relabel configuration for hashmod requires non-zero modulus"));
    }
    let writes = matches!(rule.action, A::Replace | A::KeepEqual | A::DropEqual | A::HashMod | A::Lowercase | A::Uppercase);
    if writes && rule.target_label.is_empty() {
        return Err(node.error(format!("relabel configuration for {action} action requires 'target_label' value")));
    }
    if rule.action == A::LabelMap && rule.replacement.is_empty() {
        return Err(node.error_at("replacement", format!("{:?} is invalid 'replacement' for {action} action", rule.replacement)));
    }
    let copies = matches!(rule.action, A::Lowercase | A::Uppercase | A::KeepEqual | A::DropEqual);
    if copies && rule.replacement != usual.replacement {
        return Err(node.error_at("replacement", format!("'replacement' can not be set for {action} action")));
    }
    let compares = matches!(rule.action, A::KeepEqual | A::DropEqual);
    if compares && (rule.regex != usual.regex || rule.modulus != 0 || rule.separator != usual.separator) {
        let message = format!("{action} action requires only 'source_labels' and `target_label`, and no other fields");
        return Err(node.error(message));
    }
    let by_name = matches!(rule.action, A::LabelDrop | A::LabelKeep);
    let others = !rule.source_labels.is_empty()
        || !rule.target_label.is_empty()
        || rule.modulus != 0
        || rule.separator != usual.separator
        || rule.replacement != usual.replacement;
    if by_name && others {
        return Err(node.error(format!("{action} action requires only 'regex', and no other fields")));
    }
    Ok(())
}
