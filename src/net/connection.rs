//! One connection to one server: TCP, a proxy's CONNECT, TLS, and HTTP/1.1, or HTTP/2 where TLS's handshake agreed on it.
//!
//! The connection is driven by the task that waits for its answer; an idle one costs no task.

use super::error::ClientError;
use super::options::{ClientOptions, append_headers};
use super::proxy::is_direct;
use crate::env::Env;
use crate::env::network::BoxStream;
use crate::env::tasks::Tasks;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How much is read at once; what an idle connection keeps.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// The longest answer to CONNECT.
const CONNECT_ANSWER_BYTES_MAX: usize = 16 * 1024;

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host as in the URL, with brackets around an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Server {
    /// Reads scheme, host and port of a URL.
    ///
    /// # Errors
    /// When one is missing or the scheme is neither http nor https.
    pub fn of(url: &Uri) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::Url(url.to_string(), why.to_owned());
        let tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("unsupported protocol scheme")),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no Host in request URL"))?;
        Ok(Self { tls, host: host.to_owned(), port: url.port_u16().unwrap_or(if tls { 443 } else { 80 }) })
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// What requests go into.
enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// Runs what HTTP/2 does beside its connection.
#[derive(Clone)]
struct Beside(Tasks);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Beside {
    fn execute(&self, work: F) {
        drop(self.0.spawn("http2", work));
    }
}

/// An open connection.
pub struct Connection {
    server: Server,
    sender: Sender,
    driver: Option<Driver>,
    /// Whether requests name the whole URL, as a plain proxy wants it.
    absolute: bool,
    /// What each request tells a plain proxy of us.
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Says what hyper says, with its cause.
pub(super) fn http_error(error: &hyper::Error) -> ClientError {
    use std::error::Error as _;
    let words = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None if error.is_incomplete_message() => "EOF".to_owned(),
        None => error.to_string(),
    };
    ClientError::Http(words)
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When a step fails; the caller sets the deadline.
    pub async fn open(env: &Env, server: &Server, options: &ClientOptions) -> Result<Self, ClientError> {
        let proxy = options.proxy_url.as_ref().filter(|_| !is_direct(&server.host, server.port, &options.no_proxy));
        let (mut absolute, mut authorization) = (false, None);
        let stream = match proxy {
            None => dial(env, &server.address()).await?,
            Some(proxy) => {
                let uri: Uri = proxy.parse().map_err(|_| ClientError::Proxy("invalid proxy URL".to_owned()))?;
                let gate = Server::of(&uri)?;
                let mut stream = dial(env, &gate.address()).await?;
                if gate.tls {
                    let plain = ClientOptions { http2: false, ..ClientOptions::default() };
                    stream = handshake(env, stream, &gate, &plain).await?.0;
                }
                if server.tls {
                    stream = tunnel(env, stream, server, &uri, options).await?;
                } else {
                    absolute = true;
                    let proves = proxy_authorization(&uri).map(|text| HeaderValue::from_str(&text)).transpose();
                    authorization = proves.map_err(|_| ClientError::Proxy("invalid user or password".to_owned()))?;
                }
                stream
            }
        };
        let (stream, is_two) = if server.tls { handshake(env, stream, server, options).await? } else { (stream, false) };
        let io = TokioIo::new(stream);
        let (sender, driver): (_, Driver) = if is_two {
            let handshake = http2::Builder::new(Beside(env.tasks.clone())).handshake(io).await;
            let (sender, connection) = handshake.map_err(|error| http_error(&error))?;
            (Sender::Two(sender), Box::pin(connection))
        } else {
            let handshake = http1::Builder::new().read_buf_exact_size(Some(READ_BUFFER_BYTES)).handshake(io).await;
            let (sender, connection) = handshake.map_err(|error| http_error(&error))?;
            (Sender::One(sender), Box::pin(connection))
        };
        Ok(Self { server: server.clone(), sender, driver: Some(driver), absolute, authorization })
    }

    /// Returns whether the connection goes to that server.
    #[must_use]
    pub fn goes_to(&self, server: &Server) -> bool {
        self.server == *server
    }

    /// Returns whether another request may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Sends a request and runs `read` on the answer.
    ///
    /// # Errors
    /// When the connection fails, or what `read` says.
    pub async fn exchange<T>(
        &mut self,
        mut request: Request<Full<Bytes>>,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if matches!(self.sender, Sender::Two(_)) {
            // The URL says it.
            request.headers_mut().remove(HOST);
        } else if !self.absolute {
            let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
            *request.uri_mut() = path.parse().map_err(|_| ClientError::Url(path, "invalid path".to_owned()))?;
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let Self { sender, driver, .. } = self;
        let work = async {
            let response = sender.send(request).await.map_err(|error| http_error(&error))?;
            read(response).await
        };
        drive(driver, work).await
    }
}

/// Polls the connection along with the work that waits for it.
async fn drive<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        if let Some(connection) = driver
            && connection.as_mut().poll(context).is_ready()
        {
            *driver = None;
        }
        let done = work.as_mut().poll(context);
        // The work may have handed over a request or drained a buffer: give the connection a second look.
        if done.is_pending()
            && let Some(connection) = driver
            && connection.as_mut().poll(context).is_ready()
        {
            *driver = None;
            context.waker().wake_by_ref();
        }
        match done {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn dial(env: &Env, address: &str) -> Result<BoxStream, ClientError> {
    env.network.connect(address).await.map_err(|source| ClientError::Connect { address: address.to_owned(), source })
}

/// Returns the stream within TLS, and whether HTTP/2 was agreed on.
async fn handshake(
    env: &Env,
    stream: BoxStream,
    server: &Server,
    options: &ClientOptions,
) -> Result<(BoxStream, bool), ClientError> {
    let config = options.tls.client_config(env, options.http2).await?;
    let name = options.tls.name_for(&server.host)?;
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| ClientError::Tls(error.to_string()))?;
    let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), is_two))
}

/// Returns what user and password in a proxy's URL become.
fn proxy_authorization(proxy: &Uri) -> Option<String> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    Some(super::options::basic(user, password))
}

/// Asks a proxy for a tunnel.
async fn tunnel(
    env: &Env,
    mut stream: BoxStream,
    server: &Server,
    proxy: &Uri,
    options: &ClientOptions,
) -> Result<BoxStream, ClientError> {
    let address = server.address();
    let mut headers = HeaderMap::new();
    append_headers(env, &options.proxy_headers, &mut headers).await?;
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n").into_bytes();
    if let Some(authorization) = proxy_authorization(proxy) {
        request.extend_from_slice(format!("Proxy-Authorization: {authorization}\r\n").as_bytes());
    }
    for (name, value) in &headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= CONNECT_ANSWER_BYTES_MAX {
            return Err(ClientError::Proxy("its answer is too long".to_owned()));
        }
        // Byte by byte: what follows the answer belongs to the tunnel.
        answer.push(stream.read_u8().await?);
    }
    let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if status.split(|byte| *byte == b' ').nth(1) == Some(b"200") {
        return Ok(stream);
    }
    Err(ClientError::Proxy(String::from_utf8_lossy(status).into_owned()))
}
