//! The world outside as injected capabilities: the only door to clock, chance, disk, network and tasks.
//!
//! Everything that decides something takes `now` as an argument; everything that waits, reads, writes, connects or starts
//! a task does so through an [`Env`]. So the whole server can run in a made-up world on a paused clock, and any failure is
//! repeatable from its seed.

pub mod clock;
#[cfg(any(test, feature = "sim"))]
pub mod crash_disk;
pub mod disk;
#[cfg(any(test, feature = "sim"))]
pub mod fuzz;
pub mod glob;
pub mod line_log;
pub mod memory_disk;
pub mod network;
pub mod random;
pub mod signals;
pub mod tasks;
pub mod watch_files;

use std::sync::Arc;

pub use clock::Clock;
pub use disk::Disk;
pub use network::Network;
pub use random::Random;
pub use tasks::Tasks;

/// All capabilities together. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Time: wall clock, monotonic clock, waiting.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Sockets and names.
    pub network: Arc<dyn Network>,
    /// Tasks and threads.
    pub tasks: Tasks,
}

impl Env {
    /// Returns the real world.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(clock::RealClock::new()),
            random: Arc::new(random::SystemRandom::new()),
            disk: Arc::new(disk::RealDisk),
            network: Arc::new(network::RealNetwork),
            tasks: Tasks::new(),
        }
    }

    /// Returns this machine's name.
    #[must_use]
    pub fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
