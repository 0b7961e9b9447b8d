//! Tasks and threads, by name.

#![expect(clippy::disallowed_methods, reason = "this is the door to tasks and threads")]

use std::io;

/// Starts tasks and threads. Cheap to clone. Must be used within a tokio runtime.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    _private: (),
}

/// A running task; dropping it lets the task go on, [`TaskHandle::abort`] ends it.
pub type TaskHandle<T> = tokio::task::JoinHandle<T>;

impl Tasks {
    /// Returns the starter.
    #[must_use]
    pub const fn new() -> Self {
        Self { _private: () }
    }

    /// Starts a task. `name` appears in traces.
    pub fn spawn<T: Send + 'static>(&self, name: &str, work: impl Future<Output = T> + Send + 'static) -> TaskHandle<T> {
        tracing::trace!(task = name, "task starts");
        tokio::spawn(work)
    }

    /// Runs blocking work on a thread made for that.
    pub fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> TaskHandle<T> {
        tokio::task::spawn_blocking(work)
    }

    /// Starts a named thread of its own.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<std::thread::JoinHandle<T>> {
        std::thread::Builder::new().name(name.to_owned()).spawn(work)
    }
}
