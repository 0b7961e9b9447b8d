//! Syntax tree to text: the canonical line, and the broken form for people (Prometheus's `printer.go` and `prettier.go`).

use super::expr::{
    Aggregate, At, Binary, Cardinality, DurationExpr, Expr, ExprKind, Extension, NumberLiteral, Shift, Subquery, VectorMatching,
    VectorSelector,
};
use crate::model::duration::format_ms;
use crate::model::labels::{METRIC_NAME, is_legacy_metric_name};
use crate::model::matcher::MatchOp;
use crate::model::number::{format_f, quote};
use crate::promql::deep::deep;
use std::fmt::Write as _;

/// Lines longer than this are broken by [`pretty`].
const LINE_LENGTH: usize = 100;

/// Prints the canonical form on one line; reading it gives the same tree.
#[must_use]
pub fn one_line(expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, expr);
    out
}

/// Prints the form for people: what is longer than 100 bytes is broken and indented.
#[must_use]
pub fn pretty(expr: &Expr) -> String {
    pretty_within(expr, LINE_LENGTH)
}

/// As [`pretty`], with another length of line.
#[must_use]
pub fn pretty_within(expr: &Expr, length: usize) -> String {
    let mut out = String::new();
    write_pretty(&mut out, expr, 0, length);
    out
}

/// Joins label names as they stand in `by (...)`, quoted where they are not classic names.
#[must_use]
pub fn join_labels(labels: &[String]) -> String {
    let written: Vec<String> =
        labels.iter().map(|label| if is_legacy_metric_name(label) { label.clone() } else { quote(label) }).collect();
    written.join(", ")
}

fn write_expr(out: &mut String, expr: &Expr) {
    match &expr.kind {
        ExprKind::Number(number) => out.push_str(&number_text(number)),
        ExprKind::String(text) => out.push_str(&quote(text)),
        ExprKind::Selector(selector) => {
            write_selector(out, selector);
            write_extension(out, selector.extension);
            write_shift(out, &selector.shift);
        }
        ExprKind::Matrix(matrix) => {
            write_selector(out, &matrix.selector);
            out.push('[');
            write_top_duration(out, &matrix.range);
            out.push(']');
            write_extension(out, matrix.selector.extension);
            write_shift(out, &matrix.selector.shift);
        }
        ExprKind::Subquery(subquery) => {
            write_expr(out, &subquery.expr);
            write_subquery_suffix(out, subquery);
        }
        ExprKind::Unary(op, inner) => {
            out.push_str(op.as_str());
            write_expr(out, inner);
        }
        ExprKind::Binary(binary) => {
            deep(|| write_expr(out, &binary.left));
            out.push(' ');
            out.push_str(&operator_text(binary));
            out.push(' ');
            write_expr(out, &binary.right);
        }
        ExprKind::Aggregate(aggregate) => {
            out.push_str(&aggregate_text(aggregate));
            out.push('(');
            write_list(out, aggregate.param.iter().chain([&aggregate.expr]));
            out.push(')');
        }
        ExprKind::Call(call) => {
            out.push_str(call.function);
            out.push('(');
            write_list(out, call.args.iter());
            out.push(')');
        }
        ExprKind::Paren(inner) => {
            out.push('(');
            write_expr(out, inner);
            out.push(')');
        }
    }
}

fn write_list<'a>(out: &mut String, exprs: impl Iterator<Item = &'a Expr>) {
    for (at, expr) in exprs.enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_expr(out, expr);
    }
}

fn number_text(number: &NumberLiteral) -> String {
    if number.is_duration { format_ms((number.value * 1000.0).round() as i64) } else { format_f(number.value) }
}

fn write_selector(out: &mut String, selector: &VectorSelector) {
    let name = selector.name.as_deref().unwrap_or("");
    out.push_str(name);
    let outside = |matcher: &&crate::model::matcher::Matcher| {
        matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal && matcher.value() == name && !name.is_empty()
    };
    let mut matchers: Vec<String> =
        selector.matchers.iter().filter(|matcher| !outside(matcher)).map(ToString::to_string).collect();
    if !matchers.is_empty() || name.is_empty() {
        matchers.sort();
        out.push('{');
        out.push_str(&matchers.join(","));
        out.push('}');
    }
}

fn write_extension(out: &mut String, extension: Extension) {
    out.push_str(match extension {
        Extension::None => "",
        Extension::Anchored => " anchored",
        Extension::Smoothed => " smoothed",
    });
}

fn write_shift(out: &mut String, shift: &Shift) {
    match shift.at {
        None => {}
        Some(At::Start) => out.push_str(" @ start()"),
        Some(At::End) => out.push_str(" @ end()"),
        Some(At::Timestamp(milliseconds)) => {
            let sign = if milliseconds < 0 { "-" } else { "" };
            let magnitude = milliseconds.unsigned_abs();
            push(out, format_args!(" @ {sign}{}.{:03}", magnitude / 1000, magnitude % 1000));
        }
    }
    if let Some(offset) = &shift.offset {
        out.push_str(" offset ");
        write_top_duration(out, offset);
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// Writes a duration that stands alone: a literal is always shown with units there.
fn write_top_duration(out: &mut String, duration: &DurationExpr) {
    match duration.literal_ms() {
        Some(milliseconds) => out.push_str(&format_ms(milliseconds)),
        None => write_duration(out, duration),
    }
}

fn write_duration(out: &mut String, duration: &DurationExpr) {
    let pair = |out: &mut String, name: &str, both: &(DurationExpr, DurationExpr)| {
        out.push_str(name);
        out.push('(');
        write_duration(out, &both.0);
        out.push_str(", ");
        write_duration(out, &both.1);
        out.push(')');
    };
    match duration {
        DurationExpr::Literal { seconds, is_duration } => {
            out.push_str(&number_text(&NumberLiteral { value: *seconds, is_duration: *is_duration }));
        }
        DurationExpr::Step => out.push_str("step()"),
        DurationExpr::Range => out.push_str("range()"),
        DurationExpr::Min(both) => pair(out, "min_of", both),
        DurationExpr::Max(both) => pair(out, "max_of", both),
        DurationExpr::Negate(inner) => {
            out.push('-');
            write_duration(out, inner);
        }
        DurationExpr::Binary(op, both) => {
            write_duration(out, &both.0);
            push(out, format_args!(" {} ", op.as_str()));
            write_duration(out, &both.1);
        }
        DurationExpr::Paren(inner) => {
            out.push('(');
            write_duration(out, inner);
            out.push(')');
        }
    }
}

fn write_subquery_suffix(out: &mut String, subquery: &Subquery) {
    out.push('[');
    write_top_duration(out, &subquery.range);
    out.push(':');
    if let Some(step) = &subquery.step {
        write_top_duration(out, step);
    }
    out.push(']');
    write_shift(out, &subquery.shift);
}

/// Returns the operator with its modifiers.
fn operator_text(binary: &Binary) -> String {
    let return_bool = if binary.return_bool { " bool" } else { "" };
    let matching = binary.matching.as_ref().map_or_else(String::new, matching_text);
    format!("{}{return_bool}{matching}", binary.op.as_str())
}

fn matching_text(matching: &VectorMatching) -> String {
    let mut out = String::new();
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if matching.on || !matching.labels.is_empty() || group.is_some() {
        let word = if matching.on { "on" } else { "ignoring" };
        push(&mut out, format_args!(" {word} ({})", join_labels(&matching.labels)));
    }
    if let Some(side) = group {
        push(&mut out, format_args!(" group_{side} ({})", join_labels(&matching.include)));
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            push(&mut out, format_args!(" fill ({})", format_f(left)));
        }
        (left, right) => {
            for (side, value) in [("left", left), ("right", right)] {
                if let Some(value) = value {
                    push(&mut out, format_args!(" fill_{side} ({})", format_f(value)));
                }
            }
        }
    }
    out
}

/// Returns the aggregation's word with its grouping.
fn aggregate_text(aggregate: &Aggregate) -> String {
    let op = aggregate.op.as_str();
    if aggregate.without {
        format!("{op} without ({}) ", join_labels(&aggregate.grouping))
    } else if aggregate.grouping.is_empty() {
        op.to_owned()
    } else {
        format!("{op} by ({}) ", join_labels(&aggregate.grouping))
    }
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize, length: usize) {
    let flat = one_line(expr);
    let splits = flat.len() > length;
    match &expr.kind {
        ExprKind::Aggregate(aggregate) if splits => {
            indent(out, level);
            out.push_str(&aggregate_text(aggregate));
            write_pretty_list(out, aggregate.param.iter().chain([&aggregate.expr]), level, length);
        }
        ExprKind::Call(call) if splits && !call.args.is_empty() => {
            indent(out, level);
            out.push_str(call.function);
            write_pretty_list(out, call.args.iter(), level, length);
        }
        ExprKind::Paren(inner) if splits => {
            indent(out, level);
            write_pretty_list(out, std::iter::once(&**inner), level, length);
        }
        ExprKind::Binary(binary) if splits => {
            deep(|| write_pretty(out, &binary.left, level + 1, length));
            out.push('\n');
            indent(out, level);
            out.push_str(&operator_text(binary));
            out.push('\n');
            write_pretty(out, &binary.right, level + 1, length);
        }
        ExprKind::Subquery(subquery) if splits => {
            write_pretty(out, &subquery.expr, level, length);
            write_subquery_suffix(out, subquery);
        }
        ExprKind::Unary(op, inner) => {
            let mut child = String::new();
            write_pretty(&mut child, inner, level, length);
            indent(out, level);
            out.push_str(op.as_str());
            out.push_str(child.trim());
        }
        _ => {
            indent(out, level);
            out.push_str(&flat);
        }
    }
}

/// Writes `(`, one expression on each line, and `)` on a line of its own.
fn write_pretty_list<'a>(out: &mut String, exprs: impl Iterator<Item = &'a Expr>, level: usize, length: usize) {
    out.push('(');
    for (at, expr) in exprs.enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        write_pretty(out, expr, level + 1, length);
    }
    out.push('\n');
    indent(out, level);
    out.push(')');
}
