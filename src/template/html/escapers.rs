//! The escapers: a value to text that is safe at its place. What a typed string promises is believed.

use super::Escaper;
use super::context::Attribute;
use crate::template::eval::bounded_text;
use crate::template::json;
use crate::template::value::{Safe, Value};

/// Printed in place of what could only be harmful; Go's own word.
const FAILSAFE: &str = "ZgotmplZ";

/// Prints a value through one escaper.
pub(super) fn apply(escaper: Escaper, value: &Value, limit: usize) -> Result<String, String> {
    if escaper == Escaper::JsValue {
        return js_value(value, limit);
    }
    let safe = match value {
        Value::Safe(kind, _) => Some(*kind),
        _ => None,
    };
    let text = if matches!(value, Value::Nil) { String::new() } else { bounded_text(value, limit)? };
    Ok(match (escaper, safe) {
        (Escaper::Html, Some(Safe::Html))
        | (Escaper::HtmlName, Some(Safe::HtmlAttr))
        | (Escaper::UrlFilter, Some(Safe::Url))
        | (Escaper::CssValue, Some(Safe::Css))
        | (Escaper::Srcset, Some(Safe::Srcset)) => text,
        (Escaper::Attribute, Some(Safe::Html)) => escaped(&without_tags(&text), html_normal),
        (Escaper::Unquoted, Some(Safe::Html)) => unquoted(&without_tags(&text)),
        (Escaper::Rcdata, Some(Safe::Html)) => escaped(&text, html_normal),
        (Escaper::Html | Escaper::Attribute | Escaper::Rcdata, _) => escaped(&text, html_place),
        (Escaper::Unquoted, _) => unquoted(&text),
        (Escaper::HtmlName, _) => html_name(text),
        (Escaper::Comment, _) => String::new(),
        (Escaper::UrlFilter, _) => url_filter(text),
        (Escaper::UrlNormalize, _) | (Escaper::UrlEscape, Some(Safe::Url)) => url(&text, true),
        (Escaper::UrlEscape, _) => url(&text, false),
        (Escaper::Srcset, Some(Safe::Url)) => url(&text, true).replace(',', "%2c"),
        (Escaper::Srcset, _) => srcset(&text),
        (Escaper::JsString, Some(Safe::JsStr)) => escaped(&text, js_normal),
        (Escaper::JsString, _) => escaped(&text, js_place),
        (Escaper::JsTemplate, _) => escaped(&text, |c| match c {
            '$' => Some("\\u0024"),
            '{' => Some("\\u007b"),
            '}' => Some("\\u007d"),
            c => js_place(c),
        }),
        (Escaper::JsRegexp, _) if text.is_empty() => "(?:)".to_owned(),
        (Escaper::JsRegexp, _) => escaped(&text, js_regexp),
        (Escaper::CssValue, _) => css_value(text),
        (Escaper::CssString, _) => css_string(&text),
        (Escaper::JsValue, _) => String::new(),
    })
}

/// Replaces characters; `None` leaves one as it is.
fn escaped(text: &str, replacement: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match replacement(c) {
            Some(text) => out.push_str(text),
            None => out.push(c),
        }
    }
    out
}

/// Characters that mean something in markup but may stand in entities already.
fn html_normal(c: char) -> Option<&'static str> {
    match c {
        '&' => None,
        c => html_place(c),
    }
}

/// Characters that mean something in markup.
fn html_place(c: char) -> Option<&'static str> {
    match c {
        '\0' => Some("\u{fffd}"),
        '"' => Some("&#34;"),
        '&' => Some("&amp;"),
        '\'' => Some("&#39;"),
        '+' => Some("&#43;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

/// Escapes for text and quoted attributes, as Go's `template.HTMLEscapeString`.
pub(in crate::template) fn html_text(text: &str) -> String {
    escaped(text, |c| if c == '+' { None } else { html_place(c) })
}

fn unquoted(text: &str) -> String {
    if text.is_empty() {
        return FAILSAFE.to_owned();
    }
    escaped(text, |c| match c {
        '\t' => Some("&#9;"),
        '\n' => Some("&#10;"),
        '\u{b}' => Some("&#11;"),
        '\u{c}' => Some("&#12;"),
        '\r' => Some("&#13;"),
        ' ' => Some("&#32;"),
        '=' => Some("&#61;"),
        '`' => Some("&#96;"),
        c => html_place(c),
    })
}

/// Leaves out tags: an attribute cannot hold them.
fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        match c {
            '<' => within = true,
            '>' if within => within = false,
            c if !within => out.push(c),
            _ => {}
        }
    }
    out
}

fn html_name(text: String) -> String {
    let is_plain = Attribute::named(&text) == Attribute::Plain;
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    if is_name && is_plain { text } else { FAILSAFE.to_owned() }
}

/// Lets relative addresses, http, https and mailto pass.
fn is_safe_url(text: &str) -> bool {
    match text.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => {
            ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        }
        _ => true,
    }
}

fn url_filter(text: String) -> String {
    if is_safe_url(&text) { text } else { format!("#{FAILSAFE}") }
}

/// Escapes for a URL; `normal` leaves its own characters and escapes alone.
fn url(text: &str, normal: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    for (place, byte) in bytes.iter().enumerate() {
        let is_hex = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_hexdigit);
        let stays = match byte {
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']' => normal,
            b'-' | b'.' | b'_' | b'~' => true,
            b'%' => normal && is_hex(place + 1) && is_hex(place + 2),
            byte => byte.is_ascii_alphanumeric(),
        };
        if stays {
            out.push(char::from(*byte));
        } else {
            put!(&mut out, "%{byte:02x}");
        }
    }
    out
}

/// Checks each image of a `srcset`: an address, and perhaps a width or density.
fn srcset(text: &str) -> String {
    let image = |image: &str| {
        let mut words = image.split_ascii_whitespace();
        let address = words.next().unwrap_or("");
        let rest: Vec<&str> = words.collect();
        let is_plain = rest.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
        if !is_safe_url(address) || !is_plain {
            return format!("#{FAILSAFE}");
        }
        let address = url(address, true);
        if rest.is_empty() { address } else { format!("{address} {}", rest.join(" ")) }
    };
    text.split(',').map(image).collect::<Vec<_>>().join(",")
}

/// Prints a value as JavaScript, with spaces around what could join its neighbours.
fn js_value(value: &Value, limit: usize) -> Result<String, String> {
    Ok(match value {
        Value::Safe(Safe::Js, text) => text.to_string(),
        Value::Safe(Safe::JsStr, text) => format!("\"{text}\""),
        Value::Nil => " null ".to_owned(),
        value => {
            let text = json::to_json(value, limit)?.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
            if text.starts_with(['"', '[', '{']) { text } else { format!(" {text} ") }
        }
    })
}

fn js_normal(c: char) -> Option<&'static str> {
    match c {
        '\\' => None,
        c => js_place(c),
    }
}

fn js_place(c: char) -> Option<&'static str> {
    Some(match c {
        '\0' => "\\u0000",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\u000b",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '"' => "\\u0022",
        '`' => "\\u0060",
        '&' => "\\u0026",
        '\'' => "\\u0027",
        '+' => "\\u002b",
        '/' => "\\/",
        '<' => "\\u003c",
        '>' => "\\u003e",
        '\\' => "\\\\",
        '\u{2028}' => "\\u2028",
        '\u{2029}' => "\\u2029",
        _ => return None,
    })
}

fn js_regexp(c: char) -> Option<&'static str> {
    Some(match c {
        '$' => "\\$",
        '(' => "\\(",
        ')' => "\\)",
        '*' => "\\*",
        '-' => "\\-",
        '.' => "\\.",
        '?' => "\\?",
        '[' => "\\[",
        ']' => "\\]",
        '^' => "\\^",
        '{' => "\\{",
        '|' => "\\|",
        '}' => "\\}",
        c => return js_place(c),
    })
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

/// Lets numbers, lengths, colours and words pass.
fn css_value(text: String) -> String {
    let bad = |c: char| "\0\"'()/;@[\\]`{}<>".contains(c);
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let is_bad = text.contains(bad) || text.contains("--") || letters.contains("expression") || letters.contains("mozbinding");
    if is_bad { FAILSAFE.to_owned() } else { text }
}

fn css_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.push_str("\\\\");
        } else if "\0\t\n\u{c}\r\"&'()+/:;<>{}".contains(c) {
            put!(&mut out, "\\{:x}", u32::from(c));
            // A digit behind would count as one more of the escape.
            if chars.peek().is_none_or(|next| next.is_ascii_hexdigit() || next.is_ascii_whitespace()) {
                out.push(' ');
            }
        } else {
            out.push(c);
        }
    }
    out
}
