//! Silences: made, changed, expired, and asked whether they cover an alert.
//!
//! A change that would rewrite history (other matchers, another beginning of one in force) expires the old silence and makes a
//! new one. Follows Alertmanager's `silence` package, its words included. Beyond it a silence may recur (`every`) or end with
//! the alerts it covers (`until_resolved`).

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::silence::{Silence, SilenceState};
use std::collections::BTreeMap;

/// How long an expired silence is kept: Alertmanager's `--data.retention`.
pub const RETENTION_MS: i64 = 120 * 3_600_000;

/// Why a silence could not be made, changed or expired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No silence has this id.
    #[error("silence not found")]
    NotFound,
    /// It is over already.
    #[error("silence {0} already expired")]
    AlreadyExpired(String),
    /// It is not a good silence.
    #[error("invalid silence: {0}")]
    Invalid(String),
    /// Its times are not possible.
    #[error("failed to create silence: {0}")]
    Times(&'static str),
    /// It could not be kept.
    #[error("silence could not be stored: {0}")]
    NotStored(String),
}

/// All silences by id.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    by_id: BTreeMap<String, Silence>,
}

fn validate(silence: &Silence) -> Result<(), SilenceError> {
    let invalid = |why: &str| Err(SilenceError::Invalid(why.to_owned()));
    if silence.matchers.is_empty() {
        return invalid("at least one matcher required");
    }
    if let Some(place) = silence.matchers.iter().position(|matcher| matcher.name().is_empty()) {
        return Err(SilenceError::Invalid(format!("invalid label matcher {place}: invalid label name \"\"")));
    }
    if silence.matchers.iter().all(|matcher| matcher.matches("")) {
        return invalid("at least one matcher must not match the empty string");
    }
    if silence.ends_at_ms < silence.starts_at_ms {
        return invalid("end time must not be before start time");
    }
    Ok(())
}

/// Returns whether `new` may take the place of `old` under the same id.
fn can_update(now_ms: i64, old: &Silence, new: &Silence) -> bool {
    if old.matchers != new.matchers {
        return false;
    }
    match old.state_at(now_ms) {
        SilenceState::Active => new.starts_at_ms / 1000 == old.starts_at_ms / 1000 && new.ends_at_ms >= now_ms,
        SilenceState::Pending => new.starts_at_ms >= now_ms,
        SilenceState::Expired => false,
    }
}

impl Silences {
    /// Makes or changes a silence (an empty id: a new one) and returns its id with all silences that changed.
    ///
    /// # Errors
    /// When the id is unknown or the silence is not a good one.
    pub fn put(&mut self, now_ms: i64, mut silence: Silence, new_id: String) -> Result<(String, Vec<Silence>), SilenceError> {
        if silence.starts_at_ms >= silence.ends_at_ms {
            return Err(SilenceError::Times("start time must be before end time"));
        }
        if silence.ends_at_ms < now_ms {
            return Err(SilenceError::Times("end time can't be in the past"));
        }
        crate::model::matcher_text::sort(&mut silence.matchers);
        validate(&silence)?;
        silence.updated_at_ms = now_ms;
        let mut changed = Vec::new();
        if !silence.id.is_empty() {
            let old = self.by_id.get(&silence.id).ok_or(SilenceError::NotFound)?;
            if can_update(now_ms, old, &silence) {
                let id = silence.id.clone();
                self.by_id.insert(id.clone(), silence.clone());
                return Ok((id, vec![silence]));
            }
            if old.state_at(now_ms) != SilenceState::Expired {
                let old = old.id.clone();
                changed.push(self.expire(now_ms, &old)?);
            }
        }
        silence.id = new_id;
        silence.starts_at_ms = silence.starts_at_ms.max(now_ms);
        self.by_id.insert(silence.id.clone(), silence.clone());
        let id = silence.id.clone();
        changed.push(silence);
        Ok((id, changed))
    }

    /// Ends a silence now and returns it.
    ///
    /// # Errors
    /// When the id is unknown or the silence is over.
    pub fn expire(&mut self, now_ms: i64, id: &str) -> Result<Silence, SilenceError> {
        let silence = self.by_id.get_mut(id).ok_or(SilenceError::NotFound)?;
        match silence.state_at(now_ms) {
            SilenceState::Expired => return Err(SilenceError::AlreadyExpired(id.to_owned())),
            SilenceState::Active => silence.ends_at_ms = now_ms,
            SilenceState::Pending => (silence.starts_at_ms, silence.ends_at_ms) = (now_ms, now_ms),
        }
        silence.updated_at_ms = now_ms;
        Ok(silence.clone())
    }

    /// Puts back what was kept across a restart, or takes what another member says; the later change wins.
    pub fn restore(&mut self, silence: Silence) -> bool {
        match self.by_id.get(&silence.id) {
            Some(ours) if ours.updated_at_ms >= silence.updated_at_ms => false,
            _ => {
                self.by_id.insert(silence.id.clone(), silence);
                true
            }
        }
    }

    /// Returns the ids of the silences in force that cover a label set, sorted.
    #[must_use]
    pub fn silenced_by(&self, now_ms: i64, labels: &Labels) -> Vec<String> {
        let covers = |silence: &&Silence| silence.is_muting_at(now_ms) && covers(&silence.matchers, labels);
        self.by_id.values().filter(covers).map(|silence| silence.id.clone()).collect()
    }

    /// Returns one silence.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Silence> {
        self.by_id.get(id)
    }

    /// Walks all silences in order of ids.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.by_id.values()
    }

    /// Returns the next moment after `now_ms` at which a silence begins or ends.
    #[must_use]
    pub fn next_change_ms(&self, now_ms: i64) -> Option<i64> {
        let times = self.by_id.values().flat_map(|silence| [silence.starts_at_ms, silence.ends_at_ms]);
        times.filter(|at_ms| *at_ms > now_ms).min()
    }

    /// Forgets silences that ended longer than the retention ago; returns their ids.
    pub fn collect_garbage(&mut self, now_ms: i64) -> Vec<String> {
        let over = |silence: &&Silence| silence.ends_at_ms.saturating_add(RETENTION_MS) <= now_ms;
        let gone: Vec<String> = self.by_id.values().filter(over).map(|silence| silence.id.clone()).collect();
        for id in &gone {
            self.by_id.remove(id);
        }
        gone
    }
}

/// Returns whether all matchers accept a label set.
#[must_use]
pub fn covers(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches_labels(labels))
}

/// The longest that a silence over everything may last unless somebody says that it is meant so.
pub const COVERS_ALL_MAX_MS: i64 = 2 * 3_600_000;

/// Returns whether matchers accept every alert, also those that nobody has seen yet. Every alert has a name; other labels it may
/// lack.
#[must_use]
pub fn covers_all(matchers: &[Matcher]) -> bool {
    let unheard_of = ["zq-7Xb", "\u{1f427}", "0"];
    matchers.iter().all(|matcher| {
        let may_lack = matcher.name() == crate::model::labels::ALERT_NAME || matcher.matches("");
        may_lack && unheard_of.iter().all(|value| matcher.matches(value))
    })
}

/// Orders silences as Alertmanager's API lists them: active (first to end first), pending (first to begin first),
/// expired (last to end first).
#[must_use]
pub fn listing_order(now_ms: i64, a: &Silence, b: &Silence) -> std::cmp::Ordering {
    let rank = |silence: &Silence| match silence.state_at(now_ms) {
        SilenceState::Active => (0, silence.ends_at_ms),
        SilenceState::Pending => (1, silence.starts_at_ms),
        SilenceState::Expired => (2, -silence.ends_at_ms),
    };
    rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::matcher::MatchOp;

    fn silence(starts_at_ms: i64, ends_at_ms: i64) -> Silence {
        Silence {
            id: String::new(),
            matchers: vec![Matcher::equal("a", "b")],
            starts_at_ms,
            ends_at_ms,
            updated_at_ms: 0,
            created_by: "li".to_owned(),
            comment: "resizing".to_owned(),
            every: None,
            until_resolved: false,
        }
    }

    fn put(silences: &mut Silences, now_ms: i64, silence: Silence, new_id: &str) -> Result<String, SilenceError> {
        silences.put(now_ms, silence, new_id.to_owned()).map(|(id, _)| id)
    }

    #[test]
    fn begins_lasts_and_ends() {
        let mut silences = Silences::default();
        let labels = Labels::from_pairs([("a", "b"), ("c", "d")]);
        assert_eq!(put(&mut silences, 1000, silence(2000, 5000), "one").as_deref(), Ok("one"));
        for (now_ms, covered) in [(1999, false), (2000, true), (4999, true), (5000, false)] {
            assert_eq!(!silences.silenced_by(now_ms, &labels).is_empty(), covered, "{now_ms}");
        }
        assert_eq!(silences.next_change_ms(1000), Some(2000));
        assert_eq!(silences.next_change_ms(2000), Some(5000));
        assert!(silences.silenced_by(3000, &Labels::from_pairs([("a", "c")])).is_empty());
        assert_eq!(silences.collect_garbage(5000 + RETENTION_MS), ["one"]);
    }

    #[test]
    fn refuses_bad_ones() {
        let mut silences = Silences::default();
        let mut check = |silence: Silence, wanted: &str| {
            let error = put(&mut silences, 10_000, silence, "x").expect_err("bad");
            assert!(error.to_string().contains(wanted), "{error}");
        };
        check(silence(20_000, 20_000), "start time must be before end time");
        check(silence(1000, 2000), "end time can't be in the past");
        check(Silence { matchers: Vec::new(), ..silence(10_000, 20_000) }, "at least one matcher required");
        let any = Matcher::new(MatchOp::Regex, "a", ".*").expect("good");
        check(Silence { matchers: vec![any], ..silence(10_000, 20_000) }, "must not match the empty string");
        check(Silence { id: "unknown".to_owned(), ..silence(10_000, 20_000) }, "not found");
    }

    #[test]
    fn knows_what_covers_everything() {
        let matcher = |op, name, value| Matcher::new(op, name, value).expect("good");
        for (matchers, all) in [
            (vec![matcher(MatchOp::Regex, "alertname", ".+")], true),
            (vec![matcher(MatchOp::NotEqual, "alertname", "Watchdog")], true),
            (vec![matcher(MatchOp::Regex, "alertname", ".+"), matcher(MatchOp::NotEqual, "team", "db")], true),
            (vec![matcher(MatchOp::Regex, "team", ".+")], false),
            (vec![matcher(MatchOp::Regex, "alertname", "Disk.*")], false),
            (vec![matcher(MatchOp::Regex, "alertname", ".+"), Matcher::equal("team", "db")], false),
        ] {
            assert_eq!(covers_all(&matchers), all, "{matchers:?}");
        }
    }

    #[test]
    fn a_change_of_history_makes_a_new_one() {
        let mut silences = Silences::default();
        put(&mut silences, 1000, silence(1000, 50_000), "one").expect("good");
        let longer = Silence { id: "one".to_owned(), ..silence(1000, 90_000) };
        assert_eq!(put(&mut silences, 2000, longer, "two").as_deref(), Ok("one"));
        let other = Silence { id: "one".to_owned(), matchers: vec![Matcher::equal("a", "c")], ..silence(1000, 90_000) };
        assert_eq!(put(&mut silences, 3000, other, "two").as_deref(), Ok("two"));
        assert_eq!(silences.get("one").map(|silence| silence.ends_at_ms), Some(3000));
        assert_eq!(silences.get("two").map(|silence| silence.starts_at_ms), Some(3000));
        assert_eq!(silences.expire(4000, "one"), Err(SilenceError::AlreadyExpired("one".to_owned())));
        assert_eq!(silences.expire(4000, "three"), Err(SilenceError::NotFound));
    }

    #[test]
    fn a_pending_one_can_be_moved_and_expired() {
        let mut silences = Silences::default();
        put(&mut silences, 1000, silence(5000, 9000), "one").expect("good");
        let later = Silence { id: "one".to_owned(), ..silence(6000, 9000) };
        assert_eq!(put(&mut silences, 2000, later, "two").as_deref(), Ok("one"));
        let expired = silences.expire(3000, "one").expect("pending");
        assert_eq!((expired.starts_at_ms, expired.ends_at_ms), (3000, 3000));
    }
}
