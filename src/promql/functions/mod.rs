//! The functions of PromQL: what they compute, apart from how columns reach them.
//!
//! * [`over_time`], [`rate`], [`extended`], [`regression`]: one window in, one value out
//! * [`columns`]: the commonest of them for all windows of a series at once
//! * [`math`], [`dates`]: one number in, one out
//! * [`quantile`], [`buckets`]: native and classic histograms

pub(super) mod buckets;
pub(super) mod columns;
pub(super) mod dates;
pub(super) mod extended;
pub(super) mod hash;
pub(super) mod math;
pub(super) mod over_time;
pub(super) mod quantile;
pub(super) mod rate;
mod rate_columns;
pub(super) mod regression;
pub(super) mod sums;

use super::annotations::Note;
use super::eval::window::Window;
use super::eval::{Context, Outcome};
use super::expr::{Extension, Span};
use crate::model::sample::Value;

/// What a function over a range knows besides the window.
pub(super) struct RangeCall<'a> {
    pub(super) context: &'a Context<'a>,
    /// The metric's name, for notes.
    pub(super) metric: &'a str,
    /// Where the range argument stands.
    pub(super) span: Span,
    /// Where the first argument stands.
    pub(super) first_span: Span,
    /// Values of the scalar arguments at this step, in order.
    pub(super) scalars: &'a [f64],
    /// `anchored` or `smoothed`.
    pub(super) extension: Extension,
}

impl RangeCall<'_> {
    pub(super) fn note(&self, note: &Note) {
        self.context.note(note, self.span);
    }

    /// Notes that histograms were left out of a range that has floats too.
    pub(super) fn note_ignored_histograms(&self, window: &Window<'_>) {
        if !window.histograms().is_empty() && !window.floats().is_empty() {
            self.note(&Note::HistogramIgnoredInMixedRange(self.metric.to_owned()));
        }
    }

    pub(super) fn note_mixed(&self) {
        self.note(&Note::MixedFloatsHistograms(self.metric.to_owned()));
    }
}

/// A function of one window.
pub(super) type Kernel = fn(&Window<'_>, &RangeCall<'_>) -> Outcome<Option<Value>>;

/// Returns the function over ranges with that name, and whether it keeps the metric's name.
pub(super) fn kernel(name: &str) -> Option<(Kernel, bool)> {
    let kernel: Kernel = match name {
        "last_over_time" => return Some((over_time::last, true)),
        "first_over_time" => return Some((over_time::first, true)),
        "rate" => rate::rate,
        "increase" => rate::increase,
        "delta" => rate::delta,
        "irate" => rate::irate,
        "idelta" => rate::idelta,
        "changes" => over_time::changes,
        "resets" => over_time::resets,
        "deriv" => regression::deriv,
        "predict_linear" => regression::predict_linear,
        "double_exponential_smoothing" | "holt_winters" => regression::double_exponential_smoothing,
        "sum_over_time" => over_time::sum,
        "avg_over_time" => over_time::avg,
        "count_over_time" => over_time::count,
        "min_over_time" => over_time::min,
        "max_over_time" => over_time::max,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        "present_over_time" => over_time::present,
        "quantile_over_time" => over_time::quantile,
        "mad_over_time" => over_time::mad,
        "ts_of_first_over_time" => over_time::ts_of_first,
        "ts_of_last_over_time" => over_time::ts_of_last,
        "ts_of_min_over_time" => over_time::ts_of_min,
        "ts_of_max_over_time" => over_time::ts_of_max,
        _ => return None,
    };
    Some((kernel, false))
}
