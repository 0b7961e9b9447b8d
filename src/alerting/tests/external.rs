//! External Alertmanagers that answer, are away, and come back.

use super::world::BEGIN_MS;
use crate::alerting::external::{Destination, External};
use crate::config::HttpClientConfig;
use crate::env::Env;
use crate::env::clock::TokioClock;
use crate::env::network::{BoxStream, Listener, Network};
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::regex::Regex;
use crate::model::relabel::{RelabelAction, RelabelConfig};
use crate::sim::http;
use crate::telemetry::metrics::Registry;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{BufReader, DuplexStream};

/// Address and path, and the alerts.
type Post = (String, Vec<Value>);

/// Alertmanagers at every address; says what was posted to which path.
#[derive(Clone, Debug, Default)]
struct Alertmanagers {
    is_down: Arc<Mutex<bool>>,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Alertmanagers {
    async fn serve(self, stream: DuplexStream, address: String) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = http::request(&mut stream).await? {
            let alerts: Vec<Value> = serde_json::from_slice(&request.body)?;
            self.posts.lock().expect("unpoisoned").push((format!("{address}{}", request.path), alerts));
            http::answer(&mut stream, 200, "").await?;
        }
        Ok(())
    }

    /// Returns the alerts posted to an address, as `name/instance/ended`.
    fn posted(&self, to: &str) -> Vec<String> {
        let posts = self.posts.lock().expect("unpoisoned");
        let alerts = posts.iter().filter(|(address, _)| address.starts_with(to)).flat_map(|(_, alerts)| alerts);
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        alerts
            .map(|alert| {
                format!(
                    "{}/{}/{}",
                    text(&alert["labels"]["alertname"]),
                    text(&alert["labels"]["instance"]),
                    text(&alert["endsAt"])
                )
            })
            .collect()
    }
}

impl Network for Alertmanagers {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (this, address) = (self.clone(), address.to_owned());
        Box::pin(async move {
            if *this.is_down.lock().expect("unpoisoned") {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            #[expect(clippy::disallowed_methods, reason = "the server's side of a test")]
            drop(tokio::spawn(this.serve(theirs, address)));
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn listen(&self, _address: &str) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

fn alert(instance: &str, ends_at_ms: Option<i64>) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", "Down"), ("instance", instance)]),
        annotations: Labels::empty(),
        starts_at_ms: BEGIN_MS,
        ends_at_ms,
        updated_at_ms: BEGIN_MS,
        generator_url: String::new(),
        value: None,
    }
}

fn destination(host: &str, relabel: Vec<RelabelConfig>) -> Destination {
    let url = format!("http://{host}:9093/am/api/v2/alerts");
    Destination { url, http: HttpClientConfig::default(), timeout: Duration::from_secs(10), relabel }
}

#[tokio::test(start_paused = true)]
async fn each_alertmanager_gets_every_alert_and_the_newest_word_when_it_is_back() {
    let network = Alertmanagers::default();
    let clock = Arc::new(TokioClock::starting_at(BEGIN_MS));
    let env = Env { clock, network: Arc::new(network.clone()), ..Env::real() };
    let registry = Registry::new();
    let external = External::new(&env, &registry);
    let drop_b = RelabelConfig {
        source_labels: vec!["instance".to_owned()],
        regex: Regex::new("b").expect("a pattern"),
        action: RelabelAction::Drop,
        ..RelabelConfig::default()
    };
    external.set(vec![destination("one", Vec::new()), destination("two", vec![drop_b]), destination("one", Vec::new())]);
    assert_eq!(external.urls().len(), 2);
    external.send(&[alert("a", None), alert("b", None)]);
    env.clock.sleep(Duration::from_secs(1)).await;
    let mut one = network.posted("one:9093/am/api/v2/alerts");
    one.sort();
    assert_eq!(one, ["Down/a/0001-01-01T00:00:00Z", "Down/b/0001-01-01T00:00:00Z"]);
    assert_eq!(network.posted("two"), ["Down/a/0001-01-01T00:00:00Z"]);

    network.posts.lock().expect("unpoisoned").clear();
    *network.is_down.lock().expect("unpoisoned") = true;
    // Kept connections are gone with the server.
    external.set(Vec::new());
    external.set(vec![destination("one", Vec::new())]);
    external.send(&[alert("a", None)]);
    env.clock.sleep(Duration::from_secs(20)).await;
    external.send(&[alert("a", Some(BEGIN_MS + 1000))]);
    env.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(network.posted("one"), Vec::<String>::new());
    *network.is_down.lock().expect("unpoisoned") = false;
    env.clock.sleep(Duration::from_secs(40)).await;
    assert_eq!(network.posted("one"), ["Down/a/2023-11-14T22:13:21.000Z"]);
    let count = |name: &str| {
        let url = "http://one:9093/am/api/v2/alerts";
        registry.counter(name, "", &[("alertmanager", url)]).get()
    };
    assert_eq!(count("watchkeeper_notifications_sent_total"), 3);
    assert!(count("watchkeeper_notifications_errors_total") > 2);
}
