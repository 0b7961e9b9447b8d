//! Relabelling: rules that rewrite or filter label sets, of targets before a scrape and of samples and alerts after it.

use super::regex::Regex;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RelabelAction {
    /// Sets `target_label` to the expanded `replacement` where the regex matches the joined source labels.
    #[default]
    Replace,
    /// Keeps the set only where the regex matches.
    Keep,
    /// Drops the set where the regex matches.
    Drop,
    /// Keeps the set only where the joined source labels equal `target_label`.
    KeepEqual,
    /// Drops the set where the joined source labels equal `target_label`.
    DropEqual,
    /// Sets `target_label` to a hash of the joined source labels modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to names made by `replacement`.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets `target_label` to the joined source labels in lower case.
    Lowercase,
    /// Sets `target_label` to the joined source labels in upper case.
    Uppercase,
}

impl RelabelAction {
    /// All actions, in the order of Prometheus's documentation.
    pub const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// Returns the word of the configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

/// One relabelling rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelConfig {
    /// Labels whose values are joined by `separator`.
    pub source_labels: Vec<String>,
    /// Between the joined values.
    pub separator: String,
    /// What the joined values (or, for label actions, names) must match as a whole.
    pub regex: Regex,
    /// For [`RelabelAction::HashMod`].
    pub modulus: u64,
    /// The label to write; may hold `$1` for [`RelabelAction::Replace`].
    pub target_label: String,
    /// What to write, with `$1` and `${name}`.
    pub replacement: String,
    /// What the rule does.
    pub action: RelabelAction,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        let Ok(regex) = Regex::new("(.*)") else { unreachable!("a constant pattern of Go's syntax") };
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex,
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: RelabelAction::Replace,
        }
    }
}
