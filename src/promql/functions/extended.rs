//! `rate`, `increase` and `delta` over `anchored` and `smoothed` ranges: no extrapolation; the edges of the window are
//! the last sample before it, or lie on the line between the samples on both sides.

use super::RangeCall;
use super::rate::{Kind, empty_like};
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::eval::window::Window;
use crate::promql::expr::Extension;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Returns the time behind which the samples of an anchored range lie: just before the anchor where there is one.
pub(super) fn anchor(window: &Window<'_>, call: &RangeCall<'_>) -> i64 {
    let oldest = window.from_ms.saturating_sub(call.context.lookback_ms);
    let newest_before = |times: &[i64]| {
        let place = times.partition_point(|t| *t <= window.from_ms).checked_sub(1)?;
        (times[place] > oldest).then_some(times[place])
    };
    let samples = window.samples;
    let anchor = newest_before(&samples.times).max(newest_before(&samples.histograms.times));
    anchor.map_or(window.from_ms, |at_ms| at_ms - 1)
}

/// Returns the places that the extended range reaches.
fn reach(times: &[i64], window: &Window<'_>, call: &RangeCall<'_>) -> Range<usize> {
    let lookback_ms = call.context.lookback_ms;
    let oldest = window.from_ms.saturating_sub(lookback_ms);
    let newest = if call.extension == Extension::Smoothed { window.to_ms.saturating_add(lookback_ms) } else { window.to_ms };
    times.partition_point(|t| *t <= oldest)..times.partition_point(|t| *t <= newest)
}

/// First and last place to look at, or nothing where no sample lies behind the window's start.
fn places(times: &[i64], window: &Window<'_>, smoothed: bool) -> Option<(usize, usize)> {
    let end = times.len().checked_sub(1)?;
    let first = times[..end].partition_point(|t| *t <= window.from_ms).saturating_sub(1);
    let last = if smoothed { times[..end].partition_point(|t| *t < window.to_ms) } else { end };
    (times[last] > window.from_ms && times[first] <= window.to_ms).then_some((first, last))
}

/// Returns what lies between two places, and how far on the way a time is.
fn weight(times: &[i64], place: usize, at_ms: i64) -> f64 {
    (at_ms - times[place]) as f64 / (times[place + 1] - times[place]) as f64
}

pub(super) fn rate(window: &Window<'_>, call: &RangeCall<'_>, kind: Kind) -> Option<Value> {
    let samples = window.samples;
    let floats = reach(&samples.times, window, call);
    let histograms = reach(&samples.histograms.times, window, call);
    match (floats.is_empty(), histograms.is_empty()) {
        (false, false) => {
            call.note_mixed();
            None
        }
        (true, true) => None,
        (false, true) => {
            float_rate(&samples.times[floats.clone()], &samples.floats()[floats], window, call, kind).map(Value::Float)
        }
        (true, false) => {
            let values = &samples.histograms.values[histograms.clone()];
            let increase = histogram_rate(&samples.histograms.times[histograms], values, window, call, kind)?;
            let seconds = window.range_ms() as f64 / 1000.0;
            let value = if kind.per_second { increase.divided(seconds) } else { increase };
            Some(Value::Histogram(Arc::new(value)))
        }
    }
}

fn float_rate(times: &[i64], values: &[f64], window: &Window<'_>, call: &RangeCall<'_>, kind: Kind) -> Option<f64> {
    let smoothed = call.extension == Extension::Smoothed;
    let (mut first, mut last) = places(times, window, smoothed)?;
    let mut left = values[first];
    if smoothed && times[first] < window.from_ms {
        let (mut from, to) = (values[first], values[first + 1]);
        if kind.counter && to < from {
            from = 0.0;
        }
        left = from + (to - from) * weight(times, first, window.from_ms);
    }
    let mut right = values[last];
    if smoothed && last > 0 && times[last] > window.to_ms {
        let (from, mut to) = (values[last - 1], values[last]);
        if kind.counter && to < from {
            to += from;
        }
        right = from + (to - from) * weight(times, last - 1, window.to_ms);
    }
    let mut result = right - left;
    if kind.counter {
        if times[first] <= window.from_ms {
            first += 1;
        }
        let inside = if times[last] >= window.to_ms { last } else { last + 1 };
        last = inside.max(first);
        let mut before = left;
        for value in &values[first..last] {
            if *value < before {
                result += before;
            }
            before = *value;
        }
        if right < before {
            result += before;
        }
    }
    Some(if kind.per_second { result / (window.range_ms() as f64 / 1000.0) } else { result })
}

fn on_the_way(from: &FloatHistogram, to: &FloatHistogram, weight: f64) -> Option<FloatHistogram> {
    let mut value = crate::promql::eval::interpolate_histograms(from, to, weight)?;
    value.counter_reset_hint = CounterResetHint::Unknown;
    Some(value)
}

fn histogram_rate(
    times: &[i64],
    values: &[Arc<FloatHistogram>],
    window: &Window<'_>,
    call: &RangeCall<'_>,
    kind: Kind,
) -> Option<FloatHistogram> {
    let smoothed = call.extension == Extension::Smoothed;
    let (first, last) = places(times, window, smoothed)?;
    note_hints(&values[first..=last], call, kind);
    let outcome = edges(times, values, (first, last), window, kind, smoothed).and_then(|(left, right)| {
        let begin = if times[first] <= window.from_ms { first + 1 } else { first };
        let end = if times[last] >= window.to_ms { last } else { last + 1 };
        increase(&left, &values[begin..end.max(begin)], &right, call, kind)
    });
    if outcome.is_none() {
        call.note(&Note::MixedSchemas(call.metric.to_owned()));
    }
    outcome
}

fn note_hints(values: &[Arc<FloatHistogram>], call: &RangeCall<'_>, kind: Kind) {
    let is_gauge = |histogram: &Arc<FloatHistogram>| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if kind.counter && values.iter().any(is_gauge) {
        call.note(&Note::NotCounterHistogram(call.metric.to_owned()));
    }
    let both_gauges = values.first().is_some_and(is_gauge) && values.last().is_some_and(is_gauge);
    if !kind.counter && !both_gauges {
        call.note(&Note::NotGaugeHistogram(call.metric.to_owned()));
    }
}

type Edge<'a> = Cow<'a, FloatHistogram>;

/// Returns the values at both edges of the window.
fn edges<'a>(
    times: &[i64],
    values: &'a [Arc<FloatHistogram>],
    (first, last): (usize, usize),
    window: &Window<'_>,
    kind: Kind,
    smoothed: bool,
) -> Option<(Edge<'a>, Edge<'a>)> {
    let mut left = Cow::Borrowed(&*values[first]);
    if smoothed && times[first] < window.from_ms {
        let to = &values[first + 1];
        let reset = kind.counter && to.detect_reset(&values[first]);
        let from = if reset { Cow::Owned(empty_like(to)) } else { Cow::Borrowed(&*values[first]) };
        left = Cow::Owned(on_the_way(&from, to, weight(times, first, window.from_ms))?);
    }
    let mut right = Cow::Borrowed(&*values[last]);
    if smoothed && last > 0 && times[last] > window.to_ms {
        let from = &values[last - 1];
        let mut to = Cow::Borrowed(&*values[last]);
        if kind.counter && to.detect_reset(from) {
            to.to_mut().add(from).ok()?;
        }
        right = Cow::Owned(on_the_way(from, &to, weight(times, last - 1, window.to_ms))?);
    }
    Some((left, right))
}

fn increase(
    left: &FloatHistogram,
    inside: &[Arc<FloatHistogram>],
    right: &FloatHistogram,
    call: &RangeCall<'_>,
    kind: Kind,
) -> Option<FloatHistogram> {
    let mut result = right.clone();
    if result.sub(left).ok()?.bounds_reconciled {
        call.note(&Note::BoundsReconciled("subtraction"));
    }
    if kind.counter {
        let mut before = left;
        for value in inside.iter().map(|value| &**value).chain([right]) {
            if !std::ptr::eq(value, before) && value.detect_reset(before) && result.add(before).ok()?.bounds_reconciled {
                call.note(&Note::BoundsReconciled("addition"));
            }
            before = value;
        }
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    Some(result.compacted())
}
