//! A configuration as text again, for `/api/v1/status/config`: block YAML as Go's writer lays it out.

use std::fmt::Write as _;

/// A value on its way to text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Not there.
    Nothing,
    /// A word that needs no quotes: number, boolean, duration.
    Word(String),
    /// A text, quoted where it must be.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A map in the order of its keys as given.
    Map(Vec<(String, Self)>),
}

impl Shown {
    /// Returns whether this is the value that nobody has to write: nothing, zero, false, empty.
    #[must_use]
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Word(word) => matches!(word.as_str(), "" | "0" | "0s" | "0B" | "false"),
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.iter().all(|(_, value)| value.is_zero()),
        }
    }

    /// Writes the value as a YAML document.
    #[must_use]
    pub(crate) fn to_yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(entries) if !entries.is_empty() => write_map(&mut out, entries, 0, false),
            Self::List(items) if !items.is_empty() => write_list(&mut out, items, 0),
            Self::Nothing | Self::Word(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => {
                out.push_str(&inline(self));
                out.push('\n');
            }
        }
        out
    }
}

/// The text of a value that takes no lines of its own.
fn inline(value: &Shown) -> String {
    match value {
        Shown::Nothing => "null".to_owned(),
        Shown::Word(word) => word.clone(),
        Shown::Text(text) => text_scalar(text),
        Shown::List(_) => "[]".to_owned(),
        Shown::Map(_) => "{}".to_owned(),
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_map(out: &mut String, entries: &[(String, Shown)], depth: usize, mut continued: bool) {
    for (key, value) in entries {
        if !continued {
            indent(out, depth);
        }
        continued = false;
        out.push_str(&text_scalar(key));
        out.push(':');
        match value {
            Shown::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(out, inner, depth + 1, false);
            }
            Shown::List(items) if !items.is_empty() => {
                out.push('\n');
                write_list(out, items, depth);
            }
            Shown::Nothing | Shown::Word(_) | Shown::Text(_) | Shown::List(_) | Shown::Map(_) => {
                out.push(' ');
                out.push_str(&inline(value));
                out.push('\n');
            }
        }
    }
}

fn write_list(out: &mut String, items: &[Shown], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push('-');
        match item {
            Shown::Map(inner) if !inner.is_empty() => {
                out.push(' ');
                write_map(out, inner, depth + 1, true);
            }
            Shown::List(inner) if !inner.is_empty() => {
                out.push('\n');
                write_list(out, inner, depth + 1);
            }
            Shown::Nothing | Shown::Word(_) | Shown::Text(_) | Shown::List(_) | Shown::Map(_) => {
                out.push(' ');
                out.push_str(&inline(item));
                out.push('\n');
            }
        }
    }
}

/// Writes a text plain where a reader would take it for the same text, else in double quotes.
fn text_scalar(text: &str) -> String {
    if is_plain_safe(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a String cannot fail.
                let _written = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_plain_safe(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let starts_well = !matches!(
        first,
        '-' | '?' | ':' | ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' | '='
    ) && !first.is_whitespace();
    let looks_like_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "~" | "<<" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | ".nan" | ".inf"
    );
    // Anything that begins like a number is quoted: it might be read as number, time or date.
    let looks_like_number = first.is_ascii_digit() || matches!(first, '+' | '.');
    starts_well
        && !looks_like_word
        && !looks_like_number
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
}
