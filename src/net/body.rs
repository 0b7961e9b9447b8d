//! Bodies, with their bounds: no answer makes us hold more than its limit, packed or unpacked.

use super::budget::Claim;
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
    /// snappy's block form, as remote read's answers come.
    Snappy,
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
            b"snappy" => Ok(Self::Snappy),
            other => Err(ClientError::Http(format!("unknown Content-Encoding {:?}", String::from_utf8_lossy(other)))),
        }
    }
}

/// Reads a body to its end into `out`, which is emptied first; its memory counts in `claim`.
///
/// # Errors
/// When the connection fails, the body passes `limit`, or it is given up for want of memory.
pub async fn read(mut body: Incoming, out: &mut Vec<u8>, limit: u64, claim: &mut Option<Claim>) -> Result<(), ClientError> {
    out.clear();
    if let Some(exact) = body.size_hint().exact() {
        if exact > limit {
            return Err(ClientError::BodyTooLong { limit });
        }
        // A stated length is believed only so far: memory comes with the bytes.
        room(out, usize::try_from(exact).unwrap_or(0).min(1 << 20), limit, claim).await?;
    }
    loop {
        let frame = match claim {
            Some(claim) => tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = claim.given_up() => return Err(ClientError::NoMemory),
            },
            None => body.frame().await,
        };
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| super::connection::http_error(&error))?;
        if let Some(data) = frame.data_ref() {
            room(out, data.len(), limit, claim).await?;
            out.extend_from_slice(data);
        }
    }
}

/// Makes room for `more` bytes.
async fn room(out: &mut Vec<u8>, more: usize, limit: u64, claim: &mut Option<Claim>) -> Result<(), ClientError> {
    if let Some(claim) = claim {
        return claim.make_room(out, more, limit).await;
    }
    if out.len() as u64 + more as u64 > limit {
        return Err(ClientError::BodyTooLong { limit });
    }
    out.reserve(more);
    Ok(())
}

/// Unpacks `packed` into `out`, which is emptied first; its memory counts in `claim`.
///
/// # Errors
/// When the data are damaged or unpack to more than `limit`, or when it is given up for want of memory.
pub async fn unpack(
    encoding: Encoding,
    packed: &[u8],
    out: &mut Vec<u8>,
    limit: u64,
    claim: &mut Option<Claim>,
) -> Result<(), ClientError> {
    out.clear();
    match encoding {
        Encoding::Identity => {
            room(out, packed.len(), limit, claim).await?;
            out.extend_from_slice(packed);
            Ok(())
        }
        Encoding::Snappy => {
            let failed = |error: snap::Error| ClientError::Unpack { encoding: "snappy", message: error.to_string() };
            let length = snap::raw::decompress_len(packed).map_err(failed)?;
            room(out, length, limit, claim).await?;
            out.resize(length, 0);
            snap::raw::Decoder::new().decompress(packed, out).map_err(failed)?;
            Ok(())
        }
        Encoding::Gzip => pour("gzip", flate2::bufread::MultiGzDecoder::new(packed), packed.len(), out, limit, claim).await,
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|error| ClientError::Unpack { encoding: "zstd", message: error.to_string() })?;
            // The window is memory, too: 8 MiB is what RFC 8878 asks every decoder to take.
            decoder.window_log_max(23).map_err(|error| ClientError::Unpack { encoding: "zstd", message: error.to_string() })?;
            pour("zstd", decoder, packed.len(), out, limit, claim).await
        }
    }
}

/// How much is unpacked between two looks at the room.
const CHUNK_BYTES: usize = 128 << 10;

async fn pour(
    name: &'static str,
    mut from: impl std::io::Read,
    packed: usize,
    out: &mut Vec<u8>,
    limit: u64,
    claim: &mut Option<Claim>,
) -> Result<(), ClientError> {
    // What was unpacked last time fits mostly: then this is one read and one that finds the end.
    let mut chunk = out.capacity().clamp(packed.clamp(1024, CHUNK_BYTES), CHUNK_BYTES);
    loop {
        let failed = |error: std::io::Error| ClientError::Unpack { encoding: name, message: error.to_string() };
        let left = usize::try_from(limit.saturating_sub(out.len() as u64)).unwrap_or(usize::MAX);
        if left == 0 {
            return match from.read(&mut [0]).map_err(failed)? {
                0 => Ok(()),
                _ => Err(ClientError::BodyTooLong { limit }),
            };
        }
        // Never more than there is room for: a vector that grows by itself would double.
        let bound = chunk.min(left);
        room(out, bound, limit, claim).await?;
        let got = from.by_ref().take(bound as u64).read_to_end(out).map_err(failed)?;
        if got < bound {
            return Ok(());
        }
        chunk = CHUNK_BYTES;
        // Unpacking a large body must not keep this thread from everybody else.
        yield_now().await;
    }
}

/// Lets other tasks of this thread run.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
