//! How samples come in: one batch per scrape, per rule group evaluation or per pushed request.

use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use std::sync::Arc;

/// The number of a series in this store; never reused within one data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// The number of a group: series that are sampled together at one time (a scrape target, a rule group).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

/// One sample of a batch.
#[derive(Clone, Debug)]
pub struct BatchSample {
    /// Whose.
    pub series: SeriesId,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// What.
    pub value: BatchValue,
}

/// What a batch sample holds.
#[derive(Clone, Debug)]
pub enum BatchValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// What became of a batch: how many samples went in, and why others did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples stored (a repeated equal sample counts as stored).
    pub stored: u64,
    /// Older than the out-of-order window or retention allows.
    pub too_old: u64,
    /// Behind the series' newest sample where that is not allowed.
    pub out_of_order: u64,
    /// Equal time, other value.
    pub duplicate: u64,
    /// Too far in the future.
    pub too_far: u64,
}

impl Appended {
    /// Adds what became of another batch.
    pub const fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.too_old += other.too_old;
        self.out_of_order += other.out_of_order;
        self.duplicate += other.duplicate;
        self.too_far += other.too_far;
    }
}

/// How durable a batch must be before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In memory, and handed to the system unless the log cannot be written just now: what is scraped or computed here.
    Kept,
    /// Handed to the system: survives the death of the process.
    Written,
    /// On stable storage (`fdatasync` done): survives a power cut.
    Synced,
}

/// Why a batch was not taken at all.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log cannot be written; the head goes on in memory.
    #[error("the log cannot be written: {0}")]
    Log(String),
    /// The store is shutting down or poisoned.
    #[error("the store is closed")]
    Closed,
    /// A series or group was forgotten because nothing had used it for long: its holder asks for it anew and tries again.
    #[error("a series was forgotten after a long time without samples")]
    Forgotten,
    /// A bound was hit; its name and value.
    #[error("{0}")]
    Limit(String),
}

/// The writing face of the store. All methods may block for a short lock, none for the disk but where said.
pub trait Append: Send + Sync {
    /// Returns the series of a label set, making it if it is new.
    ///
    /// # Errors
    /// At the limit of series, or when the store is closed.
    fn series(&self, labels: &Labels) -> Result<SeriesId, AppendError>;

    /// Looks up label sets in the form that Remote-Write 1.0 carries them (sorted by name, without doubles), without reading
    /// a label; adds one answer for each. `None` does not say that a series is new: [`Append::series`] finds it then.
    fn known_series(&self, encoded: &[&[u8]], found: &mut Vec<Option<SeriesId>>) {
        found.resize(found.len() + encoded.len(), None);
    }

    /// Calls `found(i, j)` for each `series[i]` whose labels satisfy all matchers of `wanted[j]`. Takes a while for many series:
    /// for those who ask once and remember.
    fn matching(&self, series: &[SeriesId], wanted: &[&[Matcher]], found: &mut dyn FnMut(usize, usize));

    /// Returns the group of that stable name (for example `scrape/JOB/INSTANCE`), making it if it is new.
    ///
    /// # Errors
    /// When the store is closed.
    fn group(&self, name: &str) -> Result<GroupId, AppendError>;

    /// Appends one row: samples of one group at one time, `values[i]` for `series[i]`. The fast path of scrapes and rules.
    ///
    /// `series` is the group's present layout; passing the same `Arc` as last time is cheap, another one makes a new layout.
    /// A value may be the stale marker. `None`-like gaps are not passed: leave the series out of the layout or write the
    /// stale marker once. Returns when written (`Durability::Written`).
    ///
    /// # Errors
    /// When nothing was taken.
    fn append_row(&self, group: GroupId, at_ms: i64, series: &Arc<[SeriesId]>, values: &[f64]) -> Result<Appended, AppendError>;

    /// Appends any samples: explicit timestamps, histograms, pushed and out-of-order ones.
    ///
    /// `group` names samples that belong together where the caller knows it. With [`Durability::Synced`] the call blocks
    /// until the group commit's `fdatasync`: call it from a blocking thread.
    ///
    /// # Errors
    /// When nothing was taken.
    fn append_samples(
        &self,
        group: Option<GroupId>,
        samples: &[BatchSample],
        durability: Durability,
    ) -> Result<Appended, AppendError>;

    /// Notes the start timestamp of a series' sample at a time, both in milliseconds (0: it has none): when what it counts
    /// began. It holds for the samples behind it as well, up to the next that is noted. Said before the sample is appended, it
    /// is as durable as that.
    fn note_start(&self, series: SeriesId, at_ms: i64, start_ms: i64);

    /// Stores exemplars of a series, best effort.
    fn append_exemplars(&self, series: SeriesId, exemplars: &[Exemplar]);

    /// Notes what is known about a metric (family name), newest wins.
    fn note_metadata(&self, metric: &str, metadata: &Metadata);
}
