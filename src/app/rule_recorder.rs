//! Puts into the history what other clients changed in ZooKeeper's rule files around the tool and the dashboard: the leader does it,
//! when such a change has settled.

use crate::cluster::push::PushError;
use crate::cluster::{outside, snapshot};
use crate::env::Env;
use crate::zookeeper::{Link, SessionStatus, ZooKeeperError};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Nothing may have changed for this long: whoever edits several files is let finish.
const SETTLED: Duration = Duration::from_secs(5);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(30);

/// Path and transaction of each znode of the rule files.
type Marks = BTreeMap<String, i64>;

/// Records until the session has ended for good.
pub(super) async fn run(env: Env, link: Link, root: String, mut is_leader: watch::Receiver<bool>) {
    let (mut tree, mut status) = (link.tree.clone(), link.status.clone());
    let mut seen: Option<Marks> = None;
    let mut told = String::new();
    let mut is_decided = false;
    loop {
        let may = *is_leader.borrow_and_update() && status.borrow_and_update().state == SessionStatus::Live;
        let marks = tree.borrow_and_update().as_ref().map(|tree| outside::marks(tree, &root));
        let Some(marks) = marks.filter(|marks| may && seen.as_ref() != Some(marks)) else {
            let alive = tokio::select! {
                changed = tree.changed() => changed.is_ok(),
                changed = status.changed() => changed.is_ok(),
                changed = is_leader.changed(), if !is_decided => {
                    // Where nobody says it any more it stays as it is.
                    is_decided = changed.is_err();
                    true
                }
            };
            if alive {
                continue;
            }
            return;
        };
        env.clock.sleep(SETTLED).await;
        let is_settled = tree.borrow().as_ref().is_some_and(|tree| outside::marks(tree, &root) == marks);
        if !is_settled || !*is_leader.borrow() {
            continue;
        }
        match Box::pin(record(&env, &link, &root)).await {
            Ok(recorded) => {
                if let Some(number) = recorded {
                    tracing::info!(push = number, "rule files that other clients changed in ZooKeeper are in the history");
                }
                told.clear();
                seen = Some(marks);
            }
            // Somebody was faster: what they left is looked at when it has settled.
            Err(PushError::Conflict(_) | PushError::ZooKeeper(ZooKeeperError::Away)) => {}
            Err(error) => {
                let words = error.to_string();
                if told != words {
                    tracing::warn!(%error, "what other clients changed in ZooKeeper's rule files could not be put into the history");
                    told = words;
                }
                env.clock.sleep(AGAIN).await;
            }
        }
    }
}

async fn record(env: &Env, link: &Link, root: &str) -> Result<Option<u64>, PushError> {
    let client = link.client()?;
    let there = snapshot::read(&client, root).await?;
    let at = |milliseconds: i64| jiff::Timestamp::from_second(milliseconds.div_euclid(1000)).unwrap_or_default().to_string();
    outside::record(&client, root, &there, env.clock.now_ms(), at).await
}
