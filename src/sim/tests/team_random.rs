//! Random histories of three servers: values go up and down, and members die, lose power, stand still, are cut off from ZooKeeper or stop in
//! good order; the ensemble is away, loses answers, ends sessions; mail is down or slow. In the calm after each round everybody
//! has been told what is so, and what came twice has one Message-ID.
//!
//! Not here, because it must double by design: a member that reaches neither ZooKeeper nor any other member, but the mail server.
//!
//! Deaths are spread over the steps of a mail, so more messages come twice here than deaths at any time would bring.
//!
//! `WATCHKEEPER_TEAM_FAILOVERS=n` asks for so many changes of leader, `WATCHKEEPER_TEAM_SEED=n` for one history, and with
//! `WATCHKEEPER_SIM_LOG=info` it is told what the servers say.

use super::random::in_a_world;
use super::scene::{METRICS, REFUSED, TARGETS, Told, exporter, mail};
use super::team::{MEMBERS, leaders, started};
use crate::env::Random as _;
use crate::env::random::SeededRandom;
use crate::sim::network::Weather;
use crate::sim::world::{MAIL, World, ZOOKEEPER};
use crate::telemetry::logging::{self, LogFormat};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Changes of leader of a usual run, in each of two tests, so that two cores have something to do.
const FAILOVERS: usize = 30;
/// Rounds of a history.
const ROUNDS: usize = 4;
/// How many things happen in a round.
const EVENTS: u64 = 24;
/// After so many seconds without trouble everybody has been told.
const CALM: f64 = 130.0;
/// From so many beginnings on an alert goes on and off.
const FLAPS: usize = 3;
/// The metrics that change: those whose alerts come and go by rules without memory.
const CHANGING: [usize; 2] = [1, 2];

/// What a run found.
#[derive(Debug, Default)]
struct Found {
    failovers: usize,
    messages: usize,
    doubled: usize,
}

struct History {
    seed: u64,
    team: Vec<World>,
    chance: SeededRandom,
    high: [[bool; METRICS.len()]; TARGETS.len()],
    /// How often each began: the end of one that goes on and off is held back.
    began: [[usize; METRICS.len()]; TARGETS.len()],
    leader: &'static str,
    failovers: usize,
    log: Vec<String>,
}

impl History {
    async fn begin(seed: u64) -> Self {
        let team = started(seed, 3).await;
        let (chance, high) = (SeededRandom::new(seed ^ 0x7ea3), Default::default());
        Self { seed, team, chance, high, began: Default::default(), leader: "a", failovers: 0, log: Vec::new() }
    }

    fn below(&self, bound: u64) -> u64 {
        self.chance.next_u64() % bound
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.log.push(format!("{:8.3} {what}", self.team[0].age()));
    }

    /// Counts a change of leader.
    async fn look(&mut self) {
        let now = leaders(&self.team).await;
        if now.len() != 1 {
            self.note(format!("telling: {now:?}"));
        }
        if let [only] = now[..]
            && only != self.leader
        {
            self.note(format!("{only} leads after {}", self.leader));
            self.leader = only;
            self.failovers += 1;
        }
    }

    /// Returns whether there is another member that reaches ZooKeeper.
    fn has_heirs(&self, of: usize) -> bool {
        let others = self.team.iter().enumerate().filter(|(place, _)| *place != of);
        others.map(|(_, world)| world).any(|world| world.is_alive() && !world.is_mortally_ill() && !world.is_blocked(ZOOKEEPER))
    }

    /// Mostly the leader, else any.
    fn victim(&self) -> usize {
        let leader = MEMBERS.iter().position(|(name, _)| *name == self.leader).unwrap_or(0);
        if self.below(4) > 0 { leader } else { self.below(3) as usize }
    }

    async fn trouble(&mut self) {
        for _ in 0..EVENTS {
            self.team[0].wait(self.below(12_000) as f64 / 1000.0).await;
            self.bury().await;
            self.look().await;
            let of = self.victim();
            let name = MEMBERS[of].0;
            // Somebody must be left who can know what was told.
            let (what, is_alone) = (self.below(100), !self.has_heirs(of));
            match what {
                0..30 => self.value(),
                30..80 if is_alone => self.revive().await,
                30..45 => {
                    let sends = 1 + self.below(60) as i64;
                    self.note(format!("{name} dies after {sends} sends"));
                    if self.team[of].is_alive() {
                        self.team[of].process().dies_after_sends(sends);
                    }
                }
                45..55 => {
                    self.note(format!("{name} dies"));
                    for (k, v) in self.team[0].ensemble.read("/watchkeeper/notified") {
                        self.note(format!("DBG {k} {v}"));
                    }
                    let power = self.below(2) == 0;
                    self.team[of].die(power).await;
                }
                55..62 => {
                    self.note(format!("{name} stops"));
                    self.team[of].stop().await;
                }
                62..70 => {
                    let seconds = 1 + self.below(12);
                    self.note(format!("{name} stands still for {seconds} s"));
                    self.team[of].pause(true);
                    self.value();
                    self.team[0].wait(seconds as f64).await;
                    self.team[of].pause(false);
                }
                70..80 => {
                    self.note(format!("{name} is cut off from ZooKeeper"));
                    self.team[of].block(ZOOKEEPER, true);
                }
                80..86 => self.ensemble().await,
                86..93 => self.mail(),
                _ => self.revive().await,
            }
        }
    }

    fn value(&mut self) {
        let (target, metric) = (self.below(3) as usize, CHANGING[self.below(2) as usize]);
        self.high[target][metric] ^= true;
        let is_high = self.high[target][metric];
        self.began[target][metric] += usize::from(is_high);
        self.note(format!("{} of {} is {}", METRICS[metric].0, TARGETS[target], if is_high { "high" } else { "low" }));
        exporter(&self.team[0], target).set(METRICS[metric].0, if is_high { 20.0 } else { 1.0 });
    }

    fn mail(&mut self) {
        let what = self.below(3);
        self.note(format!("mail trouble {what}"));
        self.team[0].internet.weather(MAIL, if what == 0 { REFUSED } else { Weather::default() });
        let thinks = Duration::from_secs(if what == 1 { self.below(4) } else { 0 });
        mail(&self.team[0], |script| script.thinks = thinks);
    }

    async fn ensemble(&mut self) {
        let ensemble = self.team[0].ensemble.clone();
        match self.below(4) {
            0 => {
                self.note("all sessions end");
                ensemble.expire_all();
            }
            1 => {
                self.note("answers get lost");
                ensemble.lose_answers(2 + self.below(3));
            }
            _ => {
                let seconds = self.below(30);
                self.note(format!("ZooKeeper is away for {seconds} s"));
                ensemble.set_away(true);
                self.value();
                self.team[0].wait(seconds as f64).await;
                self.look().await;
                ensemble.set_away(false);
            }
        }
    }

    /// Ends what died at a send.
    async fn bury(&mut self) {
        for world in &mut self.team {
            if world.has_died() {
                world.kill().await;
            }
        }
    }

    /// Starts what is dead.
    async fn revive(&mut self) {
        let now = self.team[0].age();
        for (world, (name, _)) in self.team.iter_mut().zip(MEMBERS) {
            if !world.is_alive() {
                world.kill().await;
                self.log.push(format!("{now:8.3} {name} starts"));
                world.start().await;
            }
        }
    }

    async fn calm(&mut self) {
        for world in &self.team {
            world.block(ZOOKEEPER, false);
        }
        self.team[0].ensemble.lose_answers(0);
        self.team[0].internet.weather(MAIL, Weather::default());
        mail(&self.team[0], |script| script.thinks = Duration::ZERO);
        self.note("calm");
        self.bury().await;
        self.revive().await;
        let until = self.team[0].age() + CALM;
        while self.team[0].age() < until {
            self.team[0].wait(10.0).await;
            self.look().await;
        }
    }

    fn check(&self) -> Found {
        let told: Vec<Told> = self.team[0].mails().iter().map(Told::of).collect();
        let mut flaws = Vec::new();
        let mut found = Found { failovers: self.failovers, ..Found::default() };
        for to in ["ops", "dev"] {
            let theirs: Vec<&Told> = told.iter().filter(|told| told.to == to).collect();
            for metric in CHANGING {
                for ((instance, high), began) in TARGETS.iter().zip(self.high).zip(self.began) {
                    let name = format!("{} {instance}", METRICS[metric].1);
                    let last = theirs.iter().rfind(|told| told.names(&name));
                    let (knows, is_so) = (last.is_some_and(|told| told.firing.contains(&name)), high[metric]);
                    if is_so && !knows || !is_so && knows && to == "ops" && began[metric] < FLAPS {
                        flaws
                            .push(format!("{to} thinks that {name} {}: {last:?}", if knows { "fires" } else { "does not fire" }));
                    }
                }
            }
            let mut ids = BTreeSet::new();
            let mut last: BTreeMap<&str, &Told> = BTreeMap::new();
            for told in &theirs {
                if !ids.insert(told.id.as_str()) {
                    found.doubled += 1;
                    continue;
                }
                let before = last.insert(&told.group, told);
                if before.is_some_and(|before| (&before.firing, &before.resolved) == (&told.firing, &told.resolved))
                    && to == "ops"
                {
                    flaws.push(format!("told twice with two ids: {before:?}, {told:?}"));
                }
            }
            found.messages += ids.len();
        }
        let line = |told: &Told| format!("{:8.3} {} {} {:?} {:?}", told.at, told.to, told.id, told.firing, told.resolved);
        let mut events: Vec<String> = told.iter().map(line).chain(self.log.iter().cloned()).collect();
        events.sort();
        assert!(flaws.is_empty(), "seed {}: {flaws:#?}\n{}", self.seed, events.join("\n"));
        found
    }
}

fn live(seed: u64) -> Found {
    in_a_world(async move {
        let mut history = History::begin(seed).await;
        for _ in 0..ROUNDS {
            history.trouble().await;
            history.calm().await;
            history.check();
        }
        history.check()
    })
}

/// Lives histories until there were enough changes of leader.
fn run(first: u64, failovers: usize) {
    let mut all = Found::default();
    let mut seed = first;
    while all.failovers < failovers {
        let found = live(seed);
        all.failovers += found.failovers;
        all.messages += found.messages;
        all.doubled += found.doubled;
        seed += 1;
    }
    println!("{} histories: {all:?}", seed - first);
    assert!(all.doubled * 8 <= all.failovers, "too many messages came twice: {all:?}");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn asked(first: u64) {
    if let Some(seed) = number("WATCHKEEPER_TEAM_SEED") {
        if let Ok(level) = std::env::var("WATCHKEEPER_SIM_LOG") {
            logging::start(&level, LogFormat::Text);
        }
        println!("{:?}", live(seed));
        return;
    }
    let failovers = number("WATCHKEEPER_TEAM_FAILOVERS").map_or(FAILOVERS, |number| number as usize);
    run(number("WATCHKEEPER_TEAM_FIRST_SEED").unwrap_or(0) + first, failovers);
}

#[test]
fn changes_of_leader_lose_nothing() {
    asked(0);
}

#[test]
fn changes_of_leader_lose_nothing_either() {
    asked(100_000);
}
