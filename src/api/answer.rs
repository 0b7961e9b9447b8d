//! Good answers: `{"status":"success","data":...}`, with warnings and infos behind the data.

use super::json::{push_list, push_string};
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Builds an answer; `data` writes the value of `data`.
pub(in crate::api) fn success(data: impl FnOnce(&mut String)) -> Response {
    success_with(&[], &[], data)
}

/// Builds an answer with warnings and infos.
pub(in crate::api) fn success_with(warnings: &[String], infos: &[String], data: impl FnOnce(&mut String)) -> Response {
    let mut body = String::with_capacity(1024);
    body.push_str("{\"status\":\"success\",\"data\":");
    data(&mut body);
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            body.push_str(",\"");
            body.push_str(name);
            body.push_str("\":");
            push_list(&mut body, texts, |out, text| push_string(out, text));
        }
    }
    body.push('}');
    json(body)
}

/// Builds an answer from a value of serde's.
pub(in crate::api) fn success_value(value: &serde_json::Value) -> Response {
    success(|out| out.push_str(&value.to_string()))
}

/// Builds a response of JSON text.
pub(in crate::api) fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Builds a response of plain text.
pub(in crate::api) fn text(body: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into()).into_response()
}
