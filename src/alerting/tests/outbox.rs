//! The outbox and its bound.

use super::world::{World, config};
use crate::alerting::history::RECORDS_MAX;
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use std::path::Path;

fn to_the_outbox() -> std::sync::Arc<crate::config::Config> {
    config(
        "route: {receiver: a, group_by: [alertname], group_wait: 1s}\nreceivers:\n- name: a\n  email_configs: [{smarthost: outbox, from: a@example.org, to: b@example.org}]\n",
    )
}

/// Returns the numbers of the mails in the outbox, by their endings, sorted.
fn kept(world: &World, ending: &str) -> Vec<u64> {
    let entries = world.env.disk.list(Path::new("/data/outbox")).expect("a folder");
    let number = |name: &str| name.strip_suffix(ending).and_then(|number| number.parse().ok());
    let mut numbers: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(start_paused = true)]
async fn the_oldest_mails_beyond_the_bound_are_removed() {
    const MORE: usize = 7;
    let mut world = World::start(to_the_outbox()).await;
    let fire = |world: &World, names: std::ops::Range<usize>| {
        let alert = |name: usize| Alert {
            labels: Labels::from_pairs([("alertname", format!("A{name:04}"))]),
            annotations: Labels::empty(),
            starts_at_ms: world.env.clock.now_ms(),
            ends_at_ms: None,
            updated_at_ms: world.env.clock.now_ms(),
            generator_url: String::new(),
            value: None,
        };
        names.map(alert).collect::<Vec<_>>()
    };
    let all = |from: usize| (from as u64..).take(RECORDS_MAX).collect::<Vec<u64>>();
    assert_eq!(world.alerting.post(fire(&world, 0..RECORDS_MAX)).await, Ok(Vec::new()));
    world.until(30.0).await;
    // Up to the bound everything is there.
    assert_eq!((kept(&world, ".eml"), kept(&world, ".html")), (all(1), all(1)));

    assert_eq!(world.alerting.post(fire(&world, RECORDS_MAX..RECORDS_MAX + MORE)).await, Ok(Vec::new()));
    world.until(60.0).await;
    assert_eq!((kept(&world, ".eml"), kept(&world, ".html")), (all(1 + MORE), all(1 + MORE)));
    let shown: Vec<u64> = world.alerting.view().history.iter().map(|record| record.id).collect();
    assert_eq!((shown.iter().min(), shown.iter().max()), (Some(&(1 + MORE as u64)), Some(&((RECORDS_MAX + MORE) as u64))));
    assert!(world.alerting.content_raw(1).await.is_err(), "the oldest is gone");
    assert!(world.alerting.content_raw(1 + MORE as u64).await.is_ok());
    let removed = world.registry.counter("watchkeeper_notification_history_removed_total", "", &[]);
    assert_eq!(removed.get(), MORE as u64);

    // It stays so after a restart: the state knows no more than the folder.
    world.restart().await;
    assert_eq!((kept(&world, ".eml"), kept(&world, ".html")), (all(1 + MORE), all(1 + MORE)));
    assert_eq!(world.alerting.view().history.len(), RECORDS_MAX);
}
