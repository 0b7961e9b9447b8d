//! Alertmanager's own cases of routing trees and time intervals, read through the configuration.

use crate::alerting::setup;
use crate::config::{AlertmanagerConfig, load_alertmanager};
use crate::model::labels::Labels;
use crate::model::shared_data;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn indented(yaml: &str) -> String {
    yaml.lines().filter(|line| line.trim() != "---").map(|line| format!("  {line}\n")).collect()
}

fn with_route(route_yaml: &str) -> AlertmanagerConfig {
    let names: BTreeSet<&str> = route_yaml.lines().filter_map(|line| line.trim().strip_prefix("receiver: ")).collect();
    let receivers: String = names.iter().map(|name| format!("- name: {name}\n")).collect();
    let yaml = format!("route:\n{}\nreceivers:\n{receivers}", indented(route_yaml));
    load_alertmanager(Path::new("alertmanager.yml"), &yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn labels(value: &Value) -> Labels {
    Labels::from_pairs(value.as_object().into_iter().flatten().map(|(name, value)| (name, value.as_str().unwrap_or(""))))
}

#[test]
fn routes_take_what_alertmanagers_take() {
    let mut count = 0;
    for name in ["match", "matchers", "matchers_and_match"] {
        let Some(file) = shared_data::json(&format!("alerting/routes/{name}.json")) else { return };
        let config = with_route(file["route_yaml"].as_str().expect("a tree"));
        let (setup, _) = setup::build(&config, &[]).expect("a setup");
        for case in file["cases"].as_array().expect("cases") {
            let taking: Vec<_> = setup.routes.matching(&labels(&case["labels"])).into_iter().collect();
            let taking: Vec<_> = taking.into_iter().filter_map(|place| setup.routes.get(place)).collect();
            let receivers: Vec<&str> = taking.iter().map(|route| route.receiver.as_str()).collect();
            let wanted: Vec<&str> =
                case["routes"].as_array().expect("routes").iter().filter_map(|r| r["receiver"].as_str()).collect();
            assert_eq!(receivers, wanted, "{name}: {case}");
            let all: Vec<bool> = taking.iter().map(|route| route.group_by_all).collect();
            let wanted: Vec<bool> =
                case["routes"].as_array().expect("routes").iter().filter_map(|r| r["group_by_all"].as_bool()).collect();
            assert_eq!(all, wanted, "{name}: {case}");
            let keys: Vec<&str> = taking.iter().map(|route| route.key.as_str()).collect();
            assert_eq!(serde_json::json!(keys), case["route_keys"], "{name}: {case}");
            count += 1;
        }
    }
    assert_eq!(count, 18);
}

#[test]
fn routes_have_alertmanagers_ids() {
    let Some(file) = shared_data::json("alerting/routes/ids.json") else { return };
    let config = with_route(file["route_yaml"].as_str().expect("a tree"));
    let (setup, _) = setup::build(&config, &[]).expect("a setup");
    let ids: Vec<&str> = setup.routes.iter().map(|route| route.id.as_str()).collect();
    assert_eq!(serde_json::json!(ids), file["ids"]);
}

/// Reads `08 Jul 20 09:00 +0000`.
fn moment(text: &str) -> i64 {
    let time = crate::template::Time::parse("02 Jan 06 15:04 -0700", text);
    time.unwrap_or_else(|error| panic!("{text}: {error}")).as_ms()
}

#[test]
fn time_intervals_hold_when_alertmanagers_hold() {
    let Some(file) = shared_data::json("alerting/time_intervals/contains.json") else { return };
    let cases = file["cases"].as_array().expect("cases");
    for case in cases {
        let yaml = case["yaml"].as_str().expect("an interval");
        let is_list = yaml.lines().find(|line| !line.trim().is_empty() && *line != "---" && !line.trim().starts_with('#'));
        let body = if is_list.is_some_and(|line| line.starts_with('-')) {
            indented(yaml)
        } else {
            let lines: Vec<&str> = yaml.lines().filter(|line| !line.trim().is_empty() && *line != "---").collect();
            indented(&format!("- {}", lines.join("\n  ")))
        };
        let whole =
            format!("route: {{receiver: a}}\nreceivers: [{{name: a}}]\ntime_intervals:\n- name: x\n  time_intervals:\n{body}");
        let loaded = load_alertmanager(Path::new("alertmanager.yml"), &whole);
        if let Some(wanted) = case["error"].as_str() {
            let error = loaded.expect_err(&whole).to_string();
            assert!(error.contains(wanted), "{error}, not {wanted}");
            continue;
        }
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}\n{whole}"));
        let interval = &loaded.time_intervals[0];
        let moments = |key: &str| case[key].as_array().cloned().unwrap_or_default();
        for inside in moments("contains") {
            assert!(interval.contains(moment(inside.as_str().unwrap_or(""))), "{inside} is in\n{yaml}");
        }
        for outside in moments("excludes") {
            assert!(!interval.contains(moment(outside.as_str().unwrap_or(""))), "{outside} is not in\n{yaml}");
        }
    }
    println!("cases: {}", cases.len());
}
