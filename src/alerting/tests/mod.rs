//! Timelines on a paused clock, against a mail server within the test.

mod chat;
mod crashes;
mod external;
mod http_server;
mod mail_server;
mod mails;
mod outbox;
mod refusals;
mod timelines;
mod troubles;
mod vectors;
mod world;
