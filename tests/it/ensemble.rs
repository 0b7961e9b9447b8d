//! A real ensemble of three through all that can befall it, as the session sees it and as a running Watchkeeper does: after each
//! fault a change of a rule is active again, what did not change keeps its timers, and alerts go on meanwhile.

use crate::support::ensemble::{Ensemble, SERVERS};
use crate::support::exporters::Application;
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::zookeeper::OtherClient;
use crate::support::{Scratch, wait_for, wait_until};
use serde_json::Value;
use std::time::{Duration, Instant};
use watchkeeper::env::Env;
use watchkeeper::telemetry::metrics::Registry;
use watchkeeper::zookeeper::{self, Link, Options, SessionStatus};

const ALL: [usize; SERVERS] = [0, 1, 2];
/// After an election of the ensemble, and the client's own way to another server.
const BOUND: Duration = Duration::from_secs(30);
const KEPT: &str = "/watchkeeper/rules/kept.yml";
const CHANGED: &str = "/watchkeeper/rules/changed.yml";
const KEPT_RULES: &str = "groups:
- name: kept
  interval: 500ms
  rules:
  - {alert: Pending, expr: app_queue_length >= 0, for: 1h}
  - {alert: Meanwhile, expr: app_queue_length > 10}
";

struct Scene {
    ensemble: Ensemble,
    application: Application,
    server: Server,
    link: Link,
    changes: u32,
    pending_since: String,
    _runtime: tokio::runtime::Runtime,
    scratch: Scratch,
}

fn session(connect: String) -> Link {
    let env = Env::real();
    let session_timeout = Duration::from_secs(4);
    let options = Options { connect, root: "/watchkeeper".to_owned(), session_timeout, ..Options::default() };
    let connector = zookeeper::real_connector(&env);
    zookeeper::start(&env, connector, options, vec!["/watchkeeper/rules".to_owned()], &Registry::new()).0
}

impl Scene {
    fn begin() -> Self {
        let scratch = Scratch::new("ensemble");
        let ensemble = Ensemble::start(&scratch);
        let application = Application::start(&scratch);
        let config = scratch.write(
            "watchkeeper.yml",
            &format!(
                "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
scrape_configs: [{{job_name: app, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]
zookeeper: {{connect: '{}', session_timeout: 4s}}
cluster: {{name: a}}
",
                application.port,
                ensemble.connect()
            ),
        );
        OtherClient::connect(ensemble.direct()).put(KEPT, KEPT_RULES.as_bytes());
        let server = Server::start(&scratch, Some(&config));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let link = runtime.block_on(async { session(ensemble.connect()) });
        let pending_since = wait_for("an alert to be pending", BOUND, || active_since(&server, "Pending"));
        Self { ensemble, application, server, link, changes: 0, pending_since, _runtime: runtime, scratch }
    }

    /// Changes a rule at a server that serves; both, the session and Watchkeeper, must have it within the bound.
    fn a_change_is_active(&mut self, after: &str, at: &[usize], bound: Duration) {
        self.changes += 1;
        let name = format!("Changed{}", self.changes);
        let text = format!("groups:\n- name: changed\n  interval: 500ms\n  rules:\n  - {{alert: {name}, expr: vector(1)}}\n");
        let began = Instant::now();
        let leader = self.ensemble.leader_of(at);
        OtherClient::connect(self.ensemble.address(leader)).put(CHANGED, text.as_bytes());
        let written = began.elapsed();
        wait_until(&format!("the session to see {name} after {after}"), bound, || {
            let tree = self.link.tree.borrow().clone();
            tree.and_then(|tree| tree.nodes.get(CHANGED).cloned()).is_some_and(|node| *node.data == *text.as_bytes())
        });
        let seen = began.elapsed();
        wait_until(&format!("{name} to be active after {after}"), bound, || active_since(&self.server, &name).is_some());
        println!("after {after}: written {written:.2?}, seen {seen:.2?}, firing {:.2?}", began.elapsed());
        self.nothing_began_anew(after);
        wait_until(&format!("somebody to tell people after {after}"), bound, || {
            matches!(self.zookeeper()["role"].as_str(), Some("leader" | "acting"))
        });
    }

    fn nothing_began_anew(&self, after: &str) {
        assert_eq!(active_since(&self.server, "Pending").as_deref(), Some(&*self.pending_since), "after {after}");
    }

    /// An alert comes and goes now, whatever is the matter with ZooKeeper.
    fn alerts_go_on(&self, during: &str) {
        self.application.set_queue_length(20.0);
        wait_until(&format!("an alert during {during}"), Duration::from_secs(10), || {
            active_since(&self.server, "Meanwhile").is_some()
        });
        self.application.set_queue_length(1.0);
        wait_until(&format!("its end during {during}"), Duration::from_secs(10), || {
            active_since(&self.server, "Meanwhile").is_none()
        });
        self.nothing_began_anew(during);
    }

    fn zookeeper(&self) -> Value {
        self.server.get("/api/watchkeeper/v1/zookeeper").json()["data"].clone()
    }

    fn is_away(&self) -> bool {
        self.link.client().is_err() && self.zookeeper()["connected"] == false
    }

    fn expirations(&self) -> (u64, u64) {
        (self.link.status.borrow().expirations, self.zookeeper()["expirations"].as_u64().unwrap())
    }
}

/// Since when an alert of this name is pending or firing.
fn active_since(server: &Server, name: &str) -> Option<String> {
    let alerts = server.get("/api/v1/alerts").json();
    let alert = alerts["data"]["alerts"].as_array()?.iter().find(|alert| alert["labels"]["alertname"] == name)?.clone();
    alert["activeAt"].as_str().map(str::to_owned)
}

#[test]
fn rules_and_alerts_go_on_whatever_befalls_the_ensemble() {
    let mut scene = Scene::begin();
    scene.a_change_is_active("the start", &ALL, BOUND);

    // Its leader is killed, and comes back.
    let leader = scene.ensemble.leader();
    scene.ensemble.kill(leader);
    scene.a_change_is_active("the leader's death", &Ensemble::others(leader), BOUND);
    scene.ensemble.restart(leader);
    scene.ensemble.wait_serving(leader);

    // It stands still.
    let leader = scene.ensemble.leader();
    scene.ensemble.pause(leader);
    scene.a_change_is_active("the leader stood still", &Ensemble::others(leader), BOUND);
    scene.ensemble.resume(leader);
    scene.ensemble.leader();
    scene.a_change_is_active("it went on", &ALL, BOUND);

    // Our connections are cut, shorter than the session ...
    let before = scene.expirations();
    scene.ensemble.all_proxies(Proxy::cut);
    wait_until("the loss to be noticed", BOUND, || scene.is_away());
    scene.ensemble.all_proxies(Proxy::heal);
    scene.a_change_is_active("a short cut", &ALL, BOUND);
    assert_eq!(scene.expirations(), before, "a short cut must stay within the session");

    // ... and longer.
    scene.ensemble.all_proxies(Proxy::cut);
    scene.alerts_go_on("a cut");
    wait_until("the sessions to expire", BOUND, || {
        let (ours, its) = scene.expirations();
        ours > before.0 && its > before.1
    });
    scene.ensemble.all_proxies(Proxy::heal);
    scene.a_change_is_active("the session expired", &ALL, BOUND);

    // Nothing comes through, and nobody says so.
    scene.ensemble.all_proxies(Proxy::black_hole);
    scene.alerts_go_on("a black hole");
    wait_until("the silence to be noticed", BOUND, || scene.is_away());
    scene.ensemble.all_proxies(Proxy::heal);
    scene.a_change_is_active("a black hole", &ALL, BOUND);

    // Everything takes long.
    scene.ensemble.all_proxies(|proxy| proxy.slow(Duration::from_millis(150)));
    scene.a_change_is_active("the network slowed down", &ALL, BOUND);
    scene.ensemble.all_proxies(Proxy::heal);

    // The only server that we reach is cut off from the others: it answers, but nothing new.
    let leader = scene.ensemble.leader();
    let follower = Ensemble::others(leader)[0];
    for place in Ensemble::others(follower) {
        scene.ensemble.proxies[place].cut();
    }
    wait_until("the way over the follower", BOUND, || !scene.is_away() && scene.link.client().is_ok());
    scene.ensemble.isolate(follower);
    scene.alerts_go_on("a follower's loneliness");
    wait_until("the follower to give up", BOUND, || scene.is_away());
    scene.ensemble.all_proxies(Proxy::heal);
    scene.a_change_is_active("a follower was cut off", &Ensemble::others(follower), BOUND);
    scene.ensemble.rejoin(follower);
    scene.ensemble.leader();

    // A file that we may not read is listed; the others live.
    scene.denied();

    // All are down for a while.
    scene.ensemble.kill_all();
    let down = Instant::now();
    scene.alerts_go_on("all were down");
    wait_until("Watchkeeper to go on by itself", BOUND, || scene.zookeeper()["role"] == "acting");
    wait_until("a while to pass", BOUND, || down.elapsed() > Duration::from_secs(15));
    scene.alerts_go_on("all were down for long");
    scene.ensemble.start_all();
    scene.a_change_is_active("all were down", &ALL, BOUND);

    scene.emptied();
    scene.link.stop();
}

impl Scene {
    fn denied(&mut self) {
        let path = "/watchkeeper/rules/secret.yml";
        let leader = self.ensemble.leader();
        OtherClient::connect(self.ensemble.address(leader)).put(path, KEPT_RULES.replace("kept", "secret").as_bytes());
        let files = |server: &Server| server.get("/api/watchkeeper/v1/zookeeper").json()["data"]["rules"].clone();
        let is_listed = |files: &Value, refused: &str| {
            let mut files = files.as_array().into_iter().flatten();
            files.any(|file| file["name"] == "secret.yml" && file["refused"].as_str().unwrap_or_default().contains(refused))
        };
        wait_until("the file to be there", BOUND, || is_listed(&files(&self.server), ""));
        let said = self.ensemble.client(leader, &["setAcl", path, "world:anyone:cdwa"]);
        // A change of permissions is no event; a change of the data is one, but not for us. A new read of all tells.
        self.ensemble.all_proxies(Proxy::cut);
        wait_until("the loss to be noticed", BOUND, || self.is_away());
        self.ensemble.all_proxies(Proxy::heal);
        wait_until(&format!("the file to be listed as denied ({said})"), BOUND, || is_listed(&files(&self.server), "permission"));
        let node =
            wait_for("the tree", BOUND, || self.link.tree.borrow().clone()?.nodes.get(path).cloned().filter(|node| node.denied));
        assert!(node.data.is_empty());
        self.a_change_is_active("a file was denied", &ALL, BOUND);
        self.ensemble.client(leader, &["setAcl", path, "world:anyone:cdrwa"]);
        OtherClient::connect(self.ensemble.address(leader)).delete(path);
    }

    /// An ensemble that was restored without its data: what it says holds, once it was read completely.
    fn emptied(&mut self) {
        self.ensemble.kill_all();
        self.ensemble.empty();
        wait_until("the loss to be noticed", BOUND, || self.is_away());
        self.nothing_began_anew("it went down to be emptied");
        self.ensemble.start_all();
        wait_until("the session to be live", BOUND, || self.link.status.borrow().state == SessionStatus::Live);
        wait_until("rules to go that are nowhere any more", BOUND, || active_since(&self.server, "Pending").is_none());
        let leader = self.ensemble.leader();
        OtherClient::connect(self.ensemble.address(leader)).put(KEPT, KEPT_RULES.as_bytes());
        self.pending_since = wait_for("the alert to be pending anew", BOUND, || active_since(&self.server, "Pending"));
        self.a_change_is_active("it was emptied", &ALL, BOUND);
        wait_until("the only member to lead", BOUND, || self.zookeeper()["role"] == "leader");
        assert_eq!(self.zookeeper()["members"].as_array().map(Vec::len), Some(1), "{}", self.zookeeper());
        let log = std::fs::read_to_string(self.scratch.join("watchkeeper.log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
}
