//! Bodies that hold a dashboard: what is too large is read to its end and thrown away, so that who sends it hears why it was
//! refused, and is never all in memory.

use crate::api::error::ApiError;
use crate::dashboards::read::{BYTES_MAX, NotADashboard};
use axum::extract::Request;
use axum::http::header;
use futures_util::StreamExt as _;

/// The largest body: a dashboard that came as a text has a `\` before each of its quotes.
const BODY_BYTES_MAX: usize = 2 * BYTES_MAX + (1 << 20);
/// How much is read of what is thrown away.
const THROWN_BYTES_MAX: u64 = 256 << 20;

/// Reads a body.
pub(super) async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    let (told, asks_first) = {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        (length.and_then(|length| length.parse::<u64>().ok()), request.headers().contains_key(header::EXPECT))
    };
    let too_large = told.is_some_and(|told| told > BODY_BYTES_MAX as u64);
    if let Some(told) = told.filter(|told| too_large && (asks_first || *told > THROWN_BYTES_MAX)) {
        // They wait for leave to send it, or nobody can want to wait until they have.
        return Err(NotADashboard::TooLarge(told).into());
    }
    let mut bytes = Vec::new();
    let mut length = 0_u64;
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| ApiError::bad_data(format!("the body cannot be read: {error}")))?;
        length += piece.len() as u64;
        if length > THROWN_BYTES_MAX {
            break;
        }
        if too_large || length > BODY_BYTES_MAX as u64 {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&piece);
        }
    }
    if too_large || length > BODY_BYTES_MAX as u64 {
        return Err(NotADashboard::TooLarge(length).into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, Bytes};
    use std::convert::Infallible;

    fn pieces(count: usize) -> Body {
        let piece = Bytes::from(vec![b' '; 1 << 20]);
        Body::from_stream(futures_util::stream::iter((0..count).map(move |_| Ok::<_, Infallible>(piece.clone()))))
    }

    #[tokio::test]
    async fn large_bodies_are_told_their_size() {
        let told = |error: ApiError| (error.kind.as_str(), error.message);
        let large = ("too_large", "This dashboard has 50 MB; the limit is 5 MB.".to_owned());
        assert_eq!(told(read(Request::new(pieces(50))).await.unwrap_err()), large);
        let named = Request::post("/").header(header::CONTENT_LENGTH, 50 << 20).body(pieces(50)).unwrap();
        assert_eq!(told(read(named).await.unwrap_err()), large);
        // Who asks before sending is told before.
        let asks = Request::post("/").header(header::CONTENT_LENGTH, 50 << 20).header(header::EXPECT, "100-continue");
        assert_eq!(told(read(asks.body(Body::empty()).unwrap()).await.unwrap_err()), large);
        assert_eq!(read(Request::new(pieces(2))).await.unwrap().len(), 2 << 20);
    }
}
