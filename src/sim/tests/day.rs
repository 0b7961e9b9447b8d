//! A day passes in seconds; and the same seed gives the same world.

use super::random::history::History;
use super::scene::{Told, config};
use crate::env::clock::{Clock as _, RealClock};
use crate::sim::world::World;

/// How many hours are lived through: a whole day takes a build without optimisation too long for every test run.
const HOURS: u32 = if cfg!(debug_assertions) { 2 } else { 24 };
/// What that may take; it is a fraction of it on an idle machine.
const SECONDS_MAX: f64 = 120.0;
const TARGETS: u32 = 20;

#[tokio::test(start_paused = true)]
async fn a_day_of_twenty_targets_passes_in_seconds() {
    let real = RealClock::new();
    let mut world = World::new(1);
    let names: Vec<String> = (0..TARGETS).map(|number| format!("host{number}:9100")).collect();
    let exporters: Vec<_> = names.iter().map(|name| world.exporter(name)).collect();
    for exporter in &exporters {
        exporter.set("load", 1.0);
        for cpu in 0..20 {
            exporter.set(&format!("cpu{{cpu=\"{cpu}\"}}"), f64::from(cpu));
        }
    }
    let config =
        config("alertname, instance", "").replace("5s", "15s").replace("'one:9100', 'two:9100', 'three:9100'", &names.join(", "));
    world.configure(&config);
    world.write_rules("rules.yml", super::scene::RULES);
    world.start().await;
    for hour in 0..HOURS {
        let exporter = &exporters[(hour % TARGETS) as usize];
        world.until(f64::from(hour) * 3600.0 + 600.0).await;
        exporter.set("load", 20.0);
        world.until(f64::from(hour) * 3600.0 + 1200.0).await;
        exporter.set("load", 1.0);
    }
    world.until(f64::from(HOURS) * 3600.0).await;
    let told: Vec<Told> = world.mails().iter().map(Told::of).filter(|told| told.to == "ops").collect();
    let took = real.monotonic().as_secs_f64();
    println!("{HOURS} hours of {TARGETS} targets took {took:.1} s");
    assert_eq!(told.len(), 2 * HOURS as usize, "{told:?}");
    for (place, told) in told.iter().enumerate() {
        let hour = (place / 2) as f64 * 3600.0;
        let (from, until) = if place % 2 == 0 { (hour + 622.0, hour + 663.0) } else { (hour + 1200.0, hour + 1241.0) };
        assert!((from..until).contains(&told.at), "{told:?}");
    }
    let scrapes: u64 = exporters.iter().map(crate::sim::exporter::Exporter::scrapes).sum();
    assert!(scrapes.abs_diff(u64::from(HOURS * 240 * TARGETS)) <= u64::from(TARGETS), "{scrapes}");
    assert!(took < SECONDS_MAX, "{took}");
}

/// Lives through a random history and returns all that happened.
fn lines(seed: u64) -> Vec<String> {
    super::random::in_a_world(async move {
        let mut history = History::begin(seed).await;
        history.world.trace.keep();
        history.trouble().await;
        history.calm().await;
        history.world.trace.kept()
    })
}

#[test]
fn one_seed_gives_one_trace() {
    let (first, second) = (lines(11), lines(11));
    let differs = first.iter().zip(&second).position(|(one, other)| one != other);
    if let Some(at) = differs {
        panic!("line {at} differs:\n{}\n{}", first[at], second[at]);
    }
    assert_eq!(first.len(), second.len());
    assert!(first.len() > 300, "{}", first.len());
    let other = lines(12);
    assert_ne!(first, other, "the seed decides");
}
