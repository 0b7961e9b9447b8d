//! A ZooKeeper server's own metrics, without an exporter: `mntr` over the client port, else the AdminServer's `monitor`, else
//! the page of the Prometheus provider; always under the provider's names, so that one set of rules is for all.
//!
//! What answered last is asked first. Where nothing answers, the error says what each said and what to do.

use crate::config::http_client::HttpClientConfig;
use crate::env::Env;
use crate::model::labels::is_legacy_metric_name;
use crate::net::{Client, ClientOptions, Request};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The scheme by which such targets are known: `zookeeper://host:2181/mntr`.
const SCHEME: &str = "zookeeper://";
/// The longest answer: some 500 lines are usual.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Where the AdminServer listens unless it is told otherwise.
const ADMIN_PORT: u16 = 8080;
/// Where the Prometheus provider listens unless it is told otherwise.
const PROVIDER_PORT: u16 = 7000;
const CLIENT_PORT: &str = "2181";
const WHAT_TO_DO: &str =
    "allow mntr in its zoo.cfg (4lw.commands.whitelist=mntr), or switch on its AdminServer or its Prometheus provider";
/// What a server says whose quorum is gone, or that is starting.
const NOT_SERVING: &str = "not currently serving requests";

/// A server that can be asked.
pub struct EnsembleServer {
    env: Env,
    /// `host:port` of the client port.
    address: String,
    host: String,
    client: Client,
    /// The place among [`WAYS`] of what answered last.
    way: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Way {
    Mntr,
    Admin,
    Provider,
}

const WAYS: [Way; 3] = [Way::Mntr, Way::Admin, Way::Provider];

/// What a server told.
enum Told {
    /// Names, without `zk_`, and values.
    Facts(Vec<(String, String)>),
    /// The provider's page.
    Page(Vec<u8>),
}

/// Why one way did not work.
enum Failure {
    /// Another may.
    Way(String),
    /// The server answered, and what it said is that it has nothing to tell.
    Final(String),
}

impl EnsembleServer {
    /// Makes ready to ask the server at `host` or `host:port`.
    ///
    /// # Errors
    /// When that is no address.
    pub fn new(env: &Env, address: &str) -> Result<Self, String> {
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => (host, port),
            _ => (address, CLIENT_PORT),
        };
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{address:?} is not like host:2181"));
        }
        let client = Client::new(env, ClientOptions::from_config(&HttpClientConfig::default(), false)?);
        let (address, host) = (format!("{host}:{port}"), host.to_owned());
        Ok(Self { env: env.clone(), address, host, client, way: AtomicUsize::new(0) })
    }

    /// Returns the server's metrics in text format 0.0.4, within `timeout`.
    ///
    /// # Errors
    /// What each way said, and what to do.
    pub async fn metrics(&self, timeout: Duration) -> Result<Vec<u8>, String> {
        Ok(match self.told(timeout).await? {
            Told::Facts(facts) => page(&facts),
            Told::Page(page) => page,
        })
    }

    /// Returns what the server says of itself by name, without `zk_`: `server_state`, `version`, `avg_latency`, and so on. A server that
    /// tells its metrics in no way is asked for the little that `srvr` tells.
    ///
    /// # Errors
    /// What each way said, and what to do.
    pub async fn facts(&self, timeout: Duration) -> Result<BTreeMap<String, String>, String> {
        match self.told(timeout).await {
            Ok(Told::Facts(facts)) => Ok(facts.into_iter().collect()),
            Ok(Told::Page(page)) => Ok(of_page(&String::from_utf8_lossy(&page))),
            Err(error) => {
                let answer = self.env.clock.timeout(timeout / 3, self.word("srvr")).await;
                match answer {
                    Ok(Ok(text)) if text.contains("Mode:") => Ok(of_srvr(&text)),
                    _ => Err(error),
                }
            }
        }
    }

    /// Returns the server that a target's URL means; `None`: it is no URL of such a target.
    #[must_use]
    pub fn of_url(env: &Env, url: &str) -> Option<Result<Self, String>> {
        let place = url.strip_prefix(SCHEME)?;
        Some(Self::new(env, place.split(['/', '?']).next().unwrap_or_default()))
    }

    async fn told(&self, timeout: Duration) -> Result<Told, String> {
        let mut failures = Vec::new();
        let first = self.way.load(Ordering::Relaxed);
        for place in (0..WAYS.len()).map(|step| (first + step) % WAYS.len()) {
            let Some(way) = WAYS.get(place) else { continue };
            let asked = self.env.clock.timeout(timeout / 3, self.ask(*way)).await;
            match asked.unwrap_or_else(|_| Err(Failure::Way(format!("{}: no answer within {:?}", self.name(*way), timeout / 3))))
            {
                Ok(told) => {
                    self.way.store(place, Ordering::Relaxed);
                    return Ok(told);
                }
                Err(Failure::Way(reason)) => failures.push(reason),
                Err(Failure::Final(reason)) => return Err(reason),
            }
        }
        Err(format!("{}; {WHAT_TO_DO}", failures.join("; ")))
    }

    fn name(&self, way: Way) -> String {
        match way {
            Way::Mntr => format!("mntr at {}", self.address),
            Way::Admin => format!("http://{}:{ADMIN_PORT}/commands/monitor", self.host),
            Way::Provider => format!("http://{}:{PROVIDER_PORT}/metrics", self.host),
        }
    }

    async fn ask(&self, way: Way) -> Result<Told, Failure> {
        let name = self.name(way);
        let failed = |reason: String| Failure::Way(format!("{name}: {reason}"));
        match way {
            Way::Mntr => {
                let text = self.word("mntr").await.map_err(|error| failed(error.to_string()))?;
                if text.contains(NOT_SERVING) {
                    return Err(Failure::Final(format!("{name}: this ZooKeeper is {NOT_SERVING}")));
                }
                let facts: Vec<_> = text.lines().filter_map(|line| line.split_once('\t')).map(fact).collect();
                if facts.is_empty() {
                    return Err(failed(if text.contains("whitelist") {
                        "it is not in the whitelist".to_owned()
                    } else {
                        short(&text)
                    }));
                }
                Ok(Told::Facts(facts))
            }
            Way::Admin => {
                let body = self.get(&name).await.map_err(failed)?;
                Ok(Told::Facts(of_json(&body).map_err(failed)?))
            }
            Way::Provider => {
                let body = self.get(&name).await.map_err(failed)?;
                let is_ours = body.windows(12).any(|piece| piece == b"\nznode_count");
                if is_ours { Ok(Told::Page(body)) } else { Err(failed("this is not ZooKeeper's page".to_owned())) }
            }
        }
    }

    /// Asks one of the four-letter words.
    async fn word(&self, word: &str) -> std::io::Result<String> {
        let mut stream = self.env.network.connect(&self.address).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let request = Request::get(url, ANSWER_BYTES_MAX).map_err(|error| error.to_string())?;
        let response = Box::pin(self.client.send(request)).await.map_err(|error| error.to_string())?;
        if response.status == http::StatusCode::OK { Ok(response.body) } else { Err(format!("HTTP status {}", response.status)) }
    }
}

/// Puts a server's own words into an error.
fn short(text: &str) -> String {
    format!("no metrics but {:?}", text.chars().take(60).collect::<String>())
}

fn fact((name, value): (&str, &str)) -> (String, String) {
    (name.strip_prefix("zk_").unwrap_or(name).to_owned(), value.trim().to_owned())
}

/// Reads the AdminServer's answer.
fn of_json(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let object = value.as_object().ok_or("not a JSON object")?;
    if let Some(error) = object.get("error").and_then(serde_json::Value::as_str) {
        return Err(error.to_owned());
    }
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let facts = object.iter().filter(|(name, _)| *name != "command");
    let facts: Vec<_> = facts.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect();
    if facts.iter().any(|(name, _)| name == "znode_count") {
        Ok(facts)
    } else {
        Err("this is not ZooKeeper's AdminServer".to_owned())
    }
}

/// Reads the samples without labels of the provider's page.
fn of_page(page: &str) -> BTreeMap<String, String> {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.contains('{'));
    let mut facts: BTreeMap<String, String> =
        lines.filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // The provider says who leads only by what leaders alone have.
    let leads = facts.contains_key("leader_uptime") || facts.contains_key("synced_followers");
    facts.entry("server_state".to_owned()).or_insert_with(|| if leads { "leader" } else { "follower" }.to_owned());
    facts
}

/// Reads `srvr`'s answer under the names of `mntr`.
fn of_srvr(text: &str) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        let name = match key.trim() {
            "Mode" => "server_state",
            "Connections" => "num_alive_connections",
            "Node count" => "znode_count",
            "Outstanding" => "outstanding_requests",
            "Received" => "packets_received",
            "Sent" => "packets_sent",
            "Zookeeper version" => "version",
            key if key.starts_with("Latency") => {
                for (name, number) in ["min_latency", "avg_latency", "max_latency"].into_iter().zip(value.split('/')) {
                    facts.insert(name.to_owned(), number.to_owned());
                }
                continue;
            }
            _ => continue,
        };
        facts.insert(name.to_owned(), value.to_owned());
    }
    facts
}

/// Writes facts in text format 0.0.4 under the provider's names.
fn page(facts: &[(String, String)]) -> Vec<u8> {
    let mut page = String::new();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        if value.parse::<f64>().is_ok() {
            let (name, label) = provider_name(name);
            line(&mut page, &name, label.as_ref().map(|(key, text)| (*key, text.as_str())), value);
            continue;
        }
        // Texts are labels of a series that is 1.
        let label = match name.as_str() {
            "server_state" => "state",
            "version" => "version",
            _ => "value",
        };
        line(&mut page, &legal(name), Some((label, value)), "1");
    }
    page.into_bytes()
}

fn line(page: &mut String, name: &str, label: Option<(&str, &str)>, value: &str) {
    page.push_str(name);
    if let Some((key, text)) = label {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        for part in ["{", key, "=\"", text.as_str(), "\"}"] {
            page.push_str(part);
        }
    }
    for part in [" ", value, "\n"] {
        page.push_str(part);
    }
}

/// Returns the provider's name of a fact, and the label that it has there.
fn provider_name(name: &str) -> (String, Option<(&'static str, String)>) {
    let (name, suffix, quantile) = match name.split_once('_') {
        Some(("cnt", rest)) => (rest, "_count", None),
        Some(("sum", rest)) => (rest, "_sum", None),
        Some(("p50", rest)) => (rest, "", Some("0.5")),
        Some(("p95", rest)) => (rest, "", Some("0.95")),
        Some(("p99", rest)) => (rest, "", Some("0.99")),
        Some(("p999", rest)) => (rest, "", Some("0.999")),
        _ => (name, "", None),
    };
    // Sets of metrics have the member in front of the name.
    for set in ["_write_per_namespace", "_read_per_namespace"] {
        let Some((before, member)) = name.strip_suffix(set).map(|rest| {
            let of_it = ["avg_", "min_", "max_"].iter().find_map(|kind| rest.strip_prefix(kind).map(|member| (*kind, member)));
            of_it.unwrap_or(("", rest))
        }) else {
            continue;
        };
        let set = set.trim_start_matches('_');
        return (legal(&format!("{before}{set}{suffix}")), Some(("key", member.to_owned())));
    }
    (legal(&format!("{name}{suffix}")), quantile.map(|quantile| ("quantile", quantile.to_owned())))
}

fn legal(name: &str) -> String {
    if is_legacy_metric_name(name) {
        return name.to_owned();
    }
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if is_legacy_metric_name(&name) { name } else { format!("_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(facts: &[(&str, &str)]) -> String {
        let facts: Vec<_> = facts.iter().copied().map(fact).collect();
        String::from_utf8(page(&facts)).unwrap()
    }

    #[test]
    fn names_are_the_providers() {
        let told = [
            ("zk_version", "3.9.1-\"x\"\\, built"),
            ("zk_server_state", "leader"),
            ("zk_peer_state", "leading - broadcast"),
            ("zk_avg_latency", "0.25"),
            ("zk_max_file_descriptor_count", "20000"),
            ("zk_cnt_updatelatency", "3"),
            ("zk_sum_updatelatency", "12"),
            ("zk_p50_updatelatency", "3"),
            ("zk_p999_updatelatency", "7"),
            ("zk_avg_updatelatency", "4.0"),
            ("zk_cnt_my-app_write_per_namespace", "5"),
            ("zk_avg_app_read_per_namespace", "9"),
            ("zk_last_client_response_size", "-1"),
            ("zk_odd name", "1"),
            ("zk_empty", ""),
        ];
        assert_eq!(
            shown(&told),
            "version{version=\"3.9.1-\\\"x\\\"\\\\, built\"} 1\n\
             server_state{state=\"leader\"} 1\n\
             peer_state{value=\"leading - broadcast\"} 1\n\
             avg_latency 0.25\n\
             max_file_descriptor_count 20000\n\
             updatelatency_count 3\n\
             updatelatency_sum 12\n\
             updatelatency{quantile=\"0.5\"} 3\n\
             updatelatency{quantile=\"0.999\"} 7\n\
             avg_updatelatency 4.0\n\
             write_per_namespace_count{key=\"my-app\"} 5\n\
             avg_read_per_namespace{key=\"app\"} 9\n\
             last_client_response_size -1\n\
             odd_name 1\n"
        );
    }

    #[test]
    fn reads_the_admin_server_and_refuses_others() {
        let body = br#"{"version": "3.8", "znode_count": 5, "avg_latency": 0.5, "command": "monitor", "error": null, "x": [1]}"#;
        let facts = of_json(body).unwrap();
        assert_eq!(facts.len(), 3);
        assert!(facts.contains(&("avg_latency".to_owned(), "0.5".to_owned())));
        for (body, words) in [
            (&br#"{"command": "monitor", "error": "not running"}"#[..], "not running"),
            (b"{\"status\": 1}", "not ZooKeeper's AdminServer"),
            (b"[]", "not a JSON object"),
            (b"<html>", "not JSON"),
        ] {
            assert!(of_json(body).unwrap_err().contains(words), "{words}");
        }
    }

    #[test]
    fn reads_what_srvr_tells() {
        let text = "Zookeeper version: 3.4.14, built on x\nLatency min/avg/max: 0/1.5/9\nReceived: 10\nSent: 9\nConnections: 2\n\
                    Outstanding: 0\nZxid: 0x5\nMode: follower\nNode count: 7\n";
        let facts = of_srvr(text);
        assert_eq!(
            (facts["server_state"].as_str(), facts["avg_latency"].as_str(), facts["max_latency"].as_str()),
            ("follower", "1.5", "9")
        );
        assert_eq!((facts["num_alive_connections"].as_str(), facts["znode_count"].as_str()), ("2", "7"));
    }

    #[test]
    fn addresses_get_the_usual_port() {
        let env = Env::real();
        for (given, address, host) in [
            ("zk1", "zk1:2181", "zk1"),
            ("zk1:1", "zk1:1", "zk1"),
            ("[::1]", "[::1]:2181", "[::1]"),
            ("[::1]:5", "[::1]:5", "[::1]"),
        ] {
            let server = EnsembleServer::new(&env, given).unwrap();
            assert_eq!((server.address.as_str(), server.host.as_str()), (address, host));
        }
        assert!(EnsembleServer::new(&env, "zk:x").is_err());
        assert!(EnsembleServer::new(&env, "").is_err());
    }
}
