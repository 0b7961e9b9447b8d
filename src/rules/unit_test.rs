//! Rule unit tests: promtool's `test rules` on a store in memory, in simulated time.
//!
//! The rules are evaluated from the beginning to the last time that a test asks for, step by step; samples become visible
//! only when their time has come. Alerts are compared with the last evaluation at or before their time, as in promtool.

use super::alerting::AlertState;
use super::memory_append::MemoryAppend;
use super::rule::{Evaluation, RuleState, query_text};
use super::spec::GroupSpec;
use crate::config::unit_test_file::{AlertTest, ExpressionTest, UnitTest};
use crate::model::duration;
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::number::format_f;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, EngineOptions};
use crate::promql::parse::{self, SequenceValue};
use crate::storage::select::memory::MemoryStore;
use crate::template::time::{RFC3339_NANO, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a file that hold for each of its tests.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Between two evaluations.
    pub evaluation_interval_ms: i64,
    /// Whether values may differ in the last bit.
    pub fuzzy_compare: bool,
}

/// One thing that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was looked at; for errors the whole message.
    pub what: String,
    /// What should have been, one line each; empty for errors.
    pub expected: Vec<String>,
    /// What was, one line each.
    pub got: Vec<String>,
}

impl Failure {
    fn error(what: impl Into<String>) -> Self {
        Self { what: what.into(), expected: Vec::new(), got: Vec::new() }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A sample that has not come yet.
struct Waiting {
    at_ms: i64,
    labels: Labels,
    value: Value,
}

/// Runs one test on the groups of the rule files, in the order in which they are to be evaluated.
#[must_use]
pub fn run(test: &UnitTest, groups: &[GroupSpec], settings: Settings) -> Vec<Failure> {
    let start_ms = match start(&test.start_timestamp) {
        Ok(start_ms) => start_ms,
        Err(error) => return vec![Failure::error(error)],
    };
    let waiting = match samples(test, start_ms) {
        Ok(waiting) => waiting,
        Err(error) => return vec![Failure::error(error)],
    };
    let store = Arc::new(MemoryStore::new());
    let options = EngineOptions { default_subquery_step_ms: settings.evaluation_interval_ms, ..EngineOptions::default() };
    let mut running = Running {
        test,
        settings,
        start_ms,
        engine: Engine::new(options),
        append: MemoryAppend::new(Arc::clone(&store)),
        store,
        groups: groups.iter().map(|group| (group, states(group))).collect(),
        waiting: waiting.into_iter().peekable(),
        failures: Vec::new(),
    };
    running.evaluate_all();
    running.failures
}

fn states(group: &GroupSpec) -> Vec<RuleState> {
    group.rules.iter().map(|rule| RuleState::new(Arc::clone(rule), group.name.clone(), false)).collect()
}

fn start(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0) as i64);
    }
    Time::parse(RFC3339_NANO, text).map(|time| time.as_ms()).map_err(|error| format!("start_timestamp: {error}"))
}

/// Reads the input series; the samples come out in order of time.
fn samples(test: &UnitTest, start_ms: i64) -> Result<Vec<Waiting>, String> {
    let interval_ms = milliseconds(test.interval);
    let mut waiting = Vec::new();
    for series in &test.input_series {
        let text = format!("{} {}", series.series.text, series.values.text);
        let described =
            parse::parse_series_notation(&text).map_err(|error| format!("series {:?}: {error}", series.series.text))?;
        let mut previous = None;
        for (at_ms, value) in (0..).map(|i: i64| start_ms + i * interval_ms).zip(described.values) {
            let value = match value {
                SequenceValue::Omitted => continue,
                SequenceValue::Float(value) => {
                    previous = None;
                    Value::Float(value)
                }
                SequenceValue::Histogram(histogram) => {
                    let stored = as_stored(histogram, previous.as_deref());
                    previous = Some(Arc::clone(&stored));
                    Value::Histogram(stored)
                }
            };
            waiting.push(Waiting { at_ms, labels: described.labels.clone(), value });
        }
    }
    waiting.sort_by_key(|sample| sample.at_ms);
    Ok(waiting)
}

/// Says of a histogram whether the counter was reset before it, as a store does that has seen the one before.
fn as_stored(histogram: Arc<FloatHistogram>, previous: Option<&FloatHistogram>) -> Arc<FloatHistogram> {
    let Some(previous) = previous.filter(|_| histogram.counter_reset_hint == CounterResetHint::Unknown) else { return histogram };
    let is_reset = histogram.detect_reset(previous);
    let counter_reset_hint = if is_reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
    Arc::new(FloatHistogram { counter_reset_hint, ..(*histogram).clone() })
}

struct Running<'a> {
    test: &'a UnitTest,
    settings: Settings,
    start_ms: i64,
    engine: Engine,
    append: MemoryAppend,
    store: Arc<MemoryStore>,
    groups: Vec<(&'a GroupSpec, Vec<RuleState>)>,
    waiting: std::iter::Peekable<std::vec::IntoIter<Waiting>>,
    failures: Vec<Failure>,
}

impl Running<'_> {
    fn evaluation(&self, at_ms: i64, limit: usize, query_offset_ms: i64) -> Evaluation<'_> {
        Evaluation {
            engine: &self.engine,
            querier: &*self.store,
            append: &self.append,
            at_ms,
            query_offset_ms,
            limit,
            external_labels: &self.test.external_labels,
            external_url: &self.test.external_url,
            cancel: None,
            interval_ms: self.settings.evaluation_interval_ms,
            resend_delay_ms: 60_000,
            group: ("", ""),
        }
    }

    fn evaluate_all(&mut self) {
        let alert_times = self.test.alert_rule_test.iter().map(|test| milliseconds(test.eval_time));
        let expression_times = self.test.promql_expr_test.iter().map(|test| milliseconds(test.eval_time));
        let last_ms = alert_times.chain(expression_times).max().unwrap_or(0);
        let interval_ms = self.settings.evaluation_interval_ms.max(1);
        let mut since_ms = 0;
        while since_ms <= last_ms {
            self.arrive(self.start_ms + since_ms);
            if !self.evaluate(since_ms) {
                return;
            }
            for test in &self.test.alert_rule_test {
                let at_ms = milliseconds(test.eval_time);
                if since_ms <= at_ms && at_ms < since_ms.saturating_add(interval_ms) {
                    self.check_alerts(test);
                }
            }
            since_ms = since_ms.saturating_add(interval_ms);
        }
        for test in &self.test.promql_expr_test {
            self.check_expression(test);
        }
    }

    /// Makes the samples up to a time visible.
    fn arrive(&mut self, until_ms: i64) {
        while let Some(sample) = self.waiting.next_if(|sample| sample.at_ms <= until_ms) {
            self.store.add(&sample.labels, sample.at_ms, sample.value);
        }
    }

    /// Evaluates all rules once; says whether none failed.
    fn evaluate(&mut self, since_ms: i64) -> bool {
        let mut groups = std::mem::take(&mut self.groups);
        let mut errors = Vec::new();
        for (group, rules) in &mut groups {
            let evaluation = self.evaluation(self.start_ms + since_ms, group.limit, group.query_offset_ms.unwrap_or(0));
            for rule in rules {
                if let Some(error) = rule.evaluate(&evaluation).error {
                    let time = duration::format_ms(since_ms);
                    errors.push(Failure::error(format!("rule: {}, time: {time}, err: {error}", rule.spec.name)));
                }
            }
        }
        self.groups = groups;
        let is_good = errors.is_empty();
        self.failures.append(&mut errors);
        is_good
    }

    fn check_alerts(&mut self, test: &AlertTest) {
        let name = test.alertname.text.as_str();
        let show = |labels: &Labels, annotations: &Labels| format!("Labels:{labels} Annotations:{annotations}");
        let rules = self.groups.iter().flat_map(|(_, rules)| rules).filter(|rule| rule.spec.name == name && rule.spec.is_alert());
        let firing = rules.flat_map(|rule| &rule.alerting.active).filter(|(_, alert)| alert.state == AlertState::Firing);
        let mut got: Vec<String> = firing.map(|(labels, alert)| show(labels, &alert.annotations)).collect();
        let expected = test.exp_alerts.iter().map(|alert| {
            let labels = Labels::from_pairs(&alert.exp_labels).with(ALERT_NAME, name);
            show(&labels, &Labels::from_pairs(&alert.exp_annotations))
        });
        let mut expected: Vec<String> = expected.collect();
        got.sort();
        expected.sort();
        if got != expected {
            let what = format!("alertname: {name}, time: {}", duration::format_ms(milliseconds(test.eval_time)));
            self.failures.push(Failure { what, expected, got });
        }
    }

    fn check_expression(&mut self, test: &ExpressionTest) {
        let text = &test.expr.text;
        let what = format!("expr: {text:?}, time: {}", duration::format_ms(milliseconds(test.eval_time)));
        let at_ms = self.start_ms + milliseconds(test.eval_time);
        let found = match query_text(&self.evaluation(at_ms, 0, 0), text) {
            Ok(found) => found,
            Err(error) => {
                self.failures.push(Failure::error(format!("{what}, err: {error}")));
                return;
            }
        };
        let mut got: Vec<(Labels, Value)> = found.into_iter().map(|sample| (sample.labels, sample.value)).collect();
        let mut expected = match expected_samples(test) {
            Ok(expected) => expected,
            Err(error) => {
                self.failures.push(Failure::error(format!("{what}, err: {error}")));
                return;
            }
        };
        got.sort_by(|left, right| left.0.cmp(&right.0));
        expected.sort_by(|left, right| left.0.cmp(&right.0));
        let fuzzy = self.settings.fuzzy_compare;
        let same = |((left_labels, left), (right_labels, right)): (&(Labels, Value), &(Labels, Value))| {
            left_labels == right_labels && is_same_value(left, right, fuzzy)
        };
        if got.len() != expected.len() || !got.iter().zip(&expected).all(same) {
            let show = |samples: Vec<(Labels, Value)>| {
                samples.iter().map(|(labels, value)| format!("{labels} {}", shown(value))).collect()
            };
            self.failures.push(Failure { what, expected: show(expected), got: show(got) });
        }
    }
}

fn expected_samples(test: &ExpressionTest) -> Result<Vec<(Labels, Value)>, String> {
    let mut samples = Vec::new();
    for sample in &test.exp_samples {
        let labels = series_labels(&sample.labels)?;
        let value = if sample.histogram.is_empty() { Value::Float(sample.value) } else { histogram(&sample.histogram)? };
        samples.push((labels, value));
    }
    Ok(samples)
}

fn series_labels(text: &str) -> Result<Labels, String> {
    if text.is_empty() {
        return Ok(Labels::empty());
    }
    let described = parse::parse_series_notation(&format!("{text} 0"));
    described.map(|series| series.labels).map_err(|error| format!("labels {text:?}: {error}"))
}

fn histogram(text: &str) -> Result<Value, String> {
    let described =
        parse::parse_series_notation(&format!("{{}} {text}")).map_err(|error| format!("histogram {text:?}: {error}"))?;
    match described.values.as_slice() {
        [SequenceValue::Histogram(histogram)] => Ok(Value::Histogram(Arc::clone(histogram))),
        [_] => Err(format!("expected a histogram, got a float: {text:?}")),
        values => Err(format!("expected 1 value, got {}", values.len())),
    }
}

fn is_same_value(left: &Value, right: &Value, fuzzy: bool) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            let equal = left.partial_cmp(right) == Some(std::cmp::Ordering::Equal) || left.is_nan() && right.is_nan();
            let near = |next: f64| next.partial_cmp(right) == Some(std::cmp::Ordering::Equal);
            equal || fuzzy && (near(left.next_up()) || near(left.next_down()))
        }
        (Value::Histogram(left), Value::Histogram(right)) => {
            (**left).clone().compacted().test_expression() == (**right).clone().compacted().test_expression()
        }
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) => format_f(*value),
        Value::Histogram(histogram) => (**histogram).clone().compacted().test_expression(),
    }
}

/// Puts groups into the order that a file of tests asks for; groups that it does not name come last.
///
/// # Errors
/// When a name stands there twice.
pub fn ordered(mut groups: Vec<GroupSpec>, order: &[String]) -> Result<Vec<GroupSpec>, String> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, name) in order.iter().enumerate() {
        if places.insert(name, place).is_some() {
            return Err(format!("group name repeated in evaluation order: {name}"));
        }
    }
    groups.sort_by_key(|group| places.get(group.name.as_str()).copied().unwrap_or(usize::MAX));
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::unit_test_file;
    use crate::model::shared_data;
    use crate::rules::file;

    /// Runs a file of the shared folder; `Err`: it could not even be read.
    fn run_file(folder: &str, name: &str, only: &[&str], lenient: bool) -> Option<Result<Vec<Failure>, String>> {
        let text = shared_data::text(&format!("{folder}/{name}"))?;
        let tests = match unit_test_file::parse(&text) {
            Ok(tests) => tests,
            Err(error) => return Some(Err(error.to_string())),
        };
        let mut groups = Vec::new();
        for rules in &tests.rule_files {
            let text = shared_data::text(&format!("{folder}/{rules}"))?;
            let read = if lenient { file::read_ignoring_unknown(&text) } else { file::read(&text) };
            match read {
                Ok(read) => groups.extend(read.file.groups),
                Err(errors) => return Some(Err(format!("{errors:?}"))),
            }
        }
        let settings =
            Settings { evaluation_interval_ms: milliseconds(tests.evaluation_interval), fuzzy_compare: tests.fuzzy_compare };
        let wanted = tests.tests.iter().filter(|test| only.is_empty() || only.iter().any(|only| test.name.contains(only)));
        Some(Ok(wanted.flat_map(|test| run(test, &groups, settings)).collect()))
    }

    fn check(folder: &str, case: &serde_json::Value) {
        let name = case["file"].as_str().unwrap();
        let only: Vec<&str> =
            case.get("run").and_then(serde_json::Value::as_array).into_iter().flatten().filter_map(|run| run.as_str()).collect();
        let Some(result) = run_file(folder, name, &only, false) else { return };
        let is_good = matches!(&result, Ok(failures) if failures.is_empty());
        assert_eq!(is_good, case["exit"] == 0, "{name} {only:?}: {result:#?}");
    }

    #[test]
    fn promtool_verdicts() {
        let Some(file) = shared_data::json("alerting/promtool/expected.json") else { return };
        let cases = file["cases"].as_array().unwrap();
        cases.iter().for_each(|case| check("alerting/promtool", case));
        let Some(file) = shared_data::json("promql/rule_unit_tests/cases.json") else { return };
        let more = file.as_array().unwrap();
        more.iter().for_each(|case| check("promql/rule_unit_tests", case));
        assert_eq!((cases.len(), more.len()), (12, 10));
        let lenient = run_file("promql/rule_unit_tests", "rules_run_extrafields.yml", &[], true);
        assert_eq!(lenient, Some(Ok(Vec::new())));
    }

    #[test]
    fn the_shipped_rules_pass_their_tests() {
        for (name, text) in crate::rules::builtin::FILES {
            let groups = file::read(text).unwrap().file.groups;
            let tests = crate::rules::builtin::TESTS.iter().find(|(test, _)| test == name).unwrap().1;
            let tests = unit_test_file::parse(tests).unwrap();
            let settings = Settings { evaluation_interval_ms: 60_000, fuzzy_compare: false };
            assert!(!tests.tests.is_empty());
            for test in &tests.tests {
                assert_eq!(run(test, &groups, settings), Vec::new(), "{name}: {}", test.name);
            }
            // Every rule is in a test.
            for rule in groups.iter().flat_map(|group| &group.rules) {
                assert!(tests.tests.iter().any(|test| test.name == rule.name), "{} has no test", rule.name);
            }
        }
    }
}
