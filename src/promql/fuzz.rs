//! The parser and the evaluation as functions of arbitrary bytes, for tests and libFuzzer: nothing may panic, hang or leave its
//! budget, and what is printed parses to the same.

use super::engine::{Engine, EngineOptions, QueryOptions};
use super::parse::parse;
use super::print::{one_line, pretty};
use crate::model::histogram::{FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::sample::{Value, stale_nan};
use crate::storage::select::memory::MemoryStore;
use std::sync::{Arc, LazyLock};

/// A target: its name and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of the query engine.
pub const TARGETS: &[Target] = &[("parser", parser), ("evaluate", evaluate)];

/// How high an expression of [`evaluate`] may be.
const HEIGHT_MAX: usize = 5;
const END_MS: i64 = 600_000;

/// Takes the bytes as text.
fn parser(bytes: &[u8]) {
    let Ok(expr) = parse(&String::from_utf8_lossy(bytes)) else { return };
    let printed = one_line(&expr);
    for text in [printed.clone(), pretty(&expr)] {
        match parse(&text) {
            Ok(again) => assert_eq!(one_line(&again), printed),
            Err(error) => panic!("{printed}: what is printed does not parse: {error}"),
        }
    }
}

/// Takes the bytes as choices that make an expression whose types fit.
fn evaluate(bytes: &[u8]) {
    static STORE: LazyLock<MemoryStore> = LazyLock::new(store);
    let text = Choices(bytes).vector(HEIGHT_MAX);
    let expr = match parse(&text) {
        Ok(expr) => expr,
        // Types fit; but a name, a number or a range may not.
        Err(error) => {
            assert!(!error.to_string().contains("expected type"), "{text}: {error}");
            return;
        }
    };
    let options = EngineOptions { max_samples: 200_000, max_query_bytes: 8 << 20, ..EngineOptions::default() };
    let engine = Engine::new(options);
    // An error is an answer, too.
    drop(engine.instant(&*STORE, &expr, END_MS / 2, &QueryOptions::default()));
    if let Ok(answer) = engine.range(&*STORE, &expr, 0, END_MS, 60_000, &QueryOptions::default()) {
        drop(answer);
    }
}

/// Floats and histograms; gaps, stale markers, numbers that are none, resets.
fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, stale_nan()];
    for (name, g) in [("a", "x"), ("a", "y"), ("b", "x"), ("c_total", "x"), ("c_total", "y"), ("h", "x"), ("mixed", "y")] {
        let labels = Labels::from_pairs([("__name__", name), ("g", g), ("le", "1")]);
        for row in 0..END_MS / 15_000 {
            let histogram = FloatHistogram {
                schema: (row % 3) as i32,
                count: row as f64 + 2.0,
                sum: row as f64 * 0.5,
                zero_count: 1.0,
                zero_threshold: 0.001,
                positive_spans: vec![Span { offset: 0, length: 2 }],
                positive_buckets: vec![row as f64, 1.0],
                ..FloatHistogram::default()
            };
            let value = match (name, row % 11) {
                ("h", _) | ("mixed", 0..5) => Value::Histogram(Arc::new(histogram)),
                ("a", 7) => Value::Float(odd[row as usize % odd.len()]),
                ("b", 3) => continue,
                ("c_total", 9) => Value::Float(0.0),
                _ => Value::Float((row * row % 17) as f64 * 0.25),
            };
            store.add(&labels, row * 15_000, value);
        }
    }
    store
}

/// Bytes as choices; behind the end the first of all.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn of(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    fn one(&mut self, words: &[&'static str]) -> &'static str {
        words[self.of(words.len())]
    }

    fn selector(&mut self) -> String {
        let selectors =
            ["a", "b", "c_total", "h", "mixed", "a{g=\"x\"}", "{__name__=~\"a|b\"}", "{g!=\"x\",__name__!=\"\"}", "nothing"];
        self.one(&selectors).to_owned()
    }

    fn shift(&mut self) -> &'static str {
        self.one(&["", "", "", " offset 1m", " offset -30s", " @ 300", " @ start()", " @ end() offset 15s"])
    }

    fn duration(&mut self) -> &'static str {
        self.one(&["1m", "30s", "2m30s", "1ms", "10m", "1m + 30s", "step() * 2", "1d"])
    }

    fn range(&mut self, height: usize) -> String {
        if height > 0 && self.of(3) == 1 {
            let (inner, range) = (self.vector(height - 1), self.duration());
            let step = self.one(&["30s", "", "1m", "15s"]);
            return format!("({inner})[{range}:{step}]{}", self.shift());
        }
        let (selector, range, kind) = (self.selector(), self.duration(), self.one(&["", "", "", " anchored", " smoothed"]));
        format!("{selector}[{range}]{kind}{}", self.shift())
    }

    fn scalar(&mut self, height: usize) -> String {
        match self.of(10) {
            8 => self.one(&["step()", "range()", "start()", "end()"]).to_owned(),
            9 if height > 0 => {
                let function = self.one(&["min_of", "max_of"]);
                format!("{function}({}, {})", self.scalar(height - 1), self.scalar(height - 1))
            }
            0 => self.one(&["1", "0.5", "-3", "NaN", "Inf", "1e9", "0", "-0.1"]).to_owned(),
            1 => "time()".to_owned(),
            2 if height > 0 => format!("scalar({})", self.vector(height - 1)),
            3 if height > 0 => {
                let operator = self.one(&["+", "-", "*", "/", "%", "^", "> bool", "atan2"]);
                format!("({} {operator} {})", self.scalar(height - 1), self.scalar(height - 1))
            }
            _ => self.one(&["2", "pi()", "-(1)", "300"]).to_owned(),
        }
    }

    fn grouping(&mut self) -> &'static str {
        self.one(&["", " by (g)", " without (g)", " by (__name__, le)", " by ()", " without ()"])
    }

    fn aggregation(&mut self, below: usize) -> String {
        match self.of(3) {
            0 => {
                let operator = self.one(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
                format!("{operator}{} ({})", self.grouping(), self.vector(below))
            }
            1 => {
                let operator = self.one(&["topk", "bottomk", "quantile", "limitk", "limit_ratio"]);
                format!("{operator}{} ({}, {})", self.grouping(), self.scalar(below), self.vector(below))
            }
            _ => format!("count_values{} (\"v\", {})", self.grouping(), self.vector(below)),
        }
    }

    fn over_range(&mut self, below: usize) -> String {
        match self.of(6) {
            0 => format!("quantile_over_time({}, {})", self.scalar(below), self.range(below)),
            1 => format!("predict_linear({}, {})", self.range(below), self.scalar(below)),
            2 => format!("double_exponential_smoothing({}, 0.5, {})", self.range(below), self.one(&["0.1", "0.9"])),
            _ => format!("{}({})", self.one(RANGE_FUNCTIONS), self.range(below)),
        }
    }

    fn call(&mut self, below: usize) -> String {
        match self.of(12) {
            9 => format!("info({}{})", self.vector(below), self.one(&["", ", {g=~\".+\"}", ", {__name__=\"a\"}"])),
            10 => format!("histogram_quantiles({}, \"q\", {}, 0.9)", self.vector(below), self.scalar(below)),
            11 => format!("{}{}", self.selector(), self.one(&[" smoothed", " smoothed offset 7s", " anchored"])),
            0 => format!("histogram_quantile({}, {})", self.scalar(below), self.vector(below)),
            1 => format!("histogram_fraction({}, {}, {})", self.scalar(below), self.scalar(below), self.vector(below)),
            2 => format!("clamp({}, {}, {})", self.vector(below), self.scalar(below), self.scalar(below)),
            3 => format!("round({}, {})", self.vector(below), self.scalar(below)),
            4 => format!("label_replace({}, \"n\", \"$1-x\", \"g\", \"(.*)\")", self.vector(below)),
            5 => format!("label_join({}, \"g\", \"-\", \"g\", \"__name__\")", self.vector(below)),
            6 => format!("sort_by_label({}, \"g\")", self.vector(below)),
            7 => format!("vector({})", self.scalar(below)),
            _ => format!("{}({})", self.one(FUNCTIONS), self.vector(below)),
        }
    }

    fn binary(&mut self, below: usize) -> String {
        let operator = self.one(&["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<=", "> bool", "== bool", "atan2"]);
        let vector = self.vector(below);
        match self.of(4) {
            0 => format!("({vector}) {operator} {}", self.scalar(below)),
            1 => format!("{} {operator} ({vector})", self.scalar(below)),
            2 => {
                let matching = self.one(&["", " on (g)", " ignoring (le)", " on () group_left", " on (g) group_right (le)"]);
                let fill = self.one(&["", "", " fill(0)", " fill_left(-1)", " fill_right(NaN)", " fill_left(1) fill_right(Inf)"]);
                format!("({vector}) {operator}{matching}{fill} ({})", self.vector(below))
            }
            _ => {
                let (operator, matching) = (self.one(&["and", "or", "unless"]), self.one(&["", " on (g)", " ignoring (g)"]));
                format!("({vector}) {operator}{matching} ({})", self.vector(below))
            }
        }
    }

    fn vector(&mut self, height: usize) -> String {
        let Some(below) = height.checked_sub(1) else { return format!("{}{}", self.selector(), self.shift()) };
        match self.of(10) {
            0 => format!("{}{}", self.selector(), self.shift()),
            1 => format!("-({})", self.vector(below)),
            2..4 => self.aggregation(below),
            4..6 => self.over_range(below),
            6..8 => self.call(below),
            _ => self.binary(below),
        }
    }
}

/// Functions of one range.
pub(super) const RANGE_FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "idelta",
    "irate",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "present_over_time",
    "absent_over_time",
    "first_over_time",
    "ts_of_last_over_time",
    "ts_of_first_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

const FUNCTIONS: &[&str] = &[
    "abs",
    "ceil",
    "exp",
    "ln",
    "sqrt",
    "sgn",
    "floor",
    "round",
    "sin",
    "timestamp",
    "start_timestamp",
    "absent",
    "sort",
    "sort_desc",
    "day_of_week",
    "days_in_month",
    "year",
    "histogram_avg",
    "histogram_count",
    "histogram_sum",
    "histogram_stddev",
    "histogram_stdvar",
    "deg",
];
