//! The escapers: a value to text that is safe at its place.

use super::Escaper;
use crate::template::eval::bounded_text;
use crate::template::value::{Safe, Value};

/// Prints a value through one escaper.
pub(super) fn apply(escaper: Escaper, value: &Value, limit: usize) -> Result<String, String> {
    if matches!(value, Value::Nil) {
        return Ok(String::new());
    }
    match (escaper, value) {
        (Escaper::Html, Value::Safe(Safe::Html, text)) => Ok(text.to_string()),
        (Escaper::Html, _) => Ok(html_text(&bounded_text(value, limit)?)),
    }
}

/// Escapes for text and quoted attributes, as Go's `template.HTMLEscapeString`.
pub(in crate::template) fn html_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// Escapes for the inside of a JavaScript string, as Go's `template.JSEscapeString`.
pub(in crate::template) fn js_string_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if c.is_control() => put!(&mut out, "\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}
