//! The configuration's overlay in ZooKeeper against a real one and a running server: live within a second, refused by place, and not
//! forgotten while ZooKeeper is away.

use crate::support::server::Server;
use crate::support::zookeeper::{OtherClient, ZooKeeper};
use crate::support::{Scratch, wait_for, wait_until};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(20);
const CONFIG: &str = "/watchkeeper/config";

struct World {
    scratch: Scratch,
    zookeeper: ZooKeeper,
    file: PathBuf,
    other: OtherClient,
}

impl World {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let zookeeper = ZooKeeper::start(&scratch);
        let file = scratch.write("watchkeeper.yml", &Self::text(&zookeeper, ""));
        let other = OtherClient::connect(zookeeper.address());
        Self { scratch, zookeeper, file, other }
    }

    fn text(zookeeper: &ZooKeeper, more: &str) -> String {
        let address = zookeeper.address();
        format!(
            "zookeeper: {{connect: '{address}', session_timeout: 4s}}\nglobal: {{scrape_interval: 1s}}\nremote_read: []\noverrides: {{disk_full: {{values: {{db1: 95}}}}}}\n{more}"
        )
    }

    fn write_file(&self, more: &str) {
        std::fs::write(&self.file, Self::text(&self.zookeeper, more)).unwrap();
    }

    fn server(&self) -> Server {
        let server = Server::start(&self.scratch, Some(&self.file));
        self.wait_live(&server);
        server
    }

    fn wait_live(&self, server: &Server) {
        wait_until("the session", BOUND, || server.get("/api/watchkeeper/v1/zookeeper").json()["data"]["state"] == "live");
    }
}

fn shown(server: &Server) -> serde_json::Value {
    server.get("/api/watchkeeper/v1/status/config").json()["data"].clone()
}

fn origin(server: &Server, part: &str) -> Vec<String> {
    let shown = shown(server);
    let parts = shown["parts"].as_array().unwrap();
    let found = parts.iter().find(|found| found["part"] == part);
    let from = found.and_then(|found| found["from"].as_array()).cloned().unwrap_or_default();
    from.iter().map(|from| from.as_str().unwrap().to_owned()).collect()
}

fn refused(server: &Server, path: &str) -> Option<serde_json::Value> {
    let shown = shown(server);
    let found = shown["znodes"].as_array().unwrap().iter().find(|znode| znode["path"] == path).cloned()?;
    (!found["refused"].is_null()).then(|| found["refused"].clone())
}

fn jobs(server: &Server) -> Vec<String> {
    let pools = server.get("/api/v1/scrape_pools").json();
    let names = pools["data"]["scrapePools"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    // The server watches itself, whatever is configured.
    names.filter(|name| name != "watchkeeper").collect()
}

fn receivers(server: &Server) -> Vec<String> {
    let list = server.get("/api/v2/receivers").json();
    list.as_array().unwrap().iter().map(|receiver| receiver["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits for something that must be so within a second.
fn at_once(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    wait_until(what, BOUND, &mut look);
    assert!(began.elapsed() < Duration::from_secs(1), "{what} took {:?}", began.elapsed());
}

fn job(server: &Server, name: &str) -> String {
    format!("job_name: {name}\nstatic_configs:\n- targets: ['{}']\n", server.address)
}

#[test]
fn what_znodes_say_is_live_at_once_and_what_is_wrong_with_one_leaves_the_rest() {
    let world = World::new("overlay-live");
    let server = world.server();
    assert_eq!(origin(&server, "global"), [world.file.display().to_string()]);
    assert_eq!(jobs(&server), [""; 0]);

    // A job of its own, plain or packed, is scraped; another comes with `config`.
    let path = "/watchkeeper/config/scrape/one.yml";
    world.other.put(path, job(&server, "one").as_bytes());
    at_once("the job", || jobs(&server) == ["one"]);
    wait_until("a sample", BOUND, || server.value("up{job=\"one\"}") == Some(1.0));
    assert_eq!(origin(&server, "scrape_configs/one"), [format!("zookeeper:{path}")]);
    let over = "
alertmanager:
  global: {smtp_smarthost: outbox, smtp_from: 'w@example.org', smtp_auth_password: very-secret}
  route: {receiver: from-znode, group_wait: 0s}
  receivers: [{name: from-znode, email_configs: [{to: 'li@example.org'}]}]
overrides: {disk_full: {values: {db2: 80}}}
";
    world.other.put(CONFIG, over.as_bytes());
    at_once("the receiver", || receivers(&server) == ["from-znode"]);
    assert_eq!(origin(&server, "alertmanager/receivers/from-znode"), [format!("zookeeper:{CONFIG}")]);
    assert_eq!(origin(&server, "overrides/disk_full").len(), 2);
    assert!(!shown(&server).to_string().contains("very-secret"));
    let yaml = server.get("/api/v1/status/config").json()["data"]["yaml"].as_str().unwrap().to_owned();
    assert!(yaml.contains("from-znode") && yaml.contains("db1: 95") && yaml.contains("db2: 80"), "{yaml}");
    let alert = br#"[{"labels": {"alertname": "ByHand"}}]"#;
    assert_eq!(server.post("/api/v2/alerts", "application/json", alert).status, 200);
    wait_until("a mail by the znode's receiver", BOUND, || {
        server.get("/api/watchkeeper/v1/notifications").body.contains("from-znode")
    });

    // Whatever is wrong is refused by its place, and what held goes on, also beside new good ones.
    let cases: [(&str, &[u8], u64, &str); 6] = [
        (CONFIG, b"overrides: {}\nweb: {}\n", 2, "web may not be set in ZooKeeper"),
        (CONFIG, b"alertmanager: {file: /etc/passwd}", 1, "may not name files"),
        (CONFIG, b"alertmanager:\n  route: {receiver: nobody}", 2, "nobody"),
        (CONFIG, b"alertmanager:\n  route: {receiver: from-znode}\n  receivers: [{name: from-znode, opsgenie_configs: [{api_key: x}]}]", 0, "opsgenie_configs is not supported"),
        (CONFIG, b"a\n\xff\xfe", 2, "not valid UTF-8"),
        (path, b"job_name: one\nscrape_interfal: 5s\n", 2, "scrape_interfal"),
    ];
    for (path, data, line, words) in cases {
        world.other.put(path, data);
        let told = wait_for("the refusal", BOUND, || {
            refused(&server, path).filter(|told| told["reason"].as_str().unwrap().contains(words))
        });
        assert!(line == 0 || told["line"] == line, "{told}");
        assert_eq!((jobs(&server), receivers(&server)), (vec!["one".to_owned()], vec!["from-znode".to_owned()]), "{words}");
    }
    let own = server.get("/metrics").body;
    assert!(own.contains(&format!("watchkeeper_zookeeper_config_refused{{file=\"{path}\"}} 1")), "{own}");
    assert!(server.get("/api/v1/notifications").body.contains("configuration in ZooKeeper was refused"));
    wait_until("the list of changes", BOUND, || server.get("/api/watchkeeper/v1/changes").body.contains("scrape_interfal"));
    world.other.put("/watchkeeper/config/scrape/two.yml", job(&server, "two").as_bytes());
    at_once("the other job", || jobs(&server) == ["one", "two"]);

    // Another file, with the same overlay on it.
    world.write_file("scrape_configs: [{job_name: of-file}, {job_name: two, metrics_path: /never}]\n");
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    at_once("the file's job", || jobs(&server) == ["of-file", "one", "two"]);
    assert_eq!(origin(&server, "scrape_configs/two"), ["zookeeper:/watchkeeper/config/scrape/two.yml"]);
    assert_eq!(receivers(&server), ["from-znode"]);

    // What is mended is taken; what goes is the file's again.
    world.other.put(path, job(&server, "one").as_bytes());
    at_once("the end of the refusal", || refused(&server, path).is_none());
    world.other.delete("/watchkeeper/config/scrape/two.yml");
    at_once("the file's job", || origin(&server, "scrape_configs/two") == [world.file.display().to_string()]);
    world.other.put(CONFIG, b"");
    at_once("the file's receivers", || receivers(&server) != ["from-znode"]);
    assert_eq!(origin(&server, "overrides/disk_full"), [world.file.display().to_string()]);
}

#[test]
fn a_restart_while_zookeeper_is_away_forgets_nothing_not_even_what_was_good_before() {
    let mut world = World::new("overlay-away");
    let mut server = world.server();
    let path = "/watchkeeper/config/scrape/one.yml";
    world.other.put(path, job(&server, "one").as_bytes());
    world.other.put(CONFIG, b"overrides: {disk_full: {values: {db2: 80}}}");
    wait_until("the overlay", BOUND, || jobs(&server) == ["one"] && origin(&server, "overrides/disk_full").len() == 2);
    world.other.put(CONFIG, b"overrides: {disk_full: {values: {db2: x}}}");
    wait_until("the refusal", BOUND, || refused(&server, CONFIG).is_some());
    // What was last known is on disk a little after it was taken.
    let told = shown(&server);
    wait_until("the tree to be kept", BOUND, || {
        std::fs::read(world.scratch.join("data/state.dump")).is_ok_and(|kept| {
            let kept = String::from_utf8_lossy(&kept).into_owned();
            kept.contains("db2: x") && kept.contains("db2: 80") && kept.contains("job_name: one")
        })
    });

    world.zookeeper.stop();
    server.kill_and_restart();
    assert_eq!(jobs(&server), ["one"]);
    assert_eq!(shown(&server)["yaml"], told["yaml"]);
    assert_eq!(shown(&server)["znodes"], told["znodes"]);
    wait_until("a sample", BOUND, || server.value("up{job=\"one\"}") == Some(1.0));
    // A reload meanwhile keeps it, too.
    world.write_file("scrape_configs: [{job_name: of-file}]\n");
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    at_once("the file's job", || jobs(&server) == ["of-file", "one"]);

    world.zookeeper.resume();
    world.wait_live(&server);
    assert_eq!(jobs(&server), ["of-file", "one"]);
    let other = OtherClient::connect(world.zookeeper.address());
    other.delete(path);
    wait_until("the job to go", BOUND, || jobs(&server) == ["of-file"]);
}
