//! Subqueries: an expression evaluated on a grid of its own; its columns become samples.

use super::Evaluated;
use super::context::{Context, Grid, Outcome};
use super::select::{RangeSeries, WindowSink, Windower};
use super::window::{HistogramSamples, Samples};
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::labels::Labels;
use crate::promql::column::{Column, Series, is_absent};
use crate::promql::engine::QueryError;
use crate::promql::expr::Subquery;
use std::sync::Arc;

impl Context<'_> {
    /// Gives the windows of a subquery, series by series.
    pub(super) fn subquery(&self, grid: Grid, subquery: &Subquery, sink: &mut WindowSink<'_>) -> Outcome<()> {
        let references = self.references(grid, &subquery.shift)?;
        let range_ms = self.range_ms(&subquery.range)?;
        let step_ms = match &subquery.step {
            None => self.subquery_step_ms,
            Some(step) => self.duration_ms(step)?,
        };
        if step_ms <= 0 {
            return Err(QueryError::NoDuration);
        }
        // The first multiple of the step within the first window, which is open on the left.
        let from = references.first().saturating_sub(range_ms);
        let inner = Grid::new((from.div_euclid(step_ms) + 1) * step_ms, references.last(), step_ms);
        // Refused before anything is made of it: a step may be a millisecond and the range a century.
        if inner.steps > self.engine.max_samples {
            return Err(QueryError::TooManySamples);
        }
        if inner.steps == 0 {
            return Ok(());
        }
        let before = self.held.get();
        let evaluate = || self.counting_resets(false, || self.eval(inner, &subquery.expr));
        let (evaluated, tally) = self.apart(inner.steps, evaluate);
        let series = match evaluated? {
            Evaluated::Vector(series) => series,
            Evaluated::Scalar(floats) => {
                vec![Series { labels: Labels::empty(), drop_name: false, column: Column::of(floats) }]
            }
            Evaluated::Text(_) => return Err(Self::fail("a string has no range")),
        };
        let times: Arc<[i64]> = inner.times().collect();
        self.count_subquery(&times, &tally, &references, range_ms);
        let mut windower = Windower::new(references, range_ms);
        for one in series {
            self.breathe()?;
            let samples = samples(&times, &one.column);
            windower.give(RangeSeries { labels: one.labels, drop_name: one.drop_name }, &samples, sink)?;
        }
        self.held.set(before);
        Ok(())
    }
}

/// Forgets what a histogram says about the sample before it: within a subquery that is another one.
fn without_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::Reset | CounterResetHint::NotReset => {
            let plain = FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..(**histogram).clone() };
            Arc::new(plain)
        }
        CounterResetHint::Unknown | CounterResetHint::Gauge => Arc::clone(histogram),
    }
}

fn samples(times: &Arc<[i64]>, column: &Column) -> Samples {
    let mut histograms = HistogramSamples::default();
    if !column.floats.iter().any(|value| is_absent(*value)) {
        return Samples::of(Arc::clone(times), column.floats.to_vec(), None, histograms);
    }
    if column.has_histograms() {
        for step in 0..column.len() {
            if let Some(histogram) = column.histogram(step) {
                histograms.times.push(times[step]);
                histograms.values.push(without_hint(histogram));
            }
        }
    }
    let present = || column.floats.iter().zip(times.iter()).filter(|(value, _)| !is_absent(**value));
    let times = present().map(|(_, at_ms)| *at_ms).collect();
    Samples::of(times, present().map(|(value, _)| *value).collect(), None, histograms)
}

#[cfg(test)]
mod tests {
    use crate::promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
    use crate::promql::parse::parse;
    use crate::promql::value::QueryValue;
    use crate::storage::select::memory::MemoryStore;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn a_subquery_without_a_step_takes_the_one_that_is_in_force() {
        let step_ms = Arc::new(AtomicI64::new(5000));
        let shown = Arc::clone(&step_ms);
        let engine = Engine::new(EngineOptions::default()).with_subquery_step(Arc::new(move || shown.load(Ordering::SeqCst)));
        let counted = || {
            let expr = parse("scalar(count_over_time(vector(1)[5m:]))").expect("parses");
            let answer = engine.instant(&MemoryStore::new(), &expr, 1_700_000_000_000, &QueryOptions::default());
            match answer.expect("answers").value {
                QueryValue::Scalar { value, .. } => value,
                other => panic!("{other:?}"),
            }
        };
        assert!((counted() - 60.0).abs() < 0.5);
        step_ms.store(10_000, Ordering::SeqCst);
        assert!((counted() - 30.0).abs() < 0.5);
    }

    #[test]
    fn a_century_of_milliseconds_is_refused_before_anything_is_made_of_it() {
        let engine = Engine::new(EngineOptions::default());
        for text in ["count_over_time(vector(1)[100y:1ms])", "sum_over_time(sum_over_time(vector(1)[100y:1ms])[1h:1m])"] {
            let bomb = parse(text).expect("parses");
            let refused = engine.instant(&MemoryStore::new(), &bomb, 1_700_000_000_000, &QueryOptions::default());
            assert!(matches!(refused, Err(QueryError::TooManySamples)), "{text}: {refused:?}");
        }
    }
}
