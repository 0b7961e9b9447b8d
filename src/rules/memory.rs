//! What rules remember across a restart, written behind their back: an evaluation never waits for the disk.
//!
//! Groups hand in what they want remembered; the newest word about a key counts. One task writes all that waits in one synced
//! transaction, then looks again: a thousand groups that change at once cost a few syncs, not a thousand. What cannot be
//! written is tried again until it can, or is replaced by something newer. Whoever reads sees what waits, too.

use crate::env::Env;
use crate::state::{Change, State, StateError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long to wait after the disk refused.
const PAUSE: Duration = Duration::from_secs(2);

/// By key: a value, or `None` for what is to be forgotten.
type Words = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Default)]
struct Desk {
    waiting: Words,
    /// What is being written just now.
    writing: Arc<Words>,
    /// Nothing more will come.
    is_closing: bool,
}

/// The memory of all groups.
pub(super) struct Memory {
    env: Env,
    state: Arc<dyn State>,
    desk: Mutex<Desk>,
    news: Notify,
}

impl Memory {
    pub(super) fn new(env: &Env, state: Arc<dyn State>) -> Self {
        Self { env: env.clone(), state, desk: Mutex::default(), news: Notify::new() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a value remembered, or with `None` forgotten. Does not wait.
    pub(super) fn note(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.desk().waiting.insert(key, value);
        self.news.notify_one();
    }

    /// Reads a value as it was last noted. Blocks.
    pub(super) fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        {
            let desk = self.desk();
            if let Some(value) = desk.waiting.get(key).or_else(|| desk.writing.get(key)) {
                return Ok(value.clone());
            }
        }
        self.state.get(key)
    }

    /// Lets [`Self::run`] end once everything is written or the disk has refused.
    pub(super) fn close(&self) {
        self.desk().is_closing = true;
        self.news.notify_one();
    }

    /// Writes what waits, until [`Self::close`].
    pub(super) async fn run(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            let (words, is_closing) = {
                let mut desk = self.desk();
                desk.writing = Arc::new(std::mem::take(&mut desk.waiting));
                (Arc::clone(&desk.writing), desk.is_closing)
            };
            if words.is_empty() {
                if is_closing {
                    return;
                }
                self.news.notified().await;
                continue;
            }
            match self.write(Arc::clone(&words)).await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(%error, "the state of alerts cannot be written; trying again");
                    }
                    {
                        let mut desk = self.desk();
                        for (key, value) in &*words {
                            desk.waiting.entry(key.clone()).or_insert_with(|| value.clone());
                        }
                        if desk.is_closing {
                            return;
                        }
                    }
                    self.env.clock.sleep(PAUSE).await;
                }
            }
        }
    }

    async fn write(&self, words: Arc<Words>) -> Result<(), StateError> {
        let state = Arc::clone(&self.state);
        let work = move || {
            let change = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| match value {
                Some(value) => Change::Put(key.clone(), value.clone()),
                None => Change::Delete(key.clone()),
            };
            state.apply(&words.iter().map(change).collect::<Vec<_>>())?;
            state.sync()
        };
        self.env.tasks.blocking(work).await.map_err(|error| StateError::Failed(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Entry;
    use crate::state::memory::MemoryState;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// A state whose disk is slow, counts syncs, and may refuse.
    #[derive(Debug, Default)]
    struct SlowState {
        inner: MemoryState,
        syncs: AtomicUsize,
        refuses: AtomicBool,
    }

    impl State for SlowState {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
            self.inner.get(key)
        }

        fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
            self.inner.put(key, value)
        }

        fn delete(&self, key: &[u8]) -> Result<(), StateError> {
            self.inner.delete(key)
        }

        fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StateError> {
            self.inner.scan(prefix)
        }

        fn apply(&self, batch: &[Change]) -> Result<(), StateError> {
            if self.refuses.load(Ordering::Relaxed) {
                return Err(StateError::Failed("no".to_owned()));
            }
            self.inner.apply(batch)
        }

        fn sync(&self) -> Result<(), StateError> {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_words_share_a_sync_and_the_newest_counts() {
        let state = Arc::new(SlowState::default());
        let memory = Arc::new(Memory::new(&Env::real(), Arc::clone(&state) as Arc<dyn State>));
        for round in 0..3_u8 {
            for group in 0..1000_u32 {
                memory.note(group.to_be_bytes().to_vec(), Some(vec![round]));
            }
        }
        memory.note(7_u32.to_be_bytes().to_vec(), None);
        assert_eq!(memory.read(&8_u32.to_be_bytes()).unwrap(), Some(vec![2]));
        assert_eq!(memory.read(&7_u32.to_be_bytes()).unwrap(), None);
        memory.close();
        Arc::clone(&memory).run().await;
        assert_eq!(state.scan(b"").unwrap().len(), 999);
        assert_eq!(state.get(&8_u32.to_be_bytes()).unwrap(), Some(vec![2]));
        assert_eq!(state.syncs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_disk_refused_is_written_later() {
        let state = Arc::new(SlowState::default());
        state.refuses.store(true, Ordering::Relaxed);
        let memory = Arc::new(Memory::new(&Env::real(), Arc::clone(&state) as Arc<dyn State>));
        let running = Env::real().tasks.spawn("memory", Arc::clone(&memory).run());
        memory.note(b"key".to_vec(), Some(b"value".to_vec()));
        Env::real().clock.sleep(PAUSE / 2).await;
        assert_eq!(memory.read(b"key").unwrap(), Some(b"value".to_vec()), "it waits");
        state.refuses.store(false, Ordering::Relaxed);
        Env::real().clock.sleep(PAUSE * 2).await;
        assert_eq!(state.get(b"key").unwrap(), Some(b"value".to_vec()));
        memory.close();
        running.await.unwrap();
    }
}
