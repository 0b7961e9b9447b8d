//! The accept loop: connections up to a bound, each on a task of its own; at the end no new ones, and the running requests
//! may finish.

use super::access::{Encrypted, Peer};
use super::connections::{Connection, ConnectionBounds, Connections, Place};
use super::error::ApiError;
use super::heads::Heads;
use crate::config::Config;
use crate::env::Env;
use crate::env::network::{BoxStream, Listener};
use crate::net::server_tls::{ServerTls, ServerTlsError};
use crate::telemetry::metrics::Registry;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tower_service::Service as _;

/// How often overdue connections are looked for, while there are any.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// What a client gets that no place is left for.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 21\r\n\r\ntoo many connections\n";

/// Whether connections are encrypted, and how; the configuration is asked at each.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// Does it.
    pub tls: ServerTls,
    /// The configuration in force: its `web.tls_server_config`.
    pub config: watch::Receiver<Arc<Config>>,
}

impl Encryption {
    /// Shakes hands where that is wanted; answers whether it was.
    async fn accept(&self, stream: BoxStream) -> Result<(BoxStream, bool), ServerTlsError> {
        let config = Arc::clone(&self.config.borrow());
        match &config.web.tls_server_config {
            Some(tls) => Ok((self.tls.accept(tls, config.web.http_server_config.http2, stream).await?, true)),
            None => Ok((stream, false)),
        }
    }
}

/// How the accept loop is.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// How many connections there may be, and how long they may keep us waiting.
    pub bounds: ConnectionBounds,
    /// How long running requests may take after the stop.
    pub drain: Duration,
    /// How connections are encrypted; `None`: they are not.
    pub encryption: Option<Encryption>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { bounds: ConnectionBounds::default(), drain: Duration::from_secs(10), encryption: None }
    }
}

/// Serves until `shutdown` says true (or its sender is gone), then drains. Answers how many connections were cut off.
pub async fn serve(
    env: Env,
    mut listener: Box<dyn Listener>,
    router: Router,
    options: ServeOptions,
    registry: Registry,
    mut shutdown: watch::Receiver<bool>,
) -> usize {
    let connections = Connections::new(&env, options.bounds, &registry);
    let graceful = GracefulShutdown::new();
    let mut reaping = None;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            () = alarm(&mut reaping) => {
                reaping = connections.reap().then(|| env.clock.sleep(REAP_EVERY));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                reaping.get_or_insert_with(|| env.clock.sleep(REAP_EVERY));
                match connections.admit(peer) {
                    Some(place) => {
                        let encryption = options.encryption.clone();
                        let work = connection(router.clone(), stream, peer, graceful.watcher(), place, encryption);
                        drop(env.tasks.spawn("http connection", work));
                    }
                    None => refuse(&env, stream).await,
                }
            }
            Err(error) => {
                // Most often too many open files: it passes when others close.
                tracing::warn!(%error, "cannot accept a connection");
                env.clock.sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let open = graceful.count();
    match env.clock.timeout(options.drain, graceful.shutdown()).await {
        Ok(()) => 0,
        Err(_) => {
            tracing::warn!(open, "connections did not finish in time");
            open
        }
    }
}

/// Waits for the alarm; for ever where none is set.
async fn alarm(set: &mut Option<futures_util::future::BoxFuture<'static, ()>>) {
    match set {
        Some(alarm) => alarm.await,
        None => std::future::pending().await,
    }
}

/// Says that there is no place. The fresh socket takes that few bytes at once, or they are not worth waiting for.
async fn refuse(env: &Env, mut stream: BoxStream) {
    let words = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await
    };
    if !matches!(env.clock.timeout(Duration::from_millis(50), words).await, Ok(Ok(()))) {
        tracing::debug!("a refused client was not told why");
    }
}

/// Hands a request on; what is known of it goes with its body and with its answer's.
fn answer(
    router: &Router,
    (peer, is_encrypted): (SocketAddr, bool),
    connection: &Connection,
    heads: &Heads,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, std::convert::Infallible>> + use<> {
    let too_long = heads.begun(request.body().size_hint().exact());
    let in_work = connection.request(request.version() == http::Version::HTTP_2);
    let receiving = (!request.body().is_end_stream()).then(|| connection.body());
    let mut request = request.map(|body| Body::new(Guarded { body, guard: receiving }));
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(Encrypted(is_encrypted));
    let answering = (!too_long).then(|| router.clone().call(request));
    async move {
        let response = match answering {
            Some(answering) => answering.await?,
            None => too_long_address(),
        };
        Ok(response.map(|body| Body::new(Guarded { body, guard: Some(in_work) })))
    }
}

/// What there is instead of an answer where the address of a request is too long to be read.
fn too_long_address() -> Response {
    let message = "the address of the request is longer than 65534 bytes: send the parameters as a form, by POST";
    let mut response = ApiError::bad_data(message).into_response();
    *response.status_mut() = StatusCode::URI_TOO_LONG;
    response
}

/// A body that holds a guard until it has passed whole, or nobody wants it any more.
struct Guarded<B, G> {
    body: B,
    guard: Option<G>,
}

impl<B: hyper::body::Body<Data = Bytes> + Unpin, G: Unpin> hyper::body::Body for Guarded<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.guard = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

async fn connection(
    router: Router,
    stream: BoxStream,
    peer: SocketAddr,
    watcher: Watcher,
    place: Place,
    encryption: Option<Encryption>,
) {
    let mut stream: BoxStream = Box::new(place.connection.watch(stream));
    let mut is_encrypted = false;
    if let Some(encryption) = encryption {
        // A handshake has the deadline of a request's head.
        let accepted = tokio::select! {
            accepted = encryption.accept(stream) => accepted,
            () = place.connection.must_close() => {
                tracing::debug!(%peer, "connection closed before it was encrypted");
                return;
            }
        };
        (stream, is_encrypted) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%peer, %error, "connection ended before it was encrypted");
                return;
            }
        };
    }
    let heads = Heads::default();
    let stream = heads.read(stream);
    let known = place.connection.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        answer(&router, (peer, is_encrypted), &known, &heads, request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The deadlines are those of `connections`: hyper's begin only when the first bytes have told it the version.
    builder.http1().header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128);
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::select! {
        served = served => if let Err(error) = served {
            // Clients hang up; that is their right.
            tracing::debug!(%peer, %error, "connection ended");
        },
        () = place.connection.must_close() => tracing::debug!(%peer, "connection closed"),
    }
    drop(place);
}
