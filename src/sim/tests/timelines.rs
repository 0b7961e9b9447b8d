//! From an exporter's value to a mail through rules: when is who told, across kills, power cuts, stops and jumps of the clock.

use super::scene::{LOST, exporter, silence, started, want, world};
use crate::sim::network::Weather;
use crate::sim::tests::scene::{QUEUE, ZNODE, expire};

/// From the value to the alert in the notifier: a scrape and an evaluation, each within 5 s.
const SEEN: f64 = 10.5;
/// And from there to the first mail.
const FIRST: f64 = SEEN + 2.0;
/// Or to one of a group that was told before.
const NEXT: f64 = SEEN + 10.0;

#[tokio::test(start_paused = true)]
async fn for_and_keep_firing_for_hold_their_times() {
    let world = started(1).await;
    exporter(&world, 0).set("load", 20.0);
    exporter(&world, 1).set("heat", 20.0);
    world.until(80.0).await;
    exporter(&world, 0).set("load", 1.0);
    exporter(&world, 1).set("heat", 1.0);
    world.until(200.0).await;
    want(
        &world,
        "ops",
        &[
            (22.0, 20.0 + FIRST, "F:Kept two R:"),
            (42.0, 40.0 + FIRST, "F:High one R:"),
            (80.0, 80.0 + NEXT, "F: R:High one"),
            (110.0, 110.0 + NEXT, "F: R:Kept two"),
        ],
    );
    want(&world, "dev", &[(22.0, 20.0 + FIRST, "F:Kept two R:"), (42.0, 40.0 + FIRST, "F:High one R:")]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_away_is_told_and_its_return() {
    let world = started(2).await;
    world.internet.weather("two:9100", LOST);
    world.until(60.0).await;
    world.internet.weather("two:9100", Weather::default());
    exporter(&world, 2).fail(true);
    world.until(120.0).await;
    want(&world, "ops", &[(22.0, 22.0 + FIRST, "F:Down two R:"), (60.0, 62.0 + NEXT, "F:Down three R:Down two")]);
}

#[tokio::test(start_paused = true)]
async fn a_pending_alert_is_on_time_after_a_kill_or_a_power_cut() {
    for power in [false, true] {
        let mut world = started(3).await;
        exporter(&world, 0).set("load", 20.0);
        world.until(32.0).await;
        world.die(power).await;
        world.until(34.0).await;
        world.start().await;
        world.until(120.0).await;
        want(&world, "ops", &[(42.0, 40.0 + FIRST, "F:High one R:")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_told_is_not_told_again_after_a_death() {
    for (power, age) in [(false, 0.1), (false, 30.0), (true, 0.1), (true, 30.0)] {
        let mut world = started(4).await;
        exporter(&world, 0).set("heat", 20.0);
        while world.mails().is_empty() {
            world.wait(0.1).await;
        }
        world.wait(age).await;
        world.die(power).await;
        world.wait(1.0).await;
        world.start().await;
        world.wait(200.0).await;
        want(&world, "ops", &[(22.0, 20.0 + FIRST, "F:Kept one R:")]);
        // Nor is a clean stop a reason.
        world.stop().await;
        world.start().await;
        world.wait(200.0).await;
        want(&world, "ops", &[(22.0, 20.0 + FIRST, "F:Kept one R:")]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_ends_while_the_server_is_down_is_told_as_resolved() {
    let mut world = started(5).await;
    exporter(&world, 0).set("load", 20.0);
    world.until(70.0).await;
    world.kill().await;
    exporter(&world, 0).set("load", 1.0);
    world.until(90.0).await;
    world.start().await;
    world.until(260.0).await;
    // It is given a minute to show itself.
    want(&world, "ops", &[(42.0, 40.0 + FIRST, "F:High one R:"), (90.0, 150.0 + NEXT, "F: R:High one")]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_was_acknowledged_outlives_a_power_cut() {
    let mut world = started(6).await;
    let id = silence(&world, "Kept", 3600).await.expect("acknowledged");
    world.cut_power().await;
    world.start().await;
    exporter(&world, 0).set("heat", 20.0);
    world.until(100.0).await;
    want(&world, "ops", &[]);
    assert!(expire(&world, &id).await);
    world.until(130.0).await;
    want(&world, "ops", &[(100.0, 110.5, "F:Kept one R:")]);
}

#[tokio::test(start_paused = true)]
async fn rules_of_a_znode_go_on_while_zookeeper_is_away() {
    let mut world = started(7).await;
    world.ensemble.set_away(true);
    world.kill().await;
    world.start().await;
    world.until(40.0).await;
    exporter(&world, 0).set("queue", 20.0);
    world.until(70.0).await;
    world.ensemble.set_away(false);
    world.until(100.0).await;
    // A rule that is gone takes its alerts with it, and its return brings them back.
    world.ensemble.remove(ZNODE);
    world.until(140.0).await;
    world.ensemble.write(ZNODE, QUEUE);
    world.until(180.0).await;
    want(
        &world,
        "ops",
        &[(42.0, 40.0 + FIRST, "F:Queue one R:"), (100.0, 112.0, "F: R:Queue one"), (140.0, 152.0, "F:Queue one R:")],
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_a_pending_alert_and_a_refused_one_changes_nothing() {
    let world = started(8).await;
    exporter(&world, 0).set("load", 20.0);
    world.until(32.0).await;
    world.write_rules("rules.yml", &format!("# again\n{}", super::scene::RULES));
    assert!(world.reload().await);
    world.until(36.0).await;
    world.write_rules("rules.yml", "groups: [");
    assert!(!world.reload().await);
    world.configure("global: {no: 1}");
    assert!(!world.reload().await);
    world.until(100.0).await;
    want(&world, "ops", &[(42.0, 40.0 + FIRST, "F:High one R:")]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_tells_nothing_twice() {
    for seconds in [-40, -2, 2, 40] {
        let world = started(9).await;
        exporter(&world, 0).set("heat", 20.0);
        world.until(60.0).await;
        want(&world, "ops", &[(22.0, 20.0 + FIRST, "F:Kept one R:")]);
        world.clock.jump(seconds * 1000);
        world.until(200.0).await;
        want(&world, "ops", &[(22.0, 20.0 + FIRST, "F:Kept one R:")]);
        exporter(&world, 0).set("heat", 1.0);
        world.until(300.0).await;
        let (from, until) = (230.0 + seconds as f64, 230.0 + NEXT + seconds as f64);
        want(&world, "ops", &[(22.0, 20.0 + FIRST, "F:Kept one R:"), (from, until, "F: R:Kept one")]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exporter_whose_series_goes_ends_its_alert() {
    let mut world = world(10);
    world.start().await;
    world.until(20.0).await;
    exporter(&world, 1).set("load{disk=\"a\"}", 20.0);
    world.until(70.0).await;
    exporter(&world, 1).remove("load{disk=\"a\"}");
    world.until(120.0).await;
    want(&world, "ops", &[(42.0, 40.0 + FIRST, "F:High two R:"), (70.0, 70.0 + NEXT, "F: R:High two")]);
}
