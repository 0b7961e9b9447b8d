//! What may be meant otherwise in a rule file that is good.

use super::spec::{RuleFile, RuleKind, RuleSpec};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::Matcher;
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

/// Looks a file through.
#[must_use]
pub fn remarks(file: &RuleFile) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let rules: Vec<&RuleSpec> = file.groups.iter().flat_map(|group| group.rules.iter().map(AsRef::as_ref)).collect();
    duplicates(&rules, &mut remarks);
    for rule in rules {
        rates_of_gauges(&rule.expr, rule, &mut remarks);
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
fn duplicates(rules: &[&RuleSpec], remarks: &mut Vec<Remark>) {
    let mut first = BTreeMap::new();
    for rule in rules {
        match first.get(&(&rule.name, &rule.labels)) {
            Some(line) => {
                let labels: Vec<String> = rule.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let message = format!("{}{{{}}} is already made by the rule at line {line}", rule.name, labels.join(", "));
                remarks.push(Remark { weight: Weight::Warning, line: rule.line, message });
            }
            None => {
                first.insert((&rule.name, &rule.labels), rule.line);
            }
        }
    }
}

/// Endings of names that belong to gauges.
const GAUGE_ENDINGS: [&str; 7] =
    ["_ratio", "_celsius", "_percent", "_timestamp_seconds", "_free_bytes", "_avail_bytes", "_used_bytes"];

fn rates_of_gauges(expr: &Expr, rule: &RuleSpec, remarks: &mut Vec<Remark>) {
    if let ExprKind::Call(call) = &expr.kind
        && matches!(call.function, "rate" | "irate" | "increase")
        && let Some(ExprKind::Matrix(matrix)) = call.args.first().map(|arg| &arg.kind)
    {
        let name = matrix.selector.matchers.iter().find(|matcher| matcher.name() == METRIC_NAME).map(Matcher::value);
        if let Some(name) = name.filter(|name| *name == "up" || GAUGE_ENDINGS.iter().any(|ending| name.ends_with(ending))) {
            let message = format!("{}: {}() of {name}, which is a gauge by its name", rule.name, call.function);
            remarks.push(Remark { weight: Weight::Warning, line: rule.line, message });
        }
    }
    for child in children(expr) {
        deep(|| rates_of_gauges(child, rule, remarks));
    }
}

/// Returns the expressions directly within an expression.
fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => Vec::new(),
        ExprKind::Subquery(subquery) => vec![&subquery.expr],
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => vec![inner],
        ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
        ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        ExprKind::Call(call) => call.args.iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;

    #[test]
    fn tells_what_may_be_meant_otherwise() {
        let text = "groups:\n- name: g\n  rules:\n  - {record: a, expr: b}\n  - {record: a, expr: c}\n  - {record: d, expr: 'sum(rate(x_free_bytes[5m]))'}\n  - {alert: e, expr: up}\n  - {record: a, expr: c, labels: {x: y}}\n";
        let file = file::read(text).unwrap().file;
        let found: Vec<String> = remarks(&file).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "5: warning: a{} is already made by the rule at line 4",
                "6: warning: d: rate() of x_free_bytes, which is a gauge by its name",
                "7: hint: alert e has no annotation runbook_url: what should be done?",
            ]
        );
    }
}
