//! Why a request failed.

use std::io;
use std::path::PathBuf;

/// A request without a usable answer. The words are those that Go programs use, since people search for them.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is no URL of scheme http or https.
    #[error("invalid URL {0:?}: {1}")]
    Url(String, String),
    /// No connection.
    #[error("dial tcp {address}: {}", io_words(.source))]
    Connect {
        /// `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The TLS handshake or its configuration failed.
    #[error("tls: {0}")]
    Tls(String),
    /// The proxy refused.
    #[error("proxy: {0}")]
    Proxy(String),
    /// What came is not HTTP, or the connection ended early.
    #[error("{0}")]
    Http(String),
    /// Reading or writing failed.
    #[error("{}", io_words(.0))]
    Io(#[from] io::Error),
    /// The body is longer than allowed, as it came or unpacked.
    #[error("body size limit exceeded")]
    BodyTooLong {
        /// The bound in bytes.
        limit: u64,
    },
    /// All bodies that are under way together took more memory than they may, and this one was the largest.
    #[error("body given up: too much memory is taken by bodies that are under way")]
    NoMemory,
    /// The body cannot be unpacked.
    #[error("cannot unpack the {encoding} body: {message}")]
    Unpack {
        /// `gzip` or `zstd`.
        encoding: &'static str,
        /// Why.
        message: String,
    },
    /// More than ten redirects.
    #[error("stopped after 10 redirects")]
    Redirects,
    /// A file that holds a secret or a certificate cannot be read.
    #[error("unable to read file {}: {source}", path.display())]
    SecretFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No OAuth 2.0 token.
    #[error("oauth2: {0}")]
    Token(String),
    /// A header cannot be sent.
    #[error("invalid header {0:?}")]
    Header(String),
    /// The time given was over.
    #[error("context deadline exceeded")]
    Deadline,
}

/// Says an I/O error as Go does where people know it by those words.
fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => error.to_string(),
    }
}
