//! All blocks of a store: opened at start, added by cuts and compactions, unlinked by retention.
//!
//! A reader holds the list that it saw; a block that was unlinked meanwhile stays readable until the last reader ends.

use super::block::cache::PageCache;
use super::block::reader::Block;
use super::block::ulid::Ulid;
use super::error::StoreError;
use super::head::{lock, read, write};
use super::quarantine;
use super::wal::replay::Cover;
use crate::env::Env;
use crate::telemetry::metrics::Registry;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// Bytes of pages, indexes and times that are kept in memory.
const CACHE_BYTES: usize = 64 << 20;

/// Blocks, oldest name first, overlap blocks behind all others: of two samples at one time the later block's wins.
pub(crate) type BlockList = Arc<Vec<Arc<Block>>>;

/// The blocks of a data directory.
pub(crate) struct BlockSet {
    env: Env,
    folder: PathBuf,
    cache: Arc<PageCache>,
    blocks: RwLock<BlockList>,
    /// One change of the list at a time.
    changing: Mutex<()>,
}

impl std::fmt::Debug for BlockSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockSet").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A merge gives old samples a new name, so age alone does not tell; what came late lies in overlap blocks.
fn precedence(block: &Arc<Block>) -> (bool, Ulid) {
    (block.header.overlap, block.header.ulid)
}

impl BlockSet {
    /// Opens all blocks. One that cannot be read goes to quarantine; one whose child is there was replaced and is removed.
    pub(crate) fn open(env: &Env, dir: &Path) -> Result<Self, StoreError> {
        let folder = dir.join("blocks");
        let cache = Arc::new(PageCache::new(CACHE_BYTES));
        let mut blocks = Vec::new();
        let entries = env.disk.list(&folder).map_err(StoreError::io("listing", &folder))?;
        for entry in &entries {
            let path = folder.join(&entry.name);
            if let Some(name) = entry.name.strip_suffix(".del")
                && !entries.iter().any(|other| other.name.strip_suffix(".blk") == Some(name))
            {
                // Its block went first.
                env.disk.remove_file(&path).map_err(StoreError::io("removing", &path))?;
                continue;
            }
            if entry.name.strip_suffix(".blk").and_then(Ulid::parse).is_none() {
                continue;
            }
            match Block::open(env, &path, &cache) {
                Ok(block) => blocks.push(Arc::new(block)),
                Err(StoreError::Corrupt { offset, reason, .. }) => {
                    quarantine::move_away(env, dir, &path, &format!("damaged at byte {offset}: {reason}"))?;
                    let deleted = path.with_extension("del");
                    if env.disk.stat(&deleted).map_err(StoreError::io("looking at", &deleted))?.is_some() {
                        quarantine::move_away(env, dir, &deleted, "its block is damaged")?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        blocks.sort_by_key(precedence);
        let set = Self { env: env.clone(), folder, cache, blocks: RwLock::new(Arc::new(blocks)), changing: Mutex::new(()) };
        let replaced: BTreeSet<Ulid> = set.list().iter().flat_map(|block| block.meta.parents.clone()).collect();
        set.remove(&replaced)?;
        Ok(set)
    }

    /// Counts the cache's work in a registry.
    pub(crate) fn count_in(&self, registry: &Registry) {
        self.cache.count_in(registry);
    }

    /// Returns the folder of the blocks.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns all blocks.
    pub(crate) fn list(&self) -> BlockList {
        Arc::clone(&read(&self.blocks))
    }

    /// Returns what blocks hold of the log.
    pub(crate) fn covers(&self) -> Vec<Cover> {
        let mut covers: Vec<Cover> = Vec::new();
        for block in self.list().iter() {
            for cover in &block.meta.covers {
                if !covers.contains(cover) {
                    covers.push(*cover);
                }
            }
        }
        covers
    }

    /// Adds finished blocks, all at once, and removes those that they replace.
    pub(crate) fn install(&self, paths: &[PathBuf]) -> Result<Vec<Arc<Block>>, StoreError> {
        let mut fresh = Vec::new();
        for path in paths {
            fresh.push(Arc::new(Block::open(&self.env, path, &self.cache)?));
        }
        let replaced: BTreeSet<Ulid> = fresh.iter().flat_map(|block| block.meta.parents.clone()).collect();
        {
            let _one = lock(&self.changing);
            let mut blocks: Vec<Arc<Block>> = self.list().iter().chain(&fresh).map(Arc::clone).collect();
            blocks.sort_by_key(precedence);
            let (gone, kept): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|block| replaced.contains(&block.header.ulid));
            *write(&self.blocks) = Arc::new(kept);
            self.unlink(&gone)?;
        }
        Ok(fresh)
    }

    /// Removes blocks.
    pub(crate) fn remove(&self, ulids: &BTreeSet<Ulid>) -> Result<(), StoreError> {
        if ulids.is_empty() {
            return Ok(());
        }
        let _one = lock(&self.changing);
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.list().iter().map(Arc::clone).partition(|block| ulids.contains(&block.header.ulid));
        *write(&self.blocks) = Arc::new(kept);
        self.unlink(&gone)
    }

    fn unlink(&self, gone: &[Arc<Block>]) -> Result<(), StoreError> {
        for block in gone {
            // The block first: without its tombstones it would show again what was deleted.
            self.env.disk.remove_file(&block.path).map_err(StoreError::io("removing", &block.path))?;
            let deleted = block.tombstones_path();
            if !block.tombstones().is_empty() {
                self.env.disk.remove_file(&deleted).map_err(StoreError::io("removing", &deleted))?;
            }
            block.forget();
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.env.disk.sync_dir(&self.folder).map_err(StoreError::io("syncing", &self.folder))
    }
}
