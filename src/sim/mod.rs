//! The whole server in a made-up world, for tests alone: one process on a paused clock, with a simulated network, disk,
//! ZooKeeper and mail server.
//!
//! ```text
//! world     what there is: clock, network, disk, ensemble, exporters, mail server; lives that begin and end
//!   life    app::Server as `serve` wires it, on tokio's runtime of one thread; all its tasks end at once in a kill
//! trace     all that happened, in order: the same seed gives the same trace
//! ```
//!
//! Blocking work is a task like any other, threads do not start, and all chance comes from a seed: so what happens is decided by
//! the seed alone, and a day passes in seconds. A kill leaves the disk what was written, a power cut what was synced (and
//! some of the rest). sled does its own input and output, so the state lies in a log on the simulated disk instead.
//!
//! It must not be known to anything but tests.

pub(crate) mod clock;
pub(crate) mod exporter;
pub(crate) mod http;
pub(crate) mod mail;
pub(crate) mod network;
pub(crate) mod state;
mod tests;
pub(crate) mod trace;
pub(crate) mod world;
pub(crate) mod zookeeper;
