//! What must be so, whatever happened; from INTERFACE.md's promise and Alertmanager's published behaviour.
//!
//! * In the calm everybody knows what is so: the last mail about an alert says that it fires if it does, and that it has ended if
//!   it was told to fire and does not. (What ends under a silence is not told as ended: as in Alertmanager.)
//! * What was going out at any time was told: by that message, or by a later one that names the alert. (Silenced and acknowledged alerts
//!   need not be, nor what was known before and is so again.)
//! * A message comes twice only where nobody heard that it was taken: the server cut the connection, or the process died.
//! * A message says something that the one before it did not.
//! * While an acknowledged silence is in force, no message goes out that names its alerts.

use super::super::scene::{METRICS, TARGETS, Told};
use crate::model::labels::Labels;
use crate::sim::world::{BEGIN_MS, World};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds between a mail server's 250 and what it causes: the made-up disk takes no time.
const MOMENT: f64 = 0.05;
/// Within so many seconds every target is scraped.
const SCRAPES: f64 = 10.0;

/// An alert of a target.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) fingerprint: u64,
}

pub(super) fn alert(name: &str, target: usize) -> Named {
    let labels = Labels::from_pairs([("alertname", name), ("instance", TARGETS[target]), ("job", "app")]);
    Named { name: format!("{name} {}", TARGETS[target]), fingerprint: labels.fingerprint() }
}

fn all_alerts() -> impl Iterator<Item = Named> {
    let names = ["Down", "High", "Kept", "Queue"];
    names.into_iter().flat_map(|name| (0..TARGETS.len()).map(move |target| alert(name, target)))
}

/// A message that was going out.
struct Going {
    since: f64,
    to: &'static str,
    firing: BTreeSet<String>,
}

/// A silence that was in force, or may have been.
struct Quiet {
    name: String,
    from: f64,
    until: f64,
    id: Option<String>,
    /// Messages that were going out when it was acknowledged.
    spared: BTreeSet<String>,
    acknowledged_at: f64,
}

/// What is known to be so, and what was seen.
#[derive(Default)]
pub(super) struct Oracle {
    escalates: bool,
    high: [[bool; METRICS.len()]; TARGETS.len()],
    /// Since when targets are away.
    away: [Option<f64>; TARGETS.len()],
    /// Between which moments the process died.
    deaths: Vec<(f64, f64)>,
    going: BTreeMap<String, Going>,
    quiet: Vec<Quiet>,
    /// Acknowledged silences that nobody has ended: until when.
    pub(super) silences: BTreeMap<String, f64>,
    pub(super) acknowledged: BTreeSet<String>,
}

impl Oracle {
    pub(super) fn new(escalates: bool) -> Self {
        Self { escalates, ..Self::default() }
    }

    pub(super) fn flip(&mut self, target: usize, metric: usize) -> bool {
        self.high[target][metric] ^= true;
        self.high[target][metric]
    }

    pub(super) fn flip_target(&mut self, target: usize, now: f64) -> bool {
        self.away[target] = if self.away[target].is_some() { None } else { Some(now) };
        self.away[target].is_some()
    }

    pub(super) fn died(&mut self, from: f64, until: f64) {
        self.deaths.push((from, until));
    }

    pub(super) fn silenced(&mut self, world: &World, name: &str, from: f64, until: f64, id: Option<String>) {
        self.look(world);
        let spared = world.kept().map(|kept| kept.intents).unwrap_or_default();
        let spared = spared.into_iter().map(|intent| intent.message_id).collect();
        self.silences.extend(id.clone().map(|id| (id, until)));
        self.quiet.push(Quiet { name: name.to_owned(), from, until, id, spared, acknowledged_at: world.age() });
    }

    /// A silence was ended, or may have been where that was not acknowledged.
    pub(super) fn ends(&mut self, id: &str, at: Option<f64>) {
        self.silences.remove(id);
        for quiet in self.quiet.iter_mut().filter(|quiet| quiet.id.as_deref() == Some(id)) {
            quiet.id = None;
            quiet.until = quiet.until.min(at.unwrap_or(f64::MAX));
        }
    }

    /// Returns the silences that were acknowledged and are not there any more.
    pub(super) fn lost_silences(&self, world: &World) -> Vec<String> {
        let kept = world.kept().map(|kept| kept.silences).unwrap_or_default();
        let is_there = |id: &String| kept.iter().any(|silence| silence.id == *id);
        let lasting = self.silences.iter().filter(|(_, until)| **until > world.age());
        lasting.map(|(id, _)| id).filter(|id| !is_there(id)).cloned().collect()
    }

    /// Looks at what is going out.
    pub(super) fn look(&mut self, world: &World) {
        if !world.is_alive() {
            return;
        }
        for intent in world.kept().map(|kept| kept.intents).unwrap_or_default() {
            let to = match intent.receiver.as_str() {
                "ops/email/0" => "ops",
                "ops/email/1" => "dev",
                _ => "boss",
            };
            let firing =
                all_alerts().filter(|alert| intent.firing.contains(&alert.fingerprint)).map(|alert| alert.name).collect();
            let since = (intent.since_ms - BEGIN_MS) as f64 / 1000.0;
            self.going.entry(intent.message_id).or_insert(Going { since, to, firing });
        }
    }

    /// Returns whether an alert's condition holds. `None`: the process died about when the target went away, so nobody has
    /// marked its series as gone; they last for the lookback, as in Prometheus.
    fn is_so(&self, alert: &str) -> Option<bool> {
        let (name, instance) = alert.split_once(' ').expect("two words");
        let target = TARGETS.iter().position(|target| *target == instance).expect("known");
        let Some(metric) = METRICS.iter().position(|(_, known)| *known == name) else {
            return Some(self.away[target].is_some());
        };
        match self.away[target] {
            None => Some(self.high[target][metric]),
            Some(since) if self.deaths.iter().any(|(_, until)| *until >= since - SCRAPES) => None,
            Some(_) => Some(false),
        }
    }

    fn was_quiet(&self, alert: &str, since: f64) -> bool {
        self.quiet.iter().any(|quiet| alert.starts_with(&quiet.name) && quiet.until >= since)
    }

    /// Returns all that is not as it must be.
    pub(super) fn flaws(&self, world: &World) -> Vec<String> {
        let told: Vec<Told> = world.mails().iter().map(Told::of).collect();
        let mut flaws = Vec::new();
        for to in ["ops", "dev", "boss"] {
            let theirs: Vec<&Told> = told.iter().filter(|told| told.to == to).collect();
            self.check_known(to, &theirs, &mut flaws);
            self.check_repeated(&theirs, &mut flaws);
            self.check_going(to, &theirs, &mut flaws);
        }
        self.check_quiet(&told, &mut flaws);
        flaws
    }

    fn check_known(&self, to: &str, theirs: &[&Told], flaws: &mut Vec<String>) {
        for Named { name, .. } in all_alerts() {
            // A server that took a message after its sender had given up on it says what is long over.
            let last = theirs.iter().rfind(|told| told.names(&name) && told.is_heard);
            let knows = last.is_some_and(|told| told.firing.contains(&name));
            let Some(is_so) = self.is_so(&name) else { continue };
            let concerns = to != "boss" || (self.escalates && !self.acknowledged.contains(&name));
            if is_so && !knows && concerns {
                flaws.push(format!("{to} does not know that {name} fires: {last:?}"));
            }
            let since = last.map_or(0.0, |told| told.at);
            if !is_so && knows && to != "dev" && !self.was_quiet(&name, since) {
                flaws.push(format!("{to} does not know that {name} has ended: {last:?}"));
            }
        }
    }

    /// Returns whether the sender may not know that this was taken.
    fn is_unheard(&self, told: &Told) -> bool {
        !told.is_heard || self.deaths.iter().any(|(from, until)| (from - MOMENT..=until + MOMENT).contains(&told.at))
    }

    /// Returns whether a message tells the end of what fired since the one before it, and could not be told then.
    fn was_owed(&self, told: &Told, last: &Told) -> bool {
        let since = self.going.values().filter(|going| going.to == told.to && going.since > last.at);
        since.flat_map(|going| &going.firing).any(|name| told.resolved.contains(name))
    }

    fn check_repeated(&self, theirs: &[&Told], flaws: &mut Vec<String>) {
        for (place, told) in theirs.iter().enumerate() {
            let before: Vec<&&Told> = theirs[..place].iter().filter(|before| before.group == told.group).collect();
            if let Some(same) = before.iter().rfind(|before| before.id == told.id) {
                if !self.is_unheard(same) && !self.is_unheard(told) {
                    flaws.push(format!("told twice: {same:?}, {told:?}"));
                }
                if (&same.firing, &same.resolved) != (&told.firing, &told.resolved) {
                    flaws.push(format!("one id, two messages: {same:?}, {told:?}"));
                }
                continue;
            }
            // What nobody heard of may or may not count as told.
            let mut is_news = before.is_empty() || told.to == "dev";
            for last in before.iter().rev() {
                is_news |= says_more(told, last) || self.was_owed(told, last);
                if !self.is_unheard(last) {
                    break;
                }
            }
            if !is_news && !self.is_unheard(told) && !before.iter().all(|before| self.is_unheard(before)) {
                flaws.push(format!("says nothing new: {told:?} after {:?}", before.last()));
            }
        }
    }

    fn check_going(&self, to: &str, theirs: &[&Told], flaws: &mut Vec<String>) {
        for (id, going) in self.going.iter().filter(|(_, going)| going.to == to) {
            for name in &going.firing {
                let is_told =
                    theirs.iter().any(|told| told.id.contains(id.as_str()) || (told.names(name) && told.at >= going.since));
                let before = theirs.iter().rfind(|told| told.at < going.since && told.names(name));
                let is_known = before.is_some_and(|told| told.firing.contains(name));
                let need_not =
                    is_known || self.was_quiet(name, going.since) || (to == "boss" && self.acknowledged.contains(name));
                if !is_told && !need_not {
                    flaws.push(format!("{to} was to be told at {} that {name} fires, and never was: {id}", going.since));
                }
            }
        }
    }

    fn check_quiet(&self, told: &[Told], flaws: &mut Vec<String>) {
        for quiet in self.quiet.iter().filter(|quiet| quiet.id.is_some()) {
            let during = told.iter().filter(|told| told.at > quiet.acknowledged_at && told.at < quiet.until);
            let mut broken = during.filter(|told| {
                let spared = quiet.spared.iter().any(|id| told.id.contains(id.as_str()));
                !spared && told.firing.iter().chain(&told.resolved).any(|name| name.starts_with(&quiet.name))
            });
            if let Some(told) = broken.next() {
                flaws.push(format!("{} was silent from {} to {}: {told:?}", quiet.name, quiet.from, quiet.until));
            }
        }
    }
}

/// Returns whether a message tells what the one before it did not: Alertmanager's rule.
fn says_more(told: &Told, last: &Told) -> bool {
    let news = !told.firing.is_subset(&last.firing);
    let over = told.firing.is_empty() && !last.firing.is_empty();
    news || over || (!told.firing.is_empty() && !told.resolved.is_subset(&last.resolved))
}
