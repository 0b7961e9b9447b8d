//! What happens in a random history.

use super::super::scene::{self, LOST, METRICS, QUEUE, REFUSED, RULES, TARGETS, ZNODE, exporter, mail};
use super::oracle::{Oracle, alert};
use crate::env::Random as _;
use crate::env::random::SeededRandom;
use crate::model::silence::Silence;
use crate::sim::mail::{Ending, Script};
use crate::sim::network::Weather;
use crate::sim::world::{MAIL, World};
use std::time::Duration;

/// How many things happen in one time of trouble.
const EVENTS: u64 = 24;
/// After so many seconds without trouble everybody has been told: a firing alert from before a restart is given a minute to
/// show itself, an alert may fire on for 30 s, a group is looked at every 10 s, and the rest are scrapes and evaluations.
const CALM: f64 = 180.0;

pub(in crate::sim::tests) struct History {
    pub(in crate::sim::tests) world: World,
    chance: SeededRandom,
    config: String,
    oracle: Oracle,
    /// What happened, for people.
    log: Vec<String>,
    /// When the process was last known to be alive.
    alive_at: f64,
}

impl History {
    /// Begins a history: everything is well, and nothing fires.
    pub(in crate::sim::tests) async fn begin(seed: u64) -> Self {
        let chance = SeededRandom::new(seed);
        let mut world = scene::world(seed);
        let group_by = ["alertname", "alertname, instance", "'...'", "instance"][(chance.next_u64() % 4) as usize];
        let more = if chance.next_u64().is_multiple_of(2) { "" } else { "escalate: {after: 40s, receiver: boss}" };
        let config = scene::config(group_by, more);
        world.configure(&config);
        world.start().await;
        world.until(20.0).await;
        let oracle = Oracle::new(!more.is_empty());
        Self { world, chance, config, oracle, log: vec![format!("group_by {group_by}, {more}")], alive_at: 20.0 }
    }

    fn below(&self, bound: u64) -> u64 {
        self.chance.next_u64() % bound
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.log.push(format!("{:8.3} {what}", self.world.age()));
    }

    /// Lets things happen.
    pub(in crate::sim::tests) async fn trouble(&mut self) {
        for _ in 0..EVENTS {
            self.world.wait(self.below(8000) as f64 / 1000.0).await;
            self.revive().await;
            self.oracle.look(&self.world);
            match self.below(100) {
                0..32 => self.value(),
                32..42 => self.target(),
                42..58 => self.mail(),
                58..66 => self.silence().await,
                66..71 => self.acknowledge().await,
                71..75 => self.reload().await,
                75..89 => self.die().await,
                89..94 => self.zookeeper(),
                94..96 => self.restart().await,
                _ => {
                    self.note("connections break");
                    self.world.internet.cut(MAIL);
                    self.world.internet.cut(TARGETS[0]);
                }
            }
        }
    }

    fn value(&mut self) {
        let (target, metric) = (self.below(3) as usize, self.below(3) as usize);
        let is_high = self.oracle.flip(target, metric);
        let name = METRICS[metric].0;
        self.note(format!("{name} of {} is {}", TARGETS[target], if is_high { "high" } else { "low" }));
        exporter(&self.world, target).set(name, if is_high { 20.0 } else { 1.0 });
    }

    fn target(&mut self) {
        let target = self.below(3) as usize;
        let is_away = self.oracle.flip_target(target, self.world.age());
        let how = self.below(3);
        self.note(format!("{} is away: {is_away} ({how})", TARGETS[target]));
        let weather = match how {
            0 if is_away => REFUSED,
            1 if is_away => LOST,
            _ => Weather::default(),
        };
        exporter(&self.world, target).fail(is_away && how == 2);
        self.world.internet.weather(TARGETS[target], weather);
    }

    fn mail(&mut self) {
        let what = self.below(8);
        self.note(format!("mail trouble {what}"));
        let cuts = 1 + self.below(3) as usize;
        let seconds = self.below(15);
        let weather = match what {
            0 => REFUSED,
            1 => LOST,
            2 => Weather { latency: Duration::from_secs(self.below(5)), ..Weather::default() },
            _ => Weather::default(),
        };
        self.world.internet.weather(MAIL, weather);
        mail(&self.world, |script| {
            let taken = std::mem::take(&mut script.taken);
            *script = Script { taken, ..Script::default() };
            match what {
                3 => script.is_silent = true,
                4 => script.endings = vec![Ending::Cut; cuts].into(),
                5 => script.endings = vec![Ending::Answer("451 later"); cuts].into(),
                6 => script.thinks = Duration::from_secs(seconds),
                _ => {}
            }
        });
    }

    async fn silence(&mut self) {
        let acknowledged: Vec<String> = self.oracle.silences.keys().cloned().collect();
        if !acknowledged.is_empty() && self.below(3) == 0 {
            let id = &acknowledged[self.below(acknowledged.len() as u64) as usize];
            let ended = scene::expire(&self.world, id).await;
            self.note(format!("silence {id} ends: {ended}"));
            self.oracle.ends(id, ended.then(|| self.world.age()));
            return;
        }
        let name = ["Down", "High", "Kept", "Queue"][self.below(4) as usize];
        let seconds = 10 + self.below(60) as i64;
        // Whether it is acknowledged or not: it may be in force from now on.
        let from = self.world.age();
        let id = scene::silence(&self.world, name, seconds).await;
        self.note(format!("{name} is silenced for {seconds} s: {id:?}"));
        self.oracle.silenced(&self.world, name, from, from + seconds as f64, id);
    }

    async fn acknowledge(&mut self) {
        let (target, metric) = (self.below(3) as usize, self.below(3) as usize);
        let alert = alert(METRICS[metric].1, target);
        let path = format!("/api/watchkeeper/v1/alerts/{:016x}/acknowledge", alert.fingerprint);
        let answer = self.world.ask("POST", &path, r#"{"by": "li", "comment": "on it"}"#).await;
        self.note(format!("{} is acknowledged: {:?}", alert.name, answer.map(|(status, _)| status)));
        self.oracle.acknowledged.insert(alert.name);
    }

    async fn reload(&mut self) {
        let is_good = self.below(2) == 0;
        if is_good {
            self.world.write_rules("rules.yml", &format!("# {}\n{RULES}", self.below(1000)));
            self.world.configure(&self.config);
        } else {
            self.world.configure("global: {no: 1}");
        }
        let taken = self.world.reload().await;
        self.note(format!("reload: {taken}"));
        self.world.configure(&self.config);
    }

    /// Sets the moment of the next death, or dies now.
    async fn die(&mut self) {
        let steps = self.below(60);
        match self.below(4) {
            0 => {
                self.note(format!("dies after {steps} changes of the disk"));
                self.world.disk.stop_after(steps);
            }
            1 => {
                self.note(format!("dies after {steps} sends"));
                self.world.process().dies_after_sends(steps as i64 + 1);
            }
            _ => {
                self.world.process().die();
                self.revive().await;
            }
        }
    }

    /// Starts a process that has died, or the machine.
    async fn revive(&mut self) {
        while !self.world.is_alive() {
            let power = self.below(3) == 0;
            self.world.die(power).await;
            let seconds = self.below(20_000) as f64 / 1000.0;
            self.note(format!("died (power cut: {power}), back in {seconds} s"));
            self.world.configure(&self.config);
            self.world.write_rules("rules.yml", RULES);
            self.world.wait(seconds).await;
            self.oracle.died(self.alive_at, self.world.age());
            self.world.start().await;
            if self.world.is_alive() {
                let lost = self.oracle.lost_silences(&self.world);
                assert!(lost.is_empty(), "silences {lost:?} were acknowledged and are gone\n{}", self.story());
            }
        }
        self.alive_at = self.world.age();
    }

    async fn restart(&mut self) {
        self.note("stops and starts");
        self.oracle.died(self.alive_at, self.world.age() + 10.0);
        self.world.stop().await;
        self.world.start().await;
    }

    fn zookeeper(&mut self) {
        match self.below(3) {
            0 => {
                self.note("ZooKeeper goes");
                self.world.ensemble.set_away(true);
            }
            1 => {
                self.note("ZooKeeper is there");
                self.world.ensemble.set_away(false);
            }
            _ => {
                let number = self.below(1000);
                self.note(format!("the znode is written: {number}"));
                self.world.ensemble.write(ZNODE, &format!("# {number}\n{QUEUE}"));
            }
        }
    }

    /// Ends all trouble and waits until everybody must have been told.
    pub(in crate::sim::tests) async fn calm(&mut self) {
        mail(&self.world, |script| {
            let taken = std::mem::take(&mut script.taken);
            *script = Script { taken, ..Script::default() };
        });
        self.world.internet.weather(MAIL, Weather::default());
        self.world.ensemble.set_away(false);
        // A death that was to come comes now.
        if self.below(2) == 0 && self.world.is_alive() {
            self.world.process().die();
        }
        self.revive().await;
        self.world.disk.stop_after(u64::MAX);
        self.world.process().dies_after_sends(-1);
        self.oracle.look(&self.world);
        let now_ms = {
            use crate::env::Clock as _;
            self.world.clock.now_ms()
        };
        let silences = self.world.kept().map(|kept| kept.silences).unwrap_or_default();
        let active: Vec<Silence> = silences.into_iter().filter(|silence| silence.ends_at_ms > now_ms).collect();
        for silence in active {
            assert!(scene::expire(&self.world, &silence.id).await, "{silence:?} does not end\n{}", self.story());
            self.oracle.ends(&silence.id, Some(self.world.age()));
        }
        self.oracle.silences.clear();
        self.note("calm");
        self.world.wait(CALM).await;
        self.alive_at = self.world.age();
        assert!(self.world.is_alive());
    }

    /// Wants that everybody knows what is so, and nobody heard anything twice.
    pub(super) fn check(&self) {
        let flaws = self.oracle.flaws(&self.world);
        assert!(flaws.is_empty(), "{}\n{}", flaws.join("\n"), self.story());
    }

    fn story(&self) -> String {
        let mails = self.world.mails().iter().map(|mail| format!("{:?}", scene::Told::of(mail))).collect::<Vec<_>>();
        let kept = self.world.kept().unwrap_or_default();
        let kept = format!("{:?}\n{:?}\n{:?}\n{:?}", kept.alerts, kept.groups, kept.log, kept.intents);
        format!("{}\n{}\n{kept}", self.log.join("\n"), mails.join("\n"))
    }
}
