//! Which connections are open, what each is waiting for, and which must go when there are too many.
//!
//! A client that connects and says nothing costs it nothing and us a place. So every connection has its deadlines, and when
//! all places are taken the one that deserves its place least is closed for the newcomer: first those that never finished
//! the head of a request, then idle ones, then bodies that dribble and answers that nobody reads; of each kind the oldest.
//! A connection whose request is being worked on is never closed for another. Where nothing can be closed, newcomers are
//! refused at once, but a few places are kept for this host: its owner always gets in.

use crate::env::network::BoxStream;
use crate::env::{Env, clock::Clock};
use crate::telemetry::metrics::{Counter, Gauge, Registry};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// How many connections there may be, and how long each may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Connections at once.
    pub connections: usize,
    /// Places beyond that for callers from this host.
    pub reserve: usize,
    /// From connecting, or from the first byte of a request, to the end of its head.
    pub header_timeout: Duration,
    /// Between requests; also for the whole body of a request, and for a client that does not read its answer.
    pub idle_timeout: Duration,
}

impl Default for ConnectionBounds {
    fn default() -> Self {
        Self { connections: 512, reserve: 16, header_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(5 * 60) }
    }
}

/// What a connection is waiting for, as far as the client has it in hand.
#[derive(Debug)]
struct State {
    /// Since when no request is in work; the head of the next one has begun where `in_head`.
    quiet_since: Duration,
    in_head: bool,
    /// Requests whose answer has not been handed over whole.
    requests: usize,
    /// Requests whose body has not come whole, and since when there are any.
    bodies: usize,
    body_since: Duration,
    /// Since when the client takes no more of what is written.
    stalled_since: Option<Duration>,
    /// HTTP/2: bytes may come that begin no request.
    multiplexed: bool,
}

impl State {
    /// Returns how little the connection deserves its place (least first) and since when; `None`: it must stay.
    fn claim(&self, now: Duration, patience: Duration) -> Option<(u8, Duration)> {
        let lasts = |since: &Duration| now.saturating_sub(*since) >= patience;
        if self.requests == 0 {
            return Some((if self.in_head { 0 } else { 1 }, self.quiet_since));
        }
        if self.bodies > 0 && lasts(&self.body_since) {
            return Some((2, self.body_since));
        }
        self.stalled_since.filter(lasts).map(|since| (3, since))
    }

    /// Returns which deadline has passed.
    fn overdue(&self, now: Duration, bounds: &ConnectionBounds) -> Option<&'static str> {
        let passed = |since: Duration, limit: Duration| now.saturating_sub(since) >= limit;
        if self.requests == 0 {
            let (limit, why) = if self.in_head { (bounds.header_timeout, HEADER) } else { (bounds.idle_timeout, IDLE) };
            return passed(self.quiet_since, limit).then_some(why);
        }
        if self.bodies > 0 && passed(self.body_since, bounds.idle_timeout) {
            return Some(BODY);
        }
        self.stalled_since.is_some_and(|since| passed(since, bounds.idle_timeout)).then_some(UNREAD)
    }
}

const HEADER: &str = "header timeout";
const IDLE: &str = "idle timeout";
const BODY: &str = "body timeout";
const UNREAD: &str = "answer not read";
const FULL: &str = "full";
const REFUSED: &str = "refused";

/// One open connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connection(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    close: CancellationToken,
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    /// Waits until the connection must be closed.
    pub(super) async fn must_close(&self) {
        self.0.close.cancelled().await;
    }

    /// Notes that a request's head has come; the guard goes with its answer's body.
    pub(super) fn request(&self, multiplexed: bool) -> InWork {
        let mut state = self.state();
        state.requests += 1;
        state.in_head = false;
        state.multiplexed = multiplexed;
        drop(state);
        InWork(self.clone())
    }

    /// Notes that a request's body is awaited; the guard goes when it has come.
    pub(super) fn body(&self) -> Receiving {
        let now = self.now();
        let mut state = self.state();
        if state.bodies == 0 {
            state.body_since = now;
        }
        state.bodies += 1;
        drop(state);
        Receiving(self.clone())
    }

    /// Returns the stream with an eye on what passes.
    pub(super) fn watch(&self, stream: BoxStream) -> Watched {
        Watched { stream, connection: self.clone() }
    }
}

/// A request that is being answered.
pub(super) struct InWork(Connection);

impl Drop for InWork {
    fn drop(&mut self) {
        let now = self.0.now();
        let mut state = self.0.state();
        state.requests = state.requests.saturating_sub(1);
        state.quiet_since = now;
    }
}

/// A body that is being received.
pub(super) struct Receiving(Connection);

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.bodies = state.bodies.saturating_sub(1);
    }
}

/// A stream that notes when a request begins and when the client stops reading.
#[derive(Debug)]
pub(super) struct Watched {
    stream: BoxStream,
    connection: Connection,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.state.fmt(f)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        if into.filled().len() > before {
            let now = self.connection.now();
            let mut state = self.connection.state();
            if state.requests == 0 && !state.in_head && !state.multiplexed {
                state.in_head = true;
                state.quiet_since = now;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Watched {
    fn wrote<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_pending() {
            let now = self.connection.now();
            self.connection.state().stalled_since.get_or_insert(now);
        } else {
            self.connection.state().stalled_since = None;
        }
        done
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// All open connections. Owned by the accept loop; each connection's task holds a [`Place`].
#[derive(Clone)]
pub(super) struct Connections(Arc<All>);

struct All {
    clock: Arc<dyn Clock>,
    bounds: ConnectionBounds,
    registry: Registry,
    open: Gauge,
    accepted: Counter,
    /// By the order of their coming.
    places: Mutex<BTreeMap<u64, Connection>>,
}

/// A connection's place among all; given back when dropped.
pub(super) struct Place {
    all: Connections,
    number: u64,
    pub(super) connection: Connection,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.all.places();
        places.remove(&self.number);
        self.all.0.open.set(places.len() as f64);
    }
}

impl Connections {
    pub(super) fn new(env: &Env, bounds: ConnectionBounds, registry: &Registry) -> Self {
        let open = registry.gauge("watchkeeper_http_connections", "Open connections to the listener.", &[]);
        let help = "Connections that the listener accepted.";
        let accepted = registry.counter("watchkeeper_http_connections_accepted_total", help, &[]);
        let clock = Arc::clone(&env.clock);
        Self(Arc::new(All { clock, bounds, registry: registry.clone(), open, accepted, places: Mutex::default() }))
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, reason: &'static str) {
        let help = "Connections that the listener closed for a reason of its own.";
        self.0.registry.counter("watchkeeper_http_connections_closed_total", help, &[("reason", reason)]).inc();
    }

    /// Returns a place for a newcomer, another connection's where none is free; `None`: all are at work.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let All { clock, bounds, .. } = &*self.0;
        let now = clock.monotonic();
        self.0.accepted.inc();
        let mut places = self.places();
        if places.len() >= bounds.connections {
            let claims = places.iter().filter_map(|(number, connection)| {
                let claim = connection.state().claim(now, bounds.header_timeout)?;
                Some((claim, *number))
            });
            match claims.min() {
                Some((_, number)) => {
                    if let Some(victim) = places.remove(&number) {
                        victim.0.close.cancel();
                    }
                    self.note(FULL);
                }
                None if peer.ip().to_canonical().is_loopback() && places.len() < bounds.connections + bounds.reserve => {}
                None => {
                    drop(places);
                    self.note(REFUSED);
                    return None;
                }
            }
        }
        let state = State {
            quiet_since: now,
            in_head: true,
            requests: 0,
            bodies: 0,
            body_since: now,
            stalled_since: None,
            multiplexed: false,
        };
        let shared = Shared { clock: Arc::clone(clock), state: Mutex::new(state), close: CancellationToken::new() };
        let connection = Connection(Arc::new(shared));
        let number = self.0.accepted.get();
        places.insert(number, connection.clone());
        self.0.open.set(places.len() as f64);
        Some(Place { all: self.clone(), number, connection })
    }

    /// Closes what is overdue; returns whether any connection is left to look after.
    pub(super) fn reap(&self) -> bool {
        let now = self.0.clock.monotonic();
        let mut overdue = Vec::new();
        let mut places = self.places();
        places.retain(|_, connection| {
            let why = connection.state().overdue(now, &self.0.bounds);
            if let Some(why) = why {
                connection.0.close.cancel();
                overdue.push(why);
            }
            why.is_none()
        });
        let any = !places.is_empty();
        self.0.open.set(places.len() as f64);
        drop(places);
        overdue.into_iter().for_each(|why| self.note(why));
        any
    }
}
