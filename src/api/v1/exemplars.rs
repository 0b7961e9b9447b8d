//! `query_exemplars`: exemplars of the series that an expression selects.

use super::super::answer::success;
use super::super::error::ApiError;
use super::super::json::{push_labels, push_list, push_seconds, push_value};
use super::super::params::Params;
use super::super::state::ApiState;
use super::query::{check_length, parse_query};
use super::time_range;
use crate::model::matcher::Matcher;
use crate::promql::deep::deep;
use crate::promql::expr::{Expr, ExprKind};
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

pub(in crate::api) async fn query(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let range = time_range(&params)?;
    // Prometheus names the parameter in all other places.
    let plain = |error: ApiError| match error.message.strip_prefix("invalid parameter \"query\": ") {
        Some(message) => ApiError::bad_data(message),
        None => error,
    };
    check_length(&api, params.get("query")).map_err(plain)?;
    let querier = Arc::clone(&api.querier);
    let found = api.run(api.limits.query_timeout, move |cancel| {
        let expr = parse_query(params.get("query"), &cancel).map_err(plain)?;
        let mut sets = Vec::new();
        selectors(&expr, &mut sets);
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        querier.exemplars(&sets, range).map_err(ApiError::from)
    });
    let found = found.await?;
    Ok(success(|out| {
        push_list(out, &found, |out, (labels, exemplars)| {
            out.push_str("{\"seriesLabels\":");
            push_labels(out, labels);
            out.push_str(",\"exemplars\":");
            push_list(out, exemplars, |out, exemplar| {
                out.push_str("{\"labels\":");
                push_labels(out, &exemplar.labels);
                out.push_str(",\"value\":");
                push_value(out, exemplar.value);
                out.push_str(",\"timestamp\":");
                push_seconds(out, exemplar.at_ms.unwrap_or(0));
                out.push('}');
            });
            out.push('}');
        });
    }))
}

/// Collects the matchers of all selectors in an expression.
fn selectors(expr: &Expr, sets: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        ExprKind::Selector(selector) => sets.push(selector.matchers.clone()),
        ExprKind::Matrix(matrix) => sets.push(matrix.selector.matchers.clone()),
        ExprKind::Subquery(subquery) => selectors(&subquery.expr, sets),
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => selectors(inner, sets),
        ExprKind::Binary(binary) => {
            deep(|| selectors(&binary.left, sets));
            selectors(&binary.right, sets);
        }
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| selectors(param, sets));
            selectors(&aggregate.expr, sets);
        }
        ExprKind::Call(call) => call.args.iter().for_each(|arg| selectors(arg, sets)),
        ExprKind::Number(_) | ExprKind::String(_) => {}
    }
}
