//! What an answer to a write means: done, once more later, or never.

use crate::net::{ClientError, Response};
use http::StatusCode;
use std::time::Duration;

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken.
    Taken,
    /// It is sent again, not before the time that the receiver asked for.
    Again(Option<Duration>, String),
    /// It was refused for good.
    Refused(String),
}

/// How much of an answer a message shows.
const SHOWN_CHARS: usize = 256;

/// Judges an answer. `retries_429`: too many requests are tried again.
pub(super) fn judge(answer: &Result<Response, ClientError>, retries_429: bool, now_ms: i64) -> Outcome {
    let response = match answer {
        Ok(response) => response,
        // Addresses and certificates may be mended while samples wait.
        Err(error) => return Outcome::Again(None, error.to_string()),
    };
    let status = response.status;
    if status.is_success() {
        return Outcome::Taken;
    }
    let body: String = String::from_utf8_lossy(&response.body).lines().next().unwrap_or("").chars().take(SHOWN_CHARS).collect();
    let reason = format!("server returned HTTP status {status}: {body}");
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS && retries_429 {
        return Outcome::Again(retry_after(response.header("retry-after"), now_ms), reason);
    }
    Outcome::Refused(reason)
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    u64::try_from(at.as_millisecond() - now_ms).ok().map(Duration::from_millis)
}
