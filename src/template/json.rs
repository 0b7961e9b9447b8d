//! Values as JSON, as Go's `encoding/json` writes them: sorted keys, `<`, `>` and `&` escaped.

use super::time::RFC3339_NANO;
use super::value::Value;
use crate::model::number;

/// Writes a value as JSON of at most `limit` bytes.
///
/// # Errors
/// For NaN and infinity, and past the limit.
pub fn to_json(value: &Value, limit: usize) -> Result<String, String> {
    let mut out = String::new();
    write(&mut out, value, limit)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, limit: usize) -> Result<(), String> {
    if out.len() > limit {
        return Err(format!("more than {limit} bytes of output"));
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) | Value::Duration(value) => out.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => out.push_str(&json_float(*value)),
        Value::Float(value) => return Err(format!("json: unsupported value: {}", number::format_f(*value))),
        Value::String(text) | Value::Safe(_, text) => string(out, text),
        Value::Time(time) => string(out, &time.format(RFC3339_NANO)),
        Value::List(_) => {
            let items = value.items().unwrap_or_default();
            wrapped(out, '[', ']', items.iter(), |out, item| write(out, item, limit))?;
        }
        Value::Map(_) => {
            let entries = value.entries().unwrap_or_default();
            wrapped(out, '{', '}', entries.iter(), |out, (key, value)| {
                string(out, key);
                out.push(':');
                write(out, value, limit)
            })?;
        }
        Value::Struct(structure) => wrapped(out, '{', '}', structure.fields(), |out, (key, value)| {
            string(out, key);
            out.push(':');
            write(out, value, limit)
        })?,
        Value::Object(object) => write(out, &object.json().unwrap_or_else(|| object.plain()), limit)?,
    }
    Ok(())
}

fn wrapped<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T) -> Result<(), String>,
) -> Result<(), String> {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item)?;
    }
    out.push(close);
    Ok(())
}

/// `'f'` for 1e-6 <= |v| < 1e21, else `'e'` with an exponent of one digit where one is enough.
fn json_float(value: f64) -> String {
    let text = number::format_api(value);
    match text.split_once("e-0") {
        Some((mantissa, digit)) => format!("{mantissa}e-{digit}"),
        None => text,
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => put!(out, "\\u{:04x}", u32::from(c)),
            c if u32::from(c) < 0x20 => put!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go() {
        let value = Value::map([
            ("b", Value::Int(1)),
            ("a", Value::list([Value::Nil, Value::from("<\n\u{1}")])),
            ("f", Value::Float(1e-9)),
        ]);
        assert_eq!(to_json(&value, 1000).as_deref(), Ok(r#"{"a":[null,"\u003c\n\u0001"],"b":1,"f":1e-9}"#));
        assert!(to_json(&Value::Float(f64::NAN), 1000).is_err());
    }
}
