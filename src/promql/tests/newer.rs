//! What is newer than the Prometheus that distributions have, against formulas that are written down independently here:
//! `first_over_time` and its time, `anchored` and `smoothed` ranges, `fill` in operations between vectors.

use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, EngineOptions, QueryOptions};
use crate::promql::parse::parse;
use crate::promql::value::QueryValue;
use crate::storage::select::memory::MemoryStore;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Between two samples where there is no gap.
const STEP_MS: i64 = 15_000;

/// The samples of one series, ascending in time.
type Samples = Vec<(i64, f64)>;

fn put(store: &MemoryStore, name: &str, i: &str, samples: &Samples) {
    let labels = Labels::from_pairs([("__name__", name), ("i", i)]);
    samples.iter().for_each(|(at_ms, value)| store.add(&labels, *at_ms, Value::Float(*value)));
}

/// Evaluates at a time; the answers by the label `i`.
fn ask(store: &MemoryStore, text: &str, at_ms: i64) -> BTreeMap<String, f64> {
    let engine = Engine::new(EngineOptions::default());
    let answer = engine.instant(store, &parse(text).expect("parses"), at_ms, &QueryOptions::default()).expect("answers");
    let QueryValue::Vector(samples) = answer.value else { panic!("{text}: no vector") };
    let float = |value: &Value| if let Value::Float(value) = value { *value } else { f64::NAN };
    samples.iter().map(|one| (one.labels.value("i").to_owned(), float(&one.value))).collect()
}

/// Some steps of a series left out, values small whole numbers.
fn with_gaps() -> impl Strategy<Value = Samples> {
    prop::collection::vec(prop::option::weighted(0.8, 0..50_i32), 60).prop_map(|values| {
        let at = (0..).step_by(STEP_MS as usize);
        at.zip(values).filter_map(|(at_ms, value)| Some((at_ms, f64::from(value?)))).collect()
    })
}

/// A counter without gaps; each step adds so much or begins anew.
fn counter(resets: bool) -> impl Strategy<Value = Samples> {
    prop::collection::vec((0..20_u32, 0..8_u32), 60).prop_map(move |steps| {
        let mut value = 100.0;
        let mut samples = Samples::new();
        for ((grows, chance), at_ms) in steps.into_iter().zip((0..).step_by(STEP_MS as usize)) {
            value = if resets && chance == 0 { f64::from(grows) } else { value + f64::from(grows) };
            samples.push((at_ms, value));
        }
        samples
    })
}

/// The value at a time on the line between the samples beside it.
fn between(samples: &Samples, at_ms: i64) -> f64 {
    let behind = samples.iter().rfind(|(at, _)| *at <= at_ms).expect("there is one");
    let ahead = samples.iter().find(|(at, _)| *at >= at_ms).expect("there is one");
    if ahead.0 == behind.0 {
        return behind.1;
    }
    behind.1 + (ahead.1 - behind.1) * (at_ms - behind.0) as f64 / (ahead.0 - behind.0) as f64
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_first_of_a_window_is_its_first(samples in with_gaps(), at_ms in 0..900_000_i64, range_s in 10..300_i64) {
        let store = MemoryStore::new();
        put(&store, "m", "1", &samples);
        let first = samples.iter().find(|(at, _)| *at > at_ms - range_s * 1000 && *at <= at_ms);
        let found = ask(&store, &format!("first_over_time(m[{range_s}s])"), at_ms);
        prop_assert_eq!(found.get("1").copied(), first.map(|(_, value)| *value));
        let found = ask(&store, &format!("ts_of_first_over_time(m[{range_s}s])"), at_ms);
        prop_assert_eq!(found.get("1").copied(), first.map(|(at, _)| *at as f64 / 1000.0));
    }

    // From the last sample at or before the window's begin to the last within it, with no guess beyond.
    #[test]
    fn anchored_ranges_begin_with_the_sample_before(samples in counter(true), at_ms in 350_000..880_000_i64, range_s in 31..200_i64) {
        let store = MemoryStore::new();
        put(&store, "c", "1", &samples);
        let from_ms = at_ms - range_s * 1000;
        let first = samples.iter().rposition(|(at, _)| *at <= from_ms).expect("there is one");
        let last = samples.iter().rposition(|(at, _)| *at <= at_ms).expect("there is one");
        let window = &samples[first..=last];
        let pairs = || window.windows(2).map(|pair| (pair[0].1, pair[1].1));
        let grown: f64 = pairs().map(|(before, now)| if now < before { now } else { now - before }).sum();
        let expected = [
            ("increase", grown),
            ("rate", grown / range_s as f64),
            ("delta", window[window.len() - 1].1 - window[0].1),
            ("resets", pairs().filter(|(before, now)| now < before).count() as f64),
            ("changes", pairs().filter(|(before, now)| (now - before).abs() > 0.0).count() as f64),
        ];
        for (function, expected) in expected {
            let found = ask(&store, &format!("{function}(c[{range_s}s] anchored)"), at_ms);
            prop_assert!(near(found["1"], expected), "{function}: {} and {expected}", found["1"]);
        }
    }

    // From the value at the window's begin to that at its end, both on the lines between samples.
    #[test]
    fn smoothed_ranges_lie_on_the_lines_between_samples(samples in counter(false), at_ms in 350_000..880_000_i64, range_s in 31..200_i64) {
        let store = MemoryStore::new();
        put(&store, "c", "1", &samples);
        let grown = between(&samples, at_ms) - between(&samples, at_ms - range_s * 1000);
        for (function, expected) in [("increase", grown), ("delta", grown), ("rate", grown / range_s as f64)] {
            let found = ask(&store, &format!("{function}(c[{range_s}s] smoothed)"), at_ms);
            prop_assert!(near(found["1"], expected), "{function}: {} and {expected}", found["1"]);
        }
        let found = ask(&store, "c smoothed", at_ms);
        prop_assert!(near(found["1"], between(&samples, at_ms)), "{found:?}");
    }

    // A side that has nothing where the other has something takes the number.
    #[test]
    fn fills_stand_in_for_what_is_missing(
        left in prop::collection::btree_map(0..6_u8, -9..9_i32, 0..6),
        right in prop::collection::btree_map(0..6_u8, -9..9_i32, 0..6),
        (fill_left, fill_right) in (prop::option::of(-3..3_i32), prop::option::of(-3..3_i32)),
        op in prop::sample::select(&["+", "-", "*"]),
    ) {
        let store = MemoryStore::new();
        for (name, side) in [("a", &left), ("b", &right)] {
            side.iter().for_each(|(i, value)| put(&store, name, &i.to_string(), &vec![(0, f64::from(*value))]));
        }
        let words = match (fill_left, fill_right) {
            (Some(left), Some(right)) if left == right => format!("fill({left})"),
            (Some(left), Some(right)) => format!("fill_left({left}) fill_right({right})"),
            (Some(left), None) => format!("fill_left({left})"),
            (None, Some(right)) => format!("fill_right({right})"),
            (None, None) => String::new(),
        };
        let mut expected = BTreeMap::new();
        for i in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
            let (Some(left), Some(right)) = (left.get(i).copied().or(fill_left), right.get(i).copied().or(fill_right)) else { continue };
            let value = match op {
                "+" => left + right,
                "-" => left - right,
                _ => left * right,
            };
            expected.insert(i.to_string(), f64::from(value));
        }
        let text = format!("a {op} on (i) {words} b");
        prop_assert_eq!(ask(&store, &text, 0), expected, "{}", text);
    }
}
