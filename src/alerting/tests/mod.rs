//! Timelines on a paused clock, against a mail server within the test.

mod crashes;
mod external;
mod mail_server;
mod outbox;
mod refusals;
mod timelines;
mod troubles;
mod vectors;
mod world;
