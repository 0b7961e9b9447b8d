//! Alerts on their way from the rules: labels of this server, relabelling, then to the built-in notifier and to the external
//! Alertmanagers alike.

use crate::alerting::AlertingHandle;
use crate::alerting::external::{Destination, External, labelled};
use crate::config::Config;
use crate::discovery;
use crate::env::Env;
use crate::model::alert::Alert;
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::relabel;
use crate::model::target::JobTargets;
use crate::telemetry::metrics::Registry;
use crate::zookeeper::Connector;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// How many batches of alerts are handed on at once, at most.
const BATCHES_AT_ONCE: usize = 1024;

/// Hands alerts from the rules on: what waits goes together, so that it shares one synced transaction. A batch waits until the
/// built-in notifier took it, none is dropped.
pub(super) async fn carry(
    mut alerts: mpsc::Receiver<Vec<Alert>>,
    config: watch::Receiver<Arc<Config>>,
    alerting: AlertingHandle,
    external: External,
) {
    let mut batches = Vec::new();
    while alerts.recv_many(&mut batches, BATCHES_AT_ONCE).await > 0 {
        let present = Arc::clone(&config.borrow());
        let alerts = batches.drain(..).flatten();
        let alerts: Vec<Alert> = alerts.filter_map(|alert| labelled(&present, alert)).collect();
        external.send(&alerts);
        match alerting.hand_on(alerts).await {
            Ok(refused) => {
                for reason in refused {
                    tracing::warn!(%reason, "the notifier refused an alert");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "alerts come after the end");
                return;
            }
        }
    }
}

/// The name under which discovery knows the `place`th section of `alerting.alertmanagers`.
fn section(place: usize) -> String {
    format!("config-{place}")
}

/// Makes a configuration whose jobs are the sections of `alerting.alertmanagers`: discovery is the same for both.
fn as_jobs(config: &Config) -> Arc<Config> {
    let mut jobs = Config { zookeeper: config.zookeeper.clone(), ..Config::default() };
    for (place, alertmanager) in config.alerting.alertmanagers.iter().enumerate() {
        let job = crate::config::ScrapeConfig {
            job_name: section(place),
            discovery: alertmanager.discovery.clone(),
            ..crate::config::ScrapeConfig::default()
        };
        jobs.scrape_configs.push(Arc::new(job));
    }
    Arc::new(jobs)
}

/// Makes destinations of what was found.
fn destinations(config: &Config, found: &BTreeMap<String, JobTargets>) -> Vec<Destination> {
    let mut all = Vec::new();
    for (place, alertmanager) in config.alerting.alertmanagers.iter().enumerate() {
        let groups = found.get(&section(place)).into_iter().flat_map(|job| &job.groups);
        for (target, shared) in groups.flat_map(|group| group.targets.iter().map(|target| (target, &group.labels))) {
            let mut labels = LabelsBuilder::from(shared);
            for (name, value) in target {
                labels.set(name, value);
            }
            let path = format!("/{}/api/v2/alerts", alertmanager.path_prefix.trim_matches('/')).replace("//", "/");
            labels.set("__scheme__", &alertmanager.scheme).set("__alerts_path__", &path);
            if relabel::apply(&alertmanager.relabel_configs, &mut labels) {
                all.extend(url(&labels.build()).map(|url| Destination {
                    url,
                    http: alertmanager.http.clone(),
                    timeout: alertmanager.timeout,
                    relabel: alertmanager.alert_relabel_configs.clone(),
                }));
            }
        }
    }
    all
}

fn url(labels: &Labels) -> Option<String> {
    let address = labels.get("__address__").filter(|address| !address.is_empty())?;
    Some(format!("{}://{address}{}", labels.value("__scheme__"), labels.value("__alerts_path__")))
}

/// Looks for the external Alertmanagers, now and whenever configuration or discovery say something new.
pub(super) fn find_external(
    env: &Env,
    mut config: watch::Receiver<Arc<Config>>,
    registry: &Registry,
    ensembles: Arc<dyn Connector>,
) -> External {
    let external = External::new(env, registry);
    let present = Arc::clone(&config.borrow_and_update());
    let (jobs, jobs_seen) = watch::channel(as_jobs(&present));
    // The metrics of discovery speak of scraping.
    let mut found = discovery::start(env, jobs_seen, &Registry::new(), None, ensembles);
    external.set(destinations(&present, &found.borrow_and_update().clone()));
    let outlets = external.clone();
    drop(env.tasks.spawn("external alertmanagers", async move {
        loop {
            tokio::select! {
                biased;
                changed = config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    jobs.send_replace(as_jobs(&config.borrow_and_update()));
                }
                changed = found.changed() => if changed.is_err() {
                    return;
                },
            }
            let (present, targets) = (Arc::clone(&config.borrow()), found.borrow_and_update().clone());
            outlets.set(destinations(&present, &targets));
        }
    }));
    external
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Disk as _;
    use crate::env::memory_disk::MemoryDisk;
    use std::path::Path;

    fn config(yaml: &str) -> Config {
        let disk = MemoryDisk::new();
        disk.replace(Path::new("/w.yml"), yaml.as_bytes()).unwrap();
        let env = Env { disk: Arc::new(disk), ..Env::real() };
        let loaded = crate::app::configuration::load(&env, Some(Path::new("/w.yml")));
        Config::clone(loaded.unwrap_or_else(|error| panic!("{error}")).config())
    }

    #[tokio::test(start_paused = true)]
    async fn finds_alertmanagers_and_relabels_alerts() {
        let config = config(
            r"
global: {external_labels: {cluster: web, severity: none}}
alerting:
  alert_relabel_configs:
  - {source_labels: [alertname], regex: Quiet, action: drop}
  - {regex: replica, action: labeldrop}
  alertmanagers:
  - path_prefix: /am/
    static_configs: [{targets: ['one:9093', 'two:9093']}]
    relabel_configs: [{source_labels: [__address__], regex: 'two.*', action: drop}]
  - scheme: https
    static_configs: [{targets: ['three:9093']}]
",
        );
        let present = watch::channel(Arc::new(config.clone())).1;
        let external = find_external(&Env::real(), present, &Registry::new(), crate::zookeeper::real_connector(&Env::real()));
        assert_eq!(external.urls(), ["http://one:9093/am/api/v2/alerts", "https://three:9093/api/v2/alerts"]);

        let alert = |name: &str| Alert {
            labels: Labels::from_pairs([("alertname", name), ("replica", "a"), ("severity", "page")]),
            annotations: Labels::empty(),
            starts_at_ms: 0,
            ends_at_ms: None,
            updated_at_ms: 0,
            generator_url: String::new(),
            value: None,
        };
        assert_eq!(labelled(&config, alert("Quiet")), None);
        let labels = Labels::from_pairs([("alertname", "Down"), ("cluster", "web"), ("severity", "page")]);
        assert_eq!(labelled(&config, alert("Down")).map(|alert| alert.labels), Some(labels));
    }
}
