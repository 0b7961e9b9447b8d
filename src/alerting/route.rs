//! The routing tree: which receivers hear of an alert, and how its groups are made and timed.
//!
//! A route takes an alert that all its matchers accept. Its children are asked in order; the first that takes the alert
//! ends the search unless it says `continue`. Where no child takes it, the route itself does. Options go down the tree,
//! except for time intervals. Follows Alertmanager's `dispatch/route.go`, its keys and ids included: the key
//! (matchers from the root down) names a group in the notification log, the id (key with places) tells siblings apart.

use super::alerts::StoredAlert;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::matcher_text;
use std::collections::BTreeMap;

/// A route as configured; what is `None` is taken from the parent.
#[derive(Clone, Debug, Default)]
pub struct RouteSpec {
    /// Who is told.
    pub receiver: Option<String>,
    /// All must accept the alert.
    pub matchers: Vec<Matcher>,
    /// Whether the siblings behind it are asked too.
    pub goes_on: bool,
    /// Labels that make a group; `...` alone: all of them.
    pub group_by: Option<Vec<String>>,
    /// How long a new group waits for more.
    pub group_wait_ms: Option<i64>,
    /// How long until a changed group is told again.
    pub group_interval_ms: Option<i64>,
    /// How long until an unchanged group is told again.
    pub repeat_interval_ms: Option<i64>,
    /// Names of intervals in which nobody is told.
    pub mute_time_intervals: Vec<String>,
    /// Names of intervals outside of which nobody is told.
    pub active_time_intervals: Vec<String>,
    /// Templates of labels for notifications.
    pub labels: BTreeMap<String, String>,
    /// Whom to tell after how long unless somebody acknowledged.
    pub escalate: Option<Escalation>,
    /// Routes below.
    pub routes: Vec<Self>,
}

/// Whom to tell after how long unless somebody acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// Since the alert began to fire.
    pub after_ms: i64,
    /// Who is told.
    pub receiver: String,
}

/// One route with everything inherited.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Tells siblings with equal matchers apart: `{}/{a="b"}/0`.
    pub id: String,
    /// The matchers from the root down: `{}/{a="b"}`.
    pub key: String,
    /// Who is told.
    pub receiver: String,
    /// Its own matchers, sorted.
    pub matchers: Vec<Matcher>,
    /// Whether the siblings behind it are asked too.
    pub goes_on: bool,
    /// Labels that make a group, sorted.
    pub group_by: Vec<String>,
    /// Whether all labels make a group.
    pub group_by_all: bool,
    /// How long a new group waits for more.
    pub group_wait_ms: i64,
    /// How long until a changed group is told again.
    pub group_interval_ms: i64,
    /// How long until an unchanged group is told again.
    pub repeat_interval_ms: i64,
    /// Names of intervals in which nobody is told.
    pub mute_time_intervals: Vec<String>,
    /// Names of intervals outside of which nobody is told.
    pub active_time_intervals: Vec<String>,
    /// Templates of labels for notifications.
    pub labels: BTreeMap<String, String>,
    /// Whom to tell after how long unless somebody acknowledged.
    pub escalate: Option<Escalation>,
    children: Vec<usize>,
}

impl Route {
    /// Returns the labels that an alert's group has.
    #[must_use]
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        labels.only(|name| self.group_by_all || self.group_by.binary_search_by(|by| by.as_str().cmp(name)).is_ok())
    }

    /// Returns when an alert that nobody has acknowledged is told to somebody else, where the route escalates.
    #[must_use]
    pub fn late_at(&self, alert: &StoredAlert) -> Option<i64> {
        self.escalate.as_ref().map(|escalate| alert.starts_at_ms.saturating_add(escalate.after_ms))
    }

    /// Returns the key of a group, as the notification log and receivers see it.
    #[must_use]
    pub fn group_key(&self, group_labels: &Labels) -> String {
        format!("{}:{}", self.key, group_labels)
    }
}

/// The tree, depth first; the root is at 0.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTree {
    routes: Vec<Route>,
}

impl RouteTree {
    /// Builds the tree with Alertmanager's defaults at the root: wait 30 s, interval 5 min, repeat 4 h, one group.
    #[must_use]
    pub fn new(root: &RouteSpec) -> Self {
        let mut tree = Self { routes: Vec::new() };
        tree.add(root, None);
        tree
    }

    fn add(&mut self, spec: &RouteSpec, parent: Option<(usize, usize)>) -> usize {
        let mut matchers = spec.matchers.clone();
        matcher_text::sort(&mut matchers);
        let text = matcher_text::to_text(&matchers);
        let above = parent.map(|(at, place)| (&self.routes[at], place));
        let (key, id) = match above {
            None => (text.clone(), text),
            Some((above, place)) => (format!("{}/{text}", above.key), format!("{}/{text}/{place}", above.id)),
        };
        let above = above.map(|(above, _)| above);
        let (group_by, group_by_all) = match &spec.group_by {
            None => above.map_or((Vec::new(), false), |above| (above.group_by.clone(), above.group_by_all)),
            Some(names) if names.iter().any(|name| name == "...") => (Vec::new(), true),
            Some(names) => {
                let mut names = names.clone();
                names.sort();
                names.dedup();
                (names, false)
            }
        };
        let mut labels = above.map(|above| above.labels.clone()).unwrap_or_default();
        labels.extend(spec.labels.clone());
        let route = Route {
            id,
            key,
            receiver: spec.receiver.clone().or_else(|| above.map(|above| above.receiver.clone())).unwrap_or_default(),
            matchers,
            goes_on: spec.goes_on,
            group_by,
            group_by_all,
            group_wait_ms: spec.group_wait_ms.unwrap_or_else(|| above.map_or(30_000, |above| above.group_wait_ms)),
            group_interval_ms: spec.group_interval_ms.unwrap_or_else(|| above.map_or(300_000, |above| above.group_interval_ms)),
            repeat_interval_ms: spec
                .repeat_interval_ms
                .unwrap_or_else(|| above.map_or(4 * 3_600_000, |above| above.repeat_interval_ms)),
            mute_time_intervals: spec.mute_time_intervals.clone(),
            active_time_intervals: spec.active_time_intervals.clone(),
            labels,
            escalate: spec.escalate.clone().or_else(|| above.and_then(|above| above.escalate.clone())),
            children: Vec::new(),
        };
        let at = self.routes.len();
        self.routes.push(route);
        for (place, child) in spec.routes.iter().enumerate() {
            let child = self.add(child, Some((at, place)));
            self.routes[at].children.push(child);
        }
        at
    }

    /// Returns the places of the routes that take a label set, in order; never empty unless the root refuses it.
    #[must_use]
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.collect(0, labels, &mut found);
        found
    }

    fn collect(&self, at: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let route = &self.routes[at];
        if !route.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
            return false;
        }
        let before = found.len();
        for child in &route.children {
            if self.collect(*child, labels, found) && !self.routes[*child].goes_on {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }

    /// Returns a route by its place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Route> {
        self.routes.get(at)
    }

    /// Returns the place of the route with an id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.routes.iter().position(|route| route.id == id)
    }

    /// Walks the routes depth first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Returns the names of the receivers that hear of a label set, in order, each once.
    #[must_use]
    pub fn receivers(&self, labels: &Labels) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for at in self.matching(labels) {
            let name = &self.routes[at].receiver;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}
