//! Syntax trees as Prometheus's `parse_query` shows them.

use crate::model::matcher::Matcher;
use crate::model::number::format_f;
use crate::promql::expr::{
    At, Binary, Cardinality, DurationExpr, Expr, ExprKind, Extension, Shift, Subquery, VectorMatching, VectorSelector,
};
use crate::promql::signatures;
use serde_json::{Map, Value, json};

/// Returns the tree of an expression.
#[must_use]
pub(super) fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => json!({"type": "numberLiteral", "val": format_f(number.value)}),
        ExprKind::String(text) => json!({"type": "stringLiteral", "val": text}),
        ExprKind::Selector(selector) => Value::Object(selector_fields("vectorSelector", selector)),
        ExprKind::Matrix(matrix) => {
            let mut fields = selector_fields("matrixSelector", &matrix.selector);
            duration_fields(&mut fields, "range", Some(&matrix.range));
            Value::Object(fields)
        }
        ExprKind::Subquery(subquery) => subquery_tree(subquery),
        ExprKind::Unary(op, inner) => json!({"type": "unaryExpr", "op": op.as_str(), "expr": tree(inner)}),
        ExprKind::Binary(binary) => binary_tree(binary),
        ExprKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.as_str(),
            "expr": tree(&aggregate.expr),
            "param": aggregate.param.as_ref().map(tree),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        ExprKind::Call(call) => {
            let signature = signatures::find(call.function);
            let args: Vec<&str> = signature.map_or(&[][..], |found| found.args).iter().map(|kind| kind.as_str()).collect();
            json!({
                "type": "call",
                "func": {
                    "name": call.function,
                    "argTypes": args,
                    "variadic": signature.map_or(0, |found| found.variadic.as_number()),
                    "returnType": signature.map_or("none", |found| found.returns.as_str()),
                },
                "args": call.args.iter().map(tree).collect::<Vec<_>>(),
            })
        }
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
    }
}

fn selector_fields(kind: &str, selector: &VectorSelector) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), kind.into());
    fields.insert("name".to_owned(), selector.name.as_deref().unwrap_or("").into());
    fields.insert("matchers".to_owned(), selector.matchers.iter().map(matcher).collect());
    fields.insert("anchored".to_owned(), (selector.extension == Extension::Anchored).into());
    fields.insert("smoothed".to_owned(), (selector.extension == Extension::Smoothed).into());
    shift_fields(&mut fields, &selector.shift);
    fields
}

fn matcher(matcher: &Matcher) -> Value {
    json!({"name": matcher.name(), "value": matcher.value(), "type": matcher.op().as_str()})
}

fn shift_fields(fields: &mut Map<String, Value>, shift: &Shift) {
    duration_fields(fields, "offset", shift.offset.as_ref());
    let (timestamp, edge) = match shift.at {
        None => (Value::Null, Value::Null),
        Some(At::Timestamp(at_ms)) => (at_ms.into(), Value::Null),
        Some(At::Start) => (Value::Null, "start".into()),
        Some(At::End) => (Value::Null, "end".into()),
    };
    fields.insert("timestamp".to_owned(), timestamp);
    fields.insert("startOrEnd".to_owned(), edge);
}

/// A duration takes two fields: `range` in milliseconds where it is a literal, else `rangeExpr`.
fn duration_fields(fields: &mut Map<String, Value>, name: &str, duration: Option<&DurationExpr>) {
    let literal = duration.map_or(Some(0), DurationExpr::literal_ms);
    fields.insert(name.to_owned(), literal.unwrap_or(0).into());
    let expression = if literal.is_some() { None } else { duration };
    fields.insert(format!("{name}Expr"), expression.map_or(Value::Null, duration_tree));
}

fn duration_tree(duration: &DurationExpr) -> Value {
    let node = |op: &str, left: Value, right: Value| json!({"type": "durationExpr", "op": op, "lhs": left, "rhs": right, "wrapped": false});
    match duration {
        DurationExpr::Literal { seconds, is_duration } => {
            json!({"type": "numberLiteral", "val": format_f(*seconds), "duration": is_duration})
        }
        DurationExpr::Step => node("step", Value::Null, Value::Null),
        DurationExpr::Range => node("range", Value::Null, Value::Null),
        DurationExpr::Min(both) => node("min_of", duration_tree(&both.0), duration_tree(&both.1)),
        DurationExpr::Max(both) => node("max_of", duration_tree(&both.0), duration_tree(&both.1)),
        DurationExpr::Negate(inner) => node("-", Value::Null, duration_tree(inner)),
        DurationExpr::Binary(op, both) => node(op.as_str(), duration_tree(&both.0), duration_tree(&both.1)),
        DurationExpr::Paren(inner) => {
            // Parentheses are a mark on an operation; a literal in them is a sum without a left side.
            let mut inner = match &**inner {
                literal @ DurationExpr::Literal { .. } => node("+", Value::Null, duration_tree(literal)),
                other => duration_tree(other),
            };
            if let Some(fields) = inner.as_object_mut() {
                fields.insert("wrapped".to_owned(), true.into());
            }
            inner
        }
    }
}

fn subquery_tree(subquery: &Subquery) -> Value {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), "subquery".into());
    fields.insert("expr".to_owned(), tree(&subquery.expr));
    duration_fields(&mut fields, "range", Some(&subquery.range));
    duration_fields(&mut fields, "step", subquery.step.as_ref());
    shift_fields(&mut fields, &subquery.shift);
    Value::Object(fields)
}

fn binary_tree(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": binary.matching.as_ref().map(matching_tree),
        "bool": binary.return_bool,
    })
}

fn matching_tree(matching: &VectorMatching) -> Value {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    // NaN and infinities are no numbers of JSON: serde makes null of them.
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::parse::parse;
    use std::path::PathBuf;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests read their data in place")]
    fn trees_are_prometheus_own() {
        let root = std::env::var_os("WATCHKEEPER_SHARED")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
        let path = root.join("promql/parser.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            assert!(std::env::var_os("WATCHKEEPER_REQUIRE_SHARED").is_none(), "{} is missing", path.display());
            println!("NOT RUN: {} is not there", path.display());
            return;
        };
        let data: Value = serde_json::from_str(&text).unwrap();
        let mut compared = 0;
        for case in data["cases"].as_array().unwrap().iter().filter(|case| case.get("ast").is_some()) {
            let input = case["input"].as_str().unwrap();
            if input.contains(r"\xFF") && input.starts_with('\'') {
                // Its string is not UTF-8: JSON shows one U+FFFD for each byte, as here.
                continue;
            }
            assert_eq!(tree(&parse(input).unwrap()), case["ast"], "{input}");
            compared += 1;
        }
        assert!(compared > 100, "only {compared} trees were compared");
    }
}
