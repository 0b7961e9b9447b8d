//! `watchkeeper rules` against a real ZooKeeper and a running server: what is pushed is live within a second, a change of somebody else is
//! never written over unseen, and any push can be gone back to.

use crate::support::server::{BINARY, Server};
use crate::support::zookeeper::ZooKeeper;
use crate::support::{Scratch, run, wait_until};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use watchkeeper::cluster::push::{self, Files, Note};
use watchkeeper::cluster::snapshot::{self, Snapshot};
use watchkeeper::env::Env;
use watchkeeper::zookeeper::{self as zk, Client, Lifetime};

const BOUND: Duration = Duration::from_secs(20);

struct World {
    scratch: Scratch,
    zookeeper: ZooKeeper,
    runtime: tokio::runtime::Runtime,
    /// Another client.
    client: Arc<dyn Client>,
}

impl World {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let zookeeper = ZooKeeper::start(&scratch);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = zk::Options {
            connect: zookeeper.address(),
            root: "/watchkeeper".to_owned(),
            session_timeout: Duration::from_secs(10),
            digest: None,
            unread: Vec::new(),
            tls: None,
            is_foreign: false,
        };
        let client = runtime.block_on(zk::real_connector(&Env::real()).connect(&options)).unwrap();
        Self { scratch, zookeeper, runtime, client }
    }

    fn server(&self) -> Server {
        let address = self.zookeeper.address();
        let text = format!("zookeeper: {{connect: '{address}', session_timeout: 4s}}\nglobal: {{evaluation_interval: 1s}}\n");
        Server::start(&self.scratch, Some(&self.scratch.write("watchkeeper.yml", &text)))
    }

    /// Waits until a server has made the folders that a change of rules concerns.
    fn wait_folders(&self) {
        wait_until("the folders", BOUND, || self.znodes().contains_key("/watchkeeper/blobs"));
    }

    /// Runs `watchkeeper rules`; answers exit code and output.
    fn rules(&self, what: &str, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(BINARY);
        command.args(["rules", what, "--zookeeper", &self.zookeeper.address()]).args(words);
        run(command.env("USER", "li").current_dir(self.scratch.path()))
    }

    fn good(&self, what: &str, words: &[&str]) -> String {
        let (code, text) = self.rules(what, words);
        assert_eq!(code, 0, "rules {what} {words:?}: {text}");
        text
    }

    fn refused(&self, what: &str, words: &[&str]) -> String {
        let before = self.znodes();
        let (code, text) = self.rules(what, words);
        assert_eq!(code, 1, "rules {what} {words:?}: {text}");
        assert_eq!(self.znodes(), before, "rules {what} {words:?} wrote something: {text}");
        text
    }

    /// The znodes that a change of rules concerns: path -> data. What running servers say of themselves is none of them.
    fn znodes(&self) -> BTreeMap<String, Vec<u8>> {
        let folders = ["rules", "history", "blobs", "config"].map(|folder| format!("/watchkeeper/{folder}"));
        let concerns = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
        self.whole().into_iter().filter(|(path, _)| concerns(path)).collect()
    }

    /// All znodes below the root.
    fn whole(&self) -> BTreeMap<String, Vec<u8>> {
        let tree = self.runtime.block_on(zk::tree_cache::read_all(&self.client, "/watchkeeper", &[])).unwrap();
        tree.nodes.into_iter().map(|(path, node)| (path, node.data.to_vec())).collect()
    }

    /// Writes a rule file as somebody else would.
    fn edit(&self, name: &str, text: &str) {
        let path = format!("/watchkeeper/rules/{name}");
        let set = self.runtime.block_on(self.client.set(&path, text.as_bytes(), None));
        if set.is_err() {
            self.runtime.block_on(self.client.create(&path, text.as_bytes(), Lifetime::Persistent)).unwrap();
        }
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.scratch.join(name)).ok()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        self.scratch.write(name, text)
    }
}

fn rule(record: &str, expression: &str) -> String {
    format!("groups:\n  - name: {record}\n    rules:\n      - record: {record}\n        expr: {expression}\n")
}

/// The names of the rules that a server evaluates.
fn live(server: &Server) -> Vec<String> {
    let rules = server.get("/api/v1/rules").json();
    let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    let mut names: Vec<String> =
        rules.map(|rule| format!("{}={}", rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap())).collect();
    names.sort();
    names
}

/// Waits until a server evaluates these rules, which must be within a second.
fn live_at_once(server: &Server, expected: &[&str]) {
    let began = Instant::now();
    wait_until(&format!("{expected:?} to be live"), BOUND, || live(server) == expected);
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
}

#[test]
fn a_push_is_checked_written_at_once_and_live() {
    let world = World::new("rules-push");
    let server = world.server();
    world.wait_folders();
    world.write("rules/a.yml", &rule("a", "sum(up)"));
    world.write("rules/team/b.yml", &rule("b", "sum(up) +"));
    world.write("rules/a_test.yml", "rule_files: [a.yml]\n");
    // Nothing is written while one file is wrong, and the place is told.
    let told = world.refused("push", &[]);
    assert!(told.contains("rules/team/b.yml:5:24: ") && told.contains("nothing was written"), "{told}");

    world.write("rules/team/b.yml", &rule("b", "max(up)"));
    let before = world.znodes();
    let told = world.good("push", &["--dry-run"]);
    assert_eq!(told, "+ a.yml\n+ team/b.yml\ndry run: nothing was written\n");
    assert_eq!(world.znodes(), before);
    let told = world.good("push", &["-m", "the first"]);
    assert_eq!(told, "+ a.yml\n+ team/b.yml\npush 1: written, 2 files changed\n");
    live_at_once(&server, &["a=sum(up)", "b=max(up)"]);
    // They lie there as plain text, for any client.
    assert_eq!(world.znodes()["/watchkeeper/rules/a.yml"], rule("a", "sum(up)").into_bytes());
    assert_eq!(world.good("push", &[]), "nothing to push\n");

    world.write("rules/a.yml", &rule("a", "min(up)"));
    std::fs::remove_file(world.scratch.join("rules/team/b.yml")).unwrap();
    let diff = world.good("diff", &[]);
    assert!(diff.contains("--- zookeeper:/watchkeeper/rules/a.yml\n+++ rules/a.yml\n"), "{diff}");
    assert!(diff.contains("-        expr: sum(up)\n+        expr: min(up)\n") && diff.contains("+++ /dev/null\n"), "{diff}");
    assert_eq!(world.good("push", &["rules"]), "~ a.yml\n- team/b.yml\npush 2: written, 2 files changed\n");
    live_at_once(&server, &["a=min(up)"]);
    let listed = world.good("list", &[]);
    assert!(
        listed.lines().any(|line| line.starts_with("a.yml ") && line.contains("push 2 li@") && line.ends_with("ok (1 rules)")),
        "{listed}"
    );
    // The server's own tree does without the history and its texts.
    let beside = |path: &&String| !path.contains("/history/") && !path.contains("/blobs/");
    let znodes = world.whole();
    wait_until("the server to know all of it", BOUND, || {
        let known = server.get("/api/watchkeeper/v1/zookeeper").json()["data"]["znodes"].as_u64();
        known == Some(znodes.keys().filter(beside).count() as u64)
    });
    assert!(znodes.keys().filter(|path| !beside(path)).count() >= 5, "{:?}", znodes.keys());
    assert_eq!(world.rules("push", &["--wrong"]).0, 2);
}

#[test]
fn what_somebody_else_changed_is_told_kept_and_merged() {
    let world = World::new("rules-conflict");
    for name in ["a", "b", "c"] {
        world.write(&format!("mine/{name}.yml"), &rule(name, "sum(up)"));
    }
    world.good("push", &["mine", "-m", "base"]);
    world.good("pull", &["yours"]);
    assert_eq!(world.file("yours/b.yml"), Some(rule("b", "sum(up)")));

    // Another pusher, and then somebody without the tool.
    world.write("yours/b.yml", &rule("b", "max(up)"));
    world.good("push", &["yours", "-m", "higher"]);
    world.edit("c.yml", &rule("c", "min(up)"));
    world.write("mine/a.yml", &rule("a", "avg(up)"));
    world.write("mine/c.yml", &rule("c", "avg(up)"));
    let told = world.refused("push", &["mine"]);
    assert!(told.contains("b.yml: changed meanwhile by push 2 by li@") && told.contains("(higher)"), "{told}");
    assert!(told.contains("c.yml: changed meanwhile by another client at 20") && told.contains("pull first"), "{told}");
    let history = world.good("history", &[]);
    assert!(history.lines().nth(1).is_some_and(|line| line.starts_with("- ") && line.contains("~c.yml")), "{history}");

    // The pull takes theirs where we changed nothing, and puts it beside ours where we did.
    let (code, told) = world.rules("pull", &["mine"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("~ b.yml\n") && told.contains("c.yml: changed here and there: yours is kept"), "{told}");
    assert_eq!(world.file("mine/a.yml"), Some(rule("a", "avg(up)")));
    assert_eq!(world.file("mine/b.yml"), Some(rule("b", "max(up)")));
    assert_eq!(world.file("mine/c.yml.theirs"), Some(rule("c", "min(up)")));
    let told = world.good("push", &["mine", "-m", "merged"]);
    assert_eq!(told, "~ a.yml\n~ c.yml\npush 3: kept what other clients had changed before\npush 4: written, 2 files changed\n");

    // What was edited outside is a version to go back to, as all others are.
    let history = world.good("history", &[]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 5, "{history}");
    assert!(lines[1].starts_with("4 ") && lines[1].contains("li@") && lines[1].ends_with("merged"), "{history}");
    assert!(lines[2].starts_with("3 ") && lines[2].contains("edited outside: c.yml"), "{history}");
    let rolled = world.good("rollback", &["--to", "3", "--dry-run"]);
    assert_eq!(rolled, "~ a.yml\n~ c.yml\ndry run: nothing was written\n");
    world.good("rollback", &["--to", "3", "-m", "too low"]);
    assert_eq!(world.znodes()["/watchkeeper/rules/c.yml"], rule("c", "min(up)").into_bytes());
    world.good("rollback", &["--to", "1"]);
    assert_eq!(world.znodes()["/watchkeeper/rules/b.yml"], rule("b", "sum(up)").into_bytes());
    let told = world.refused("rollback", &["--to", "77"]);
    assert!(told.contains("push 77 is not in the history"), "{told}");
    // Without a number: what was before the last change.
    world.good("rollback", &[]);
    assert_eq!(world.znodes()["/watchkeeper/rules/c.yml"], rule("c", "min(up)").into_bytes());
    assert!(world.good("history", &[]).contains("rollback to 3: too low"));
}

#[test]
fn large_files_lie_in_parts_and_change_at_once() {
    let world = World::new("rules-large");
    let server = world.server();
    world.wait_folders();
    // Noise in comments, so that no compression brings it below what a znode may hold.
    let large = |expression: &str, seed: u64| {
        let mut state = seed;
        let mut text = rule("large", expression);
        while text.len() < 3_000_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            writeln!(text, "# {state:016x}{:016x}", state.rotate_left(17) ^ 0x5555_1234_9876_abcd).unwrap();
        }
        text
    };
    for (expression, seed) in [("sum(up)", 1), ("max(up)", 2)] {
        let text = large(expression, seed);
        world.write("rules/large.yml", &text);
        world.write("rules/small.yml", &rule("small", expression));
        world.good("push", &[]);
        live_at_once(&server, &[&format!("large={expression}"), &format!("small={expression}")]);
        let znodes = world.znodes();
        let first = String::from_utf8(znodes["/watchkeeper/rules/large.yml"].clone()).unwrap();
        assert!(first.starts_with("# watchkeeper-parts: "), "{first}");
        let parts = znodes.keys().filter(|path| path.starts_with("/watchkeeper/rules/large.yml/")).count();
        assert_eq!(Some(parts), first.split(' ').nth(2).and_then(|count| count.parse().ok()), "old parts are left: {first}");
        world.good("pull", &["there"]);
        assert_eq!(world.file("there/large.yml"), Some(text));
    }
    world.good("rollback", &["--to", "1"]);
    live_at_once(&server, &["large=sum(up)", "small=sum(up)"]);
    std::fs::remove_file(world.scratch.join("rules/large.yml")).unwrap();
    world.good("pull", &["there"]);
    std::fs::remove_file(world.scratch.join("there/large.yml")).unwrap();
    world.good("push", &["there"]);
    assert!(!world.znodes().keys().any(|path| path.contains("large.yml")));
    live_at_once(&server, &["small=sum(up)"]);
}

#[test]
fn two_hundred_files_are_one_push() {
    let world = World::new("rules-many");
    let server = world.server();
    world.wait_folders();
    for number in 0..200 {
        world.write(&format!("rules/{number:03}.yml"), &rule(&format!("r{number:03}"), "sum(up)"));
    }
    let began = Instant::now();
    world.good("push", &[]);
    let pushed = began.elapsed();
    wait_until("all of them to be live", BOUND, || live(&server).len() == 200);
    println!("200 files: pushed after {pushed:?}, live after {:?}", began.elapsed());
    assert!(began.elapsed() - pushed < Duration::from_secs(1), "live only {:?} after the push", began.elapsed() - pushed);
}

#[test]
fn the_newest_hundred_pushes_are_kept_and_can_be_gone_back_to() {
    let world = World::new("rules-history");
    for number in 1..=102 {
        world.write("rules/a.yml", &rule("a", &format!("sum(up) + {number}")));
        world.good("push", &["-m", &format!("step {number}")]);
    }
    let kept: Vec<String> = world.znodes().into_keys().filter(|path| path.contains("/history/push-")).collect();
    assert_eq!((kept.len(), kept[0].as_str()), (100, "/watchkeeper/history/push-0000000003"));
    assert!(world.refused("rollback", &["--to", "2"]).contains("push 2 is not in the history"));
    world.good("rollback", &["--to", "3"]);
    assert_eq!(world.znodes()["/watchkeeper/rules/a.yml"], rule("a", "sum(up) + 3").into_bytes());
}

#[test]
fn reading_makes_nothing_and_no_ensemble_is_told() {
    let world = World::new("rules-nothing");
    let address = format!("{}/no/chroot", world.zookeeper.address());
    let mut command = Command::new(BINARY);
    let (code, told) = run(command.args(["rules", "list", "--zookeeper", &address]));
    assert_eq!((code, told.lines().count()), (0, 1), "{told}");
    assert_eq!(world.runtime.block_on(world.client.children("/")).unwrap().unwrap(), ["zookeeper"]);
    let (code, told) = run(Command::new(BINARY).args(["rules", "list", "--zookeeper", "127.0.0.1:1"]));
    assert!(code == 1 && told.contains("cannot connect to ZooKeeper at 127.0.0.1:1"), "{told}");
}

#[test]
fn a_push_that_lost_the_race_changes_nothing() {
    let world = World::new("rules-race");
    for name in ["a", "b"] {
        world.write(&format!("rules/{name}.yml"), &rule(name, "sum(up)"));
    }
    world.good("push", &[]);
    let counting =
        || -> BTreeMap<String, Vec<u8>> { world.znodes().into_iter().filter(|(path, _)| !path.contains("/blobs/")).collect() };
    let note = |why: &str| Note { who: "zhou".to_owned(), now_ms: 0, at: "then".to_owned(), why: why.to_owned(), restores: None };
    let read = || world.runtime.block_on(snapshot::read(&world.client, "/watchkeeper")).unwrap();
    let perform = |there: &Snapshot, wanted: &Files, why: &str| {
        world.runtime.block_on(push::perform(&world.client, "/watchkeeper", there, wanted, &note(why)))
    };
    // Larger than a transaction, so that parts are written before it.
    let hard: Vec<u8> = (0..400_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let wanted: Files = [("b.yml".to_owned(), b"groups: []".to_vec()), ("large.yml".to_owned(), hard)].into();

    // Somebody edits a file that the push would leave as it is, between its reading and its writing.
    let wanted = Files::from_iter(wanted.into_iter().chain([("a.yml".to_owned(), rule("a", "sum(up)").into_bytes())]));
    let there = read();
    world.edit("a.yml", &rule("a", "max(up)"));
    let before = counting();
    let lost = perform(&there, &wanted, "late").unwrap_err().to_string();
    assert!(lost.contains("/watchkeeper/rules/a.yml was changed meanwhile by another client"), "{lost}");
    assert!(lost.contains("nothing was written: pull first"), "{lost}");
    assert_eq!(counting(), before);

    // Two pushes at once: the second is told of the first, although they touch different files.
    let there = read();
    let first: Files = there.texts().into_iter().chain([("c.yml".to_owned(), b"groups: []".to_vec())]).collect();
    assert_eq!(perform(&there, &first, "I was first").unwrap().unwrap().number, 3);
    let before = counting();
    let lost = perform(&there, &wanted, "late").unwrap_err().to_string();
    assert!(lost.contains("push 3 by zhou at then (I was first)"), "{lost}");
    assert_eq!(counting(), before);
    assert_eq!(perform(&read(), &wanted, "now").unwrap().unwrap().number, 4);
}

#[test]
fn with_credentials_all_is_ours_alone() {
    let world = World::new("rules-auth");
    world.write("rules/a.yml", &rule("a", "sum(up)"));
    world.write("auth", "li:secret\n");
    world.write("broken", "li\n");
    world.good("push", &["--zookeeper-auth", "auth"]);
    assert!(world.good("list", &["--zookeeper-auth", "auth"]).contains("push 1 li@"));
    for what in ["list", "push", "pull", "history", "diff"] {
        let (code, told) = world.rules(what, &[]);
        assert!(code == 1 && told.contains("no permission"), "{what}: {code} {told}");
    }
    assert_eq!(world.file("rules/a.yml"), Some(rule("a", "sum(up)")));
    let (code, told) = world.rules("list", &["--zookeeper-auth", "broken"]);
    assert!(code == 1 && told.contains("broken: must hold user:password"), "{told}");
}
