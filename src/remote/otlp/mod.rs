//! Metrics by OTLP/HTTP: protobuf or JSON in, series out.
//!
//! | part | module |
//! | --- | --- |
//! | what an export says | `message` |
//! | how it is written | `binary`, `json` |
//! | names of metrics and labels | `names` |
//! | points to series | `translate` |

mod binary;
mod json;
mod message;
mod names;
#[cfg(test)]
mod tests;
mod translate;

use super::receive::{Received, WriteError};
use crate::config::remote::OtlpConfig;
use crate::storage::append::{Append, Durability};

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Binary,
    /// `application/json`.
    Json,
}

/// What became of an export.
#[derive(Debug)]
pub struct Exported {
    /// What the store did.
    pub received: Received,
    /// Points that could not become series.
    pub rejected: u64,
    /// Why the first could not.
    pub complaint: Option<String>,
}

/// Reads an export and stores it at `now_ms`. Blocks until it is as durable as asked.
///
/// # Errors
/// When it cannot be read, or the store took nothing. See [`WriteError`].
pub fn receive(
    encoding: Encoding,
    body: &[u8],
    config: &OtlpConfig,
    now_ms: i64,
    append: &dyn Append,
    durability: Durability,
) -> Result<Exported, WriteError> {
    let resources = match encoding {
        Encoding::Binary => binary::read(body)?,
        Encoding::Json => json::read(body).map_err(WriteError::Bad)?,
    };
    let translated = translate::translate(&resources, config);
    let received = translated.gathered.store(now_ms, append, durability)?;
    Ok(Exported { received, rejected: translated.rejected, complaint: translated.complaint })
}

/// Returns the answer's body: empty where all was taken.
#[must_use]
pub fn answer(encoding: Encoding, exported: &Exported) -> Vec<u8> {
    let Some(complaint) = &exported.complaint else {
        return match encoding {
            Encoding::Binary => Vec::new(),
            Encoding::Json => b"{}".to_vec(),
        };
    };
    match encoding {
        Encoding::Binary => {
            let mut partial = Vec::new();
            crate::model::protobuf::put_number(&mut partial, 1, exported.rejected);
            crate::model::protobuf::put_bytes(&mut partial, 2, complaint.as_bytes());
            let mut out = Vec::new();
            crate::model::protobuf::put_bytes(&mut out, 1, &partial);
            out
        }
        Encoding::Json => {
            let partial = serde_json::json!({"rejectedDataPoints": exported.rejected.to_string(), "errorMessage": complaint});
            serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
    }
}
