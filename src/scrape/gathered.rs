//! What a body means that is read as families, not line by line: protobuf, and text whose histograms are converted.
//!
//! A sample's key leads to what is known of its series: where its value goes, or that relabelling dropped it. So labels,
//! relabelling and the store's index are asked once for each new series. Floats fill the target's row, as those of the line
//! cache do; histograms and samples with times of their own go beside it.

use super::cache::{Outcome, ScrapedHistogram, ScrapedStart};
use super::cache_lines::compact;
use super::reading::RefusedBody;
use super::sample_labels::SampleLabels;
use crate::exposition::families::{About, Options, ReadError, Sample, Sink, Value};
use crate::exposition::parser::ensure_newline;
use crate::exposition::{Dialect, Format, converted, protobuf};
use crate::model::histogram::FloatHistogram;
use crate::model::metadata::Metadata;
use crate::storage::append::SeriesId;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How the values of a job's histograms are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    pub(super) options: Options,
    pub(super) honor_timestamps: bool,
    /// The most buckets; 0: no bound.
    pub(super) bucket_limit: u64,
    /// The finest resolution.
    pub(super) schema_max: i32,
}

/// Where a series' samples go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Relabelling drops it.
    Dropped,
    /// A place in the row.
    Row(u32),
    /// Beside the row.
    Beside(SeriesId),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    place: Place,
    /// The last round that had it.
    round: u64,
    start_ms: i64,
}

/// The last good body of one target, and what its samples mean.
#[derive(Debug)]
pub(super) struct Gathered {
    taking: Taking,
    body: Vec<u8>,
    format: Format,
    known: HashMap<Box<[u8]>, Known, foldhash::fast::RandomState>,
    round: u64,
    /// The row: reserved series first.
    layout: Arc<[SeriesId]>,
    values: Vec<f64>,
    reserved: usize,
    slots: Slots,
    /// Series of the last body that had times of their own, and those that were histograms.
    timed: Vec<SeriesId>,
    histograms: Vec<SeriesId>,
    metadata: BTreeMap<String, (Metadata, u64)>,
}

/// The row's series, by number and by place.
#[derive(Debug, Default)]
struct Slots {
    series: Vec<SeriesId>,
    /// The last round that filled the place.
    rounds: Vec<u64>,
    by_series: HashMap<SeriesId, u32>,
}

impl Gathered {
    pub(super) fn new(reserved: &[SeriesId], taking: Taking) -> Self {
        Self {
            taking,
            body: Vec::new(),
            format: Format::Protobuf,
            known: HashMap::default(),
            round: 0,
            layout: Arc::from(reserved),
            values: vec![0.0; reserved.len()],
            reserved: reserved.len(),
            slots: Slots {
                series: reserved.to_vec(),
                rounds: vec![u64::MAX; reserved.len()],
                by_series: reserved.iter().copied().zip(0..).collect(),
            },
            timed: Vec::new(),
            histograms: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    pub(super) const fn layout(&self) -> &Arc<[SeriesId]> {
        &self.layout
    }

    pub(super) fn values(&mut self) -> &mut [f64] {
        &mut self.values
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Returns the series that had histograms in the last body.
    pub(super) fn histograms(&self) -> &[SeriesId] {
        &self.histograms
    }

    pub(super) fn metadata(&self) -> Vec<(String, Metadata)> {
        self.metadata.iter().map(|(name, (metadata, _))| (name.clone(), metadata.clone())).collect()
    }

    /// Forgets everything but the reserved series.
    pub(super) fn clear(&mut self) {
        *self = Self::new(&self.layout[..self.reserved], self.taking);
    }

    /// Takes the next body; `body` comes back as a buffer to reuse. After an error nothing is known any more.
    ///
    /// # Errors
    /// When it cannot be read or a sample is refused; nothing of it holds then.
    pub(super) fn update(
        &mut self,
        body: &mut Vec<u8>,
        format: Format,
        lookup: &SampleLabels<'_>,
    ) -> Result<Outcome, RefusedBody> {
        self.round += 1;
        if format != self.format {
            // The same key may mean another series.
            self.known.clear();
            self.format = format;
        }
        if format == Format::Lines(Dialect::Text) {
            ensure_newline(body);
        }
        let options = self.taking.options;
        let mut gathering =
            Gathering { memory: self, lookup, outcome: Outcome::default(), family: None, seen: 0, over_buckets: false };
        let read = match format {
            Format::Protobuf => protobuf::read(body, options, &mut gathering),
            Format::Lines(dialect) => {
                converted::read(body, dialect, options.keep_classic, &mut gathering).map_err(ReadError::from)
            }
        };
        gathering.flush_family();
        let Gathering { mut outcome, seen, over_buckets, .. } = gathering;
        if let Err(error) = read {
            self.clear();
            return Err(RefusedBody { error, bucket_limit: over_buckets, scraped: outcome.scraped, kept: outcome.kept });
        }
        self.settle(&mut outcome, seen);
        std::mem::swap(&mut self.body, body);
        Ok(outcome)
    }

    /// Takes leave of what the body did not have any more.
    fn settle(&mut self, outcome: &mut Outcome, seen: usize) {
        let round = self.round;
        if self.known.len() > seen {
            self.known.retain(|_, known| known.round == round);
        }
        self.metadata.retain(|_, (_, at)| *at == round);
        let used: Vec<bool> = self.slots.rounds.iter().map(|at| *at >= round).collect();
        if used.contains(&false) {
            let (moves, kept, vanished) = compact(&self.slots.series, &used);
            outcome.vanished = vanished;
            for known in self.known.values_mut() {
                if let Place::Row(slot) = &mut known.place {
                    *slot = moves[*slot as usize];
                }
            }
            let mut places = used.iter();
            self.values.retain(|_| places.next() == Some(&true));
            self.slots.by_series = kept.iter().copied().zip(0..).collect();
            self.slots.rounds = (0..kept.len()).map(|place| if place < self.reserved { u64::MAX } else { round }).collect();
            self.slots.series = kept;
        }
        if *self.layout != *self.slots.series {
            self.layout = Arc::from(self.slots.series.as_slice());
        }
        let gone = |old: &mut Vec<SeriesId>, mut new: Vec<SeriesId>| {
            new.sort_unstable();
            let old = std::mem::replace(old, new.clone());
            old.into_iter().filter(|series| new.binary_search(series).is_err()).collect::<Vec<_>>()
        };
        let timed = outcome.timed.iter().map(|(series, ..)| *series);
        let (timed_histograms, histograms): (Vec<_>, Vec<_>) = outcome.histograms.iter().partition(|found| found.at_ms.is_some());
        outcome.vanished_timed = gone(&mut self.timed, timed.chain(timed_histograms.iter().map(|found| found.series)).collect());
        let vanished = gone(&mut self.histograms, histograms.iter().map(|found| found.series).collect());
        // What is a histogram now, or a float now, does not end.
        let beside: BTreeSet<SeriesId> = self.histograms.iter().copied().collect();
        outcome.vanished.retain(|series| !beside.contains(series));
        let is_float = |series: &SeriesId| self.slots.by_series.contains_key(series);
        outcome.vanished.extend(vanished.into_iter().filter(|series| !is_float(series)));
        // One that was both ends once.
        outcome.vanished.sort_unstable();
        outcome.vanished.dedup();
    }
}

/// One body being read.
struct Gathering<'g, 'l> {
    memory: &'g mut Gathered,
    lookup: &'g SampleLabels<'l>,
    outcome: Outcome,
    family: Option<(String, Metadata)>,
    /// How many keys the body had.
    seen: usize,
    over_buckets: bool,
}

impl Gathering<'_, '_> {
    fn flush_family(&mut self) {
        let Some((metric, metadata)) = self.family.take() else { return };
        let round = self.memory.round;
        match self.memory.metadata.get_mut(&metric) {
            Some((known, at)) if *known == metadata => *at = round,
            _ => {
                self.lookup.append.note_metadata(&metric, &metadata);
                self.memory.metadata.insert(metric, (metadata, round));
            }
        }
    }

    /// Looks a new series up.
    fn find(&mut self, sample: &Sample<'_>, beside: bool) -> Result<Known, String> {
        let round = self.memory.round;
        let series = self.lookup.series_of(&(sample.labels)()?)?;
        let slots = &mut self.memory.slots;
        let place = match series {
            None => Place::Dropped,
            Some(series) if beside => {
                self.outcome.added += 1;
                Place::Beside(series)
            }
            Some(series) => Place::Row(*slots.by_series.entry(series).or_insert_with(|| {
                self.outcome.added += 1;
                slots.series.push(series);
                slots.rounds.push(0);
                self.memory.values.push(0.0);
                (slots.series.len() - 1) as u32
            })),
        };
        let known = Known { place, round, start_ms: 0 };
        self.memory.known.insert(Box::from(sample.key), known);
        self.seen += 1;
        Ok(known)
    }

    /// Makes a histogram as coarse as the job wants it.
    fn fit(&mut self, mut histogram: FloatHistogram) -> Result<FloatHistogram, String> {
        let Taking { bucket_limit, schema_max, .. } = self.memory.taking;
        if !histogram.uses_custom_buckets() && histogram.schema > schema_max {
            histogram = histogram.at_schema(schema_max);
        }
        let buckets = |histogram: &FloatHistogram| (histogram.positive_buckets.len() + histogram.negative_buckets.len()) as u64;
        while bucket_limit > 0 && buckets(&histogram) > bucket_limit {
            if histogram.uses_custom_buckets() || histogram.schema <= SCHEMA_MIN {
                self.over_buckets = true;
                return Err("histogram bucket limit exceeded".to_owned());
            }
            histogram = histogram.at_schema(histogram.schema - 1);
        }
        Ok(histogram)
    }
}

/// The coarsest resolution.
const SCHEMA_MIN: i32 = -4;

impl Sink for Gathering<'_, '_> {
    fn about(&mut self, metric: &str, about: About<'_>) {
        if self.family.as_ref().is_some_and(|(name, _)| name != metric) {
            self.flush_family();
        }
        let (_, metadata) = self.family.get_or_insert_with(|| (metric.to_owned(), Metadata::default()));
        match about {
            About::Help(text) => text.clone_into(&mut metadata.help),
            About::Type(metric_type) => metadata.metric_type = metric_type,
            About::Unit(unit) => unit.clone_into(&mut metadata.unit),
        }
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), String> {
        self.outcome.scraped += 1;
        let round = self.memory.round;
        let at_ms = sample.timestamp_ms.filter(|_| self.memory.taking.honor_timestamps);
        let beside = at_ms.is_some() || matches!(sample.value, Value::Histogram(_));
        let fits = |known: &Known| {
            matches!((known.place, beside), (Place::Dropped, _) | (Place::Row(_), false) | (Place::Beside(_), true))
        };
        let (mut known, repeats) = match self.memory.known.get_mut(sample.key) {
            Some(known) if fits(known) => {
                let repeats = std::mem::replace(&mut known.round, round) == round;
                self.seen += usize::from(!repeats);
                (*known, repeats)
            }
            Some(old) => {
                // A key that is met again in another form counts once.
                self.seen -= usize::from(old.round == round);
                (self.find(&sample, beside)?, false)
            }
            None => (self.find(&sample, beside)?, false),
        };
        let series = match known.place {
            Place::Dropped => return Ok(()),
            Place::Row(slot) => self.memory.slots.series[slot as usize],
            Place::Beside(series) => series,
        };
        self.outcome.kept += 1;
        if repeats {
            // The first one holds, as in the line cache; the formats leave open what it means.
            self.outcome.repeated += 1;
            return Ok(());
        }
        let is_histogram = matches!(sample.value, Value::Histogram(_));
        match (known.place, sample.value) {
            (Place::Row(slot), Value::Float(value)) => {
                let slot = slot as usize;
                if self.memory.slots.rounds[slot] >= round {
                    self.outcome.repeated += 1;
                    return Ok(());
                }
                self.memory.slots.rounds[slot] = round;
                self.memory.values[slot] = value;
            }
            (_, Value::Float(value)) => {
                if let Some(at_ms) = at_ms {
                    self.outcome.timed.push((series, at_ms, value));
                }
            }
            (_, Value::Histogram(histogram)) => {
                let histogram = Arc::new(self.fit(histogram)?);
                self.outcome.histograms.push(ScrapedHistogram { series, at_ms, histogram });
            }
        }
        if known.start_ms != sample.start_ms {
            known.start_ms = sample.start_ms;
            if let Some(held) = self.memory.known.get_mut(sample.key) {
                *held = known;
            }
            self.outcome.starts.push(ScrapedStart { series, at_ms, start_ms: sample.start_ms });
        }
        // An exemplar of a histogram without a time could not be told from itself at the next scrape.
        let mut exemplars = sample.exemplars;
        exemplars.retain(|exemplar| !is_histogram || exemplar.at_ms.is_some());
        // The store takes them by their time.
        exemplars.sort_by_key(|exemplar| exemplar.at_ms);
        self.outcome.add_exemplars(series, exemplars);
        Ok(())
    }
}
