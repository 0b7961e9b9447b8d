//! A TCP proxy that can cut what goes through it, hold it without a word, or delay it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    BlackHole,
    Slow(Duration),
}

/// What the proxy's threads look at.
struct Switch {
    mode: Mutex<Mode>,
    turned: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    switch: Arc<Switch>,
}

impl Proxy {
    pub(crate) fn start(upstream: String) -> Self {
        Self::start_at(0, upstream)
    }

    /// Starts one at a port of our choice; 0: any.
    pub(crate) fn start_at(port: u16, upstream: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let switch = Arc::new(Switch { mode: Mutex::new(Mode::Open), turned: Condvar::new(), streams: Mutex::default() });
        let accepting = Arc::clone(&switch);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let is_cut = accepting.mode() == Mode::Cut;
                let Some(server) = (!is_cut).then(|| TcpStream::connect(&upstream).ok()).flatten() else { continue };
                let mut kept = accepting.streams.lock().unwrap();
                kept.push(client.try_clone().unwrap());
                kept.push(server.try_clone().unwrap());
                pump(Arc::clone(&accepting), client.try_clone().unwrap(), server.try_clone().unwrap());
                pump(Arc::clone(&accepting), server, client);
            }
        });
        Self { port, switch }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn turn(&self, mode: Mode) {
        *self.switch.mode.lock().unwrap() = mode;
        self.switch.turned.notify_all();
    }

    /// Cuts all connections and refuses new ones.
    pub(crate) fn cut(&self) {
        self.turn(Mode::Cut);
        for stream in self.switch.streams.lock().unwrap().drain(..) {
            let _cut = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets nothing through in either direction and says nothing: connections stay, also new ones. What was under way comes when it is
    /// healed, as TCP would repeat it.
    pub(crate) fn black_hole(&self) {
        self.turn(Mode::BlackHole);
    }

    /// Each packet waits so long, in each direction.
    pub(crate) fn slow(&self, by: Duration) {
        self.turn(Mode::Slow(by));
    }

    /// Lets all through again.
    pub(crate) fn heal(&self) {
        self.turn(Mode::Open);
    }
}

impl Switch {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a packet may go on.
    fn pass(&self) {
        let mode = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let mode = self.turned.wait_while(mode, |mode| *mode == Mode::BlackHole).unwrap_or_else(PoisonError::into_inner);
        if let Mode::Slow(by) = *mode {
            let slow = self.turned.wait_timeout_while(mode, by, |mode| matches!(mode, Mode::Slow(_)));
            drop(slow);
        }
    }
}

fn pump(switch: Arc<Switch>, mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(n) = from.read(&mut buffer) {
            // Also an end comes late, or not at all.
            switch.pass();
            if n == 0 || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _closed = to.shutdown(Shutdown::Both);
        let _closed = from.shutdown(Shutdown::Both);
    });
}
