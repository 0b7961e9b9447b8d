//! Dashboards of people's own through the API: files that change on disk, own ones over a crash, znodes on a real ensemble, and
//! bad input.

use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::zookeeper::{OtherClient, ZooKeeper};
use crate::support::{Scratch, wait_for, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);
const DASHBOARDS: &str = "/api/watchkeeper/v1/dashboards";
const TOKENS: &str = "web:\n  api_tokens:\n  - {name: li, token: of-li}\n  - {name: guest, token: of-guest, role: viewer}\n";

fn ask(server: &Server, who: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    let bearer = format!("Bearer of-{who}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    http::request(&server.address, method, path, &headers, body).unwrap()
}

fn get(server: &Server, path: &str) -> Value {
    let answer = ask(server, "guest", "GET", path, b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()["data"].clone()
}

fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let answer = ask(server, "li", "POST", path, body.to_string().as_bytes());
    (answer.status, answer.json())
}

fn save(server: &Server, wish: &Value) -> (String, String) {
    let (status, answer) = post(server, DASHBOARDS, wish);
    assert_eq!(status, 200, "{wish}: {answer}");
    let word = |key: &str| answer["data"][key].as_str().unwrap().to_owned();
    (word("id"), word("version"))
}

fn refused(server: &Server, wish: &Value) -> (u16, String) {
    let (status, answer) = post(server, DASHBOARDS, wish);
    (status, answer["error"].as_str().unwrap_or_default().to_owned())
}

fn ids(server: &Server) -> Vec<String> {
    let listed = get(server, DASHBOARDS)["dashboards"].as_array().cloned().unwrap();
    listed.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

fn dashboard(title: &str) -> Value {
    json!({"title": title, "tags": ["mine"], "panels": [{"type": "text", "title": "a"}], "schemaVersion": 39})
}

fn new(title: &str) -> Value {
    json!({"id": null, "dashboard": dashboard(title), "base": null, "to": "own", "author": "", "overwrite": false})
}

/// The largest memory that the process has had, in bytes.
fn peak_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn own_ones_and_their_order_survive_a_crash_and_files_show_as_they_are() {
    let scratch = Scratch::new("dashboards-own");
    let config = scratch.write("watchkeeper.yml", TOKENS);
    let mut server = Server::start(&scratch, Some(&config));
    assert_eq!(get(&server, "/api/v1/features")["watchkeeper"]["dashboards"], json!(true));
    assert_eq!(get(&server, DASHBOARDS), json!({"dashboards": [], "zookeeper": false}));
    let (first, version) = save(&server, &new("Büro: Platten"));
    let (second, _) = save(&server, &new("Web"));
    assert_eq!((first.as_str(), second.as_str()), ("b-ro-platten", "web"));
    assert_eq!(post(&server, &format!("{DASHBOARDS}/order"), &json!({"ids": ["web", "b-ro-platten"]})).0, 200);
    // Who only looks changes nothing.
    for (method, path) in [("POST", DASHBOARDS.to_owned()), ("DELETE", format!("{DASHBOARDS}/web"))] {
        assert_eq!(ask(&server, "guest", method, &path, new("x").to_string().as_bytes()).status, 403);
    }
    server.kill_and_restart();
    assert_eq!(ids(&server), ["web", "b-ro-platten"]);
    let one = get(&server, &format!("{DASHBOARDS}/{first}"));
    assert_eq!((&one["dashboard"], &one["version"], &one["by"]), (&dashboard("Büro: Platten"), &json!(version), &json!("li")));
    assert_eq!((&one["source"], &one["editable"], &one["error"]), (&json!("own"), &json!(true), &Value::Null));

    // Two save at once: the second hears who was first.
    let mut change = new("Platten");
    change["id"] = json!(first);
    change["base"] = json!(version);
    save(&server, &change);
    let (status, words) = refused(&server, &change);
    assert!(status == 409 && words.starts_with("\"Platten\" was changed by li at 20"), "{status} {words}");
    change["overwrite"] = json!(true);
    save(&server, &change);
    let stale = ask(&server, "li", "DELETE", &format!("{DASHBOARDS}/{first}?base={version}"), b"");
    assert_eq!(stale.status, 409, "{}", stale.body);
    assert_eq!(ask(&server, "li", "DELETE", &format!("{DASHBOARDS}/{first}"), b"").status, 200);
    assert_eq!(ask(&server, "li", "GET", &format!("{DASHBOARDS}/{first}"), b"").status, 404);

    // Files beside the configuration come, change and go without a reload.
    scratch.write("dashboards/disks.json", &json!({"title": "Disks", "uid": "rYd", "panels": []}).to_string());
    scratch.write("dashboards/broken.json", "{\n  \"panels\": [\n");
    scratch.write("dashboards/large.json", &" ".repeat((5 << 20) + 1));
    wait_until("the files to be listed", BOUND, || ids(&server) == ["web", "file-broken", "rYd", "file-large"]);
    let listed = get(&server, DASHBOARDS)["dashboards"].clone();
    assert_eq!(listed[1]["error"], "line 2, column 13: EOF while parsing a list");
    assert_eq!(listed[3]["error"], "This dashboard has 5.1 MB; the limit is 5 MB.");
    assert_eq!((&listed[2]["source"], &listed[2]["editable"]), (&json!("file"), &json!(false)));
    assert_eq!(get(&server, &format!("{DASHBOARDS}/file-broken"))["dashboard"], Value::Null);
    let told = |text: &str, link: &str| {
        let changes = get(&server, "/api/watchkeeper/v1/changes").as_array().cloned().unwrap();
        changes.iter().any(|change| change["kind"] == "config" && change["text"] == text && change["link"] == link)
    };
    wait_until("the new file to be told", BOUND, || told("dashboard Disks was added", "/dashboards/rYd"));
    scratch.write("dashboards/disks.json", &json!({"title": "All disks", "uid": "rYd", "panels": []}).to_string());
    wait_until("the change", BOUND, || get(&server, &format!("{DASHBOARDS}/rYd"))["title"] == "All disks");
    wait_until("the change to be told", BOUND, || told("dashboard All disks changed", "/dashboards/rYd"));
    // A file is only read: saving makes one's own of it, and it does not go by the API.
    let mut mine = new("All disks");
    mine["id"] = json!("rYd");
    assert_eq!(save(&server, &mine).0, "all-disks");
    assert_eq!(ask(&server, "li", "DELETE", &format!("{DASHBOARDS}/rYd"), b"").status, 403);
}

#[test]
fn bad_input_is_answered_with_a_sentence_and_costs_no_memory() {
    let scratch = Scratch::new("dashboards-bad");
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", TOKENS)));
    let before = peak_bytes(&server);
    let mut large = br#"{"id": null, "dashboard": {"panels": [""#.to_vec();
    large.resize(50 << 20, b'x');
    let answer = ask(&server, "li", "POST", DASHBOARDS, &large);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert_eq!(answer.json()["error"], "This dashboard has 50 MB; the limit is 5 MB.");
    let grown = peak_bytes(&server).saturating_sub(before);
    assert!(grown < 24 << 20, "grew by {grown} bytes");
    let panels = |panels: &str| format!("{{\"dashboard\": {{\"panels\": {panels}}}}}");
    let deep = panels(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)));
    let heavy = panels(&format!("[\"{}\"]", "x".repeat(6 << 20)));
    for (body, status, words) in [
        ("{\n\"dashboard\": {\"panels\": [1,]}}", 400, "line 2, column 28: "),
        ("{\"dashboard\": \"{\\n  panels\"}", 400, "line 2, column 3: key must be a string"),
        ("", 400, "line 1, column 0: EOF"),
        (&*deep, 400, "line 1, column 138: nested more than 127 deep"),
        (&*heavy, 413, "This dashboard has 6.1 MB; the limit is 5 MB."),
        ("{\"dashboard\": {\"title\": \"x\"}}", 400, "this is JSON, but no dashboard: it has neither `panels` nor `rows`"),
        ("{\"dashboard\": [1]}", 400, "this is JSON, but no dashboard: a dashboard is an object"),
        ("{\"dashboard\": {\"panels\": []}, \"to\": \"zookeeper\"}", 503, "zookeeper.connect is not configured"),
        ("{\"dashboard\": {\"panels\": []}, \"to\": \"elsewhere\"}", 400, "line 1, column 47: unknown variant"),
    ] {
        let answer = ask(&server, "li", "POST", DASHBOARDS, body.as_bytes());
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == status && told.starts_with(words), "{words}: {} {told}", answer.status);
    }
    assert_eq!(post(&server, &format!("{DASHBOARDS}/order"), &json!({"ids": ["../x"]})).0, 400);
    assert_eq!(ask(&server, "li", "GET", &format!("{DASHBOARDS}/..%2Fx"), b"").status, 404);
    assert_eq!(ids(&server), [""; 0]);
}

#[test]
fn znodes_are_saved_compared_and_kept_while_zookeeper_is_away() {
    let scratch = Scratch::new("dashboards-znodes");
    let mut zookeeper = ZooKeeper::start(&scratch);
    let text = format!("zookeeper: {{connect: '{}', session_timeout: 4s}}\n{TOKENS}", zookeeper.address());
    let mut server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &text)));
    wait_until("the session", BOUND, || get(&server, DASHBOARDS)["zookeeper"] == true);
    let other = OtherClient::connect(zookeeper.address());

    // Somebody else puts one there, without asking us.
    other.put("/watchkeeper/dashboards/theirs.json", dashboard("Theirs").to_string().as_bytes());
    other.put("/watchkeeper/dashboards/broken.json", b"{\"panels\": nothing}");
    wait_until("theirs", BOUND, || ids(&server) == ["zk-broken", "zk-theirs"]);
    let mut wish = new("Ours");
    wish["to"] = json!("zookeeper");
    let (id, version) = save(&server, &wish);
    assert_eq!(id, "zk-ours");
    let one = get(&server, &format!("{DASHBOARDS}/{id}"));
    assert_eq!((&one["source"], &one["path"]), (&json!("zookeeper"), &json!("/watchkeeper/dashboards/ours.json")));
    assert_eq!(
        serde_json::from_slice::<Value>(&other.get("/watchkeeper/dashboards/ours.json").unwrap()).unwrap(),
        dashboard("Ours")
    );
    // A second one of the same name is another one.
    assert_eq!(save(&server, &wish).0, "zk-ours-2");

    // What was changed there meanwhile is not written over, whoever did it.
    other.put("/watchkeeper/dashboards/ours.json", dashboard("Theirs now").to_string().as_bytes());
    wish["id"] = json!(id);
    wish["base"] = json!(version);
    let (status, words) = refused(&server, &wish);
    assert!(status == 409 && words.contains("nothing was saved"), "{status} {words}");
    let newest = wait_for("the change", BOUND, || {
        let one = get(&server, &format!("{DASHBOARDS}/zk-ours"));
        (one["title"] == "Theirs now").then(|| one["version"].clone())
    });
    wish["base"] = newest;
    save(&server, &wish);
    let delete = |id: &str| ask(&server, "li", "DELETE", &format!("{DASHBOARDS}/{id}"), b"");
    assert_eq!(delete("zk-ours-2").status, 200);
    assert_eq!(other.get("/watchkeeper/dashboards/ours-2.json"), None);
    let large = json!({"title": "Large", "panels": [{"type": "text", "content": "x".repeat(2 << 20)}]});
    let (large_id, _) = save(&server, &json!({"dashboard": large, "to": "zookeeper"}));
    assert_eq!(get(&server, &format!("{DASHBOARDS}/{large_id}"))["dashboard"], large);
    assert_eq!(delete(&large_id).status, 200);

    // Without ZooKeeper they stay, over a crash too, and cannot be changed.
    let before = get(&server, DASHBOARDS)["dashboards"].clone();
    zookeeper.stop();
    wait_until("the session to be gone", BOUND, || get(&server, DASHBOARDS)["zookeeper"] == false);
    server.kill_and_restart();
    let after = get(&server, DASHBOARDS)["dashboards"].clone();
    let names = |listed: &Value| -> Vec<Value> {
        let listed = listed.as_array().unwrap().iter();
        listed.map(|entry| json!([entry["id"], entry["version"], entry["title"], entry["error"]])).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert_eq!(after[1]["editable"], json!(false));
    assert_eq!(refused(&server, &wish).0, 503);
}
