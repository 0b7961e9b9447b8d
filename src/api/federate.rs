//! `/federate`: the newest sample of selected series, for another Prometheus to scrape.

use super::params::Params;
use super::state::ApiState;
use super::v1::selectors;
use crate::exposition::encode;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::is_stale;
use crate::storage::select::{Hints, Querier, SelectError, TimeRange};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Series read at once.
const BATCH: usize = 512;

pub(super) async fn federate(State(api): State<ApiState>, params: Params) -> Response {
    let now_ms = api.env.clock.now_ms();
    let range = TimeRange { start_ms: now_ms - api.engine.options().lookback_ms, end_ms: now_ms };
    let querier = Arc::clone(&api.querier);
    let external: Vec<(String, String)> =
        api.present_config().global.external_labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let written = api
        .run(api.limits.query_timeout, move |cancel| {
            let sets = match selectors(params.all("match[]"), &cancel).collect::<Result<Vec<_>, _>>() {
                Ok(sets) => sets,
                Err(error) => return Ok(Err(format!("{error}\n"))),
            };
            let mut newest = BTreeMap::new();
            for matchers in &sets {
                collect(&*querier, matchers, range, &mut newest)?;
            }
            Ok(Ok(write(&newest, &external)))
        })
        .await;
    match written {
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, error).into_response(),
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response(),
        Err(error) => error.into_response(),
    }
}

fn collect(
    querier: &dyn Querier,
    matchers: &[crate::model::matcher::Matcher],
    range: TimeRange,
    newest: &mut BTreeMap<(String, Labels), (i64, f64)>,
) -> Result<(), SelectError> {
    let hints = Hints { last_only: true, sorted: true, local_only: true, ..Hints::default() };
    let selection = querier.select(matchers, range, &hints)?;
    let count = selection.series.len();
    for first in (0..count).step_by(BATCH) {
        let places = first..count.min(first + BATCH);
        let read = selection.reader.read(places.clone())?;
        for (series, samples) in selection.series.iter().skip(first).zip(read) {
            let Some(last) = samples.len().checked_sub(1) else { continue };
            let (Some(at_ms), Some(value)) = (samples.times.get(last), samples.float(last)) else { continue };
            if !is_stale(value) && !series.labels.metric_name().is_empty() {
                let name = series.labels.metric_name().to_owned();
                newest.insert((name, series.labels.clone()), (*at_ms, value));
            }
        }
    }
    Ok(())
}

fn write(newest: &BTreeMap<(String, Labels), (i64, f64)>, external: &[(String, String)]) -> String {
    let mut out = String::with_capacity(newest.len() * 96);
    let mut last = None;
    for ((name, labels), (at_ms, value)) in newest {
        if last != Some(name) {
            super::json::push(&mut out, format_args!("# TYPE {name} untyped\n"));
            last = Some(name);
        }
        let mut labels = labels.without(|label| label == METRIC_NAME);
        for (label, text) in external {
            if !labels.has(label) {
                labels = labels.with(label, text);
            }
        }
        encode::sample(&mut out, name, "", &labels, *value);
        // The time goes behind the value, on the same line.
        if out.ends_with('\n') {
            out.pop();
        }
        super::json::push(&mut out, format_args!(" {at_ms}\n"));
    }
    out
}
