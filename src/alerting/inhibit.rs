//! Inhibition: an alert that fires keeps others silent.
//!
//! A rule names sources, targets and labels that must be equal. An alert that is both source and target of a rule cannot be
//! inhibited by another such alert, so that two of them do not silence each other. Sources are kept by rule and by the values of
//! its equal labels: asking costs one lookup for each rule. Follows Alertmanager's `inhibit` package.

use super::alerts::StoredAlert;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InhibitRule {
    /// A name for people; may be empty.
    pub name: String,
    /// What an inhibiting alert looks like.
    pub source_matchers: Vec<Matcher>,
    /// What an inhibited alert looks like.
    pub target_matchers: Vec<Matcher>,
    /// Labels whose values must be equal; absent and empty are the same.
    pub equal: Vec<String>,
}

fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches_labels(labels))
}

impl InhibitRule {
    fn key(&self, labels: &Labels) -> Labels {
        labels.only(|name| self.equal.iter().any(|equal| equal == name))
    }
}

/// The rules and the alerts that may inhibit.
#[derive(Clone, Debug, Default)]
pub struct Inhibitor {
    rules: Vec<InhibitRule>,
    /// For each rule: values of the equal labels -> fingerprint -> source.
    sources: Vec<BTreeMap<Labels, BTreeMap<u64, Arc<StoredAlert>>>>,
}

impl Inhibitor {
    /// Starts with rules and without sources.
    #[must_use]
    pub fn new(rules: Vec<InhibitRule>) -> Self {
        let sources = rules.iter().map(|_| BTreeMap::new()).collect();
        Self { rules, sources }
    }

    /// Takes note of an alert as it is now.
    pub fn observe(&mut self, alert: &Arc<StoredAlert>) {
        for (rule, sources) in self.rules.iter().zip(&mut self.sources) {
            if all_match(&rule.source_matchers, &alert.labels) {
                sources.entry(rule.key(&alert.labels)).or_default().insert(alert.fingerprint, Arc::clone(alert));
            }
        }
    }

    /// Forgets an alert.
    pub fn forget(&mut self, alert: &StoredAlert) {
        for (rule, sources) in self.rules.iter().zip(&mut self.sources) {
            let key = rule.key(&alert.labels);
            if let Some(with_key) = sources.get_mut(&key) {
                with_key.remove(&alert.fingerprint);
                if with_key.is_empty() {
                    sources.remove(&key);
                }
            }
        }
    }

    /// Returns the fingerprint of an alert that keeps this label set silent at `now_ms`.
    #[must_use]
    pub fn inhibited_by(&self, now_ms: i64, labels: &Labels) -> Option<u64> {
        self.rules.iter().zip(&self.sources).find_map(|(rule, sources)| {
            if !all_match(&rule.target_matchers, labels) {
                return None;
            }
            let both_sides = all_match(&rule.source_matchers, labels);
            let candidates = sources.get(&rule.key(labels))?.values();
            let mut candidates = candidates.filter(|source| {
                let is_target_too = both_sides && all_match(&rule.target_matchers, &source.labels);
                !source.is_resolved_at(now_ms) && !is_target_too
            });
            candidates.next().map(|source| source.fingerprint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::alerts::accept;
    use crate::model::alert::Alert;
    use crate::model::matcher::MatchOp;
    use crate::model::matcher_text;
    use serde_json::Value;

    fn labels(value: &Value) -> Labels {
        Labels::from_pairs(value.as_object().into_iter().flatten().map(|(name, value)| (name, value.as_str().unwrap_or(""))))
    }

    fn matchers(rule: &Value, side: &str) -> Vec<Matcher> {
        let classic = rule[format!("{side}_match")].as_object().into_iter().flatten();
        let texts = rule[format!("{side}_matchers")].as_array().into_iter().flatten();
        let classic =
            classic.map(|(name, value)| Matcher::new(MatchOp::Equal, name, value.as_str().unwrap_or("")).expect("good"));
        let texts = texts.flat_map(|text| matcher_text::parse(text.as_str().unwrap_or("")).expect("good"));
        classic.chain(texts).collect()
    }

    fn firing(labels: Labels, ends_at_ms: i64) -> Arc<StoredAlert> {
        let alert = Alert {
            labels,
            annotations: Labels::empty(),
            starts_at_ms: 1,
            ends_at_ms: Some(ends_at_ms),
            updated_at_ms: 1,
            generator_url: String::new(),
            value: None,
        };
        Arc::new(accept(1, 1, alert).expect("good"))
    }

    #[test]
    fn inhibits_as_alertmanager() {
        let Some(file) = crate::model::shared_data::json("alerting/inhibition/rules.json") else { return };
        let cases = file["cases"].as_array().expect("cases");
        assert_eq!(cases.len(), 11);
        for case in cases {
            let rules = case["inhibit_rules"].as_array().expect("rules").iter().map(|rule| InhibitRule {
                name: String::new(),
                source_matchers: matchers(rule, "source"),
                target_matchers: matchers(rule, "target"),
                equal: rule["equal"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            });
            let mut inhibitor = Inhibitor::new(rules.collect());
            for source in case["active_sources"].as_array().expect("sources") {
                inhibitor.observe(&firing(labels(source), 1000));
            }
            let target = labels(&case["target"]);
            assert_eq!(inhibitor.inhibited_by(10, &target).is_some(), case["muted"] == true, "{case}");
            assert_eq!(inhibitor.inhibited_by(1000, &target), None, "resolved sources: {case}");
        }
    }

    #[test]
    fn a_forgotten_source_inhibits_no_more() {
        let rule = InhibitRule { source_matchers: vec![Matcher::equal("s", "1")], ..InhibitRule::default() };
        let mut inhibitor = Inhibitor::new(vec![rule]);
        let source = firing(Labels::from_pairs([("s", "1")]), 1000);
        inhibitor.observe(&source);
        let target = Labels::from_pairs([("t", "1")]);
        assert_eq!(inhibitor.inhibited_by(10, &target), Some(source.fingerprint));
        inhibitor.forget(&source);
        assert_eq!(inhibitor.inhibited_by(10, &target), None);
    }
}
