//! Rule files and rule-unit-test files: their YAML shape, each rule with its place.
//!
//! What needs PromQL or templates is judged by `rules`.

use super::error::ConfigError;
use super::place::{Spot, TextPlace};
use super::section::{Section as _, Value, section};
use super::show::Shown;
use super::yaml::{self, Limits, Node, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A text with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub place: TextPlace,
}

impl Text {
    /// Returns the place in the file of a byte of the text; where that is not known, where the text begins.
    #[must_use]
    pub fn spot_of(&self, offset: usize) -> Spot {
        self.place.of(&self.text, offset)
    }
}

impl Value for Text {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        *self = Self { text: node.text()?.to_owned(), place: node.place() };
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.text.clone())
    }
}

section! {
    /// One rule: recording (`record`) or alerting (`alert`).
    pub struct Rule "rule" {
        /// The metric that is recorded.
        record: Text = Text::default(),
        /// The alert that is raised.
        alert: Text = Text::default(),
        /// The expression.
        expr: Text = Text::default(),
        /// How long the expression must hold.
        hold "for": Duration = Duration::ZERO,
        /// How long the alert stays after it no longer holds.
        keep_firing_for: Duration = Duration::ZERO,
        /// Labels to add; templates in alerts.
        labels: BTreeMap<String, Text> = BTreeMap::new(),
        /// Texts for people; templates.
        annotations: BTreeMap<String, Text> = BTreeMap::new(),
    } inline {
        /// Where the rule stands.
        place: Place,
    } check check_rule;

    /// Rules that are evaluated together, in order.
    pub struct RuleGroup "rule group" {
        /// The name, unique in the file.
        name: Text = Text::default(),
        /// How often; 0: the global evaluation interval.
        interval: Duration = Duration::ZERO,
        /// How far back the rules look; `None`: as `global` says.
        query_offset: Option<Duration> = None,
        /// The most series or alerts of a rule; 0: no bound.
        limit: i64 = 0,
        /// Labels to add to all rules.
        labels: BTreeMap<String, Text> = BTreeMap::new(),
        /// The rules.
        rules: Vec<Rule> = Vec::new(),
    } inline {
        /// Where the group stands.
        place: Place,
    } check check_group;

    /// A rule file.
    pub struct RuleGroups "rule file" {
        /// The groups.
        groups: Vec<RuleGroup> = Vec::new(),
    } inline {
        /// Whether more YAML documents followed, which do not count.
        more_documents: MoreDocuments,
    } check check_groups;
}

/// Where a section stands; filled in by reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its first key.
    pub spot: Spot,
}

impl Value for Place {
    fn read(&mut self, _: &Node) -> Result<(), ConfigError> {
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Nothing
    }
}

impl super::section::Section for Place {
    fn take(&mut self, _: &str, _: &Node) -> Result<bool, ConfigError> {
        Ok(false)
    }

    fn check(&mut self, node: &Node) -> Result<(), ConfigError> {
        self.spot = node.spot;
        Ok(())
    }

    fn entries(&self) -> Vec<(String, Shown)> {
        Vec::new()
    }
}

/// Whether more YAML documents followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoreDocuments(pub bool);

impl Value for MoreDocuments {
    fn read(&mut self, _: &Node) -> Result<(), ConfigError> {
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Nothing
    }
}

impl super::section::Section for MoreDocuments {
    fn take(&mut self, _: &str, _: &Node) -> Result<bool, ConfigError> {
        Ok(false)
    }

    fn check(&mut self, _: &Node) -> Result<(), ConfigError> {
        Ok(())
    }

    fn entries(&self) -> Vec<(String, Shown)> {
        Vec::new()
    }
}

impl Rule {
    /// Returns the name of the recorded metric or of the alert.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.record.text.is_empty() { &self.alert.text } else { &self.record.text }
    }
}

fn check_rule(rule: &mut Rule, node: &Node) -> Result<(), ConfigError> {
    let (record, alert) = (!rule.record.text.is_empty(), !rule.alert.text.is_empty());
    if record && alert {
        return Err(node.error("only one of 'record' and 'alert' must be set"));
    }
    if !record && !alert {
        return Err(node.error("one of 'record' or 'alert' must be set"));
    }
    if rule.expr.text.is_empty() {
        return Err(node.error_at("expr", "field 'expr' must be set in rule"));
    }
    if record {
        check_recording(rule, node)?;
    }
    for name in rule.labels.keys() {
        if name.is_empty() || name == "__name__" {
            return Err(node.error_at("labels", format!("invalid label name: {name}")));
        }
    }
    match rule.annotations.keys().find(|name| name.is_empty()) {
        Some(name) => Err(node.error_at("annotations", format!("invalid annotation name: {name}"))),
        None => Ok(()),
    }
}

fn check_recording(rule: &Rule, node: &Node) -> Result<(), ConfigError> {
    if !rule.annotations.is_empty() {
        return Err(node.error_at("annotations", "invalid field 'annotations' in recording rule"));
    }
    if !rule.hold.is_zero() {
        return Err(node.error_at("for", "invalid field 'for' in recording rule"));
    }
    if !rule.keep_firing_for.is_zero() {
        return Err(node.error_at("keep_firing_for", "invalid field 'keep_firing_for' in recording rule"));
    }
    if rule.record.text.contains(['{', '}']) {
        let message = format!("braces present in the recording rule name; should it be in expr?: {}", rule.record.text);
        return Err(node.error_at("record", message));
    }
    Ok(())
}

fn check_group(group: &mut RuleGroup, node: &Node) -> Result<(), ConfigError> {
    if group.name.text.is_empty() {
        return Err(node.error_at("name", "groupname must not be empty"));
    }
    match group.labels.keys().find(|name| name.is_empty() || *name == "__name__") {
        Some(name) => Err(node.error_at("labels", format!("invalid label name: {name}"))),
        None => Ok(()),
    }
}

fn check_groups(file: &mut RuleGroups, node: &Node) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for group in &file.groups {
        if !names.insert(&group.name.text) {
            let message = format!("groupname: {:?} is repeated in the same file", group.name.text);
            return Err(ConfigError::at(group.name.place.spot, message).in_file(&node.source.file));
        }
    }
    Ok(())
}

/// Reads a rule file. Only its first YAML document counts.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(text: &str) -> Result<RuleGroups, ConfigError> {
    let (node, more) = yaml::parse_first(text, &Source::default(), Limits::default())?;
    let mut file = RuleGroups::default();
    file.read(&node)?;
    file.more_documents = MoreDocuments(more);
    Ok(file)
}

/// Reads a rule file, passing over keys that no rule file has (as promtool's `--ignore-unknown-fields`).
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse_ignoring_unknown(text: &str) -> Result<RuleGroups, ConfigError> {
    let (node, more) = yaml::parse_first(text, &Source::default(), Limits::default())?;
    let mut file = RuleGroups { more_documents: MoreDocuments(more), ..RuleGroups::default() };
    let Some(groups) = node.get("groups") else { return Ok(file) };
    for group_node in groups.items()? {
        let mut group = RuleGroup::default();
        for (key, value) in group_node.entries()? {
            if key.text()? != "rules" {
                group.take(key.text()?, value)?;
                continue;
            }
            for rule_node in value.items()? {
                let mut rule = Rule::default();
                for (key, value) in rule_node.entries()? {
                    rule.take(key.text()?, value)?;
                }
                rule.check(rule_node)?;
                group.rules.push(rule);
            }
        }
        group.check(group_node)?;
        file.groups.push(group);
    }
    file.check(&node)?;
    Ok(file)
}
