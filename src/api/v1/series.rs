//! `series`, `labels`, `label/{name}/values`.

use super::super::answer::success_with;
use super::super::error::{ApiError, ErrorKind};
use super::super::json::{push_labels, push_list, push_strings};
use super::super::params::Params;
use super::super::state::ApiState;
use super::{matcher_sets, time_range, truncate};
use crate::model::labels::Labels;
use crate::model::number::quote;
use crate::storage::select::Hints;
use axum::extract::{Path, State};
use axum::response::Response;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(in crate::api) async fn series(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let named = |error: ApiError| match error.kind {
        ErrorKind::BadData => ApiError::bad_parameter("match[]", error.message),
        _ => error,
    };
    let range = time_range(&params)?;
    let limit = params.limit()?;
    let querier = Arc::clone(&api.querier);
    let found = api.run(api.limits.query_timeout, move |cancel| {
        let sets = matcher_sets(&params, &cancel).map_err(named)?;
        let hints = Hints { function: "series".to_owned(), sorted: true, ..Hints::default() };
        let mut found: Vec<Labels> = Vec::new();
        let mut warnings = Vec::new();
        for matchers in &sets {
            if cancel.load(Ordering::Relaxed) {
                break;
            }
            let selection = querier.select_until(matchers, range, &hints, Some(&cancel))?;
            found.extend(selection.series.into_iter().map(|series| series.labels));
            warnings.extend(selection.warnings);
        }
        if sets.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        truncate(&mut found, limit, &mut warnings);
        Ok(success_with(&warnings, &[], |out| push_list(out, &found, push_labels)))
    });
    found.await
}

pub(in crate::api) async fn labels(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let range = time_range(&params)?;
    let limit = params.limit()?;
    let querier = Arc::clone(&api.querier);
    // One more than asked, to see whether there are more.
    let ask = if limit == 0 { 0 } else { limit + 1 };
    let names = api.run(api.limits.query_timeout, move |cancel| {
        let sets = matcher_sets(&params, &cancel)?;
        querier.label_names(&sets, range, ask).map_err(ApiError::from)
    });
    let mut names = names.await?;
    let mut warnings = Vec::new();
    truncate(&mut names, limit, &mut warnings);
    Ok(success_with(&warnings, &[], |out| push_strings(out, &names)))
}

pub(in crate::api) async fn label_values(
    State(api): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescaped_name(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {}", quote(&name))));
    }
    let range = time_range(&params)?;
    let limit = params.limit()?;
    let querier = Arc::clone(&api.querier);
    let ask = if limit == 0 { 0 } else { limit + 1 };
    let values = api.run(api.limits.query_timeout, move |cancel| {
        let sets = matcher_sets(&params, &cancel)?;
        querier.label_values(&name, &sets, range, ask).map_err(ApiError::from)
    });
    let mut values = values.await?;
    let mut warnings = Vec::new();
    truncate(&mut values, limit, &mut warnings);
    Ok(success_with(&warnings, &[], |out| push_strings(out, &values)))
}

/// Resolves the escaping of names in paths: `U__` in front, `_2e_` for a dot, `__` for an underscore. A name that is not
/// escaped by these rules stays as it is.
fn unescaped_name(name: &str) -> String {
    let Some(rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::with_capacity(rest.len());
    let mut rest = rest;
    while let Some((plain, behind)) = rest.split_once('_') {
        out.push_str(plain);
        if let Some(behind) = behind.strip_prefix('_') {
            out.push('_');
            rest = behind;
            continue;
        }
        let Some((code, behind)) = behind.split_once('_') else { return name.to_owned() };
        let Some(c) = u32::from_str_radix(code, 16).ok().and_then(char::from_u32) else { return name.to_owned() };
        out.push(c);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::unescaped_name;

    #[test]
    fn names_in_paths_are_unescaped() {
        let cases =
            [("job", "job"), ("U__http_2e_status__code", "http.status_code"), ("U__bad_zz_", "U__bad_zz_"), ("U__a_b", "U__a_b")];
        for (escaped, name) in cases {
            assert_eq!(unescaped_name(escaped), name);
        }
    }
}
