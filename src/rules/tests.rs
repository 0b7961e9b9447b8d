//! The whole of the rules on a paused clock: files in, alerts out.

use super::alerting::AlertState;
use super::memory_append::MemoryAppend;
use super::rule::{Evaluation, RuleState};
use super::{RuleDeps, RuleManager, RulesHandle, file};
use crate::config::Config;
use crate::env::Env;
use crate::env::clock::TokioClock;
use crate::model::alert::{Alert, AlertChange};
use crate::model::labels::Labels;
use crate::model::rule_inputs::RuleInputs;
use crate::model::rule_source::{RuleOrigin, RuleSource, RuleSources};
use crate::model::sample::Value;
use crate::model::shared_data;
use crate::promql::engine::{Engine, EngineOptions};
use crate::promql::parse;
use crate::state::State;
use crate::state::memory::MemoryState;
use crate::storage::select::memory::MemoryStore;
use crate::storage::select::{Hints, Querier as _, TimeRange};
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Reads `VALUE` and `STEPxCOUNT`.
fn points(text: &str) -> Vec<f64> {
    let mut points: Vec<f64> = Vec::new();
    for word in text.split(' ') {
        match word.split_once('x') {
            Some((step, count)) => {
                for _ in 0..count.parse::<usize>().unwrap() {
                    points.push(points.last().unwrap() + step.parse::<f64>().unwrap());
                }
            }
            None => points.push(word.parse().unwrap()),
        }
    }
    points
}

fn load(store: &MemoryStore, series: &serde_json::Value) -> i64 {
    let mut end_s = 0;
    for (name, text) in series.as_object().unwrap() {
        let labels = parse::parse_series_notation(&format!("{name} 0")).unwrap().labels;
        for (i, value) in points(text.as_str().unwrap()).into_iter().enumerate() {
            store.add(&labels, i as i64 * 15_000, Value::Float(value));
            end_s = end_s.max(i as i64 * 15);
        }
    }
    end_s
}

/// What is to be seen at one evaluation.
fn check_alert(case: &str, t: i64, expected: &serde_json::Value, rule: &RuleState, labels: Option<&str>, posts: &[Alert]) {
    let wanted = |labels_found: &Labels| labels.is_none_or(|variant| labels_found.value("variant") == variant);
    let found = rule.alerting.active.iter().find(|(labels, _)| wanted(labels)).map(|(_, alert)| alert);
    let state = found.map_or(AlertState::Inactive, |alert| alert.state);
    assert_eq!(state.as_str(), expected["state"].as_str().unwrap(), "{case} at {t}");
    if let (Some(alert), Some(at)) = (found, expected.get("activeAt").and_then(serde_json::Value::as_i64)) {
        assert_eq!(alert.active_at_ms, at * 1000, "{case} at {t}");
        assert!((alert.value - expected["value"].as_f64().unwrap()).abs() < 1e-9, "{case} at {t}: {}", alert.value);
    }
    if let Some(post) = expected.get("first_post") {
        let told = posts.iter().find(|alert| wanted(&alert.labels)).unwrap_or_else(|| panic!("{case} at {t}: nothing told"));
        assert_eq!(told.starts_at_ms, post["startsAt"].as_i64().unwrap() * 1000, "{case} at {t}");
        assert_eq!(told.ends_at_ms, post["endsAt"].as_i64().map(|s| s * 1000), "{case} at {t}");
        assert_eq!(told.is_resolved_at(t * 1000), post["status"] == "resolved", "{case} at {t}");
    }
}

fn rules_of(case: &serde_json::Value) -> Vec<RuleState> {
    let listed = case.get("rules").cloned().unwrap_or_else(|| serde_json::json!([case["rule"]]));
    let text = serde_json::json!({"groups": [{"name": "g", "rules": listed}]}).to_string();
    let file = file::read(&text).unwrap().file;
    file.groups[0].rules.iter().map(|rule| RuleState::new(Arc::clone(rule), "g".to_owned(), true)).collect()
}

/// A rule whose labels fit no line shows an error; what it tells and its other series are there all the same.
#[test]
fn labels_that_fit_no_line_are_not_stored() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n    labels: {long: '{{ range query \"many\" }}{{ .Labels.text }}{{ end }}'}\n  - record: r\n    expr: label_replace(up, \"long\", \"$1\", \"text\", \"(.*)\")\n";
    let file = file::read(text).unwrap().file;
    let store = Arc::new(MemoryStore::new());
    let many = "x".repeat(1000);
    for number in 0..100 {
        let number = number.to_string();
        store.add(&Labels::from_pairs([("__name__", "many"), ("n", &number), ("text", &many)]), 0, Value::Float(1.0));
    }
    let huge = "y".repeat(60_000);
    store.add(&Labels::from_pairs([("__name__", "up"), ("instance", "a")]), 0, Value::Float(0.0));
    store.add(
        &Labels::from_pairs([("__name__", "up"), ("text", &huge), ("b", &huge), ("c", &huge), ("d", &huge)]),
        0,
        Value::Float(1.0),
    );
    let append = MemoryAppend::new(Arc::clone(&store));
    let engine = Engine::new(EngineOptions::default());
    let evaluation = Evaluation {
        engine: &engine,
        querier: &*store,
        append: &append,
        at_ms: 0,
        query_offset_ms: 0,
        limit: 0,
        external_labels: &Labels::empty(),
        external_url: "http://w",
        cancel: None,
        interval_ms: 30_000,
        resend_delay_ms: 60_000,
        group: ("", ""),
    };
    let mut rules = file.groups[0].rules.iter().map(|rule| RuleState::new(Arc::clone(rule), "g".to_owned(), false));
    let told = rules.next().unwrap().evaluate(&evaluation);
    assert!(told.error.as_deref().is_some_and(|error| error.contains("label value too long")), "{:?}", told.error);
    assert_eq!(told.alerts.len(), 1);
    assert_eq!(told.alerts[0].labels.value("long").len(), 100_000);
    let mut recording = rules.next().unwrap();
    let recorded = recording.evaluate(&evaluation);
    assert!(recorded.error.as_deref().is_some_and(|error| error.contains("labels too long")), "{:?}", recorded.error);
    assert_eq!((recorded.samples, recording.series().count()), (2, 1));
}

#[test]
fn life_cycles_of_the_compliance_specification() {
    let Some(file) = shared_data::json("alerting/alert_lifecycle.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let store = Arc::new(MemoryStore::new());
        let append = MemoryAppend::new(Arc::clone(&store));
        let engine = Engine::new(EngineOptions::default());
        let end_s = load(&store, &case["series"]) + 1200;
        let mut rules = rules_of(case);
        let mut current: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        for t in (0..=end_s).step_by(30) {
            let evaluation = Evaluation {
                engine: &engine,
                querier: &*store,
                append: &append,
                at_ms: t * 1000,
                query_offset_ms: 0,
                limit: 0,
                external_labels: &Labels::empty(),
                external_url: "http://w",
                cancel: None,
                interval_ms: 30_000,
                resend_delay_ms: 60_000,
                group: ("", ""),
            };
            let posts: Vec<Vec<Alert>> = rules
                .iter_mut()
                .map(|rule| {
                    let outcome = rule.evaluate(&evaluation);
                    assert_eq!(outcome.error, None, "{name} at {t}");
                    outcome.alerts
                })
                .collect();
            match &case["expect"] {
                serde_json::Value::Array(list) => {
                    check_list(name, t, list, &mut current, &rules[0], None, &posts[0]);
                }
                both => {
                    for variant in ["one", "two"] {
                        let list = both[format!("NewAlerts variant={variant}")].as_array().unwrap();
                        check_list(name, t, list, &mut current, &rules[0], Some(variant), &posts[0]);
                    }
                    check_order(t, &rules[0], &rules[1]);
                }
            }
        }
    }
}

fn check_list(
    name: &str,
    t: i64,
    list: &[serde_json::Value],
    current: &mut BTreeMap<String, serde_json::Value>,
    rule: &RuleState,
    variant: Option<&str>,
    posts: &[Alert],
) {
    let key = variant.unwrap_or("").to_owned();
    let mut expected = current.get(&key).cloned().unwrap_or_default();
    if let Some(new) = list.iter().find(|entry| entry["t"] == t) {
        expected = new.clone();
    } else if let Some(map) = expected.as_object_mut() {
        // Told again, or not: only the first time is listed.
        map.remove("first_post");
        map.remove("value");
        map.remove("activeAt");
    }
    check_alert(name, t, &expected, rule, variant, posts);
    current.insert(key, expected);
}

/// A later rule reads `ALERTS` of an earlier one in the same cycle.
fn check_order(t: i64, first: &RuleState, second: &RuleState) {
    let firing = first.alerting.active.values().filter(|alert| alert.state == AlertState::Firing).count();
    let found = second.alerting.active.values().find(|alert| alert.state == AlertState::Firing);
    assert_eq!(found.is_some(), firing == 2, "at {t}");
    if let Some(alert) = found {
        assert_eq!(alert.annotations.value("description"), "Old alertname was NewAlerts. foo was bar.");
    }
}

/// A world with one scraped metric and rules in it.
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    state: Arc<MemoryState>,
    sources: watch::Sender<Arc<RuleSources>>,
    pub(super) alerts: mpsc::Receiver<Vec<Alert>>,
    pub(super) rules: RulesHandle,
    pub(super) registry: Registry,
    pub(super) env: Env,
    pub(super) config: watch::Sender<Arc<Config>>,
    pub(super) inputs: watch::Receiver<Arc<RuleInputs>>,
    changed: mpsc::Receiver<Vec<AlertChange>>,
}

pub(super) const START_MS: i64 = 1_700_000_000_000;

pub(super) fn source(name: &str, text: &str, version: u64) -> RuleSource {
    RuleSource { origin: RuleOrigin::Znode(name.to_owned()), text: Ok(text.to_owned()), version, modified_ms: None }
}

impl World {
    pub(super) fn start(files: Vec<RuleSource>) -> Self {
        Self::start_on(files, Arc::new(MemoryStore::new()), Arc::new(MemoryState::new()), START_MS)
    }

    fn start_on(files: Vec<RuleSource>, store: Arc<MemoryStore>, state: Arc<MemoryState>, now_ms: i64) -> Self {
        let env = Env { clock: Arc::new(TokioClock::starting_at(now_ms)), ..Env::real() };
        let (alerts, told) = mpsc::channel(1000);
        let (changes, changed) = mpsc::channel(1000);
        let (sources, sources_seen) = watch::channel(Arc::new(RuleSources { files }));
        let (config, config_seen) = watch::channel(Arc::new(Config::without_file()));
        let (inputs, inputs_seen) = watch::channel(Arc::default());
        let registry = Registry::new();
        let deps = RuleDeps {
            env: env.clone(),
            engine: Arc::new(Engine::new(EngineOptions::default())),
            querier: Arc::clone(&store) as Arc<_>,
            append: Arc::new(MemoryAppend::new(Arc::clone(&store))),
            alerts,
            changes,
            external_url: "http://w".to_owned(),
            registry: registry.clone(),
            state: Arc::clone(&state) as Arc<dyn State>,
            inputs,
        };
        let rules = RuleManager::start(deps, config_seen, sources_seen);
        Self { store, state, sources, alerts: told, rules, registry, env, config, inputs: inputs_seen, changed }
    }

    /// Lets time pass, with the metric `m` at `value` every 5 s.
    pub(super) async fn pass(&self, seconds: i64, value: f64) {
        for _ in 0..seconds / 5 {
            self.store.add(&Labels::from_pairs([("__name__", "m")]), self.env.clock.now_ms(), Value::Float(value));
            self.env.clock.sleep(Duration::from_secs(5)).await;
        }
    }

    pub(super) fn told(&mut self) -> Vec<Alert> {
        let mut told = Vec::new();
        while let Ok(mut alerts) = self.alerts.try_recv() {
            told.append(&mut alerts);
        }
        told
    }

    pub(super) async fn push(&mut self, files: Vec<RuleSource>) {
        let before = self.rules.generation();
        self.sources.send_replace(Arc::new(RuleSources { files }));
        while self.rules.generation() == before {
            self.rules.changed().await.unwrap();
        }
    }

    pub(super) fn states(&self) -> Vec<String> {
        let view = self.rules.view();
        let rules = view.groups.iter().flat_map(|group| &group.rules);
        rules
            .map(|rule| {
                let state = rule.alerting.as_ref().map_or("recording", |alerting| alerting.state.as_str());
                format!("{} {state} {}", rule.name, rule.health.as_str())
            })
            .collect()
    }

    /// The times of the samples of a series.
    pub(super) fn times(&self, series: &Labels) -> Vec<i64> {
        let matchers: Vec<_> = series.iter().map(|(name, value)| crate::model::matcher::Matcher::equal(name, value)).collect();
        let selection = self.store.select(&matchers, TimeRange { start_ms: 0, end_ms: i64::MAX }, &Hints::default()).unwrap();
        let columns = selection.reader.read(0..selection.series.len()).unwrap();
        columns.first().map(|column| column.times.to_vec()).unwrap_or_default()
    }

    pub(super) fn last(&self, series: &Labels) -> Option<f64> {
        let matchers: Vec<_> = series.iter().map(|(name, value)| crate::model::matcher::Matcher::equal(name, value)).collect();
        let range = TimeRange { start_ms: 0, end_ms: i64::MAX };
        let selection = self.store.select(&matchers, range, &Hints::default()).ok()?;
        let columns = selection.reader.read(0..selection.series.len()).ok()?;
        let column = columns.first()?;
        column.float(column.len().checked_sub(1)?)
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_of_state_is_told_once() {
    let file = vec![source("/r/a.yml", &alert_file("m > 10", "    for: 30s\n"), 1)];
    let mut world = World::start(file.clone());
    let states = |world: &mut World| -> Vec<(&'static str, f64)> {
        let mut found = Vec::new();
        while let Ok(changes) = world.changed.try_recv() {
            assert!(
                changes.iter().all(|change| change.labels.value("alertname") == "High" && change.active_at_ms <= change.at_ms)
            );
            found.extend(changes.iter().map(|change| (change.state, change.value)));
        }
        found
    };
    world.pass(20, 20.0).await;
    world.pass(30, 5.0).await;
    assert_eq!(states(&mut world), [("pending", 20.0), ("inactive", 20.0)]);
    world.pass(90, 30.0).await;
    assert_eq!(states(&mut world), [("pending", 30.0), ("firing", 30.0)]);
    // A restart is no change.
    world.rules.stop().await;
    let (store, state, now_ms) = (Arc::clone(&world.store), Arc::clone(&world.state), world.env.clock.now_ms());
    let mut world = World::start_on(file, store, state, now_ms);
    world.pass(30, 30.0).await;
    assert_eq!(states(&mut world), []);
    world.push(Vec::new()).await;
    assert_eq!(states(&mut world), [("inactive", 30.0)], "the rule is gone");
}

fn alert_file(expr: &str, extra: &str) -> String {
    format!("groups:\n- name: g\n  interval: 15s\n  rules:\n  - alert: High\n    expr: {expr}\n{extra}")
}

#[tokio::test(start_paused = true)]
async fn an_alert_fires_is_told_again_and_resolves() {
    let mut world = World::start(vec![source("/r/a.yml", &alert_file("m > 10", "    for: 30s\n"), 1)]);
    world.pass(60, 20.0).await;
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].ends_at_ms, Some(told[0].starts_at_ms + 240_000));
    assert_eq!(told[0].generator_url, "http://w/graph?g0.expr=m+%3E+10&g0.tab=1");
    assert_eq!(world.states(), ["High firing ok"]);
    world.pass(180, 20.0).await;
    assert!(!world.told().is_empty(), "told again after more than a minute");
    world.pass(30, 5.0).await;
    let told = world.told();
    assert!(told.last().unwrap().is_resolved_at(world.env.clock.now_ms()), "{told:?}");
    assert_eq!(world.states(), ["High inactive ok"]);
    let firing = Labels::from_pairs([("__name__", "ALERTS"), ("alertstate", "firing")]);
    assert!(world.last(&firing).is_some_and(crate::model::sample::is_stale), "the series ended");
    world.rules.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_is_refused_and_the_last_good_one_goes_on() {
    let good = alert_file("m > 10", "");
    let mut world = World::start(vec![source("/r/a.yml", &good, 1), source("/r/b.yml", "groups: [", 1)]);
    world.pass(30, 20.0).await;
    assert_eq!(world.states(), ["High firing ok"]);
    let refused = &world.rules.view().refused[0];
    assert_eq!((refused.origin.path(), refused.has_last_good), ("/r/b.yml", false));
    assert!(refused.line > 0, "{refused:?}");
    world.push(vec![source("/r/a.yml", &alert_file("m >", ""), 2)]).await;
    world.pass(30, 20.0).await;
    let view = world.rules.view();
    assert_eq!(world.states(), ["High firing ok"], "the last good version goes on");
    assert_eq!((view.refused.len(), view.refused[0].line, view.refused[0].has_last_good), (1, 6, true));
    assert_eq!((view.files[0].active_version, view.files[0].found_version), (Some(1), 2));
    let gauge = world.registry.gauge("watchkeeper_rule_file_refused", "", &[("file", "zookeeper:/r/a.yml")]);
    assert!(gauge.get() > 0.5);
    assert!(world.told().iter().all(|alert| !alert.is_resolved_at(world.env.clock.now_ms())));
    // The same broken file is there at the next start: the good text was kept.
    world.rules.stop().await;
    let bad = vec![source("/r/a.yml", &alert_file("m >", ""), 2)];
    let now_ms = world.env.clock.now_ms();
    let again = World::start_on(bad, Arc::clone(&world.store), Arc::clone(&world.state), now_ms);
    again.pass(30, 20.0).await;
    assert_eq!(again.states(), ["High firing ok"]);
    assert!(again.rules.view().refused[0].has_last_good);
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_did_not_change_and_resolves_what_went() {
    let both = "groups:\n- name: g\n  interval: 15s\n  rules:\n  - {alert: High, expr: m > 10}\n  - {alert: Low, expr: m > 1}\n";
    let one = "groups:\n- name: g\n  interval: 15s\n  rules:\n  - {alert: High, expr: m > 11}\n  - {record: r, expr: m * 2}\n";
    let mut world = World::start(vec![source("/r/a.yml", both, 1)]);
    world.pass(30, 20.0).await;
    let first: Vec<_> = world.told().into_iter().map(|alert| (alert.name().to_owned(), alert.starts_at_ms)).collect();
    assert_eq!(first.len(), 2);
    world.push(vec![source("/r/a.yml", one, 2)]).await;
    world.pass(100, 20.0).await;
    let told = world.told();
    let low: Vec<_> = told.iter().filter(|alert| alert.name() == "Low").collect();
    assert!(low.len() == 1 && low[0].is_resolved_at(world.env.clock.now_ms()), "{told:?}");
    let high = told.iter().find(|alert| alert.name() == "High").unwrap();
    assert_eq!(high.starts_at_ms, first[0].1, "the alert goes on although the expression changed");
    assert_eq!(world.last(&Labels::from_pairs([("__name__", "r")])), Some(40.0));
    assert_eq!(world.states(), ["High firing ok", "r recording ok"]);
    world.push(Vec::new()).await;
    assert!(world.told().iter().all(|alert| alert.is_resolved_at(world.env.clock.now_ms())));
    assert!(world.last(&Labels::from_pairs([("__name__", "r")])).is_some_and(crate::model::sample::is_stale));
    assert!(world.states().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pending_time_survives_the_death_of_the_process() {
    let file = vec![source("/r/a.yml", &alert_file("m > 10", "    for: 2m\n"), 1)];
    let world = World::start(file.clone());
    world.pass(90, 20.0).await;
    assert_eq!(world.states(), ["High pending ok"]);
    let began = world.rules.view().groups[0].rules[0].alerting.as_ref().unwrap().alerts[0].active_at_ms;
    let now_ms = world.env.clock.now_ms() + 10_000;
    let (store, state) = (Arc::clone(&world.store), Arc::clone(&world.state));
    // Dropped without a word, as by kill -9.
    drop(world);
    let mut world = World::start_on(file, store, state, now_ms);
    world.pass(60, 20.0).await;
    let alerting = world.rules.view().groups[0].rules[0].alerting.clone().unwrap();
    assert_eq!(alerting.alerts[0].active_at_ms, began - began % 1000, "whole seconds are kept");
    assert_eq!(alerting.state, AlertState::Firing);
    assert_eq!(world.told().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn firing_alerts_survive_a_restart_with_their_beginning() {
    let file = vec![source("/r/a.yml", &alert_file("m > 10", "    keep_firing_for: 2m\n"), 1)];
    let mut world = World::start(file.clone());
    world.pass(60, 20.0).await;
    world.pass(30, 5.0).await;
    let began = world.told()[0].starts_at_ms;
    assert_eq!(world.states(), ["High firing ok"], "kept firing");
    world.rules.stop().await;
    let (store, state) = (Arc::clone(&world.store), Arc::clone(&world.state));
    let now_ms = world.env.clock.now_ms();
    let mut world = World::start_on(file, store, state, now_ms);
    world.pass(30, 5.0).await;
    assert_eq!(world.states(), ["High firing ok"]);
    assert!(world.told().iter().all(|alert| alert.starts_at_ms == began && !alert.is_resolved_at(now_ms)));
    world.pass(180, 5.0).await;
    assert_eq!(world.states(), ["High inactive ok"]);
    assert!(world.told().last().unwrap().is_resolved_at(world.env.clock.now_ms()));
}

#[tokio::test(start_paused = true)]
async fn a_failing_rule_says_so_and_leaves_the_others_alone() {
    let text = "groups:\n- name: g\n  interval: 15s\n  limit: 1\n  rules:\n  - {record: r, expr: 'm or label_replace(m, \"a\", \"b\", \"\", \"\")'}\n  - {record: s, expr: m}\n";
    let world = World::start(vec![source("/r/a.yml", text, 1)]);
    world.pass(30, 20.0).await;
    assert_eq!(world.states(), ["r recording err", "s recording ok"]);
    assert_eq!(world.rules.view().groups[0].rules[0].last_error, "exceeded limit of 1 with 2 series");
    let failures =
        world.registry.counter("watchkeeper_rule_evaluation_failures_total", "", &[("rule_group", "zookeeper:/r/a.yml;g")]);
    assert!(failures.get() >= 1);
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_the_server_was_away_is_not_held_where_its_input_says_so() {
    let file = vec![source("/r/a.yml", &alert_file("m > 10", ""), 1)];
    let world = World::start(file.clone());
    world.pass(60, 20.0).await;
    assert_eq!(world.states(), ["High firing ok"]);
    let (store, state) = (Arc::clone(&world.store), Arc::clone(&world.state));
    let now_ms = world.env.clock.now_ms();
    drop(world);
    // The first scrape after the start comes before the first evaluation.
    store.add(&Labels::from_pairs([("__name__", "m")]), now_ms, Value::Float(1.0));
    let mut world = World::start_on(file, store, state, now_ms);
    world.pass(30, 1.0).await;
    assert_eq!(world.states(), ["High inactive ok"]);
    assert!(world.told().last().is_some_and(|alert| alert.is_resolved_at(world.env.clock.now_ms())));
}
