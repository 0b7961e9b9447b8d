//! How text moves the place where a template stands: one token at a time.

use super::context::{Attribute, Context, Delimiter, Element, Slash, State, UrlPart};
use crate::model::number::quote;

/// A step: the place behind it, and how many bytes it took.
type Step = Result<(Context, usize), String>;

/// Reads one piece of text. Takes at least one byte, or changes the state.
pub(super) fn step(at: Context, text: &[u8]) -> Step {
    if at.delimiter == Delimiter::None {
        return match special_end(at, text) {
            Some(0) => Ok((Context::default(), 0)),
            Some(end) => inside(at, &text[..end]),
            None => inside(at, text),
        };
    }
    let ends: &[u8] = match at.delimiter {
        Delimiter::Double => b"\"",
        Delimiter::Single => b"'",
        Delimiter::SpaceOrTagEnd | Delimiter::None => b" \t\n\x0c\r>",
    };
    let end = text.iter().position(|byte| ends.contains(byte)).unwrap_or(text.len());
    if at.delimiter == Delimiter::SpaceOrTagEnd
        && let Some(bad) = text[..end].iter().find(|byte| b"\"'<=`".contains(byte))
    {
        let shown = String::from_utf8_lossy(&text[..end]);
        return Err(format!("{} in unquoted attr: {}", quote(&char::from(*bad).to_string()), quote(&shown)));
    }
    if end == text.len() {
        let decoded = unescape(text);
        let mut rest = decoded.as_slice();
        let mut now = at;
        while !rest.is_empty() {
            let (next, taken) = inside(now, rest)?;
            if taken == 0 && next == now {
                break;
            }
            now = next;
            rest = &rest[taken..];
        }
        return Ok((now, text.len()));
    }
    let is_js_type = is_js_type(&text[..end]);
    let leaves_script =
        at.state == State::Value && at.element == Element::Script && at.attribute == Attribute::ScriptType && !is_js_type;
    let element = if leaves_script { Element::None } else { at.element };
    let quote = usize::from(at.delimiter != Delimiter::SpaceOrTagEnd);
    Ok((Context { state: State::Tag, element, ..Context::default() }, end + quote))
}

fn is_js_type(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or("").trim();
    kind.is_empty() || kind == "module" || kind.ends_with("javascript") || kind.ends_with("ecmascript") || kind.ends_with("json")
}

/// Returns where the end tag of an element begins whose content is not markup.
fn special_end(at: Context, text: &[u8]) -> Option<usize> {
    let name = at.element.name();
    if name.is_empty() || matches!(at.state, State::Tag | State::AttributeName | State::AfterName | State::BeforeValue) {
        return None;
    }
    (0..text.len()).find(|place| {
        let here = &text[*place..];
        here.starts_with(b"</")
            && here.get(2..2 + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
            && here.get(2 + name.len()).is_none_or(|next| b" \t\n\x0c\r/>".contains(next))
    })
}

fn inside(at: Context, text: &[u8]) -> Step {
    match at.state {
        State::Text => Ok(in_text(at, text)),
        State::Tag => in_tag(at, text),
        State::AttributeName => in_attribute_name(at, text),
        State::AfterName => Ok(after_name(at, text)),
        State::BeforeValue => Ok(before_value(at, text)),
        State::Comment => Ok(until(at, text, b"-->", Context::default())),
        State::Rcdata | State::Value | State::Srcset => Ok((at, text.len())),
        State::Url => Ok((in_url(at, text), text.len())),
        State::Js => in_js(at, text),
        State::JsDouble => in_js_literal(at, text, b'"'),
        State::JsSingle => in_js_literal(at, text, b'\''),
        State::JsTemplate => in_js_literal(at, text, b'`'),
        State::JsRegexp => in_js_literal(at, text, b'/'),
        State::JsBlockComment => Ok(until(at, text, b"*/", Context { state: State::Js, ..at })),
        State::JsLineComment => Ok(match text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            // The line's end is not part of the comment.
            Some(end) => (Context { state: State::Js, ..at }, end),
            None => (at, text.len()),
        }),
        State::Css => Ok(in_css(at, text)),
        State::CssDouble | State::CssDoubleUrl => Ok(in_css_literal(at, text, b"\\\"", State::Css)),
        State::CssSingle | State::CssSingleUrl => Ok(in_css_literal(at, text, b"\\'", State::Css)),
        State::CssUrl => Ok(in_css_literal(at, text, b"\\\t\n\x0c\r )", State::Css)),
        State::CssBlockComment => Ok(until(at, text, b"*/", Context { state: State::Css, ..at })),
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn until(at: Context, text: &[u8], end: &[u8], then: Context) -> (Context, usize) {
    find(text, end).map_or((at, text.len()), |place| (then, place + end.len()))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0c | b'\r')
}

fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_space(**byte)).count()
}

fn in_text(at: Context, text: &[u8]) -> (Context, usize) {
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| *byte == b'<') {
        let place = from + found;
        let here = &text[place..];
        if here.starts_with(b"<!--") {
            return (Context { state: State::Comment, ..Context::default() }, place + 4);
        }
        let is_end = here.get(1) == Some(&b'/');
        let name_at = 1 + usize::from(is_end);
        let name: Vec<u8> = here[name_at.min(here.len())..].iter().copied().take_while(|byte| is_tag_name(*byte)).collect();
        if name.first().is_some_and(u8::is_ascii_alphabetic) {
            let element = if is_end { Element::None } else { Element::named(&String::from_utf8_lossy(&name)) };
            return (Context { state: State::Tag, element, ..Context::default() }, place + name_at + name.len());
        }
        from = place + 1;
    }
    (at, text.len())
}

fn is_tag_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-')
}

/// Returns the length of an attribute's name.
fn attribute_name(text: &[u8]) -> Result<usize, String> {
    for (place, byte) in text.iter().enumerate() {
        match byte {
            byte if is_space(*byte) || matches!(byte, b'=' | b'>') => return Ok(place),
            b'\'' | b'"' | b'<' => {
                let shown = String::from_utf8_lossy(text);
                return Err(format!("{} in attribute name: {}", quote(&char::from(*byte).to_string()), quote(&shown)));
            }
            _ => {}
        }
    }
    Ok(text.len())
}

fn in_tag(at: Context, text: &[u8]) -> Step {
    let start = spaces(text);
    if start == text.len() {
        return Ok((at, text.len()));
    }
    if text[start] == b'>' {
        return Ok((Context { state: at.element.content(), element: at.element, ..Context::default() }, start + 1));
    }
    let length = attribute_name(&text[start..])?;
    if length == 0 {
        let shown = String::from_utf8_lossy(&text[start..]);
        return Err(format!("expected space, attr name, or end of tag, but got {}", quote(&shown)));
    }
    let end = start + length;
    let name = String::from_utf8_lossy(&text[start..end]);
    let is_script_type = at.element == Element::Script && name.eq_ignore_ascii_case("type");
    let attribute = if is_script_type { Attribute::ScriptType } else { Attribute::named(&name) };
    let state = if end == text.len() { State::AttributeName } else { State::AfterName };
    Ok((Context { state, element: at.element, attribute, ..Context::default() }, end))
}

fn in_attribute_name(at: Context, text: &[u8]) -> Step {
    let length = attribute_name(text)?;
    let state = if length == text.len() { State::AttributeName } else { State::AfterName };
    Ok((Context { state, ..at }, length))
}

fn after_name(at: Context, text: &[u8]) -> (Context, usize) {
    let start = spaces(text);
    match text.get(start) {
        None => (at, text.len()),
        Some(b'=') => (Context { state: State::BeforeValue, ..at }, start + 1),
        Some(_) => (Context { state: State::Tag, attribute: Attribute::Plain, ..at }, start),
    }
}

fn before_value(at: Context, text: &[u8]) -> (Context, usize) {
    let start = spaces(text);
    let (delimiter, quote) = match text.get(start) {
        None => return (at, text.len()),
        Some(b'\'') => (Delimiter::Single, 1),
        Some(b'"') => (Delimiter::Double, 1),
        Some(_) => (Delimiter::SpaceOrTagEnd, 0),
    };
    // The script's type must be known until its value has been read.
    let attribute = if at.attribute == Attribute::ScriptType { at.attribute } else { Attribute::Plain };
    (Context { state: at.attribute.start(), delimiter, attribute, ..at }, start + quote)
}

fn in_url(at: Context, text: &[u8]) -> Context {
    if text.iter().any(|byte| matches!(byte, b'#' | b'?')) {
        Context { url: UrlPart::QueryOrFragment, ..at }
    } else if spaces(text) != text.len() && at.url == UrlPart::None {
        Context { url: UrlPart::PreQuery, ..at }
    } else {
        at
    }
}

fn in_js(at: Context, text: &[u8]) -> Step {
    let Some(place) = text.iter().position(|byte| b"\"'`/".contains(byte)) else {
        return Ok((Context { slash: slash_after(text, at.slash), ..at }, text.len()));
    };
    let slash = slash_after(&text[..place], at.slash);
    let state = match text[place] {
        b'"' => State::JsDouble,
        b'\'' => State::JsSingle,
        b'`' => State::JsTemplate,
        _ => match text.get(place + 1) {
            Some(b'/') => return Ok((Context { state: State::JsLineComment, slash, ..at }, place + 2)),
            Some(b'*') => return Ok((Context { state: State::JsBlockComment, slash, ..at }, place + 2)),
            _ => match slash {
                Slash::Regexp => State::JsRegexp,
                Slash::Division => return Ok((Context { slash: Slash::Regexp, ..at }, place + 1)),
                Slash::Unknown => {
                    let shown = String::from_utf8_lossy(&text[place..]);
                    return Err(format!("'/' could start a division or regexp: {}", quote(&shown)));
                }
            },
        },
    };
    Ok((Context { state, slash: Slash::Regexp, ..at }, place + 1))
}

/// Words of JavaScript behind which a slash begins a regular expression.
const BEFORE_REGEXP: [&str; 13] =
    ["break", "case", "continue", "delete", "do", "else", "finally", "in", "instanceof", "return", "throw", "try", "typeof"];

/// Returns what a slash would mean behind this code.
fn slash_after(code: &[u8], before: Slash) -> Slash {
    let code = code.trim_ascii_end();
    match code.last() {
        None => before,
        Some(last @ (b'+' | b'-')) => {
            // `x++ /` divides, `x + /` does not.
            let run = code.iter().rev().take_while(|byte| *byte == last).count();
            if run % 2 == 0 { Slash::Division } else { Slash::Regexp }
        }
        Some(b'.') => match code.len().checked_sub(2).and_then(|place| code.get(place)) {
            Some(digit) if digit.is_ascii_digit() => Slash::Division,
            _ => Slash::Regexp,
        },
        Some(
            b',' | b'<' | b'>' | b'=' | b'*' | b'%' | b'&' | b'|' | b'^' | b'?' | b'!' | b'~' | b'(' | b'[' | b':' | b';' | b'{'
            | b'}',
        ) => Slash::Regexp,
        Some(_) => {
            let word = code.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')).count();
            let word = String::from_utf8_lossy(&code[code.len() - word..]);
            if BEFORE_REGEXP.contains(&&*word) { Slash::Regexp } else { Slash::Division }
        }
    }
}

fn in_js_literal(at: Context, text: &[u8], end: u8) -> Step {
    let mut in_class = false;
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        match byte {
            b'\\' => {
                if place + 1 == text.len() {
                    return Err(format!("unfinished escape sequence in JS string: {}", quote(&String::from_utf8_lossy(text))));
                }
                place += 1;
            }
            b'[' if end == b'/' => in_class = true,
            b']' => in_class = false,
            byte if *byte == end && !in_class => {
                return Ok((Context { state: State::Js, slash: Slash::Division, ..at }, place + 1));
            }
            _ => {}
        }
        place += 1;
    }
    if in_class {
        return Err(format!("unfinished JS regexp charset: {}", quote(&String::from_utf8_lossy(text))));
    }
    Ok((at, text.len()))
}

fn in_css(at: Context, text: &[u8]) -> (Context, usize) {
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| b"(\"'/".contains(byte)) {
        let place = from + found;
        match text[place] {
            b'"' => return (Context { state: State::CssDouble, ..at }, place + 1),
            b'\'' => return (Context { state: State::CssSingle, ..at }, place + 1),
            b'/' if text.get(place + 1) == Some(&b'*') => return (Context { state: State::CssBlockComment, ..at }, place + 2),
            b'(' => {
                let before = text[..place].trim_ascii_end();
                if before.len() >= 3 && before[before.len() - 3..].eq_ignore_ascii_case(b"url") {
                    let start = place + 1 + spaces(&text[place + 1..]);
                    let (state, quote) = match text.get(start) {
                        Some(b'"') => (State::CssDoubleUrl, 1),
                        Some(b'\'') => (State::CssSingleUrl, 1),
                        _ => (State::CssUrl, 0),
                    };
                    return (Context { state, url: UrlPart::None, ..at }, start + quote);
                }
            }
            _ => {}
        }
        from = place + 1;
    }
    (at, text.len())
}

fn in_css_literal(at: Context, text: &[u8], ends: &[u8], then: State) -> (Context, usize) {
    let mut from = 0;
    loop {
        let Some(found) = text[from..].iter().position(|byte| ends.contains(byte)) else {
            return (in_url(at, text), text.len());
        };
        let place = from + found;
        if text[place] != b'\\' {
            return (Context { state: then, url: UrlPart::None, ..at }, place + 1);
        }
        from = place + 2;
        if from >= text.len() {
            return (in_url(at, text), text.len());
        }
    }
}

/// Decodes the entities that matter for finding the ends of strings.
fn unescape(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let entity = behind.split_once(';').and_then(|(name, after)| Some((entity(name)?, after)));
        match entity {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out.into_bytes()
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?);
    }
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => None,
    }
}
