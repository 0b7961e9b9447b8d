//! Reading from other stores: `remote_read` of a Prometheus and of another Watchkeeper, and of servers that do not behave.

use crate::support::remote_write::{self, Series};
use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, peer, wait_until};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

/// Where samples of the tests begin: a day that lies long back, for which a local store that is new has nothing.
const START_MS: i64 = 1_700_000_000_000;

/// Old samples are taken.
const OPEN: &str = "storage: {retention: {time: 0}}\n";

fn start(scratch: &Scratch, name: &str, config: &str) -> Server {
    let file = scratch.write(&format!("{name}.yml"), config);
    let address = format!("127.0.0.1:{}", free_port());
    Server::start_at(&address, &scratch.join(name), Some(&file), &scratch.join(&format!("{name}.log")))
}

fn push(server: &Server, labels: &[(&'static str, &'static str)], samples: &[(i64, f64)]) {
    let samples = samples.iter().map(|(place, value)| (START_MS + place * 1000, *value)).collect();
    let answer = remote_write::send(&server.address, &[Series { labels: labels.to_vec(), samples }]).unwrap();
    assert!(answer.status < 300, "{}", answer.body);
}

/// An instant query so many seconds behind the start.
fn at(server: &Server, seconds: i64, query: &str) -> Value {
    let path = format!("/api/v1/query?query={}&time={}", http::encode(query), START_MS / 1000 + seconds);
    server.get(&path).json()
}

/// What a query finds, as `labels: value` in the order of the labels.
fn found(answer: &Value) -> Vec<String> {
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut found: Vec<String> = result
        .iter()
        .map(|one| {
            let labels =
                one["metric"].as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap()));
            let labels = labels.collect::<Vec<_>>().join(",");
            let value = one.get("values").or_else(|| one.get("value")).unwrap_or(&one["histogram"]);
            format!("{labels}: {}", value.to_string().replace('"', ""))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_prometheus_is_read_as_it_answers_itself() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("read-prometheus");
    let port = free_port();
    let far = format!("127.0.0.1:{port}");
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{site: x}}}}
scrape_configs: [{{job_name: prometheus, static_configs: [{{targets: ['{far}']}}]}}]
"
    );
    let mut command = Command::new(binary);
    command.arg(format!("--config.file={}", scratch.write("prometheus.yml", &config).display()));
    command.arg(format!("--storage.tsdb.path={}", scratch.join("prometheus").display()));
    command.arg(format!("--web.listen-address={far}"));
    command.arg("--enable-feature=native-histograms");
    let mut process = Process::start(&mut command, "prometheus", scratch.join("prometheus.log"));
    let server = start(
        &scratch,
        "near",
        &format!(
            "global: {{external_labels: {{site: x}}}}
remote_read: [{{url: 'http://{far}/api/v1/read', read_recent: true}}]
"
        ),
    );
    wait_until("Prometheus to have scraped itself", BOUND, || {
        server.value("count_over_time(up{job=\"prometheus\"}[1m])").is_some_and(|count| count >= 10.0)
    });
    let now = server.value("timestamp(up{job=\"prometheus\"})").unwrap();
    for query in [
        "up{job=\"prometheus\"}",
        "rate(prometheus_http_requests_total[3s])",
        "sum by (handler) (prometheus_http_requests_total{code=~\"2..\"})",
        "prometheus_http_request_duration_seconds{handler=\"/metrics\"}",
        "round(histogram_quantile(0.9, sum(rate(prometheus_http_request_duration_seconds[3s]))), 0.000001)",
        "{__name__=~\"go_.+\"}[3s]",
        "count({site=\"y\"})",
    ] {
        for path in [
            format!("/api/v1/query?query={}&time={now}", http::encode(query)),
            format!("/api/v1/query_range?query={}&start={}&end={now}&step=1", http::encode(query), now - 4.0),
        ] {
            if query.ends_with(']') && path.contains("query_range") {
                continue;
            }
            let (theirs, ours) = (http::get(&far, &path).unwrap().json(), server.get(&path).json());
            assert_eq!(theirs["status"], "success", "{query}: {theirs}");
            assert_eq!(found(&ours), found(&theirs), "{query}");
            assert_eq!(ours["warnings"], Value::Null, "{query}: {ours}");
        }
    }
    // Series are those of both; names and values of labels are the local ones alone.
    let series = server.get("/api/v1/series?match[]=up").json();
    assert!(series["data"].as_array().unwrap().iter().any(|one| one["job"] == "prometheus"), "{series}");
    let jobs = server.get("/api/v1/label/job/values").json();
    assert!(!jobs["data"].as_array().unwrap().iter().any(|job| job == "prometheus"), "{jobs}");
    assert!(!server.get("/federate?match[]=up").body.contains("prometheus"));
    // When it is gone the query has what is left, and says why.
    process.kill();
    let answer = at(&server, 0, "vector(1) + on() group_left() up or vector(2)");
    assert_eq!(answer["data"]["result"][0]["value"][1], "2", "{answer}");
    let words = format!(
        "remote_read: error sending request: Post \"http://{far}/api/v1/read\": dial tcp {far}: connect: connection refused"
    );
    assert_eq!(answer["warnings"], serde_json::json!([words]));
}

#[test]
fn what_two_servers_have_is_merged() {
    let scratch = Scratch::new("read-own");
    let near_address = format!("127.0.0.1:{}", free_port());
    // They read from each other, which must not go round and round.
    let config = |other: &str, more: &str| {
        format!(
            "global: {{external_labels: {{site: x}}}}
storage: {{retention: {{time: 0}}}}
remote_read: [{{url: 'http://{other}/api/v1/read'{more}}}]
"
        )
    };
    let far = start(&scratch, "far", &config(&near_address, ""));
    let rules = "groups: [{name: g, interval: 500ms, rules: [{record: seen, expr: 'shared @ 1700000020'}]}]\n";
    let rules = scratch.write("rules.yml", rules);
    let file = scratch.write("near.yml", &format!("{}rule_files: ['{}']\n", config(&far.address, ""), rules.display()));
    let near = Server::start_at(&near_address, &scratch.join("near"), Some(&file), &scratch.join("near.log"));
    push(&far, &[("__name__", "shared"), ("from", "both")], &[(0, 1.0), (10, 2.0), (20, 3.0)]);
    push(&far, &[("__name__", "shared"), ("from", "far")], &[(15, 7.0)]);
    push(&near, &[("__name__", "shared"), ("from", "both")], &[(10, 20.0), (30, 40.0)]);
    push(&near, &[("__name__", "shared"), ("from", "near")], &[(16, 8.0)]);
    let answer = at(&near, 40, "shared[1m]");
    let of = |seconds: i64| (START_MS / 1000 + seconds).to_string();
    let expected = [
        format!("__name__=shared,from=both: [[{},1],[{},20],[{},3],[{},40]]", of(0), of(10), of(20), of(30)),
        format!("__name__=shared,from=far: [[{},7]]", of(15)),
        format!("__name__=shared,from=near: [[{},8]]", of(16)),
    ];
    assert_eq!((found(&answer), &answer["warnings"]), (expected.to_vec(), &Value::Null));
    assert_eq!(found(&at(&near, 25, "sum(shared)")), [format!(": [{},18]", of(25))]);
    // Labels come back without those that were added; with them where the query names them.
    assert_eq!(found(&at(&near, 16, "shared{from=\"far\"}")), [format!("__name__=shared,from=far: [{},7]", of(16))]);
    assert_eq!(
        found(&at(&near, 16, "shared{from=\"far\",site=\"x\"}")),
        [format!("__name__=shared,from=far,site=x: [{},7]", of(16))]
    );
    wait_until("a rule to have seen both", BOUND, || near.query("seen").len() == 3);
    // A matcher that is required must be there, to the letter.
    let reload = |text: &str| {
        scratch.write("near.yml", text);
        let answer = near.post("/-/reload", "text/plain", b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    reload(&config(&far.address, ", required_matchers: {from: far}"));
    assert_eq!(found(&at(&near, 25, "count(shared)")), [format!(": [{},2]", of(25))]);
    assert_eq!(found(&at(&near, 25, "count(shared{from=~\"far\"})")), Vec::<String>::new());
    assert_eq!(found(&at(&near, 25, "count(shared{from=\"far\"})")), [format!(": [{},1]", of(25))]);
    // Behind the first hours of the local store it is the only one that is asked, unless the newest is read elsewhere, too.
    let day = 86_400;
    push(&near, &[("__name__", "later")], &[(day, 1.0)]);
    push(&far, &[("__name__", "later"), ("from", "far")], &[(day, 1.0)]);
    reload(&config(&far.address, ""));
    assert_eq!(found(&at(&near, day, "count(later)")), [format!(": [{},1]", of(day))]);
    reload(&config(&far.address, ", read_recent: true"));
    assert_eq!(found(&at(&near, day, "count(later)")), [format!(": [{},2]", of(day))]);
    let metrics = near.get("/metrics").body;
    let counted = format!(
        "watchkeeper_remote_read_client_queries_total{{code=\"200\",remote_name=\"http://{0}/api/v1/read\",url=\"http://{0}/api/v1/read\"}}",
        far.address
    );
    assert!(metrics.lines().any(|line| line.starts_with(&counted)), "{metrics}");
}

/// A server that answers every request with these bytes, and where there are none, never.
fn answering(answer: &'static [u8], more: usize) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut asked = [0; 4096];
                let _asked = stream.read(&mut asked);
                if answer.is_empty() {
                    let _until_the_other_hangs_up = stream.read_to_end(&mut Vec::new());
                    return;
                }
                let _sent = stream.write_all(answer);
                let rest = [0_u8; 65536];
                for _ in 0..more {
                    if stream.write_all(&rest).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn servers_that_do_not_behave_cost_a_warning() {
    let scratch = Scratch::new("read-hostile");
    let near = start(&scratch, "near", OPEN);
    push(&near, &[("__name__", "here")], &[(0, 1.0)]);
    let reload = |address: &str, more: &str| {
        scratch.write("near.yml", &format!("{OPEN}remote_read: [{{url: 'http://{address}/read'{more}}}]\n"));
        let answer = near.post("/-/reload", "text/plain", b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let warning = |address: &str, more: &str| {
        reload(address, more);
        let answer = at(&near, 1, "here");
        assert_eq!(answer["data"]["result"][0]["value"][1], "1", "{answer}");
        answer["warnings"][0].as_str().unwrap_or_default().replace(address, "ADDRESS")
    };
    let refusing = answering(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\nno room \n", 0);
    assert_eq!(
        warning(&refusing, ""),
        "remote_read: remote server http://ADDRESS/read returned http status 500 Internal Server Error: no room"
    );
    let page = answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", 0);
    assert_eq!(warning(&page, ""), "remote_read: unsupported content type: text/html");
    let endless = answering(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse\r\n\r\n",
        1 << 14,
    );
    let words = warning(&endless, "");
    assert!(words.ends_with("body size limit exceeded"), "{words}");
    let bomb: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nContent-Length: 6\r\n\r\n\xff\xff\xff\xff\x0f\x00";
    let words = warning(&answering(bomb, 0), "");
    assert!(words.ends_with("body size limit exceeded"), "{words}");
    let garbage: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 5\r\n\r\nhello";
    let words = warning(&answering(garbage, 0), "");
    assert!(words.starts_with("remote_read: error reading the answer of http://ADDRESS/read: "), "{words}");
    let frames: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse\r\nContent-Length: 7\r\n\r\n\x02\0\0\0\0\n\0";
    let words = warning(&answering(frames, 0), "");
    assert!(words.ends_with("checksum mismatch"), "{words}");
    // One that says nothing: its own time, and the query's.
    let silent = answering(b"", 0);
    let words = warning(&silent, ", remote_timeout: 300ms");
    assert_eq!(words, "remote_read: error sending request: Post \"http://ADDRESS/read\": context deadline exceeded");
    reload(&silent, "");
    let answer = near.get(&format!("/api/v1/query?query=here&time={}&timeout=500ms", START_MS / 1000));
    assert_eq!(answer.status, 503, "{}", answer.body);
    wait_until("nothing to be asked any more", BOUND, || {
        let metrics = near.get("/metrics").body;
        let line =
            metrics.lines().find(|line| line.starts_with("watchkeeper_remote_read_client_queries{") && line.contains(&silent));
        line.is_some_and(|line| line.ends_with(" 0"))
    });
    let status = std::fs::read_to_string(Path::new("/proc").join(near.process.child.id().to_string()).join("status")).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    assert!(peak.is_some_and(|kilobytes| kilobytes < 900 << 10), "{status}");
}
