//! Watched groups on a paused clock: what wakes them, how often, and what goes on besides.

use super::tests::{START_MS, World, source};
use crate::config::Config;
use crate::model::labels::Labels;
use crate::model::rule_inputs::RuleInputs;
use crate::model::sample::Value;
use std::sync::Arc;
use std::time::Duration;

const FILE: &str = "groups:
- name: fast
  interval: 1h
  rules:
  - {record: twice, expr: m * 2}
  - {alert: High, expr: twice > 10 and m offset 1h < 5}
- name: behind
  interval: 1h
  rules:
  - {alert: Twice, expr: 'twice{a=\"\"} > 10'}
- name: window
  interval: 1h
  rules:
  - {record: rate, expr: 'rate(n{job=\"x\"}[5m]) + timestamp(m)'}
";

fn watching(groups: &[&str]) -> Arc<Config> {
    let watch_rule_groups = groups.iter().map(|&name| name.to_owned()).collect();
    Arc::new(Config { watch_rule_groups, ..Config::without_file() })
}

async fn world(groups: &[&str]) -> World {
    let mut world = World::start(Vec::new());
    world.config.send_replace(watching(groups));
    world.push(vec![source("/r/a.yml", FILE, 1)]).await;
    // The first evaluation, at once.
    world.env.clock.sleep(Duration::from_secs(2)).await;
    world.told();
    world
}

impl World {
    /// Writes a sample of `m` as a scrape does, and wakes a group.
    fn scraped(&self, group: usize, value: f64) {
        let at_ms = self.env.clock.now_ms();
        self.store.add(&Labels::from_pairs([("__name__", "m")]), at_ms, Value::Float(value));
        (self.inputs.borrow().groups[group].wake)(at_ms);
    }

    fn woken(&self, group: &str) -> u64 {
        let label = format!("zookeeper:/r/a.yml;{group}");
        self.registry.counter("watchkeeper_rule_group_woken_total", "", &[("rule_group", &label)]).get()
    }

    fn evaluations_at(&self, group: usize) -> i64 {
        self.rules.view().groups[group].last_evaluation_ms.unwrap()
    }
}

fn inputs(known: &RuleInputs) -> Vec<Vec<String>> {
    let text = |group: &crate::model::rule_inputs::WatchedGroup| {
        let one = |input: &crate::model::rule_inputs::RuleInput| {
            let matchers: Vec<String> = input.matchers.iter().map(ToString::to_string).collect();
            format!("{}{}", matchers.join(","), if input.every_sample { " every" } else { "" })
        };
        group.inputs.iter().map(one).collect()
    };
    known.groups.iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn what_watched_groups_read_is_published() {
    let mut world = world(&["fast", "window", "absent"]).await;
    let fast = [r#"__name__="m""#, r#"__name__="twice""#];
    let window = [r#"job="x",__name__="n" every"#, r#"__name__="m" every"#];
    assert_eq!(inputs(&world.inputs.borrow_and_update()), [fast.to_vec(), window.to_vec()]);
    // A file that says the same, and a reload of other things, change nothing.
    world.push(vec![source("/r/a.yml", &format!("# a remark\n{FILE}"), 2)]).await;
    assert!(!world.inputs.has_changed().unwrap());
    world.config.send_replace(watching(&["window"]));
    world.inputs.changed().await.unwrap();
    assert_eq!(inputs(&world.inputs.borrow_and_update()), [window.to_vec()]);
    world.push(Vec::new()).await;
    assert!(world.inputs.borrow_and_update().groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_scrape_is_told_without_an_evaluation_phase() {
    let mut world = world(&["fast"]).await;
    let labels = Labels::from_pairs([("__name__", "m")]);
    world.store.add(&labels, world.env.clock.now_ms() - 3_600_000, Value::Float(1.0));
    let before = world.env.clock.monotonic();
    world.scraped(0, 7.0);
    let told = world.alerts.recv().await.unwrap();
    assert!(world.env.clock.monotonic() - before < Duration::from_millis(5));
    assert_eq!((told[0].name(), told[0].value), ("High", Some(14.0)));
    assert_eq!(told[0].starts_at_ms, world.env.clock.now_ms());
    // The group behind is not watched, and the regular evaluations stay where they are.
    world.env.clock.sleep(Duration::from_secs(10)).await;
    assert!(world.alerts.try_recv().is_err());
    world.env.clock.sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.woken("fast"), 1);
    let regular = world.evaluations_at(0);
    assert!(regular > START_MS && regular < world.env.clock.now_ms() && world.evaluations_at(1) > START_MS + 60_000);
    world.env.clock.sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.evaluations_at(0) - regular, 3_600_000, "at its place in the interval");
}

#[tokio::test(start_paused = true)]
async fn groups_behind_are_woken_with_it() {
    let mut world = world(&["behind", "fast"]).await;
    world.scraped(0, 7.0);
    let told = world.alerts.recv().await.unwrap();
    assert_eq!(told[0].name(), "Twice");
    world.env.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!((world.woken("fast"), world.woken("behind")), (1, 1));
    // What is behind wakes nobody before it.
    let at_ms = world.env.clock.now_ms();
    (world.inputs.borrow().groups[1].wake)(at_ms);
    world.env.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!((world.woken("fast"), world.woken("behind")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn many_scrapes_share_an_evaluation() {
    let world = world(&["fast"]).await;
    for place in 0..1000 {
        world.scraped(0, f64::from(place));
        world.env.clock.sleep(Duration::from_millis(1)).await;
    }
    world.env.clock.sleep(Duration::from_secs(1)).await;
    let woken = world.woken("fast");
    assert!((8..=11).contains(&woken), "{woken} evaluations in a second");
    assert_eq!(world.last(&Labels::from_pairs([("__name__", "twice")])), Some(1998.0), "the last one was seen");
}

#[tokio::test(start_paused = true)]
async fn an_offset_delays_what_it_hides() {
    let text = "groups:\n- {name: late, interval: 1h, query_offset: 10s, rules: [{alert: High, expr: m > 5}]}\n";
    let mut world = World::start(Vec::new());
    world.config.send_replace(watching(&["late"]));
    world.push(vec![source("/r/a.yml", text, 1)]).await;
    world.env.clock.sleep(Duration::from_secs(2)).await;
    let scraped_ms = world.env.clock.now_ms();
    world.scraped(0, 7.0);
    let told = world.alerts.recv().await.unwrap();
    assert_eq!(told[0].starts_at_ms, scraped_ms + 10_000);
}
