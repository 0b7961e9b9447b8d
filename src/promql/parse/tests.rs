//! Prometheus's own cases, and what they leave open.

use super::*;
use crate::promql::print::{one_line, pretty, pretty_within};
use serde_json::Value;
use std::path::PathBuf;

/// Returns a file of the shared test data, or `None` with a visible line where it is absent.
#[expect(clippy::disallowed_methods, reason = "tests read their data in place")]
fn shared(file: &str) -> Option<Value> {
    let root = std::env::var_os("WATCHKEEPER_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join("promql").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("WATCHKEEPER_REQUIRE_SHARED").is_none(), "{} is missing", path.display());
        println!("NOT RUN: {} is not there", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn cases(data: &Value) -> &Vec<Value> {
    data["cases"].as_array().unwrap()
}

/// Inputs whose outcome differs from Prometheus's on purpose, and why.
const EXCEPTIONS: [(&str, &str); 1] =
    [(r"'\a\b\f\n\r\t\v\\\' - \xFF\377\u1234\U00010111\U0001011111☺'", "strings are UTF-8 here: \\xFF becomes U+FFFD")];

fn excepted(input: &str) -> bool {
    EXCEPTIONS.iter().any(|(known, _)| *known == input)
}

#[test]
fn reads_and_refuses_as_prometheus() {
    let Some(data) = shared("parser.json") else { return };
    let mut wrong = Vec::new();
    let mut passed = 0;
    for case in cases(&data) {
        let input = case["input"].as_str().unwrap();
        let outcome = match (parse(input), case["string"].as_str()) {
            (Ok(expr), Some(string)) => {
                let printed = one_line(&expr);
                let typed = expr.value_type().as_str();
                if excepted(input) || (printed == string && typed == case["type"].as_str().unwrap()) {
                    Ok(())
                } else {
                    Err(format!("printed {printed} ({typed}), expected {string}"))
                }
            }
            (Err(error), Some(_)) => Err(format!("refused: {error}")),
            (Ok(_), None) => Err(format!("accepted, expected {}", case["error"])),
            (Err(errors), None) => refused(input, &errors, case),
        };
        match outcome {
            Ok(()) => passed += 1,
            Err(what) => wrong.push(format!("{input:.200}\n    {what}")),
        }
    }
    println!("parser.json: {passed} of {}", cases(&data).len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn refused(input: &str, errors: &ParseErrors, case: &Value) -> Result<(), String> {
    if let Some(expected) = case["error"].as_str()
        && errors.to_string() != expected
    {
        return Err(format!("said {errors}\n    expected {expected}"));
    }
    // The input of these had a byte that is not UTF-8; here it is a longer character.
    if input.contains('\u{fffd}') {
        return Ok(());
    }
    let Some(expected) = case["errors"].as_array() else { return Ok(()) };
    let place = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let expected: Vec<ParseError> = expected
        .iter()
        .map(|error| ParseError {
            span: Span { start: place(&error["start"]), end: place(&error["end"]) },
            message: error["message"].as_str().unwrap().to_owned(),
        })
        .collect();
    if errors.errors() == expected { Ok(()) } else { Err(format!("found {:?}\n    expected {expected:?}", errors.errors())) }
}

#[test]
fn prints_as_prometheus() {
    let Some(data) = shared("format.json") else { return };
    let mut wrong = Vec::new();
    for case in cases(&data) {
        let input = case["input"].as_str().unwrap();
        if excepted(input) {
            continue;
        }
        let expr = parse(input).unwrap_or_else(|error| panic!("{input}: {error}"));
        let mut check = |form: &str, printed: String| {
            if let Some(expected) = case[form].as_str()
                && printed != expected
            {
                wrong.push(format!("{form} of {input}\n{printed}\nexpected\n{expected}"));
            }
        };
        check("one_line", one_line(&expr));
        check("pretty", pretty(&expr));
        check("pretty_10", pretty_within(&expr, 10));
        let again = parse(&one_line(&expr)).unwrap_or_else(|error| panic!("{}: {error}", one_line(&expr)));
        assert_eq!(one_line(&again), one_line(&expr));
    }
    println!("format.json: {} wrong of {}", wrong.len(), cases(&data).len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn reads_series_as_prometheus() {
    let Some(data) = shared("series_notation.json") else { return };
    let mut wrong = Vec::new();
    for case in cases(&data) {
        let input = case["input"].as_str().unwrap();
        let fails = case["fail"].as_bool().unwrap();
        match parse_series_notation(input) {
            Ok(_) if fails => wrong.push(format!("{input}: accepted")),
            Err(error) if !fails => wrong.push(format!("{input}: refused: {error}")),
            Err(error) if case["error"].as_str().is_some_and(|expected| error.to_string() != expected) => {
                wrong.push(format!("{input}: said {error}, expected {}", case["error"]));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn depth_is_bounded() {
    let deep = |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    for (open, close) in [("(", ")"), ("abs(x + ", ")"), ("sum by (a) (x * ", ")")] {
        assert!(parse(&format!("{}x{}", open.repeat(95), close.repeat(95))).is_ok(), "{open}");
    }
    assert!(parse(&deep("(", ")", NESTING_MAX - 1)).is_ok());
    for (open, close) in [("(", ")"), ("-(", ")"), ("sum(", ")"), ("abs(", ")"), ("- ", ""), ("x[1m:][", "")] {
        assert!(parse(&deep(open, close, 10_000)).is_err(), "{open}");
    }
    assert!(parse(&format!("1{}", " + 1".repeat(HEIGHT_MAX))).is_err());
    assert!(parse(&format!("1{}", " ^ 1".repeat(10_000))).is_err());
    assert!(parse(&format!("x{}", "[1m:]".repeat(10_000))).is_err());
    let chain = parse(&format!("1{}", " + 1".repeat(HEIGHT_MAX - 1))).expect("a long chain");
    assert_eq!((chain.height(), chain.clone() == chain), (HEIGHT_MAX, true));
    assert!(parse(&format!("x[{}1s", "(".repeat(10_000))).is_err());
}

#[test]
fn selectors_of_match_parameters() {
    let matchers = parse_selector(r#"up{job=~"a|b", instance!="x"}"#).unwrap();
    let shown: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [r#"job=~"a|b""#, r#"instance!="x""#, r#"__name__="up""#]);
    for bad in ["up[5m]", "up offset 5m", "1", "", "sum(up)", "up{"] {
        assert!(parse_selector(bad).is_err(), "{bad}");
    }
}

#[test]
fn errors_tell_line_and_column() {
    let error = parse("sum(up)\n  + rate(up)").unwrap_err();
    assert_eq!(error.line_column(), Some((2, 10)));
    let expected = r#"2:10: parse error: expected type range vector in call to function "rate", got instant vector"#;
    assert_eq!(error.to_string(), expected);
}

#[test]
fn bombs_of_matchers_are_refused_by_name_and_can_be_given_up() {
    use super::{Patterns, parse_selector_with, parse_with};
    let sum = |count: usize, matcher: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..count).map(matcher).collect();
        format!("up{{{}}}", all.join(","))
    };
    let error = |text: &str| parse(text).map_err(|errors| errors.to_string()).unwrap_err();
    let plain = |at: usize| format!("l{at}=\"v\"");
    assert!(parse(&sum(9_000, &plain)).is_ok());
    assert!(error(&sum(20_000, &plain)).ends_with("parse error: more than 10000 matchers in one query"));
    let different = |at: usize| format!("l=~\".*x{at}.\"");
    assert!(error(&sum(1_001, &different)).ends_with("parse error: more than 1000 different regular expressions in one query"));
    // The same one is compiled once, whatever label it is of.
    let same = |at: usize| format!("l{at}=~\".*x.\",m{at}!~\".*x.\"");
    assert!(parse(&sum(4_000, &same)).is_ok());
    let large = |at: usize| format!("l=~\"(x{at}|[a-f]{{900}}.)*\"");
    let refused = error(&sum(900, &large));
    assert!(refused.ends_with("parse error: the regular expressions of one query compile to more than 32 MiB"), "{refused}");
    // All selectors of a request count together.
    let many = sum(6_000, &plain);
    let mut patterns = Patterns::default();
    assert!(parse_selector_with(&many, &mut patterns).is_ok());
    assert!(parse_selector_with(&many, &mut patterns).is_err());
    // Nobody waits for the rest.
    let asked = std::cell::Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let given_up = parse_with(&sum(900, &different), Patterns::new(&cancelled)).map_err(|errors| errors.to_string()).unwrap_err();
    assert!(given_up.ends_with("query was canceled while it was read") && asked.get() == 4, "{given_up}");
}
