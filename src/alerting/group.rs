//! Alert groups and their timers.
//!
//! ```text
//! first alert --group_wait--> flush --group_interval--> flush --group_interval--> ...
//!      \ older than group_wait: flush at once
//! ```
//!
//! A flush tells the group as it is. When everybody concerned took it (or nobody had to be told), ended alerts that have not
//! come back since leave the group. A group that has become empty is removed by the next maintenance. A flush that
//! is still going on when the next one is due delays it. Follows `aggrGroup` of Alertmanager's `dispatch` package.

use super::alerts::StoredAlert;
use super::route::Route;
use crate::model::labels::Labels;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names a group: the route and the labels that its alerts share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId {
    /// The route's id.
    pub route_id: Arc<str>,
    /// The values of the route's `group_by`.
    pub labels: Labels,
}

/// A flush whose deliveries have not all come back.
#[derive(Clone, Debug, Default)]
pub struct Flushing {
    /// Deliveries on their way.
    pub pending: usize,
    /// Whether one of them failed.
    pub failed: bool,
    /// Alerts that had ended when it began, with their last update then.
    pub resolved: Vec<(u64, i64)>,
}

/// One group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its route's place in the tree.
    pub route: usize,
    /// Fingerprints of its alerts.
    pub members: BTreeSet<u64>,
    /// When to flush next.
    pub next_flush_ms: i64,
    /// Whether it was flushed before.
    pub has_flushed: bool,
    /// Whether a flush was due while another member did the telling.
    pub stood_by: bool,
    /// Whether messages of an earlier life, whose outcome is not known, are to be sent again now.
    pub resumes: bool,
    /// When an alert becomes too old to be without an acknowledgement; `i64::MAX`: not in sight.
    pub next_escalation_ms: i64,
    /// The flush that is going on.
    pub flushing: Option<Flushing>,
    /// Why nobody was told when it was last flushed, for noting a reason once.
    pub last_silence: String,
}

impl Group {
    /// Makes a group without alerts.
    #[must_use]
    pub fn new(now_ms: i64, place: usize, route: &Route) -> Self {
        Self {
            route: place,
            members: BTreeSet::new(),
            next_flush_ms: now_ms.saturating_add(route.group_wait_ms),
            has_flushed: false,
            stood_by: false,
            resumes: false,
            next_escalation_ms: i64::MAX,
            flushing: None,
            last_silence: String::new(),
        }
    }

    /// Takes an alert in. One that is older than the wait does not wait again. Returns whether it was not there before.
    pub fn insert(&mut self, now_ms: i64, alert: &StoredAlert, route: &Route) -> bool {
        if !self.has_flushed && alert.starts_at_ms.saturating_add(route.group_wait_ms) < now_ms {
            self.next_flush_ms = self.next_flush_ms.min(now_ms);
        }
        if let Some(late_ms) = route.late_at(alert).filter(|late_ms| *late_ms > now_ms) {
            self.next_escalation_ms = self.next_escalation_ms.min(late_ms);
        }
        self.members.insert(alert.fingerprint)
    }

    /// Returns whether a flush is due: its time has come, and none is going on.
    #[must_use]
    pub const fn is_due(&self, now_ms: i64) -> bool {
        self.next_look_ms() <= now_ms && self.flushing.is_none()
    }

    /// Returns when there is something to do, where no flush is going on.
    #[must_use]
    pub const fn next_look_ms(&self) -> i64 {
        if self.resumes {
            i64::MIN
        } else if self.next_flush_ms < self.next_escalation_ms {
            self.next_flush_ms
        } else {
            self.next_escalation_ms
        }
    }

    /// Notes that a delivery came back; returns the flush when it was the last one.
    pub fn delivered(&mut self, worked: bool) -> Option<Flushing> {
        let flushing = self.flushing.as_mut()?;
        flushing.pending = flushing.pending.saturating_sub(1);
        flushing.failed |= !worked;
        if flushing.pending == 0 { self.flushing.take() } else { None }
    }

    /// Lets ended alerts go after a flush that worked; `updated_at` tells an alert's last update, so that one that fires again
    /// stays.
    pub fn let_go(&mut self, resolved: &[(u64, i64)], updated_at: impl Fn(u64) -> Option<i64>) {
        for (fingerprint, then_ms) in resolved {
            if updated_at(*fingerprint).is_none_or(|updated_at_ms| updated_at_ms == *then_ms) {
                self.members.remove(fingerprint);
            }
        }
    }
}
