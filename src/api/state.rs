//! What handlers share: handles, settings, and the way to run a query.

use super::error::{ApiError, ErrorKind};
use super::events::EventHub;
use crate::alerting::AlertingHandle;
use crate::cluster::overlay::OverlayView;
use crate::cluster::view::ClusterView;
use crate::config::Config;
use crate::dashboards::Dashboards;
use crate::env::Env;
use crate::model::limits;
use crate::promql::engine::{Engine, QueryError};
use crate::promql::refresh::RefreshCache;
use crate::rules::RulesHandle;
use crate::scrape::ScrapeHandle;
use crate::state::events::EventLog;
use crate::storage::Store;
use crate::storage::append::Append;
use crate::storage::select::{Querier, SelectError};
use crate::telemetry::metrics::Registry;
use crate::zookeeper::Link;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Everything handlers use. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// What the composition root hands over.
pub struct ApiParts {
    /// The world outside.
    pub env: Env,
    /// Evaluates queries.
    pub engine: Arc<Engine>,
    /// Where series are read.
    pub querier: Arc<dyn Querier>,
    /// Where pushed samples go.
    pub append: Arc<dyn Append>,
    /// The store itself, for deletions, snapshots and statistics; `None` where it is elsewhere.
    pub store: Option<Store>,
    /// The server's own metrics.
    pub registry: Registry,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// What others tell about themselves.
    pub views: Views,
    /// Reload, quit, readiness.
    pub lifecycle: Lifecycle,
    /// Live events for dashboards.
    pub events: EventHub,
    /// Command line flags as shown by `status/flags`.
    pub flags: BTreeMap<String, String>,
    /// The folder with the data, as `status/runtimeinfo` shows it.
    pub storage_folder: String,
    /// When the process started.
    pub started_ms: i64,
    /// Signs the cookies of sessions.
    pub session_key: [u8; 32],
    /// Bounds.
    pub limits: ApiLimits,
}

/// Answers what this member says of itself, to a request with this signature: the text, and its own signature.
pub type RoleAnswer = Arc<dyn Fn(&str) -> Option<(String, String)> + Send + Sync>;

/// Whether a request with this signature and this body comes from another member.
pub type MembersWrite = Arc<dyn Fn(&str, &[u8]) -> bool + Send + Sync>;

/// Handles of those who publish what they see. `None`: that part does not run.
#[derive(Clone)]
pub struct Views {
    /// Targets.
    pub scrape: Option<ScrapeHandle>,
    /// Rules.
    pub rules: Option<RulesHandle>,
    /// Alerts on their way to people.
    pub alerting: Option<AlertingHandle>,
    /// URLs of the external Alertmanagers that alerts are posted to.
    pub alertmanagers: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// ZooKeeper as this server sees it.
    pub cluster: Arc<dyn Fn() -> ClusterView + Send + Sync>,
    /// The ensemble with the rule files, and the root below which they lie; `None`: not configured.
    pub rule_store: Option<(Link, String)>,
    /// What the server made of the configuration in ZooKeeper, and where each part of the configuration comes from.
    pub overlay: Option<watch::Receiver<Arc<OverlayView>>>,
    /// Why the last reload was refused, in whole or in part; empty where it was not.
    pub refusal: Option<watch::Receiver<String>>,
    /// What this member says of itself to one whose request carries this signature: the text, and its signature. `None`: the
    /// request is not from a member.
    pub role: RoleAnswer,
    /// Whether a remote write comes from another member.
    pub is_members_write: MembersWrite,
    /// What changed lately.
    pub history: Option<Arc<EventLog>>,
    /// Dashboards of people's own.
    pub dashboards: Option<Dashboards>,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            scrape: None,
            rules: None,
            alerting: None,
            alertmanagers: Arc::new(Vec::new),
            cluster: Arc::new(ClusterView::default),
            rule_store: None,
            overlay: None,
            refusal: None,
            role: Arc::new(|_| None),
            is_members_write: Arc::new(|_, _| false),
            history: None,
            dashboards: None,
        }
    }
}

/// What the process can be asked to do.
#[derive(Clone)]
pub struct Lifecycle {
    /// Reads the configuration again; answers what is wrong with it.
    pub reload: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
    /// Begins to stop the process.
    pub quit: Arc<dyn Fn() + Send + Sync>,
    /// Whether the store is open, its log replayed, and all is wired.
    pub ready: watch::Receiver<bool>,
}

/// Bounds of requests, all documented with their defaults.
#[derive(Clone, Debug)]
pub struct ApiLimits {
    /// Queries that are open at once; how many of them compute, and which first, the engine decides.
    pub concurrent_queries: usize,
    /// The longest a query may take (`--query.timeout`).
    pub query_timeout: Duration,
    /// The longest query text in bytes.
    pub query_bytes: usize,
    /// Steps of a range query.
    pub steps: i64,
    /// The largest pushed body in bytes, packed and unpacked.
    pub body_bytes: usize,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            concurrent_queries: 64,
            query_timeout: Duration::from_secs(120),
            query_bytes: limits::QUERY_BYTES,
            steps: limits::QUERY_STEPS,
            body_bytes: limits::PUSH_BODY_BYTES,
        }
    }
}

/// The shared part of [`ApiState`].
pub(super) struct Shared {
    parts: ApiParts,
    queries: Semaphore,
    /// Answers of range queries, kept for the next time.
    pub(super) refresh: Arc<RefreshCache>,
    /// Answers of earlier password checks.
    pub(super) passwords: super::access::PasswordCache,
    /// Wrong passwords of late.
    pub(super) attempts: super::access::Attempts,
}

impl Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0.parts
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiState")
    }
}

/// Cancels a query when the answer is not wanted any more: the handler's future is dropped when the client hangs up.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ApiState {
    /// Takes the parts together.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let queries = Semaphore::new(parts.limits.concurrent_queries);
        Self(Arc::new(Shared {
            parts,
            queries,
            refresh: Arc::default(),
            passwords: super::access::PasswordCache::default(),
            attempts: super::access::Attempts::default(),
        }))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Returns whether the last reload was refused, in whole or in part.
    pub(super) fn reload_failed(&self) -> bool {
        self.registry.value("watchkeeper_config_last_reload_successful").is_some_and(|value| value < 0.5)
    }

    /// Returns what the server made of the configuration in ZooKeeper.
    pub(super) fn overlay(&self) -> Arc<OverlayView> {
        self.views.overlay.as_ref().map(|view| Arc::clone(&view.borrow())).unwrap_or_default()
    }

    /// Returns the configuration in force.
    #[must_use]
    pub fn present_config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Runs blocking work of a query: waits for its turn, not longer than `limit`; the flag tells it to stop.
    ///
    /// # Errors
    /// What the work answers; [`ErrorKind::Timeout`] when the time is over.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(Arc<AtomicBool>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let timed_out = |phase: &str| ApiError::new(ErrorKind::Timeout, format!("query timed out in {phase}"));
        let started = self.env.clock.monotonic();
        let permit = match self.env.clock.timeout(limit, self.0.queries.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(ApiError::new(ErrorKind::Unavailable, "the server is stopping")),
            Err(_) => return Err(timed_out("query queue")),
        };
        let left = limit.saturating_sub(self.env.clock.monotonic().saturating_sub(started));
        let guard = CancelOnDrop(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&guard.0);
        let running = self.env.tasks.blocking(move || work(flag));
        let done = self.env.clock.timeout(left, running).await;
        drop((guard, permit));
        match done {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(ApiError::new(ErrorKind::Internal, format!("the query failed: {error}"))),
            Err(_) => Err(timed_out("expression evaluation")),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::Cancelled => ErrorKind::Canceled,
            QueryError::NoDuration => ErrorKind::BadData,
            QueryError::TooManySamples
            | QueryError::TooManySeries { .. }
            | QueryError::TooManySamplesRead { .. }
            | QueryError::TooMuchMemory { .. }
            | QueryError::TooMuchMemoryInAll { .. }
            | QueryError::Execution(_) => ErrorKind::Execution,
            QueryError::Storage(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<SelectError> for ApiError {
    fn from(error: SelectError) -> Self {
        let kind = match &error {
            SelectError::Cancelled => ErrorKind::Canceled,
            SelectError::Corrupt(_) | SelectError::Io { .. } => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
