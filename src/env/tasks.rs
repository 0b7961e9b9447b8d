//! Tasks and threads, by name.

#![expect(clippy::disallowed_methods, reason = "this is the door to tasks and threads")]

use std::io;
#[cfg(any(test, feature = "sim"))]
use std::sync::Arc;

/// Starts tasks and threads. Cheap to clone. Must be used within a tokio runtime.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// Background threads do not start.
    still: bool,
    /// Everything is a task of one thread, and ends with this life.
    #[cfg(any(test, feature = "sim"))]
    life: Option<Arc<Life>>,
}

/// A running task; dropping it lets the task go on, [`TaskHandle::abort`] ends it.
pub type TaskHandle<T> = tokio::task::JoinHandle<T>;

/// The tasks of a process in a made-up world: they can all end at once, as by `kill -9`.
#[cfg(any(test, feature = "sim"))]
#[derive(Debug, Default)]
pub struct Life {
    running: std::sync::Mutex<Vec<tokio::task::AbortHandle>>,
    is_over: std::sync::atomic::AtomicBool,
    is_paused: std::sync::atomic::AtomicBool,
    waiting: std::sync::Mutex<Vec<std::task::Waker>>,
}

/// A task of a made-up process: it stands still while the process does.
#[cfg(any(test, feature = "sim"))]
struct Gate<T> {
    life: Arc<Life>,
    work: std::pin::Pin<Box<dyn Future<Output = T> + Send>>,
}

#[cfg(any(test, feature = "sim"))]
impl<T> Future for Gate<T> {
    type Output = T;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<T> {
        if self.life.is_paused() {
            let mut waiting = self.life.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            waiting.push(context.waker().clone());
            return std::task::Poll::Pending;
        }
        self.work.as_mut().poll(context)
    }
}

#[cfg(any(test, feature = "sim"))]
impl Life {
    /// How many handles are held before those of ended tasks are let go.
    const HANDLES: usize = 1024;

    fn note(&self, handle: tokio::task::AbortHandle) {
        if self.is_over.load(std::sync::atomic::Ordering::Relaxed) {
            handle.abort();
        }
        let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if running.len() > Self::HANDLES && running.len().is_power_of_two() {
            running.retain(|handle| !handle.is_finished());
        }
        running.push(handle);
    }

    /// Stops all tasks where they stand, as SIGSTOP does, or lets them go on.
    pub fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, std::sync::atomic::Ordering::Relaxed);
        if !is_paused {
            let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            waiting.drain(..).for_each(std::task::Waker::wake);
        }
    }

    /// Returns whether all tasks stand still.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends all tasks where they stand, and those that would still be started.
    pub fn end(&self) {
        self.is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        running.drain(..).for_each(|handle| handle.abort());
    }
}

impl Tasks {
    /// Returns the starter.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            still: false,
            #[cfg(any(test, feature = "sim"))]
            life: None,
        }
    }

    /// Returns the starter of a world that stands still: [`Tasks::background`] starts nothing, so that what happens next
    /// is decided by the caller alone and a run can be repeated exactly.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub const fn still() -> Self {
        Self { still: true, life: None }
    }

    /// Returns the starter of a made-up process: no thread starts, blocking work is a task like any other, and all of them end
    /// with `life`. On a runtime of one thread their order is always the same.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub const fn made_up(life: Arc<Life>) -> Self {
        Self { still: true, life: Some(life) }
    }

    /// Starts a task. `name` appears in traces.
    pub fn spawn<T: Send + 'static>(&self, name: &str, work: impl Future<Output = T> + Send + 'static) -> TaskHandle<T> {
        tracing::trace!(task = name, "task starts");
        #[cfg(any(test, feature = "sim"))]
        if let Some(life) = &self.life {
            let handle = tokio::spawn(Gate { life: Arc::clone(life), work: Box::pin(work) });
            life.note(handle.abort_handle());
            return handle;
        }
        tokio::spawn(work)
    }

    /// Runs blocking work on a thread made for that.
    pub fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> TaskHandle<T> {
        #[cfg(any(test, feature = "sim"))]
        if self.life.is_some() {
            return self.spawn("blocking", async move { work() });
        }
        tokio::task::spawn_blocking(work)
    }

    /// Returns how many things can be computed at the same time.
    #[must_use]
    pub fn cores(&self) -> usize {
        if self.still { 1 } else { std::thread::available_parallelism().map_or(1, std::num::NonZero::get) }
    }

    /// Does work within a task that may take many milliseconds: the other tasks of its thread go on elsewhere meanwhile. On a
    /// runtime of one thread it is simply done.
    pub fn long<T>(&self, work: impl FnOnce() -> T) -> T {
        use tokio::runtime::{Handle, RuntimeFlavor};
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            _ => work(),
        }
    }

    /// Does two things at the same time, one of them on this thread, and waits for both. One after the other in a world that
    /// stands still.
    ///
    /// # Panics
    /// When one of them does.
    pub fn both<A, B: Send>(&self, here: impl FnOnce() -> A, there: impl FnOnce() -> B + Send) -> (A, B) {
        if self.still {
            return (here(), there());
        }
        std::thread::scope(|scope| {
            let there = scope.spawn(there);
            let here = here();
            (here, there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
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

    /// Starts a named thread that works by itself from time to time. `None` in a world that stands still: the caller then
    /// does that work itself where somebody waits for it.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn background(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Option<std::thread::JoinHandle<()>>> {
        if self.still { Ok(None) } else { self.thread(name, work).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn others_go_on_beside_long_work() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let (tell, told) = mpsc::channel();
        let tasks = Tasks::new();
        let long = runtime.spawn(async move {
            let other = tasks.spawn("other", async move { tell.send(()) });
            let told = tasks.long(|| told.recv_timeout(Duration::from_secs(30)));
            drop(other);
            told
        });
        assert_eq!(runtime.block_on(long).expect("no panic"), Ok(()));
        assert_eq!(Tasks::new().long(|| 7), 7);
    }
}
