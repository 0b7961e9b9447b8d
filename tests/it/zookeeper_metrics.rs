//! A real ZooKeeper's own metrics without an exporter, by each of the ways, and an error that says what to do.

use crate::support::server::Server;
use crate::support::zookeeper::ZooKeeper;
use crate::support::{Process, Scratch, wait_until};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

/// The Prometheus provider's page, as Debian's package cannot serve it: its class is not in there.
const PROVIDER: &str = r##"
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"# HELP znode_count x\n# TYPE znode_count gauge\nznode_count 42.0\nupdatelatency{quantile=\"0.99\",} 3.0\nleader_uptime 5.0\nnum_alive_connections 7.0\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.HTTPServer((sys.argv[1], 7000), Page).serve_forever()
"##;

fn target(server: &Server, instance: &str) -> Value {
    let targets = server.get("/api/v1/targets?state=active").json()["data"]["activeTargets"].clone();
    targets.as_array().unwrap().iter().find(|target| target["labels"]["instance"] == instance).cloned().unwrap_or(Value::Null)
}

#[test]
fn servers_are_asked_by_the_way_that_works() {
    let scratch = Scratch::new("ensemble");
    let off = "admin.enableServer=false\n4lw.commands.whitelist=ruok\n";
    let by_word = ZooKeeper::start(&scratch);
    let by_admin = ZooKeeper::start_with(
        &scratch,
        "127.0.41.2",
        "admin.enableServer=true\nadmin.serverAddress=127.0.41.2\nadmin.serverPort=8080\n4lw.commands.whitelist=ruok\n",
    );
    let by_provider = ZooKeeper::start_with(&scratch, "127.0.41.3", off);
    let mut command = Command::new("python3");
    command.args(["-c", PROVIDER, "127.0.41.3"]);
    let _provider = Process::start(&mut command, "provider", scratch.join("provider.log"));
    let silent = ZooKeeper::start_with(&scratch, "127.0.41.4", &off.replace("ruok", "ruok,srvr"));
    let all = [&by_word, &by_admin, &by_provider, &silent].map(ZooKeeper::address);
    let config = scratch.write(
        "watchkeeper.yml",
        &format!(
            "zookeeper: {{connect: '{}'}}\nscrape_configs: [{{job_name: zookeeper, scrape_interval: 1s, zookeeper_servers: [{}],\n\
             metric_relabel_configs: [{{source_labels: [__name__], regex: jvm_.*, action: drop}}]}}]\n",
            all[0],
            all.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ")
        ),
    );
    let server = Server::start(&scratch, Some(&config));
    for address in &all[..3] {
        wait_until(&format!("{address} to be up"), BOUND, || server.value(&format!("up{{instance=\"{address}\"}}")) == Some(1.0));
    }

    // The names are the provider's, whoever told them; all of mntr has come.
    let value = |address: &str, metric: &str| server.value(&metric.replace("I", &format!("instance=\"{address}\"")));
    for address in &all[..2] {
        assert!(value(address, "znode_count{I}").unwrap() >= 5.0, "{address}");
        assert_eq!(value(address, "server_state{I, state=\"standalone\"}"), Some(1.0), "{address}");
        assert!(value(address, "updatelatency_count{I}").is_some(), "{address}");
        assert!(value(address, "updatelatency{I, quantile=\"0.99\"}").is_some(), "{address}");
        assert!(value(address, "fsynctime_sum{I}").is_some(), "{address}");
        assert!(value(address, "scrape_samples_scraped{I}").unwrap() > 300.0, "{address}");
    }
    assert_eq!(value(&all[2], "znode_count{I}"), Some(42.0));
    assert_eq!(server.query("{__name__=~\"zk_.*\"}"), Vec::<Value>::new());
    assert_eq!(target(&server, &all[0])["scrapeUrl"], format!("zookeeper://{}/mntr", all[0]));

    // Where nothing answers, the error says what each said and what to do.
    wait_until("the silent one to be down", BOUND, || target(&server, &all[3])["health"] == "down");
    let error = target(&server, &all[3])["lastError"].as_str().unwrap().to_owned();
    let expected = [
        format!("mntr at {}: it is not in the whitelist", all[3]),
        "http://127.0.41.4:8080/commands/monitor: ".to_owned(),
        "http://127.0.41.4:7000/metrics: ".to_owned(),
        "4lw.commands.whitelist=mntr".to_owned(),
    ];
    assert!(expected.iter().all(|words| error.contains(words)), "{error}");

    // The page of the dashboard: each server now, also by the little that srvr tells.
    let told = server.get("/api/watchkeeper/v1/zookeeper/servers").json()["data"]["servers"].clone();
    let told = told.as_array().unwrap();
    let addresses: Vec<&str> = told.iter().map(|server| server["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, all.iter().map(String::as_str).collect::<Vec<_>>());
    let roles: Vec<&str> = told.iter().map(|server| server["role"].as_str().unwrap_or("?")).collect();
    assert_eq!(roles, ["standalone", "standalone", "leader", "standalone"], "{told:?}");
    assert!(told[0]["connections"].as_f64().unwrap() >= 1.0 && told[0]["watches"].is_number(), "{}", told[0]);
    assert_eq!(told[2]["connections"], 7.0);
    assert!(told[3]["znodes"].as_f64().unwrap() >= 5.0, "{}", told[3]);
    wait_until("the tree to be read", BOUND, || {
        let trees = server.get("/api/watchkeeper/v1/zookeeper").json()["data"]["trees"].clone();
        trees.as_array().is_some_and(|trees| trees.iter().any(|tree| tree["name"] == "rules"))
    });

    // A server that goes is down; its series end.
    drop(by_word);
    wait_until("it to be down", BOUND, || server.value(&format!("up{{instance=\"{}\"}}", all[0])) == Some(0.0));
    assert_eq!(value(&all[0], "znode_count{I}"), None);
}
