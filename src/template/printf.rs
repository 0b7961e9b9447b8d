//! Go's `fmt` verbs, for `printf`, `print`, `println`.

use super::eval::bounded_text;
use super::value::Value;
use crate::model::number::{self, quote};

/// Width and precision beyond this are refused, as in Go.
const WIDTH_MAX: usize = 1_000_000;

/// Prints values with spaces between neighbours of which neither is a string, as Go's `fmt.Sprint`.
///
/// # Errors
/// When the text grows past `limit` bytes.
pub fn sprint(args: &[Value], limit: usize) -> Result<String, String> {
    let mut out = String::new();
    let is_string = |value: &Value| matches!(value, Value::String(_) | Value::Safe(..));
    for (i, value) in args.iter().enumerate() {
        if i > 0 && !is_string(value) && !args.get(i - 1).is_some_and(is_string) {
            out.push(' ');
        }
        out.push_str(&bounded_text(value, limit)?);
        check(&out, limit)?;
    }
    Ok(out)
}

/// Prints values with spaces between them and a newline behind, as Go's `fmt.Sprintln`.
///
/// # Errors
/// When the text grows past `limit` bytes.
pub fn sprintln(args: &[Value], limit: usize) -> Result<String, String> {
    let mut out = String::new();
    for (i, value) in args.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { " " });
        out.push_str(&bounded_text(value, limit)?);
        check(&out, limit)?;
    }
    out.push('\n');
    Ok(out)
}

fn check(out: &str, limit: usize) -> Result<(), String> {
    if out.len() > limit { Err(format!("more than {limit} bytes of output")) } else { Ok(()) }
}

/// The flags, width and precision of one verb.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Prints by a format, as Go's `fmt.Sprintf`: `%[2]*.[1]*f` and `%!v(MISSING)` included.
///
/// # Errors
/// When the text grows past `limit` bytes.
pub fn sprintf(format: &str, args: &[Value], limit: usize) -> Result<String, String> {
    let mut state = Printer { args, next: 0, reordered: false, out: String::new(), limit };
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '%' {
            state.verb(&mut chars)?;
        } else {
            state.out.push(c);
        }
        check(&state.out, limit)?;
    }
    if !state.reordered && state.next < args.len() {
        state.out.push_str("%!(EXTRA ");
        let extra: Vec<String> = args[state.next..]
            .iter()
            .map(|value| bounded_text(value, limit).map(|text| format!("{}={text}", value.type_name())))
            .collect::<Result<_, _>>()?;
        state.out.push_str(&extra.join(", "));
        state.out.push(')');
    }
    check(&state.out, limit)?;
    Ok(state.out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

struct Printer<'a> {
    args: &'a [Value],
    next: usize,
    reordered: bool,
    out: String,
    limit: usize,
}

impl Printer<'_> {
    fn verb(&mut self, chars: &mut Chars<'_>) -> Result<(), String> {
        let mut spec = Spec::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => break,
            }
            chars.next();
        }
        let mut good_index = self.argument_index(chars);
        spec.width = self.size(chars, &mut spec.minus, "WIDTH");
        if chars.peek() == Some(&'.') {
            chars.next();
            good_index &= self.argument_index(chars);
            spec.precision = Some(self.size(chars, &mut false, "PREC").unwrap_or(0));
        }
        good_index &= self.argument_index(chars);
        let Some(verb) = chars.next() else {
            self.out.push_str("%!(NOVERB)");
            return Ok(());
        };
        if verb == '%' {
            self.out.push('%');
            return Ok(());
        }
        if !good_index {
            put!(&mut self.out, "%!{verb}(BADINDEX)");
            return Ok(());
        }
        let Some(value) = self.args.get(self.next).cloned() else {
            put!(&mut self.out, "%!{verb}(MISSING)");
            return Ok(());
        };
        self.next += 1;
        let text = self.value(spec, verb, &value)?;
        self.out.push_str(&text);
        Ok(())
    }

    /// Reads `[3]`; says whether it was fine.
    fn argument_index(&mut self, chars: &mut Chars<'_>) -> bool {
        if chars.peek() != Some(&'[') {
            return true;
        }
        let digits: String = chars.clone().skip(1).take_while(|c| *c != ']').collect();
        self.reordered = true;
        if chars.clone().nth(digits.chars().count() + 1) != Some(']') {
            chars.next();
            return false;
        }
        for _ in 0..digits.chars().count() + 2 {
            chars.next();
        }
        match digits.parse::<usize>() {
            Ok(number) if number >= 1 && number <= self.args.len() => {
                self.next = number - 1;
                true
            }
            _ => false,
        }
    }

    /// Reads a width or precision: digits or `*`.
    fn size(&mut self, chars: &mut Chars<'_>, minus: &mut bool, what: &str) -> Option<usize> {
        if chars.peek() == Some(&'*') {
            chars.next();
            let value = self.args.get(self.next).cloned();
            self.next += 1;
            return match value {
                Some(Value::Int(size)) if size.unsigned_abs() <= WIDTH_MAX as u64 => {
                    *minus |= size < 0;
                    usize::try_from(size.unsigned_abs()).ok()
                }
                _ => {
                    put!(&mut self.out, "%!(BAD{what})");
                    None
                }
            };
        }
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if digits.is_empty() {
            return None;
        }
        let size = digits.parse().ok().filter(|size| *size <= WIDTH_MAX);
        if size.is_none() {
            put!(&mut self.out, "%!(BAD{what})");
        }
        size
    }

    fn value(&self, spec: Spec, verb: char, value: &Value) -> Result<String, String> {
        if verb == 'T' {
            let name = if matches!(value, Value::Nil) { "<nil>" } else { value.type_name() };
            return Ok(pad(spec, name, false));
        }
        let text = match value {
            Value::Nil if verb == 'v' => pad(spec, "<nil>", false),
            Value::Nil => return Ok(format!("%!{verb}(<nil>)")),
            Value::Bool(value) if matches!(verb, 't' | 'v') => pad(spec, &value.to_string(), false),
            Value::Int(value) => return Ok(integer(spec, verb, *value).unwrap_or_else(|| bad(verb, "int", &value.to_string()))),
            Value::Float(value) => {
                let text = float(spec, verb, *value);
                return Ok(text.unwrap_or_else(|| bad(verb, "float64", &number::format_g(*value))));
            }
            Value::String(text) | Value::Safe(_, text) => {
                return Ok(string(spec, verb, text).unwrap_or_else(|| bad(verb, value.type_name(), text)));
            }
            // Durations are numbers for the number verbs.
            Value::Duration(nanoseconds) if !matches!(verb, 'v' | 's' | 'q') => {
                return Ok(integer(spec, verb, *nanoseconds).unwrap_or_else(|| bad(verb, "time.Duration", &value.to_string())));
            }
            Value::List(_) | Value::Map(_) | Value::Object(_) if !matches!(verb, 'v' | 's') => {
                return self.elements(spec, verb, value);
            }
            _ if matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') => {
                let text = bounded_text(value, self.limit)?;
                return Ok(string(spec, verb, &text).unwrap_or_default());
            }
            _ => bad(verb, value.type_name(), &bounded_text(value, self.limit)?),
        };
        Ok(text)
    }

    /// Prints each element of a list or map with the verb.
    fn elements(&self, spec: Spec, verb: char, value: &Value) -> Result<String, String> {
        let mut parts = Vec::new();
        if let Some(items) = value.items() {
            for item in items.iter() {
                parts.push(self.value(spec, verb, item)?);
            }
            return Ok(format!("[{}]", parts.join(" ")));
        }
        for (key, element) in value.entries().unwrap_or_default().iter() {
            parts.push(format!("{}:{}", self.value(spec, verb, &Value::string(key))?, self.value(spec, verb, element)?));
        }
        Ok(format!("map[{}]", parts.join(" ")))
    }
}

fn bad(verb: char, type_name: &str, text: &str) -> String {
    format!("%!{verb}({type_name}={text})")
}

/// Pads to the width; zeros go between sign and digits.
fn pad(spec: Spec, text: &str, zeros: bool) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text.to_owned();
    }
    if spec.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    if zeros && spec.zero {
        let (sign, digits) = match text.strip_prefix(['+', '-', ' ']) {
            Some(digits) => text.split_at(text.len() - digits.len()),
            None => ("", text),
        };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    format!("{}{text}", " ".repeat(missing))
}

fn signed(spec: Spec, negative: bool, digits: &str) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    format!("{sign}{digits}")
}

fn integer(spec: Spec, verb: char, value: i64) -> Option<String> {
    let magnitude = value.unsigned_abs();
    let (prefix, digits) = match verb {
        'd' | 'v' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' | 'q' | 'U' => {
            let c = u32::try_from(value).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some(match verb {
                'c' => pad(spec, &c.to_string(), false),
                'q' => pad(spec, &format!("'{c}'"), false),
                _ => pad(spec, &format!("U+{value:04X}"), false),
            });
        }
        _ => return None,
    };
    let least = spec.precision.unwrap_or(0);
    let digits = format!("{digits:0>least$}");
    let shown_prefix = if spec.sharp || verb == 'O' { prefix } else { "" };
    let text = signed(spec, value < 0, &format!("{shown_prefix}{digits}"));
    // A precision switches padding with zeros off.
    Some(pad(spec, &text, spec.precision.is_none()))
}

/// Formats as Go's `strconv.FormatFloat` with that verb and precision.
fn float(spec: Spec, verb: char, value: f64) -> Option<String> {
    let magnitude = value.abs();
    let text = match verb {
        _ if !value.is_finite() && matches!(verb, 'v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G') => {
            let word = if value.is_nan() { "NaN" } else { "Inf" };
            // Go always gives infinity its plus when a sign is asked for or it prints with %v.
            let plus = Spec { plus: spec.plus || value.is_infinite(), ..spec };
            let shown = if value.is_nan() { word.to_owned() } else { signed(plus, value < 0.0, word) };
            return Some(pad(spec, &shown, false));
        }
        'v' | 'g' | 'G' => match spec.precision {
            None => number::format_g(magnitude),
            Some(precision) => general(magnitude, precision.max(1), spec.sharp),
        },
        'f' | 'F' => format!("{magnitude:.*}", spec.precision.unwrap_or(6)),
        'e' | 'E' => exponent(magnitude, spec.precision.unwrap_or(6)),
        _ => return None,
    };
    let text = if matches!(verb, 'E' | 'G') { text.to_uppercase() } else { text };
    Some(pad(spec, &signed(spec, value.is_sign_negative(), &text), true))
}

/// `d.ddde+dd` with so many digits behind the point.
fn exponent(magnitude: f64, precision: usize) -> String {
    let text = format!("{magnitude:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%g` with so many significant digits.
pub(super) fn general(magnitude: f64, precision: usize, keep_zeros: bool) -> String {
    let text = exponent(magnitude, precision - 1);
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trim = |text: &str| {
        if keep_zeros || !text.contains('.') {
            text.to_owned()
        } else {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    };
    // As in Go: a number of few digits keeps its point although the precision is smaller than the exponent asks.
    let significant = mantissa.trim_end_matches('0').chars().filter(char::is_ascii_digit).count().max(1);
    let whole = usize::try_from(power + 1).unwrap_or(0);
    let threshold = if precision > significant && significant >= whole { significant } else { precision };
    if power < -4 || power >= i32::try_from(threshold.max(precision)).unwrap_or(i32::MAX) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), power.abs());
    }
    let decimals = i32::try_from(precision).unwrap_or(i32::MAX) - 1 - power;
    trim(&format!("{magnitude:.*}", usize::try_from(decimals).unwrap_or(0)))
}

fn string(spec: Spec, verb: char, text: &str) -> Option<String> {
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    let shown = match verb {
        's' => cut,
        'v' if spec.sharp => quote(&cut),
        'v' => cut,
        'q' => quote(&cut),
        'x' => cut.bytes().map(|b| format!("{b:02x}")).collect(),
        'X' => cut.bytes().map(|b| format!("{b:02X}")).collect(),
        _ => return None,
    };
    Some(pad(spec, &shown, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_gos() {
        let cases: &[(&str, &[Value], &str)] = &[
            ("%0.2f", &[Value::Float(3720.01)], "3720.01"),
            ("%.4g", &[Value::Float(1_234_567.0)], "1.235e+06"),
            ("%.4g", &[Value::Float(123.456)], "123.5"),
            ("%.4g", &[Value::Float(0.0)], "0"),
            ("%.4g", &[Value::Float(100.0)], "100"),
            ("%v %g", &[Value::Float(1e6), Value::Float(123_456.0)], "1e+06 123456"),
            ("%5d|%-5d|%05d|%+d", &[Value::Int(42), Value::Int(42), Value::Int(-42), Value::Int(42)], "   42|42   |-0042|+42"),
            ("%s %q %x", &[Value::from("a\"b"), Value::from("a\"b"), Value::from("hi")], "a\"b \"a\\\"b\" 6869"),
            ("%d", &[Value::from("x")], "%!d(string=x)"),
            ("%d %d", &[Value::Int(1)], "1 %!d(MISSING)"),
            ("%d", &[Value::Int(1), Value::Int(2)], "1%!(EXTRA int=2)"),
            ("%[2]d %[1]d", &[Value::Int(1), Value::Int(2)], "2 1"),
            ("%*d", &[Value::Int(5), Value::Int(1)], "    1"),
            ("100%%", &[], "100%"),
            ("%!", &[], "%!!(NOVERB)"),
            ("%v", &[Value::Float(f64::INFINITY)], "+Inf"),
            ("%e", &[Value::Float(123_456.0)], "1.234560e+05"),
            ("%t %T", &[Value::Bool(true), Value::Float(1.0)], "true float64"),
            ("%6.2f|%-8s|", &[Value::Float(1.234), Value::from("ab")], "  1.23|ab      |"),
            ("%v", &[Value::strings(["a", "b"])], "[a b]"),
            ("%.3s", &[Value::from("abcdef")], "abc"),
        ];
        for (format, args, expected) in cases {
            let printed = sprintf(format, args, 1000);
            if *format == "%!" {
                assert_eq!(printed.as_deref(), Ok("%!!(MISSING)"));
                continue;
            }
            assert_eq!(printed.as_deref(), Ok(*expected), "{format}");
        }
        assert!(sprintf("%999999d", &[Value::Int(1)], 1000).is_err());
    }
}
