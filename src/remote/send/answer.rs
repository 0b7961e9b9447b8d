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

/// Judges an answer. `retries_429`: too many requests are tried again. `expected`: samples, histograms and exemplars that a
/// request of Remote-Write 2.0 has.
pub(super) fn judge(
    answer: &Result<Response, ClientError>,
    retries_429: bool,
    now_ms: i64,
    expected: Option<[u64; 3]>,
) -> Outcome {
    let response = match answer {
        Ok(response) => response,
        // Addresses and certificates may be mended while samples wait.
        Err(error) => return Outcome::Again(None, error.to_string()),
    };
    let status = response.status;
    if status.is_success() {
        return expected.map_or(Outcome::Taken, |expected| judge_written(response, expected));
    }
    let body: String = String::from_utf8_lossy(&response.body).lines().next().unwrap_or("").chars().take(SHOWN_CHARS).collect();
    let reason = format!("server returned HTTP status {status}: {body}");
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS && retries_429 {
        return Outcome::Again(retry_after(response.header("retry-after"), now_ms), reason);
    }
    Outcome::Refused(reason)
}

/// Compares what a receiver of Remote-Write 2.0 says it wrote with what it was sent.
fn judge_written(response: &Response, expected: [u64; 3]) -> Outcome {
    let written = ["samples", "histograms", "exemplars"].map(|kind| {
        let header = response.header(&format!("x-prometheus-remote-write-{kind}-written")).trim();
        (!header.is_empty()).then(|| header.parse::<u64>().unwrap_or(0))
    });
    let [samples, histograms, exemplars] = expected;
    if written.iter().all(Option::is_none) && samples + histograms > 0 {
        let reason = "the answer says nothing of what was written: the receiver seems not to know Remote-Write 2.0";
        return Outcome::Refused(format!("{reason}; prometheus.WriteRequest is 1.0"));
    }
    let [of_samples, of_histograms, _] = written.map(|written| written.unwrap_or(0));
    if of_samples < samples || of_histograms < histograms {
        let taken = format!("{of_samples} samples and {of_histograms} histograms were written");
        let sent = format!("{samples} samples, {histograms} histograms and {exemplars} exemplars were sent");
        return Outcome::Refused(format!("{sent}; {taken}"));
    }
    Outcome::Taken
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    u64::try_from(at.as_millisecond() - now_ms).ok().map(Duration::from_millis)
}
