//! The log as its followers see it: how far it is written, and what is kept for them.

use super::Log;
use crate::storage::head::lock;

impl Log {
    /// Returns the present segment and how much of it was handed to the system.
    pub(crate) fn written(&self) -> (u64, u64) {
        let Some(shared) = &self.shared else { return (0, 0) };
        let state = lock(&shared.state);
        state.segment.as_ref().map_or((state.next_number, 0), |segment| (segment.number, segment.length))
    }

    /// Followers need no segment below `segment` any more.
    pub(crate) fn release(&self, segment: u64) {
        let Some(shared) = &self.shared else { return };
        let released = lock(&shared.state).kept.release(&*shared.env.disk, &shared.dir, segment);
        if let Err(error) = released {
            tracing::warn!(%error, "segments that were sent on could not be removed");
        }
    }

    /// Gives up what is kept for followers and is older than `oldest_ms`, or more than `most` bytes.
    pub(crate) fn bound_kept(&self, oldest_ms: i64, most: u64) {
        let Some(shared) = &self.shared else { return };
        let bounded = lock(&shared.state).kept.bound(&*shared.env.disk, &shared.dir, oldest_ms, most);
        if let Err(error) = bounded {
            tracing::warn!(%error, "segments that were not sent on could not be removed");
        }
    }

    /// Returns the bytes that are kept for followers alone, and those that were given up unread.
    pub(crate) fn kept_bytes(&self) -> (u64, u64) {
        self.shared.as_ref().map_or((0, 0), |shared| lock(&shared.state).kept.bytes())
    }
}
