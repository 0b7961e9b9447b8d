//! Aggregations: one accumulator row for each group.
//!
//! The group of a series is found once; then its column is added to the group's row.

use super::call_labels::label_bytes;
use super::context::{Context, Grid, Outcome};
use crate::model::histogram::CounterResetHint;
use crate::model::histogram::FloatHistogram;
use crate::model::histogram::arithmetic::kahan_add;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::column::{ABSENT, Column, Floats, Series, is_absent};
use crate::promql::expr::{Aggregate, AggregateOp, Span};
use crate::promql::functions::quantile::quantile_of;
use crate::promql::functions::sums::{HistogramSum, Mean};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;

/// Returns the labels of the group that a series belongs to.
pub(super) fn group_labels(labels: &Labels, aggregate: &Aggregate) -> Labels {
    if !aggregate.without && aggregate.grouping.is_empty() {
        return Labels::empty();
    }
    let listed = |name: &str| aggregate.grouping.iter().any(|label| label == name);
    if aggregate.without { labels.without(|name| name == METRIC_NAME || listed(name)) } else { labels.only(listed) }
}

/// Walks the labels of a series that make its group.
fn kept<'l>(labels: &'l Labels, aggregate: &'l Aggregate) -> impl Iterator<Item = (&'l str, &'l str)> {
    labels.iter().filter(|(name, _)| {
        let listed = aggregate.grouping.iter().any(|label| label == name);
        if aggregate.without { *name != METRIC_NAME && !listed } else { listed }
    })
}

fn hash_of<'l>(hasher: &DefaultHashBuilder, labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
    let mut state = hasher.build_hasher();
    labels.for_each(|label| label.hash(&mut state));
    state.finish()
}

/// Finds the group of one series after the other. Labels of a group are built once for the group, not for each series: a hash
/// over the labels that count finds it, or the address of a label set that was seen already.
struct GroupFinder<'a> {
    aggregate: &'a Aggregate,
    hasher: DefaultHashBuilder,
    by_labels: HashTable<(u64, usize)>,
    by_address: HashMap<usize, usize, foldhash::fast::RandomState>,
    /// Keeps the sets alive whose addresses are known.
    seen: Vec<Labels>,
    /// Address and place before: neighbours are often of one group.
    before: Option<(usize, usize)>,
}

impl<'a> GroupFinder<'a> {
    fn new(aggregate: &'a Aggregate) -> Self {
        let (by_labels, by_address) = (HashTable::new(), HashMap::default());
        Self { aggregate, hasher: DefaultHashBuilder::default(), by_labels, by_address, seen: Vec::new(), before: None }
    }

    /// Returns the place of the group; `known` says what the labels of a group are, `add` adds one.
    fn place<G>(
        &mut self,
        labels: &Labels,
        groups: &mut Vec<G>,
        known: fn(&G) -> &Labels,
        add: impl FnOnce(Labels) -> G,
    ) -> usize {
        let address = labels.address();
        if let Some((_, place)) = self.before.filter(|(before, _)| *before == address) {
            return place;
        }
        if let Some(place) = self.by_address.get(&address) {
            self.before = Some((address, *place));
            return *place;
        }
        let all_in_one = !self.aggregate.without && self.aggregate.grouping.is_empty();
        let hash = if all_in_one { 0 } else { hash_of(&self.hasher, kept(labels, self.aggregate)) };
        let same = |(other, place): &(u64, usize)| {
            *other == hash && (all_in_one || known(&groups[*place]).iter().eq(kept(labels, self.aggregate)))
        };
        let place = self.by_labels.find(hash, same).map(|(_, place)| *place).unwrap_or_else(|| {
            groups.push(add(group_labels(labels, self.aggregate)));
            let place = groups.len() - 1;
            self.by_labels.insert_unique(hash, (hash, place), |(hash, _)| *hash);
            place
        });
        // Sets that the store gives out once for many series are few; sets of single series would only fill the table.
        if self.seen.len() < ADDRESSES_MAX {
            self.by_address.insert(address, place);
            self.seen.push(labels.clone());
        }
        place
    }
}

/// Addresses of label sets that are remembered.
const ADDRESSES_MAX: usize = 1024;

/// What a group takes beside its labels and its row's columns, in cells.
const ROW_CELLS: usize = 32;

/// Series by group, groups in the order of their first series.
pub(super) struct Groups {
    pub(super) labels: Vec<Labels>,
    /// For each series the place of its group.
    pub(super) of: Vec<usize>,
}

impl Groups {
    pub(super) fn of(context: &Context<'_>, series: &[Series], aggregate: &Aggregate) -> Outcome<Self> {
        let mut finder = GroupFinder::new(aggregate);
        let (mut labels, mut of) = (Vec::new(), Vec::with_capacity(series.len()));
        for one in series {
            context.breathe()?;
            let known = labels.len();
            of.push(finder.place(&one.labels, &mut labels, |labels| labels, |labels| labels));
            labels.get(known..).unwrap_or_default().iter().try_for_each(|labels| context.make_labels(label_bytes(labels)))?;
        }
        Ok(Self { labels, of })
    }
}

/// The accumulators of an aggregation: for each group its labels, whether its name is to be dropped, and its row.
struct Rows<'a> {
    aggregate: &'a Aggregate,
    steps: usize,
    finder: GroupFinder<'a>,
    groups: Vec<(Labels, bool, Row)>,
    added: usize,
    /// The metric's name, where the operand's series need not bring it because they have no other.
    name: &'a str,
    /// A warning would name a metric whose name was not asked for.
    unnamed: bool,
}

impl<'a> Rows<'a> {
    fn new(aggregate: &'a Aggregate, steps: usize) -> Self {
        let name = super::stream::only_name(&aggregate.expr).unwrap_or_default();
        Self { aggregate, steps, finder: GroupFinder::new(aggregate), groups: Vec::new(), added: 0, name, unnamed: false }
    }

    fn add(&mut self, context: &Context<'_>, one: &Series) -> Outcome<()> {
        self.added += 1;
        if self.added.is_multiple_of(64) {
            context.breathe()?;
            context.hold_cells(context.held.get() + (self.groups.len() * (self.steps * 3 + ROW_CELLS)) as u64)?;
        }
        let (op, steps, known) = (self.aggregate.op, self.steps, self.groups.len());
        let place =
            self.finder.place(&one.labels, &mut self.groups, |group| &group.0, |labels| (labels, false, Row::new(op, steps)));
        if let Some((labels, ..)) = self.groups.get(known) {
            context.make_labels(label_bytes(labels))?;
        }
        let (_, drop_name, row) = &mut self.groups[place];
        *drop_name |= one.drop_name;
        row.add(&one.column);
        if one.column.has_histograms() {
            let name = Some(one.labels.metric_name()).filter(|name| !name.is_empty()).unwrap_or(self.name);
            let failed = row.add_histograms(context, one, op, self.aggregate.expr.span);
            if failed && name.is_empty() && super::stream::is_bare(&self.aggregate.expr) {
                self.unnamed = true;
            } else if failed {
                context.note(&Note::MixedSchemas(name.to_owned()), self.aggregate.expr.span);
            }
        }
        Ok(())
    }
}

impl Context<'_> {
    pub(super) fn aggregate(&self, grid: Grid, aggregate: &Aggregate, span: Span) -> Outcome<Vec<Series>> {
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(grid, aggregate);
        }
        let param = aggregate.param.as_ref().map(|param| self.scalar(grid, param)).transpose()?;
        let streams = !aggregate.op.has_param();
        if streams && let Some(wanted) = self.stream_of(grid, aggregate) {
            let mut rows = Rows::new(aggregate, grid.steps);
            if let Some((mut recorder, _)) = self.explaining() {
                recorder.how("streamed");
            }
            if self.stream(grid, &aggregate.expr, &wanted, &mut |one| rows.add(self, &one))? && !rows.unnamed {
                return self.finish_rows(rows);
            }
        }
        let series = self.vector(grid, &aggregate.expr)?;
        match (aggregate.op, param) {
            (AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK | AggregateOp::LimitRatio, Some(param)) => {
                self.pick(grid, aggregate, series, &param, span)
            }
            (AggregateOp::Quantile, Some(param)) => self.quantile(grid, aggregate, &series, &param),
            _ => {
                let mut rows = Rows::new(aggregate, grid.steps);
                series.iter().try_for_each(|one| rows.add(self, one))?;
                self.finish_rows(rows)
            }
        }
    }

    fn finish_rows(&self, rows: Rows<'_>) -> Outcome<Vec<Series>> {
        let span = rows.aggregate.expr.span;
        let finished =
            rows.groups.into_iter().map(|(labels, drop_name, row)| Series { labels, drop_name, column: row.finish(self, span) });
        self.named(finished.filter(|one| !one.column.is_blank()).collect())
    }

    fn quantile(&self, grid: Grid, aggregate: &Aggregate, series: &[Series], wanted: &Floats) -> Outcome<Vec<Series>> {
        let param_span = aggregate.param.as_ref().map_or(aggregate.expr.span, |param| param.span);
        // As in Prometheus the extremes are told, and nothing beside what is no number.
        let (lowest, highest) =
            wanted.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
        if wanted.iter().any(|value| value.is_nan()) {
            self.note(&Note::InvalidQuantile(f64::NAN), param_span);
        } else {
            let (above, below) = (Some(highest).filter(|value| *value > 1.0), Some(lowest).filter(|value| *value < 0.0));
            above.into_iter().chain(below).for_each(|value| self.note(&Note::InvalidQuantile(value), param_span));
        }
        let groups = Groups::of(self, series, aggregate)?;
        let mut members: Vec<Vec<&Series>> = vec![Vec::new(); groups.labels.len()];
        for (one, group) in series.iter().zip(&groups.of) {
            members[*group].push(one);
            if one.column.has_histograms() {
                self.note(&Note::HistogramIgnoredInAggregation("quantile"), aggregate.expr.span);
            }
        }
        let mut out = Vec::with_capacity(members.len());
        for (labels, members) in groups.labels.into_iter().zip(members) {
            let mut column = Column::absent(grid.steps);
            for step in 0..grid.steps {
                if step.is_multiple_of(16) {
                    self.breathe()?;
                }
                let values: Vec<f64> = members.iter().filter_map(|one| one.column.float(step)).collect();
                if !values.is_empty() {
                    column.set_float(step, quantile_of(wanted[step], values));
                }
            }
            out.push(Series { labels, drop_name: members.iter().any(|one| one.drop_name), column });
        }
        out.retain(|one| !one.column.is_blank());
        self.named(out)
    }
}

/// The floats of one group.
enum Floated {
    /// Sums begin at minus zero, which changes no number; `there` is 1 where a value was added.
    Sum {
        sum: Floats,
        lost: Floats,
        there: Vec<u64>,
    },
    /// Sums as above, and how many values there were; once a sum would overflow, means one by one.
    Avg {
        sum: Floats,
        lost: Floats,
        count: Floats,
    },
    Means(Vec<Mean>),
    Extreme {
        best: Floats,
        larger: bool,
    },
    Count(Floats),
    Group(Floats),
    Spread {
        count: Floats,
        mean: Floats,
        squares: Floats,
        root: bool,
    },
}

/// Histograms of one group at one step.
struct Merging {
    sum: HistogramSum,
    reset_seen: bool,
    not_reset_seen: bool,
    incompatible: bool,
    /// It became incompatible before there was a float: floats that come then are passed over.
    failed_alone: bool,
}

/// What was added to a group so far, for each step.
struct Row {
    floats: Floated,
    histograms: Vec<Option<Box<Merging>>>,
    mean: bool,
}

impl Row {
    fn new(op: AggregateOp, steps: usize) -> Self {
        let all = |value: f64| Floats::from_elem(value, steps);
        let floats = match op {
            AggregateOp::Sum => Floated::Sum { sum: all(-0.0), lost: all(0.0), there: vec![0; steps] },
            AggregateOp::Avg => Floated::Avg { sum: all(-0.0), lost: all(0.0), count: all(0.0) },
            AggregateOp::Min => Floated::Extreme { best: all(ABSENT), larger: false },
            AggregateOp::Max => Floated::Extreme { best: all(ABSENT), larger: true },
            AggregateOp::Count => Floated::Count(all(0.0)),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                let root = op == AggregateOp::Stddev;
                Floated::Spread { count: all(0.0), mean: all(0.0), squares: all(0.0), root }
            }
            _ => Floated::Group(all(ABSENT)),
        };
        Self { floats, histograms: Vec::new(), mean: op == AggregateOp::Avg }
    }

    fn add(&mut self, column: &Column) {
        let values = column.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value));
        if let Floated::Avg { sum, lost, count } = &self.floats
            && sum.iter().zip(&column.floats).any(|(sum, value)| (sum + value).is_infinite())
        {
            let states = sum.iter().zip(lost).zip(count);
            self.floats = Floated::Means(states.map(|((sum, lost), count)| Mean::of(*sum, *lost, *count)).collect());
        }
        match &mut self.floats {
            Floated::Sum { sum, lost, there } => {
                // Every lane is computed and the absent ones put back: without branches the compiler makes vectors of it.
                let rows = sum.iter_mut().zip(lost.iter_mut()).zip(there.iter_mut());
                for (((sum, lost), there), value) in rows.zip(&column.floats) {
                    let present = !is_absent(*value);
                    let (next, left) = kahan_add(*value, *sum, *lost);
                    *sum = if present { next } else { *sum };
                    *lost = if present { left } else { *lost };
                    *there |= u64::from(present);
                }
            }
            Floated::Avg { sum, lost, count } => {
                let rows = sum.iter_mut().zip(lost.iter_mut()).zip(count.iter_mut());
                for (((sum, lost), count), value) in rows.zip(&column.floats) {
                    let present = !is_absent(*value);
                    let (next, left) = kahan_add(*value, *sum, *lost);
                    *sum = if present { next } else { *sum };
                    *lost = if present { left } else { *lost };
                    *count += if present { 1.0 } else { 0.0 };
                }
            }
            Floated::Means(means) => values.for_each(|(step, value)| means[step].push(*value)),
            Floated::Extreme { best, larger } => {
                for (step, value) in values {
                    let better = if *larger { best[step] < *value } else { best[step] > *value };
                    if better || best[step].is_nan() {
                        best[step] = *value;
                    }
                }
            }
            Floated::Count(count) => values.for_each(|(step, _)| count[step] += 1.0),
            Floated::Group(one) => values.for_each(|(step, _)| one[step] = 1.0),
            Floated::Spread { count, mean, squares, .. } => {
                for (step, value) in values {
                    count[step] += 1.0;
                    let difference = value - mean[step];
                    mean[step] += difference / count[step];
                    squares[step] += difference * (value - mean[step]);
                    if !value.is_finite() {
                        squares[step] = f64::NAN;
                    }
                }
            }
        }
    }

    fn add_histograms(&mut self, context: &Context<'_>, one: &Series, op: AggregateOp, span: Span) -> bool {
        let mut failed = false;
        for step in 0..one.column.len() {
            let Some(histogram) = one.column.histogram(step) else { continue };
            match &mut self.floats {
                Floated::Count(count) => count[step] += 1.0,
                Floated::Group(group) => group[step] = 1.0,
                Floated::Extreme { .. } | Floated::Spread { .. } => {
                    context.note(&Note::HistogramIgnoredInAggregation(op.as_str()), span);
                }
                Floated::Sum { .. } | Floated::Avg { .. } | Floated::Means(_) => {
                    if self.histograms.is_empty() {
                        self.histograms.resize_with(one.column.len(), || None);
                    }
                    let after_float = match &self.floats {
                        Floated::Sum { there, .. } => there[step] > 0,
                        Floated::Avg { count, .. } => count[step] > 0.0,
                        Floated::Means(means) => !means[step].is_empty(),
                        _ => false,
                    };
                    let place = &mut self.histograms[step];
                    failed |= merge(place, histogram, (self.mean, after_float), context, span);
                }
            }
        }
        failed
    }

    fn finish(self, context: &Context<'_>, span: Span) -> Column {
        let floats: Floats = match self.floats {
            Floated::Sum { sum, lost, there } => {
                let value = |((sum, lost), there): ((&f64, &f64), &u64)| match there {
                    0 => ABSENT,
                    _ if sum.is_infinite() => *sum,
                    _ => sum + lost,
                };
                sum.iter().zip(&lost).zip(&there).map(value).collect()
            }
            Floated::Avg { sum, lost, count } => {
                let value = |((sum, lost), count): ((&f64, &f64), &f64)| match *count {
                    0.0 => ABSENT,
                    count => sum / count + lost / count,
                };
                sum.iter().zip(&lost).zip(&count).map(value).collect()
            }
            Floated::Means(means) => means.iter().map(|mean| if mean.is_empty() { ABSENT } else { mean.value() }).collect(),
            Floated::Extreme { best, .. } => best,
            Floated::Count(count) => count.iter().map(|count| if *count == 0.0 { ABSENT } else { *count }).collect(),
            Floated::Group(one) => one,
            Floated::Spread { count, squares, root, .. } => {
                let spread = |(count, squares): (&f64, &f64)| match squares / count {
                    _ if *count == 0.0 => ABSENT,
                    variance if root => variance.sqrt(),
                    variance => variance,
                };
                count.iter().zip(&squares).map(spread).collect()
            }
        };
        let mut column = Column::of(floats);
        for (step, merging) in self.histograms.into_iter().enumerate() {
            let Some(merging) = merging else { continue };
            if !is_absent(column.floats[step]) {
                if !merging.failed_alone {
                    context.note(&Note::MixedFloatsHistogramsInAggregation, span);
                }
                column.clear(step);
            } else if !merging.incompatible {
                if merging.reset_seen && merging.not_reset_seen {
                    context.note(&Note::ResetCollision("aggregation"), span);
                }
                let value = if self.mean { merging.sum.mean() } else { merging.sum.value() };
                column.set(step, Some(Value::Histogram(Arc::new(value))));
            }
        }
        column
    }
}

/// Adds a histogram to those of its group. Where a float was first, there is no result and nothing to compare it with. Returns
/// whether this one is the first that does not fit.
fn merge(
    place: &mut Option<Box<Merging>>,
    histogram: &FloatHistogram,
    (mean, after_float): (bool, bool),
    context: &Context<'_>,
    span: Span,
) -> bool {
    let reset_seen = histogram.counter_reset_hint == CounterResetHint::Reset;
    let not_reset_seen = histogram.counter_reset_hint == CounterResetHint::NotReset;
    let Some(merging) = place else {
        let sum = HistogramSum::new(histogram);
        *place = Some(Box::new(Merging { sum, reset_seen, not_reset_seen, incompatible: after_float, failed_alone: false }));
        return false;
    };
    merging.reset_seen |= reset_seen;
    merging.not_reset_seen |= not_reset_seen;
    if merging.incompatible {
        return false;
    }
    let merged = if mean { merging.sum.push_for_mean(histogram) } else { merging.sum.push(histogram) };
    match merged {
        Ok(merged) if merged.bounds_reconciled => context.note(&Note::BoundsReconciled("aggregation"), span),
        Ok(_) => {}
        Err(_) => {
            merging.incompatible = true;
            merging.failed_alone = !after_float;
            return true;
        }
    }
    false
}
