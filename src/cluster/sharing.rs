//! Which member scrapes which target, where the members share them (`cluster.share_scrapes`).
//!
//! Rendezvous hashing: each member has a weight for each target, and the heaviest scrapes it. So a member that comes takes its
//! part from all the others alike, one that goes leaves its part to all of them, and no other target moves. Every member
//! reckons for itself; no one assigns anything.
//!
//! A target that two scrape for a moment does no harm, one that nobody scrapes does. Therefore
//!
//! * a newcomer's targets are scraped by those who had them as well, until it has been there for a session time-out;
//! * a member that is gone is gone at once: its znode outlived it by a session time-out already, or it took its leave. But for a
//!   session time-out after our own session came back nobody is: then the others' sessions may be on their way back, too;
//! * nothing changes while ZooKeeper is away.

use std::collections::BTreeMap;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How long a member that is gone is still sent what it missed, should it come back.
pub const CATCH_UP: Duration = Duration::from_secs(15 * 60);

/// Returns the member that scrapes the target with that hash; `None` where there are no members.
#[must_use]
pub fn owner<'a>(target: u64, members: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    members.max_by_key(|id| (xxh3_64_with_seed(id.as_bytes(), target), *id))
}

/// What is known of another member that shares.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    url: String,
    /// From when on it scrapes its part alone.
    settles: Duration,
    /// Since when it is gone; `None`: it is there.
    gone: Option<Duration>,
}

/// Who shares, as one member sees it. Times are of its monotonic clock.
#[derive(Clone, Debug)]
pub struct Sharers {
    me: String,
    others: BTreeMap<String, Other>,
    session_timeout: Duration,
    /// Until then nobody who was known is gone.
    hold_until: Duration,
    /// Whether the members were seen since the start.
    has_seen: bool,
}

/// Who scrapes what, as of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    me: String,
    /// All others by id, and whether each has settled.
    others: Vec<(String, bool)>,
}

impl Shares {
    /// Returns the other member that scrapes the target with that hash instead of this one; `None`: this one does.
    #[must_use]
    pub fn elsewhere(&self, target: u64) -> Option<&str> {
        let of = |settled: bool| {
            let others = self.others.iter().filter(move |(_, has_settled)| *has_settled || !settled);
            owner(target, others.map(|(id, _)| id.as_str()).chain([self.me.as_str()]))
        };
        let is_mine = of(false) == Some(&self.me) || of(true) == Some(&self.me);
        if is_mine { None } else { of(false) }
    }
}

impl Sharers {
    /// Begins with the others (id and URL) that this member knew last.
    #[must_use]
    pub fn new(me: &str, known: impl IntoIterator<Item = (String, String)>, session_timeout: Duration) -> Self {
        let other = |(id, url)| (id, Other { url, settles: Duration::ZERO, gone: None });
        let others = known.into_iter().filter(|(id, _)| id != me).map(other).collect();
        Self { me: me.to_owned(), others, session_timeout, hold_until: Duration::ZERO, has_seen: false }
    }

    /// Our session is back after it was away: the others' may be on their way.
    pub fn came_back(&mut self, now: Duration) {
        self.hold_until = now + self.session_timeout;
    }

    /// Takes the members that share, id and URL, as a live session sees them.
    pub fn see(&mut self, now: Duration, listed: &[(String, String)]) {
        for (id, url) in listed.iter().filter(|(id, _)| *id != self.me) {
            // Who was there before us has its part already.
            let settles = if self.has_seen { now + self.session_timeout } else { now };
            let other = self.others.entry(id.clone()).or_insert_with(|| Other { url: url.clone(), settles, gone: None });
            if other.gone.take().is_some() {
                other.settles = settles;
            }
            other.url.clone_from(url);
        }
        self.has_seen = true;
        if now >= self.hold_until {
            for (_, other) in self.others.iter_mut().filter(|(id, _)| listed.iter().all(|(listed, _)| listed != *id)) {
                other.gone.get_or_insert(now);
            }
        }
        self.others.retain(|_, other| other.gone.is_none_or(|gone| now < gone + CATCH_UP));
    }

    /// Returns who scrapes what now.
    #[must_use]
    pub fn shares(&self, now: Duration) -> Shares {
        let there = self.others.iter().filter(|(_, other)| other.gone.is_none());
        Shares { me: self.me.clone(), others: there.map(|(id, other)| (id.clone(), other.settles <= now)).collect() }
    }

    /// Returns to whom our samples are sent, id and URL: the others, and for a while those that are gone.
    #[must_use]
    pub fn receivers(&self) -> Vec<(String, String)> {
        self.others.iter().map(|(id, other)| (id.clone(), other.url.clone())).collect()
    }

    /// Returns the others that are there, id and URL, to begin with after a restart.
    #[must_use]
    pub fn there(&self) -> Vec<(String, String)> {
        let there = self.others.iter().filter(|(_, other)| other.gone.is_none());
        there.map(|(id, other)| (id.clone(), other.url.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn listed(ids: &[&str]) -> Vec<(String, String)> {
        ids.iter().map(|id| ((*id).to_owned(), format!("http://{id}"))).collect()
    }

    /// Hashes as those of targets: any numbers.
    fn targets() -> Vec<u64> {
        (0..10_000_u64).map(|number| xxh3_64_with_seed(&number.to_le_bytes(), 7)).collect()
    }

    #[test]
    fn the_parts_are_alike_and_only_those_of_who_came_or_went_move() {
        let three = ["a", "b", "c"];
        let four = ["a", "b", "c", "d"];
        let mut counts = BTreeMap::new();
        let (mut moved, mut from) = (0, BTreeMap::new());
        for target in targets() {
            let before = owner(target, three.into_iter()).unwrap();
            let after = owner(target, four.into_iter()).unwrap();
            *counts.entry(before).or_insert(0) += 1;
            // The order in which they are listed is nothing.
            assert_eq!(owner(target, three.into_iter().rev()), Some(before));
            if before != after {
                assert_eq!(after, "d", "only the newcomer takes");
                moved += 1;
                *from.entry(before).or_insert(0) += 1;
            }
        }
        assert!(counts.values().all(|count| (3_100..3_570).contains(count)), "{counts:?}");
        assert!((2_300..2_700).contains(&moved) && from.values().all(|count| (700..970).contains(count)), "{moved} {from:?}");
        assert_eq!(owner(1, [].into_iter()), None);
    }

    #[test]
    fn nobody_lets_a_target_go_before_another_has_it() {
        let mut a = Sharers::new("a", [], TIMEOUT);
        a.see(seconds(0), &listed(&["a"]));
        assert!(targets().into_iter().all(|target| a.shares(seconds(0)).elsewhere(target).is_none()));
        // The newcomer knows at once who is there; the old one goes on with everything for a time-out.
        let mut b = Sharers::new("b", [], TIMEOUT);
        let both = listed(&["a", "b"]);
        b.see(seconds(5), &both);
        a.see(seconds(5), &both);
        let mut doubled = 0;
        for target in targets() {
            assert!(a.shares(seconds(14)).elsewhere(target).is_none());
            let (early, late) =
                (b.shares(seconds(5)).elsewhere(target).is_none(), a.shares(seconds(15)).elsewhere(target).is_none());
            assert_ne!(early, late, "in the end one of them scrapes it");
            doubled += usize::from(early);
        }
        assert!((4_700..5_300).contains(&doubled), "{doubled}");
    }

    #[test]
    fn who_is_gone_is_gone_at_once_but_for_a_while_after_an_outage_nobody_is() {
        let mut a = Sharers::new("a", [("b".to_owned(), "http://b".to_owned())], TIMEOUT);
        // At the start with what was known: nothing moves before ZooKeeper is there.
        let of_b: Vec<u64> =
            targets().into_iter().filter(|target| a.shares(seconds(0)).elsewhere(*target) == Some("b")).collect();
        assert!((4_700..5_300).contains(&of_b.len()));
        a.see(seconds(1), &listed(&["a", "b"]));
        a.came_back(seconds(100));
        a.see(seconds(100), &listed(&["a"]));
        a.see(seconds(109), &listed(&["a"]));
        assert_eq!(a.shares(seconds(109)).elsewhere(of_b[0]), Some("b"));
        a.see(seconds(110), &listed(&["a"]));
        assert!(of_b.iter().all(|target| a.shares(seconds(110)).elsewhere(*target).is_none()));
        // It is sent what it misses, and again a newcomer when it is back.
        assert_eq!((a.receivers().len(), a.there().len()), (1, 0));
        a.see(seconds(200), &listed(&["a", "b"]));
        assert_eq!(a.shares(seconds(209)).elsewhere(of_b[0]), None);
        assert_eq!(a.shares(seconds(210)).elsewhere(of_b[0]), Some("b"));
        a.see(seconds(300), &listed(&["a"]));
        assert_eq!(a.shares(seconds(300)).elsewhere(of_b[0]), None);
        a.see(seconds(300) + CATCH_UP, &listed(&["a"]));
        assert!(a.receivers().is_empty());
    }
}
