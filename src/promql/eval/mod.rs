//! Evaluation by columns.

use super::engine::{EngineOptions, QueryError, QueryOptions};
use super::expr::{Expr, ExprKind};
use super::value::{QueryResult, QueryStats, QueryValue};
use crate::storage::select::Querier;

pub(super) fn instant(
    _engine: &EngineOptions,
    _querier: &dyn Querier,
    expr: &Expr,
    at_ms: i64,
    _options: &QueryOptions,
) -> Result<QueryResult, QueryError> {
    let value = match &expr.kind {
        ExprKind::Number(number) => QueryValue::Scalar { at_ms, value: number.value },
        ExprKind::String(text) => QueryValue::String { at_ms, text: text.clone() },
        _ => return Err(QueryError::Execution("not evaluated yet".to_owned())),
    };
    Ok(QueryResult { value, warnings: Vec::new(), infos: Vec::new(), stats: QueryStats::default() })
}

pub(super) fn range(
    _engine: &EngineOptions,
    _querier: &dyn Querier,
    _expr: &Expr,
    _range: (i64, i64, i64),
    _options: &QueryOptions,
) -> Result<QueryResult, QueryError> {
    Err(QueryError::Execution("not evaluated yet".to_owned()))
}
