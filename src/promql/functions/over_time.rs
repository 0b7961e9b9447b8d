//! `*_over_time`, `changes` and `resets`.

#![expect(clippy::float_cmp, reason = "a change is any change")]

use super::quantile::quantile_of;
use super::sums::{HistogramSum, Mean, Sum};
use super::{RangeCall, extended};
use crate::model::histogram::FloatHistogram;
use crate::model::histogram::arithmetic::{Incompatible, Merged};
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::eval::Outcome;
use crate::promql::eval::window::Window;
use crate::promql::expr::Extension;
use std::sync::Arc;

type Answer = Outcome<Option<Value>>;

const fn number(value: f64) -> Answer {
    Ok(Some(Value::Float(value)))
}

pub(super) fn last(window: &Window<'_>, _call: &RangeCall<'_>) -> Answer {
    Ok(match (window.times().last(), window.histogram_times().last()) {
        (Some(float), Some(histogram)) if float > histogram => window.floats().last().copied().map(Value::Float),
        (_, Some(_)) => window.histograms().last().cloned().map(Value::Histogram),
        (_, None) => window.floats().last().copied().map(Value::Float),
    })
}

pub(super) fn first(window: &Window<'_>, _call: &RangeCall<'_>) -> Answer {
    Ok(match (window.times().first(), window.histogram_times().first()) {
        (Some(float), Some(histogram)) if float < histogram => window.floats().first().copied().map(Value::Float),
        (_, Some(_)) => window.histograms().first().cloned().map(Value::Histogram),
        (_, None) => window.floats().first().copied().map(Value::Float),
    })
}

pub(super) fn ts_of_first(window: &Window<'_>, _call: &RangeCall<'_>) -> Answer {
    let first = window.times().first().into_iter().chain(window.histogram_times().first()).min();
    Ok(first.map(|at_ms| Value::Float(*at_ms as f64 / 1000.0)))
}

pub(super) fn ts_of_last(window: &Window<'_>, _call: &RangeCall<'_>) -> Answer {
    let last = window.times().last().into_iter().chain(window.histogram_times().last()).max();
    Ok(last.map(|at_ms| Value::Float(*at_ms as f64 / 1000.0)))
}

pub(super) fn count(window: &Window<'_>, _call: &RangeCall<'_>) -> Answer {
    number((window.floats().len() + window.histograms().len()) as f64)
}

pub(super) fn present(_window: &Window<'_>, _call: &RangeCall<'_>) -> Answer {
    number(1.0)
}

pub(super) fn sum(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    if let Some(first) = window.histograms().first() {
        return histograms(window, call, first, HistogramSum::push, HistogramSum::value);
    }
    let mut sum = Sum::default();
    window.floats().iter().for_each(|value| sum.push(*value));
    number(sum.value())
}

pub(super) fn avg(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    if let Some(first) = window.histograms().first() {
        return histograms(window, call, first, HistogramSum::push_for_mean, HistogramSum::mean);
    }
    let mut mean = Mean::default();
    window.floats().iter().for_each(|value| mean.push(*value));
    number(mean.value())
}

fn histograms(
    window: &Window<'_>,
    call: &RangeCall<'_>,
    first: &FloatHistogram,
    push: fn(&mut HistogramSum, &FloatHistogram) -> Result<Merged, Incompatible>,
    finish: fn(&HistogramSum) -> FloatHistogram,
) -> Answer {
    use crate::model::histogram::CounterResetHint::{NotReset, Reset};
    if !window.floats().is_empty() {
        call.note_mixed();
        return Ok(None);
    }
    let mut sum = HistogramSum::new(first);
    let mut hints = [first.counter_reset_hint == Reset, first.counter_reset_hint == NotReset];
    for histogram in window.histograms().iter().skip(1) {
        hints[0] |= histogram.counter_reset_hint == Reset;
        hints[1] |= histogram.counter_reset_hint == NotReset;
        match push(&mut sum, histogram) {
            Ok(merged) if merged.bounds_reconciled => call.note(&Note::BoundsReconciled("aggregation")),
            Ok(_) => {}
            Err(Incompatible) => {
                call.note(&Note::MixedSchemas(call.metric.to_owned()));
                return Ok(None);
            }
        }
    }
    if hints == [true, true] {
        call.note(&Note::ResetCollision("aggregation"));
    }
    Ok(Some(Value::Histogram(Arc::new(finish(&sum)))))
}

/// Returns the place of the extreme float; `better` says whether a later value takes the place of an earlier.
fn extreme(window: &Window<'_>, call: &RangeCall<'_>, better: impl Fn(f64, f64) -> bool) -> Option<usize> {
    call.note_ignored_histograms(window);
    let floats = window.floats();
    let mut best = 0;
    let first = *floats.first()?;
    let mut value = first;
    for (place, candidate) in floats.iter().enumerate() {
        if better(*candidate, value) || value.is_nan() {
            (best, value) = (place, *candidate);
        }
    }
    Some(best)
}

pub(super) fn min(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    Ok(extreme(window, call, |new, old| new < old).map(|place| Value::Float(window.floats()[place])))
}

pub(super) fn max(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    Ok(extreme(window, call, |new, old| new > old).map(|place| Value::Float(window.floats()[place])))
}

pub(super) fn ts_of_min(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    let seconds = |place: usize| Value::Float(window.times()[place] as f64 / 1000.0);
    Ok(extreme(window, call, |new, old| new <= old).map(seconds))
}

pub(super) fn ts_of_max(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    let seconds = |place: usize| Value::Float(window.times()[place] as f64 / 1000.0);
    Ok(extreme(window, call, |new, old| new >= old).map(seconds))
}

fn variance(window: &Window<'_>, call: &RangeCall<'_>) -> Option<f64> {
    call.note_ignored_histograms(window);
    (!window.floats().is_empty()).then(|| variance_of(window.floats()))
}

/// The variance of at least one number, in one pass.
pub(super) fn variance_of(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let difference = value - (mean.sum + mean.lost);
        mean.push(difference / count);
        squares.push(difference * (value - (mean.sum + mean.lost)));
    }
    (squares.sum + squares.lost) / count
}

pub(super) fn stdvar(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    Ok(variance(window, call).map(Value::Float))
}

pub(super) fn stddev(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    Ok(variance(window, call).map(|variance| Value::Float(variance.sqrt())))
}

pub(super) fn quantile(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    let Some(&wanted) = call.scalars.first() else { return Ok(None) };
    if window.floats().is_empty() {
        return Ok(None);
    }
    if !window.histograms().is_empty() {
        // Prometheus points at the first argument, whichever that is.
        call.context.note(&Note::HistogramIgnoredInMixedRange(call.metric.to_owned()), call.first_span);
    }
    number(quantile_of(wanted, window.floats().to_vec()))
}

pub(super) fn mad(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    call.note_ignored_histograms(window);
    if window.floats().is_empty() {
        return Ok(None);
    }
    if window.floats().iter().any(|value| value.is_nan()) {
        return number(f64::NAN);
    }
    let median = quantile_of(0.5, window.floats().to_vec());
    let distances = window.floats().iter().map(|value| (value - median).abs()).collect();
    number(quantile_of(0.5, distances))
}

/// A sample of either kind with its time and start timestamp.
struct Point<'a> {
    at_ms: i64,
    start_ms: i64,
    value: Result<f64, &'a FloatHistogram>,
}

/// Lists floats and histograms by time; an anchored range begins with the sample before it.
fn points<'a>(window: &'a Window<'_>, call: &RangeCall<'_>) -> Vec<Point<'a>> {
    let samples = window.samples;
    let anchor = if call.extension == Extension::Anchored { extended::anchor(window, call) } else { window.from_ms };
    let within = |times: &[i64]| times.partition_point(|t| *t <= anchor)..times.partition_point(|t| *t <= window.to_ms);
    let floats = within(&samples.times).map(|i| Point {
        at_ms: samples.times[i],
        start_ms: samples.starts.as_ref().map_or(0, |starts| starts[i]),
        value: Ok(samples.floats()[i]),
    });
    let histograms = within(&samples.histograms.times).map(|i| Point {
        at_ms: samples.histograms.times[i],
        start_ms: samples.histograms.starts.as_ref().map_or(0, |starts| starts[i]),
        value: Err(&*samples.histograms.values[i]),
    });
    let mut points: Vec<_> = floats.chain(histograms).collect();
    points.sort_by_key(|point| point.at_ms);
    points
}

fn transitions(window: &Window<'_>, call: &RangeCall<'_>, counts: impl Fn(&Point<'_>, &Point<'_>) -> bool) -> Answer {
    if window.is_empty() {
        return Ok(None);
    }
    let points = points(window, call);
    number(points.windows(2).filter(|pair| counts(&pair[0], &pair[1])).count() as f64)
}

pub(super) fn changes(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    transitions(window, call, |before, now| match (before.value, now.value) {
        (Ok(before), Ok(now)) => now != before && !(now.is_nan() && before.is_nan()),
        (Err(before), Err(now)) => !now.same(before),
        _ => true,
    })
}

pub(super) fn resets(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    let by_start = call.context.engine.use_start_timestamps;
    transitions(window, call, |before, now| {
        let restarted = by_start && super::rate::restarted(before.at_ms, before.start_ms, now.at_ms, now.start_ms);
        restarted
            || match (before.value, now.value) {
                (Ok(before), Ok(now)) => now < before,
                (Err(before), Err(now)) => now.detect_reset(before),
                _ => true,
            }
    })
}
