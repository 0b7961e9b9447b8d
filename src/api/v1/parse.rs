//! `format_query` and `parse_query`.

use super::super::answer::{success, success_value};
use super::super::error::ApiError;
use super::super::json::push_string;
use super::super::params::Params;
use super::super::state::ApiState;
use super::query::{check_length, parse_query};
use super::syntax_tree::tree;
use crate::promql::expr::Expr;
use crate::promql::print::pretty;
use axum::extract::State;
use axum::response::Response;

/// How high a tree may be that is shown as one: each level is written within the one above.
const SHOWN_HEIGHT_MAX: usize = 500;

/// Reads the query and makes of it what is shown, as a query of its own.
async fn shown<T: Send + 'static>(
    api: &ApiState,
    params: Params,
    show: impl FnOnce(&Expr) -> T + Send + 'static,
) -> Result<T, ApiError> {
    check_length(api, params.get("query"))?;
    api.run(api.limits.query_timeout, move |cancel| {
        let expr = parse_query(params.get("query"), &cancel)?;
        check_height(&expr)?;
        Ok(show(&expr))
    })
    .await
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
    let text = shown(&api, params, pretty).await?;
    Ok(success(|out| push_string(out, &text)))
}

pub(in crate::api) async fn parse(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    Ok(success_value(&shown(&api, params, tree).await?))
}
