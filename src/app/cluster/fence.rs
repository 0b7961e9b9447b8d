//! Announces messages in ZooKeeper before they go out, and ends them when another member may lead.

use super::kept::Kept;
use super::shared;
use crate::alerting::AlertingHandle;
use crate::alerting::alerts::StoredAlert;
use crate::alerting::fence::{Fence, Lessons, Permission};
use crate::alerting::notification_log::{Intent, key};
use crate::alerting::persist;
use crate::cluster::leadership::{Leadership, Me, Role};
use crate::cluster::notified::{self, Refused};
use crate::cluster::paths;
use crate::env::Env;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Link, ZooKeeperError};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long an announcement that failed waits before it is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How often an announcement may be refused for a reason that time does not heal before the message goes out all the same.
const REFUSALS_MAX: u32 = 3;

#[derive(Clone)]
pub(super) struct ClusterFence {
    pub(super) env: Env,
    pub(super) link: Link,
    pub(super) root: String,
    pub(super) me: Me,
    pub(super) kept: Arc<Kept>,
    pub(super) alerting: Arc<OnceLock<AlertingHandle>>,
    pub(super) leadership: Arc<OnceLock<Leadership>>,
}

impl ClusterFence {
    async fn ask(self, intent: Intent, firing: Vec<Arc<StoredAlert>>) -> Permission {
        let Some(leadership) = self.leadership.get().cloned() else { return stand_down("this member has just begun") };
        let name = persist::log_name(&key(&intent.group_key, &intent.receiver));
        let path = join(&join(&self.root, paths::NOTIFIED), &name);
        let sending = persist::intent_json(&intent);
        let alerts: Vec<Value> = firing.iter().map(|alert| persist::alert_json(alert)).collect();
        let mut refusals = 0;
        loop {
            let standing = leadership.standing.borrow().clone();
            let (epoch, candidate) = match standing.role {
                Role::Acting => return Permission::Go(Some(format!("sent without ZooKeeper: {}", standing.why))),
                Role::Leader { epoch, candidate } if leadership.lease.holds() => (epoch, candidate),
                Role::Leader { .. } => return stand_down("ZooKeeper has not confirmed in time that this one still leads"),
                Role::Standby | Role::Unsure => return stand_down(&standing.why),
            };
            let announced = async {
                let client: Arc<dyn Client> = self.link.client()?;
                let known_ms = self.kept.told_ms(&name);
                notified::announce(&client, &path, &candidate, (&self.me.id, epoch), (&sending, &alerts), known_ms).await
            };
            let result = tokio::select! {
                biased;
                () = leadership.lease.lost() => continue,
                result = announced => result,
            };
            match result {
                Ok(()) => return Permission::Go(None),
                Err(Refused::NotLeader) => {
                    leadership.lease.revoke();
                    return stand_down("its place in the election is gone");
                }
                Err(Refused::Newer(entry)) => {
                    let by = entry.by.clone();
                    let lessons = Lessons { notified: shared::told(&entry).into_iter().collect(), ..Lessons::default() };
                    if let Some(alerting) = self.alerting.get() {
                        // Where alerting has stopped nothing goes out either.
                        let _stopped = alerting.learn(lessons).await;
                    }
                    return stand_down(&format!("{by} told this receiver something that was not known here"));
                }
                Err(Refused::Failed(error)) => {
                    refusals += u32::from(!passes(&error));
                    if refusals >= REFUSALS_MAX {
                        // Rather told without the others knowing than not at all.
                        tracing::error!(%error, path, "a message cannot be announced to the other members; it goes out all the same");
                        return Permission::Go(Some(format!("not announced to the other members: {error}")));
                    }
                    self.env.clock.sleep(TRY_AGAIN).await;
                }
            }
        }
    }
}

/// Returns whether time heals it: the session comes back, or another one leads.
const fn passes(error: &ZooKeeperError) -> bool {
    use ZooKeeperError::{Away, ConnectionLoss, SessionEnded, Timeout};
    matches!(error, Away | ConnectionLoss | SessionEnded | Timeout(_))
}

fn stand_down(why: &str) -> Permission {
    Permission::StandDown(format!("left to another member: {why}"))
}

impl Fence for ClusterFence {
    fn begin(&self, intent: Intent, firing: Vec<Arc<StoredAlert>>) -> BoxFuture<'static, Permission> {
        Box::pin(self.clone().ask(intent, firing))
    }

    fn holds(&self) -> bool {
        self.leadership.get().is_some_and(|leadership| leadership.lease.holds())
    }

    fn lost(&self) -> BoxFuture<'static, ()> {
        let leadership = self.leadership.get().cloned();
        Box::pin(async move {
            if let Some(leadership) = leadership {
                leadership.lease.lost().await;
            }
        })
    }
}
