//! `deriv`, `predict_linear` and `double_exponential_smoothing`.

#![expect(clippy::float_cmp, reason = "a line is level only where it is so exactly")]

use super::RangeCall;
use super::sums::Sum;
use crate::model::sample::Value;
use crate::promql::eval::window::Window;
use crate::promql::eval::{Context, Outcome};

/// Returns slope and intercept of the line that fits best, times counted from `origin_ms`.
fn line(times: &[i64], values: &[f64], origin_ms: i64) -> (f64, f64) {
    let first = values.first().copied().unwrap_or(f64::NAN);
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut constant = true;
    for (at_ms, y) in times.iter().zip(values) {
        constant &= *y == first;
        let x = (at_ms - origin_ms) as f64 / 1e3;
        x_sum.push(x);
        y_sum.push(*y);
        xy_sum.push(x * y);
        xx_sum.push(x * x);
    }
    if constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = values.len() as f64;
    let plain = |sum: Sum| sum.sum + sum.lost;
    let (x, y, xy, xx) = (plain(x_sum), plain(y_sum), plain(xy_sum), plain(xx_sum));
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}

pub(super) fn deriv(window: &Window<'_>, call: &RangeCall<'_>) -> Outcome<Option<Value>> {
    call.note_ignored_histograms(window);
    let (times, values) = (window.times(), window.floats());
    if values.len() < 2 {
        return Ok(None);
    }
    Ok(Some(Value::Float(line(times, values, times[0]).0)))
}

pub(super) fn predict_linear(window: &Window<'_>, call: &RangeCall<'_>) -> Outcome<Option<Value>> {
    call.note_ignored_histograms(window);
    let Some(&ahead) = call.scalars.first() else { return Ok(None) };
    if window.floats().len() < 2 {
        return Ok(None);
    }
    let (slope, intercept) = line(window.times(), window.floats(), window.at_ms);
    Ok(Some(Value::Float(slope * ahead + intercept)))
}

pub(super) fn double_exponential_smoothing(window: &Window<'_>, call: &RangeCall<'_>) -> Outcome<Option<Value>> {
    let &[smoothing, trend_factor] = call.scalars else { return Ok(None) };
    for (word, short, factor) in [("smoothing", "sf", smoothing), ("trend", "tf", trend_factor)] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(Context::fail(format!("invalid {word} factor. Expected: 0 < {short} < 1, got: {factor:.6}")));
        }
    }
    call.note_ignored_histograms(window);
    let values = window.floats();
    if values.len() < 2 {
        return Ok(None);
    }
    let (mut before, mut level, mut trend) = (0.0, values[0], values[1] - values[0]);
    for (place, value) in values.iter().enumerate().skip(1) {
        let observed = smoothing * value;
        if place > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let expected = (1.0 - smoothing) * (level + trend);
        (before, level) = (level, observed + expected);
    }
    Ok(Some(Value::Float(level)))
}
