//! The last values of selected series in `publish/<name>`, for programs that read ZooKeeper alone.
//!
//! ```json
//! {"publisher": "watchkeeper", "name": "cluster_load", "query": "sum(node_load1)", "by": "web1",
//!  "at": "2026-01-01T00:00:00Z", "validForSeconds": 660,
//!  "result": [{"metric": {"instance": "a"}, "value": [1767225600.000, "0.5"]}]}
//! ```
//!
//! `result` is that of an instant query of Prometheus's API. A write costs the ensemble a sync on every server, so there is at most one
//! each [`WRITE_EVERY`] for a znode, and only when a value changed; what does not change is written again after [`REFRESH`], so
//! that a reader can tell what is old from what is steady. Only znodes that say `watchkeeper` as their publisher are ever changed or removed.
//!
//! This module decides; it knows neither the query engine nor who leads.

use crate::model::labels::Labels;
use crate::model::number::format_api;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Lifetime, ZNODE_BYTES_MAX, ZooKeeperError};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The folder below the root.
pub const PUBLISH: &str = "publish";
/// A znode is written at most this often.
pub const WRITE_EVERY: Duration = Duration::from_secs(5);
/// Values that did not change are written again after this.
pub const REFRESH: Duration = Duration::from_secs(600);
/// How long after a turn that should have refreshed it a value still counts as fresh.
const GRACE: Duration = Duration::from_secs(60);
const PUBLISHER: &str = "watchkeeper";

/// What is to be published under one name.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The znode's name.
    pub name: &'a str,
    /// The expression, for readers.
    pub query: &'a str,
    /// Who publishes.
    pub by: &'a str,
    /// When it was evaluated, milliseconds since 1970.
    pub at_ms: i64,
    /// The series and their values.
    pub series: &'a [(Labels, f64)],
}

/// Why something is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It is too large for a znode.
    #[error(
        "{name}: {series} series are {bytes} bytes, more than a znode may hold ({ZNODE_BYTES_MAX}); publish fewer, for example an aggregation"
    )]
    TooLarge {
        /// The znode's name.
        name: String,
        /// How many series.
        series: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// Somebody else's data are there.
    #[error("{0} holds what is not ours; remove it, or publish under another name")]
    NotOurs(String),
    /// ZooKeeper did not do it.
    #[error("{0}")]
    ZooKeeper(#[from] ZooKeeperError),
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing changed.
    Kept,
    /// Written.
    Written,
}

fn result(series: &[(Labels, f64)], at_ms: i64) -> Value {
    let seconds = at_ms as f64 / 1000.0;
    let one = |(labels, value): &(Labels, f64)| {
        let metric: serde_json::Map<String, Value> = labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        json!({"metric": metric, "value": [seconds, format_api(*value)]})
    };
    series.iter().map(one).collect()
}

/// Writes a publication as the data of a znode.
///
/// # Errors
/// When it is too large for one.
pub fn encode(publication: &Publication<'_>) -> Result<Vec<u8>, PublishError> {
    let at = jiff::Timestamp::from_millisecond(publication.at_ms).map(|at| at.to_string()).unwrap_or_default();
    let data = json!({
        "publisher": PUBLISHER,
        "name": publication.name,
        "query": publication.query,
        "by": publication.by,
        "at": at,
        "validForSeconds": (REFRESH + GRACE).as_secs(),
        "result": result(publication.series, publication.at_ms),
    });
    let data = data.to_string().into_bytes();
    if data.len() > ZNODE_BYTES_MAX {
        let (name, series) = (publication.name.to_owned(), publication.series.len());
        return Err(PublishError::TooLarge { name, series, bytes: data.len() });
    }
    Ok(data)
}

/// Returns whether data were written by a Watchkeeper.
#[must_use]
pub fn is_ours(data: &[u8]) -> bool {
    serde_json::from_slice::<Value>(data).is_ok_and(|value| value.get("publisher").and_then(Value::as_str) == Some(PUBLISHER))
}

/// What was last written under a name, as far as it decides about the next write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    query: String,
    /// Labels and value of each series.
    values: Vec<(String, String)>,
    at_ms: i64,
}

impl Last {
    fn of(publication: &Publication<'_>) -> Self {
        let values = publication.series.iter().map(|(labels, value)| (labels.to_string(), format_api(*value)));
        Self { query: publication.query.to_owned(), values: values.collect(), at_ms: publication.at_ms }
    }

    /// Reads what a znode holds; `None`: nothing that could be compared.
    fn read(data: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(data).ok()?;
        let mut at_ms = 0;
        let values = value.get("result")?.as_array()?.iter().map(|one| {
            let pairs = one.get("metric")?.as_object()?.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?)));
            let labels = Labels::from_pairs(pairs.collect::<Option<Vec<_>>>()?);
            let sample = one.get("value")?.as_array()?;
            at_ms = (sample.first()?.as_f64()? * 1000.0) as i64;
            Some((labels.to_string(), sample.get(1)?.as_str()?.to_owned()))
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        Some(Self { query: value.get("query")?.as_str()?.to_owned(), values, at_ms })
    }

    /// Returns whether `next` need not be written.
    fn says_what(&self, next: &Self) -> bool {
        let age_ms = next.at_ms.saturating_sub(self.at_ms);
        self.query == next.query
            && self.values == next.values
            && (0..i64::try_from(REFRESH.as_millis()).unwrap_or(i64::MAX)).contains(&age_ms)
    }
}

/// One name's memory while this member publishes.
#[derive(Debug, Default)]
pub struct Publisher {
    last: Option<Last>,
}

impl Publisher {
    /// Writes a publication where it says something new.
    ///
    /// # Errors
    /// When it cannot be written; nothing is remembered then, and the next turn looks at the znode again.
    pub async fn publish(
        &mut self,
        client: &Arc<dyn Client>,
        root: &str,
        publication: &Publication<'_>,
    ) -> Result<Done, PublishError> {
        let next = Last::of(publication);
        if self.last.as_ref().is_some_and(|last| last.says_what(&next)) {
            return Ok(Done::Kept);
        }
        let known = self.last.take();
        let data = encode(publication)?;
        let path = join(&join(root, PUBLISH), publication.name);
        match client.get(&path).await? {
            None => {
                client.make_folders(&join(root, PUBLISH)).await?;
                client.create(&path, &data, Lifetime::Persistent).await?;
            }
            Some(node) => {
                // An empty one was made for us.
                if !node.data.is_empty() && !is_ours(&node.data) {
                    return Err(PublishError::NotOurs(path));
                }
                // Another leader may have written the same.
                if let Some(there) = Last::read(&node.data).filter(|there| known.is_none() && there.says_what(&next)) {
                    self.last = Some(there);
                    return Ok(Done::Kept);
                }
                client.set(&path, &data, Some(node.version)).await?;
            }
        }
        self.last = Some(next);
        Ok(Done::Written)
    }
}

/// Removes what was published under names that are no longer configured; what somebody else wrote stays. Returns the names.
///
/// # Errors
/// When ZooKeeper does not do it.
pub async fn remove_others(client: &Arc<dyn Client>, root: &str, names: &BTreeSet<&str>) -> Result<Vec<String>, PublishError> {
    let folder = join(root, PUBLISH);
    let mut removed = Vec::new();
    for name in client.children(&folder).await?.unwrap_or_default() {
        if names.contains(name.as_str()) {
            continue;
        }
        let path = join(&folder, &name);
        let Some(node) = client.get(&path).await? else { continue };
        if is_ours(&node.data) {
            client.delete(&path, Some(node.version)).await?;
            removed.push(name);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::zookeeper::Ensemble;
    use crate::zookeeper::{Connector as _, Options};

    fn series(values: &[(&str, f64)]) -> Vec<(Labels, f64)> {
        values.iter().map(|(instance, value)| (Labels::from_pairs([("instance", *instance)]), *value)).collect()
    }

    fn publication(at_s: i64, series: &[(Labels, f64)]) -> Publication<'_> {
        Publication { name: "load", query: "node_load1", by: "web1", at_ms: at_s * 1000, series }
    }

    async fn data(client: &Arc<dyn Client>, path: &str) -> Option<(Vec<u8>, i32)> {
        client.get(path).await.unwrap().map(|node| (node.data.to_vec(), node.version))
    }

    #[test]
    fn is_json_like_an_instant_query() {
        let odd = [(Labels::from_pairs([("a", "\"\n\u{fc}")]), f64::NAN), (Labels::empty(), f64::INFINITY)];
        let text = String::from_utf8(encode(&publication(1_767_225_600, &odd)).unwrap()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["at"], "2026-01-01T00:00:00Z");
        assert_eq!(value["result"][0], json!({"metric": {"a": "\"\n\u{fc}"}, "value": [1_767_225_600.0, "NaN"]}));
        assert_eq!(value["result"][1]["value"][1], "+Inf");
        assert!(is_ours(text.as_bytes()) && !is_ours(b"{}") && !is_ours(b"\xff") && !is_ours(b""));
        // What is read back is what was written, NaN included.
        let read = Last::read(text.as_bytes()).unwrap();
        assert!(read.says_what(&Last::of(&publication(1_767_225_601, &odd))));
    }

    #[test]
    fn what_is_too_large_is_refused_in_words() {
        let many: Vec<_> = (0..20_000).map(|i| (Labels::from_pairs([("instance", format!("host-{i}"))]), 1.0)).collect();
        let error = encode(&publication(0, &many)).unwrap_err().to_string();
        assert!(error.starts_with("load: 20000 series are ") && error.contains("more than a znode may hold (921600)"), "{error}");
    }

    #[tokio::test]
    async fn writes_what_is_new_and_nothing_else() {
        let ensemble = Ensemble::new(&crate::env::Env::real().clock);
        let client = ensemble.connect(&Options::default()).await.unwrap();
        let path = "/watchkeeper/publish/load";
        client.make_folders("/watchkeeper/publish").await.unwrap();
        let mut publisher = Publisher::default();
        let one = series(&[("a", 1.0), ("b", f64::NAN)]);
        assert_eq!(publisher.publish(&client, "/watchkeeper", &publication(100, &one)).await, Ok(Done::Written));
        assert_eq!(publisher.publish(&client, "/watchkeeper", &publication(105, &one)).await, Ok(Done::Kept));
        assert_eq!(data(&client, path).await.unwrap().1, 0);
        let two = series(&[("a", 2.0)]);
        assert_eq!(publisher.publish(&client, "/watchkeeper", &publication(110, &two)).await, Ok(Done::Written));
        // A new leader finds the same there.
        let mut other = Publisher::default();
        assert_eq!(other.publish(&client, "/watchkeeper", &publication(120, &two)).await, Ok(Done::Kept));
        assert_eq!(data(&client, path).await.unwrap().1, 1);
        // What is steady is written again after a while, and counted from there.
        assert_eq!(other.publish(&client, "/watchkeeper", &publication(709, &two)).await, Ok(Done::Kept));
        assert_eq!(other.publish(&client, "/watchkeeper", &publication(710, &two)).await, Ok(Done::Written));
        assert_eq!(other.publish(&client, "/watchkeeper", &publication(715, &two)).await, Ok(Done::Kept));
        // Somebody took it away: the next change brings it back.
        ensemble.remove(path);
        assert_eq!(other.publish(&client, "/watchkeeper", &publication(720, &one)).await, Ok(Done::Written));

        // Away: an error, and at the next turn all is well.
        ensemble.set_away(true);
        let failed = other.publish(&client, "/watchkeeper", &publication(725, &two)).await;
        assert!(matches!(failed, Err(PublishError::ZooKeeper(_))), "{failed:?}");
        ensemble.set_away(false);
        let client = ensemble.connect(&Options::default()).await.unwrap();
        assert_eq!(other.publish(&client, "/watchkeeper", &publication(730, &two)).await, Ok(Done::Written));
    }

    #[tokio::test]
    async fn what_somebody_else_wrote_stays() {
        let ensemble = Ensemble::new(&crate::env::Env::real().clock);
        let client = ensemble.connect(&Options::default()).await.unwrap();
        ensemble.write("/watchkeeper/publish/load", "mine");
        ensemble.write("/watchkeeper/publish/other", "{\"publisher\": \"me\"}");
        let one = series(&[("a", 1.0)]);
        let refused = Publisher::default().publish(&client, "/watchkeeper", &publication(0, &one)).await;
        assert_eq!(refused, Err(PublishError::NotOurs("/watchkeeper/publish/load".to_owned())));
        let gone = Publication { name: "gone", ..publication(0, &one) };
        assert_eq!(Publisher::default().publish(&client, "/watchkeeper", &gone).await, Ok(Done::Written));
        assert_eq!(remove_others(&client, "/watchkeeper", &BTreeSet::from(["x"])).await, Ok(vec!["gone".to_owned()]));
        assert_eq!(client.children("/watchkeeper/publish").await.unwrap().unwrap(), ["load", "other"]);
        // A folder that is not there has nothing to remove.
        assert_eq!(remove_others(&client, "/elsewhere", &BTreeSet::new()).await, Ok(Vec::new()));
    }
}
