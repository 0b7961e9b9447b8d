//! Where several servers act as one: who tells people, and how the others hear of it.
//!
//! A message is announced before its first byte goes out, and who may not tell any more stops at once. Who leads is decided
//! elsewhere; alerting asks through [`Fence`], which a server without others answers with yes ([`Alone`]).

use super::ack::Ack;
use super::alerts::StoredAlert;
use super::notification_log::{Intent, LogEntry};
use crate::model::silence::Silence;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// The reason of what ends because another member tells people, as the metric names it.
pub const STOOD_DOWN: &str = "stoodDown";

/// Whether a message may go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may; there may be something to say about it.
    Go(Option<String>),
    /// Another member tells people, or knows something newer about this group. Why, in words.
    StandDown(String),
}

/// Asks whether this member tells people.
pub trait Fence: Send + Sync {
    /// Announces a message to the other members, with the alerts that it says fire, before anything of it goes out.
    fn begin(&self, intent: Intent, firing: Vec<Arc<StoredAlert>>) -> BoxFuture<'static, Permission>;
    /// Returns whether this member may tell people at this moment. Asked before every attempt: timers are late after a pause.
    fn holds(&self) -> bool;
    /// Waits until it may not.
    fn lost(&self) -> BoxFuture<'static, ()>;
}

/// No other members.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Fence for Alone {
    fn begin(&self, _intent: Intent, _firing: Vec<Arc<StoredAlert>>) -> BoxFuture<'static, Permission> {
        Box::pin(std::future::ready(Permission::Go(None)))
    }

    fn holds(&self) -> bool {
        true
    }

    fn lost(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// What another member knows about one group and receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What the receiver was told last.
    pub told: Option<LogEntry>,
    /// What it is being told, or was when the teller stopped.
    pub sending: Option<Intent>,
    /// The alerts that it thinks are firing, or is being told so.
    pub firing: Vec<StoredAlert>,
}

/// What other members made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lessons {
    /// Silences; the later change wins.
    pub silences: Vec<Silence>,
    /// Acknowledgements.
    pub acks: Vec<Ack>,
    /// Who was told what.
    pub notified: Vec<Told>,
}
