//! The accept loop: connections up to a bound, each on a task of its own; at the end no new ones, and the running requests
//! may finish.

use super::access::Peer;
use crate::env::Env;
use crate::env::network::{BoxStream, Listener};
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service as _;

/// Bounds of the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long running requests may take after the stop.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { connections: 512, header_timeout: Duration::from_secs(30), drain: Duration::from_secs(10) }
    }
}

/// Serves until `shutdown` says true (or its sender is gone), then drains. Answers how many connections were cut off.
pub async fn serve(
    env: Env,
    mut listener: Box<dyn Listener>,
    router: Router,
    options: ServeOptions,
    mut shutdown: watch::Receiver<bool>,
) -> usize {
    let places = Arc::new(Semaphore::new(options.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let place = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let work = connection(router.clone(), stream, peer, options, graceful.watcher(), place);
                drop(env.tasks.spawn("http connection", work));
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

async fn connection(
    router: Router,
    stream: BoxStream,
    peer: SocketAddr,
    options: ServeOptions,
    watcher: Watcher,
    place: OwnedSemaphorePermit,
) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.header_timeout);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128);
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    if let Err(error) = served.await {
        // Clients hang up; that is their right.
        tracing::debug!(%peer, %error, "connection ended");
    }
    drop(place);
}
