//! Classic and native histograms of a vector, side by side: `histogram_quantile` and `histogram_fraction`.

use super::quantile::{
    ClassicBucket, Nans, bucket_fraction, bucket_quantile, histogram_fraction, histogram_quantile, make_monotonic, order,
};
use crate::model::histogram::FloatHistogram;
use crate::model::labels::{BUCKET_LABEL, Labels, METRIC_NAME};
use crate::model::number::parse_float;
use crate::promql::annotations::Note;
use crate::promql::column::{Column, Series, is_absent, is_metadata_label};
use crate::promql::eval::{Context, Grid};
use crate::promql::expr::Span;
use hashbrown::HashMap;

/// The classic buckets of one histogram: places of their series, by bound.
struct Classic {
    labels: Labels,
    buckets: Vec<(f64, usize)>,
}

/// The histograms of a vector.
pub(in crate::promql) struct Histograms<'v> {
    series: &'v [Series],
    classic: Vec<Classic>,
    /// Places of series with native histograms, each with its classic twin.
    native: Vec<(usize, Option<usize>)>,
    span: Span,
}

/// Returns what makes buckets one histogram: the labels without the bound.
fn key(labels: &Labels) -> Labels {
    labels.without(|name| name == BUCKET_LABEL)
}

impl<'v> Histograms<'v> {
    /// Groups a vector; `span` is where it stands.
    pub(in crate::promql) fn group(context: &Context<'_>, series: &'v [Series], span: Span) -> Self {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut classic: Vec<Classic> = Vec::new();
        let mut native = Vec::new();
        for (place, one) in series.iter().enumerate() {
            if one.column.has_histograms() {
                native.push(place);
            }
            if !(0..one.column.len()).any(|step| one.column.float(step).is_some()) {
                continue;
            }
            let le = one.labels.value(BUCKET_LABEL);
            let Some(bound) = parse_float(le) else {
                let name = one.labels.metric_name().to_owned();
                context.note(&Note::BadBucketLabel { name, le: le.to_owned() }, span);
                continue;
            };
            let key = key(&one.labels);
            let group = *places.entry(key.clone()).or_insert_with(|| {
                classic.push(Classic { labels: key, buckets: Vec::new() });
                classic.len() - 1
            });
            classic[group].buckets.push((bound, place));
        }
        for group in &mut classic {
            group.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let twin = |place: usize| (place, places.get(&key(&series[place].labels)).copied());
        let native = native.into_iter().map(twin).collect();
        Self { series, classic, native, span }
    }

    fn has_classic(&self, group: usize, step: usize) -> bool {
        self.classic[group].buckets.iter().any(|(_, place)| self.series[*place].column.float(step).is_some())
    }

    /// Computes one number for each histogram and step.
    fn each(
        &self,
        context: &Context<'_>,
        grid: Grid,
        native: &dyn Fn(&FloatHistogram, &str, usize) -> f64,
        classic: &dyn Fn(&mut Vec<ClassicBucket>, &Labels, usize) -> f64,
    ) -> Vec<Series> {
        let mut out = Vec::with_capacity(self.native.len() + self.classic.len());
        let mut mixed = vec![Vec::new(); self.classic.len()];
        for (place, twin) in &self.native {
            let one = &self.series[*place];
            let mut column = Column::absent(grid.steps);
            for step in 0..grid.steps {
                let Some(histogram) = one.column.histogram(step) else { continue };
                if let Some(group) = twin.filter(|group| self.has_classic(*group, step)) {
                    mixed[group].push(step);
                    context.note(&Note::MixedClassicNative(one.labels.metric_name().to_owned()), self.span);
                } else {
                    column.set_float(step, native(histogram, one.labels.metric_name(), step));
                }
            }
            out.push(Series { labels: one.labels.clone(), drop_name: true, column });
        }
        let mut buckets = Vec::new();
        for (group, mixed) in self.classic.iter().zip(mixed) {
            let mut column = Column::absent(grid.steps);
            let labels = group.labels.clone();
            // One row of counts for each bound, bounds ascending: each step reads one count of every row.
            let rows: Vec<(f64, &[f64])> =
                group.buckets.iter().map(|(bound, place)| (*bound, self.series[*place].column.floats.as_slice())).collect();
            for step in (0..grid.steps).filter(|step| mixed.is_empty() || !mixed.contains(step)) {
                buckets.clear();
                let counts = rows.iter().map(|(bound, counts)| ClassicBucket { bound: *bound, count: counts[step] });
                buckets.extend(counts.filter(|bucket| !is_absent(bucket.count)));
                if !buckets.is_empty() {
                    column.set_float(step, classic(&mut buckets, &labels, step));
                }
            }
            out.push(Series { labels, drop_name: true, column });
        }
        out.retain(|one| !one.column.is_blank());
        out
    }

    /// Computes a quantile for each step.
    pub(in crate::promql) fn quantiles(&self, context: &Context<'_>, grid: Grid, wanted: &[f64]) -> Vec<Series> {
        let native = |histogram: &FloatHistogram, name: &str, step: usize| {
            let (value, nans) = histogram_quantile(wanted[step], histogram);
            match nans {
                Nans::None => {}
                Nans::Skewed => context.note(&Note::QuantileSkewed(name.to_owned()), self.span),
                Nans::Result => context.note(&Note::QuantileNan(name.to_owned()), self.span),
            }
            value
        };
        let classic = |buckets: &mut Vec<ClassicBucket>, labels: &Labels, step: usize| {
            if !order(buckets) {
                return special(wanted[step]);
            }
            if let Some(forced) = make_monotonic(buckets) {
                let note = Note::MonotonicityForced {
                    name: labels.metric_name().to_owned(),
                    at_ms: grid.at(step),
                    lowest: forced.lowest,
                    highest: forced.highest,
                    difference: forced.difference,
                };
                context.note(&note, self.span);
            }
            bucket_quantile(wanted[step], buckets)
        };
        self.each(context, grid, &native, &classic)
    }

    /// Computes the fraction between two values for each step.
    pub(in crate::promql) fn fractions(&self, context: &Context<'_>, grid: Grid, from: &[f64], to: &[f64]) -> Vec<Series> {
        let native = |histogram: &FloatHistogram, name: &str, step: usize| {
            let (value, nans) = histogram_fraction(from[step], to[step], histogram);
            if nans != Nans::None {
                context.note(&Note::FractionSkewed(name.to_owned()), self.span);
            }
            value
        };
        let classic = |buckets: &mut Vec<ClassicBucket>, _labels: &Labels, step: usize| {
            if order(buckets) { bucket_fraction(from[step], to[step], buckets) } else { f64::NAN }
        };
        self.each(context, grid, &native, &classic)
    }
}

/// Returns the quantile where the buckets do not matter.
fn special(wanted: f64) -> f64 {
    if wanted < 0.0 {
        f64::NEG_INFINITY
    } else if wanted > 1.0 {
        f64::INFINITY
    } else {
        f64::NAN
    }
}

/// Returns mean squared distance from the mean, taking each bucket's middle for its observations.
pub(in crate::promql) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = super::sums::Sum::default();
    for bucket in histogram.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.uses_custom_buckets() {
            f64::midpoint(bucket.upper, bucket.lower)
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let distance = middle - mean;
        sum.push(bucket.count * distance * distance);
    }
    (sum.sum + sum.lost) / histogram.count
}

/// Returns the labels that `absent` answers with: what the matchers ask for, each label once.
pub(in crate::promql) fn asked_for(matchers: &[crate::model::matcher::Matcher]) -> Labels {
    use crate::model::matcher::MatchOp;
    let mut builder = crate::model::labels::LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| !matches!(matcher.name(), METRIC_NAME)) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            builder.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            builder.remove(matcher.name());
        }
    }
    builder.build().without(is_metadata_label)
}
