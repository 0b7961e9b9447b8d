//! Relabelling: rules that rewrite or filter label sets, of targets before a scrape and of samples and alerts after it.

use super::labels::{Labels, LabelsBuilder};
use super::md5;
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

impl RelabelConfig {
    /// Applies the rule to `labels`; returns whether the set is kept.
    ///
    /// As Prometheus's `relabel.Process`: a replacement of a name that is no label name is left out, an empty result
    /// removes the label.
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        match self.action {
            RelabelAction::Keep => return self.regex.is_match(&self.joined(labels)),
            RelabelAction::Drop => return !self.regex.is_match(&self.joined(labels)),
            RelabelAction::KeepEqual => return labels.value(&self.target_label) == self.joined(labels),
            RelabelAction::DropEqual => return labels.value(&self.target_label) != self.joined(labels),
            RelabelAction::Replace => self.replace(labels),
            RelabelAction::HashMod => {
                let digest = md5::digest(self.joined(labels).as_bytes());
                // The last eight bytes, so that shares stay what they were in the earliest versions of Prometheus.
                let hash = digest[8..].iter().fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
                labels.set(&self.target_label, &hash.checked_rem(self.modulus).unwrap_or(0).to_string());
            }
            RelabelAction::LabelMap => self.map_names(labels),
            RelabelAction::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            RelabelAction::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
            RelabelAction::Lowercase => {
                let lower = self.joined(labels).to_lowercase();
                labels.set(&self.target_label, &lower);
            }
            RelabelAction::Uppercase => {
                let upper = self.joined(labels).to_uppercase();
                labels.set(&self.target_label, &upper);
            }
        }
        true
    }

    fn joined(&self, labels: &LabelsBuilder) -> String {
        let mut out = String::new();
        for (place, name) in self.source_labels.iter().enumerate() {
            if place > 0 {
                out.push_str(&self.separator);
            }
            out.push_str(labels.value(name));
        }
        out
    }

    fn replace(&self, labels: &mut LabelsBuilder) {
        let source = self.joined(labels);
        let (Some(target), Some(value)) =
            (self.regex.expand(&source, &self.target_label), self.regex.expand(&source, &self.replacement))
        else {
            return;
        };
        if !target.is_empty() {
            labels.set(&target, &value);
        }
    }

    fn map_names(&self, labels: &mut LabelsBuilder) {
        let renamed: Vec<(String, String)> = labels
            .iter()
            .filter_map(|(name, value)| Some((self.regex.expand(name, &self.replacement)?, value.to_owned())))
            .filter(|(name, _)| !name.is_empty())
            .collect();
        for (name, value) in renamed {
            labels.set(&name, &value);
        }
    }
}

/// Applies all rules in order; returns whether the set is kept.
pub fn apply(rules: &[RelabelConfig], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// What one rule made of a label set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelStep {
    /// The rule's place in its list, from 0.
    pub rule: usize,
    /// The labels after it.
    pub labels: Labels,
    /// Whether the set survived it.
    pub kept: bool,
}

/// Applies all rules and tells what each did; the last step is the rule that dropped the set where one did.
#[must_use]
pub fn trace(rules: &[RelabelConfig], labels: &Labels) -> Vec<RelabelStep> {
    let mut builder = LabelsBuilder::from(labels);
    let mut steps = Vec::with_capacity(rules.len());
    for (rule, config) in rules.iter().enumerate() {
        let kept = config.apply(&mut builder);
        steps.push(RelabelStep { rule, labels: builder.build(), kept });
        if !kept {
            break;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shared_data;
    use std::collections::BTreeMap;

    #[derive(serde::Deserialize)]
    struct Case {
        drop: bool,
        input: BTreeMap<String, String>,
        output: BTreeMap<String, String>,
        relabel_configs: Vec<Rule>,
    }

    #[derive(serde::Deserialize)]
    struct Cases {
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Rule {
        action: String,
        regex: String,
        separator: String,
        replacement: String,
        #[serde(default)]
        source_labels: Vec<String>,
        #[serde(default)]
        target_label: String,
        #[serde(default)]
        modulus: u64,
    }

    impl Rule {
        fn config(&self) -> RelabelConfig {
            let action = RelabelAction::ALL.into_iter().find(|action| action.as_str() == self.action).unwrap();
            RelabelConfig {
                source_labels: self.source_labels.clone(),
                separator: self.separator.clone(),
                regex: Regex::new(&self.regex).unwrap(),
                modulus: self.modulus,
                target_label: self.target_label.clone(),
                replacement: self.replacement.clone(),
                action,
            }
        }
    }

    #[test]
    fn relabels_as_prometheus() {
        let Some(text) = shared_data::text("promql/relabel.json") else { return };
        let cases: Cases = serde_json::from_str(&text).unwrap();
        assert!(cases.cases.len() > 20);
        for case in cases.cases {
            let rules: Vec<RelabelConfig> = case.relabel_configs.iter().map(Rule::config).collect();
            let mut labels = LabelsBuilder::from(&Labels::from_pairs(&case.input));
            let kept = apply(&rules, &mut labels);
            assert_eq!(kept, !case.drop, "{:?}", case.input);
            if kept {
                assert_eq!(labels.build(), Labels::from_pairs(&case.output), "{:?}", case.input);
            }
        }
    }

    #[test]
    fn trace_names_the_rule_that_dropped() {
        let keep = RelabelConfig {
            source_labels: vec!["job".to_owned()],
            regex: Regex::new("node").unwrap(),
            action: RelabelAction::Keep,
            ..RelabelConfig::default()
        };
        let set = RelabelConfig { target_label: "zone".to_owned(), replacement: "a".to_owned(), ..RelabelConfig::default() };
        let steps = trace(&[set, keep], &Labels::from_pairs([("job", "db")]));
        assert_eq!(steps.len(), 2);
        assert!(steps[0].kept && !steps[1].kept);
        assert_eq!(steps[0].labels.value("zone"), "a");
    }
}
