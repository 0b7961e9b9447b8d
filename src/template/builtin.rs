//! Go's own functions: logic, comparison, `len`, `index`, `slice`, printing, escaping.

use super::html::escapers;
use super::value::Value;
use super::{Signature, printf};
use std::cmp::Ordering;

const fn variadic(params: &'static [&'static str]) -> Option<Signature> {
    Some(Signature { params, variadic: true })
}

const fn fixed(params: &'static [&'static str]) -> Option<Signature> {
    Some(Signature { params, variadic: false })
}

/// Returns what one of Go's functions takes.
pub(super) fn signature(name: &str) -> Option<Signature> {
    match name {
        "and" | "or" | "index" | "slice" | "eq" | "call" => variadic(&["any", "any"]),
        "not" | "len" => fixed(&["any"]),
        "print" | "println" | "html" | "js" | "urlquery" => variadic(&["any"]),
        "printf" => variadic(&["string", "any"]),
        "ne" | "lt" | "le" | "gt" | "ge" => fixed(&["any", "any"]),
        _ => None,
    }
}

/// Calls one of Go's functions; `limit` bounds texts.
pub(super) fn call(name: &str, args: &[Value], limit: usize) -> Result<Value, String> {
    match (name, args) {
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, places @ ..]) => slice(value, places),
        ("eq", [first, others @ ..]) => equal(first, others).map(Value::Bool),
        ("ne", [left, right]) => Ok(Value::Bool(!equal(left, std::slice::from_ref(right))?)),
        ("lt", [left, right]) => Ok(Value::Bool(less(left, right)?)),
        ("le", [left, right]) => Ok(Value::Bool(less(left, right)? || same(left, right)?)),
        ("gt", [left, right]) => Ok(Value::Bool(!(less(left, right)? || same(left, right)?))),
        ("ge", [left, right]) => Ok(Value::Bool(!less(left, right)?)),
        ("print", _) => printf::sprint(args, limit).map(Value::from),
        ("println", _) => printf::sprintln(args, limit).map(Value::from),
        ("printf", [format, rest @ ..]) => printf::sprintf(format.as_text().unwrap_or(""), rest, limit).map(Value::from),
        ("html", _) => Ok(Value::from(escapers::html_text(&arguments_text(args, limit)?))),
        ("js", _) => Ok(Value::from(escapers::js_string_text(&arguments_text(args, limit)?))),
        ("urlquery", _) => Ok(Value::from(super::library::query_escape(&arguments_text(args, limit)?))),
        ("call", [function, ..]) => Err(format!("non-function {function} of type {}", function.type_name())),
        _ => Err(format!("no function {name}")),
    }
}

fn arguments_text(args: &[Value], limit: usize) -> Result<String, String> {
    match args {
        [only] if only.as_text().is_some() => Ok(only.as_text().unwrap_or("").to_owned()),
        _ => printf::sprint(args, limit),
    }
}

fn length(value: &Value) -> Result<Value, String> {
    match value.length() {
        Some(length) => Ok(Value::Int(length as i64)),
        None if matches!(value, Value::Nil) => Err("len of nil pointer".to_owned()),
        None => Err(format!("len of type {}", value.type_name())),
    }
}

fn place_of(value: &Value, length: usize) -> Result<usize, String> {
    match value {
        Value::Int(at) => {
            let place = usize::try_from(*at).ok().filter(|place| *place < length);
            place.ok_or_else(|| format!("index out of range: {at}"))
        }
        Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut found = value.clone();
    for key in keys {
        found = match found.plain() {
            Value::Nil => return Err("index of untyped nil".to_owned()),
            Value::String(text) => Value::Int(i64::from(text.as_bytes()[place_of(key, text.len())?])),
            Value::Map(map) => match key {
                Value::String(key) => map.get(key).cloned().unwrap_or_else(|| map.zero()),
                Value::Nil => return Err("value is nil; should be string".to_owned()),
                other => return Err(format!("value has type {}; should be string", other.type_name())),
            },
            plain => match plain.items() {
                Some(items) => items[place_of(key, items.len())?].clone(),
                None => return Err(format!("can't index item of type {}", found.type_name())),
            },
        };
    }
    Ok(found)
}

fn slice(value: &Value, places: &[Value]) -> Result<Value, String> {
    let plain = value.plain();
    let Some(length) = plain.length().filter(|_| plain.entries().is_none()) else {
        return Err(match plain {
            Value::Nil => "slice of untyped nil".to_owned(),
            _ => format!("can't slice item of type {}", value.type_name()),
        });
    };
    if places.len() > 3 {
        return Err(format!("too many slice indexes: {}", places.len()));
    }
    if places.len() == 3 && plain.as_text().is_some() {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut bounds = [0, length, length];
    for (bound, place) in bounds.iter_mut().zip(places) {
        // An end may lie one past the last place.
        *bound = place_of(place, length + 1)?;
    }
    let [start, end, _] = bounds;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match plain.as_text() {
        // Go cuts between bytes; what is no text then is replaced.
        Some(text) => Ok(Value::string(String::from_utf8_lossy(&text.as_bytes()[start..end]))),
        None => {
            let items = plain.items().unwrap_or_default();
            Ok(Value::list(items[start..end].iter().cloned()))
        }
    }
}

/// What `eq` and `lt` compare.
#[derive(PartialEq)]
enum Basic<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

fn basic(value: &Value) -> Option<Basic<'_>> {
    Some(match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Int(value) | Value::Duration(value) => Basic::Int(*value),
        Value::Float(value) => Basic::Float(*value),
        Value::String(text) | Value::Safe(_, text) => Basic::Text(text),
        _ => return None,
    })
}

const BAD_TYPE: &str = "invalid type for comparison";
const INCOMPATIBLE: &str = "incompatible types for comparison";

fn same(left: &Value, right: &Value) -> Result<bool, String> {
    match (left, right) {
        (Value::Nil, Value::Nil) => return Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => return Ok(false),
        (Value::Time(left), Value::Time(right)) => return Ok(left == right),
        _ => {}
    }
    match (basic(left), basic(right)) {
        (Some(left), Some(right)) if std::mem::discriminant(&left) == std::mem::discriminant(&right) => Ok(left == right),
        (Some(_), Some(_)) => Err(INCOMPATIBLE.to_owned()),
        _ => Err(format!("non-comparable types {left}: {}, {right}: {}", left.type_name(), right.type_name())),
    }
}

fn equal(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(left: &Value, right: &Value) -> Result<bool, String> {
    match (basic(left), basic(right)) {
        (Some(Basic::Int(left)), Some(Basic::Int(right))) => Ok(left < right),
        (Some(Basic::Float(left)), Some(Basic::Float(right))) => Ok(left < right),
        (Some(Basic::Text(left)), Some(Basic::Text(right))) => Ok(left.cmp(right) == Ordering::Less),
        (Some(Basic::Bool(_)), Some(Basic::Bool(_))) => Err(BAD_TYPE.to_owned()),
        (Some(_), Some(_)) => Err(INCOMPATIBLE.to_owned()),
        _ => Err(BAD_TYPE.to_owned()),
    }
}
