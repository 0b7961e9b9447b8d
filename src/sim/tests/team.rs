//! Several servers in one world: one tells people, and another goes on where it stops. Nothing is lost; what is told twice has one
//! Message-ID.

use super::scene::{METRICS, QUEUE, RULES, TARGETS, Told, ZNODE, config, exporter, mail, silence};
use crate::sim::world::{World, ZOOKEEPER};
use std::collections::{BTreeMap, BTreeSet};

/// The session's time-out, seconds.
pub(super) const SESSION: f64 = 4.0;
/// The members, by name and address. The first is `World::new`'s.
pub(super) const MEMBERS: [(&str, &str); 3] = [("a", "127.0.0.1:9090"), ("b", "127.0.0.1:9091"), ("c", "127.0.0.1:9092")];

/// Makes so many servers in a world with the usual targets, not yet started.
pub(super) fn team(seed: u64, members: usize) -> Vec<World> {
    let mut first = World::new(seed);
    for target in TARGETS {
        let exporter = first.exporter(target);
        METRICS.iter().for_each(|(metric, _)| exporter.set(metric, 1.0));
    }
    first.ensemble.write(ZNODE, QUEUE);
    let mut team = vec![first];
    for (place, (_, address)) in MEMBERS.iter().enumerate().take(members).skip(1) {
        let next = team[0].beside(address, seed.wrapping_add(place as u64 * 7919));
        team.push(next);
    }
    for (world, (name, _)) in team.iter().zip(MEMBERS) {
        let zookeeper = format!("zookeeper: {{connect: 'zk:2181', session_timeout: {SESSION}s}}\ncluster: {{name: {name}}}");
        let text = config("alertname", "").replace("zookeeper: {connect: 'zk:2181'}", &zookeeper);
        let text = text.replace("smtp_require_tls: false}", "smtp_require_tls: false, resolve_timeout: 1m}");
        world.configure(&text);
        world.write_rules("rules.yml", RULES);
    }
    team
}

/// Starts them one after the other, so that the first leads, and waits until all is in its course.
pub(super) async fn started(seed: u64, members: usize) -> Vec<World> {
    let mut team = team(seed, members);
    for world in &mut team {
        world.start().await;
        world.wait(1.0).await;
    }
    team[0].until(20.0).await;
    assert_eq!(leaders(&team).await, ["a"]);
    team
}

/// What a member says of itself.
async fn role(world: &World) -> String {
    let answer = world.ask("GET", "/api/watchkeeper/v1/zookeeper", "").await.map(|(_, body)| body).unwrap_or_default();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    answer["data"]["role"].as_str().unwrap_or_default().to_owned()
}

/// Who tells people, by their own words.
pub(super) async fn leaders(team: &[World]) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (world, (name, _)) in team.iter().zip(MEMBERS) {
        if world.is_alive() && !world.process().is_paused() && matches!(role(world).await.as_str(), "leader" | "acting") {
            found.push(name);
        }
    }
    found
}

fn told_to_ops(team: &[World]) -> Vec<Told> {
    team[0].mails().iter().map(Told::of).filter(|told| told.to == "ops").collect()
}

/// Wants the receiver `ops` to be told just this, in order: how often at most with one id, and the text.
fn want_told(team: &[World], times_max: usize, wanted: &[(&str, &str)]) -> Vec<f64> {
    let mut by_id: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    let (mut order, mut at) = (Vec::new(), Vec::new());
    for told in told_to_ops(team) {
        let same = by_id.entry(told.id.clone()).or_default();
        if same.is_empty() {
            let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
            order.push((list(&told.firing), list(&told.resolved)));
            at.push(told.at);
        }
        same.push(told);
    }
    let wanted: Vec<(String, String)> =
        wanted.iter().map(|(firing, resolved)| ((*firing).to_owned(), (*resolved).to_owned())).collect();
    assert_eq!(order, wanted, "{:?}", told_to_ops(team));
    assert!(by_id.values().all(|same| same.len() <= times_max), "{by_id:?}");
    at
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_with_a_mail_pending_is_followed_by_the_other() {
    let mut team = started(1, 2).await;
    exporter(&team[0], 0).set("heat", 20.0);
    // The alert fires within 5 s and waits 2 s for its group.
    team[0].wait(6.0).await;
    let dies = team[0].age();
    assert!(told_to_ops(&team).is_empty());
    team[0].kill().await;
    team[1].wait(20.0).await;
    let at = want_told(&team, 1, &[("Kept one:9100", "")]);
    assert!(at[0] - dies <= SESSION + 4.0, "{} s after the death", at[0] - dies);
    assert_eq!(leaders(&team).await, ["b"]);
    // Who comes back stands by, and what was told is not told again.
    team[0].start().await;
    team[0].wait(30.0).await;
    assert_eq!(leaders(&team).await, ["b"]);
    exporter(&team[0], 0).set("heat", 1.0);
    team[0].wait(60.0).await;
    want_told(&team, 1, &[("Kept one:9100", ""), ("", "Kept one:9100")]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_at_any_step_of_a_mail_loses_nothing() {
    for step in 0..14 {
        let mut team = started(100 + u64::try_from(step).unwrap_or(0), 2).await;
        exporter(&team[0], 1).set("heat", 20.0);
        team[0].wait(4.9).await;
        team[0].process().dies_after_sends(step * 2 + 1);
        team[0].wait(10.0).await;
        team[0].kill().await;
        team[0].wait(20.0).await;
        want_told(&team, 2, &[("Kept two:9100", "")]);
        assert_eq!(leaders(&team).await, ["b"], "step {step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_in_good_order_is_followed_within_a_second() {
    let mut team = started(2, 2).await;
    team[0].stop().await;
    team[1].wait(1.0).await;
    assert_eq!(leaders(&team).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stood_still_says_nothing_when_it_goes_on() {
    let team = started(3, 2).await;
    exporter(&team[0], 0).set("heat", 20.0);
    team[0].wait(6.0).await;
    team[0].pause(true);
    team[1].wait(20.0).await;
    want_told(&team, 1, &[("Kept one:9100", "")]);
    assert_eq!(leaders(&team).await, ["b"]);
    team[0].pause(false);
    team[0].wait(20.0).await;
    want_told(&team, 1, &[("Kept one:9100", "")]);
    assert_eq!(leaders(&team).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_from_zookeeper_falls_silent_before_the_other_begins() {
    let team = started(4, 2).await;
    let cut = team[0].age();
    team[0].block(ZOOKEEPER, true);
    let mut both = 0.0;
    while team[0].age() < cut + 20.0 {
        let now = leaders(&team).await;
        assert!(now.len() <= 1, "{now:?} {} s after the cut", team[0].age() - cut);
        if now.is_empty() {
            both = team[0].age() - cut;
        }
        team[0].wait(0.1).await;
    }
    assert!(both <= SESSION + 1.0, "nobody told people until {both} s after the cut");
    assert_eq!(leaders(&team).await, ["b"]);
    exporter(&team[0], 2).set("heat", 20.0);
    team[0].wait(15.0).await;
    want_told(&team, 1, &[("Kept three:9100", "")]);
    team[0].block(ZOOKEEPER, false);
    team[0].wait(15.0).await;
    assert_eq!(leaders(&team).await, ["b"]);
    want_told(&team, 1, &[("Kept three:9100", "")]);
}

#[tokio::test(start_paused = true)]
async fn while_the_ensemble_is_down_the_last_leader_goes_on() {
    let mut team = started(5, 3).await;
    let ensemble = team[0].ensemble.clone();
    ensemble.set_away(true);
    team[0].wait(10.0).await;
    assert_eq!(leaders(&team).await, ["a"]);
    exporter(&team[0], 0).set("heat", 20.0);
    team[0].wait(15.0).await;
    want_told(&team, 1, &[("Kept one:9100", "")]);
    // Then it dies, and the lowest of the others goes on.
    team[0].kill().await;
    exporter(&team[0], 1).set("heat", 20.0);
    team[1].wait(30.0).await;
    assert_eq!(leaders(&team).await, ["b"]);
    let told: Vec<Told> = told_to_ops(&team);
    assert!(told.last().is_some_and(|told| told.firing.contains("Kept two:9100")), "{told:?}");
    // The ensemble comes back: somebody leads, and nobody hears anything again.
    let before = told.len();
    ensemble.set_away(false);
    team[1].wait(30.0).await;
    assert_eq!(leaders(&team).await.len(), 1);
    assert_eq!(told_to_ops(&team).len(), before, "{:?}", told_to_ops(&team));
}

#[tokio::test(start_paused = true)]
async fn silences_and_acknowledgements_hold_whoever_took_them() {
    let mut team = started(6, 2).await;
    assert!(silence(&team[1], "Kept", 300).await.is_some());
    team[0].wait(1.0).await;
    exporter(&team[0], 0).set("heat", 20.0);
    team[0].wait(30.0).await;
    want_told(&team, 1, &[]);
    // Made while ZooKeeper is away, it holds when that is back, also where the maker has died.
    team[0].ensemble.set_away(true);
    team[0].wait(1.0).await;
    assert!(silence(&team[1], "High", 300).await.is_some());
    team[0].wait(10.0).await;
    team[0].ensemble.set_away(false);
    team[0].wait(10.0).await;
    team[1].kill().await;
    exporter(&team[0], 0).set("load", 20.0);
    team[0].wait(60.0).await;
    want_told(&team, 1, &[]);
    assert_eq!(team[0].ensemble.read("/watchkeeper/silences").len(), 2);
    // An emptied ensemble is filled again from what the members know.
    let names: Vec<String> = team[0].ensemble.read("/watchkeeper/silences").into_keys().collect();
    for name in &names {
        team[0].ensemble.remove(&format!("/watchkeeper/silences/{name}"));
    }
    team[0].wait(60.0).await;
    assert_eq!(team[0].ensemble.read("/watchkeeper/silences").into_keys().collect::<Vec<_>>(), names);
}

#[tokio::test(start_paused = true)]
async fn answers_that_get_lost_double_nothing() {
    let mut team = started(7, 2).await;
    team[0].ensemble.lose_answers(2);
    exporter(&team[0], 0).set("heat", 20.0);
    team[0].wait(20.0).await;
    want_told(&team, 1, &[("Kept one:9100", "")]);
    team[0].stop().await;
    exporter(&team[1], 0).set("heat", 1.0);
    team[1].wait(70.0).await;
    want_told(&team, 1, &[("Kept one:9100", ""), ("", "Kept one:9100")]);
}

#[tokio::test(start_paused = true)]
async fn mail_that_is_down_over_a_change_of_leader_comes_once() {
    let mut team = started(8, 2).await;
    mail(&team[0], |script| script.is_down = true);
    exporter(&team[0], 0).set("heat", 20.0);
    team[0].wait(12.0).await;
    team[0].kill().await;
    team[1].wait(15.0).await;
    // It has ended before anybody could be told.
    exporter(&team[1], 0).set("heat", 1.0);
    team[1].wait(60.0).await;
    mail(&team[1], |script| script.is_down = false);
    team[1].wait(60.0).await;
    let told = told_to_ops(&team);
    assert!(told.iter().any(|told| told.names("Kept one:9100")), "{told:?}");
    let ids: BTreeSet<&str> = told.iter().map(|told| told.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "{told:?}");
    assert!(told.last().is_some_and(|told| told.resolved.contains("Kept one:9100")), "{told:?}");
}
