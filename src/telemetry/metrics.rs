//! The server's own metrics: counters, gauges and histograms in one registry.
//!
//! Where Prometheus or Alertmanager has a metric, ours has its name with `watchkeeper_` in front instead. A handle is one
//! shared atomic; writing to it never locks.

use crate::model::labels::Labels;
use crate::model::metadata::MetricType;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the present number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `change`, which may be negative.
    pub fn add(&self, change: f64) {
        let update = |bits| Some((f64::from_bits(bits) + change).to_bits());
        let updated = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        debug_assert!(updated.is_ok());
    }

    /// Returns the present value.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Counts observations in buckets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<HistogramCells>);

#[derive(Debug)]
struct HistogramCells {
    bounds: Vec<f64>,
    counts: Vec<AtomicU64>,
    sum: Gauge,
}

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(HistogramCells { bounds: bounds.to_vec(), counts, sum: Gauge::default() }))
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let place = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[place].fetch_add(1, Ordering::Relaxed);
        self.0.sum.add(value);
    }
}

/// Upper bounds in seconds for things that take from a millisecond to a minute.
pub const SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone, Debug)]
enum Cell {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    metric_type: MetricType,
    help: &'static str,
    cells: BTreeMap<Labels, Cell>,
}

/// All metrics. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<String, Family>>>);

/// One family as it is exposed.
#[derive(Clone, Debug)]
pub struct FamilySnapshot {
    /// The family's name.
    pub name: String,
    /// Counter, gauge or histogram.
    pub metric_type: MetricType,
    /// One sentence.
    pub help: &'static str,
    /// Suffix of the name (`_bucket`, `_sum`, `_count` or nothing), labels without the name, value.
    pub samples: Vec<(&'static str, Labels, f64)>,
}

impl Registry {
    /// Returns an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn cell(&self, name: &str, help: &'static str, labels: &[(&str, &str)], make: impl FnOnce() -> (MetricType, Cell)) -> Cell {
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (metric_type, fresh) = make();
        let family = families.entry(name.to_owned()).or_insert_with(|| Family { metric_type, help, cells: BTreeMap::new() });
        family.cells.entry(Labels::from_pairs(labels.iter().copied())).or_insert(fresh).clone()
    }

    /// Returns the counter of that name and labels, made at first use. The name ends in `_total`.
    #[must_use]
    pub fn counter(&self, name: &str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        match self.cell(name, help, labels, || (MetricType::Counter, Cell::Counter(Counter::default()))) {
            Cell::Counter(counter) => counter,
            Cell::Gauge(_) | Cell::Histogram(_) => Counter::default(),
        }
    }

    /// Returns the gauge of that name and labels, made at first use.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        match self.cell(name, help, labels, || (MetricType::Gauge, Cell::Gauge(Gauge::default()))) {
            Cell::Gauge(gauge) => gauge,
            Cell::Counter(_) | Cell::Histogram(_) => Gauge::default(),
        }
    }

    /// Returns what the counter or gauge of that name without labels says, where there is one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of our own events stay far below 2^53")]
    pub fn value(&self, name: &str) -> Option<f64> {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match families.get(name)?.cells.get(&Labels::empty())? {
            Cell::Counter(counter) => Some(counter.get() as f64),
            Cell::Gauge(gauge) => Some(gauge.get()),
            Cell::Histogram(_) => None,
        }
    }

    /// Returns the histogram of that name and labels, made at first use. `bounds` ascend.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &'static str, labels: &[(&str, &str)], bounds: &[f64]) -> Histogram {
        match self.cell(name, help, labels, || (MetricType::Histogram, Cell::Histogram(Histogram::new(bounds)))) {
            Cell::Histogram(histogram) => histogram,
            Cell::Counter(_) | Cell::Gauge(_) => Histogram::new(bounds),
        }
    }

    /// Forgets one metric, for things that came and went (a target, a rule file).
    pub fn remove(&self, name: &str, labels: &[(&str, &str)]) {
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = families.get_mut(name) {
            family.cells.remove(&Labels::from_pairs(labels.iter().copied()));
        }
    }

    /// Reads all metrics, sorted by name and labels.
    #[must_use]
    pub fn snapshot(&self) -> Vec<FamilySnapshot> {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        families
            .iter()
            .map(|(name, family)| FamilySnapshot {
                name: name.clone(),
                metric_type: family.metric_type,
                help: family.help,
                samples: family.cells.iter().flat_map(|(labels, cell)| cell_samples(labels, cell)).collect(),
            })
            .collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of our own events stay far below 2^53")]
fn cell_samples(labels: &Labels, cell: &Cell) -> Vec<(&'static str, Labels, f64)> {
    match cell {
        Cell::Counter(counter) => vec![("", labels.clone(), counter.get() as f64)],
        Cell::Gauge(gauge) => vec![("", labels.clone(), gauge.get())],
        Cell::Histogram(histogram) => {
            let cells = &histogram.0;
            let mut samples = Vec::with_capacity(cells.counts.len() + 2);
            let mut total = 0;
            for (place, count) in cells.counts.iter().enumerate() {
                total += count.load(Ordering::Relaxed);
                let bound = cells.bounds.get(place).copied().unwrap_or(f64::INFINITY);
                samples.push(("_bucket", labels.with("le", &crate::model::number::format_g(bound)), total as f64));
            }
            samples.push(("_sum", labels.clone(), cells.sum.get()));
            samples.push(("_count", labels.clone(), total as f64));
            samples
        }
    }
}
