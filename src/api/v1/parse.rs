//! `format_query` and `parse_query`.

use super::super::answer::{success, success_value};
use super::super::error::ApiError;
use super::super::json::push_string;
use super::super::params::Params;
use super::super::state::ApiState;
use super::query::parse_query;
use super::syntax_tree::tree;
use crate::promql::expr::Expr;
use crate::promql::print::pretty;
use axum::extract::State;
use axum::response::Response;

/// How high a tree may be that is shown as one: each level is written within the one above.
const SHOWN_HEIGHT_MAX: usize = 500;

fn shown(api: &ApiState, params: &Params) -> Result<Expr, ApiError> {
    let expr = parse_query(api, params.get("query"))?;
    check_height(&expr)?;
    Ok(expr)
}

/// Refuses an expression that is too high to be shown as a tree.
pub(super) fn check_height(expr: &Expr) -> Result<(), ApiError> {
    let height = expr.height();
    if height > SHOWN_HEIGHT_MAX {
        let message = format!("{height} operations above each other are too many to be shown, more than {SHOWN_HEIGHT_MAX}");
        return Err(ApiError::bad_parameter("query", message));
    }
    Ok(())
}

pub(in crate::api) async fn format(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let expr = shown(&api, &params)?;
    Ok(success(|out| push_string(out, &pretty(&expr))))
}

pub(in crate::api) async fn parse(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let expr = shown(&api, &params)?;
    Ok(success_value(&tree(&expr)))
}
