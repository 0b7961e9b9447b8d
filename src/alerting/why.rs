//! Why is somebody told, or not told, of an alert? Walks the way that an alert takes and says at each place what holds there.
//!
//! Works on a picture of alerting, for an alert that is known and for a label set that somebody thinks of. It decides nothing:
//! it asks the same functions that decide.

use super::alerts::StoredAlert;
use super::history::{Record, RecordState};
use super::inhibit::Inhibitor;
use super::mute::{self, Mute};
use super::route::Route;
use super::silence::covers;
use super::view::{AlertView, AlertingView, GroupView};
use crate::model::duration;
use crate::model::labels::Labels;
use crate::model::silence::Silence;
use crate::template::Time;
use std::sync::Arc;

/// What an alert's way comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver knows all there is to know.
    Told,
    /// It will be told, nothing is in the way.
    Waiting,
    /// It is being told now.
    Sending,
    /// Something keeps it quiet.
    Quiet,
    /// Telling was tried and did not work; it is tried again.
    Failed,
    /// There is nothing to tell.
    Nothing,
}

impl Verdict {
    /// Returns the word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Quiet => "quiet",
            Self::Failed => "failed",
            Self::Nothing => "nothing",
        }
    }
}

/// One place on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name: `route`, `group`, `inhibition`, `times`, `silence`, `acknowledgement`, `escalation`, `told` or `attempt`.
    pub place: &'static str,
    /// Whether the alert goes on from there.
    pub passes: bool,
    /// What holds there.
    pub text: String,
}

/// One way: a route that takes the alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The matchers from the root down.
    pub route: String,
    /// Who is told.
    pub receiver: String,
    /// The labels of its group.
    pub group_labels: Labels,
    /// The places, in order.
    pub steps: Vec<Step>,
    /// What it comes to.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub text: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Whether alerting knows such an alert.
    pub is_known: bool,
    /// Whether it fires, where it is known.
    pub fires: bool,
    /// The ways it takes; each ends at one receiver.
    pub ways: Vec<Way>,
}

fn clock(at_ms: i64) -> String {
    Time::from_ms(at_ms).format("2006-01-02 15:04:05 MST")
}

fn span(ms: i64) -> String {
    duration::format_ms(ms.max(0) / 1000 * 1000)
}

/// What is asked about.
struct Question<'a> {
    view: &'a AlertingView,
    now_ms: i64,
    labels: &'a Labels,
    alert: Option<&'a AlertView>,
    inhibitor: Inhibitor,
}

/// Explains what happens to a label set.
#[must_use]
pub fn explain(view: &AlertingView, now_ms: i64, labels: &Labels) -> Why {
    let alert = view.alert(labels.fingerprint());
    let mut inhibitor = Inhibitor::new(view.setup.inhibit_rules.clone());
    for other in &view.alerts {
        inhibitor.observe(&other.alert);
    }
    let question = Question { view, now_ms, labels, alert, inhibitor };
    let routes = &view.setup.routes;
    let ways = routes.matching(labels).into_iter().filter_map(|place| routes.get(place)).map(|route| question.way(route));
    Why { is_known: alert.is_some(), fires: alert.is_some_and(|alert| !alert.alert.is_resolved_at(now_ms)), ways: ways.collect() }
}

impl Question<'_> {
    fn fires(&self) -> bool {
        self.alert.is_some_and(|alert| !alert.alert.is_resolved_at(self.now_ms))
    }

    fn way(&self, route: &Route) -> Way {
        let group_labels = route.group_labels(self.labels);
        let group = self.view.groups.iter().find(|group| group.route_id == route.id && group.labels == group_labels);
        let mut steps = vec![self.route(route), self.group(route, group)];
        let quiet = self.quiet(route, &mut steps);
        self.care(route, &mut steps);
        let (verdict, text) = self.verdict(route, group, quiet, &mut steps);
        Way { route: route.key.clone(), receiver: route.receiver.clone(), group_labels, steps, verdict, text }
    }

    fn route(&self, route: &Route) -> Step {
        let integrations = self.view.setup.receivers.get(&route.receiver).map_or(0, |receiver| receiver.integrations.len());
        let text = match integrations {
            0 => format!("the route {} takes it; its receiver {:?} has no address and swallows all", route.key, route.receiver),
            _ => format!("the route {} takes it, for receiver {:?}", route.key, route.receiver),
        };
        Step { place: "route", passes: integrations > 0, text }
    }

    fn group(&self, route: &Route, group: Option<&GroupView>) -> Step {
        let text = match group {
            Some(group) => format!(
                "its group {} has {} alerts and is looked at again at {}",
                group.labels,
                group.alerts.len(),
                clock(group.next_flush_ms)
            ),
            None => format!("its group is new: it would wait {} for others (group_wait)", span(route.group_wait_ms)),
        };
        Step { place: "group", passes: true, text }
    }

    fn silence(&self, silence: &Silence) -> String {
        let Silence { id, created_by, comment, ends_at_ms, .. } = silence;
        let end = if silence.until_resolved { "until it has ended, at most " } else { "until " };
        format!("silenced {end}{} by {created_by:?}: {comment:?} (silence {id})", clock(*ends_at_ms))
    }

    /// Notes what keeps it quiet; returns the first of that.
    fn quiet(&self, route: &Route, steps: &mut Vec<Step>) -> Option<String> {
        let mut first = None;
        let mut note = |place: &'static str, found: Option<String>, otherwise: &str| {
            let passes = found.is_none();
            let text = found.unwrap_or_else(|| otherwise.to_owned());
            if !passes && first.is_none() {
                first = Some(text.clone());
            }
            steps.push(Step { place, passes, text });
        };
        let by = self.inhibitor.inhibited_by(self.now_ms, self.labels).map(|by| {
            let name = self.view.alert(by).map_or("", |other| other.alert.name());
            format!("inhibited by the alert {name} ({by:016x})")
        });
        note("inhibition", by, "no other alert inhibits it");
        let muted = mute::route_muted(self.now_ms, route, &self.view.setup.intervals);
        note("times", muted.as_ref().map(Mute::in_words), "no time interval mutes the route now");
        let in_force = |silence: &&Silence| silence.is_muting_at(self.now_ms) && covers(&silence.matchers, self.labels);
        let silences: Vec<String> = self.view.silences.iter().filter(in_force).map(|silence| self.silence(silence)).collect();
        note("silence", (!silences.is_empty()).then(|| silences.join("; ")), "no silence covers it");
        first
    }

    /// Notes who takes care of it, and who else would hear.
    fn care(&self, route: &Route, steps: &mut Vec<Step>) {
        let ack = self.alert.and_then(|alert| alert.ack.as_ref());
        if let Some(ack) = ack {
            let text = format!("{:?} takes care of it since {}", ack.by, clock(ack.at_ms));
            steps.push(Step { place: "acknowledgement", passes: true, text });
        }
        let Some(escalate) = &route.escalate else { return };
        let late_ms = self.alert.and_then(|alert| route.late_at(&alert.alert));
        let text = match (ack, late_ms) {
            (Some(_), _) => format!("{:?} is not told: it is acknowledged", escalate.receiver),
            (None, Some(_)) if !self.fires() => format!("{:?} is told too of what nobody acknowledges", escalate.receiver),
            (None, Some(late_ms)) if late_ms <= self.now_ms => {
                format!("{:?} is told too since {}: nobody acknowledged it", escalate.receiver, clock(late_ms))
            }
            (None, Some(late_ms)) => {
                format!("{:?} is told too, at {}, unless it is acknowledged", escalate.receiver, clock(late_ms))
            }
            (None, None) => {
                format!("{:?} is told too after {}, unless it is acknowledged", escalate.receiver, span(escalate.after_ms))
            }
        };
        steps.push(Step { place: "escalation", passes: ack.is_none(), text });
    }

    /// Returns the newest record about this alert for a receiver.
    fn last_record(&self, receiver: &str) -> Option<&Arc<Record>> {
        let fingerprint = self.labels.fingerprint();
        let is_about = |record: &&Arc<Record>| {
            record.receiver == receiver && record.alerts.iter().any(|alert| alert.fingerprint == fingerprint)
        };
        self.view.history.iter().find(is_about)
    }

    fn verdict(
        &self,
        route: &Route,
        group: Option<&GroupView>,
        quiet: Option<String>,
        steps: &mut Vec<Step>,
    ) -> (Verdict, String) {
        let receiver = &route.receiver;
        let fingerprint = self.labels.fingerprint();
        let ended = self.alert.is_some_and(|alert| alert.alert.is_resolved_at(self.now_ms));
        let told = group.into_iter().flat_map(|group| &group.told).filter(|entry| entry.receiver.starts_with(receiver.as_str()));
        let knows_end = told.clone().any(|entry| entry.told.resolved.contains(&fingerprint));
        let told_at = told.filter(|entry| entry.told.firing.contains(&fingerprint)).map(|entry| entry.told.at_ms).max();
        if let Some(at_ms) = told_at {
            steps.push(Step {
                place: "told",
                passes: true,
                text: format!("{receiver:?} was told that it fires, last at {}", clock(at_ms)),
            });
        }
        let record = self.last_record(receiver);
        if let Some(record) = record {
            steps.push(attempt(record));
        }
        let Some(alert) = self.alert else {
            return match quiet {
                Some(why) => (Verdict::Quiet, format!("{receiver:?} would not be told: {why}")),
                None => {
                    let wait = match group {
                        Some(_) => format!("when its group is looked at next, each {}", span(route.group_interval_ms)),
                        None => format!("{} after it begins to fire", span(route.group_wait_ms)),
                    };
                    (Verdict::Waiting, format!("{receiver:?} would be told {wait}"))
                }
            };
        };
        if !self.view.may_send {
            return (Verdict::Waiting, "this server stands by: the leader tells".to_owned());
        }
        match record.map(|record| record.state) {
            Some(RecordState::Sending) => return (Verdict::Sending, format!("{receiver:?} is being told now")),
            Some(RecordState::Failed) => {
                let words = record.and_then(|record| record.attempts.last()).map_or("", |attempt| attempt.outcome.as_str());
                let next = group.map(|group| format!("; tried again at {} at the latest", clock(group.next_flush_ms)));
                return (Verdict::Failed, format!("{receiver:?} could not be told: {words}{}", next.unwrap_or_default()));
            }
            Some(RecordState::Sent | RecordState::Partly | RecordState::NotSent) | None => {}
        }
        if let Some(why) = quiet.filter(|_| !ended) {
            return (Verdict::Quiet, format!("{receiver:?} is not told: {why}"));
        }
        self.rest(route, group, told_at, knows_end || record.is_some_and(|record| record.state == RecordState::Sent), alert)
    }

    /// Says what comes where nothing is in the way.
    fn rest(
        &self,
        route: &Route,
        group: Option<&GroupView>,
        told_at: Option<i64>,
        knows_end: bool,
        alert: &AlertView,
    ) -> (Verdict, String) {
        let receiver = &route.receiver;
        match (alert.alert.is_resolved_at(self.now_ms), told_at) {
            (false, Some(at_ms)) => {
                let repeat_ms = at_ms.saturating_add(route.repeat_interval_ms);
                let text = format!("{receiver:?} was told at {}; again at {} if it still fires", clock(at_ms), clock(repeat_ms));
                (Verdict::Told, text)
            }
            (false, None) => match group {
                Some(group) => (Verdict::Waiting, format!("{receiver:?} is told at {}", clock(group.next_flush_ms))),
                None => (Verdict::Waiting, format!("{receiver:?} is about to be told")),
            },
            (true, Some(_)) if alert.held_until_ms > self.now_ms => {
                let until_ms = alert.held_until_ms;
                (
                    Verdict::Waiting,
                    format!(
                        "it goes on and off: {receiver:?} is told of its end after {} unless it begins again",
                        clock(until_ms)
                    ),
                )
            }
            (true, Some(_)) => match group {
                Some(group) => (Verdict::Waiting, format!("{receiver:?} is told of its end at {}", clock(group.next_flush_ms))),
                None => (Verdict::Nothing, "it has ended".to_owned()),
            },
            (true, None) if knows_end => {
                (Verdict::Told, format!("it ended at {}, and {receiver:?} knows", clock(alert.alert.ends_at_ms)))
            }
            (true, None) => (Verdict::Nothing, ended_untold(&alert.alert, receiver)),
        }
    }
}

fn attempt(record: &Record) -> Step {
    let state = match record.state {
        RecordState::Sending => "is going out",
        RecordState::Sent => "was sent",
        RecordState::Partly => "was sent to some",
        RecordState::Failed => "failed",
        RecordState::NotSent => "was not sent",
    };
    let words = match record.attempts.last() {
        Some(attempt) if record.state != RecordState::NotSent => attempt.outcome.as_str(),
        _ => record.why.as_str(),
    };
    let text = format!("notification {} of {} {state}: {words}", record.id, clock(record.at_ms));
    Step { place: "attempt", passes: matches!(record.state, RecordState::Sent | RecordState::Sending), text }
}

fn ended_untold(alert: &StoredAlert, receiver: &str) -> String {
    format!("it ended at {}, before {receiver:?} had been told of it", clock(alert.ends_at_ms))
}
