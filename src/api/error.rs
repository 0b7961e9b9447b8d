//! Errors as Prometheus's API tells them: `{"status":"error","errorType":"bad_data","error":"..."}` and a status code.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The kinds of errors and their words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong: 400.
    BadData,
    /// The query cannot be evaluated: 422.
    Execution,
    /// The client hung up: 499.
    Canceled,
    /// It took too long: 503.
    Timeout,
    /// Something of ours failed: 500.
    Internal,
    /// There is no such thing: 404.
    NotFound,
    /// Not now: 503.
    Unavailable,
    /// Not you: 403.
    Forbidden,
    /// Somebody else was faster: 409.
    Conflict,
    /// Nobody knows who you are: 401.
    Unauthorized,
    /// More than is taken: 413.
    TooLarge,
    /// Not so often: 429.
    TooMany,
}

impl ErrorKind {
    /// Returns the word of `errorType`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Which kind.
    pub kind: ErrorKind,
    /// What is wrong, for people.
    pub message: String,
}

impl ApiError {
    /// Returns an error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Returns a 400.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// Returns a 400 that names a parameter, in Prometheus's words.
    pub fn bad_parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {message}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = String::from("{\"status\":\"error\",\"errorType\":\"");
        body.push_str(self.kind.as_str());
        body.push_str("\",\"error\":");
        super::json::push_string(&mut body, &self.message);
        body.push('}');
        (self.kind.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
