//! Connections to mail servers: at most so many to each server, and kept for a moment for the next mail.
//!
//! A storm of a thousand groups must not open a thousand connections: who wants one waits its turn, within the deadline of its
//! notification. A connection is only kept when the conversation on it ended well, and is asked before it is used again.

use super::EmailTarget;
use super::email::step;
use crate::env::Env;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Rset;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How many connections to one server there are at most, where `max_connections` does not say.
pub const CONNECTIONS_MAX: usize = 5;
/// How long a connection waits for its next mail.
const IDLE: Duration = Duration::from_secs(2);
/// How long a server may take to say that a kept connection is still good, or goodbye.
const SHORT_STEP: Duration = Duration::from_secs(5);

/// What makes two connections the same: everything but what is in the mail.
type Key = EmailTarget;

fn key(target: &EmailTarget) -> Key {
    let empty = String::new;
    let (headers, html, text) = (BTreeMap::new(), None, None);
    EmailTarget { to: empty(), from: empty(), headers, html, text, thread_by_date: false, ..target.clone() }
}

struct Idle {
    number: u64,
    server: String,
    key: Key,
    connection: AsyncSmtpConnection,
}

#[derive(Default)]
struct Kept {
    next_number: u64,
    idle: Vec<Idle>,
    servers: BTreeMap<String, (usize, Arc<Semaphore>)>,
}

/// All connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pool {
    kept: Arc<Mutex<Kept>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to have a connection to `server`; `None` when the server stops.
    pub(super) async fn permit(
        &self,
        server: &str,
        limit: usize,
        stopping: &watch::Receiver<bool>,
    ) -> Option<OwnedSemaphorePermit> {
        let limit = if limit == 0 { CONNECTIONS_MAX } else { limit };
        let semaphore = {
            let mut kept = self.kept();
            let entry = kept.servers.entry(server.to_owned()).or_insert_with(|| (limit, Arc::new(Semaphore::new(limit))));
            if entry.0 != limit {
                *entry = (limit, Arc::new(Semaphore::new(limit)));
            }
            Arc::clone(&entry.1)
        };
        turn(&semaphore, stopping).await
    }

    /// Takes a kept connection that is still good. Who gets none may open one: the permit is held.
    pub(super) async fn take(&self, env: &Env, server: &str, target: &EmailTarget) -> Option<AsyncSmtpConnection> {
        let key = key(target);
        loop {
            let found = {
                let mut kept = self.kept();
                let place = kept.idle.iter().position(|idle| idle.server == server && idle.key == key);
                place.map(|place| (true, kept.idle.swap_remove(place))).or_else(|| {
                    // One of another user stands in the way.
                    let place = kept.idle.iter().position(|idle| idle.server == server)?;
                    Some((false, kept.idle.swap_remove(place)))
                })
            };
            let (fits, mut idle) = found?;
            if !fits {
                goodbye(env, idle.connection).await;
                continue;
            }
            match step(env, "RSET", SHORT_STEP, idle.connection.command(Rset)).await {
                Ok(_) => return Some(idle.connection),
                Err(failure) => tracing::debug!(server, failure.words, "a kept connection is no longer good"),
            }
        }
    }

    /// Keeps a connection for the next mail, for a moment.
    pub(super) fn give_back(&self, env: &Env, server: &str, target: &EmailTarget, connection: AsyncSmtpConnection) {
        let number = {
            let mut kept = self.kept();
            kept.next_number += 1;
            let number = kept.next_number;
            kept.idle.push(Idle { number, server: server.to_owned(), key: key(target), connection });
            number
        };
        let (this, env) = (self.clone(), env.clone());
        drop(env.clone().tasks.spawn("idle mail connection", async move {
            env.clock.sleep(IDLE).await;
            let old = {
                let mut kept = this.kept();
                let place = kept.idle.iter().position(|idle| idle.number == number);
                place.map(|place| kept.idle.swap_remove(place))
            };
            if let Some(old) = old {
                goodbye(&env, old.connection).await;
            }
        }));
    }
}

/// Waits for a turn; `None` when the server stops (or is gone).
pub(super) async fn turn(turns: &Arc<Semaphore>, stopping: &watch::Receiver<bool>) -> Option<OwnedSemaphorePermit> {
    let mut stopping = stopping.clone();
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stop| *stop) => None,
        // Nobody closes it.
        turn = Arc::clone(turns).acquire_owned() => turn.ok(),
    }
}

/// Ends a conversation politely. What matters has been said, and a server that does not answer must not hold us up.
pub(super) async fn goodbye(env: &Env, mut connection: AsyncSmtpConnection) {
    if let Err(failure) = step(env, "QUIT", SHORT_STEP, connection.quit()).await {
        tracing::debug!(failure.words, "the mail server did not say goodbye");
    }
}
