//! `format_query` and `parse_query`.

use super::super::answer::{success, success_value};
use super::super::error::ApiError;
use super::super::json::push_string;
use super::super::params::Params;
use super::super::state::ApiState;
use super::query::parse_query;
use super::syntax_tree::tree;
use crate::promql::print::pretty;
use axum::extract::State;
use axum::response::Response;

pub(in crate::api) async fn format(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let expr = parse_query(&api, params.get("query"))?;
    Ok(success(|out| push_string(out, &pretty(&expr))))
}

pub(in crate::api) async fn parse(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let expr = parse_query(&api, params.get("query"))?;
    Ok(success_value(&tree(&expr)))
}
