//! The little of HTTP that a service within a test speaks.

use std::io;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

pub(super) struct Request {
    pub(super) path: String,
    /// `name: value`, the names in small letters.
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// Reads a request; `None` where the other side has hung up.
pub(super) async fn request(stream: &mut BufReader<DuplexStream>) -> io::Result<Option<Request>> {
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

pub(super) async fn answer(stream: &mut BufReader<DuplexStream>, status: u16, body: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.get_mut().write_all(text.as_bytes()).await
}
