//! Operations between vectors: which series meet, and what their results are called.
//!
//! Series are grouped once by the labels they match on; only then come the steps.

use super::binary::{Operation, result_base};
use super::call_labels::label_bytes;
use super::context::{Context, Grid, Outcome, join_same_labels};
use crate::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::model::sample::Value;
use crate::promql::column::{Column, Series, without_metadata};
use crate::promql::engine::QueryError;
use crate::promql::expr::{Cardinality, VectorMatching};
use hashbrown::HashMap;

/// Returns the labels that a series is matched by.
pub(super) fn match_labels(labels: &Labels, matching: &VectorMatching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    if matching.on { labels.only(listed) } else { labels.without(|name| name == METRIC_NAME || listed(name)) }
}

/// Series of both sides that match.
#[derive(Default)]
struct Group {
    labels: Labels,
    many: Vec<usize>,
    one: Vec<usize>,
}

/// A join under way. With `group_right` the sides are swapped, so that "one" is always on the right here.
struct Join<'a> {
    context: &'a Context<'a>,
    grid: Grid,
    operation: Operation,
    matching: &'a VectorMatching,
    swapped: bool,
    many: Vec<Series>,
    one: Vec<Series>,
}

impl Context<'_> {
    pub(super) fn join(
        &self,
        grid: Grid,
        operation: Operation,
        matching: &VectorMatching,
        left: Vec<Series>,
        right: Vec<Series>,
    ) -> Outcome<Vec<Series>> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        Join { context: self, grid, operation, matching, swapped, many, one }.run()
    }
}

/// What a group of series takes beside its labels.
const GROUP_BYTES: u64 = 128;

impl Join<'_> {
    fn run(mut self) -> Outcome<Vec<Series>> {
        let before = self.context.made();
        let groups = self.group()?;
        // What the groups are found by is gone as soon as they are; their labels stay until the end, and are few beside the rest.
        self.context.drop_labels(self.context.made().saturating_sub(before));
        // With `group_right` too, Prometheus fills the "many" side with `fill_left`: it swaps the sides first.
        let (fill_many, fill_one) = (self.matching.fill_left, self.matching.fill_right);
        let twins = self.twins(&groups, fill_many.is_some() || fill_one.is_some());
        if let Some((0, error)) = twins {
            return Err(error);
        }
        let mut clash: Clash = None;
        let mut out = Vec::with_capacity(self.many.len());
        // A group's own labels are unique; where each group gives one series of just these, none can meet another.
        let mut apart = self.matching.cardinality == Cardinality::OneToOne && self.matching.include.is_empty();
        for group in groups {
            self.context.breathe()?;
            if (group.many.is_empty() && fill_many.is_none()) || (group.one.is_empty() && fill_one.is_none()) {
                continue;
            }
            let (mut many, mut one) = (group.many.clone(), group.one.clone());
            let filled_many = fill_many.map(|value| filling(&mut self.many, &mut many, &group.labels, value, self.grid));
            let filled_one = fill_one.map(|value| filling(&mut self.one, &mut one, &group.labels, value, self.grid));
            let before = out.len();
            clash = earlier(clash, self.meet(&many, &one, (filled_many, filled_one), &mut out)?);
            self.context.hold_cells(self.context.held.get() + (out.len() * self.grid.steps) as u64)?;
            let results = out.get(before..).unwrap_or_default();
            apart &= results.len() <= 1 && results.iter().all(|result| result.labels == group.labels);
        }
        // The error of the earliest step is the query's.
        match (twins, clash) {
            (Some((twins, error)), clash) if clash.is_none_or(|(step, _)| twins <= step) => Err(error),
            (_, Some((_, text))) => Err(Context::fail(text)),
            _ if apart => Ok(out),
            _ => join_same_labels(out),
        }
    }

    fn group(&self) -> Outcome<Vec<Group>> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let mut place_of = |labels: &Labels, groups: &mut Vec<Group>| {
            let key = match_labels(labels, self.matching);
            *places.entry(key).or_insert_with_key(|key| {
                groups.push(Group { labels: key.clone(), ..Group::default() });
                groups.len() - 1
            })
        };
        for (place, series) in self.many.iter().enumerate() {
            let known = groups.len();
            let group = place_of(&series.labels, &mut groups);
            groups[group].many.push(place);
            self.count_group(&groups, known)?;
        }
        for (place, series) in self.one.iter().enumerate() {
            let known = groups.len();
            let group = place_of(&series.labels, &mut groups);
            groups[group].one.push(place);
            self.count_group(&groups, known)?;
        }
        Ok(groups)
    }

    /// Counts the group that was added behind the `known` ones, if any; lets others go first.
    fn count_group(&self, groups: &[Group], known: usize) -> Outcome<()> {
        for group in groups.iter().skip(known) {
            self.context.make_labels(label_bytes(&group.labels) + GROUP_BYTES)?;
        }
        self.context.breathe()
    }

    /// Finds the first step that has two series of one group on the "one" side, whether or not anything meets them; a step at
    /// which the other side has nothing at all is passed over.
    fn twins(&self, groups: &[Group], fills: bool) -> Option<(usize, QueryError)> {
        let crowded: Vec<&Group> = groups.iter().filter(|group| group.one.len() > 1).collect();
        if crowded.is_empty() {
            return None;
        }
        (0..self.grid.steps).find_map(|step| {
            if !fills && !self.many.iter().any(|series| series.column.has(step)) {
                return None;
            }
            let pair = |group: &&&Group| {
                let mut present = group.one.iter().filter(|place| self.one[**place].column.has(step));
                Some((*present.next()?, *present.next()?))
            };
            let pairs = crowded.iter().filter_map(|group| Some((pair(&group)?, *group)));
            let ((first, second), group) = pairs.min_by_key(|((_, second), _)| *second)?;
            let mut twins = [&self.one[first].labels, &self.one[second].labels];
            twins.sort();
            let side = if self.swapped { "left" } else { "right" };
            let error = Context::fail(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                group.labels, twins[0], twins[1]
            ));
            Some((step, error))
        })
    }

    /// Brings the series of one group together. Returns the first step at which more meet than may, or more results are
    /// of the same labels.
    fn meet(
        &self,
        many: &[usize],
        one: &[usize],
        (filled_many, filled_one): (Option<usize>, Option<usize>),
        out: &mut Vec<Series>,
    ) -> Outcome<Clash> {
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let mut matched = vec![false; if one_to_one && many.len() > 1 { self.grid.steps } else { 0 }];
        let mut clash: Clash = None;
        let mut results: Vec<Series> = Vec::with_capacity(many.len());
        for left in many {
            for right in one {
                if Some(*left) == filled_many && Some(*right) == filled_one {
                    continue;
                }
                let (many, one) = (&self.many[*left].column, &self.one[*right].column);
                for (step, matched) in matched.iter_mut().enumerate() {
                    if many.has(step) && one.has(step) && std::mem::replace(matched, true) {
                        clash = earlier(clash, Some((step, IMPLICIT)));
                        break;
                    }
                }
                let column = self.columns(many, one);
                if column.is_blank() {
                    continue;
                }
                if results.len() % 256 == 255 {
                    let made = (out.len() + results.len()) * self.grid.steps;
                    self.context.hold_cells(self.context.held.get() + made as u64)?;
                    self.context.breathe()?;
                }
                let (many_labels, one_labels) = (&self.many[*left].labels, &self.one[*right].labels);
                if !self.matching.include.is_empty() {
                    // The same long value may go to many series.
                    let included: usize =
                        self.matching.include.iter().map(|name| name.len() + one_labels.value(name).len()).sum();
                    self.context.make_labels(label_bytes(many_labels) + included as u64)?;
                }
                let labels = self.labels(many_labels, one_labels);
                results.push(Series { labels, drop_name: self.operation.return_bool, column });
            }
        }
        if !one_to_one {
            let clashing;
            let drops_names = self.operation.return_bool && !self.context.engine.delayed_name_removal;
            (results, clashing) = grouped(results, drops_names);
            clash = earlier(clash, clashing);
        }
        out.append(&mut results);
        Ok(clash)
    }

    fn columns(&self, many: &Column, one: &Column) -> Column {
        if let Some(floats) = self.operation.floats(many, one, self.swapped) {
            return Column::of(floats);
        }
        let mut out = Column::absent(self.grid.steps);
        for step in 0..self.grid.steps {
            let (Some(many), Some(one)) = (many.get(step), one.get(step)) else { continue };
            let (left, right) = if self.swapped { (&one, &many) } else { (&many, &one) };
            let result: Option<Value> = self.operation.apply(self.context, left, right);
            out.set(step, result);
        }
        out
    }

    /// Returns the labels of a result.
    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = result_base(many, self.operation.op);
        let listed = |name: &str| self.matching.labels.iter().any(|label| label == name);
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = if self.matching.on { labels.only(listed) } else { labels.without(listed) };
        }
        if self.matching.include.is_empty() {
            return labels;
        }
        let mut builder = LabelsBuilder::from(&labels);
        for name in &self.matching.include {
            builder.set(name, one.value(name));
        }
        builder.build()
    }
}

/// The first step at which results meet that must not, and the error that this is.
type Clash = Option<(usize, &'static str)>;

const IMPLICIT: &str = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
const AMBIGUOUS: &str = "multiple matches for labels: grouping labels must ensure unique matches";

fn earlier(one: Clash, other: Clash) -> Clash {
    match (one, other) {
        (Some(one), Some(other)) if one.0 <= other.0 => Some(one),
        (one, None) => one,
        (_, other) => other,
    }
}

/// Joins the results of one match group; two of the same labels at one step are an error of the query.
fn grouped(results: Vec<Series>, drops_names: bool) -> (Vec<Series>, Clash) {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(results.len());
    let mut joined: Vec<Series> = Vec::with_capacity(results.len());
    let mut clash = None;
    for one in results {
        let labels = if drops_names { without_metadata(&one.labels) } else { one.labels.clone() };
        let place = *places.entry(labels).or_insert(joined.len());
        let Some(first) = joined.get_mut(place) else {
            joined.push(one);
            continue;
        };
        let both = |step: &usize| first.column.has(*step) && one.column.has(*step);
        if let Some(step) = (0..one.column.len()).find(both) {
            clash = earlier(clash, Some((step, AMBIGUOUS)));
        } else {
            first.column.absorb(&one.column);
        }
    }
    (joined, clash)
}

/// Adds a series that stands in where the group has none, and returns its place.
fn filling(side: &mut Vec<Series>, members: &mut Vec<usize>, labels: &Labels, value: f64, grid: Grid) -> usize {
    let mut column = Column::absent(grid.steps);
    for step in 0..grid.steps {
        if !members.iter().any(|place| side[*place].column.has(step)) {
            column.set_float(step, value);
        }
    }
    members.push(side.len());
    side.push(Series { labels: labels.clone(), drop_name: false, column });
    side.len() - 1
}
