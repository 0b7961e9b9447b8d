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
        Encoding::Gzip => {
            if gunzip_at_once(packed, out, limit, claim).await? {
                return Ok(());
            }
            pour("gzip", flate2::bufread::MultiGzDecoder::new(packed), packed.len(), out, limit, claim).await
        }
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|error| ClientError::Unpack { encoding: "zstd", message: error.to_string() })?;
            // The window is memory, too: 8 MiB is what RFC 8878 asks every decoder to take.
            decoder.window_log_max(23).map_err(|error| ClientError::Unpack { encoding: "zstd", message: error.to_string() })?;
            pour("zstd", decoder, packed.len(), out, limit, claim).await
        }
    }
}

/// Unpacks a body that fits where the one before it did: in one call nothing need be remembered of what was unpacked already.
/// Returns false, with `out` empty, where it does not fit or is not one whole member.
async fn gunzip_at_once(packed: &[u8], out: &mut Vec<u8>, limit: u64, claim: &mut Option<Claim>) -> Result<bool, ClientError> {
    let known = out.capacity();
    if known < packed.len() || known > AT_ONCE_BYTES_MAX || known as u64 > limit {
        return Ok(false);
    }
    room(out, known, limit, claim).await?;
    let mut state = flate2::Decompress::new_gzip(15);
    let ended = matches!(
        state.decompress_vec(packed, out, flate2::FlushDecompress::Finish),
        Ok(flate2::Status::StreamEnd) if state.total_in() == packed.len() as u64
    );
    if !ended {
        out.clear();
    }
    Ok(ended)
}

/// The most that is unpacked in one call, which keeps its thread from everybody else.
const AT_ONCE_BYTES_MAX: usize = 1 << 20;
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

#[cfg(test)]
mod at_once_tests {
    use super::*;
    use std::io::Write as _;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("in memory");
        encoder.finish().expect("in memory")
    }

    async fn unpacked(packed: &[u8], mut out: Vec<u8>) -> Result<Vec<u8>, String> {
        let done = unpack(Encoding::Gzip, packed, &mut out, 1 << 21, &mut None).await;
        done.map(|()| out).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn where_there_is_room_the_outcome_is_the_same() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|i| format!("{} ", i * 7919 % 10_007).into_bytes()).collect();
        let (short, long) = (packed(&text[..1000]), packed(&text));
        let two = [short.as_slice(), &long].concat();
        let mut damaged = long.clone();
        damaged[5000] ^= 1;
        let behind = [long.as_slice(), b"rubbish"].concat();
        let bodies: [&[u8]; 7] = [&short, &long, &two, &damaged, &behind, &long[..long.len() - 3], b""];
        for (place, body) in bodies.into_iter().enumerate() {
            let slowly = unpacked(body, Vec::new()).await;
            for capacity in [1000, 1001, text.len() - 1, text.len(), text.len() + 1, AT_ONCE_BYTES_MAX] {
                assert_eq!(unpacked(body, Vec::with_capacity(capacity)).await, slowly, "body {place}, room for {capacity}");
            }
        }
        assert_eq!(unpacked(&two, Vec::new()).await.map(|out| out.len()), Ok(1000 + text.len()));
    }
}
