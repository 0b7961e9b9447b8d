//! Go's literals: strings, characters and numbers.

use std::sync::Arc;

/// Unquotes `"text"` or `` `text` `` as Go's `strconv.Unquote`.
pub(super) fn unquote(quoted: &str) -> Option<Arc<str>> {
    if let Some(raw) = quoted.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return Some(Arc::from(raw.replace('\r', "")));
    }
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let bytes = unescape(inner, '"')?;
    // Escapes may write bytes that are no text; templates print text alone.
    Some(Arc::from(String::from_utf8_lossy(&bytes)))
}

/// Unquotes `'c'`.
pub(super) fn unquote_char(quoted: &str) -> Option<char> {
    let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    let bytes = unescape(inner, '\'')?;
    let text = String::from_utf8(bytes).ok()?;
    let mut chars = text.chars();
    let c = chars.next()?;
    chars.next().is_none().then_some(c)
}

fn unescape(inner: &str, quote: char) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let push = |out: &mut Vec<u8>, c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        let escape = chars.next()?;
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            c if c == quote => push(&mut out, c),
            'x' => out.push(u8::try_from(digits(&mut chars, 2, 16, 0)?).ok()?),
            'u' => push(&mut out, char::from_u32(digits(&mut chars, 4, 16, 0)?)?),
            'U' => push(&mut out, char::from_u32(digits(&mut chars, 8, 16, 0)?)?),
            '0'..='7' => out.push(u8::try_from(digits(&mut chars, 2, 8, escape.to_digit(8)?)?).ok()?),
            _ => return None,
        }
    }
    Some(out)
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, base: u32, first: u32) -> Option<u32> {
    let mut value = first;
    for _ in 0..count {
        value = value.checked_mul(base)?.checked_add(chars.next()?.to_digit(base)?)?;
    }
    Some(value)
}

fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let fine = bytes.iter().enumerate().all(|(at, b)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let word = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        *b != b'_' || (word(before) && word(bytes.get(at + 1)))
    });
    fine.then(|| text.replace('_', ""))
}

/// Reads an integer with Go's prefixes and underscores.
pub(super) fn int(text: &str) -> Option<i64> {
    let text = without_underscores(text)?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)?),
        Some("0o") => (8, lower.get(2..)?),
        Some("0b") => (2, lower.get(2..)?),
        _ if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Reads a float with Go's underscores.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = without_underscores(text)?;
    if !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    crate::model::number::parse_float(&text).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        assert_eq!(unquote(r#""a\n\x41\u00e9\101\"""#).as_deref(), Some("a\nAéA\""));
        assert_eq!(unquote(r"`a\n`").as_deref(), Some(r"a\n"));
        assert_eq!(unquote(r#""\q""#), None);
        assert_eq!(unquote_char(r"'\''"), Some('\''));
        assert_eq!(int("-0x10"), Some(-16));
        assert_eq!(int("1_000"), Some(1000));
        assert_eq!(int("1__0"), None);
        assert_eq!(int("010"), Some(8));
        assert_eq!(int("1.5"), None);
        assert_eq!(float("1.5e3"), Some(1500.0));
        assert_eq!(float("."), None);
    }
}
