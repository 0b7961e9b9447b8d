//! Handing joined series to a block: their samples cut into columns, floats and histograms apart.

use crate::model::sample::Value;
use crate::storage::block::writer::{About, BlockWriter, ColumnInput, ColumnValues, divide};
use crate::storage::column::histogram::put_histogram;
use crate::storage::error::StoreError;
use crate::storage::select::{SeriesSamples, Values};
use hashbrown::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Divided times that are remembered; beyond that all are forgotten.
const REMEMBERED_MAX: usize = 256;

/// Times cut into columns, remembered by where the whole lies.
#[derive(Default)]
struct Divisions {
    known: HashMap<usize, Vec<Arc<[i64]>>, foldhash::fast::RandomState>,
    /// Keeps the addresses.
    alive: Vec<Arc<[i64]>>,
}

impl Divisions {
    fn of(&mut self, times: &Arc<[i64]>, level: u8) -> Vec<Arc<[i64]>> {
        if self.alive.len() > REMEMBERED_MAX {
            *self = Self::default();
        }
        let address = Arc::as_ptr(times).addr();
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let part = |rows: std::ops::Range<usize>| {
            if rows.len() == times.len() { Arc::clone(times) } else { times.get(rows).unwrap_or_default().into() }
        };
        let parts: Vec<Arc<[i64]>> = divide(times.len(), level).map(part).collect();
        self.alive.push(Arc::clone(times));
        self.known.insert(address, parts.clone());
        parts
    }
}

/// A block that takes series.
pub(crate) struct SeriesWriter<'a> {
    writer: BlockWriter<'a>,
    level: u8,
    divisions: Divisions,
    scratch: Vec<f64>,
}

impl<'a> SeriesWriter<'a> {
    /// Takes a fresh block of a level.
    pub(crate) fn new(writer: BlockWriter<'a>, level: u8) -> Self {
        Self { writer, level, divisions: Divisions::default(), scratch: Vec::new() }
    }

    /// Adds a series; one without samples is left out. Series must come sorted by metric name, then labels, each once.
    pub(crate) fn add<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        about: &About,
        samples: &SeriesSamples,
    ) -> Result<(), StoreError> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let added = match &samples.values {
            Values::Mixed(_) => self.add_mixed(labels, about, samples),
            Values::Constant(value) => {
                let values = |rows: std::ops::Range<usize>| ColumnValues::Constant(*value, rows.len());
                self.add_floats(labels, about, samples, values)
            }
            Values::Floats(floats) => {
                self.add_floats(labels, about, samples, |rows| ColumnValues::Floats(floats.get(rows).unwrap_or_default()))
            }
            Values::Linear { first, step } => {
                scratch.extend((0..samples.len()).map(|i| first + step * i as f64));
                let floats = &scratch;
                self.add_floats(labels, about, samples, |rows| ColumnValues::Floats(floats.get(rows).unwrap_or_default()))
            }
        };
        self.scratch = scratch;
        added
    }

    fn add_floats<'l, 'v>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        about: &About,
        samples: &SeriesSamples,
        values: impl Fn(std::ops::Range<usize>) -> ColumnValues<'v>,
    ) -> Result<(), StoreError> {
        let parts = self.divisions.of(&samples.times, self.level);
        let starts = samples.starts.as_ref().map(|starts| self.divisions.of(starts, self.level));
        let mut from = 0;
        let mut columns = Vec::with_capacity(parts.len());
        for (part, times) in parts.iter().enumerate() {
            let to = from + times.len();
            let starts = starts.as_ref().and_then(|starts| starts.get(part)).filter(|starts| starts.iter().any(|ms| *ms != 0));
            columns.push(ColumnInput { times, values: values(from..to), starts });
            from = to;
        }
        self.writer.add(labels, about, columns)
    }

    /// Floats and histograms lie in columns of their own.
    fn add_mixed<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        about: &About,
        samples: &SeriesSamples,
    ) -> Result<(), StoreError> {
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for (i, at_ms) in samples.times.iter().enumerate() {
            let start_ms = samples.starts.as_ref().and_then(|starts| starts.get(i).copied()).unwrap_or(0);
            let value = samples.histogram(i).map(|histogram| Value::Histogram(Arc::clone(histogram)));
            match value.or_else(|| samples.float(i).map(Value::Float)) {
                Some(Value::Float(value)) => floats.push((*at_ms, start_ms, value)),
                Some(Value::Histogram(histogram)) => histograms.push((*at_ms, start_ms, histogram)),
                None => {}
            }
        }
        let mut parts: Vec<OwnedColumn> = Vec::new();
        for rows in divide(histograms.len(), self.level) {
            let part = histograms.get(rows).unwrap_or_default();
            let mut bytes = Vec::new();
            for (_, _, histogram) in part {
                put_histogram(&mut bytes, histogram);
            }
            parts.push((times_of(part), starts_of(part), OwnedValues::Histograms(bytes, part.len())));
        }
        if !floats.is_empty() {
            for rows in divide(floats.len(), self.level) {
                let part = floats.get(rows).unwrap_or_default();
                let values = part.iter().map(|(_, _, value)| *value).collect();
                parts.push((times_of(part), starts_of(part), OwnedValues::Floats(values)));
            }
        }
        let columns = parts.iter().map(|(times, starts, values)| ColumnInput {
            times,
            starts: starts.as_ref(),
            values: match values {
                OwnedValues::Floats(values) => ColumnValues::Floats(values),
                OwnedValues::Histograms(bytes, rows) => ColumnValues::Histograms(bytes.clone(), *rows),
            },
        });
        self.writer.add(labels, about, columns.collect())
    }

    /// Writes the block; `None` when it has no series.
    pub(crate) fn finish(self) -> Result<Option<PathBuf>, StoreError> {
        if self.writer.is_empty() {
            self.writer.abandon();
            return Ok(None);
        }
        self.writer.finish().map(Some)
    }

    /// Gives up.
    pub(crate) fn abandon(self) {
        self.writer.abandon();
    }
}

/// Times, start timestamps, values.
type OwnedColumn = (Arc<[i64]>, Option<Arc<[i64]>>, OwnedValues);

enum OwnedValues {
    Floats(Vec<f64>),
    Histograms(Vec<u8>, usize),
}

fn times_of<T>(part: &[(i64, i64, T)]) -> Arc<[i64]> {
    part.iter().map(|(at_ms, ..)| *at_ms).collect()
}

fn starts_of<T>(part: &[(i64, i64, T)]) -> Option<Arc<[i64]>> {
    part.iter().any(|(_, start_ms, _)| *start_ms != 0).then(|| part.iter().map(|(_, start_ms, _)| *start_ms).collect())
}
