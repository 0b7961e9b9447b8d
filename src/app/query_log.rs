//! `global.query_log_file`: a line of JSON for each query, with Prometheus's keys.

use crate::config::Config;
use crate::env::Env;
use crate::env::line_log::LineLog;
use crate::promql::query_log::{Asked, Origin, QueryLog};
use crate::template::time::{RFC3339_NANO, Time};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How Prometheus writes the times of a query.
const MILLISECONDS: &str = "2006-01-02T15:04:05.000Z07:00";

/// Writes into the file of the configuration in force.
pub(super) struct QueryLogFile {
    env: Env,
    config: watch::Receiver<Arc<Config>>,
    lines: LineLog,
}

impl QueryLogFile {
    pub(super) fn new(env: &Env, config: watch::Receiver<Arc<Config>>) -> Self {
        Self { env: env.clone(), config, lines: LineLog::new("queries", Arc::clone(&env.disk)) }
    }
}

fn line(now_ms: i64, asked: &Asked<'_>) -> Value {
    let time = |at_ms: i64, layout: &str| Time::from_ms(at_ms).utc().format(layout);
    let mut line = json!({
        "time": time(now_ms, RFC3339_NANO),
        "level": "INFO",
        "msg": "promql query logged",
        "params": {
            "query": asked.text,
            "start": time(asked.start_ms, MILLISECONDS),
            "end": time(asked.end_ms, MILLISECONDS),
            "step": asked.step_ms / 1000,
        },
        "spanID": "0000000000000000",
    });
    match &asked.outcome {
        Ok(stats) => {
            let seconds = asked.took.as_secs_f64();
            line["stats"] = json!({
                "timings": {
                    "evalTotalTime": seconds, "resultSortTime": 0, "queryPreparationTime": 0,
                    "innerEvalTime": seconds, "execQueueTime": 0, "execTotalTime": seconds,
                },
                "samples": {"totalQueryableSamples": stats.total_queryable_samples, "peakSamples": stats.peak_samples},
            });
        }
        Err(error) => line["error"] = json!(error),
    }
    match asked.origin {
        Origin::Http { client, method, path } => {
            line["httpRequest"] = json!({"clientIP": client, "method": method, "path": path});
        }
        Origin::Rule { file, group } => line["ruleGroup"] = json!({"file": file, "name": group}),
    }
    line
}

impl QueryLog for QueryLogFile {
    fn is_wanted(&self) -> bool {
        !self.config.borrow().global.query_log_file.is_empty()
    }

    fn now(&self) -> Duration {
        self.env.clock.monotonic()
    }

    fn write(&self, asked: &Asked<'_>) {
        let path = self.config.borrow().global.query_log_file.path().to_owned();
        if !path.as_os_str().is_empty() {
            self.lines.write(&path, &line(self.env.clock.now_ms(), asked).to_string());
        }
    }
}
