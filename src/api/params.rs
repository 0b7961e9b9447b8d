//! Parameters: of the query string and, for POST, of a form; and what Prometheus's API accepts as time and duration.

use super::error::ApiError;
use crate::model::limits::FORM_BYTES;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{Method, header};

/// The earliest and latest time of the API, in milliseconds: Prometheus's `minTime` and `maxTime`.
pub(in crate::api) const MIN_TIME_MS: i64 = -9_223_372_036_854_775;
/// See [`MIN_TIME_MS`].
pub(in crate::api) const MAX_TIME_MS: i64 = 9_223_372_036_854_775;

/// All parameters in order; those of a form come first, those of a form in parts last, as in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=1&b=2`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(pairs(text))
    }

    /// Returns the first value of a parameter, or the empty string.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a time, or `default` where none was given.
    ///
    /// # Errors
    /// When it is not a time.
    pub fn time(&self, name: &str, default: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text)
                .map_err(|message| ApiError::bad_parameter(name, format!("invalid time value for '{name}': {message}"))),
        }
    }

    /// Returns a duration in milliseconds, or `None` where none was given.
    ///
    /// # Errors
    /// When it is not a duration.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.duration_plain(name).map_err(|message| ApiError::bad_parameter(name, message))
    }

    /// Returns a duration in milliseconds, or what is wrong with it and no more.
    pub(in crate::api) fn duration_plain(&self, name: &str) -> Result<Option<i64>, String> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_duration(text).map(Some),
        }
    }

    /// Returns `limit`; 0 is none.
    ///
    /// # Errors
    /// When it is not a number from 0 on.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.get("limit") {
            "" => Ok(0),
            text => match text.parse::<i64>() {
                Ok(number) => usize::try_from(number).map_err(|_| ApiError::bad_parameter("limit", "limit must be non-negative")),
                Err(_) => Err(ApiError::bad_parameter(
                    "limit",
                    format!("strconv.Atoi: parsing {}: invalid syntax", crate::model::number::quote(text)),
                )),
            },
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let mut query = pairs(request.uri().query().unwrap_or(""));
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let begins = |with: &str| kind.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        let in_parts = begins("multipart/form-data");
        if request.method() != Method::POST || !(in_parts || begins("application/x-www-form-urlencoded")) {
            return Ok(Self(query));
        }
        let body: Bytes = axum::body::to_bytes(request.into_body(), FORM_BYTES)
            .await
            .map_err(|_| ApiError::bad_data("error parsing form values: http: request body too large"))?;
        if in_parts {
            query.extend(parts(&kind, body).await);
            return Ok(Self(query));
        }
        let mut all = pairs(&String::from_utf8_lossy(&body));
        all.extend(query);
        Ok(Self(all))
    }
}

/// Reads the fields of a form in parts, as `curl -F` sends it. As in Go files are none, and what cannot be read is left out.
async fn parts(kind: &str, body: Bytes) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let request = Request::builder().header(header::CONTENT_TYPE, kind).body(Body::from(body));
    let Ok(request) = request else { return fields };
    let Ok(mut form) = Multipart::from_request(request, &()).await else { return fields };
    while let Ok(Some(field)) = form.next_field().await {
        let (name, is_file) = (field.name().unwrap_or("").to_owned(), field.file_name().is_some());
        let Ok(value) = field.bytes().await else { break };
        if !is_file && !name.is_empty() {
            fields.push((name, String::from_utf8_lossy(&value).into_owned()));
        }
    }
    fields
}

/// Reads `a=1&b=2`. As in Go a part with a semicolon, or with a `%` that begins no escape, is left out.
fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|part| !part.is_empty() && !part.contains(';') && escapes_are_whole(part))
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (unescape(name), unescape(value))
        })
        .collect()
}

fn escapes_are_whole(text: &str) -> bool {
    let is_escape =
        |rest: &str| rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(is_escape)
}

/// Resolves `%41` and `+`; what is not an escape stays.
#[must_use]
pub(in crate::api) fn unescape(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _, _) => out.push(b' '),
            (byte, _, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads seconds since 1970 with a fraction, or RFC 3339.
///
/// # Errors
/// In Prometheus's words.
pub(in crate::api) fn parse_time(text: &str) -> Result<i64, String> {
    if let Some(seconds) = crate::model::number::parse_float(text)
        && seconds.is_finite()
    {
        return Ok((seconds * 1000.0).round() as i64);
    }
    // What Prometheus's own client sends for "since ever".
    match text {
        "-292273086-05-16T16:47:06Z" => return Ok(MIN_TIME_MS),
        "292277025-08-18T07:12:54.999999999Z" => return Ok(MAX_TIME_MS),
        _ => {}
    }
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| format!("cannot parse {} to a valid timestamp", crate::model::number::quote(text)))
}

/// Reads a duration: seconds with a fraction, or `1h30m`. In milliseconds.
///
/// # Errors
/// In Prometheus's words.
pub(in crate::api) fn parse_duration(text: &str) -> Result<i64, String> {
    let quoted = || crate::model::number::quote(text);
    if let Some(seconds) = crate::model::number::parse_float(text) {
        if seconds.is_nan() || seconds.abs() > 9_223_372_036.0 {
            return Err(format!("cannot parse {} to a valid duration. It overflows int64", quoted()));
        }
        return Ok((seconds * 1000.0) as i64);
    }
    crate::model::duration::parse(text)
        .ok()
        .and_then(|duration| i64::try_from(duration.as_millis()).ok())
        .ok_or_else(|| format!("cannot parse {} to a valid duration", quoted()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let params = Params::parse("a=%zz&b=1;c=2&d=100%&e=%4&f=50%25&%q=1&g=%e4%bd%a0;&h=1&%68%3b=;");
        let read: Vec<_> = ["a", "b", "c", "d", "e", "f", "%q", "g", "h", "h;"].iter().map(|name| params.get(name)).collect();
        assert_eq!(read, ["", "", "", "", "", "50%", "", "", "1", ""]);
    }

    #[test]
    fn reads_parameters_times_and_durations() {
        let params = Params::parse("query=a%2Bb+c&match[]=x&match%5B%5D=y&limit=-1");
        assert_eq!(params.get("query"), "a+b c");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(params.limit().unwrap_err().message, "invalid parameter \"limit\": limit must be non-negative");
        assert_eq!(parse_time("1435781451.781"), Ok(1_435_781_451_781));
        assert_eq!(parse_time("2015-07-01T20:10:51.781Z"), Ok(1_435_781_451_781));
        assert_eq!(parse_time("2015-06-03T14:21:58.555+01:00"), Ok(1_433_337_718_555));
        assert_eq!(parse_time("foo").unwrap_err(), "cannot parse \"foo\" to a valid timestamp");
        assert_eq!(parse_duration("1.5"), Ok(1500));
        assert_eq!(parse_duration("1h30m"), Ok(5_400_000));
        assert!(parse_duration("x").is_err());
        assert!(parse_duration("1e30").is_err());
    }
}
