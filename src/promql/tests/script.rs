//! Reads Prometheus's test language.

use crate::model::duration;
use crate::promql::parse::{SeriesDescription, parse_series_notation};

/// One command of a file.
pub(super) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

pub(super) struct Load {
    pub(super) step_ms: i64,
    pub(super) with_nhcb: bool,
    pub(super) series: Vec<SeriesDescription>,
}

#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Exactly(String),
    Matching(String),
    Any,
}

#[derive(Clone, Debug)]
pub(super) struct ExpectedSeries {
    pub(super) described: SeriesDescription,
    /// `counter_reset_hint:unknown` was written.
    pub(super) unknown_hint: bool,
}

#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) series: Vec<ExpectedSeries>,
    pub(super) scalar: Option<f64>,
    pub(super) text: Option<String>,
    pub(super) fail: Option<Wanted>,
    pub(super) ordered: bool,
    pub(super) warnings: Vec<Wanted>,
    pub(super) infos: Vec<Wanted>,
    pub(super) no_warn: bool,
    pub(super) no_info: bool,
    pub(super) range_vector: Option<(i64, i64, i64)>,
}

pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) query: String,
    /// Start, end, step; an instant has no step.
    pub(super) at_ms: (i64, i64, Option<i64>),
    pub(super) expected: Expected,
}

fn milliseconds(text: &str) -> i64 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if let Ok(seconds) = text.parse::<f64>() {
        return sign * (seconds * 1000.0) as i64;
    }
    sign * duration::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).as_millis() as i64
}

/// Splits a file into commands.
pub(super) fn parse(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let body: Vec<&str> = lines[at + 1..].iter().take_while(|line| !line.is_empty()).copied().collect();
        let word = line.split_whitespace().next().unwrap_or("");
        match word {
            "" => at += 1,
            "clear" => {
                commands.push(Command::Clear);
                at += 1;
            }
            "load" | "load_with_nhcb" => {
                let step = line.split_whitespace().nth(1).unwrap();
                let series = body.iter().map(|line| describe(line)).collect();
                commands.push(Command::Load(Load { step_ms: milliseconds(step), with_nhcb: word == "load_with_nhcb", series }));
                at += 1 + body.len();
            }
            _ if word.starts_with("eval") => {
                commands.push(Command::Eval(Box::new(eval(at + 1, line, &body))));
                at += 1 + body.len();
            }
            _ => panic!("line {}: {line}", at + 1),
        }
    }
    commands
}

fn describe(line: &str) -> SeriesDescription {
    // Offsets of start timestamps are written as durations; the loader sees them as values.
    if let Some((head, values)) = line.split_once("@st") {
        let labels = parse_series_notation(&format!("{head}{}", " 0")).unwrap_or_else(|error| panic!("{line}: {error}")).labels;
        return SeriesDescription { labels: labels.with("@st", "yes"), values: super::load::start_offsets(values) };
    }
    parse_series_notation(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Takes the first words off a text.
fn words<const N: usize>(text: &str) -> ([&str; N], &str) {
    let mut rest = text.trim_start();
    let mut taken = [""; N];
    for word in &mut taken {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        *word = &rest[..end];
        rest = rest[end..].trim_start();
    }
    (taken, rest)
}

fn eval(line_number: usize, line: &str, body: &[&str]) -> Eval {
    let ([word, kind], rest) = words(line);
    let (at_ms, query) = match kind {
        "instant" => {
            let ([_at, at], query) = words(rest);
            ((milliseconds(at), milliseconds(at), None), query)
        }
        "range" => {
            let ([_from, from, _to, to, _step, step], query) = words(rest);
            ((milliseconds(from), milliseconds(to), Some(milliseconds(step))), query)
        }
        _ => panic!("{line}"),
    };
    let mut expected = Expected::default();
    match word {
        "eval_fail" => expected.fail = Some(Wanted::Any),
        "eval_ordered" => expected.ordered = true,
        _ => {}
    }
    for line in body {
        expect(&mut expected, line);
    }
    Eval { line: line_number, query: query.to_owned(), at_ms, expected }
}

fn wanted(text: &str) -> Wanted {
    let text = text.trim();
    if let Some(text) = text.strip_prefix("msg:") {
        Wanted::Exactly(text.trim().to_owned())
    } else if let Some(text) = text.strip_prefix("regex:") {
        Wanted::Matching(text.trim().to_owned())
    } else {
        assert!(text.is_empty(), "{text}");
        Wanted::Any
    }
}

fn expect(expected: &mut Expected, line: &str) {
    if let Some(rest) = line.strip_prefix("expected_fail_message") {
        expected.fail = Some(Wanted::Exactly(rest.trim().to_owned()));
        return;
    }
    let Some(rest) = line.strip_prefix("expect ") else {
        if let Some(value) = crate::model::number::parse_float(line) {
            expected.scalar = Some(value);
        } else {
            let unknown_hint = line.contains("counter_reset_hint:unknown");
            expected.series.push(ExpectedSeries { described: describe(line), unknown_hint });
        }
        return;
    };
    let ([word], rest) = words(rest);
    match word {
        "fail" => expected.fail = Some(wanted(rest)),
        "warn" => expected.warnings.push(wanted(rest)),
        "info" => expected.infos.push(wanted(rest)),
        "no_warn" => expected.no_warn = true,
        "no_info" => expected.no_info = true,
        "ordered" => expected.ordered = true,
        "string" => expected.text = Some(crate::promql::parse::unquote(rest)),
        "range" => {
            let ([_vector, _from, from, _to, to, _step, step], _) = words(rest);
            expected.range_vector = Some((milliseconds(from), milliseconds(to), milliseconds(step)));
        }
        _ => match line.strip_prefix("expect fail") {
            Some(rest) => expected.fail = Some(wanted(rest)),
            None => panic!("{line}"),
        },
    }
}
