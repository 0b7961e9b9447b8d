//! The little of HTTP that a service within a test speaks.

use crate::env::network::Stream;
use std::io;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

pub(crate) struct Request {
    pub(crate) path: String,
    /// `name: value`, the names in small letters.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// Reads a request; `None` where the other side has hung up.
pub(crate) async fn request<S: Stream>(stream: &mut BufReader<S>) -> io::Result<Option<Request>> {
    let mut first = String::new();
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        headers.push(format!("{}:{value}", name.to_lowercase()));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { path: first.split(' ').nth(1).unwrap_or("").to_owned(), headers, body }))
}

pub(crate) async fn answer<S: Stream>(stream: &mut BufReader<S>, status: u16, body: &str) -> io::Result<()> {
    answer_as(stream, status, "application/json", body).await
}

pub(crate) async fn answer_as<S: Stream>(stream: &mut BufReader<S>, status: u16, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.get_mut().write_all(text.as_bytes()).await
}

/// Reads status and body of a whole answer.
pub(crate) fn status_and_body(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
