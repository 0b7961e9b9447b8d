//! Aggregations that pick series (`topk`, `limitk`, `limit_ratio`...) or count values.

use super::aggregate::{Groups, group_labels};
use super::call_labels::{by_value, label_bytes};
use super::context::{Context, Grid, Outcome, join_same_labels};
use crate::model::labels::Labels;
use crate::model::number::{format_f, format_g};
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::column::{Column, Floats, Series, is_absent, without_metadata};
use crate::promql::expr::{Aggregate, AggregateOp, Span};
use crate::promql::functions::hash::labels_hash;
use hashbrown::HashMap;

impl Context<'_> {
    pub(super) fn pick(
        &self,
        grid: Grid,
        aggregate: &Aggregate,
        series: Vec<Series>,
        param: &Floats,
        whole: Span,
    ) -> Outcome<Vec<Series>> {
        // Where no step takes any, it is not looked at further, nor at whether the numbers are any.
        let takes_none = |value: &f64| *value < 1.0;
        if aggregate.op != AggregateOp::LimitRatio && param.iter().all(takes_none) {
            return Ok(Vec::new());
        }
        let span = aggregate.param.as_ref().map_or(aggregate.expr.span, |param| param.span);
        let limits = self.limits(aggregate.op, param, span)?;
        let groups = Groups::of(self, &series, aggregate)?;
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); groups.labels.len()];
        groups.of.iter().enumerate().for_each(|(place, group)| members[*group].push(place));
        let ranked = matches!(aggregate.op, AggregateOp::TopK | AggregateOp::BottomK);
        if ranked && series.iter().any(|one| one.column.has_histograms()) {
            self.note(&Note::HistogramIgnoredInAggregation(aggregate.op.as_str()), whole);
        }
        // What is kept, and for each step the places and values of the ranked.
        let listed = |limit: &Limit| match limit {
            Limit::Count(count) if ranked => 2 * (*count).min(series.len()) as u64,
            Limit::Count(_) | Limit::Ratio(_) => 0,
        };
        let _aside = self.set_aside((series.len() * grid.steps) as u64 + limits.iter().map(listed).sum::<u64>())?;
        let ranks = if ranked { self.rank(grid, &series, &groups, &limits, aggregate.op)? } else { Vec::new() };
        let mut kept: Vec<Column> = series.iter().map(|_| Column::absent(grid.steps)).collect();
        let mut order = Vec::new();
        for (step, limit) in limits.iter().enumerate() {
            for (group, members) in members.iter().enumerate() {
                self.breathe()?;
                let chosen: Vec<usize> = match limit {
                    Limit::Count(_) if ranked => ranks[group * grid.steps + step].iter().map(|(place, _)| *place).collect(),
                    Limit::Count(count) => {
                        let present = members.iter().copied().filter(|place| series[*place].column.has(step));
                        present.take(*count).collect()
                    }
                    Limit::Ratio(ratio) => {
                        let sampled = |place: &usize| series[*place].column.has(step) && self.is_sampled(&series[*place], *ratio);
                        members.iter().copied().filter(sampled).collect()
                    }
                };
                for place in &chosen {
                    kept[*place].set(step, series[*place].column.get(step));
                }
                if grid.steps == 1 {
                    order.extend(chosen);
                }
            }
        }
        if grid.steps == 1 {
            let pick = |place: usize| Series { column: kept[place].clone(), ..series[place].clone() };
            return Ok(order.into_iter().map(pick).collect());
        }
        let picked = series.into_iter().zip(kept).map(|(one, column)| Series { column, ..one });
        Ok(picked.filter(|one| !one.column.is_blank()).collect())
    }

    /// Ranks the largest (or smallest) values of each group and step, best first; what is not a number comes last. Goes series by
    /// series, so that each column is read but once.
    fn rank(&self, grid: Grid, series: &[Series], groups: &Groups, limits: &[Limit], op: AggregateOp) -> Outcome<Vec<Ranks>> {
        let descending = op == AggregateOp::TopK;
        let mut ranks: Vec<Ranks> = vec![Ranks::new(); groups.labels.len() * grid.steps];
        for (place, (one, group)) in series.iter().zip(&groups.of).enumerate() {
            self.breathe()?;
            let rows = ranks.iter_mut().skip(group * grid.steps).zip(limits).zip(&one.column.floats);
            for ((row, limit), value) in rows {
                let Limit::Count(count) = limit else { continue };
                if is_absent(*value) || *count == 0 {
                    continue;
                }
                take(row, (place, *value), *count, descending);
            }
        }
        for row in &mut ranks {
            self.sort(row, |(_, a), (_, b)| by_value(*a, *b, descending))?;
        }
        Ok(ranks)
    }

    /// Returns whether a series is in the sample of that ratio. A negative ratio samples the complement of the rest.
    fn is_sampled(&self, series: &Series, ratio: f64) -> bool {
        // A name that goes does not count, unless it goes later.
        let goes = series.drop_name && !self.engine.delayed_name_removal;
        let hash = if goes { labels_hash(&without_metadata(&series.labels)) } else { labels_hash(&series.labels) };
        let offset = hash as f64 / u64::MAX as f64;
        if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
    }

    fn limits(&self, op: AggregateOp, param: &Floats, span: Span) -> Outcome<Vec<Limit>> {
        let limit = |value: f64| {
            if op == AggregateOp::LimitRatio {
                if value.is_nan() {
                    return Err(Self::fail("Ratio value is NaN"));
                }
                let capped = value.clamp(-1.0, 1.0);
                if !(-1.0..=1.0).contains(&value) {
                    self.note(&Note::InvalidRatio { given: value, capped }, span);
                }
                return Ok(Limit::Ratio(capped));
            }
            if value.is_nan() {
                return Err(Self::fail("Parameter value is NaN"));
            }
            if value >= i64::MAX as f64 {
                return Err(Self::fail(format!("Scalar value {} overflows int64", format_g(value))));
            }
            if value <= i64::MIN as f64 {
                return Err(Self::fail(format!("Scalar value {} underflows int64", format_g(value))));
            }
            Ok(Limit::Count(usize::try_from(value as i64).unwrap_or(0)))
        };
        param.iter().map(|value| limit(*value)).collect()
    }

    pub(super) fn count_values(&self, grid: Grid, aggregate: &Aggregate) -> Outcome<Vec<Series>> {
        let Some(param) = &aggregate.param else { return Err(Self::fail("count_values needs a label")) };
        let label = self.text(grid, param)?;
        if label.is_empty() {
            return Err(Self::fail(format!("invalid label name {label:?}")));
        }
        let series = self.vector(grid, &aggregate.expr)?;
        let mut by = aggregate.clone();
        if !by.without {
            by.grouping.push(label.clone());
        }
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut out: Vec<Series> = Vec::new();
        for one in &series {
            self.breathe()?;
            for step in 0..grid.steps {
                let text = match one.column.get(step) {
                    Some(Value::Float(value)) => format_f(value),
                    Some(Value::Histogram(histogram)) => histogram.to_string(),
                    None => continue,
                };
                let labels = group_labels(&one.labels.with(&label, &text), &by);
                let bytes = label_bytes(&labels);
                let place = *places.entry(labels).or_insert_with_key(|labels| {
                    let column = Column::absent(grid.steps);
                    out.push(Series { labels: labels.clone(), drop_name: false, column });
                    out.len() - 1
                });
                // Each value makes a series: that can be as many as there are samples.
                if place + 1 == out.len() && out[place].column.is_blank() {
                    self.make_labels(bytes)?;
                    self.hold_cells(self.held.get() + (out.len() * (grid.steps + SERIES_CELLS)) as u64)?;
                }
                let group = &mut out[place];
                group.drop_name |= one.drop_name;
                group.column.set_float(step, group.column.float(step).unwrap_or(0.0) + 1.0);
            }
        }
        self.named(join_same_labels(out)?)
    }
}

/// What the labels of a series take, in cells.
const SERIES_CELLS: usize = 16;

enum Limit {
    Count(usize),
    Ratio(f64),
}

/// Places of series with their values, best first.
type Ranks = Vec<(usize, f64)>;

/// Offers a sample to a heap that has the worst of the best in front. Which of several equals goes is decided as by Go's
/// `container/heap`, so that the same series stay as in Prometheus.
fn take(heap: &mut Ranks, sample: (usize, f64), count: usize, descending: bool) {
    let worse = |a: f64, b: f64| a.is_nan() || if descending { a < b } else { a > b };
    if heap.len() < count {
        heap.push(sample);
        let mut at = heap.len() - 1;
        while at > 0 {
            let above = (at - 1) / 2;
            if !worse(heap[at].1, heap[above].1) {
                break;
            }
            heap.swap(at, above);
            at = above;
        }
        return;
    }
    let Some((_, worst)) = heap.first() else { return };
    let replaces = if worst.is_nan() { !sample.1.is_nan() } else { worse(*worst, sample.1) && !sample.1.is_nan() };
    if !replaces {
        return;
    }
    heap[0] = sample;
    let mut at = 0;
    loop {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        if left >= heap.len() {
            break;
        }
        let below = if right < heap.len() && worse(heap[right].1, heap[left].1) { right } else { left };
        if !worse(heap[below].1, heap[at].1) {
            break;
        }
        heap.swap(at, below);
        at = below;
    }
}
