//! Values for programs that read ZooKeeper alone: written when they change, kept otherwise, removed when no longer wanted.

use crate::support::exporters::Application;
use crate::support::server::{BINARY, Server};
use crate::support::zookeeper::{OtherClient, ZooKeeper};
use crate::support::{Scratch, run, wait_for, wait_until};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(30);
const LOAD: &str = "/watchkeeper/publish/queue";

fn config(zookeeper: &str, port: u16, publish: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         zookeeper: {{connect: '{zookeeper}', session_timeout: 4s, publish: [{publish}]}}\n\
         scrape_configs: [{{job_name: app, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
}

fn published(client: &OtherClient, path: &str) -> Option<Value> {
    serde_json::from_slice(&client.get(path)?).ok()
}

/// The value of the first series.
fn value(client: &OtherClient) -> Option<String> {
    Some(published(client, LOAD)?["result"][0]["value"][1].as_str()?.to_owned())
}

#[test]
fn values_are_written_when_they_change_and_go_when_they_are_not_wanted() {
    let scratch = Scratch::new("publish");
    let mut zookeeper = ZooKeeper::start(&scratch);
    let application = Application::start(&scratch);
    let queue = "{name: queue, query: 'sum by (job) (app_queue_length)', interval: 5s}";
    let text = config(&zookeeper.address(), application.port, &format!("up, {queue}, {{name: taken, query: 'vector(1)'}}"));
    let file = scratch.write("watchkeeper.yml", &text);
    let client = OtherClient::connect(zookeeper.address());
    client.put("/watchkeeper/publish/taken", b"somebody else's");
    let server = Server::start(&scratch, Some(&file));

    // As an instant query answers, with who and when.
    wait_until("the first value", BOUND, || value(&client).as_deref() == Some("1"));
    let found = published(&client, LOAD).unwrap();
    assert_eq!((&found["publisher"], &found["name"]), (&Value::from("watchkeeper"), &Value::from("queue")));
    assert_eq!(found["result"][0]["metric"], serde_json::json!({"job": "app"}));
    assert!(found["at"].as_str().unwrap().ends_with('Z') && found["validForSeconds"].as_u64().unwrap() >= 600, "{found}");
    wait_until("all series of a metric", BOUND, || {
        published(&client, "/watchkeeper/publish/up").is_some_and(|found| found["result"].as_array().unwrap().len() >= 2)
    });
    assert_eq!(client.get("/watchkeeper/publish/taken").unwrap(), b"somebody else's");
    assert!(server.get("/metrics").body.contains("watchkeeper_zookeeper_publish_failures_total"));

    // A change is written within a turn; what does not change is not written again.
    application.set_queue_length(7.0);
    let began = Instant::now();
    wait_until("the change", BOUND, || value(&client).as_deref() == Some("7"));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let at = published(&client, LOAD).unwrap()["at"].clone();
    let turns = server.value("count_over_time(up{job=\"app\"}[1h])").unwrap();
    wait_until("some turns", BOUND, || server.value("count_over_time(up{job=\"app\"}[1h])").unwrap() >= turns + 7.0);
    assert_eq!(published(&client, LOAD).unwrap()["at"], at);

    // ZooKeeper away: nothing else waits, and the next turn after the return writes.
    zookeeper.stop();
    application.set_queue_length(9.0);
    wait_until("scrapes to go on", BOUND, || server.value("sum(app_queue_length)") == Some(9.0));
    zookeeper.resume();
    let client = OtherClient::connect(zookeeper.address());
    wait_until("the change after the return", BOUND, || value(&client).as_deref() == Some("9"));

    // What is no longer published goes; what somebody else wrote stays.
    scratch.write("watchkeeper.yml", &config(&zookeeper.address(), application.port, queue));
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    wait_for("the others to go", BOUND, || client.get("/watchkeeper/publish/up").is_none().then_some(()));
    assert!(client.get(LOAD).is_some());
    assert_eq!(client.get("/watchkeeper/publish/taken").unwrap(), b"somebody else's");

    // A query that is none is refused before it is taken.
    let wrong = scratch.write("wrong.yml", &config(&zookeeper.address(), application.port, "{name: x, query: 'sum('}"));
    let (status, told) = run(Command::new(BINARY).args(["check", "config"]).arg(&wrong));
    assert!(status != 0 && told.contains("zookeeper.publish, x: "), "{status}: {told}");
}
