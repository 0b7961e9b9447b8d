//! A network in memory: hosts and listeners by address, with the failures of real ones.
//!
//! ```text
//! life --connect--> Weather (refused? lost? late?) --> Wire (cut? dead? noted in the trace) --> Host, or a listener
//! ```

use super::trace::Trace;
use crate::env::clock::Clock;
use crate::env::crash_disk::CrashDisk;
use crate::env::network::{BoxStream, Listener, Network};
use crate::env::tasks::{Life, Tasks};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use xxhash_rust::xxh3::xxh3_64;

/// What a connection holds in each direction before its writer waits.
const BUFFER_BYTES: usize = 1 << 18;
/// Connections that nobody has accepted yet.
const WAITING_MAX: usize = 64;
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000);

/// Something that answers at an address.
pub(crate) trait Host: Send + Sync {
    /// Speaks with whoever has connected.
    fn serve(&self, stream: BoxStream) -> BoxFuture<'static, io::Result<()>>;
}

/// How connections to an address fare.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Connections are refused.
    pub(crate) is_refused: bool,
    /// Nobody ever answers a connection.
    pub(crate) is_lost: bool,
    /// How long a connection takes.
    pub(crate) latency: Duration,
}

/// Addresses that cannot be reached from a machine.
pub(crate) type Blocked = Arc<Mutex<BTreeSet<String>>>;

/// A process that can die at any of its steps: without power the disk keeps nothing more, and no byte leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Mortal {
    disk: CrashDisk,
    tasks: Arc<Life>,
    /// Addresses that cannot be reached from where it runs.
    blocked: Blocked,
    /// Bytes leave so many more times; negative: as often as wanted.
    sends_left: Arc<AtomicI64>,
}

impl Mortal {
    /// Returns a process on a disk.
    pub(crate) fn new(disk: &CrashDisk, tasks: &Arc<Life>, blocked: &Blocked) -> Self {
        let (disk, tasks, blocked) = (disk.clone(), Arc::clone(tasks), Arc::clone(blocked));
        Self { disk, tasks, blocked, sends_left: Arc::new(AtomicI64::new(-1)) }
    }

    /// Returns whether it cannot reach an address.
    pub(crate) fn is_cut_off(&self, address: &str) -> bool {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// Returns whether it stands still.
    pub(crate) fn is_paused(&self) -> bool {
        self.tasks.is_paused()
    }

    /// Lets it die after so many sends.
    pub(crate) fn dies_after_sends(&self, sends: i64) {
        self.sends_left.store(sends, Ordering::Relaxed);
    }

    /// Returns whether it will die by itself.
    pub(crate) fn will_die(&self) -> bool {
        self.sends_left.load(Ordering::Relaxed) >= 0
    }

    /// Ends it now.
    pub(crate) fn die(&self) {
        self.sends_left.store(0, Ordering::Relaxed);
        self.disk.stop_after(0);
    }

    /// Returns whether it is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.sends_left.load(Ordering::Relaxed) == 0 || self.disk.is_off()
    }

    /// Uses up a send; `false`: it is dead.
    fn may_send(&self) -> bool {
        if self.is_dead() {
            self.die();
            return false;
        }
        if self.sends_left.load(Ordering::Relaxed) > 0 {
            self.sends_left.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }
}

type Door = mpsc::Sender<(BoxStream, SocketAddr)>;

#[derive(Default)]
struct Places {
    hosts: BTreeMap<String, Arc<dyn Host>>,
    doors: BTreeMap<String, Door>,
    weather: BTreeMap<String, Weather>,
    /// The hosts' sides of connections.
    conversations: BTreeMap<String, Vec<AbortHandle>>,
    connections: u64,
}

/// The whole network. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Internet {
    places: Arc<Mutex<Places>>,
    clock: Arc<dyn Clock>,
    trace: Trace,
}

impl Internet {
    pub(crate) fn new(clock: Arc<dyn Clock>, trace: Trace) -> Self {
        Self { places: Arc::default(), clock, trace }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a host at an address.
    pub(crate) fn host(&self, address: &str, host: Arc<dyn Host>) {
        self.places().hosts.insert(address.to_owned(), host);
    }

    /// Changes how connections to an address fare from now on; those that there are break where no new one would succeed.
    pub(crate) fn weather(&self, address: &str, weather: Weather) {
        self.places().weather.insert(address.to_owned(), weather);
        if weather.is_refused || weather.is_lost {
            self.cut(address);
        }
    }

    /// Cuts the connections to an address that there are.
    pub(crate) fn cut(&self, address: &str) {
        let handles = self.places().conversations.remove(address).unwrap_or_default();
        handles.iter().for_each(AbortHandle::abort);
    }

    /// Returns the network as one process sees it; without one: as somebody sees it who never dies.
    pub(crate) fn seen_by(&self, process: Option<Mortal>) -> Arc<dyn Network> {
        Arc::new(Link { internet: self.clone(), process })
    }

    fn connected(&self, address: &str, process: Option<Mortal>) -> io::Result<BoxStream> {
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        let mut places = self.places();
        places.connections += 1;
        let number = places.connections;
        if let Some(host) = places.hosts.get(address) {
            let talk = Tasks::new().spawn("host", host.serve(Box::new(theirs)));
            let known = places.conversations.entry(address.to_owned()).or_default();
            known.retain(|handle| !handle.is_finished());
            known.push(talk.abort_handle());
        } else {
            let door = places.doors.get(address).filter(|door| !door.is_closed());
            let door = door.ok_or(io::ErrorKind::ConnectionRefused)?;
            door.try_send((Box::new(theirs), CLIENT)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        }
        let name = format!("{address}#{number}");
        Ok(Box::new(Wire { stream: ours, name, process, trace: self.trace.clone(), clock: Arc::clone(&self.clock) }))
    }
}

/// The network as one process sees it.
struct Link {
    internet: Internet,
    process: Option<Mortal>,
}

impl Network for Link {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (internet, process, address) = (self.internet.clone(), self.process.clone(), address.to_owned());
        Box::pin(async move {
            let weather = internet.places().weather.get(&address).copied().unwrap_or_default();
            let is_cut_off = process.as_ref().is_some_and(|process| process.is_cut_off(&address));
            if weather.is_lost || is_cut_off || process.as_ref().is_some_and(|process| !process.may_send()) {
                std::future::pending::<()>().await;
            }
            internet.trace.note(|| format!("{} connect {address} {weather:?}", internet.clock.now_ms()));
            if !weather.latency.is_zero() {
                internet.clock.sleep(weather.latency).await;
            }
            if weather.is_refused {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            internet.connected(&address, process)
        })
    }

    fn listen(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (internet, address, process) = (self.internet.clone(), address.to_owned(), self.process.clone());
        Box::pin(async move {
            let local = address.parse().map_err(io::Error::other)?;
            let (door, waiting) = mpsc::channel(WAITING_MAX);
            let before = internet.places().doors.insert(address, door);
            if before.is_some_and(|door| !door.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Ok(Box::new(Waiting { waiting, local, process }) as Box<dyn Listener>)
        })
    }
}

struct Waiting {
    waiting: mpsc::Receiver<(BoxStream, SocketAddr)>,
    local: SocketAddr,
    process: Option<Mortal>,
}

impl Listener for Waiting {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async {
            let taken = self.waiting.recv().await;
            if !self.process.as_ref().is_some_and(Mortal::is_dead) {
                return taken.ok_or_else(|| io::ErrorKind::NotConnected.into());
            }
            // Whoever dialled hears that nobody is there.
            drop(taken);
            std::future::pending().await
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// The caller's end of a connection.
struct Wire {
    stream: DuplexStream,
    name: String,
    process: Option<Mortal>,
    trace: Trace,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Wire {
    fn note(&self, direction: &str, bytes: &[u8]) {
        self.trace.note(|| {
            let (at_ms, name, length) = (self.clock.now_ms(), &self.name, bytes.len());
            match &self.process {
                Some(process) => {
                    let (hash, (changes, digest)) = (xxh3_64(bytes), process.disk.digest());
                    format!("{at_ms} {name} {direction} {length} {hash:016x}, disk {changes} {digest:016x}")
                }
                // Answers of the server have the machine's own date in them: hyper writes it.
                None => format!("{at_ms} {name} {direction} {length}"),
            }
        });
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.process.as_ref().is_some_and(Mortal::is_dead) {
            return Poll::Pending;
        }
        let before = out.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, out);
        if read.is_ready() {
            self.note("<", out.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.process.as_ref().is_some_and(|process| !process.may_send()) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = &written {
            self.note(">", bytes.get(..*length).unwrap_or_default());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
