//! What `stats=all` counts, case by case.

use super::load::load;
use super::run::engine;
use super::script::{Command, parse};
use crate::model::shared_data;
use crate::promql::engine::QueryOptions;
use crate::storage::select::memory::MemoryStore;
use serde_json::Value;
use std::collections::BTreeMap;

fn per_step(case: &Value, key: &str) -> BTreeMap<i64, u64> {
    let steps = case[key].as_object().unwrap();
    steps.iter().map(|(at_ms, count)| (at_ms.parse().unwrap(), count.as_u64().unwrap())).collect()
}

#[test]
fn counts_as_prometheus() {
    let Some(file) = shared_data::json("promql/query_statistics.json") else { return };
    let about = file["about"].as_str().unwrap();
    let (_, data) = about.split_once("load 10s").unwrap();
    let store = MemoryStore::new();
    for command in parse(&format!("load 10s{data}")) {
        if let Command::Load(series) = command {
            load(&store, &series);
        }
    }
    let mut wrong = Vec::new();
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let query = case["query"].as_str().unwrap();
        let ms = |key: &str| case.get(key).and_then(Value::as_f64).map(|seconds| (seconds * 1000.0) as i64);
        let expr = crate::promql::parse::parse(query).unwrap();
        let options = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
        let start_ms = ms("start").unwrap();
        let result = match (ms("end"), ms("step")) {
            (Some(end_ms), Some(step_ms)) => engine().range(&store, &expr, start_ms, end_ms, step_ms, &options),
            _ => engine().instant(&store, &expr, start_ms, &options),
        };
        let stats = result.unwrap().stats;
        let found = [stats.total_queryable_samples, stats.samples_read, stats.peak_samples];
        let wanted = ["totalQueryableSamples", "samplesRead", "peakSamples"].map(|key| case[key].as_u64().unwrap());
        let same = found == wanted
            && stats.total_queryable_samples_per_step == per_step(case, "totalQueryableSamplesPerStep_ms")
            && stats.samples_read_per_step == per_step(case, "samplesReadPerStep_ms");
        if !same {
            wrong.push(format!("{query} {:?}: wanted {wanted:?}, found {found:?} {stats:?}", case.get("end")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
