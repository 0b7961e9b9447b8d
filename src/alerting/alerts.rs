//! The alerts that are known: one for each label set, merged as Alertmanager merges them.
//!
//! A sender repeats an alert while it fires and says once when it ended. Who does not say when it will end is believed for
//! `resolve_timeout`. Two posts whose times overlap speak of one event and are merged: the earliest start holds, an
//! end that somebody named beats one that we assumed. Follows Alertmanager's `api/v2` (what a post means), `types/alert.go`
//! (merging) and `provider/mem` (when to merge).

use crate::model::alert::Alert;
use crate::model::labels::Labels;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One alert as it is kept; never changed in place.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    /// The fingerprint of its labels.
    pub fingerprint: u64,
    /// Its identity.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// When it began.
    pub starts_at_ms: i64,
    /// When it ended or will be held to have ended.
    pub ends_at_ms: i64,
    /// When it was last posted.
    pub updated_at_ms: i64,
    /// A link to what is behind it; may be empty.
    pub generator_url: String,
    /// The value when last evaluated.
    pub value: Option<f64>,
    /// Whether the end is our assumption (`resolve_timeout`) and not the sender's word.
    pub timeout: bool,
}

impl StoredAlert {
    /// Makes one that nobody posted and that is in no group: a test, or a sign of life.
    #[must_use]
    pub fn direct(now_ms: i64, labels: Labels, annotations: Labels) -> Self {
        Self {
            fingerprint: labels.fingerprint(),
            labels,
            annotations,
            starts_at_ms: now_ms,
            ends_at_ms: i64::MAX,
            updated_at_ms: now_ms,
            generator_url: String::new(),
            value: None,
            timeout: false,
        }
    }

    /// Returns whether it has ended at `now_ms`.
    #[must_use]
    pub const fn is_resolved_at(&self, now_ms: i64) -> bool {
        self.ends_at_ms <= now_ms
    }

    /// Returns the alert's name, or the empty string.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.value(crate::model::labels::ALERT_NAME)
    }
}

/// Why a posted alert was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// It ends before it starts.
    #[error("start time must be before end time")]
    EndsBeforeStart,
    /// It has no label.
    #[error("at least one label pair required")]
    NoLabels,
}

/// Gives a posted alert its times, as Alertmanager's API does.
///
/// # Errors
/// When the alert cannot be kept; others of the same post are not affected.
pub fn accept(now_ms: i64, resolve_timeout_ms: i64, alert: Alert) -> Result<StoredAlert, AlertError> {
    // A start of zero is how a sender says "I do not know".
    let starts_at_ms = if alert.starts_at_ms == 0 { alert.ends_at_ms.unwrap_or(now_ms) } else { alert.starts_at_ms };
    let stored = StoredAlert {
        fingerprint: alert.labels.fingerprint(),
        starts_at_ms,
        ends_at_ms: alert.ends_at_ms.unwrap_or_else(|| now_ms.saturating_add(resolve_timeout_ms)),
        timeout: alert.ends_at_ms.is_none(),
        updated_at_ms: now_ms,
        labels: alert.labels,
        annotations: alert.annotations,
        generator_url: alert.generator_url,
        value: alert.value,
    };
    if stored.labels.is_empty() {
        return Err(AlertError::NoLabels);
    }
    if stored.starts_at_ms > stored.ends_at_ms {
        return Err(AlertError::EndsBeforeStart);
    }
    Ok(stored)
}

/// Merges two posts of the same alert whose times overlap.
#[must_use]
pub fn merge(now_ms: i64, old: &StoredAlert, new: &StoredAlert) -> StoredAlert {
    if new.updated_at_ms < old.updated_at_ms {
        return merge(now_ms, new, old);
    }
    let mut merged = new.clone();
    merged.starts_at_ms = merged.starts_at_ms.min(old.starts_at_ms);
    let later = old.ends_at_ms > new.ends_at_ms;
    if new.is_resolved_at(now_ms) {
        // Both have ended: the latest end that was named wins.
        if later && old.is_resolved_at(now_ms) {
            merged.ends_at_ms = old.ends_at_ms;
        }
    } else if later && !old.timeout {
        merged.ends_at_ms = old.ends_at_ms;
    }
    merged
}

/// What a post changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Nobody had posted this label set, or its last event is over.
    New,
    /// It ended, or began anew.
    Turned,
    /// It goes on; times, texts or the value may differ.
    Refreshed,
}

/// All alerts by fingerprint.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    by_fingerprint: BTreeMap<u64, Arc<StoredAlert>>,
}

impl Alerts {
    /// Takes one alert in, and says what it changed.
    pub fn put(&mut self, now_ms: i64, new: StoredAlert) -> (Arc<StoredAlert>, Put) {
        let old = self.by_fingerprint.get(&new.fingerprint);
        let overlaps = |old: &StoredAlert| {
            (new.ends_at_ms > old.starts_at_ms && new.ends_at_ms < old.ends_at_ms)
                || (new.starts_at_ms > old.starts_at_ms && new.starts_at_ms < old.ends_at_ms)
        };
        let kept = Arc::new(match old {
            Some(old) if overlaps(old) => merge(now_ms, old, &new),
            _ => new,
        });
        let put = match old {
            None => Put::New,
            Some(old) if old.is_resolved_at(now_ms) != kept.is_resolved_at(now_ms) => Put::Turned,
            Some(_) => Put::Refreshed,
        };
        self.by_fingerprint.insert(kept.fingerprint, Arc::clone(&kept));
        (kept, put)
    }

    /// Puts back what was kept across a restart.
    pub fn restore(&mut self, alert: StoredAlert) {
        self.by_fingerprint.insert(alert.fingerprint, Arc::new(alert));
    }

    /// Returns one alert.
    #[must_use]
    pub fn get(&self, fingerprint: u64) -> Option<&Arc<StoredAlert>> {
        self.by_fingerprint.get(&fingerprint)
    }

    /// Walks all alerts in order of fingerprints.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredAlert>> {
        self.by_fingerprint.values()
    }

    /// Returns how many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    /// Returns whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_fingerprint.is_empty()
    }

    /// Forgets alerts that ended more than `keep_ms` ago and that nobody needs; returns their fingerprints.
    pub fn collect_garbage(&mut self, now_ms: i64, keep_ms: i64, is_needed: impl Fn(u64) -> bool) -> Vec<u64> {
        let over = |alert: &StoredAlert| alert.ends_at_ms.saturating_add(keep_ms) <= now_ms;
        let gone: Vec<u64> =
            self.iter().filter(|alert| over(alert) && !is_needed(alert.fingerprint)).map(|alert| alert.fingerprint).collect();
        for fingerprint in &gone {
            self.by_fingerprint.remove(fingerprint);
        }
        gone
    }
}

/// Orders alerts as Alertmanager lists them in a notification: by `job`, by `instance`, then by their labels, fewer first.
#[must_use]
pub fn notification_order(a: &Labels, b: &Labels) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    for name in [crate::model::labels::JOB, crate::model::labels::INSTANCE] {
        let order = match (a.get(name), b.get(name)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: i64 = 300_000;

    fn posted(starts_at_ms: i64, ends_at_ms: Option<i64>) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", "Down")]),
            annotations: Labels::empty(),
            starts_at_ms,
            ends_at_ms,
            updated_at_ms: 0,
            generator_url: String::new(),
            value: None,
        }
    }

    /// Posts in order `(now, start, end)`, then gives `(start, end)` of what is kept.
    fn check(posts: &[(i64, i64, Option<i64>)], wanted: (i64, i64)) {
        let mut alerts = Alerts::default();
        for (now_ms, start, end) in posts {
            let alert = accept(*now_ms, TIMEOUT, posted(*start, *end)).expect("good");
            alerts.put(*now_ms, alert);
        }
        let kept = alerts.iter().next().expect("one");
        assert_eq!((kept.starts_at_ms, kept.ends_at_ms), wanted, "{posts:?}");
        assert_eq!(alerts.len(), 1);
    }

    #[test]
    fn a_post_gets_its_times() {
        check(&[(1000, 0, None)], (1000, 1000 + TIMEOUT));
        check(&[(1000, 0, Some(700))], (700, 700));
        check(&[(1000, 500, None)], (500, 500 + 500 + TIMEOUT));
        assert_eq!(accept(1000, TIMEOUT, posted(900, Some(800))), Err(AlertError::EndsBeforeStart));
        let nameless = Alert { labels: Labels::empty(), ..posted(1, None) };
        assert_eq!(accept(1000, TIMEOUT, nameless), Err(AlertError::NoLabels));
    }

    #[test]
    fn overlapping_posts_are_one_event() {
        // Repeated while firing: the start stays, the end moves.
        check(&[(1000, 1000, None), (2000, 2000, None)], (1000, 2000 + TIMEOUT));
        // An explicit end beats the assumed one.
        check(&[(1000, 1000, None), (2000, 1000, Some(1900))], (1000, 1900));
        // A later explicit end in the future is kept against a newer, earlier assumption.
        check(&[(1000, 1000, Some(900_000)), (2000, 1500, None)], (1000, 900_000));
        // After its end a new event begins.
        check(&[(1000, 1000, Some(1500)), (2000, 1800, None)], (1800, 2000 + TIMEOUT));
    }

    #[test]
    fn says_what_changed() {
        let mut alerts = Alerts::default();
        let mut put = |now_ms, start, end| {
            let alert = accept(now_ms, TIMEOUT, posted(start, end)).expect("good");
            alerts.put(now_ms, alert).1
        };
        assert_eq!(put(1000, 1000, None), Put::New);
        assert_eq!(put(2000, 1000, None), Put::Refreshed);
        assert_eq!(put(3000, 1000, Some(2500)), Put::Turned);
        assert_eq!(put(4000, 3500, None), Put::Turned);
    }

    #[test]
    fn forgets_what_is_over() {
        let mut alerts = Alerts::default();
        let alert = accept(1000, TIMEOUT, posted(1000, Some(1500))).expect("good");
        let fingerprint = alert.fingerprint;
        alerts.put(1000, alert);
        assert!(alerts.collect_garbage(1400, 0, |_| false).is_empty());
        assert!(alerts.collect_garbage(1500, 0, |_| true).is_empty());
        assert_eq!(alerts.collect_garbage(1500, 0, |_| false), [fingerprint]);
        assert!(alerts.is_empty());
    }
}
