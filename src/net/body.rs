//! Bodies, with their bounds: no answer makes us hold more than its limit, packed or unpacked.

use super::error::ClientError;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::io::Read as _;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// Returns what the headers say.
    ///
    /// # Errors
    /// For an encoding that nobody asked for.
    pub fn of(headers: &HeaderMap) -> Result<Self, ClientError> {
        let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.as_bytes().trim_ascii() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"zstd" => Ok(Self::Zstd),
            other => Err(ClientError::Http(format!("unknown Content-Encoding {:?}", String::from_utf8_lossy(other)))),
        }
    }
}

/// Reads a body to its end into `out`, which is emptied first.
///
/// # Errors
/// When the connection fails or the body passes `limit`.
pub async fn read(mut body: Incoming, out: &mut Vec<u8>, limit: u64) -> Result<(), ClientError> {
    out.clear();
    if let Some(exact) = body.size_hint().exact() {
        if exact > limit {
            return Err(ClientError::BodyTooLong { limit });
        }
        // A stated length is believed only so far: memory comes with the bytes.
        out.reserve(usize::try_from(exact).unwrap_or(0).min(1 << 20));
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| super::connection::http_error(&error))?;
        if let Some(data) = frame.data_ref() {
            if out.len() as u64 + data.len() as u64 > limit {
                return Err(ClientError::BodyTooLong { limit });
            }
            out.extend_from_slice(data);
        }
    }
    Ok(())
}

/// Unpacks `packed` into `out`, which is emptied first.
///
/// # Errors
/// When the data are damaged or unpack to more than `limit`.
pub fn unpack(encoding: Encoding, packed: &[u8], out: &mut Vec<u8>, limit: u64) -> Result<(), ClientError> {
    out.clear();
    let bound = limit.saturating_add(1);
    let (name, read) = match encoding {
        Encoding::Identity => {
            out.extend_from_slice(packed);
            return Ok(());
        }
        Encoding::Gzip => ("gzip", flate2::bufread::MultiGzDecoder::new(packed).take(bound).read_to_end(out)),
        Encoding::Zstd => {
            let read = zstd::stream::read::Decoder::with_buffer(packed).and_then(|decoder| decoder.take(bound).read_to_end(out));
            ("zstd", read)
        }
    };
    read.map_err(|error| ClientError::Unpack { encoding: name, message: error.to_string() })?;
    if out.len() as u64 > limit {
        out.clear();
        out.shrink_to_fit();
        return Err(ClientError::BodyTooLong { limit });
    }
    Ok(())
}
