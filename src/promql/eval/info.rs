//! `info`: adds the data labels of info metrics to the series they identify.

use super::context::{Context, Grid, Outcome, References, join_same_labels};
use crate::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::model::matcher::{MatchOp, Matcher};
use crate::promql::column::{Column, Series};
use crate::promql::deep::deep;
use crate::promql::expr::{Expr, ExprKind, Shift, VectorSelector};
use hashbrown::HashMap;

/// The labels that say which target a series belongs to.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

impl Context<'_> {
    pub(super) fn info(&self, grid: Grid, args: &[Expr]) -> Outcome<Vec<Series>> {
        let Some(base) = args.first() else { return Err(Self::fail("info: arguments")) };
        let asked: &[Matcher] = match args.get(1).map(|arg| &arg.kind) {
            Some(ExprKind::Selector(selector)) => &selector.matchers,
            _ => &[],
        };
        let (names, data): (Vec<&Matcher>, Vec<&Matcher>) = asked.iter().partition(|matcher| matcher.name() == METRIC_NAME);
        let series = self.vector(grid, base)?;
        let is_info = |labels: &Labels| is_info(labels, &names);
        let Some(wanted) = self.info_matchers(&series, &names, &data, &is_info)? else {
            return Ok(unenriched(series, &data, &is_info));
        };
        let pin = reference_shift(base);
        let references = self.info_references(grid, &pin)?;
        let infos = self.info_series(grid, &references, wanted)?;
        let mut out = Vec::with_capacity(series.len());
        let mut by_target: HashMap<Labels, Vec<usize>> = HashMap::new();
        for (place, info) in infos.iter().enumerate() {
            by_target.entry(target(&info.labels)).or_default().push(place);
        }
        for one in series {
            if is_info(&one.labels) {
                out.push(one);
                continue;
            }
            let members = by_target.get(&target(&one.labels)).map(Vec::as_slice).unwrap_or_default();
            enrich(&one, &infos, members, &data, &mut out)?;
        }
        join_same_labels(out)
    }

    /// Returns the matchers that select the info series, or nothing where none can be of use.
    fn info_matchers(
        &self,
        series: &[Series],
        names: &[&Matcher],
        data: &[&Matcher],
        is_info: &dyn Fn(&Labels) -> bool,
    ) -> Outcome<Option<Vec<Matcher>>> {
        let mut matchers: Vec<Matcher> = names.iter().map(|matcher| (*matcher).clone()).collect();
        if names.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if names.iter().all(|matcher| matches!(matcher.op(), MatchOp::NotEqual | MatchOp::NotRegex)) {
            let every = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").map_err(|error| Self::fail(error.to_string()))?;
            matchers.push(every);
        }
        let mut any = false;
        for label in IDENTIFYING {
            let mut values: Vec<&str> =
                series.iter().filter(|one| !is_info(&one.labels)).filter_map(|one| one.labels.get(label)).collect();
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                continue;
            }
            any = true;
            let pattern = values.iter().map(|value| escape(value)).collect::<Vec<_>>().join("|");
            let matcher = Matcher::new(MatchOp::Regex, label, pattern).map_err(|error| Self::fail(error.to_string()))?;
            matchers.push(matcher);
        }
        if !any {
            return Ok(None);
        }
        // All of them, also those that match an absent label: what is negated must not be added either.
        matchers.extend(data.iter().map(|matcher| (*matcher).clone()));
        Ok(Some(matchers))
    }

    fn info_references(&self, grid: Grid, shift: &InfoShift) -> Outcome<References> {
        let mut references = References { grid, at_ms: None, offset_ms: 0 };
        for shift in &shift.0 {
            let shift = self.references(grid, shift)?;
            if references.at_ms.is_none() {
                references.offset_ms += shift.offset_ms;
                references.at_ms = shift.at_ms;
            }
        }
        Ok(references)
    }

    /// Reads the info series at the times that the base series were read at: at each step the time of the newest sample.
    fn info_series(&self, grid: Grid, references: &References, matchers: Vec<Matcher>) -> Outcome<Vec<Series>> {
        let shifted = match references.at_ms {
            Some(at_ms) => Grid { start_ms: at_ms - references.offset_ms, step_ms: 0, steps: 1 },
            None => Grid { start_ms: grid.start_ms - references.offset_ms, ..grid },
        };
        let selector = VectorSelector { name: None, matchers, shift: Shift::default(), extension: Default::default() };
        let series = self.taken(shifted, &selector, super::select::Take::Time)?;
        if references.at_ms.is_none() {
            return Ok(series);
        }
        Ok(series.into_iter().map(|one| Series { column: one.column.spread(grid.steps), ..one }).collect())
    }
}

/// Shifts on the way from a node down to its first selector, innermost first.
struct InfoShift(Vec<Shift>);

fn reference_shift(expr: &Expr) -> InfoShift {
    let mut found = Vec::new();
    collect(expr, &mut found);
    InfoShift(found)
}

fn collect(expr: &Expr, found: &mut Vec<Shift>) -> bool {
    match &expr.kind {
        ExprKind::Selector(selector) => {
            found.push(selector.shift.clone());
            true
        }
        ExprKind::Matrix(matrix) => {
            found.push(matrix.selector.shift.clone());
            true
        }
        ExprKind::Subquery(subquery) => {
            let inner = collect(&subquery.expr, found);
            if inner {
                found.push(subquery.shift.clone());
            }
            inner
        }
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => collect(inner, found),
        ExprKind::Binary(binary) => deep(|| collect(&binary.left, found) || collect(&binary.right, found)),
        ExprKind::Aggregate(aggregate) => collect(&aggregate.expr, found),
        ExprKind::Call(call) => call.args.iter().any(|arg| collect(arg, found)),
        ExprKind::Number(_) | ExprKind::String(_) => false,
    }
}

fn target(labels: &Labels) -> Labels {
    labels.only(|name| IDENTIFYING.contains(&name))
}

/// Returns whether a base series is itself an info metric that was asked for.
fn is_info(labels: &Labels, names: &[&Matcher]) -> bool {
    let name = labels.metric_name();
    if names.is_empty() {
        return name == "target_info";
    }
    let positive = names.iter().any(|matcher| matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex));
    positive && names.iter().all(|matcher| matcher.matches(name))
}

fn unenriched(series: Vec<Series>, data: &[&Matcher], is_info: &dyn Fn(&Labels) -> bool) -> Vec<Series> {
    let optional = data.iter().all(|matcher| matcher.matches(""));
    series.into_iter().filter(|one| optional || is_info(&one.labels)).collect()
}

/// Adds to one base series, step by step, what the info series of its target say.
fn enrich(one: &Series, infos: &[Series], members: &[usize], data: &[&Matcher], out: &mut Vec<Series>) -> Outcome<()> {
    let steps = one.column.len();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for step in (0..steps).filter(|step| one.column.has(*step)) {
        let mut builder = LabelsBuilder::new();
        let mut newest: HashMap<&str, (&Series, f64)> = HashMap::new();
        for info in members.iter().map(|place| &infos[*place]) {
            let Some(at) = info.column.float(step) else { continue };
            // Until it is too old a series whose labels changed stands beside the new one.
            match newest.get(info.labels.metric_name()) {
                Some((_, before)) if *before > at => {}
                Some((other, before)) if *before >= at => {
                    let at_ms = (at * 1000.0).round();
                    let (other, info) = (&other.labels, &info.labels);
                    let told = format!("existing {other} @ {at_ms}, new {info} @ {at_ms}");
                    return Err(Context::fail(format!("found duplicate series for info metric: {told}")));
                }
                _ => {
                    newest.insert(info.labels.metric_name(), (info, at));
                }
            }
        }
        let mut found: Vec<_> = newest.into_iter().collect();
        found.sort_by_key(|(name, _)| *name);
        for (_, (info, _)) in &found {
            for (name, value) in &info.labels {
                let asked = data.is_empty() || data.iter().any(|matcher| matcher.name() == name);
                if name == METRIC_NAME || IDENTIFYING.contains(&name) || !asked {
                    continue;
                }
                let present = builder.value(name);
                if !present.is_empty() && present != value {
                    return Err(Context::fail(format!("conflicting label: {name}")));
                }
                if !one.labels.has(name) {
                    builder.set(name, value);
                }
            }
        }
        if found.is_empty() && data.iter().any(|matcher| !matcher.matches("")) {
            continue;
        }
        for (name, value) in &one.labels {
            builder.set(name, value);
        }
        let place = *places.entry(builder.build()).or_insert_with_key(|labels| {
            out.push(Series { labels: labels.clone(), drop_name: one.drop_name, column: Column::absent(steps) });
            out.len() - 1
        });
        out[place].column.set(step, one.column.get(step));
    }
    Ok(())
}

/// Quotes what has a meaning in regular expressions.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
