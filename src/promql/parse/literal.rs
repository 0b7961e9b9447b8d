//! Numbers, durations as numbers, and strings.

use super::Parser;
use crate::model::number::quote;
use crate::promql::expr::{NumberLiteral, Span};
use crate::promql::lex::{Token, TokenKind};

impl Parser<'_> {
    /// Takes a number or a duration.
    pub(super) fn take_number(&mut self) -> Option<(NumberLiteral, Span)> {
        let token = self.take(TokenKind::Number).or_else(|| self.take(TokenKind::Duration))?;
        let span = Span { start: token.start, end: token.end() };
        Some((self.number_of(token, span), span))
    }

    fn number_of(&mut self, token: Token<'_>, span: Span) -> NumberLiteral {
        if token.kind == TokenKind::Duration {
            let value = match crate::model::duration::parse(token.text) {
                Ok(duration) => duration.as_secs_f64(),
                Err(error) => {
                    self.note(span, error.to_string());
                    0.0
                }
            };
            return NumberLiteral { value, is_duration: true };
        }
        let value = match parse_number(token.text) {
            Ok(value) => value,
            Err(reason) => {
                self.note(span, format!("error parsing number: strconv.ParseFloat: parsing {}: {reason}", quote(token.text)));
                0.0
            }
        };
        NumberLiteral { value, is_duration: false }
    }

    /// Takes `+` or `-`; the answer says whether it was a minus, and where it stands.
    pub(super) fn take_sign(&mut self) -> Option<(bool, usize)> {
        let token = self.peek();
        let is_sign = token.kind == TokenKind::Operator && matches!(token.text, "+" | "-");
        is_sign.then(|| {
            self.bump();
            (token.text == "-", token.start)
        })
    }
}

/// Reads a number as Go's `strconv.ParseInt(_, 0, 64)` and, where that refuses, `ParseFloat` do: `0x1f`, `0755` and `1_000`
/// are whole numbers of other notations.
fn parse_number(text: &str) -> Result<f64, &'static str> {
    if let Some(whole) = parse_whole(text) {
        return Ok(whole as f64);
    }
    let value = crate::model::number::parse_float(text).ok_or("invalid syntax")?;
    let names_infinity = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    if value.is_infinite() && !names_infinity { Err("value out of range") } else { Ok(value) }
}

fn parse_whole(text: &str) -> Option<i64> {
    let (digits, base) = match text.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => (rest.get(1..)?, 16),
        Some(rest) if !rest.is_empty() => (rest, 8),
        _ => (text, 10),
    };
    i64::from_str_radix(&digits.replace('_', ""), base).ok()
}

/// Reads a quoted string: what stands between the quotes, escapes resolved by Go's rules. The lexer has checked the escapes;
/// bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn unquote(quoted: &str) -> String {
    let mut chars = quoted.chars();
    let open = chars.next();
    chars.next_back();
    let inner = chars.as_str();
    if open == Some('`') || !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let push = |out: &mut Vec<u8>, c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        let Some(escape) = chars.next() else { break };
        let (digits, base, first) = match escape {
            'a' => (0, 0, 7),
            'b' => (0, 0, 8),
            'f' => (0, 0, 12),
            'n' => (0, 0, 10),
            'r' => (0, 0, 13),
            't' => (0, 0, 9),
            'v' => (0, 0, 11),
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            c => match c.to_digit(8) {
                Some(digit) => (2, 8, digit),
                None => (0, 0, u32::from(c)),
            },
        };
        let mut value = first;
        for _ in 0..digits {
            let digit = chars.next().and_then(|c| c.to_digit(base)).unwrap_or(0);
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        let is_byte = escape == 'x' || escape.is_ascii_digit();
        match u8::try_from(value) {
            Ok(byte) if is_byte => out.push(byte),
            _ => push(&mut out, char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        let good =
            [("1", 1.0), ("0755", 493.0), ("0x1F", 31.0), ("1_000", 1000.0), ("0899", 899.0), ("1e3", 1000.0), (".5", 0.5)];
        for (text, expected) in good {
            assert_eq!(parse_number(text), Ok(expected), "{text}");
        }
        assert!(parse_number("NaN").is_ok_and(f64::is_nan));
        assert_eq!(parse_number("Inf"), Ok(f64::INFINITY));
        assert_eq!(parse_number("1e999"), Err("value out of range"));
        assert_eq!(parse_number("1_0.5"), Err("invalid syntax"));
    }

    #[test]
    fn strings_lose_their_quotes() {
        let cases = [(r#""a\"b""#, "a\"b"), (r"'\u00e9\x41\101\n'", "éAA\n"), (r"`\n`", r"\n"), (r"'\U0001F600'", "😀")];
        for (quoted, expected) in cases {
            assert_eq!(unquote(quoted), expected, "{quoted}");
        }
    }
}
