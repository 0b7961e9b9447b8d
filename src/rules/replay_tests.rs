//! What a replay says is what the live rule did.

use super::alerting::AlertState;
use super::file;
use super::memory_append::MemoryAppend;
use super::replay::{Outcome, Replay, ReplayError, Span};
use super::rule::{Evaluation, RuleState};
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, EngineOptions};
use crate::storage::select::memory::MemoryStore;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const START_MS: i64 = 1_700_000_000_000;

fn rule(text: &str) -> Arc<super::spec::RuleSpec> {
    let file = file::read(&format!("groups:\n- name: g\n  rules:\n  - {text}\n")).unwrap().file;
    Arc::clone(&file.groups[0].rules[0])
}

fn store(values: &[(&str, &[f64])], step_ms: i64) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for (instance, values) in values {
        let labels = Labels::from_pairs([("__name__", "m"), ("instance", instance)]);
        for (place, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            store.add(&labels, START_MS + place as i64 * step_ms, Value::Float(*value));
        }
    }
    store
}

fn replay(store: &MemoryStore, engine: &Engine, text: &str, (start_ms, end_ms): (i64, i64)) -> Result<Outcome, ReplayError> {
    let replay = Replay {
        engine,
        querier: store,
        rule: &rule(text),
        start_ms,
        end_ms,
        interval_ms: 15_000,
        external_labels: &Labels::empty(),
        external_url: "http://w",
        cancel: Arc::new(AtomicBool::new(false)),
    };
    replay.run()
}

/// The spans as words: state, seconds from the start of the data, value.
fn words(spans: &[Span]) -> Vec<String> {
    let second = |at_ms: i64| (at_ms - START_MS) / 1000;
    let end = |span: &Span| span.end_ms.map_or_else(|| "on".to_owned(), |end_ms| second(end_ms).to_string());
    spans.iter().map(|span| format!("{} {}-{} {}", span.state.as_str(), second(span.start_ms), end(span), span.value)).collect()
}

#[test]
fn tells_how_often_an_alert_would_have_fired() {
    // Every 15 s: high for a minute, low, high for 2 minutes, gone.
    let mut values = vec![20.0; 4];
    values.extend([1.0; 4]);
    values.extend([30.0; 8]);
    values.extend([1.0; 20]);
    let store = store(&[("a", &values), ("b", &[1.0; 36])], 15_000);
    let engine = Engine::new(EngineOptions::default());
    let text = "{alert: High, expr: m > 10, for: 1m, keep_firing_for: 30s, labels: {at: '{{ $labels.instance }}'}, annotations: {s: '{{ template \"none\" }}'}}";
    let found = replay(&store, &engine, text, (START_MS, START_MS + 600_000)).unwrap();
    assert_eq!((found.fired, found.gave_up, found.alerts.len()), (1, 1, 1));
    assert_eq!(found.alerts[0].labels.to_string(), r#"{alertname="High", at="a", instance="a"}"#);
    let expected = ["pending 0-60 20", "pending 120-180 30", "firing 180-270 30"];
    assert_eq!(words(&found.alerts[0].spans), expected);
    // A range that begins in the middle has the true state at its beginning, and one that ends early has no end.
    let late = replay(&store, &engine, text, (START_MS + 195_000, START_MS + 210_000)).unwrap();
    assert_eq!(words(&late.alerts[0].spans), ["firing 195-on 30"]);
    let after = replay(&store, &engine, text, (START_MS + 300_000, START_MS + 600_000)).unwrap();
    assert_eq!((after.fired, after.alerts.len()), (0, 0));
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let store = store(&[("a", &[20.0; 4])], 15_000);
    let engine = Engine::new(EngineOptions::default());
    let refused = |text: &str, range: (i64, i64)| replay(&store, &engine, text, range).unwrap_err().to_string();
    let long = (START_MS, START_MS + 600_000 * 15_000);
    assert!(refused("{alert: A, expr: m > 10}", long).starts_with("600002 evaluations are more than 600000"));
    assert_eq!(refused("{record: a, expr: m}", (START_MS, START_MS)), "only alerting rules can be replayed");
    assert!(refused("{alert: A, expr: m > 10}", (START_MS, START_MS - 1)).contains("before the start"));
    let doubled =
        refused("{alert: A, expr: 'm or label_replace(m, \"x\", \"y\", \"\", \"\")', labels: {x: z}}", (START_MS, START_MS));
    assert!(doubled.contains("2023-11-14T22:13:20Z: vector contains metrics with the same labelset"), "{doubled}");
}

#[test]
fn a_small_budget_makes_slices_smaller() {
    let values = [20.0; 2000];
    let series: Vec<String> = (0..20).map(|place| place.to_string()).collect();
    let all: Vec<(&str, &[f64])> = series.iter().map(|name| (name.as_str(), &values[..])).collect();
    let store = store(&all, 15_000);
    let engine = Engine::new(EngineOptions { max_samples: 2000, ..EngineOptions::default() });
    let found = replay(&store, &engine, "{alert: A, expr: m > 10, for: 5m}", (START_MS, START_MS + 2000 * 15_000)).unwrap();
    assert_eq!((found.fired, found.alerts.len()), (20, 20));
}

/// The states of the live rule at each evaluation, as spans.
fn live(store: &Arc<MemoryStore>, text: &str, count: i64) -> BTreeMap<Labels, Vec<(AlertState, i64, i64)>> {
    let engine = Engine::new(EngineOptions::default());
    let append = MemoryAppend::new(Arc::clone(store));
    let mut state = RuleState::new(rule(text), "g".to_owned(), false);
    let mut spans: BTreeMap<Labels, Vec<(AlertState, i64, i64)>> = BTreeMap::new();
    for place in 0..count {
        let at_ms = START_MS + place * 15_000;
        let evaluation = Evaluation {
            engine: &engine,
            querier: &**store,
            append: &append,
            at_ms,
            query_offset_ms: 0,
            limit: 0,
            external_labels: &Labels::empty(),
            external_url: "http://w",
            cancel: None,
            interval_ms: 15_000,
            resend_delay_ms: 60_000,
            group: ("", ""),
        };
        assert_eq!(state.evaluate(&evaluation).error, None);
        for (labels, alert) in state.alerting.active.iter().filter(|(_, alert)| alert.state != AlertState::Inactive) {
            let known = spans.entry(labels.clone()).or_default();
            match known.last_mut() {
                Some((last, _, until)) if *last == alert.state && *until == at_ms => *until = at_ms + 15_000,
                _ => known.push((alert.state, at_ms, at_ms + 15_000)),
            }
        }
    }
    spans
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_replay_is_what_the_live_rule_did(
        values in prop::collection::vec(prop::sample::select(&[20.0, 20.0, 20.0, 1.0, f64::NAN]), 1..150),
        other in prop::collection::vec(prop::sample::select(&[20.0, 1.0]), 1..150),
        hold in 0_i64..5,
        keep in 0_i64..5,
        expr in prop::sample::select(&["m > 10", "m > 10 unless m offset 1m > 15", "max_over_time(m[1m]) > 10", "sum(m @ end()) > 10"]),
    ) {
        let store = store(&[("a", &values), ("b", &other)], 15_000);
        let text = format!("{{alert: A, expr: '{expr}', for: {}s, keep_firing_for: {}s}}", hold * 15, keep * 15);
        let count = 180;
        let engine = Engine::new(EngineOptions::default());
        let found = replay(&store, &engine, &text, (START_MS, START_MS + (count - 1) * 15_000)).unwrap();
        let end_ms = START_MS + count * 15_000;
        let replayed: BTreeMap<Labels, Vec<(AlertState, i64, i64)>> = found.alerts.iter().map(|alert| {
            let spans = alert.spans.iter().map(|span| (span.state, span.start_ms, span.end_ms.unwrap_or(end_ms)));
            (alert.labels.clone(), spans.collect())
        }).collect();
        prop_assert_eq!(replayed, live(&store, &text, count));
    }
}
