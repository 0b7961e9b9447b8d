//! Others that send: Prometheus by remote write in both versions, vmagent, OpenTelemetry's SDK.

use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, peer, wait_until};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

#[test]
fn prometheus_sends_in_both_versions() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("senders");
    let server = Server::start(&scratch, None);
    let port = free_port();
    let target = |via: &str, message: &str| {
        format!(
            "- url: http://{}/api/v1/write
  protobuf_message: {message}
  send_exemplars: true
  send_native_histograms: true
  metadata_config: {{send_interval: 1s}}
  queue_config: {{batch_send_deadline: 200ms}}
  write_relabel_configs: [{{target_label: via, replacement: {via}}}]
",
            server.address
        )
    };
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: prometheus
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
remote_write:
{}{}",
        target("first", "prometheus.WriteRequest"),
        target("second", "io.prometheus.write.v2.Request")
    );
    let mut command = Command::new(binary);
    command.arg(format!("--config.file={}", scratch.write("prometheus.yml", &config).display()));
    command.arg(format!("--storage.tsdb.path={}", scratch.join("prometheus").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.arg("--enable-feature=native-histograms,exemplar-storage,metadata-wal-records,created-timestamp-zero-ingestion");
    let process = Process::start(&mut command, "prometheus", scratch.join("prometheus.log"));
    let count = |what: &str, via: &str| server.value(&format!("count({{{what},via=\"{via}\"}})"));
    for via in ["first", "second"] {
        wait_until("samples to come", BOUND, || count("__name__=\"up\"", via) == Some(1.0));
        let native = format!("histogram_count(prometheus_http_request_duration_seconds{{via=\"{via}\",handler=\"/metrics\"}})");
        wait_until("native histograms to come", BOUND, || server.value(&native).is_some_and(|count| count >= 3.0));
    }
    // All that one brings the other brings as well.
    wait_until("both to have sent the same series", BOUND, || {
        count("__name__!=\"\"", "first").is_some_and(|count| count > 200.0)
            && count("__name__!=\"\"", "first") == count("__name__!=\"\"", "second")
    });
    let help = server.get("/api/v1/metadata?metric=prometheus_http_requests_total").json();
    assert_eq!(help["data"]["prometheus_http_requests_total"][0]["type"], "counter", "{help}");
    // Prometheus itself says whether anything was refused; the version 2 sender also compares what was written with what it sent.
    let address = format!("127.0.0.1:{port}");
    let own = crate::support::http::get(&address, "/metrics").unwrap().body;
    for name in ["prometheus_remote_storage_samples_failed_total", "prometheus_remote_storage_histograms_failed_total"] {
        let lines: Vec<&str> = own.lines().filter(|line| line.starts_with(name)).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with(" 0")), "{lines:?}");
    }
    let log = std::fs::read_to_string(&process.log).unwrap();
    assert!(!log.contains("level=ERROR") && !log.contains("X-Prometheus-Remote-Write"), "{log}");
}

#[test]
fn vmagent_sends() {
    let Some(binary) = peer("VMAGENT_BIN") else { return };
    let scratch = Scratch::new("vmagent");
    let server = Server::start(&scratch, None);
    let port = free_port();
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: vmagent
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"
    );
    let mut command = Command::new(binary);
    command.arg(format!("-promscrape.config={}", scratch.write("vmagent.yml", &config).display()));
    command.arg(format!("-remoteWrite.tmpDataPath={}", scratch.join("vmagent").display()));
    command.arg(format!("-remoteWrite.url=http://{}/api/v1/write", server.address));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    command.arg("-remoteWrite.flushInterval=200ms");
    let _process = Process::start(&mut command, "vmagent", scratch.join("vmagent.log"));
    wait_until("samples to come", BOUND, || server.value("up{job=\"vmagent\"}") == Some(1.0));
    wait_until("a counter to grow", BOUND, || server.value("rate(vm_app_uptime_seconds{job=\"vmagent\"}[5s]) > 0.5").is_some());
}

/// Counts, measures and observes once, and sends it.
const OPENTELEMETRY: &str = r#"
import sys
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
exporter = OTLPMetricExporter(endpoint=sys.argv[1], compression=Compression.Gzip)
provider = MeterProvider(
    resource=Resource({"service.name": "shop", "service.instance.id": "i-1", "host.name": "db1"}),
    metric_readers=[PeriodicExportingMetricReader(exporter, export_interval_millis=60000)],
    views=[View(instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("lib", "1.0")
meter.create_counter("orders", unit="1").add(7, {"payment.kind": "card"})
meter.create_gauge("room.temperature", unit="Cel").set(21.5)
latency = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1])
sizes = meter.create_histogram("sizes", unit="By")
for value in [0.1, 0.7, 3]:
    latency.record(value)
    sizes.record(value)
if not provider.force_flush():
    sys.exit("the export failed")
provider.shutdown()
"#;

#[test]
fn opentelemetry_sends() {
    let scratch = Scratch::new("opentelemetry");
    let server = Server::start(&scratch, None);
    let script = scratch.write("send.py", OPENTELEMETRY);
    let mut command = Command::new("python3");
    command.arg(script).arg(format!("http://{}/api/v1/otlp/v1/metrics", server.address));
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let who = "job=\"shop\",instance=\"i-1\"";
    assert_eq!(server.value(&format!("orders_total{{{who},payment_kind=\"card\"}}")), Some(7.0));
    assert_eq!(server.value(&format!("room_temperature_celsius{{{who}}}")), Some(21.5));
    assert_eq!(server.value(&format!("latency_seconds_bucket{{{who},le=\"1\"}}")), Some(2.0));
    assert_eq!(server.value(&format!("latency_seconds_sum{{{who}}}")), Some(3.8));
    assert_eq!(server.value(&format!("histogram_count(sizes_bytes{{{who}}})")), Some(3.0));
    // The upper bound of the bucket in which the largest value lies.
    let largest = server.value(&format!("histogram_quantile(1, sizes_bytes{{{who}}})"));
    assert!(largest.is_some_and(|largest| (3.0..3.1).contains(&largest)), "{largest:?}");
    assert_eq!(server.value(&format!("target_info{{{who},host_name=\"db1\"}}")), Some(1.0));
}
