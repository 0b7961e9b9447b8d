//! What was read of blocks, checked and unpacked: pages, indexes and times, up to a bound of bytes, oldest use first out.

use super::index::BlockIndex;
use super::page::Page;
use super::ulid::Ulid;
use crate::storage::head::lock;
use crate::telemetry::metrics::{Counter, Gauge, Registry};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// What is kept under a key.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// A page.
    Page(Arc<Page>),
    /// A block's index.
    Index(Arc<BlockIndex>),
    /// One column of times.
    Times(Arc<[i64]>),
}

/// What a thing is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A page of a block.
    Page(Ulid, u32),
    /// The index of a block.
    Index(Ulid),
    /// A column of times of a block.
    Times(Ulid, u32),
}

impl Key {
    const fn ulid(self) -> Ulid {
        match self {
            Self::Page(ulid, _) | Self::Index(ulid) | Self::Times(ulid, _) => ulid,
        }
    }
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry, foldhash::fast::RandomState>,
    bytes: usize,
    clock: u64,
}

/// The cache. Shared by all blocks of a store.
#[derive(Debug)]
pub(crate) struct PageCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
    metrics: OnceLock<Metrics>,
}

#[derive(Debug)]
struct Metrics {
    hits: Counter,
    misses: Counter,
    bytes: Gauge,
}

impl PageCache {
    /// Returns an empty cache of at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), bytes_max, metrics: OnceLock::new() }
    }

    /// Counts in a registry from now on.
    pub(crate) fn count_in(&self, registry: &Registry) {
        self.metrics.get_or_init(|| Metrics {
            hits: registry.counter(
                "watchkeeper_tsdb_page_cache_hits_total",
                "Reads that found their page, index or times in memory.",
                &[],
            ),
            misses: registry.counter("watchkeeper_tsdb_page_cache_misses_total", "Reads that went to the disk.", &[]),
            bytes: registry.gauge("watchkeeper_tsdb_page_cache_bytes", "Bytes of pages, indexes and times in memory.", &[]),
        });
    }

    /// Returns the bound.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns what is kept under a key.
    pub(crate) fn get(&self, key: Key) -> Option<Kept> {
        let mut inner = lock(&self.inner);
        inner.clock += 1;
        let now = inner.clock;
        let kept = inner.entries.get_mut(&key).map(|entry| {
            entry.used = now;
            entry.kept.clone()
        });
        if let Some(metrics) = self.metrics.get() {
            if kept.is_some() { &metrics.hits } else { &metrics.misses }.inc();
        }
        kept
    }

    /// Keeps something.
    pub(crate) fn put(&self, key: Key, kept: Kept, bytes: usize) {
        let mut inner = lock(&self.inner);
        inner.clock += 1;
        let used = inner.clock;
        if let Some(before) = inner.entries.insert(key, Entry { kept, bytes, used }) {
            inner.bytes -= before.bytes;
        }
        inner.bytes += bytes;
        if inner.bytes > self.bytes_max {
            inner.shrink(self.bytes_max * 3 / 4);
        }
        if let Some(metrics) = self.metrics.get() {
            metrics.bytes.set(inner.bytes as f64);
        }
    }

    /// Notes that something kept under a key has grown since.
    pub(crate) fn grown(&self, key: Key, bytes: usize) {
        let mut inner = lock(&self.inner);
        let Some(entry) = inner.entries.get_mut(&key) else { return };
        entry.bytes += bytes;
        inner.bytes += bytes;
        if inner.bytes > self.bytes_max {
            inner.shrink(self.bytes_max * 3 / 4);
        }
    }

    /// Forgets everything of a block.
    pub(crate) fn forget(&self, ulid: Ulid) {
        let mut inner = lock(&self.inner);
        inner.entries.retain(|key, _| key.ulid() != ulid);
        inner.bytes = inner.entries.values().map(|entry| entry.bytes).sum();
    }

    /// Returns the bytes held.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.inner).bytes
    }
}

impl Inner {
    fn shrink(&mut self, bytes: usize) {
        let mut by_use: Vec<(u64, Key)> = self.entries.iter().map(|(key, entry)| (entry.used, *key)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.bytes <= bytes {
                break;
            }
            if let Some(gone) = self.entries.remove(&key) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_the_oldest_use_go() {
        let cache = PageCache::new(100);
        let times = || Kept::Times(Arc::from([1_i64]));
        for number in 0..4 {
            cache.put(Key::Times(Ulid(1), number), times(), 25);
        }
        assert!(cache.get(Key::Times(Ulid(1), 0)).is_some());
        cache.put(Key::Times(Ulid(2), 9), times(), 25);
        assert!(cache.bytes() <= 75);
        assert!(cache.get(Key::Times(Ulid(1), 0)).is_some() && cache.get(Key::Times(Ulid(1), 1)).is_none());
        cache.grown(Key::Times(Ulid(1), 0), 20);
        cache.grown(Key::Times(Ulid(1), 1), 20);
        assert_eq!(cache.bytes(), 95);
        cache.grown(Key::Times(Ulid(1), 0), 6);
        assert_eq!(cache.bytes(), 51);
        cache.forget(Ulid(1));
        assert_eq!(cache.bytes(), 0);
    }
}
