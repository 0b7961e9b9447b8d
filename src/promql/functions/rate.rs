//! `rate`, `increase`, `delta`, `irate` and `idelta`.

use super::{RangeCall, extended};
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::eval::Outcome;
use crate::promql::eval::window::Window;
use crate::promql::expr::Extension;
use std::sync::Arc;

type Answer = Outcome<Option<Value>>;

/// Which of the three it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) counter: bool,
    pub(super) per_second: bool,
}

impl Kind {
    /// Returns by what to multiply the difference of last and first sample.
    pub(super) fn factor(self, interval: f64, to_start: f64, to_end: f64, range_ms: i64) -> f64 {
        let factor = (interval + to_start + to_end) / interval;
        if self.per_second { factor / (range_ms as f64 / 1000.0) } else { factor }
    }
}

/// Places of a window's samples, end exclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) low: usize,
    pub(super) high: usize,
}

impl Stretch {
    pub(super) const fn len(self) -> usize {
        self.high.saturating_sub(self.low)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.high <= self.low
    }
}

/// Returns the seconds between first and last sample, and those to extend before and behind: to the window's edges, but only
/// half an average distance where an edge is farther than a sample would be.
pub(super) fn extents((from_ms, to_ms): (i64, i64), (first_ms, last_ms): (i64, i64), distance: f64) -> (f64, f64, f64) {
    let seconds = |from_ms: i64, to_ms: i64| (to_ms - from_ms) as f64 / 1000.0;
    let threshold = distance * 1.1;
    let cut = |length: f64| if length >= threshold { distance / 2.0 } else { length };
    (seconds(first_ms, last_ms), cut(seconds(from_ms, first_ms)), cut(seconds(last_ms, to_ms)))
}

pub(super) fn rate(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    any(window, call, Kind { counter: true, per_second: true })
}

pub(super) fn increase(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    any(window, call, Kind { counter: true, per_second: false })
}

pub(super) fn delta(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    any(window, call, Kind { counter: false, per_second: false })
}

fn any(window: &Window<'_>, call: &RangeCall<'_>, kind: Kind) -> Answer {
    if call.extension != Extension::None {
        return Ok(extended::rate(window, call, kind));
    }
    if !window.floats().is_empty() && !window.histograms().is_empty() {
        call.note_mixed();
        return Ok(None);
    }
    Ok(if window.histograms().is_empty() {
        float_rate(window, call, kind).map(Value::Float)
    } else {
        histogram_rate(window, call, kind).map(|histogram| Value::Histogram(Arc::new(histogram)))
    })
}

/// Returns whether the start timestamps say that a counter began anew between two samples (0: none).
///
/// A start within the gap, after the sample before and before this one, says so. A start exactly at the sample before says
/// so for deltas (each sample starts where the last ended), not for a counter whose true start is unknown: that one carries
/// its own first time as start.
pub(super) const fn restarted(before_ms: i64, before_start_ms: i64, now_ms: i64, now_start_ms: i64) -> bool {
    if now_start_ms == 0 || now_start_ms >= now_ms {
        return false;
    }
    if now_start_ms == before_ms {
        return before_start_ms != 0 && before_start_ms < before_ms;
    }
    now_start_ms > before_ms
}

/// Notes starts that reach back over the sample before without being its start.
fn note_overlap(times: &[i64], starts: &[i64], call: &RangeCall<'_>) {
    let overlaps = |i: usize| starts[i] != 0 && starts[i] < times[i - 1] && starts[i] != starts[i - 1];
    if (1..starts.len()).any(overlaps) {
        call.note(&Note::StartOverlap(call.metric.to_owned()));
    }
}

/// Start timestamps of a window where they count, else nothing.
fn starts<'a>(starts: &'a [i64], call: &RangeCall<'_>, kind: Kind) -> &'a [i64] {
    if kind.counter && call.context.engine.use_start_timestamps { starts } else { &[] }
}

/// Returns the start of the first sample where the counter was zero within the window, if that is known.
fn zero_point(window: &Window<'_>, times: &[i64], starts: &[i64]) -> Option<i64> {
    let (start, first) = (*starts.first()?, *times.first()?);
    (start != 0 && start > window.from_ms && start < first).then_some(start)
}

/// What extrapolation needs to know.
struct Sampled {
    first_ms: i64,
    last_ms: i64,
    /// Average distance of the samples in seconds.
    distance: f64,
    /// Value of the counter at the first sample, where it cannot have been negative before.
    counter_first: Option<f64>,
    /// How far it went up.
    increase: f64,
}

/// Returns by what to multiply the difference of last and first sample.
fn extrapolation(window: &Window<'_>, sampled: &Sampled, kind: Kind) -> f64 {
    let edges = (window.from_ms, window.to_ms);
    let (interval, mut to_start, to_end) = extents(edges, (sampled.first_ms, sampled.last_ms), sampled.distance);
    if let Some(first) = sampled.counter_first
        && sampled.increase > 0.0
        && first >= 0.0
    {
        let to_zero = interval * (first / sampled.increase);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    kind.factor(interval, to_start, to_end, window.range_ms())
}

fn distance(times: &[i64]) -> f64 {
    match times {
        [first, .., last] => (last - first) as f64 / 1000.0 / (times.len() - 1) as f64,
        _ => 0.0,
    }
}

fn float_rate(window: &Window<'_>, call: &RangeCall<'_>, kind: Kind) -> Option<f64> {
    let (times, values) = (window.times(), window.floats());
    let starts = starts(window.starts(), call, kind);
    note_overlap(times, starts, call);
    let zero = zero_point(window, times, starts);
    if values.len() < 2 && zero.is_none() {
        return None;
    }
    let (first, last) = (*values.first()?, *values.last()?);
    let mut result = if zero.is_some() { last } else { last - first };
    if kind.counter {
        for i in 1..values.len() {
            let began_anew = !starts.is_empty() && restarted(times[i - 1], starts[i - 1], times[i], starts[i]);
            if values[i] < values[i - 1] || began_anew {
                result += values[i - 1];
            }
        }
    }
    let counter_first = if zero.is_some() { 0.0 } else { first };
    let sampled = Sampled {
        first_ms: zero.unwrap_or(times[0]),
        last_ms: times[times.len() - 1],
        distance: distance(times),
        counter_first: kind.counter.then_some(counter_first),
        increase: result,
    };
    Some(result * extrapolation(window, &sampled, kind))
}

fn histogram_rate(window: &Window<'_>, call: &RangeCall<'_>, kind: Kind) -> Option<FloatHistogram> {
    let (times, values) = (window.histogram_times(), window.histograms());
    let starts = starts(window.histogram_starts(), call, kind);
    note_overlap(times, starts, call);
    let zero = zero_point(window, times, starts);
    if values.len() < 2 && zero.is_none() {
        return None;
    }
    let began_anew = |i: usize| !starts.is_empty() && restarted(times[i - 1], starts[i - 1], times[i], starts[i]);
    let result = histogram_increase(values, zero.is_some(), &began_anew, call, kind)?;
    let counter_first = if zero.is_some() { 0.0 } else { values[0].count };
    let sampled = Sampled {
        first_ms: zero.unwrap_or(times[0]),
        last_ms: times[times.len() - 1],
        distance: distance(times),
        counter_first: kind.counter.then_some(counter_first),
        increase: result.count,
    };
    Some(result.scaled(extrapolation(window, &sampled, kind)))
}

/// Returns a histogram of the layout of another, without observations.
pub(super) fn empty_like(histogram: &FloatHistogram) -> FloatHistogram {
    FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, zero_threshold: 0.0, ..histogram.nothing_lost() }
}

/// Returns last minus first, resets added. `from_zero`: the counter is known to have been empty before the first sample.
pub(super) fn histogram_increase(
    values: &[Arc<FloatHistogram>],
    from_zero: bool,
    began_anew: &dyn Fn(usize) -> bool,
    call: &RangeCall<'_>,
    kind: Kind,
) -> Option<FloatHistogram> {
    let (first, last) = (values.first()?, values.last()?);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    let mixed = || call.note(&Note::MixedSchemas(call.metric.to_owned()));
    if kind.counter && values.iter().any(|histogram| is_gauge(histogram)) {
        call.note(&Note::NotCounterHistogram(call.metric.to_owned()));
    }
    let both_gauges = is_gauge(first) && is_gauge(last);
    if !kind.counter && !both_gauges {
        call.note(&Note::NotGaugeHistogram(call.metric.to_owned()));
    }
    let mut from = Arc::clone(first);
    if from_zero {
        from = Arc::new(empty_like(first));
    } else if kind.counter
        && let Some(second) = values.get(1)
        && (second.detect_reset(first) || began_anew(1))
    {
        // What lies before a reset counts as it is; its layout no longer matters.
        from = Arc::new(empty_like(second));
    }
    let custom = from.uses_custom_buckets();
    let alike = |histogram: &Arc<FloatHistogram>| histogram.uses_custom_buckets() == custom;
    let between = values.get(1..).unwrap_or_default();
    if !alike(last) || (kind.counter && !between.iter().all(alike)) {
        mixed();
        return None;
    }
    let coarsest = if kind.counter { between.iter().map(|histogram| histogram.schema).min() } else { None };
    let schema = coarsest.unwrap_or(last.schema).min(last.schema).min(from.schema);
    let mut result = last.at_schema(schema);
    let merged = result.sub(&from).ok()?;
    if merged.bounds_reconciled {
        call.note(&Note::BoundsReconciled("subtraction"));
    }
    if kind.counter {
        let nulled = !Arc::ptr_eq(&from, first) && !from_zero;
        for i in 1..values.len() {
            let before = if i == 1 && nulled { &from } else { &values[i - 1] };
            if values[i].detect_reset(before) || began_anew(i) {
                match result.add(before) {
                    Ok(merged) if merged.bounds_reconciled => call.note(&Note::BoundsReconciled("addition")),
                    Ok(_) => {}
                    Err(_) => {
                        mixed();
                        return None;
                    }
                }
            }
        }
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    Some(result.compacted())
}

pub(super) fn irate(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    Ok(instant_value(window, call, Kind { counter: true, per_second: true }))
}

pub(super) fn idelta(window: &Window<'_>, call: &RangeCall<'_>) -> Answer {
    Ok(instant_value(window, call, Kind { counter: false, per_second: false }))
}

/// Compares the last two samples.
fn instant_value(window: &Window<'_>, call: &RangeCall<'_>, kind: Kind) -> Option<Value> {
    let mut newest: Vec<(i64, i64, Value)> = Vec::with_capacity(4);
    let start = |starts: &[i64], i: usize| starts.get(i).copied().unwrap_or(0);
    for i in window.times().len().saturating_sub(2)..window.times().len() {
        newest.push((window.times()[i], start(window.starts(), i), Value::Float(window.floats()[i])));
    }
    for i in window.histogram_times().len().saturating_sub(2)..window.histogram_times().len() {
        let value = Value::Histogram(Arc::clone(&window.histograms()[i]));
        newest.push((window.histogram_times()[i], start(window.histogram_starts(), i), value));
    }
    newest.sort_by_key(|(at_ms, _, _)| *at_ms);
    let [.., (before_ms, before_start, before), (now_ms, now_start, now)] = newest.as_slice() else { return None };
    let seconds = (now_ms - before_ms) as f64 / 1000.0;
    if seconds == 0.0 {
        return None;
    }
    let by_start = kind.counter && call.context.engine.use_start_timestamps;
    let began_anew = by_start && restarted(*before_ms, *before_start, *now_ms, *now_start);
    match (before, now) {
        (Value::Float(before), Value::Float(now)) => {
            let value = if kind.counter && (now < before || began_anew) { *now } else { now - before };
            Some(Value::Float(if kind.per_second { value / seconds } else { value }))
        }
        (Value::Histogram(before), Value::Histogram(now)) => {
            let value = instant_histogram(before, now, began_anew, call, kind)?;
            let value = if kind.per_second { value.divided(seconds) } else { value };
            Some(Value::Histogram(Arc::new(value)))
        }
        _ => {
            call.note_mixed();
            None
        }
    }
}

fn instant_histogram(
    before: &FloatHistogram,
    now: &FloatHistogram,
    began_anew: bool,
    call: &RangeCall<'_>,
    kind: Kind,
) -> Option<FloatHistogram> {
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if kind.counter && (is_gauge(before) || is_gauge(now)) {
        call.note(&Note::NotCounterHistogram(call.metric.to_owned()));
    }
    let both_gauges = is_gauge(before) && is_gauge(now);
    if !kind.counter && !both_gauges {
        call.note(&Note::NotGaugeHistogram(call.metric.to_owned()));
    }
    let mut value = now.clone();
    if !(kind.counter && (began_anew || now.detect_reset(before))) {
        match value.sub(before) {
            Ok(merged) if merged.bounds_reconciled => call.note(&Note::BoundsReconciled("subtraction")),
            Ok(_) => {}
            Err(_) => {
                call.note(&Note::MixedSchemas(call.metric.to_owned()));
                return None;
            }
        }
    }
    value.counter_reset_hint = CounterResetHint::Gauge;
    Some(value.compacted())
}
