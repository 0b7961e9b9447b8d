//! Smoothed instant selectors: the value at a time between two samples lies on the line between them.

use super::batches::{Maker, Worked};
use super::context::{Context, Grid, Outcome};
use super::window::Samples;
use crate::model::histogram::FloatHistogram;
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::column::{Column, Series};
use crate::promql::expr::{Span, VectorSelector};
use crate::storage::select::{Hints, TimeRange};
use std::sync::Arc;

impl Context<'_> {
    pub(super) fn smoothed_selector(&self, grid: Grid, selector: &VectorSelector, span: Span) -> Outcome<Vec<Series>> {
        let references = self.references(grid, &selector.shift)?;
        let range = TimeRange {
            start_ms: references.first().saturating_sub(self.lookback_ms - 1),
            end_ms: references.last().saturating_add(self.lookback_ms),
        };
        let mut out = Vec::new();
        let maker: Maker = Arc::new(|| Box::new(|samples| Worked::Samples(Box::new(Samples::from(samples)))));
        let job = self.job(maker, grid.steps);
        self.read(selector, range, &Hints { sorted: true, ..Hints::default() }, false, &job, &mut |labels, worked| {
            let Worked::Samples(samples) = worked else { return Ok(()) };
            let mut column = Column::absent(grid.steps);
            for step in 0..grid.steps {
                column.set(step, self.smoothed(&samples, references.at(step), labels.metric_name(), span));
            }
            if !column.is_blank() {
                out.push(Series { labels, drop_name: false, column });
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn smoothed(&self, samples: &Samples, at_ms: i64, name: &str, span: Span) -> Option<Value> {
        let (from, to) = (at_ms - self.lookback_ms, at_ms + self.lookback_ms);
        let within = |times: &[i64]| times.partition_point(|t| *t <= from)..times.partition_point(|t| *t <= to);
        let (floats, histograms) = (within(&samples.times), within(&samples.histograms.times));
        if !floats.is_empty() && !histograms.is_empty() {
            self.note(&Note::MixedFloatsHistograms(name.to_owned()), span);
            return None;
        }
        let histogram_values = &samples.histograms.values;
        if floats.is_empty() {
            let (place, weight) = between(&samples.histograms.times[histograms.clone()], at_ms)?;
            let first = &histogram_values[histograms.start + place];
            let Some(weight) = weight else { return Some(Value::Histogram(Arc::clone(first))) };
            let second = &histogram_values[histograms.start + place + 1];
            return interpolate_histograms(first, second, weight).map(|value| Value::Histogram(Arc::new(value)));
        }
        let (place, weight) = between(&samples.times[floats.clone()], at_ms)?;
        let first = samples.floats()[floats.start + place];
        let Some(weight) = weight else { return Some(Value::Float(first)) };
        let second = samples.floats()[floats.start + place + 1];
        Some(Value::Float(first + (second - first) * weight))
    }
}

/// Returns the place at or before a time, and how far on the way to the next the time is (nothing: take it as it is).
fn between(times: &[i64], at_ms: i64) -> Option<(usize, Option<f64>)> {
    let place = times.partition_point(|t| *t <= at_ms).checked_sub(1)?;
    match times.get(place + 1) {
        Some(next) if times[place] != at_ms => Some((place, Some((at_ms - times[place]) as f64 / (next - times[place]) as f64))),
        _ => Some((place, None)),
    }
}

/// Returns the histogram on the way from one to another.
pub(in crate::promql) fn interpolate_histograms(
    first: &FloatHistogram,
    second: &FloatHistogram,
    weight: f64,
) -> Option<FloatHistogram> {
    let mut way = second.clone();
    way.sub(first).ok()?;
    let mut value = first.clone();
    value.add(&way.scaled(weight)).ok()?;
    Some(value.compacted())
}
