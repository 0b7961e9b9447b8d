//! JSON text, written without a tree in between.

use crate::model::labels::Labels;
use std::fmt::Write as _;

/// Appends a string in quotes.
pub(in crate::api) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(text.get(plain_from..at).unwrap_or(""));
        plain_from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => push(out, format_args!("\\u{control:04x}")),
        }
    }
    out.push_str(text.get(plain_from..).unwrap_or(""));
    out.push('"');
}

/// Appends formatted text.
pub(in crate::api) fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// Appends a list; `item` writes one element.
pub(in crate::api) fn push_list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut String, T)) {
    out.push('[');
    for (at, one) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        item(out, one);
    }
    out.push(']');
}

/// Appends a list of strings.
pub(in crate::api) fn push_strings<T: AsRef<str>>(out: &mut String, items: impl IntoIterator<Item = T>) {
    push_list(out, items, |out, text| push_string(out, text.as_ref()));
}

/// Appends a label set as an object.
pub(in crate::api) fn push_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_string(out, name);
        out.push(':');
        push_string(out, value);
    }
    out.push('}');
}

/// Appends a time in seconds, with three places where there are milliseconds, as Prometheus does.
pub(in crate::api) fn push_seconds(out: &mut String, at_ms: i64) {
    if at_ms < 0 {
        out.push('-');
    }
    let magnitude = at_ms.unsigned_abs();
    out.push_str(itoa::Buffer::new().format(magnitude / 1000));
    let fraction = magnitude % 1000;
    if fraction != 0 {
        push(out, format_args!(".{fraction:03}"));
    }
}

/// Appends a sample's value: a float in quotes.
pub(in crate::api) fn push_value(out: &mut String, value: f64) {
    out.push('"');
    // Whole numbers are most of what there is: they need no search for digits.
    let whole = value as i64;
    if whole.unsigned_abs() < 1 << 53 && (whole as f64).to_bits() == value.to_bits() {
        out.push_str(itoa::Buffer::new().format(whole));
    } else {
        crate::model::number::push_api(out, value);
    }
    out.push('"');
}

/// Returns a time as RFC 3339 in UTC with as many places as needed, as Go's JSON has it; zero time for `None`.
#[must_use]
pub(in crate::api) fn rfc3339(at_ms: Option<i64>) -> String {
    at_ms
        .and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok())
        .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_strings_times_and_values() {
        let written = |write: &dyn Fn(&mut String)| {
            let mut out = String::new();
            write(&mut out);
            out
        };
        assert_eq!(written(&|out| push_string(out, "a\"b\\\n\u{1}é")), "\"a\\\"b\\\\\\n\\u0001é\"");
        assert_eq!(written(&|out| push_seconds(out, 1_435_781_451_781)), "1435781451.781");
        assert_eq!(written(&|out| push_seconds(out, -1500)), "-1.500");
        assert_eq!(written(&|out| push_seconds(out, 2000)), "2");
        let cases = [(3.0, "3"), (-0.0, "-0"), (0.1, "0.1"), (1e21, "1e+21"), (f64::NEG_INFINITY, "-Inf"), (1e-7, "1e-07")];
        for (value, expected) in cases {
            assert_eq!(written(&|out| push_value(out, value)), format!("\"{expected}\""));
        }
        assert_eq!(rfc3339(Some(0)), "1970-01-01T00:00:00Z");
    }
}
