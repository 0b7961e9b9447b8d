//! What the tests need of the world: processes that end with the test, free ports, waiting with a bound, plain HTTP.

#![allow(dead_code, reason = "each test uses a part of this")]

pub(crate) mod ensemble;
pub(crate) mod exporters;
pub(crate) mod http;
pub(crate) mod mail;
pub(crate) mod proxy;
pub(crate) mod remote_write;
pub(crate) mod server;
pub(crate) mod zookeeper;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Returns the program of a peer that a variable of the environment names. Where it names none, that is said, or fails where
/// peers are required.
pub(crate) fn peer(variable: &str) -> Option<std::ffi::OsString> {
    let found = std::env::var_os(variable).filter(|name| !name.is_empty());
    if found.is_none() {
        let is_required = std::env::var_os("WATCHKEEPER_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!is_required, "{variable} is not set: it names the peer's program (a Prometheus must be 3.5 or newer)");
        println!("NOT TRIED with the peer: {variable} is not set");
    }
    found
}

/// A folder that goes with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("watchkeeper-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for a look: {}", self.0.display());
        } else {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A process that ends with the test. Its output goes to a file that is printed where the test fails.
pub(crate) struct Process {
    pub(crate) child: Child,
    name: String,
    pub(crate) log: PathBuf,
}

impl Process {
    pub(crate) fn start(command: &mut Command, name: &str, log: PathBuf) -> Self {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let err = out.try_clone().unwrap();
        let started = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = started.unwrap_or_else(|error| panic!("cannot start {name}: {error}; `make test` says what to install"));
        Self { child, name: name.to_owned(), log }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success(), "kill -{signal} {}", self.name);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(&mut self, bound: Duration) -> std::process::ExitStatus {
        let name = self.name.clone();
        wait_for(&format!("{name} to end"), bound, || self.child.try_wait().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(6000);
            eprintln!("--- last words of {}:\n{}", self.name, String::from_utf8_lossy(&output.as_bytes()[from..]));
        }
    }
}

/// Looks again and again until `look` finds something, for at most `bound`.
pub(crate) fn wait_for<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < bound, "waited {bound:?} in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until `look` says yes.
pub(crate) fn wait_until(what: &str, bound: Duration, mut look: impl FnMut() -> bool) {
    wait_for(what, bound, || look().then_some(()));
}

/// Returns a port that is nobody else's as long as this process lives, also while nothing listens there: a receiver that is away
/// must not come back as another test's server. The system gives none of these ports to who asks for any.
pub(crate) fn free_port() -> u16 {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("watchkeeper-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    let begin = std::process::id().wrapping_mul(2_654_435_761) >> 16;
    for step in 0..PORTS {
        let port = FIRST_PORT + ((begin + step) % PORTS) as u16;
        let file = File::create(folder.join(port.to_string())).unwrap();
        if file.try_lock().is_ok() && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().unwrap().push(file);
            return port;
        }
    }
    panic!("no port is free");
}

/// Below those that Linux gives to who asks for any.
const FIRST_PORT: u16 = 12_000;
const PORTS: u32 = 8_000;

/// Runs a command to its end and returns its status and what it printed.
pub(crate) fn run(command: &mut Command) -> (i32, String) {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.code().unwrap_or(-1), text)
}
