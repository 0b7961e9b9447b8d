//! Timelines on a paused clock, against a mail server within the test.

mod chat;
mod crashes;
mod external;
mod heartbeat;
mod mails;
mod outbox;
mod refusals;
mod timelines;
mod troubles;
mod vectors;
mod why;
mod world;
