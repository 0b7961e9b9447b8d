use super::*;
use crate::model::labels::Labels;
use serde_json::Value;

/// Reads a file of the shared test data, or says visibly that it is absent.
fn vectors(name: &str) -> Vec<Value> {
    crate::model::shared_data::json(&format!("alerting/matchers/{name}"))
        .and_then(|mut file| file["cases"].as_array_mut().map(std::mem::take))
        .unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn op(word: &Value) -> MatchOp {
    match text(word) {
        "=" => MatchOp::Equal,
        "!=" => MatchOp::NotEqual,
        "=~" => MatchOp::Regex,
        "!~" => MatchOp::NotRegex,
        other => panic!("operator {other}"),
    }
}

fn check_list(file: &str, only: impl Fn(&Value) -> bool, parse: impl Fn(&str) -> Parsed) -> usize {
    let cases = vectors(file);
    for case in cases.iter().filter(|case| only(case)) {
        let input = text(&case["input"]);
        let got = parse(input);
        let Some(wanted) = case["matchers"].as_array() else {
            assert!(got.is_err(), "{file}: {input} gave {got:?}");
            continue;
        };
        let wanted: Vec<(MatchOp, &str, &str)> =
            wanted.iter().map(|matcher| (op(&matcher["op"]), text(&matcher["name"]), text(&matcher["value"]))).collect();
        let got = got.unwrap_or_else(|error| panic!("{file}: {input}: {error}"));
        let got: Vec<(MatchOp, &str, &str)> = got.iter().map(|m| (m.op(), m.name(), m.value())).collect();
        assert_eq!(got, wanted, "{file}: {input}");
    }
    cases.len()
}

#[test]
fn reads_alertmanagers_vectors() {
    let all = |_: &Value| true;
    let counts = [
        check_list("classic_list.json", all, parse_classic),
        check_list("utf8_list.json", all, parse_utf8),
        check_list("utf8_single.json", all, |input| parse_utf8(input).and_then(exactly_one).map(|m| vec![m])),
        check_list("fallback_list.json", all, parse),
        check_list("fallback_single.json", all, |input| parse_one(input).map(|m| vec![m])),
        check_list("compliance.json", all, parse_classic),
        check_list("compliance.json", |case| case["skip_utf8"] == false, parse_utf8),
    ];
    println!("cases: {counts:?}");
}

#[test]
fn utf8_errors_name_the_place() {
    for case in vectors("utf8_list.json").iter().chain(&vectors("utf8_single.json")) {
        if let Some(wanted) = case["error"].as_str() {
            let got = parse_utf8(text(&case["input"])).and_then(exactly_one).map_err(|error| error.0);
            assert_eq!(got.err().as_deref(), Some(wanted), "{}", case["input"]);
        }
    }
}

#[test]
fn matches_as_alertmanager() {
    for case in vectors("match.json") {
        let matcher = &case["matcher"];
        let built = Matcher::for_alerts(op(&matcher["op"]), text(&matcher["name"]), text(&matcher["value"])).expect("good");
        assert_eq!(built.matches(text(&case["label_value"])), case["match"], "{case}");
    }
    let absent = Matcher::for_alerts(MatchOp::Regex, "zone", "|eu").expect("good");
    assert!(absent.matches_labels(&Labels::empty()));
}

#[test]
fn writes_as_alertmanager() {
    for case in vectors("to_string.json") {
        let built = Matcher::for_alerts(op(&case["op"]), text(&case["name"]), text(&case["value"])).expect("good");
        assert_eq!(one_to_text(&built), text(&case["string"]));
    }
}

#[test]
fn label_names() {
    for case in vectors("label_names_utf8.json") {
        assert_eq!(is_label_name(text(&case["input"])), case["expected"], "{case}");
    }
    for case in vectors("label_names_classic.json") {
        assert_eq!(crate::model::labels::is_legacy_name(text(&case["input"])), case["expected"], "{case}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (name, value) in [("a", "b"), ("a b", "x\ny"), ("ü", "\"\\"), ("foo!", "tab\t"), ("x", "")] {
        let matcher = Matcher::for_alerts(MatchOp::NotEqual, name, value).expect("good");
        assert_eq!(parse(&to_text(std::slice::from_ref(&matcher))), Ok(vec![matcher]));
    }
}
