//! Selectors that a query asks for more than once: what they select is read and decoded once.
//!
//! Before a query is evaluated its selectors are looked at. Those with equal matchers, shifted alike and within subqueries
//! over the same time, differ in how far they look back and in the labels wanted of them. The first of them that is
//! evaluated reads what all of them need; the others are given their part of it.

use super::context::{Context, Outcome};
use crate::promql::deep::deep;
use crate::promql::expr::{Aggregate, DurationExpr, Expr, ExprKind, Subquery, VectorSelector};
use crate::storage::select::held::{Held, bytes_of};
use crate::storage::select::{Hints, LabelNeed, Selection, TimeRange};
use hashbrown::HashMap;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Which part of the memory that one query may take may be held for selectors that come again: an eighth.
const PART: u64 = 8;
/// Queries with more selectors than this are not looked through: each is compared with each.
const SELECTORS_MAX: usize = 1000;

/// The selectors of a query that come more than once.
#[derive(Default)]
pub(super) struct Repeats {
    /// By the address of the selector in the tree.
    uses: HashMap<usize, Use>,
    groups: RefCell<Vec<Group>>,
    /// Bytes that were taken for what is held.
    held: Cell<u64>,
}

/// One selector that comes again.
#[derive(Clone, Copy)]
struct Use {
    group: usize,
    /// How far it looks back.
    width_ms: i64,
}

/// Selectors that select the same.
struct Group {
    /// How far the one looks back that looks back furthest.
    widest_ms: i64,
    /// Whether they differ in the labels that are wanted.
    mixed: bool,
    /// How many have not asked yet.
    left: usize,
    held: Vec<(Hints, Arc<Held>)>,
}

/// What an aggregation around a selector wants to know of its labels.
type Need<'e> = Option<(&'e Aggregate, bool)>;

/// A selector as it stands in the tree.
struct Seen<'e> {
    selector: &'e VectorSelector,
    /// `None`: the lookback.
    range: Option<&'e DurationExpr>,
    need: Need<'e>,
    /// Number of the subqueries around it.
    within: usize,
}

/// Looks through a tree.
#[derive(Default)]
struct Scan<'e> {
    seen: Vec<Seen<'e>>,
    /// Different subqueries, each with the number of those around it.
    subqueries: Vec<(usize, &'e Subquery)>,
}

impl<'e> Scan<'e> {
    fn look(&mut self, expr: &'e Expr, need: Need<'e>, within: usize) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Selector(selector) => self.seen.push(Seen { selector, range: None, need, within }),
            ExprKind::Matrix(matrix) => {
                self.seen.push(Seen { selector: &matrix.selector, range: Some(&matrix.range), need, within });
            }
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.look(inner, need, within),
            ExprKind::Subquery(subquery) => {
                let within = self.number(within, subquery);
                self.look(&subquery.expr, None, within);
            }
            ExprKind::Binary(binary) => deep(|| {
                let before = self.seen.len();
                self.look(&binary.left, need, within);
                let between = self.seen.len();
                self.look(&binary.right, need, within);
                // Two vectors are matched by all their labels.
                if need.is_some() && before < between && between < self.seen.len() {
                    self.seen.iter_mut().skip(before).for_each(|one| one.need = None);
                }
            }),
            ExprKind::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    self.look(param, None, within);
                }
                self.look(&aggregate.expr, Some((aggregate, super::stream::is_bare(&aggregate.expr))), within);
            }
            ExprKind::Call(call) => call.args.iter().for_each(|arg| self.look(arg, need, within)),
        }
    }

    /// Returns the number of a subquery, equal for those that evaluate at the same times. 0 is outside of all.
    fn number(&mut self, within: usize, subquery: &'e Subquery) -> usize {
        let same = |(outer, other): &(usize, &Subquery)| {
            *outer == within && other.range == subquery.range && other.step == subquery.step && other.shift == subquery.shift
        };
        let place = self.subqueries.iter().position(same).unwrap_or_else(|| {
            self.subqueries.push((within, subquery));
            self.subqueries.len() - 1
        });
        place + 1
    }
}

fn same_need(one: Need<'_>, other: Need<'_>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some((one, bare)), Some((other, other_bare))) => {
            bare == other_bare && one.grouping == other.grouping && one.without == other.without
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl Repeats {
    /// Looks for selectors that come more than once.
    pub(super) fn of(context: &Context<'_>, expr: &Expr) -> Self {
        let mut scan = Scan::default();
        scan.look(expr, None, 0);
        if !(2..=SELECTORS_MAX).contains(&scan.seen.len()) {
            return Self::default();
        }
        let (mut repeats, mut seen) = (Self::default(), scan.seen.as_slice());
        while let [first, rest @ ..] = seen {
            seen = rest;
            if repeats.uses.contains_key(&address(first.selector)) {
                continue;
            }
            // At one instant a selector needs the newest sample alone, which is read without decoding the others.
            let newest_alone = |one: &Seen<'_>| !context.is_range && one.within == 0 && one.range.is_none();
            let same = |other: &&Seen<'_>| {
                first.selector.matchers == other.selector.matchers
                    && first.selector.shift == other.selector.shift
                    && first.selector.extension == other.selector.extension
                    && first.within == other.within
                    && newest_alone(first) == newest_alone(other)
            };
            let members: Vec<_> = std::iter::once(first).chain(rest.iter().filter(same)).collect();
            if members.len() > 1 {
                repeats.add(context, &members);
            }
        }
        repeats
    }

    fn add(&mut self, context: &Context<'_>, members: &[&Seen<'_>]) {
        let groups = self.groups.get_mut();
        let mut group = Group { widest_ms: 0, mixed: false, left: 0, held: Vec::new() };
        for one in members {
            // A range that cannot be computed is an error where the selector is evaluated.
            let Ok(width_ms) = one.range.map_or(Ok(context.lookback_ms), |range| context.range_ms(range)) else { continue };
            group.widest_ms = group.widest_ms.max(width_ms);
            group.mixed |= members.first().is_some_and(|first| !same_need(first.need, one.need));
            group.left += 1;
            self.uses.insert(address(one.selector), Use { group: groups.len(), width_ms });
        }
        groups.push(group);
    }
}

/// The tree does not move while a query is evaluated.
fn address(selector: &VectorSelector) -> usize {
    std::ptr::from_ref(selector).addr()
}

impl Context<'_> {
    /// Selects series, where that was not done before. Returns as well whether it was.
    pub(super) fn select(&self, selector: &VectorSelector, range: TimeRange, hints: &Hints) -> Outcome<(Selection, bool)> {
        let cancel = self.options.cancel.as_deref();
        let alone = || Ok((self.querier.select_until(&selector.matchers, range, hints, cancel)?, false));
        let Some(one) = self.repeats.uses.get(&address(selector)).copied() else { return alone() };
        let mut groups = self.repeats.groups.borrow_mut();
        let Some(group) = groups.get_mut(one.group) else { return alone() };
        let all = Hints { labels: LabelNeed::All, sorted: self.ordered, ..hints.clone() };
        let hints = if group.mixed { &all } else { hints };
        group.left = group.left.saturating_sub(1);
        let same = |(held, _): &&(Hints, Arc<Held>)| {
            held.labels == hints.labels && held.sorted == hints.sorted && held.last_only == hints.last_only
        };
        if let Some((_, held)) = group.held.iter().find(same)
            && held.covers(range)
        {
            let view = held.view(range);
            if group.left == 0 {
                group.held = Vec::new();
            }
            return Ok((view, true));
        }
        if group.left == 0 {
            return alone();
        }
        let start_ms = range.start_ms.saturating_sub(group.widest_ms - one.width_ms);
        let wide = TimeRange { start_ms, ..range };
        let selection = self.querier.select_until(&selector.matchers, wide, hints, cancel)?;
        if !self.has_room(&selection) {
            return alone();
        }
        let held = Arc::new(Held::new(selection, wide));
        let view = held.view(range);
        group.held.push((hints.clone(), held));
        Ok((view, false))
    }

    /// Takes room for a selection that is to be held, where there is enough. It is given back at the end of the query.
    fn has_room(&self, selection: &Selection) -> bool {
        let bytes = bytes_of(selection);
        let held = self.repeats.held.get().saturating_add(bytes);
        if held > self.engine.max_query_bytes / PART || selection.series.len() > self.engine.max_series {
            return false;
        }
        if self.make_labels(bytes).is_err() {
            self.drop_labels(bytes);
            return false;
        }
        self.repeats.held.set(held);
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::model::labels::Labels;
    use crate::model::sample::Value;
    use crate::promql::engine::{Engine, EngineOptions, QueryOptions};
    use crate::promql::parse::parse;
    use crate::promql::value::QueryValue;
    use crate::storage::select::counting::Counting;
    use crate::storage::select::memory::MemoryStore;

    fn counting() -> Counting {
        let store = MemoryStore::new();
        for (metric, code) in [("a", "200"), ("a", "500"), ("b", "200")] {
            let labels = Labels::from_pairs([("__name__", metric), ("code", code), ("job", "x")]);
            for at_ms in (0..=7_200_000).step_by(15_000) {
                store.add(&labels, at_ms, Value::Float(((at_ms * 7919) % 10_007) as f64));
            }
        }
        Counting::new(store)
    }

    /// What a range query answers, and how often something was selected for it.
    fn ranged(options: EngineOptions, text: &str) -> (QueryValue, usize) {
        let counting = counting();
        let options = (Engine::new(options), QueryOptions::default());
        let expr = parse(text).expect("parses");
        let result = options.0.range(&counting, &expr, 3_600_000, 7_000_000, 60_000, &options.1).expect("answers");
        (result.value, counting.ranges().len())
    }

    #[test]
    fn what_comes_again_is_selected_once() {
        for (text, selected, written) in [
            ("a / (a + b)", 2, 3),
            ("sum(rate(a[5m])) / count(rate(a[5m]))", 1, 2),
            ("rate(a[5m]) - rate(a[1h])", 1, 2),
            ("a - avg_over_time(a[10m])", 1, 2),
            ("sum by (code) (rate(a[5m])) / ignoring (code) group_left sum(rate(a[5m]))", 1, 2),
            ("max_over_time(sum(a)[1h:1m]) - min_over_time(sum(a)[1h:1m])", 1, 2),
            // Not the same.
            ("a - a offset 5m", 2, 2),
            ("a{code=\"200\"} + on (job) a{code=\"500\"}", 2, 2),
            ("max_over_time(sum(a)[1h:1m]) - min_over_time(sum(a)[1h:2m])", 2, 2),
            ("a - a @ 3600", 2, 2),
        ] {
            let rewriting = ranged(EngineOptions::default(), text);
            let plain = ranged(EngineOptions { rewrites: false, ..EngineOptions::default() }, text);
            assert_eq!((rewriting.1, plain.1), (selected, written), "{text}");
            let (rewriting, plain) = (format!("{:?}", rewriting.0), format!("{:?}", plain.0));
            assert!(plain.contains("7000000") || plain.contains("6960000"), "{text}: {plain}");
            assert_eq!(rewriting, plain, "{text}");
        }
    }

    #[test]
    fn an_instant_reads_the_newest_once_and_the_window_once() {
        for (text, selected) in [("a > 5 and a < 9000", 1), ("a - avg_over_time(a[10m])", 2), ("rate(a[5m]) > rate(a[1h])", 1)] {
            let counting = counting();
            let expr = parse(text).expect("parses");
            let engine = Engine::new(EngineOptions::default());
            engine.instant(&counting, &expr, 7_000_000, &QueryOptions::default()).expect("answers");
            assert_eq!(counting.ranges().len(), selected, "{text}");
        }
    }

    #[test]
    fn where_there_is_no_room_each_reads_for_itself() {
        let (value, selected) =
            ranged(EngineOptions { max_query_bytes: 20_000, ..EngineOptions::default() }, "sum(a) / count(a)");
        let (expected, once) = ranged(EngineOptions::default(), "sum(a) / count(a)");
        assert!(selected >= 2 && once == 1, "{selected}, {once}");
        assert_eq!(format!("{value:?}"), format!("{expected:?}"));
    }
}
