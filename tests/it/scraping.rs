//! Scraping what real clients serve: Go's protobuf with native histograms, Python's OpenMetrics; up to the query.

use crate::support::exporters::{Application, NodeExporter};
use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, wait_until};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};
use watchkeeper::model::protobuf::{put_bytes, put_float, put_number, put_signed, put_varint};

const BOUND: Duration = Duration::from_secs(30);
/// How many targets are up, without the server itself.
const UP: &str = "sum(up{job!=\"watchkeeper\"})";

/// Starts a Prometheus: without targets a Go program that serves histograms about the requests that it answers.
fn prometheus(scratch: &Scratch, name: &str, config: &str) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new(std::env::var_os("PROMETHEUS_BIN").unwrap_or_else(|| "prometheus".into()));
    command.arg("--enable-feature=native-histograms");
    command.arg(format!("--config.file={}", scratch.write(&format!("{name}.yml"), config).display()));
    command.arg(format!("--storage.tsdb.path={}", scratch.join(name).display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let process = Process::start(&mut command, name, scratch.join(&format!("{name}.log")));
    let address = format!("127.0.0.1:{port}");
    wait_until("Prometheus to be ready", BOUND, || http::get(&address, "/-/ready").is_ok_and(|answer| answer.status == 200));
    (process, port)
}

#[test]
fn go_clients_are_scraped_as_protobuf() {
    let scratch = Scratch::new("protobuf");
    let (_prometheus, prometheus) = prometheus(&scratch, "prometheus", "{}\n");
    let node = NodeExporter::start(&scratch);
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: native
  scrape_native_histograms: true
  always_scrape_classic_histograms: true
  static_configs: [{{targets: ['127.0.0.1:{prometheus}']}}]
- job_name: converted
  scrape_protocols: [PrometheusProto]
  convert_classic_histograms_to_nhcb: true
  static_configs: [{{targets: ['127.0.0.1:{prometheus}']}}]
- job_name: node
  scrape_protocols: [PrometheusProto]
  static_configs: [{{targets: ['127.0.0.1:{node}']}}]
- job_name: text
  scrape_protocols: [PrometheusText0.0.4]
  static_configs: [{{targets: ['127.0.0.1:{node}']}}]
",
        node = node.port
    );
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &config)));
    wait_until("all targets to be up", BOUND, || server.value(UP) == Some(4.0));
    for _ in 0..10 {
        assert_eq!(http::get(&format!("127.0.0.1:{prometheus}"), "/api/v1/query?query=1").unwrap().status, 200);
    }
    let duration = |job: &str| format!("prometheus_http_request_duration_seconds{{job=\"{job}\",handler=\"/api/v1/query\"}}");
    let quantile = |job: &str| server.value(&format!("histogram_quantile(0.9, {})", duration(job)));
    let counted = |job: &str| server.value(&format!("histogram_count({})", duration(job)));
    wait_until("the converted histogram to count", BOUND, || counted("converted").is_some_and(|count| count >= 10.0));
    // The converted one interpolates within the same buckets as the classic one.
    wait_until("classic and converted to agree", BOUND, || {
        let classic =
            "histogram_quantile(0.9, prometheus_http_request_duration_seconds_bucket{job=\"native\",handler=\"/api/v1/query\"})";
        let (classic, converted) = (server.value(classic), quantile("converted"));
        classic.is_some_and(|classic| converted.is_some_and(|converted| (classic - converted).abs() < 1e-9))
    });
    assert!(server.query("prometheus_http_request_duration_seconds_bucket{job=\"converted\"}").is_empty());
    if counted("native").is_some() {
        wait_until("the native histogram to count", BOUND, || counted("native").is_some_and(|count| count >= 10.0));
        assert!(quantile("native").is_some_and(|seconds| seconds > 0.0 && seconds < 1.0), "{:?}", quantile("native"));
        // Finer than the classic buckets are.
        assert!(server.query(&duration("native"))[0]["histogram"][1]["buckets"].as_array().unwrap().len() > 1);
    } else {
        assert!(std::env::var_os("PROMETHEUS_BIN").is_none(), "a Prometheus of 3.5 or newer serves native histograms");
        println!("NOT SEEN: Go's native histograms; PROMETHEUS_BIN names no Prometheus of 3.5 or newer");
    }
    // The same exporter, in both formats.
    let series =
        |job: &str| server.value(&format!("count({{job=\"{job}\",__name__=~\"node_(cpu|memory|uname|filesystem).*\"}})"));
    wait_until("both formats to bring the same series", BOUND, || {
        series("node").is_some_and(|count| count > 50.0) && series("node") == series("text")
    });
    assert_eq!(server.value("count(node_uname_info{job=\"node\"} == ignoring (job) node_uname_info{job=\"text\"})"), Some(1.0));
    let metadata = server.get("/api/v1/targets/metadata?metric=node_load1").json();
    let told: Vec<_> =
        metadata["data"].as_array().unwrap().iter().map(|one| (one["type"].clone(), one["help"].clone())).collect();
    assert!(told.len() == 2 && told[0] == told[1], "{metadata}");
}

/// Serves one body for ever.
const FIXED: &str = r"
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
body = open(sys.argv[2], 'rb').read()
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        # Who does not ask for protobuf gets none.
        wanted = 'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6'
        self.send_response(200 if self.headers['Accept'].startswith(wanted) else 406)
        self.send_header('Content-Type', 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

fn message(fields: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    fields(&mut out);
    out
}

/// A histogram of schema 1 whose observations are one at or below the square root of two and two at or below two.
fn native_body() -> Vec<u8> {
    let histogram = message(|out| {
        put_number(out, 1, 3);
        put_float(out, 2, 5.0);
        put_signed(out, 5, 1);
        put_float(out, 6, 1e-9);
        put_bytes(
            out,
            12,
            &message(|span| {
                put_signed(span, 1, 1);
                put_number(span, 2, 2);
            }),
        );
        put_bytes(out, 13, &[2, 2]);
        put_bytes(out, 15, &message(|time| put_number(time, 1, 1_700_000_000)));
    });
    let family = message(|out| {
        put_bytes(out, 1, "app.latency_seconds".as_bytes());
        put_number(out, 3, 4);
        put_bytes(out, 4, &message(|metric| put_bytes(metric, 7, &histogram)));
    });
    message(|out| {
        put_varint(out, family.len() as u64);
        out.extend_from_slice(&family);
    })
}

#[test]
fn native_histograms_go_from_scrape_to_query_and_outlive_a_kill() {
    let scratch = Scratch::new("native");
    let port = free_port();
    let body = scratch.join("body");
    std::fs::write(&body, native_body()).unwrap();
    let mut command = Command::new("python3");
    command.arg("-c").arg(FIXED).arg(port.to_string()).arg(&body);
    let mut exporter = Process::start(&mut command, "exporter (python3)", scratch.join("exporter.log"));
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, scrape_native_histograms: true}}
scrape_configs: [{{job_name: app, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]
"
    );
    let mut server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &config)));
    let of = |server: &Server, function: &str| server.value(&format!("{function}({{\"app.latency_seconds\"}})"));
    wait_until("the histogram", BOUND, || of(&server, "histogram_count") == Some(3.0));
    assert_eq!(of(&server, "histogram_sum"), Some(5.0));
    // The spans begin with the bucket (1, sqrt(2)]; two of three observations lie in the next.
    let upper = server.value("histogram_fraction(1.4142135623730951, 2, {\"app.latency_seconds\"})").unwrap();
    assert!((upper - 2.0 / 3.0).abs() < 1e-9, "{upper}");
    assert_eq!(server.value("start_timestamp({\"app.latency_seconds\"})").unwrap_or(1_700_000_000.0), 1_700_000_000.0);
    server.kill_and_restart();
    let stored = |server: &Server| server.value("histogram_count(sum_over_time({\"app.latency_seconds\"}[1h]))").unwrap_or(0.0);
    let before = stored(&server);
    assert!(before >= 3.0, "{before}");
    wait_until("scrapes after the restart", BOUND, || stored(&server) >= before + 3.0);
    exporter.kill();
    wait_until("the histogram to end", BOUND, || of(&server, "histogram_count").is_none() && server.value(UP) == Some(0.0));
    assert!(server.value("histogram_count(last_over_time({\"app.latency_seconds\"}[1h]))").is_some());
}

#[test]
fn python_clients_are_scraped_as_open_metrics() {
    let scratch = Scratch::new("open-metrics");
    let application = Application::start(&scratch);
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- {{job_name: plain, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}
- {{job_name: converted, convert_classic_histograms_to_nhcb: true, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}
",
        port = application.port
    );
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &config)));
    wait_until("both jobs", BOUND, || server.value(UP) == Some(2.0));
    // OpenMetrics was negotiated: only there the counter has a line of its creation.
    assert_eq!(server.value("app_requests_total{job=\"plain\",code=\"200\"}"), Some(3.0));
    assert!(server.value("app_requests_created{job=\"plain\"}").is_some_and(|seconds| seconds > 1e9));
    assert_eq!(server.value("histogram_count(app_seconds{job=\"converted\"})"), Some(1.0));
    assert_eq!(server.value("histogram_sum(app_seconds{job=\"converted\"})"), Some(0.3));
    let classic = server.value("histogram_quantile(0.5, app_seconds_bucket{job=\"plain\"})");
    assert!(classic.is_some());
    assert_eq!(server.value("histogram_quantile(0.5, app_seconds{job=\"converted\"})"), classic);
    assert!(server.query("app_seconds_bucket{job=\"converted\"}").is_empty());
    let exemplars = server.get("/api/v1/query_exemplars?query=app_requests_total&start=0&end=9999999999").json();
    let exemplar = &exemplars["data"][0]["exemplars"][0];
    assert_eq!((exemplar["labels"]["trace_id"].as_str(), exemplar["value"].as_str()), (Some("abc"), Some("3")), "{exemplars}");
    application.set_queue_length(7.0);
    for job in ["plain", "converted"] {
        wait_until("the gauge to follow", BOUND, || server.value(&format!("app_queue_length{{job=\"{job}\"}}")) == Some(7.0));
    }
}

#[test]
fn jobs_and_targets_come_from_files_of_their_own() {
    let scratch = Scratch::new("target-files");
    let application = Application::start(&scratch);
    let job = "scrape_configs: [{job_name: filed, scrape_interval: 500ms, scrape_timeout: 500ms, file_sd_configs: [{files: ['../targets/*.json']}]}]\n";
    scratch.write("jobs/a.yml", job);
    scratch.write("targets/none.json", "[]");
    let config = scratch.write("watchkeeper.yml", "scrape_config_files: ['jobs/*.yml']\n");
    let server = Server::start(&scratch, Some(&config));
    let shown = |job: &str| {
        let targets = server.get(&format!("/api/v1/targets?scrapePool={job}")).json();
        targets["data"]["activeTargets"].as_array().map_or(0, Vec::len)
    };
    let file = scratch.join("targets/app.json");
    let mut took = Vec::new();
    for _ in 0..3 {
        for count in [1, 0] {
            let targets =
                if count == 1 { format!("[{{\"targets\": [\"127.0.0.1:{}\"]}}]", application.port) } else { "[]".to_owned() };
            let tmp = file.with_extension("tmp");
            std::fs::write(&tmp, targets).unwrap();
            std::fs::rename(tmp, &file).unwrap();
            let changed = Instant::now();
            wait_until("the change to be seen", BOUND, || shown("filed") == count);
            took.push(changed.elapsed());
        }
    }
    took.sort();
    println!("changes of target files were seen after {took:?}");
    assert!(took[took.len() / 2] < Duration::from_secs(1), "{took:?}");
    scratch.write("jobs/b.yml", &job.replace("filed", "other"));
    scratch.write("targets/app.json", &format!("[{{\"targets\": [\"127.0.0.1:{}\"]}}]", application.port));
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    wait_until("both jobs to be up", BOUND, || server.value("sum(up{job=~\"filed|other\"})") == Some(2.0));
    scratch.write("jobs/b.yml", job);
    let refused = server.post("/-/reload", "text/plain", b"");
    assert!(refused.status == 500 && refused.body.contains("found multiple scrape configs with job name"), "{}", refused.body);
    assert_eq!(shown("other"), 1, "the last good configuration stays");
}

#[test]
fn names_are_escaped_as_the_job_wants_them() {
    let scratch = Scratch::new("escaping");
    let application = Application::start(&scratch);
    let jobs = [
        ("default", ""),
        ("text", "scrape_protocols: [PrometheusText1.0.0], "),
        ("legacy", "metric_name_validation_scheme: legacy, metric_name_escaping_scheme: underscores, "),
        ("underscores", "metric_name_escaping_scheme: underscores, "),
        ("dots", "metric_name_escaping_scheme: dots, "),
        ("values", "metric_name_escaping_scheme: values, "),
    ];
    let targets = format!("static_configs: [{{targets: ['127.0.0.1:{}']}}]", application.port);
    let jobs: String = jobs.iter().map(|(name, keys)| format!("- {{job_name: {name}, {keys}{targets}}}\n")).collect();
    let config = format!("global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n{jobs}");
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &config)));
    wait_until("all jobs to be up", BOUND, || server.value(UP) == Some(6.0));
    for (job, name, label) in [
        ("default", "app.depth", "queue.name"),
        ("text", "app.depth", "queue.name"),
        ("legacy", "app_depth", "queue_name"),
        ("underscores", "app_depth", "queue_name"),
        ("dots", "app_dot_depth", "queue_dot_name"),
        ("values", "U__app_2e_depth", "U__queue_2e_name"),
    ] {
        assert_eq!(server.value(&format!("{{\"{name}\",job=\"{job}\",\"{label}\"=\"a\"}}")), Some(4.0), "{job}");
    }
}

/// The series of a job as an instant query shows them: labels, and whether they are histograms. Without lines of creation: a
/// Prometheus 3.5 that converts histograms leaves out those behind the first histogram of a body.
fn series_of(address: &str, job: &str) -> BTreeSet<(String, bool)> {
    let selector = http::encode(&format!("{{job=\"{job}\",__name__!~\".*_created\"}}"));
    let answer = http::get(address, &format!("/api/v1/query?query={selector}")).unwrap().json();
    let rows = answer["data"]["result"].as_array().unwrap();
    rows.iter().map(|row| (row["metric"].to_string(), row.get("histogram").is_some())).collect()
}

#[test]
fn a_real_prometheus_makes_the_same_series_of_the_same_targets() {
    if std::env::var_os("PROMETHEUS_BIN").is_none_or(|name| name.is_empty()) {
        println!("NOT COMPARED with Prometheus: PROMETHEUS_BIN is not set; it names a Prometheus of 3.5 or newer");
        return;
    }
    let scratch = Scratch::new("same-series");
    let (_target, target) = prometheus(&scratch, "target", "{}\n");
    let application = Application::start(&scratch);
    let ways = [
        ("native", "scrape_protocols: [PrometheusProto]"),
        ("both", "scrape_protocols: [PrometheusProto], always_scrape_classic_histograms: true"),
        ("converted", "scrape_protocols: [PrometheusProto], convert_classic_histograms_to_nhcb: true"),
        (
            "converted_both",
            "scrape_protocols: [PrometheusProto], convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: true",
        ),
        ("converted_text", "scrape_protocols: [PrometheusText0.0.4], convert_classic_histograms_to_nhcb: true"),
        ("converted_open", "scrape_protocols: [OpenMetricsText1.0.0], convert_classic_histograms_to_nhcb: true"),
        ("dots", "scrape_protocols: [OpenMetricsText1.0.0], metric_name_escaping_scheme: dots"),
        ("text", "scrape_protocols: [PrometheusText1.0.0]"),
    ];
    let targets = format!("static_configs: [{{targets: ['127.0.0.1:{target}', '127.0.0.1:{}']}}]", application.port);
    let jobs: String = ways.iter().map(|(name, keys)| format!("- {{job_name: {name}, {keys}, {targets}}}\n")).collect();
    let config = |more: &str| format!("global: {{scrape_interval: 500ms, scrape_timeout: 500ms{more}}}\nscrape_configs:\n{jobs}");
    let (_theirs, theirs) = prometheus(&scratch, "prometheus", &config(""));
    let ours = config(", scrape_native_histograms: true");
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &ours)));
    let theirs = format!("127.0.0.1:{theirs}");
    for (job, _) in ways {
        wait_until(&format!("both to have the same series of {job}"), BOUND, || {
            let (mine, other) = (series_of(&server.address, job), series_of(&theirs, job));
            if mine != other {
                let (here, there): (Vec<_>, Vec<_>) =
                    (mine.difference(&other).take(3).collect(), other.difference(&mine).take(3).collect());
                println!("{job}: here alone {here:?}, there alone {there:?}");
            }
            mine.len() > 100 && mine == other
        });
        // What does not change any more has the same value.
        for histogram in ["app_seconds", "prometheus_tsdb_compaction_chunk_size_bytes"] {
            for function in ["histogram_count", "histogram_sum"] {
                let query = http::encode(&format!("{function}({histogram}{{job=\"{job}\"}})"));
                let value = |address: &str| {
                    let answer = http::get(address, &format!("/api/v1/query?query={query}")).unwrap().json();
                    let rows = answer["data"]["result"].as_array().unwrap();
                    rows.iter().map(|row| row["value"][1].to_string()).collect::<Vec<_>>()
                };
                assert_eq!(value(&server.address), value(&theirs), "{job}: {function}({histogram})");
            }
        }
    }
}

/// Starts a Go program that serves its own metrics and waits for them.
fn go_program(scratch: &Scratch, variable: &str, name: &str, words: &[String], port: u16) -> Process {
    let mut command = Command::new(std::env::var_os(variable).unwrap_or_else(|| name.into()));
    let process = Process::start(command.args(words), name, scratch.join(&format!("{name}.log")));
    let address = format!("127.0.0.1:{port}");
    wait_until("its metrics", BOUND, || http::get(&address, "/metrics").is_ok_and(|answer| answer.status == 200));
    process
}

/// The series of a program that came one way, without the labels that say so.
fn series_by(server: &Server, program: &str, way: &str) -> BTreeSet<String> {
    let found = server.query(&format!("{{program=\"{program}\",way=\"{way}\",__name__!~\"scrape_.*|up\"}}"));
    let of = |one: &serde_json::Value| {
        let mut labels = one["metric"].clone();
        for name in ["way", "job"] {
            if labels[name] == way || labels[name] == format!("{program}_{way}").as_str() {
                labels[name] = "".into();
            }
        }
        labels.to_string()
    };
    found.iter().map(of).collect()
}

#[test]
fn go_programs_are_the_same_in_every_format() {
    let scratch = Scratch::new("go-programs");
    let ports: Vec<u16> = (0..2).map(|_| free_port()).collect();
    let (_prometheus, prometheus) = prometheus(&scratch, "prometheus", "{}\n");
    let node = NodeExporter::start(&scratch);
    let routes = scratch.write("alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n");
    let words = [
        format!("--config.file={}", routes.display()),
        format!("--storage.path={}", scratch.join("alertmanager").display()),
        format!("--web.listen-address=127.0.0.1:{}", ports[0]),
        "--cluster.listen-address=".to_owned(),
    ];
    let _alertmanager = go_program(&scratch, "ALERTMANAGER_BIN", "prometheus-alertmanager", &words, ports[0]);
    let words = [format!("--web.listen-address=127.0.0.1:{}", ports[1])];
    let _pushgateway = go_program(&scratch, "PUSHGATEWAY_BIN", "prometheus-pushgateway", &words, ports[1]);
    let gateway = format!("127.0.0.1:{}", ports[1]);
    let pushed = "# TYPE backup_bytes gauge\nbackup_bytes{disk=\"a b\"} 12.5\n# TYPE backup_seconds histogram
backup_seconds_bucket{le=\"1\"} 2\nbackup_seconds_bucket{le=\"+Inf\"} 3\nbackup_seconds_sum 4.5\nbackup_seconds_count 3\n";
    let answer = http::request(&gateway, "PUT", "/metrics/job/backup/instance/db1", &[], pushed.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let ways = [("text", "PrometheusText0.0.4"), ("open", "OpenMetricsText1.0.0"), ("protobuf", "PrometheusProto")];
    let programs = [("prometheus", prometheus), ("node", node.port), ("alertmanager", ports[0]), ("pushgateway", ports[1])];
    let job = |program: &str, port: u16, way: &str, protocol: &str| {
        let labels = format!("labels: {{program: {program}, way: {way}}}");
        let targets = format!("static_configs: [{{targets: ['127.0.0.1:{port}'], {labels}}}]");
        format!("- {{job_name: {program}_{way}, honor_labels: true, scrape_protocols: [{protocol}], {targets}}}\n")
    };
    let jobs = programs.iter().flat_map(|(program, port)| ways.iter().map(|(way, protocol)| job(program, *port, way, protocol)));
    let config =
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n".to_owned() + &jobs.collect::<String>();
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &config)));
    wait_until("all to be up", BOUND, || server.value("sum(up{program!=\"\"})") == Some(12.0));
    for (program, _) in programs {
        for way in ["open", "protobuf"] {
            wait_until(&format!("{program} to be the same by {way}"), BOUND, || {
                let (text, other) = (series_by(&server, program, "text"), series_by(&server, program, way));
                if text != other {
                    let differ: Vec<_> = text.symmetric_difference(&other).take(4).collect();
                    println!("{program} by {way}: {} and {} series, {differ:?}", text.len(), other.len());
                }
                text.len() > 30 && text == other
            });
        }
    }
    for (way, _) in ways {
        let of = |name: &str, more: &str| server.value(&format!("{name}{{job=\"backup\",instance=\"db1\",way=\"{way}\"{more}}}"));
        assert_eq!(of("backup_bytes", ",disk=\"a b\""), Some(12.5), "{way}");
        assert_eq!(of("backup_seconds_bucket", ",le=\"1.0\""), Some(2.0), "{way}");
        assert_eq!((of("backup_seconds_sum", ""), of("backup_seconds_count", "")), (Some(4.5), Some(3.0)), "{way}");
        assert!(of("push_time_seconds", "").is_some_and(|seconds| seconds > 1e9), "{way}");
    }
    // What does not change has the same value, however it was written.
    for name in ["node_memory_MemTotal_bytes", "go_info", "alertmanager_build_info", "prometheus_build_info"] {
        let of = format!("{name}{{program!=\"\"}}");
        assert_eq!(server.value(&format!("max(max by (program) ({of}) - min by (program) ({of}))")), Some(0.0), "{name}");
    }
}
