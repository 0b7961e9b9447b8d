//! What rule templates and notification templates share: plain functions, to be put behind names by their callers.

use super::printf;
use super::time::Time;
use super::value::Value;
use crate::model::number::{format_g, parse_float, quote};
use regex_automata::meta;

/// Reads a number as Prometheus's `convertToFloat`: numbers, durations in seconds, texts.
///
/// # Errors
/// In Go's words, for other texts and types.
pub fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Duration(nanoseconds) => Ok(*nanoseconds as f64 / 1e9),
        Value::String(text) => {
            parse_float(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(text)))
        }
        Value::Nil => Err("can't convert <nil> to float".to_owned()),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// Four significant digits: Go's `%.4g`.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return format_g(value);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{}", printf::general(value.abs(), 4, false))
}

/// Divides by `base` while the number is large; returns the number and its prefix.
fn scaled(mut value: f64, base: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    (value, prefix)
}

fn small(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

/// `1.235M`, `120m`.
///
/// # Errors
/// When the value is no number.
pub fn humanize(value: &Value) -> Result<String, String> {
    let value = to_float(value)?;
    if value == 0.0 || !value.is_finite() {
        return Ok(short(value));
    }
    let (value, prefix) =
        if value.abs() >= 1.0 { scaled(value, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"]) } else { small(value) };
    Ok(format!("{}{prefix}", short(value)))
}

/// `1Mi`.
///
/// # Errors
/// When the value is no number.
pub fn humanize_1024(value: &Value) -> Result<String, String> {
    let value = to_float(value)?;
    if value.abs() <= 1.0 || !value.is_finite() {
        return Ok(short(value));
    }
    let (value, prefix) = scaled(value, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    Ok(format!("{}{prefix}", short(value)))
}

/// `14d 6h 56m 7s`, `123.5ms`, of seconds.
///
/// # Errors
/// When the value is no number.
pub fn humanize_duration(value: &Value) -> Result<String, String> {
    let value = to_float(value)?;
    if !value.is_finite() {
        return Ok(short(value));
    }
    if value == 0.0 {
        return Ok("0s".to_owned());
    }
    if value.abs() < 1.0 {
        let (value, prefix) = small(value);
        return Ok(format!("{}{prefix}s", short(value)));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    Ok(match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", short(value.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    })
}

/// `12.35%`, of a ratio.
///
/// # Errors
/// When the value is no number.
pub fn humanize_percentage(value: &Value) -> Result<String, String> {
    Ok(format!("{}%", short(to_float(value)? * 100.0)))
}

/// Seconds since 1970 to a time of millisecond resolution; `None` for NaN and infinity.
fn time_of(seconds: f64) -> Result<Option<Time>, String> {
    if !seconds.is_finite() {
        return Ok(None);
    }
    let nanoseconds = seconds * 1e9;
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&nanoseconds) {
        let shown = format_g(seconds);
        return Err(format!("{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"));
    }
    Ok(Some(Time::from_ms((nanoseconds as i64) / 1_000_000)))
}

/// `2015-06-23 13:19:44.128 +0000 UTC`, of seconds since 1970.
///
/// # Errors
/// When the value is no number or beyond what nanoseconds can count.
pub fn humanize_timestamp(value: &Value) -> Result<String, String> {
    let seconds = to_float(value)?;
    Ok(time_of(seconds)?.map_or_else(|| short(seconds), |time| time.to_string()))
}

/// Seconds since 1970 as a time.
///
/// # Errors
/// When the value is no number or no time.
pub fn to_time(value: &Value) -> Result<Value, String> {
    let seconds = to_float(value)?;
    let shown = format_g(seconds);
    time_of(seconds)?.map(Value::Time).ok_or_else(|| format!("cannot convert {shown} to time.Time"))
}

/// Seconds as a duration.
///
/// # Errors
/// When the value is no number or no duration.
pub fn to_duration(value: &Value) -> Result<Value, String> {
    let seconds = to_float(value)?;
    let nanoseconds = seconds * 1e9;
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&nanoseconds) {
        return Err(format!("cannot convert {} to time.Duration", format_g(seconds)));
    }
    Ok(Value::Duration(nanoseconds as i64))
}

/// A duration of Prometheus's form (`1h30m`, with a sign) in seconds.
///
/// # Errors
/// When the text is none.
pub fn parse_duration(text: &str) -> Result<f64, String> {
    let (sign, unsigned) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let duration = crate::model::duration::parse(unsigned).map_err(|error| error.to_string())?;
    Ok(sign * duration.as_millis() as f64 / 1000.0)
}

fn search(pattern: &str) -> Result<meta::Regex, String> {
    meta::Builder::new()
        .configure(meta::Config::new().nfa_size_limit(Some(10 << 20)).hybrid_cache_capacity(1 << 20))
        .build(pattern)
        .map_err(|error| format!("error parsing regexp: {error}"))
}

/// Replaces every match of a pattern; `$1` and `${name}` stand for groups.
///
/// # Errors
/// When the pattern is none.
pub fn replace_all(pattern: &str, replacement: &str, text: &str) -> Result<String, String> {
    let regex = search(pattern)?;
    let mut out = String::new();
    let mut last = 0;
    for captures in regex.captures_iter(text) {
        if let Some(found) = captures.get_match() {
            out.push_str(text.get(last..found.start()).unwrap_or(""));
            captures.interpolate_string_into(text, replacement, &mut out);
            last = found.end();
        }
    }
    out.push_str(text.get(last..).unwrap_or(""));
    Ok(out)
}

/// Returns whether a pattern matches anywhere in the text.
///
/// # Errors
/// When the pattern is none.
pub fn is_match(pattern: &str, text: &str) -> Result<bool, String> {
    Ok(search(pattern)?.is_match(text))
}

/// Upper-cases the first letter of each word and leaves the others, as Go's `strings.Title`.
#[must_use]
pub fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        let is_letter = c.is_alphanumeric() || c == '_' || c == '\'';
        if is_letter && !within {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        within = is_letter;
    }
    out
}

/// Splits `host:port` and `[host]:port` as Go's `net.SplitHostPort`.
#[must_use]
pub fn split_host_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        let port = behind.strip_prefix(':')?;
        return (!port.contains([':', '[', ']']) && !host.contains('[')).then_some((host, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// Drops the port of an address.
#[must_use]
pub fn strip_port(address: &str) -> &str {
    split_host_port(address).map_or(address, |(host, _)| host)
}

/// Drops the domain of a host name; IP addresses stay.
#[must_use]
pub fn strip_domain(address: &str) -> String {
    let (host, port) = split_host_port(address).unwrap_or((address, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let name = host.split('.').next().unwrap_or(host);
    match port {
        "" => name.to_owned(),
        port if name.contains(':') => format!("[{name}]:{port}"),
        port => format!("{name}:{port}"),
    }
}

/// Escapes for the query part of an address, as Go's `url.QueryEscape`: a space becomes a plus.
#[must_use]
pub fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => put!(&mut out, "%{byte:02X}"),
        }
    }
    out
}

/// Reverses [`query_escape`], as Go's `url.QueryUnescape`.
///
/// # Errors
/// For a percent sign without two digits, and for bytes that are no text.
pub fn query_unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let mut at = 0;
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                    let shown: String = text.get(at..).unwrap_or("%").chars().take(3).collect();
                    return Err(format!("invalid URL escape {}", quote(&shown)));
                };
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            byte => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8(bytes).map_err(|_| "invalid URL escape: not UTF-8".to_owned())
}
