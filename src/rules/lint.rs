//! What may be meant otherwise in a rule file that is good.

use super::spec::{RuleFile, RuleKind, RuleSpec};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::metadata::MetricType;
use crate::promql::deep::deep;
use crate::promql::expr::{Expr, ExprKind};
use std::collections::BTreeMap;
use std::fmt;

/// How much a remark weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Probably a mistake.
    Warning,
    /// Could be better.
    Hint,
}

/// A remark about one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// See [`Weight`].
    pub weight: Weight,
    /// The rule's line.
    pub line: u32,
    /// What could be wrong.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.weight {
            Weight::Warning => "warning",
            Weight::Hint => "hint",
        };
        write!(f, "{}: {word}: {}", self.line, self.message)
    }
}

/// Tells the type of a metric family, where it is known.
pub type MetricTypes<'a> = dyn Fn(&str) -> Option<MetricType> + 'a;

/// A rule's name and its own labels.
type NameAndLabels = (String, Vec<(String, String)>);

/// What is known beside the rules.
#[derive(Default)]
pub struct Known<'a> {
    /// Tells the type that exporters give a metric family; without, and for those it does not know, the name decides.
    metric_type: Option<&'a MetricTypes<'a>>,
    /// Who makes which series or alerts, of the files before: file and line.
    made: BTreeMap<NameAndLabels, (String, u32)>,
}

impl<'a> Known<'a> {
    /// Knows no rules yet, and types by a function.
    #[must_use]
    pub fn with_types(metric_type: &'a MetricTypes<'a>) -> Self {
        Self { metric_type: Some(metric_type), made: BTreeMap::new() }
    }
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("made", &self.made.len()).finish_non_exhaustive()
    }
}

/// Looks a file through. Files that hold together are looked through with the same `known`, one after the other.
#[must_use]
pub fn remarks(name: &str, file: &RuleFile, known: &mut Known<'_>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for rule in file.groups.iter().flat_map(|group| &group.rules) {
        duplicate(name, rule, known, &mut remarks);
        rates_of_gauges(&rule.expr, rule, known, &mut remarks);
        if let RuleKind::Alert { annotations, .. } = &rule.kind
            && !annotations.iter().any(|(name, _)| matches!(name.as_str(), "runbook" | "runbook_url"))
        {
            let message = format!("alert {} has no annotation runbook_url: what should be done?", rule.name);
            remarks.push(Remark { weight: Weight::Hint, line: rule.line, message });
        }
    }
    remarks.sort_by_key(|remark| (remark.weight, remark.line));
    remarks
}

/// Two rules that write the same series overwrite each other.
fn duplicate(file: &str, rule: &RuleSpec, known: &mut Known<'_>, remarks: &mut Vec<Remark>) {
    let key = (rule.name.clone(), rule.labels.clone());
    let Some((other, line)) = known.made.get(&key) else {
        known.made.insert(key, (file.to_owned(), rule.line));
        return;
    };
    let labels: Vec<String> = rule.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let place = if other == file { format!("at line {line}") } else { format!("at {other}:{line}") };
    let message = format!("{}{{{}}} is already made by the rule {place}", rule.name, labels.join(", "));
    remarks.push(Remark { weight: Weight::Warning, line: rule.line, message });
}

/// Endings of names that belong to gauges.
const GAUGE_ENDINGS: [&str; 7] =
    ["_ratio", "_celsius", "_percent", "_timestamp_seconds", "_free_bytes", "_avail_bytes", "_used_bytes"];

/// Says why a metric is taken for a gauge.
fn gauge_by(name: &str, known: &Known<'_>) -> Option<&'static str> {
    match known.metric_type.and_then(|metric_type| metric_type(name)) {
        Some(MetricType::Gauge) => Some("by what its exporter says"),
        Some(MetricType::Unknown) | None => {
            let by_name = name == "up" || GAUGE_ENDINGS.iter().any(|ending| name.ends_with(ending));
            by_name.then_some("by its name")
        }
        Some(_) => None,
    }
}

fn rates_of_gauges(expr: &Expr, rule: &RuleSpec, known: &Known<'_>, remarks: &mut Vec<Remark>) {
    if let ExprKind::Call(call) = &expr.kind
        && matches!(call.function, "rate" | "irate" | "increase")
        && let Some(ExprKind::Matrix(matrix)) = call.args.first().map(|arg| &arg.kind)
    {
        let is_name = |matcher: &&Matcher| matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal;
        let name = matrix.selector.matchers.iter().find(is_name).map_or("", Matcher::value);
        if let Some(why) = gauge_by(name, known) {
            let message = format!("{}: {}() of {name}, which is a gauge {why}", rule.name, call.function);
            remarks.push(Remark { weight: Weight::Warning, line: rule.line, message });
        }
    }
    for child in expr.children() {
        deep(|| rates_of_gauges(child, rule, known, remarks));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;

    fn told(name: &str, text: &str, known: &mut Known<'_>) -> Vec<String> {
        remarks(name, &file::read(text).unwrap().file, known).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tells_what_may_be_meant_otherwise() {
        let text = "groups:\n- name: g\n  rules:\n  - {record: a, expr: b}\n  - {record: a, expr: c}\n  - {record: d, expr: 'sum(rate(x_free_bytes[5m]))'}\n  - {alert: e, expr: up}\n  - {record: a, expr: c, labels: {x: y}}\n";
        assert_eq!(
            told("a.yml", text, &mut Known::default()),
            [
                "5: warning: a{} is already made by the rule at line 4",
                "6: warning: d: rate() of x_free_bytes, which is a gauge by its name",
                "7: hint: alert e has no annotation runbook_url: what should be done?",
            ]
        );
    }

    #[test]
    fn final_labels_count_across_groups_and_files() {
        let mut known = Known::default();
        let first = "groups:\n- name: g\n  labels: {team: x}\n  rules:\n  - {alert: A, expr: up, annotations: {runbook: r}}\n- name: h\n  rules:\n  - {alert: A, expr: down, annotations: {runbook: r}}\n  - {alert: A, expr: up, labels: {team: x}, annotations: {runbook: r}}\n";
        assert_eq!(told("a.yml", first, &mut known), [r#"9: warning: A{team="x"} is already made by the rule at line 5"#]);
        let second = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0, annotations: {runbook_url: r}}\n";
        assert_eq!(told("b.yml", second, &mut known), ["4: warning: A{} is already made by the rule at a.yml:8"]);
    }

    #[test]
    fn what_an_exporter_says_decides_before_the_name() {
        let types = |name: &str| match name {
            "queue" => Some(MetricType::Gauge),
            "odd_ratio" => Some(MetricType::Counter),
            "raw_percent" => Some(MetricType::Unknown),
            _ => None,
        };
        let rule = |metric: &str| format!("groups:\n- name: g\n  rules:\n  - {{record: r, expr: '1 + irate({metric}[5m])'}}\n");
        let tell = |metric: &str| told("a.yml", &rule(metric), &mut Known::with_types(&types));
        assert_eq!(tell("queue"), ["4: warning: r: irate() of queue, which is a gauge by what its exporter says"]);
        assert_eq!(tell("odd_ratio"), [""; 0]);
        assert_eq!(tell("raw_percent"), ["4: warning: r: irate() of raw_percent, which is a gauge by its name"]);
        assert_eq!(tell("{__name__=~\"up|queue\"}"), [""; 0]);
        assert_eq!(told("a.yml", &rule("queue"), &mut Known::default()), [""; 0]);
    }
}
