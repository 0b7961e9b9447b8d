//! Start times out of OpenMetrics' `_created` lines, for bodies that the line cache reads.
//!
//! Which line speaks of which series is found by reading the body once more, and only when the row's series changed; then a
//! scrape compares one number for each `_created` line. A series whose `_created` line relabelling drops has no start.

use super::cache::{Cache, ScrapedStart};
use crate::exposition::start_time::{Line, created_lines};
use crate::exposition::{Dialect, Entry, Parser};
use crate::model::labels::LabelsBuilder;
use crate::storage::append::SeriesId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One `_created` line.
#[derive(Debug)]
struct Created {
    /// Its own place in the row.
    slot: u32,
    /// The value that was told.
    seconds: f64,
    /// Of whom it speaks.
    series: Vec<SeriesId>,
}

/// All `_created` lines of a target.
#[derive(Debug, Default)]
pub(super) struct CreatedLines {
    /// The row for which `lines` were found.
    layout: Option<Arc<[SeriesId]>>,
    lines: Vec<Created>,
}

impl CreatedLines {
    /// Adds the starts that changed with the last body.
    pub(super) fn tell(&mut self, cache: &mut Cache, starts: &mut Vec<ScrapedStart>) {
        if self.layout.as_ref().is_none_or(|layout| !Arc::ptr_eq(layout, cache.layout())) {
            let told: BTreeMap<SeriesId, f64> =
                self.lines.iter().flat_map(|line| line.series.iter().map(|series| (*series, line.seconds))).collect();
            self.layout = Some(Arc::clone(cache.layout()));
            self.lines = find(cache);
            let values = cache.values();
            for line in &mut self.lines {
                let seconds = values[line.slot as usize];
                let known =
                    line.series.iter().all(|series| told.get(series).is_some_and(|told| told.to_bits() == seconds.to_bits()));
                line.seconds = if known { seconds } else { f64::NAN };
            }
        }
        let values = cache.values();
        for line in &mut self.lines {
            let seconds = values[line.slot as usize];
            if line.seconds.to_bits() != seconds.to_bits() {
                line.seconds = seconds;
                let start_ms = (seconds * 1000.0) as i64;
                starts.extend(line.series.iter().map(|series| ScrapedStart { series: *series, at_ms: None, start_ms }));
            }
        }
    }
}

fn find(cache: &Cache) -> Vec<Created> {
    if cache.dialect() != Dialect::OpenMetrics || memchr::memmem::find(cache.body(), b"_created").is_none() {
        return Vec::new();
    }
    let (mut lines, mut slots) = (Vec::new(), Vec::new());
    let mut slot_of = cache.slots();
    let mut parser = Parser::new(cache.body(), Dialect::OpenMetrics);
    while let Ok(Some(entry)) = parser.next() {
        let mut builder = LabelsBuilder::new();
        let is_sample = entry == Entry::Sample && parser.labels_into(&mut builder).is_ok();
        slots.push(if entry == Entry::Sample { slot_of.next().flatten() } else { None });
        lines.push(if is_sample {
            Line::Sample { labels: builder.build(), metric_type: parser.metric_type(), value: parser.value() }
        } else {
            Line::Other
        });
    }
    let mut found: BTreeMap<u32, Vec<SeriesId>> = BTreeMap::new();
    for (created, slot) in created_lines(&lines).into_iter().zip(&slots) {
        let created = created.and_then(|line| slots.get(line).copied().flatten());
        let series = slot.and_then(|slot| cache.layout().get(slot as usize).copied());
        if let (Some(created), Some(series)) = (created, series) {
            found.entry(created).or_default().push(series);
        }
    }
    found.into_iter().map(|(slot, series)| Created { slot, seconds: f64::NAN, series }).collect()
}
