//! Rule-unit-test files, as promtool's `test rules` reads them: their YAML shape.

use super::error::ConfigError;
use super::rule_file::Text;
use super::section::{Value, section};
use super::yaml::{self, Limits, Source};
use crate::model::labels::Labels;
use std::collections::BTreeMap;
use std::time::Duration;

section! {
    /// A file of tests.
    pub struct UnitTestFile "unit test file" {
        /// Patterns of the rule files under test, relative to the file's folder.
        rule_files: Vec<String> = Vec::new(),
        /// Between two evaluations of the rules.
        evaluation_interval: Duration = Duration::from_secs(60),
        /// Names of groups in the order in which they are evaluated.
        group_eval_order: Vec<String> = Vec::new(),
        /// The tests.
        tests: Vec<UnitTest> = Vec::new(),
        /// Whether values may differ in the last bit.
        fuzzy_compare: bool = false,
    }

    /// One test: series in, alerts and values out.
    pub struct UnitTest "test" {
        /// Between two points of the series; 0: the file's evaluation interval.
        interval: Duration = Duration::ZERO,
        /// What is there.
        input_series: Vec<InputSeries> = Vec::new(),
        /// Which alerts should fire.
        alert_rule_test: Vec<AlertTest> = Vec::new(),
        /// Which values should come out.
        promql_expr_test: Vec<ExpressionTest> = Vec::new(),
        /// The labels of the server.
        external_labels: Labels = Labels::empty(),
        /// The address of the server.
        external_url: String = String::new(),
        /// Its name, for `--run`.
        name: String = String::new(),
        /// When the test begins: RFC 3339 or seconds since 1970; empty: 1970.
        start_timestamp: String = String::new(),
    }

    /// A series in series notation.
    pub struct InputSeries "input series" {
        /// Name and labels.
        series: Text = Text::default(),
        /// Its points.
        values: Text = Text::default(),
    }

    /// The alerts of one name that should fire at one time.
    pub struct AlertTest "alert test" {
        /// Since the beginning of the test.
        eval_time: Duration = Duration::ZERO,
        /// The alert.
        alertname: Text = Text::default(),
        /// All alerts of that name that fire.
        exp_alerts: Vec<ExpectedAlert> = Vec::new(),
    }

    /// An alert that should fire.
    pub struct ExpectedAlert "expected alert" {
        /// Its labels but for the name.
        exp_labels: BTreeMap<String, String> = BTreeMap::new(),
        /// Its texts.
        exp_annotations: BTreeMap<String, String> = BTreeMap::new(),
    }

    /// The value of an expression at one time.
    pub struct ExpressionTest "expression test" {
        /// The expression.
        expr: Text = Text::default(),
        /// Since the beginning of the test.
        eval_time: Duration = Duration::ZERO,
        /// All samples that come out.
        exp_samples: Vec<ExpectedSample> = Vec::new(),
    }

    /// A sample that should come out.
    pub struct ExpectedSample "expected sample" {
        /// The series.
        labels: String = String::new(),
        /// Its value.
        value: f64 = 0.0,
        /// Its value where it is a histogram.
        histogram: String = String::new(),
    }
}

/// Reads a file of tests.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(text: &str) -> Result<UnitTestFile, ConfigError> {
    let node = yaml::parse(text, &Source::default(), Limits::default())?;
    let mut file = UnitTestFile::default();
    file.read(&node)?;
    for test in &mut file.tests {
        if test.interval.is_zero() {
            test.interval = file.evaluation_interval;
        }
    }
    Ok(file)
}
