//! Functions that change labels or go by them.

use super::context::{Context, Grid, Outcome, join_same_labels};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::regex::Regex;
use crate::promql::column::Series;
use crate::promql::expr::Expr;
use std::cmp::Ordering;

pub(super) fn replace(context: &Context<'_>, grid: Grid, args: &[Expr]) -> Outcome<Vec<Series>> {
    let [vector, target, replacement, source, pattern] = args else { return Err(Context::fail("label_replace: arguments")) };
    let target = context.text(grid, target)?;
    let replacement = context.text(grid, replacement)?;
    let source = context.text(grid, source)?;
    let pattern = context.text(grid, pattern)?;
    let regex =
        Regex::new(&pattern).map_err(|_| Context::fail(format!("invalid regular expression in label_replace(): {pattern}")))?;
    check_target("label_replace", &target)?;
    // One within the other they are all held.
    let program = regex.program_bytes() as u64;
    context.make_labels(program)?;
    let before = context.made();
    let mut series = context.vector(grid, vector)?;
    let replaced = context.made().saturating_sub(before);
    context.drop_labels(program);
    for one in &mut series {
        context.breathe()?;
        let allow = |length: usize| allow(context, &one.labels, &target, length);
        if let Some(value) = regex.expand_allowed(one.labels.value(&source), &replacement, allow)? {
            set(one, &target, &value);
        } else if replaced > 0 {
            context.make_labels(label_bytes(&one.labels))?;
        }
    }
    context.drop_labels(replaced);
    join_same_labels(series)
}

/// Refuses names that no label can have. Bytes that are not UTF-8 reach this place as U+FFFD.
fn check_target(function: &str, name: &str) -> Outcome<()> {
    if name.is_empty() || name.contains('\u{fffd}') {
        return Err(Context::fail(format!("invalid destination label name in {function}(): {name}")));
    }
    Ok(())
}

/// Returns about how many bytes a label set takes.
pub(super) fn label_bytes(labels: &Labels) -> u64 {
    labels.packed().len() as u64 + 64
}

/// Counts a label set with a value of that length, which is about to be made: the value, a builder's copy, the set itself. What
/// is needed only while it is made is counted no longer.
fn allow(context: &Context<'_>, labels: &Labels, target: &str, length: usize) -> Outcome<()> {
    let bytes = label_bytes(labels).saturating_add((target.len() + 8) as u64).saturating_add(length as u64);
    context.make_labels(bytes.saturating_mul(3))?;
    context.drop_labels(bytes.saturating_mul(2));
    Ok(())
}

fn set(one: &mut Series, name: &str, value: &str) {
    one.labels = one.labels.with(name, value);
    if name == METRIC_NAME {
        one.drop_name = false;
    }
}

pub(super) fn join(context: &Context<'_>, grid: Grid, args: &[Expr]) -> Outcome<Vec<Series>> {
    let [vector, target, separator, sources @ ..] = args else { return Err(Context::fail("label_join: arguments")) };
    let target = context.text(grid, target)?;
    let separator = context.text(grid, separator)?;
    let sources = sources.iter().map(|source| context.text(grid, source)).collect::<Outcome<Vec<_>>>()?;
    if let Some(bad) = sources.iter().find(|source| source.is_empty()) {
        return Err(Context::fail(format!("invalid source label name in label_join(): {bad}")));
    }
    check_target("label_join", &target)?;
    let before = context.made();
    let mut series = context.vector(grid, vector)?;
    let replaced = context.made().saturating_sub(before);
    for one in &mut series {
        context.breathe()?;
        let values: Vec<_> = sources.iter().map(|source| one.labels.value(source)).collect();
        let separators = separator.len().saturating_mul(values.len().saturating_sub(1));
        let length = values.iter().fold(separators, |length, value| length.saturating_add(value.len()));
        allow(context, &one.labels, &target, length)?;
        let value = values.join(&separator);
        set(one, &target, &value);
    }
    context.drop_labels(replaced);
    join_same_labels(series)
}

/// Orders as `sort` and its sisters do. It counts in instant queries alone.
pub(super) fn sorted(context: &Context<'_>, mut series: Vec<Series>, function: &str, names: &[String]) -> Outcome<Vec<Series>> {
    match function {
        "sort" | "sort_desc" => {
            for one in series.iter_mut().filter(|one| one.column.has_histograms()) {
                let histograms = (0..one.column.len()).filter(|step| one.column.histogram(*step).is_some());
                histograms.collect::<Vec<_>>().into_iter().for_each(|step| one.column.clear(step));
            }
            series.retain(|one| !one.column.is_blank());
            let value = |one: &Series| one.column.float(0).unwrap_or(f64::NAN);
            let descending = function == "sort_desc";
            context.sort(&mut series, |a, b| by_value(value(a), value(b), descending))?;
        }
        _ => {
            context.sort(&mut series, |a, b| by_labels(a, b, names))?;
            if function == "sort_by_label_desc" {
                series.reverse();
            }
        }
    }
    Ok(series)
}

/// Compares numbers; what is none comes last either way.
pub(super) fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if descending => b.total_cmp(&a),
        (false, false) => a.total_cmp(&b),
    }
}

fn by_labels(a: &Series, b: &Series, names: &[String]) -> Ordering {
    let by_names = names.iter().map(|name| naturally(a.labels.value(name), b.labels.value(name)));
    by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels))
}

/// Compares texts with numbers in them as people do: `node2` before `node10`.
fn naturally(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (chunk(left), chunk(right)) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((first, rest)), Some((second, other))) => {
                let order = match (first.parse::<i64>(), second.parse::<i64>()) {
                    (Ok(first), Ok(second)) => first.cmp(&second),
                    _ => first.cmp(second),
                };
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (rest, other);
            }
        }
    }
}

/// Splits off the leading run of digits or of anything else.
fn chunk(text: &str) -> Option<(&str, &str)> {
    let digits = text.as_bytes().first()?.is_ascii_digit();
    let length = text.bytes().take_while(|byte| byte.is_ascii_digit() == digits).count();
    Some(text.split_at(length))
}
