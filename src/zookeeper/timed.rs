//! A client that counts each request and how long it took, by what was asked and what came of it.

use super::{Client, Lifetime, Operation, Result, SessionEvent, TreeWatch, Znode, ZooKeeperError};
use crate::env::Env;
use crate::telemetry::metrics::{Histogram, Registry, SECONDS};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

const REQUESTS: &str = "watchkeeper_zookeeper_requests_total";
const DURATION: &str = "watchkeeper_zookeeper_request_duration_seconds";

struct Timed {
    inner: Arc<dyn Client>,
    env: Env,
    registry: Registry,
    /// By operation, as [`OPERATIONS`].
    seconds: [Histogram; OPERATIONS.len()],
}

/// What is asked, for the label `op`.
#[derive(Clone, Copy)]
enum Op {
    Get,
    Children,
    Create,
    MakeFolders,
    Set,
    Delete,
    Multi,
    Sync,
    Watch,
}

const OPERATIONS: [&str; 9] = ["get", "children", "create", "make_folders", "set", "delete", "multi", "sync", "watch"];

/// Puts the counting around a client.
pub(super) fn wrap(client: Arc<dyn Client>, env: &Env, registry: &Registry) -> Arc<dyn Client> {
    let seconds =
        OPERATIONS.map(|op| registry.histogram(DURATION, "How long requests to ZooKeeper took.", &[("op", op)], SECONDS));
    Arc::new(Timed { inner: client, env: env.clone(), registry: registry.clone(), seconds })
}

const fn outcome(error: &ZooKeeperError) -> &'static str {
    match error {
        ZooKeeperError::NoNode(_) => "no_node",
        ZooKeeperError::NodeExists(_) => "node_exists",
        ZooKeeperError::BadVersion(_) => "bad_version",
        ZooKeeperError::NoAuth(_) => "no_auth",
        ZooKeeperError::ConnectionLoss => "connection_loss",
        ZooKeeperError::SessionEnded => "session_ended",
        ZooKeeperError::Timeout(_) => "timeout",
        ZooKeeperError::TooLarge { .. } => "too_large",
        ZooKeeperError::Unimplemented => "unimplemented",
        ZooKeeperError::Away => "away",
        ZooKeeperError::TooMuch(_) => "too_much",
        ZooKeeperError::Other(_) => "other",
    }
}

impl Timed {
    fn time<'a, T: Send + 'a>(&'a self, op: Op, request: BoxFuture<'a, Result<T>>) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            let began = self.env.clock.monotonic();
            let done = request.await;
            let took = self.env.clock.monotonic().saturating_sub(began);
            if let Some(seconds) = self.seconds.get(op as usize) {
                seconds.observe(took.as_secs_f64());
            }
            let name = OPERATIONS.get(op as usize).copied().unwrap_or_default();
            let labels = [("op", name), ("result", done.as_ref().err().map_or("ok", outcome))];
            self.registry.counter(REQUESTS, "Requests to ZooKeeper by what came of them.", &labels).inc();
            done
        })
    }
}

impl Client for Timed {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Znode>>> {
        self.time(Op::Get, self.inner.get(path))
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        self.time(Op::Children, self.inner.children(path))
    }

    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<()>> {
        self.time(Op::Create, self.inner.create(path, data, lifetime))
    }

    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String>> {
        self.time(Op::Create, self.inner.create_sequential(prefix, data))
    }

    fn make_folders<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        self.time(Op::MakeFolders, self.inner.make_folders(path))
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        self.time(Op::Set, self.inner.set(path, data, version))
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        self.time(Op::Delete, self.inner.delete(path, version))
    }

    fn multi<'a>(&'a self, operations: &'a [Operation]) -> BoxFuture<'a, Result<()>> {
        self.time(Op::Multi, self.inner.multi(operations))
    }

    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        self.time(Op::Sync, self.inner.sync(path))
    }

    fn watch_tree<'a>(&'a self, root: &'a str) -> BoxFuture<'a, Result<Box<dyn TreeWatch>>> {
        self.time(Op::Watch, self.inner.watch_tree(root))
    }

    fn next_event(&self) -> BoxFuture<'_, SessionEvent> {
        self.inner.next_event()
    }

    fn session_timeout(&self) -> Duration {
        self.inner.session_timeout()
    }

    fn session_id(&self) -> String {
        self.inner.session_id()
    }

    fn session(&self) -> i64 {
        self.inner.session()
    }
}
