//! The accept loop on real sockets, with clients that mean it badly.

use super::ConnectionBounds;
use super::serve::{ServeOptions, serve};
use crate::env::Env;
use crate::env::network::BoxStream;
use crate::telemetry::metrics::Registry;
use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};

/// What the server must answer within.
const PATIENCE: Duration = Duration::from_secs(2);
const HEALTHY: &[u8] = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Server {
    env: Env,
    address: String,
    registry: Registry,
    release: Arc<Notify>,
    started: Arc<AtomicUsize>,
    _running: watch::Sender<bool>,
}

impl Server {
    async fn start(bounds: ConnectionBounds) -> Self {
        let env = Env::real();
        let listener = env.network.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().unwrap().to_string();
        let release = Arc::new(Notify::new());
        let started = Arc::new(AtomicUsize::new(0));
        let (wait, count) = (Arc::clone(&release), Arc::clone(&started));
        let slow = move || {
            let (wait, count) = (Arc::clone(&wait), Arc::clone(&count));
            async move {
                let released = wait.notified();
                count.fetch_add(1, Ordering::SeqCst);
                released.await;
                "done"
            }
        };
        let router = Router::new()
            .route("/-/healthy", get(|| async { "healthy" }))
            .route("/slow", get(slow))
            .route("/body", post(|body: Bytes| async move { body.len().to_string() }));
        let registry = Registry::new();
        let (running, ends) = watch::channel(false);
        let options = ServeOptions { bounds, ..ServeOptions::default() };
        drop(env.tasks.spawn("server", serve(env.clone(), listener, router, options, registry.clone(), ends)));
        Self { env, address, registry, release, started, _running: running }
    }

    async fn connect(&self, say: &[u8]) -> BoxStream {
        let mut stream = self.env.network.connect(&self.address).await.unwrap();
        // The server may have closed it already.
        drop(stream.write_all(say).await);
        stream
    }

    /// Asks on a connection of its own; `None`: no whole answer in time.
    async fn ask(&self, request: &[u8]) -> Option<String> {
        let mut stream = self.connect(request).await;
        answer(&self.env, &mut stream).await
    }

    fn closed(&self, reason: &str) -> u64 {
        self.registry.counter("watchkeeper_http_connections_closed_total", "", &[("reason", reason)]).get()
    }

    /// Waits until so many slow requests are being worked on.
    async fn working(&self, count: usize) {
        for _ in 0..1000 {
            if self.started.load(Ordering::SeqCst) >= count {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?} of {count} requests are worked on", self.started);
    }
}

/// Reads one answer: its head, and as much body as it names.
async fn answer(env: &Env, stream: &mut BoxStream) -> Option<String> {
    let reading = async {
        let mut text = Vec::new();
        loop {
            let byte = stream.read_u8().await.ok()?;
            text.push(byte);
            let so_far = String::from_utf8_lossy(&text).to_ascii_lowercase();
            let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
            let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
            if body.len() == length {
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
        }
    };
    env.clock.timeout(PATIENCE, reading).await.ok()?
}

/// Returns whether the server closes the connection in time.
async fn is_closed(env: &Env, stream: &mut BoxStream) -> bool {
    let mut rest = Vec::new();
    env.clock.timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn silent_and_half_open_connections_lock_nobody_out() {
    let server = Server::start(ConnectionBounds::default()).await;
    let mut held = Vec::new();
    for number in 0..640 {
        let say: &[u8] = if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\nHost: " };
        held.push(server.connect(say).await);
    }
    let answer = server.ask(HEALTHY).await.expect("no answer in time");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("healthy"), "{answer}");
    assert!(server.closed("full") >= 129, "{}", server.closed("full"));
    assert_eq!(server.closed("refused"), 0);
}

#[tokio::test]
async fn the_head_of_a_request_has_a_deadline() {
    let bounds = ConnectionBounds { header_timeout: Duration::from_millis(200), ..ConnectionBounds::default() };
    let server = Server::start(bounds).await;
    let mut silent = server.connect(b"").await;
    let mut half = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\nX-A").await;
    // A second request on a kept connection has it, too.
    let mut second = server.connect(HEALTHY).await;
    assert!(answer(&server.env, &mut second).await.is_some());
    second.write_all(b"GET /").await.unwrap();
    for stream in [&mut silent, &mut half, &mut second] {
        assert!(is_closed(&server.env, stream).await);
    }
    assert_eq!(server.closed("header timeout"), 3);
}

#[tokio::test]
async fn idle_connections_and_dribbling_bodies_have_a_deadline() {
    let bounds = ConnectionBounds { idle_timeout: Duration::from_millis(200), ..ConnectionBounds::default() };
    let server = Server::start(bounds).await;
    let mut idle = server.connect(HEALTHY).await;
    assert!(answer(&server.env, &mut idle).await.is_some());
    let mut body = server.connect(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345").await;
    let mut working = server.connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.working(1).await;
    assert!(is_closed(&server.env, &mut idle).await);
    assert!(is_closed(&server.env, &mut body).await);
    assert_eq!((server.closed("idle timeout"), server.closed("body timeout")), (1, 1));
    // What is worked on has none of these deadlines.
    server.release.notify_waiters();
    assert!(answer(&server.env, &mut working).await.unwrap().ends_with("done"));
}

#[tokio::test]
async fn a_request_in_work_keeps_its_place_and_this_host_gets_in() {
    let bounds = ConnectionBounds { connections: 4, reserve: 1, ..ConnectionBounds::default() };
    let server = Server::start(bounds).await;
    let mut working = Vec::new();
    for _ in 0..4 {
        working.push(server.connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await);
    }
    server.working(4).await;
    // The reserve of one is for this host; it is given again as soon as it is free or idle.
    for _ in 0..3 {
        assert!(server.ask(HEALTHY).await.unwrap().ends_with("healthy"));
    }
    let mut last = server.connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.working(5).await;
    assert!(server.ask(HEALTHY).await.unwrap().starts_with("HTTP/1.1 503"), "all places are at work");
    assert_eq!(server.closed("refused"), 1);
    server.release.notify_waiters();
    for stream in &mut working {
        assert!(answer(&server.env, stream).await.unwrap().ends_with("done"));
    }
    assert!(answer(&server.env, &mut last).await.unwrap().ends_with("done"));
}
