//! What a dashboard is: Grafana's JSON, with a bound on its size, and what the list of dashboards needs to know of it.

use crate::model::utf8;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The largest dashboard in bytes of JSON.
pub const BYTES_MAX: usize = 5 << 20;
/// Characters of a title or a tag that are shown.
const WORDS_CHARS_MAX: usize = 300;
/// Tags that are shown.
const TAGS_MAX: usize = 50;
/// The longest `uid`; Grafana's own have 40 characters at most.
const UID_BYTES_MAX: usize = 80;

/// Why a text is no dashboard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADashboard {
    /// It is larger than [`BYTES_MAX`].
    #[error("This dashboard has {}; the limit is {}.", megabytes(*.0), megabytes(BYTES_MAX as u64))]
    TooLarge(u64),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is no text or no JSON.
    #[error("line {line}, column {column}: {message}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1; 0 for the end of the line before.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is JSON, and something else than a dashboard.
    #[error("{0}")]
    Missing(&'static str),
}

/// What the list shows of a dashboard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its title; may be empty.
    pub title: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its `uid`, where that can stand in an address.
    pub uid: Option<String>,
}

/// A text that is a dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<'t> {
    /// What the list shows.
    pub summary: Summary,
    /// The dashboard's own part of the text: where it came with its `meta`, as Grafana's API answers, without that.
    pub text: &'t str,
}

/// Writes a size in megabytes of 2^20 bytes: whole ones from ten on, else one place, rounded up so that what is too large does
/// not look as if it were not.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    const MEGABYTE: u64 = 1 << 20;
    if bytes >= 10 * MEGABYTE {
        return format!("{} MB", (bytes + MEGABYTE / 2) / MEGABYTE);
    }
    let tenths = (bytes * 10).div_ceil(MEGABYTE);
    if tenths.is_multiple_of(10) { format!("{} MB", tenths / 10) } else { format!("{}.{} MB", tenths / 10, tenths % 10) }
}

/// Returns the hash of a dashboard's text, hexadecimal: its version.
#[must_use]
pub fn version(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut out, byte| {
        // Writing into a text cannot fail.
        let _always = write!(out, "{byte:02x}");
        out
    })
}

/// Reads bytes as text.
///
/// # Errors
/// When they are too many or no UTF-8.
pub fn decode(bytes: Vec<u8>) -> Result<String, NotADashboard> {
    if bytes.len() > BYTES_MAX {
        return Err(NotADashboard::TooLarge(bytes.len() as u64));
    }
    utf8::decode(bytes).map_err(|error| NotADashboard::NotJson {
        line: error.line as usize,
        column: error.column as usize,
        message: error.to_string(),
    })
}

/// Reads a text as a dashboard. Takes its time where it is large.
///
/// # Errors
/// When it is none.
pub fn read(text: &str) -> Result<Read<'_>, NotADashboard> {
    if text.len() > BYTES_MAX {
        return Err(NotADashboard::TooLarge(text.len() as u64));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
    let value: Value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let Value::Object(object) = &value else {
        return Err(NotADashboard::Missing("this is JSON, but no dashboard: a dashboard is an object"));
    };
    let has_panels = |of: &serde_json::Map<String, Value>| of.contains_key("panels") || of.contains_key("rows");
    match object.get("dashboard") {
        Some(Value::Object(inner)) if !has_panels(object) => {
            #[derive(Deserialize)]
            struct Wrapped<'t> {
                #[serde(borrow)]
                dashboard: &'t RawValue,
            }
            let wrapped: Wrapped<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            Ok(Read { summary: summary(inner)?, text: wrapped.dashboard.get() })
        }
        _ => Ok(Read { summary: summary(object)?, text: text.trim_start() }),
    }
}

fn not_json(error: &serde_json::Error) -> NotADashboard {
    let words = error.to_string();
    let message = words.rsplit_once(" at line ").map_or(words.as_str(), |(message, _)| message);
    let message = match message {
        "recursion limit exceeded" => "nested more than 127 deep",
        other => other,
    };
    NotADashboard::NotJson { line: error.line(), column: error.column(), message: message.to_owned() }
}

fn summary(object: &serde_json::Map<String, Value>) -> Result<Summary, NotADashboard> {
    match (object.get("panels"), object.get("rows")) {
        (None, None) => {
            return Err(NotADashboard::Missing("this is JSON, but no dashboard: it has neither `panels` nor `rows`"));
        }
        (Some(panels), _) if !panels.is_array() => return Err(NotADashboard::Missing("`panels` must be a list")),
        (None, Some(rows)) if !rows.is_array() => return Err(NotADashboard::Missing("`rows` must be a list")),
        _ => {}
    }
    let words = |value: &Value| Some(value.as_str()?.trim().chars().take(WORDS_CHARS_MAX).collect::<String>());
    let tags = object.get("tags").and_then(Value::as_array).into_iter().flatten();
    let uid = object.get("uid").and_then(Value::as_str).filter(|uid| is_id(uid));
    Ok(Summary {
        title: object.get("title").and_then(words).unwrap_or_default(),
        tags: tags.filter_map(words).filter(|tag| !tag.is_empty()).take(TAGS_MAX).collect(),
        uid: uid.map(ToOwned::to_owned),
    })
}

/// Returns whether a text can stand in an address as a dashboard's id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // `order` is where the order is saved.
    !text.is_empty() && text.len() <= UID_BYTES_MAX && text.bytes().all(is_plain) && text != "order"
}

/// Makes an id of words: small letters and digits, `-` between them.
#[must_use]
pub fn slug(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() >= 60 {
            break;
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "dashboard".to_owned() } else { out.to_owned() }
}

/// Returns an id like `wish` that is not taken.
#[must_use]
pub fn free_id(wish: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2_u64..).map(|number| format!("{wish}-{number}"));
    std::iter::once(wish.to_owned()).chain(numbered).find(|id| is_id(id) && !is_taken(id)).unwrap_or_default()
}
