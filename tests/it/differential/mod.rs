//! Random typed expressions over one data set, asked of this server and of a real Prometheus: every difference is made as small as
//! it can be and printed with its seed.
//!
//! `PROMETHEUS_BIN` names the Prometheus, 3.5 or newer. `WATCHKEEPER_EXPRESSIONS` says how many, `WATCHKEEPER_SEED` where to begin.

mod compare;
pub(crate) mod data;
mod generate;
mod grafana;
mod shrink;

use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, peer, wait_until};
use compare::{Difference, Outcome};
use generate::{Generator, Kind, Node};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Expressions of an ordinary run.
const EXPRESSIONS: u64 = 400;
/// Versions of Prometheus whose differences are known; where the specification is newer the list of exceptions says so.
const COMPARED: &str = "3.5.";
/// Differences after which it is enough.
const DIFFERENCES_MAX: usize = 12;

/// When a query is asked, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(i64),
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

impl When {
    fn random(random: &mut fastrand::Rng) -> Self {
        let last_ms = data::STEPS * data::STEP_MS;
        let grid = |random: &mut fastrand::Rng| data::START_MS + random.i64(0..data::STEPS + 20) * data::STEP_MS;
        match random.u8(0..5) {
            0 => Self::At(grid(random)),
            1 | 2 => Self::At(data::START_MS + random.i64(0..last_ms + 400_000)),
            _ => {
                let start_ms = grid(random) + if random.bool() { 0 } else { random.i64(0..data::STEP_MS) };
                let step_ms = [15_000, 30_000, 60_000, 7_000, 12_345][random.usize(0..5)];
                Self::Range { start_ms, end_ms: start_ms + step_ms * random.i64(1..25), step_ms }
            }
        }
    }
}

/// Both servers, with the same samples in them.
struct Pair {
    ours: Server,
    theirs: String,
    _prometheus: Process,
}

impl Pair {
    fn start(binary: &Path, scratch: &Scratch) -> Self {
        // It scrapes itself, which would be seen among names and labels.
        let config = scratch.write("watchkeeper.yml", "global: {scrape_interval: 1d}\nstorage: {retention: {time: 0}}\n");
        let ours = Server::start(scratch, Some(&config));
        let theirs = format!("127.0.0.1:{}", free_port());
        let empty = scratch.write("prometheus.yml", "global: {}\n");
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={}", empty.display()));
        command.arg(format!("--storage.tsdb.path={}", scratch.join("prometheus").display()));
        command.arg(format!("--web.listen-address={theirs}"));
        command.args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"]);
        command.arg("--enable-feature=promql-experimental-functions,promql-duration-expr,native-histograms");
        let prometheus = Process::start(&mut command, "prometheus", scratch.join("prometheus.log"));
        wait_until("Prometheus to be ready", Duration::from_secs(30), || {
            http::get(&theirs, "/-/ready").is_ok_and(|answer| answer.status == 200)
        });
        let requests = data::remote_write();
        let headers = [
            ("Content-Type", "application/x-protobuf"),
            ("Content-Encoding", "snappy"),
            ("X-Prometheus-Remote-Write-Version", "0.1.0"),
        ];
        for address in [ours.address.as_str(), theirs.as_str()] {
            for body in &requests {
                let answer = http::request(address, "POST", "/api/v1/write", &headers, body).unwrap();
                assert!(answer.status < 300, "{address}: {} {}", answer.status, answer.body);
            }
        }
        Self { ours, theirs, _prometheus: prometheus }
    }

    fn ask(address: &str, query: &str, when: When) -> Outcome {
        let query = http::encode(query);
        let seconds = |at_ms: i64| format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
        let (path, form) = match when {
            When::At(at_ms) => ("/api/v1/query", format!("query={query}&time={}", seconds(at_ms))),
            When::Range { start_ms, end_ms, step_ms } => (
                "/api/v1/query_range",
                format!("query={query}&start={}&end={}&step={}", seconds(start_ms), seconds(end_ms), seconds(step_ms)),
            ),
        };
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::request(address, "POST", path, &headers, form.as_bytes()).unwrap();
        Outcome { status: answer.status, body: answer.json() }
    }

    /// Asks both at once.
    fn both(&self, query: &str, when: When) -> (Outcome, Outcome) {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| Self::ask(&self.theirs, query, when));
            let ours = Self::ask(&self.ours.address, query, when);
            (ours, theirs.join().unwrap())
        })
    }

    fn difference(&self, node: &Node, when: When) -> Option<Difference> {
        if matches!(when, When::Range { .. }) && !matches!(node.kind, Kind::Scalar | Kind::Vector) {
            return None;
        }
        let query = node.text();
        let (ours, theirs) = self.both(&query, when);
        compare::difference(node, &query, &ours, &theirs)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_expressions_give_what_prometheus_gives() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("differential");
    let pair = Pair::start(Path::new(&binary), &scratch);
    let version = http::get(&pair.theirs, "/api/v1/status/buildinfo").unwrap().json()["data"]["version"].to_string();
    if !version.contains(COMPARED) && std::env::var_os("WATCHKEEPER_SEED").is_none() {
        println!(
            "NOT COMPARED with Prometheus {version}: the list of exceptions is for {COMPARED}; set WATCHKEEPER_SEED to compare"
        );
        return;
    }
    let first = number("WATCHKEEPER_SEED", 1);
    let count = number("WATCHKEEPER_EXPRESSIONS", EXPRESSIONS);
    let (mut report, mut differences, mut filled, mut failed) = (String::new(), 0, 0_u64, 0_u64);
    for seed in first..first + count {
        let mut random = fastrand::Rng::with_seed(seed);
        let node = Generator::new(&mut random).expression();
        let when = When::random(&mut random);
        let query = node.text();
        let (ours, theirs) = pair.both(&query, when);
        filled += u64::from(theirs.is_filled());
        failed += u64::from(theirs.status != 200);
        if compare::difference(&node, &query, &ours, &theirs).is_none() {
            continue;
        }
        let (small, when, difference) = shrink::smallest(&node, when, |node, when| pair.difference(node, when));
        if difference.reason().is_some() || difference.is_gone() && node.has_histograms() {
            continue;
        }
        let text = small.text();
        writeln!(report, "seed {seed}: {text}\n  {when:?}\n  {difference}").unwrap();
        differences += 1;
        if differences == DIFFERENCES_MAX {
            break;
        }
    }
    println!("{count} expressions from seed {first} on: {filled} with samples, {failed} refused, {differences} different");
    assert!(
        report.is_empty(),
        "different from Prometheus; WATCHKEEPER_SEED=n WATCHKEEPER_EXPRESSIONS=1 for one of them\n{report}"
    );
    assert!(count < 100 || (filled * 5 > count * 2 && failed * 4 < count), "the expressions say too little");
}
