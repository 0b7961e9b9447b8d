//! Packs answers by gzip or zstd where the client takes them and it pays.

use super::state::ApiState;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use std::io::Write as _;

/// Answers below this stay as they are.
const BYTES_MIN: u64 = 1024;
/// Answers above this are packed on a thread of their own.
const BYTES_AT_ONCE: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
}

/// Returns whether a list like `gzip, br;q=0.5` takes an encoding, and how gladly.
pub(super) fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = parts.any(|parameter| {
            parameter.strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
        });
        named && !refused
    })
}

/// The middleware.
pub(super) async fn pack(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    // Browsers send both; zstd costs less on both sides.
    let packing = if accepts(request.headers(), "zstd") {
        Some(Packing::Zstd)
    } else if accepts(request.headers(), "gzip") {
        Some(Packing::Gzip)
    } else {
        None
    };
    let response = next.run(request).await;
    let Some(packing) = packing else { return response };
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let text = kind.starts_with("application/json") || kind.starts_with("text/") || kind.starts_with("application/openmetrics");
    let streamed = kind.starts_with("text/event-stream");
    // Only bodies that are whole have an exact size.
    let Some(size) = response.body().size_hint().exact() else { return response };
    if !text || streamed || size < BYTES_MIN || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let packed = match bytes.len() {
        0..=BYTES_AT_ONCE => packed(packing, &bytes),
        _ => {
            let bytes = bytes.clone();
            api.env.tasks.blocking(move || packed(packing, &bytes)).await.unwrap_or(None)
        }
    };
    match packed {
        Some(packed) if packed.len() < bytes.len() => {
            let name = if packing == Packing::Gzip { "gzip" } else { "zstd" };
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(packed))
        }
        _ => Response::from_parts(parts, Body::from(bytes)),
    }
}

fn packed(packing: Packing, bytes: &[u8]) -> Option<Vec<u8>> {
    match packing {
        Packing::Zstd => zstd::bulk::compress(bytes, 1).ok(),
        Packing::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::new(4));
            writer.write_all(bytes).ok()?;
            writer.finish().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accept_encoding() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip;q=0.5, zstd;q=0, br"));
        assert!(accepts(&headers, "gzip"));
        assert!(accepts(&headers, "br"));
        assert!(!accepts(&headers, "zstd"));
        assert!(!accepts(&headers, "deflate"));
    }

    #[test]
    fn packs_both_ways() {
        use std::io::Read as _;
        let text = "{\"status\":\"success\"}".repeat(100);
        let zipped = packed(Packing::Gzip, text.as_bytes()).unwrap();
        let mut back = String::new();
        flate2::read::GzDecoder::new(zipped.as_slice()).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
        let zipped = packed(Packing::Zstd, text.as_bytes()).unwrap();
        assert_eq!(zstd::bulk::decompress(&zipped, 1 << 20).unwrap(), text.as_bytes());
    }
}
