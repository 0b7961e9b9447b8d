//! What counts as the same answer: value, labels, order where one is defined, annotations, errors.

use super::generate::Node;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// Annotations of one kind that an answer shows at most.
const SHOWN_MAX: usize = 10;

/// Differences that are meant: what differs, words that are in it, and why. All are Prometheus's own changes after 3.5, which is
/// the version that distributions have; its test vectors hold each of them.
const MEANT: &[(&str, &str, &str)] = &[
    ("warnings", "histograms and floats for aggregation", "whether it is told beside another depends on an order that is chance"),
    ("warnings", "conflicting counter resets", "3.14 tells of them"),
    ("infos", "needed to be fixed for monotonicity", "3.14 says how far and how often"),
    ("warnings", "sort is ineffective for range queries", "3.14 warns of it"),
    ("status or error", "Parameter value is NaN", "3.14 looks at the parameter before there are series"),
    ("status or error", "many-to-one matching must be explicit", "3.14 counts what a comparison leaves out, too"),
    ("status or error", "overflows int64", "3.14 looks at the parameter before there are series"),
    ("status or error", "underflows int64", "3.14 looks at the parameter before there are series"),
    ("warnings", "for metric name \\\"\\\"", "3.14 leaves empty names out"),
];

const CALENDAR: &[&str] = &["minute(", "hour(", "day_of_", "days_in_", "month(", "year("];

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Outcome {
    /// Whether there is a sample in it.
    pub(crate) fn is_filled(&self) -> bool {
        self.status == 200 && self.body["data"]["result"].as_array().is_some_and(|list| !list.is_empty())
    }
}

/// What differs, for people.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    what: String,
    ours: String,
    theirs: String,
    query: String,
}

impl Difference {
    fn new(what: &str, ours: impl fmt::Display, theirs: impl fmt::Display) -> Self {
        Self { what: what.to_owned(), ours: ours.to_string(), theirs: theirs.to_string(), query: String::new() }
    }

    /// Whether it was not there when asked again: memory of native histograms that Prometheus 3.5 uses twice.
    pub(crate) fn is_gone(&self) -> bool {
        self.what.is_empty()
    }

    /// Why it is meant, if it is.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        if self.query.contains("timestamp(") && self.query.contains(" @ ") && self.query.contains(" offset ") {
            return Some("Prometheus forgets the offset where timestamp() is of a selector with @ and offset");
        }
        if self.what.starts_with("value") && does_not_add_up(&self.theirs) {
            return Some("the buckets are not those of the count: Prometheus 3.5 shares the memory of native histograms");
        }
        if self.theirs.contains("metrics with the same labelset") && !self.ours.contains("same labelset") {
            return Some("3.14 joins series that become the same and never meet");
        }
        if self.query.contains("mad_over_time") && self.ours.contains("NaN") {
            return Some("3.14 does not leave out what is no number");
        }
        let of_calendar = CALENDAR.iter().any(|name| self.query.contains(name));
        if of_calendar && self.what.starts_with("value") && self.ours.contains("NaN") {
            return Some("the date of what is no time depends on the processor in Prometheus");
        }
        if self.what == "infos" || self.what == "warnings" {
            let plain = |text: &str| {
                text.split(" got ").map(|part| part.split_once(' ').unwrap_or(("", part)).1.to_owned()).collect::<Vec<_>>()
            };
            if self.ours.contains("quantile value should") && plain(&self.ours) == plain(&self.theirs) {
                return Some("of the parameters of several steps either may be told");
            }
            // A range function points at a subquery that Prometheus replaced by a part without a place.
            let bare = |text: &str| {
                text.split(" (1:").map(|part| part.split_once(')').unwrap_or(("", part)).1.to_owned()).collect::<Vec<_>>()
            };
            if self.query.contains(")[") && bare(&self.ours) == bare(&self.theirs) {
                return Some("Prometheus points at the beginning of the query where it means a subquery");
            }
        }
        let either = |words: &str| self.ours.contains(words) || self.theirs.contains(words);
        MEANT.iter().find(|(what, words, _)| self.what.starts_with(what) && either(words)).map(|(_, _, reason)| *reason)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n    ours   {:.600}\n    theirs {:.600}", self.what, self.ours, self.theirs)
    }
}

/// Whether a histogram's buckets are another number than its count.
fn does_not_add_up(point: &str) -> bool {
    let Ok(point) = serde_json::from_str::<Value>(point) else { return false };
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let Some(buckets) = point[1]["buckets"].as_array() else { return false };
    let sum: f64 = buckets.iter().map(|bucket| number(&bucket[3])).sum();
    (sum - number(&point[1]["count"])).abs() > 1e-9 * sum.abs()
}

/// Compares two answers; `None`: they are the same.
pub(super) fn difference(node: &Node, query: &str, ours: &Outcome, theirs: &Outcome) -> Option<Difference> {
    apart(node, ours, theirs).map(|difference| Difference { query: query.to_owned(), ..difference })
}

fn apart(node: &Node, ours: &Outcome, theirs: &Outcome) -> Option<Difference> {
    if ours.status != theirs.status || ours.status != 200 {
        let error = |outcome: &Outcome| format!("{} {}", outcome.status, outcome.body);
        // Which series are named is chance where they were computed, and of two 3.5 names the later first, 3.14 the lesser.
        let known = |outcome: &Outcome| {
            let text = outcome.body["error"].as_str().unwrap_or_default().to_owned();
            let text = text.split_once(" for the match group").map_or(text.clone(), |(kind, _)| kind.to_owned());
            (outcome.status, outcome.body["errorType"].clone(), text)
        };
        let same = known(ours) == known(theirs);
        return (!same).then(|| Difference::new("status or error", error(ours), error(theirs)));
    }
    for kind in ["warnings", "infos"] {
        let set = |outcome: &Outcome| -> BTreeSet<String> {
            let list = outcome.body[kind].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (left, right) = (set(ours), set(theirs));
        // Which of too many are shown is chance.
        let all = left.len() > SHOWN_MAX && right.len() > SHOWN_MAX;
        if left != right && !all && !only_last(&left, &right, theirs) {
            return Some(Difference::new(kind, format!("{left:?}"), format!("{right:?}")));
        }
    }
    let (left, right) = (&ours.body["data"], &theirs.body["data"]);
    if left["resultType"] != right["resultType"] {
        return Some(Difference::new("type", left, right));
    }
    if left["resultType"] != "vector" && left["resultType"] != "matrix" {
        let same = values(&left["result"], &right["result"], node.tolerance());
        return (!same).then(|| Difference::new("value", left, right));
    }
    lists(node, &left["result"], &right["result"], left["resultType"] == "matrix")
}

/// Of several pairs that do not fit an operator, Prometheus tells only of the one that happens to be last at a step; here all are
/// told.
fn only_last(ours: &BTreeSet<String>, theirs: &BTreeSet<String>, answer: &Outcome) -> bool {
    let of_pair =
        |text: &&String| text.contains(" encountered for binary operator ") || text.contains("conflicting counter resets");
    // The last may be of the other kind.
    let told = ["warnings", "infos"].iter().filter_map(|kind| answer.body[*kind].as_array()).flatten();
    let mut told = told.filter_map(Value::as_str).map(str::to_owned);
    ours.is_superset(theirs) && ours.difference(theirs).all(|text| of_pair(&text)) && told.any(|text| of_pair(&&text))
}

fn lists(node: &Node, left: &Value, right: &Value, is_matrix: bool) -> Option<Difference> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (mut left, mut right) = (list(left), list(right));
    let labels = |value: &Value| value["metric"].to_string();
    let near = node.tolerance();
    if !is_matrix && node.orders_by_value() {
        let out_of_order = left.iter().zip(&right).find(|(left, right)| !values(&left["value"], &right["value"], near));
        if let Some((left, right)) = out_of_order {
            return Some(Difference::new("order", left, right));
        }
    }
    // Where a label is missing Prometheus's natural order contradicts itself.
    let has_all = |one: &Value| node.sorting_labels().iter().all(|name| one["metric"].get(name).is_some());
    if is_matrix || node.orders_by_labels() && left.iter().all(has_all) {
        let names = |list: &[Value]| list.iter().map(labels).collect::<Vec<_>>();
        let (left, right) = (names(&left), names(&right));
        if left != right {
            let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
            let rest = |names: &[String]| format!("{} series, from {same} on: {}", names.len(), names[same..].join(" "));
            return Some(Difference::new("series or their order", rest(&left), rest(&right)));
        }
    }
    left.sort_by_cached_key(labels);
    right.sort_by_cached_key(labels);
    let names = |list: &[Value]| list.iter().map(labels).collect::<Vec<_>>();
    if names(&left) != names(&right) {
        return Some(Difference::new("series", names(&left).join(" "), names(&right).join(" ")));
    }
    let fields = ["value", "values", "histogram", "histograms"];
    for (left, right) in left.iter().zip(&right) {
        for field in fields {
            if !values(&left[field], &right[field], near) {
                return Some(first_apart(left, &left[field], &right[field], near));
            }
        }
    }
    None
}

/// Names the first point that differs.
fn first_apart(series: &Value, left: &Value, right: &Value, near: f64) -> Difference {
    let what = format!("value{} of {}", if near > 0.0 { "" } else { ", which is exact," }, series["metric"]);
    if let (Some(ours), Some(theirs)) = (left.as_array(), right.as_array())
        && ours.len() == theirs.len()
        && let Some((ours, theirs)) = ours.iter().zip(theirs).find(|(ours, theirs)| !values(ours, theirs, near))
        && ours.is_array()
    {
        return Difference::new(&what, ours, theirs);
    }
    Difference::new(&what, left, right)
}

/// Whether two values of an answer are the same: numbers as texts to the digit, or nearly.
fn values(left: &Value, right: &Value, near: f64) -> bool {
    match (left, right) {
        (Value::String(ours), Value::String(theirs)) => {
            ours == theirs
                || near > 0.0
                    && ours.parse().ok().zip(theirs.parse().ok()).is_some_and(|(left, right)| is_near(left, right, near))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(left, right)| values(left, right, near))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, left)| theirs.get(key).is_some_and(|right| values(left, right, near)))
        }
        (Value::Number(ours), Value::Number(theirs)) => ours.as_f64() == theirs.as_f64(),
        _ => left == right,
    }
}

fn is_near(left: f64, right: f64, near: f64) -> bool {
    left == right || left.is_nan() && right.is_nan() || (left - right).abs() <= near * left.abs().max(right.abs())
}
