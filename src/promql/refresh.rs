//! Answers of range queries, kept: a panel that is drawn again computes the steps that are new.
//!
//! A step's value depends on samples up to that step, so it holds until a sample at or before it is written or deleted; the
//! store's [`ChangeLog`] says how far back changes went, whether they came late or not. Expressions that look ahead of
//! their step, or at the query's own ends, are not kept; nor are answers with histograms, warnings or infos.

use super::engine::{Engine, QueryError, QueryOptions};
use super::expr::{DurationExpr, Expr, ExprKind, Extension, Shift, VectorSelector};
use super::value::{MatrixSeries, QueryResult, QueryValue};
use crate::promql::deep::deep;
use crate::storage::changes::{ChangeLog, Mark};
use crate::storage::select::Querier;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Points kept of all answers, if nothing else is said: 64 MiB.
const POINTS_MAX: usize = (64 << 20) / size_of::<(i64, f64)>();
/// A series costs its labels too, in points.
const SERIES_POINTS: usize = 16;

/// What makes two queries the same but for their ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    text: String,
    step_ms: i64,
    /// Where the steps lie between two multiples of the step.
    phase_ms: i64,
    lookback_ms: Option<i64>,
    /// Step of subqueries that name none: a reload may change it.
    subquery_step_ms: i64,
}

/// The answer from one step to another.
#[derive(Debug)]
struct Kept {
    start_ms: i64,
    end_ms: i64,
    /// The values were right at this moment.
    mark: Mark,
    /// Sorted by labels.
    series: Vec<MatrixSeries>,
    points: usize,
}

#[derive(Debug, Default)]
struct Entries {
    kept: HashMap<Key, (Arc<Kept>, u64)>,
    points: usize,
    uses: u64,
}

/// The kept answers. Share it by `Arc`.
#[derive(Debug)]
pub struct RefreshCache {
    entries: Mutex<Entries>,
    points_max: usize,
}

impl Default for RefreshCache {
    fn default() -> Self {
        Self::new(POINTS_MAX)
    }
}

impl RefreshCache {
    /// Returns a cache of about so many points.
    #[must_use]
    pub fn new(points_max: usize) -> Self {
        Self { entries: Mutex::default(), points_max }
    }

    /// Answers as [`Engine::range`] does, computing only steps that are not known.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn range(
        &self,
        engine: &Engine,
        querier: &dyn Querier,
        expr: &Expr,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let whole = |from_ms: i64| engine.range(querier, expr, from_ms, end_ms, step_ms, options);
        let plain = !options.per_step_stats && options.explain.is_none();
        let changes = querier.changes().filter(|_| plain && step_ms > 0 && start_ms <= end_ms && holds(expr));
        let Some(changes) = changes else { return whole(start_ms) };
        let key = Key {
            subquery_step_ms: engine.subquery_step_ms(),
            text: super::print::one_line(expr),
            step_ms,
            phase_ms: start_ms.rem_euclid(step_ms),
            lookback_ms: options.lookback_ms,
        };
        // Before anything is read: what is written meanwhile may be missing, and is found by the mark next time.
        let mark = changes.mark();
        let last_ms = start_ms + (end_ms - start_ms) / step_ms * step_ms;
        let known = self.known(&key).and_then(|kept| Some((usable(&kept, changes, start_ms, last_ms, step_ms)?, kept)));
        let mut result = match known {
            None => whole(start_ms)?,
            Some((until_ms, kept)) => {
                let mut result = if until_ms < last_ms { whole(until_ms + step_ms)? } else { nothing() };
                if let QueryValue::Matrix(fresh) = &mut result.value {
                    *fresh = joined(&kept.series, std::mem::take(fresh), start_ms, until_ms);
                }
                result
            }
        };
        self.keep(key, (start_ms, last_ms), mark, &mut result);
        Ok(result)
    }

    fn known(&self, key: &Key) -> Option<Arc<Kept>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let uses = entries.uses;
        let (kept, used) = entries.kept.get_mut(key)?;
        *used = uses;
        Some(Arc::clone(kept))
    }

    fn keep(&self, key: Key, (start_ms, end_ms): (i64, i64), mark: Mark, result: &mut QueryResult) {
        let QueryValue::Matrix(series) = &result.value else { return };
        let points = series.iter().map(|one| one.floats.len() + SERIES_POINTS).sum();
        let said = !result.warnings.is_empty() || !result.infos.is_empty();
        if said || points > self.points_max / 4 || series.iter().any(|one| !one.histograms.is_empty()) {
            return;
        }
        let kept = Arc::new(Kept { start_ms, end_ms, mark, series: series.clone(), points });
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let uses = entries.uses;
        entries.points += points;
        if let Some((old, _)) = entries.kept.insert(key, (kept, uses)) {
            entries.points -= old.points;
        }
        while entries.points > self.points_max {
            let oldest = entries.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some((gone, _)) = oldest.and_then(|key| entries.kept.remove(&key)) else { break };
            entries.points -= gone.points;
        }
    }
}

fn nothing() -> QueryResult {
    QueryResult {
        value: QueryValue::Matrix(Vec::new()),
        warnings: Vec::new(),
        infos: Vec::new(),
        stats: super::value::QueryStats::default(),
        explained: None,
    }
}

/// Returns the last step up to which a kept answer still holds for a query, or nothing where it is of no use.
fn usable(kept: &Kept, changes: &ChangeLog, start_ms: i64, last_ms: i64, step_ms: i64) -> Option<i64> {
    if kept.start_ms > start_ms {
        return None;
    }
    let mut until_ms = kept.end_ms.min(last_ms);
    let changed_ms = changes.oldest_since(kept.mark);
    if changed_ms <= until_ms {
        let steps_before = changed_ms.checked_sub(1)?.checked_sub(start_ms)?.div_euclid(step_ms);
        until_ms = start_ms + steps_before * step_ms;
    }
    (until_ms >= start_ms).then_some(until_ms)
}

/// Puts new points behind kept ones. Both lists are sorted by labels.
fn joined(kept: &[MatrixSeries], fresh: Vec<MatrixSeries>, start_ms: i64, until_ms: i64) -> Vec<MatrixSeries> {
    let mut out = Vec::with_capacity(kept.len().max(fresh.len()));
    let mut fresh = fresh.into_iter().peekable();
    for one in kept {
        while let Some(new) = fresh.next_if(|new| new.labels < one.labels) {
            out.push(new);
        }
        let from = one.floats.partition_point(|(at_ms, _)| *at_ms < start_ms);
        let to = one.floats.partition_point(|(at_ms, _)| *at_ms <= until_ms);
        let mut floats = one.floats.get(from..to).unwrap_or_default().to_vec();
        let mut histograms = Vec::new();
        if let Some(new) = fresh.next_if(|new| new.labels == one.labels) {
            floats.extend(new.floats);
            histograms = new.histograms;
        }
        if !floats.is_empty() || !histograms.is_empty() {
            out.push(MatrixSeries { labels: one.labels.clone(), floats, histograms });
        }
    }
    out.extend(fresh);
    out
}

/// Returns whether the value at a step depends on nothing but samples up to that step.
fn holds(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => holds(inner),
        ExprKind::Selector(selector) => looks_back(selector),
        ExprKind::Matrix(matrix) => looks_back(&matrix.selector) && matrix.range.literal_ms().is_some(),
        ExprKind::Subquery(subquery) => {
            let step = subquery.step.as_ref().is_none_or(|step| step.literal_ms().is_some());
            holds(&subquery.expr) && shifts_back(&subquery.shift) && subquery.range.literal_ms().is_some() && step
        }
        ExprKind::Binary(binary) => deep(|| holds(&binary.left) && holds(&binary.right)),
        ExprKind::Aggregate(aggregate) => holds(&aggregate.expr) && aggregate.param.as_ref().is_none_or(holds),
        ExprKind::Call(call) => !matches!(call.function, "start" | "end" | "range" | "info") && call.args.iter().all(holds),
    }
}

fn looks_back(selector: &VectorSelector) -> bool {
    selector.extension != Extension::Smoothed && shifts_back(&selector.shift)
}

fn shifts_back(shift: &Shift) -> bool {
    let back = |offset: &DurationExpr| offset.literal_ms().is_some_and(|offset_ms| offset_ms >= 0);
    shift.at.is_none() && shift.offset.as_ref().is_none_or(back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::model::sample::Value;
    use crate::promql::engine::EngineOptions;
    use crate::promql::parse::parse;
    use crate::storage::select::memory::MemoryStore;
    use proptest::prelude::*;

    /// What happens between two looks at a panel.
    #[derive(Clone, Debug)]
    enum Event {
        /// All series get a sample, this long after the last one.
        Scraped(i64),
        /// One series gets a sample in the past.
        Late { series: usize, back_ms: i64 },
        /// Somebody looks at so many milliseconds, a little after or before the newest sample.
        Looks { expr: usize, range_ms: i64, ahead_ms: i64 },
    }

    const EXPRS: [&str; 8] = [
        "m",
        "sum by (g) (rate(m[1m]))",
        "max_over_time(sum(m)[2m:30s] offset 1m)",
        "topk(1, m) + time()",
        "m offset -30s",
        "m @ end()",
        "count(m > 5) or vector(0)",
        "absent(m{s=\"2\"})",
    ];

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => (1_000_i64..40_000).prop_map(Event::Scraped),
            1 => (0_usize..3, 0_i64..600_000).prop_map(|(series, back_ms)| Event::Late { series, back_ms }),
            6 => (0..EXPRS.len(), 0_i64..900_000, -60_000_i64..60_000)
                .prop_map(|(expr, range_ms, ahead_ms)| Event::Looks { expr, range_ms, ahead_ms }),
        ];
        prop::collection::vec(event, 1..60)
    }

    fn near(left: &QueryValue, right: &QueryValue) -> bool {
        let (QueryValue::Matrix(left), QueryValue::Matrix(right)) = (left, right) else { return false };
        let same = |(a, b): (&(i64, f64), &(i64, f64))| a.0 == b.0 && (a.1 - b.1).abs() <= 1e-9 * a.1.abs().max(1.0);
        left.len() == right.len()
            && left.iter().zip(right).all(|(a, b)| {
                a.labels == b.labels && a.floats.len() == b.floats.len() && a.floats.iter().zip(&b.floats).all(same)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn kept_answers_are_those_computed_anew(events in events(), small in any::<bool>()) {
            let (store, engine) = (MemoryStore::new(), Engine::new(EngineOptions::default()));
            let cache = if small { RefreshCache::new(300) } else { RefreshCache::default() };
            let labels: Vec<Labels> =
                ["1", "2", "3"].iter().map(|s| Labels::from_pairs([("__name__", "m"), ("s", s), ("g", if *s == "1" { "x" } else { "y" })])).collect();
            let mut now_ms = 1_000_000;
            for (place, event) in events.into_iter().enumerate() {
                match event {
                    Event::Scraped(after_ms) => {
                        now_ms += after_ms;
                        for (series, labels) in labels.iter().enumerate() {
                            store.add(labels, now_ms, Value::Float(((place * 7 + series * 5) % 11) as f64));
                        }
                    }
                    Event::Late { series, back_ms } => store.add(&labels[series], now_ms - back_ms, Value::Float(place as f64)),
                    Event::Looks { expr, range_ms, ahead_ms } => {
                        let expr = parse(EXPRS[expr]).expect("parses");
                        // Panels are drawn at multiples of their step.
                        let end_ms = (now_ms + ahead_ms) / 15_000 * 15_000;
                        let range = (end_ms - range_ms / 15_000 * 15_000, end_ms, 15_000);
                        let options = QueryOptions::default();
                        let kept = cache.range(&engine, &store, &expr, range, &options).expect("answers");
                        let anew = engine.range(&store, &expr, range.0, range.1, range.2, &options).expect("answers");
                        prop_assert!(near(&kept.value, &anew.value), "{:?}\n{:?}\n{:?}", range, kept.value, anew.value);
                        prop_assert_eq!(kept.warnings, anew.warnings);
                    }
                }
            }
            let entries = cache.entries.lock().expect("not poisoned");
            prop_assert!(entries.points <= cache.points_max);
            prop_assert_eq!(entries.points, entries.kept.values().map(|(kept, _)| kept.points).sum::<usize>());
        }
    }

    #[test]
    fn only_what_looks_back_is_kept() {
        for (text, kept) in [
            ("sum(rate(m[5m] offset 1m))", true),
            ("m @ 5", false),
            ("m offset -1s", false),
            ("m[5m] @ start()", false),
            ("max_over_time((m + end())[1h:1m])", false),
            ("rate(m[5m] smoothed)", false),
        ] {
            assert_eq!(holds(&parse(text).expect("parses")), kept, "{text}");
        }
    }

    #[test]
    fn only_new_steps_are_read() {
        struct Watching<'s>(&'s MemoryStore, Mutex<Vec<i64>>);
        impl Querier for Watching<'_> {
            fn select(
                &self,
                matchers: &[crate::model::matcher::Matcher],
                range: crate::storage::select::TimeRange,
                hints: &crate::storage::select::Hints,
            ) -> Result<crate::storage::select::Selection, crate::storage::select::SelectError> {
                self.1.lock().expect("not poisoned").push(range.start_ms);
                self.0.select(matchers, range, hints)
            }
            fn changes(&self) -> Option<&ChangeLog> {
                self.0.changes()
            }
            fn label_names(
                &self,
                _: &[Vec<crate::model::matcher::Matcher>],
                _: crate::storage::select::TimeRange,
                _: usize,
            ) -> Result<Vec<String>, crate::storage::select::SelectError> {
                Ok(Vec::new())
            }
            fn label_values(
                &self,
                _: &str,
                _: &[Vec<crate::model::matcher::Matcher>],
                _: crate::storage::select::TimeRange,
                _: usize,
            ) -> Result<Vec<String>, crate::storage::select::SelectError> {
                Ok(Vec::new())
            }
            fn metadata(&self, _: Option<&str>) -> std::collections::BTreeMap<String, Vec<crate::model::metadata::Metadata>> {
                std::collections::BTreeMap::new()
            }
            fn exemplars(
                &self,
                _: &[Vec<crate::model::matcher::Matcher>],
                _: crate::storage::select::TimeRange,
            ) -> Result<Vec<(Labels, Vec<crate::model::exemplar::Exemplar>)>, crate::storage::select::SelectError> {
                Ok(Vec::new())
            }
        }
        let store = MemoryStore::new();
        let labels = Labels::from_pairs([("__name__", "m")]);
        for at_ms in (0..600_000).step_by(15_000) {
            store.add(&labels, at_ms, Value::Float(at_ms as f64));
        }
        let querier = Watching(&store, Mutex::default());
        let (cache, engine, expr) = (RefreshCache::default(), Engine::new(EngineOptions::default()), parse("m").expect("parses"));
        let look = |range| cache.range(&engine, &querier, &expr, range, &QueryOptions::default()).expect("answers");
        look((300_000, 570_000, 15_000));
        look((315_000, 585_000, 15_000));
        look((315_000, 585_000, 15_000));
        store.add(&labels, 400_000, Value::Float(1.0));
        look((315_000, 585_000, 15_000));
        let lookback = 299_999;
        let read = querier.1.lock().expect("not poisoned").clone();
        assert_eq!(read, [300_000 - lookback, 585_000 - lookback, 405_000 - lookback]);
    }
}
