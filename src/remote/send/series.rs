//! Series on their way out: relabelled, with the external labels, and encoded, once for each.
//!
//! What is known is bounded over all remotes together; of series beyond that the work is done anew for each sample.

use super::encode::put_labels;
use super::symbols::{Symbols, Texts};
use crate::config::remote::WriteMessage;
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::metadata::{Metadata, MetricType};
use crate::model::relabel::{self, RelabelConfig};
use crate::storage::append::SeriesId;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the encoded series of all remotes may take together, about.
const KNOWN_BYTES_MAX: usize = 96 << 20;
/// Fewer texts than these are not worth forgetting.
const SYMBOLS_MIN: usize = 100_000;
/// What an entry takes beside its labels.
const ENTRY_BYTES: usize = 80;

/// A series as it goes out.
#[derive(Debug)]
pub(super) enum SeriesEntry {
    /// Its labels as fields of a `prometheus.TimeSeries`.
    V1(Box<[u8]>),
    /// Numbers of texts.
    V2 {
        /// What has those numbers.
        texts: Arc<Texts>,
        /// Names and values of the labels in turn; then help and unit.
        numbers: Box<[u32]>,
        /// Type of the metric.
        metric_type: MetricType,
    },
}

impl SeriesEntry {
    const fn bytes(&self) -> usize {
        match self {
            Self::V1(labels) => labels.len(),
            Self::V2 { numbers, .. } => size_of_val::<[u32]>(numbers),
        }
    }
}

#[derive(Debug)]
struct Known {
    /// `None`: the rules drop it.
    entry: Option<Arc<SeriesEntry>>,
    /// The round in which it was last asked for.
    used: u32,
}

/// The bytes that all remotes share.
pub(super) type SharedBytes = Arc<AtomicUsize>;

/// What one remote makes of series.
#[derive(Debug)]
pub(super) struct SeriesTable {
    rules: Vec<RelabelConfig>,
    external: Labels,
    known: HashMap<u32, Known, foldhash::fast::RandomState>,
    bytes: usize,
    shared: SharedBytes,
    round: u32,
    /// Of Remote-Write 2.0.
    symbols: Option<Symbols>,
}

/// What a look into the table says.
pub(super) enum Found {
    /// It goes out.
    Sent(Arc<SeriesEntry>),
    /// The rules drop it.
    Dropped,
    /// Its labels are needed: [`SeriesTable::learn`].
    Unknown,
}

impl SeriesTable {
    pub(super) fn new(version: WriteMessage, rules: Vec<RelabelConfig>, external: Labels, shared: SharedBytes) -> Self {
        let symbols = (version == WriteMessage::V2).then(Symbols::default);
        Self { rules, external, known: HashMap::default(), bytes: 0, shared, round: 0, symbols }
    }

    /// Looks for a series.
    pub(super) fn find(&mut self, series: SeriesId) -> Found {
        match self.known.get_mut(&series.0) {
            Some(known) => {
                known.used = self.round;
                known.entry.as_ref().map_or(Found::Dropped, |entry| Found::Sent(Arc::clone(entry)))
            }
            None => Found::Unknown,
        }
    }

    /// Makes the entry of a series; `None` where the rules drop it, or leave it without labels.
    /// `metadata` tells what is known of a metric; Remote-Write 2.0 says it with each series.
    pub(super) fn learn(
        &mut self,
        series: SeriesId,
        labels: &Labels,
        metadata: impl FnOnce(&str) -> Option<Metadata>,
    ) -> Option<Arc<SeriesEntry>> {
        let entry = outgoing(labels, &self.external, &self.rules).map(|labels| {
            let Some(symbols) = &mut self.symbols else {
                let mut out = Vec::new();
                put_labels(&mut out, &labels);
                return Arc::new(SeriesEntry::V1(out.into()));
            };
            let metadata = metadata(labels.metric_name()).unwrap_or_default();
            let pairs = labels.iter().flat_map(|(name, value)| [name, value]);
            let texts = pairs.chain([metadata.help.as_str(), metadata.unit.as_str()]);
            let numbers = texts.map(|text| symbols.number(text)).collect();
            Arc::new(SeriesEntry::V2 { texts: symbols.texts(), numbers, metric_type: metadata.metric_type })
        });
        let bytes = ENTRY_BYTES + entry.as_ref().map_or(0, |entry| entry.bytes());
        if self.shared.fetch_add(bytes, Ordering::Relaxed) + bytes > KNOWN_BYTES_MAX {
            self.shared.fetch_sub(bytes, Ordering::Relaxed);
            return entry;
        }
        self.bytes += bytes;
        self.known.insert(series.0, Known { entry: entry.clone(), used: self.round });
        entry
    }

    /// Forgets the series that were not asked for since the last call.
    pub(super) fn forget_unused(&mut self) {
        let round = self.round;
        let mut freed = 0;
        self.known.retain(|_, known| {
            let stays = known.used >= round;
            if !stays {
                freed += ENTRY_BYTES + known.entry.as_ref().map_or(0, |entry| entry.bytes());
            }
            stays
        });
        self.known.shrink_to_fit();
        self.bytes -= freed;
        self.shared.fetch_sub(freed, Ordering::Relaxed);
        self.round += 1;
        // Texts that no series has any more go all at once.
        if self.symbols.as_ref().is_some_and(|symbols| symbols.len() > SYMBOLS_MIN && symbols.len() > 4 * self.known.len()) {
            self.forget_all();
        }
    }

    /// Forgets everything: each series is learned anew.
    pub(super) fn forget_all(&mut self) {
        self.known.clear();
        self.shared.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        if let Some(symbols) = &mut self.symbols {
            *symbols = Symbols::default();
        }
    }
}

impl Drop for SeriesTable {
    fn drop(&mut self) {
        self.shared.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Adds the external labels, which override nothing, and applies the rules.
fn outgoing(labels: &Labels, external: &Labels, rules: &[RelabelConfig]) -> Option<Labels> {
    if external.is_empty() && rules.is_empty() {
        return Some(labels.clone());
    }
    let mut builder = LabelsBuilder::from(labels);
    for (name, value) in external.iter().filter(|(name, _)| !labels.has(name)) {
        builder.set(name, value);
    }
    let kept = relabel::apply(rules, &mut builder);
    let labels = builder.build();
    (kept && !labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_labels_override_nothing_and_rules_see_them() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        let external = Labels::from_pairs([("job", "x"), ("zone", "z")]);
        let expected = Labels::from_pairs([("__name__", "up"), ("job", "a"), ("zone", "z")]);
        assert_eq!(outgoing(&labels, &external, &[]), Some(expected));
        let drop = RelabelConfig {
            source_labels: vec!["zone".to_owned()],
            regex: crate::model::regex::Regex::new("z").unwrap(),
            action: relabel::RelabelAction::Drop,
            ..RelabelConfig::default()
        };
        assert_eq!(outgoing(&labels, &external, &[drop]), None);
    }

    #[test]
    fn what_is_unused_is_forgotten_and_the_bound_is_shared() {
        let shared = SharedBytes::default();
        let mut table = SeriesTable::new(WriteMessage::V1, Vec::new(), Labels::empty(), Arc::clone(&shared));
        let labels = Labels::from_pairs([("__name__", "up")]);
        assert!(table.learn(SeriesId(1), &labels, |_| None).is_some());
        let held = shared.load(Ordering::Relaxed);
        assert!(held > ENTRY_BYTES);
        table.forget_unused();
        assert!(matches!(table.find(SeriesId(1)), Found::Sent(_)));
        for _ in 0..2 {
            table.forget_unused();
        }
        assert!(matches!(table.find(SeriesId(1)), Found::Unknown));
        assert_eq!(shared.load(Ordering::Relaxed), 0);
        shared.store(KNOWN_BYTES_MAX, Ordering::Relaxed);
        assert!(table.learn(SeriesId(1), &labels, |_| None).is_some());
        assert!(matches!(table.find(SeriesId(1)), Found::Unknown));
        assert_eq!(shared.load(Ordering::Relaxed), KNOWN_BYTES_MAX);
    }
}
