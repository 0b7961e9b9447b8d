//! What to do while ZooKeeper is away: the members ask each other.
//!
//! Somebody must go on telling people when the whole ensemble is down, and nobody who is merely cut off from it should. Rather
//! two mails than none.

use serde_json::{Value, json};
use std::time::Duration;

/// Another member, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its id.
    pub id: String,
    /// Where it answers: `http://host:port`.
    pub url: String,
    /// When it was there last, milliseconds since 1970.
    pub seen_ms: i64,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its id.
    pub id: String,
    /// Whether ZooKeeper answers it.
    pub is_connected: bool,
    /// Whether it tells people without ZooKeeper.
    pub is_acting: bool,
    /// Whether it knows of messages that the others cannot know of yet.
    pub owes: bool,
    /// Who led last, as far as it knows; may be empty.
    pub leader: String,
    /// The epoch of that one: who knows of a later one knows more of what was told.
    pub epoch: i64,
}

impl Answer {
    /// Writes it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "connected": self.is_connected,
            "acting": self.is_acting,
            "owes": self.owes,
            "leader": self.leader,
            "epoch": self.epoch,
        })
    }

    /// Reads it.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        let flag = |name: &str| value[name].as_bool();
        Some(Self {
            id: value["id"].as_str()?.to_owned(),
            is_connected: flag("connected")?,
            is_acting: flag("acting")?,
            owes: flag("owes")?,
            leader: value["leader"].as_str()?.to_owned(),
            epoch: value["epoch"].as_i64()?,
        })
    }
}

/// What is known when ZooKeeper does not answer.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// This member.
    pub me: &'a str,
    /// Who led last, as far as is known; may be empty.
    pub last_leader: &'a str,
    /// In which epoch.
    pub epoch: i64,
    /// Whether this member tells people already.
    pub is_acting: bool,
    /// Who of the others answered.
    pub answers: &'a [Answer],
    /// How long ZooKeeper has not answered.
    pub away: Duration,
    /// The session's time-out.
    pub session: Duration,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Tell nobody; why.
    StandBy(String),
    /// Tell people; why.
    Act(String),
}

/// Decides.
#[must_use]
pub fn decide(of: &Situation<'_>) -> Verdict {
    if let Some(peer) = of.answers.iter().find(|answer| answer.is_connected) {
        return Verdict::StandBy(format!("ZooKeeper answers {}", peer.id));
    }
    let is_there = |id: &str| of.answers.iter().any(|answer| answer.id == id);
    let others = of.answers.iter().map(|answer| (answer.epoch, answer.id.as_str(), answer.leader.as_str()));
    let views: Vec<(i64, &str, &str)> = [(of.epoch, of.me, of.last_leader)].into_iter().chain(others).collect();
    // Who was cut off for long does not know what was told meanwhile.
    let newest = views.iter().map(|(epoch, _, _)| *epoch).max().unwrap_or(of.epoch);
    let informed = || views.iter().filter(|(epoch, _, _)| *epoch == newest);
    let last_leader = informed().map(|(_, _, leader)| *leader).next().unwrap_or(of.last_leader);
    let lowest = informed().map(|(_, id, _)| *id).min().unwrap_or(of.me);
    // Who acts knows what it told, also where somebody else led before it, was gone, and has just begun.
    let acts_alone = of.is_acting && !of.answers.iter().any(|answer| answer.is_acting);
    // Of two who act the one goes on who would have begun.
    let rightful = if acts_alone || last_leader == of.me || !is_there(last_leader) && lowest == of.me {
        of.me
    } else if is_there(last_leader) {
        last_leader
    } else {
        lowest
    };
    if let Some(peer) = of.answers.iter().find(|answer| answer.is_acting)
        && (rightful != of.me || !of.is_acting)
    {
        return Verdict::StandBy(format!("{} tells people without ZooKeeper", peer.id));
    }
    if rightful != of.me {
        return Verdict::StandBy(format!("{rightful} tells people when nobody reaches ZooKeeper"));
    }
    let reason = if of.answers.is_empty() { "no other member answers" } else { "no member reaches ZooKeeper" };
    // The lease of who led has run out by then; a server that has just started gets the time to connect.
    let patience = if last_leader == of.me { of.session / 2 } else { of.session.saturating_mul(2) };
    if of.is_acting || of.away >= patience {
        return Verdict::Act(reason.to_owned());
    }
    Verdict::StandBy(format!("{reason}; waiting whether the last leader goes on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    fn answer(id: &str, is_connected: bool, is_acting: bool) -> Answer {
        Answer { id: id.to_owned(), is_connected, is_acting, owes: false, leader: String::new(), epoch: 0 }
    }

    fn acts(me: &str, last_leader: &str, is_acting: bool, away_s: u64, answers: &[Answer]) -> bool {
        let away = Duration::from_secs(away_s);
        let verdict = decide(&Situation { me, last_leader, epoch: 0, is_acting, answers, away, session: SESSION });
        matches!(verdict, Verdict::Act(_))
    }

    #[test]
    fn somebody_goes_on_and_only_one() {
        // Cut off from ZooKeeper alone: the others reach it.
        assert!(!acts("a", "a", false, 60, &[answer("b", true, false)]));
        assert!(!acts("a", "a", true, 60, &[answer("b", true, false), answer("c", false, false)]));
        // The ensemble is down: the last leader goes on, soon.
        assert!(acts("b", "b", false, 5, &[answer("a", false, false)]));
        assert!(!acts("b", "b", false, 4, &[answer("a", false, false)]));
        assert!(!acts("a", "b", false, 60, &[answer("b", false, true)]));
        assert!(!acts("a", "b", false, 60, &[answer("b", false, false)]));
        // The last leader is down too: the lowest id takes over, later.
        assert!(!acts("a", "c", false, 19, &[answer("b", false, false)]));
        assert!(acts("a", "c", false, 20, &[answer("b", false, false)]));
        assert!(!acts("b", "c", false, 60, &[answer("a", false, false)]));
        // Nobody there at all.
        assert!(acts("a", "a", false, 5, &[]));
        assert!(!acts("a", "b", false, 19, &[]));
        assert!(acts("a", "b", false, 20, &[]));
        assert!(acts("a", "", false, 20, &[]));
        // The old leader comes back while another one acts: that one goes on.
        assert!(acts("b", "a", true, 60, &[answer("a", false, false)]));
        assert!(!acts("a", "a", false, 60, &[answer("b", false, true)]));
        // Two act after they lost each other: one stops.
        assert!(acts("a", "c", true, 60, &[answer("b", false, true)]));
        assert!(!acts("b", "c", true, 60, &[answer("a", false, true)]));
        assert!(acts("b", "b", true, 60, &[answer("a", false, true)]));
        assert!(!acts("a", "b", true, 60, &[answer("b", false, true)]));
    }

    #[test]
    fn who_was_cut_off_leaves_it_to_who_knows_more() {
        let says = |id: &str, leader: &str, epoch| Answer { leader: leader.to_owned(), epoch, ..answer(id, false, false) };
        let acts = |me, last_leader, epoch, answers: &[Answer]| {
            let away = Duration::from_secs(60);
            let of = Situation { me, last_leader, epoch, is_acting: false, answers, away, session: SESSION };
            matches!(decide(&of), Verdict::Act(_))
        };
        // It led once, but others know of a later leader.
        assert!(!acts("a", "a", 5, &[says("b", "c", 9)]));
        assert!(acts("b", "c", 9, &[says("a", "a", 5)]));
        assert!(acts("b", "c", 9, &[says("d", "c", 9), says("a", "a", 5)]));
        assert!(!acts("d", "c", 9, &[says("b", "c", 9)]));
    }

    #[test]
    fn answers_are_read_as_written() {
        let said = Answer { owes: true, leader: "b".to_owned(), epoch: 7, ..answer("a", true, false) };
        assert_eq!(Answer::of(&said.json()), Some(said));
        assert_eq!(Answer::of(&json!({"id": "a"})), None);
    }
}
