//! The rule files in ZooKeeper through the API, as the dashboard's editor uses it, against a real ensemble.

use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::zookeeper::{OtherClient, ZooKeeper};
use crate::support::{Scratch, wait_for, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(20);
const STORE: &str = "/api/watchkeeper/v1/zookeeper/rules";

struct World {
    _scratch: Scratch,
    _zookeeper: ZooKeeper,
    other: OtherClient,
    server: Server,
}

impl World {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let zookeeper = ZooKeeper::start(&scratch);
        let text = format!(
            "zookeeper: {{connect: '{}', session_timeout: 4s}}\nglobal: {{evaluation_interval: 1s}}\nweb:\n  api_tokens:\n  - {{name: li, token: of-li}}\n  - {{name: guest, token: of-guest, role: viewer}}\n",
            zookeeper.address()
        );
        let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &text)));
        let other = OtherClient::connect(zookeeper.address());
        let world = Self { _scratch: scratch, _zookeeper: zookeeper, other, server };
        wait_until("the session", BOUND, || world.get("/api/watchkeeper/v1/zookeeper")["state"] == "live");
        world
    }

    fn ask(&self, who: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer of-{who}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        http::request(&self.server.address, method, path, &headers, &body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.ask("li", "GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()["data"].clone()
    }

    fn good(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask("li", "POST", path, body);
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
        answer.json()["data"].clone()
    }

    fn refused(&self, path: &str, body: &Value) -> (u16, String) {
        let answer = self.ask("li", "POST", path, body);
        (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    fn file(&self, name: &str) -> Value {
        self.get(&format!("{STORE}/file?name={}", http::encode(name)))
    }

    /// The rules that are evaluated.
    fn live(&self) -> Vec<String> {
        let groups = self.get("/api/v1/rules")["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        rules.map(|rule| rule["query"].as_str().unwrap().to_owned()).collect()
    }
}

fn rule(expression: &str) -> String {
    format!("groups:\n  - name: g\n    rules:\n      - record: r\n        expr: {expression}\n")
}

fn save(name: &str, text: Option<&str>, base: &Value) -> Value {
    json!({"changes": [{"name": name, "text": text, "base": base}], "reason": "lower limits"})
}

#[test]
fn who_only_looks_and_pages_of_others_change_nothing() {
    let world = World::new("store-access");
    let wish = save("a.yml", Some(&rule("sum(up)")), &Value::Null);
    // Nobody changes anything who only looks; a page of another site neither.
    let viewer = world.ask("guest", "POST", STORE, &wish);
    assert_eq!(viewer.status, 403, "{}", viewer.body);
    let headers = [("Authorization", "Bearer of-li"), ("Origin", "https://evil.example")];
    let body = wish.to_string();
    assert_eq!(http::request(&world.server.address, "POST", STORE, &headers, body.as_bytes()).unwrap().status, 403);
    assert_eq!(world.ask("guest", "GET", STORE, &Value::Null).status, 200);
    assert_eq!(world.get(STORE)["files"], json!([]));
}

#[test]
fn what_is_saved_is_checked_compared_live_and_in_the_history() {
    let world = World::new("store-save");
    let wish = save("a.yml", Some(&rule("sum(up)")), &Value::Null);
    // What is wrong is told by line and column, and nothing is written.
    let broken = json!({"files": {"a.yml": rule("sum(up"), "b.yml": rule("rate(temperature[5m])")}});
    let told = world.ask("guest", "POST", &format!("{STORE}/check"), &broken).json()["data"].clone();
    assert_eq!((&told["good"], &told["files"]["a.yml"]["errors"][0]["line"]), (&json!(false), &json!(5)), "{told}");
    assert!(told["files"]["a.yml"]["errors"][0]["column"].as_u64() > Some(14), "{told}");
    assert_eq!(told["files"]["b.yml"]["rules"], 1);
    let (status, words) = world.refused(STORE, &save("a.yml", Some(&rule("sum(up")), &Value::Null));
    assert!(status == 400 && words.contains("a.yml:5:") && words.contains("nothing was written"), "{status} {words}");
    assert_eq!(world.refused(STORE, &save("../a.yml", Some(&rule("up")), &Value::Null)).0, 400);
    assert_eq!(world.get(STORE)["files"], json!([]));

    // A dry run shows, the same without writes; it is live at once.
    let mut dry = wish.clone();
    dry["dryRun"] = true.into();
    let shown = world.good(STORE, &dry);
    assert_eq!((&shown["push"], &shown["changes"][0]["change"]), (&Value::Null, &json!("add")), "{shown}");
    assert!(shown["changes"][0]["diff"].as_str().unwrap().contains("+        expr: sum(up)"), "{shown}");
    assert_eq!(world.get(STORE)["files"], json!([]));
    let began = Instant::now();
    assert_eq!(world.good(STORE, &wish)["push"], 1);
    // The answer means that the ensemble has it.
    assert_eq!(world.other.get("/watchkeeper/rules/a.yml").unwrap(), rule("sum(up)").into_bytes());
    wait_until("the rule to be live", BOUND, || world.live() == ["sum(up)"]);
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    let first = world.file("a.yml");
    assert_eq!(
        (&first["by"]["who"], &first["by"]["why"], &first["text"]),
        (&json!("li"), &json!("lower limits"), &json!(rule("sum(up)")))
    );

    // Two editors: the second is told who was faster, and when; also about a file that has gone or come.
    let base = first["sha256"].clone();
    assert_eq!(world.good(STORE, &save("a.yml", Some(&rule("max(up)")), &base))["push"], 2);
    let (status, words) = world.refused(STORE, &save("a.yml", Some(&rule("min(up)")), &base));
    assert!(
        status == 409 && words.contains("a.yml: changed meanwhile by push 2 by li at 20") && words.contains("(lower limits)"),
        "{words}"
    );
    assert_eq!(world.refused(STORE, &save("a.yml", None, &base)).0, 409);
    assert_eq!(world.refused(STORE, &save("a.yml", Some(&rule("min(up)")), &Value::Null)).0, 409);
    assert_eq!(world.file("a.yml")["text"], rule("max(up)"));
    // Several at once are one push, or none.
    let two = |base: &Value| {
        json!({"changes": [
            {"name": "a.yml", "text": null, "base": base},
            {"name": "team/b.yml", "text": rule("count(up)"), "base": null},
        ]})
    };
    assert_eq!(world.refused(STORE, &two(&base)).0, 409);
    let now = world.file("a.yml")["sha256"].clone();
    assert_eq!(world.good(STORE, &two(&now))["push"], 3);
    assert_eq!(world.ask("li", "GET", &format!("{STORE}/file?name=a.yml"), &Value::Null).status, 404);
    wait_until("the other rule to be live", BOUND, || world.live() == ["count(up)"]);

    // Earlier versions, and back to one of them.
    let history = world.get(&format!("{STORE}/history"));
    let numbers: Vec<u64> = history["pushes"].as_array().unwrap().iter().map(|push| push["push"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(
        history["pushes"][0]["changes"],
        json!([{"name": "a.yml", "change": "delete"}, {"name": "team/b.yml", "change": "add"}])
    );
    assert_eq!(world.get(&format!("{STORE}/history/1"))["files"][0]["name"], "a.yml");
    assert_eq!(world.get(&format!("{STORE}/history/1?name=a.yml"))["text"], rule("sum(up)"));
    let diff = world.get(&format!("{STORE}/diff?from=1&to=2"));
    assert!(diff["changes"][0]["diff"].as_str().unwrap().contains("-        expr: sum(up)\n+        expr: max(up)\n"), "{diff}");
    assert_eq!(world.get(&format!("{STORE}/diff?from=3"))["changes"], json!([]));
    let back = format!("{STORE}/rollback");
    assert_eq!(world.refused(&back, &json!({"push": 99})).0, 404);
    let (status, words) = world.refused(&back, &json!({"push": 1, "head": 2}));
    assert!(status == 409 && words.contains("push 3 by li"), "{words}");
    assert_eq!(world.good(&back, &json!({"push": 1, "head": 3, "dryRun": true}))["push"], Value::Null);
    assert_eq!(world.good(&back, &json!({"push": 1, "head": 3, "reason": "too many mails"}))["push"], 4);
    wait_until("the first rule to be live again", BOUND, || world.live() == ["sum(up)"]);
    assert_eq!(world.get(&format!("{STORE}/history"))["pushes"][0]["restores"], 1);
}

#[test]
fn what_others_edit_gets_into_the_history_without_anybody_s_push() {
    let world = World::new("store-outside");
    world.good(STORE, &save("a.yml", Some(&rule("sum(up)")), &Value::Null));
    world.other.put("/watchkeeper/rules/a.yml", rule("max(up)").as_bytes());
    world.other.put("/watchkeeper/rules/b.yml", rule("min(up)").as_bytes());
    let newest = wait_for("the edit to be recorded", BOUND, || {
        let history = world.get(&format!("{STORE}/history"));
        (history["pushes"].as_array().unwrap().len() == 2).then(|| history["pushes"][0].clone())
    });
    assert_eq!(
        (&newest["push"], &newest["kind"], &newest["who"]),
        (&json!(2), &json!("outside"), &json!("other clients")),
        "{newest}"
    );
    assert_eq!(newest["why"], "edited outside: a.yml, b.yml");
    // It can be looked at and gone back to, and their texts are untouched.
    assert_eq!(world.get(&format!("{STORE}/history/2?name=b.yml"))["text"], rule("min(up)"));
    assert_eq!(world.other.get("/watchkeeper/rules/a.yml").unwrap(), rule("max(up)").into_bytes());
    assert_eq!(world.get(STORE)["outside"], json!([]));
    world.good(&format!("{STORE}/rollback"), &json!({"push": 1}));
    world.good(&format!("{STORE}/rollback"), &json!({"push": 2}));
    assert_eq!(world.file("b.yml")["text"], rule("min(up)"));
}
