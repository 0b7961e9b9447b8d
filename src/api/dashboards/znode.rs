//! Dashboards in ZooKeeper: compared and changed on the ensemble itself, then waited for until the own tree shows it, so that who
//! saved sees what was saved.

use crate::api::error::{ApiError, ErrorKind};
use crate::api::json::rfc3339;
use crate::api::state::ApiState;
use crate::cluster::dashboards::{self, SaveError};
use crate::dashboards::keeper::changed_by;
use crate::dashboards::read::{self, NotADashboard};
use crate::dashboards::{Catalogue, Dashboards, Entry, Origin, Save};
use crate::zookeeper::{Client, ZooKeeperError};
use std::sync::Arc;
use std::time::Duration;

/// How long the own tree may take to show a change.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// Names that are tried for a new one.
const NAMES_MAX: usize = 100;

fn store(api: &ApiState) -> Result<(Arc<dyn Client>, String), ApiError> {
    let unavailable = |words: String| ApiError::new(ErrorKind::Unavailable, words);
    let Some((link, root)) = &api.views.rule_store else {
        return Err(unavailable("zookeeper.connect is not configured: dashboards cannot be saved there".to_owned()));
    };
    Ok((link.client().map_err(|error| unavailable(error.to_string()))?, root.clone()))
}

fn refused(error: &SaveError, title: &str) -> ApiError {
    let kind = match error {
        SaveError::Conflict(at_ms) => {
            let words = match at_ms {
                Some(at_ms) => {
                    let at = rfc3339(Some(at_ms - at_ms.rem_euclid(1000)));
                    format!("{title:?} was changed in ZooKeeper at {at}; nothing was saved")
                }
                None => format!("{title:?} was changed or deleted in ZooKeeper meanwhile; nothing was saved"),
            };
            return ApiError::new(ErrorKind::Conflict, words);
        }
        SaveError::TooLarge(_) => ErrorKind::TooLarge,
        SaveError::ZooKeeper(ZooKeeperError::NoAuth(_)) => ErrorKind::Forbidden,
        SaveError::ZooKeeper(_) => ErrorKind::Unavailable,
    };
    ApiError::new(kind, error.to_string())
}

/// Returns the version that the data of a znode is listed with; `None`: it is no text.
fn version_of(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    Some(read::version(read::read(text).map_or(text, |found| found.text)))
}

/// Waits until the catalogue shows what it should.
async fn shown<T>(api: &ApiState, kept: &Dashboards, look: impl Fn(&Catalogue) -> Option<T>) -> Option<T> {
    let mut seen = kept.follow();
    let looking = async {
        loop {
            let found = look(&seen.borrow_and_update());
            if found.is_some() || seen.changed().await.is_err() {
                return found;
            }
        }
    };
    api.env.clock.timeout(SHOWN_WITHIN, looking).await.ok().flatten()
}

/// Saves one; answers its id and version.
pub(super) async fn save(api: &ApiState, kept: &Dashboards, save: Save) -> Result<(String, String), ApiError> {
    let (client, root) = store(api)?;
    let given = Arc::clone(&save.text);
    let reading = api.env.tasks.blocking(move || -> Result<_, NotADashboard> {
        let found = read::read(&given)?;
        Ok((found.summary, Arc::<str>::from(found.text), read::version(found.text)))
    });
    let (summary, text, version) = reading.await.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))??;
    let catalogue = kept.catalogue();
    let there = save.id.as_deref().and_then(|id| catalogue.get(id)).filter(|entry| matches!(entry.origin, Origin::Znode(_)));
    let path = if let Some(entry) = there {
        let base = save.base.as_deref();
        if !save.overwrite && base != Some(&entry.version) {
            return Err(ApiError::new(ErrorKind::Conflict, changed_by(entry)));
        }
        let path = entry.origin.path();
        let is_base = |data: &[u8]| save.overwrite || version_of(data).as_deref() == base;
        let set = Box::pin(dashboards::set(&client, path, &text, is_base)).await;
        set.map_err(|error| refused(&error, &entry.title))?;
        path.to_owned()
    } else {
        let name = read::slug(if summary.title.is_empty() { "dashboard" } else { &summary.title });
        let names = (1..=NAMES_MAX).map(|number| if number == 1 { name.clone() } else { format!("{name}-{number}") });
        let made = Box::pin(dashboards::create(&client, &root, names, &text)).await;
        made.map_err(|error| refused(&error, &summary.title))?
    };
    let found = shown(api, kept, |catalogue| {
        let is_it = |entry: &&Entry| entry.origin.path() == path && entry.version == version;
        catalogue.entries.iter().find(is_it).map(|entry| entry.id.clone())
    });
    // It is saved, whether we see it or not; then it has the id that it would have alone.
    let id = match found.await {
        Some(id) => id,
        None => there.map(|entry| entry.id.clone()).or(summary.uid).unwrap_or_default(),
    };
    Ok((id, version))
}

/// Deletes one.
pub(super) async fn delete(api: &ApiState, kept: &Dashboards, entry: &Entry, base: Option<String>) -> Result<(), ApiError> {
    let (client, _) = store(api)?;
    if base.as_ref().is_some_and(|base| *base != entry.version) {
        return Err(ApiError::new(ErrorKind::Conflict, changed_by(entry)));
    }
    let path = entry.origin.path().to_owned();
    let (gone, title) = (path.clone(), entry.title.clone());
    let deleting = async move {
        let is_base = |data: &[u8]| base.is_none() || version_of(data) == base;
        dashboards::delete(&client, &gone, is_base).await.map_err(|error| refused(&error, &title))
    };
    let deleted = api.env.tasks.spawn("dashboard-delete", deleting).await;
    deleted.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))??;
    let is_there = |catalogue: &Catalogue| catalogue.entries.iter().any(|entry| entry.origin.path() == path);
    if shown(api, kept, |catalogue| (!is_there(catalogue)).then_some(())).await.is_none() {
        tracing::warn!(path, "a dashboard was deleted in ZooKeeper, and the own tree does not show it yet");
    }
    Ok(())
}
