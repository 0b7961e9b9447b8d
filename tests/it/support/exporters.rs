//! Real exporters: node_exporter, and an application instrumented with Python's prometheus_client.

use super::{Process, Scratch, free_port, http, wait_until};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const APPLICATION: &str = r"
import sys, threading
from prometheus_client import Counter, Gauge, Histogram, start_http_server
port, path = int(sys.argv[1]), sys.argv[2]
def read():
    with open(path) as f:
        return float(f.read())
Gauge('app_queue_length', 'Jobs that wait.').set_function(read)
Counter('app_requests', 'Requests.', ['code']).labels('200').inc(3, exemplar={'trace_id': 'abc'})
Gauge('app.depth', 'Has dots in its name.', ['queue.name']).labels('a').set(4)
Histogram('app_seconds', 'Durations.').observe(0.3)
start_http_server(port, addr='127.0.0.1')
threading.Event().wait()
";

/// node_exporter.
pub(crate) struct NodeExporter {
    _process: Process,
    pub(crate) port: u16,
}

impl NodeExporter {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let port = free_port();
        let mut command = Command::new("prometheus-node-exporter");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--no-collector.systemd");
        let process = Process::start(&mut command, "node_exporter", scratch.join("node_exporter.log"));
        wait_until("node_exporter to serve", Duration::from_secs(20), || http::get(&format!("127.0.0.1:{port}"), "/").is_ok());
        Self { _process: process, port }
    }
}

/// An application whose queue length the test sets.
pub(crate) struct Application {
    _process: Process,
    value: PathBuf,
    pub(crate) port: u16,
}

impl Application {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let port = free_port();
        let value = scratch.write("queue_length", "1");
        let mut command = Command::new("python3");
        command.arg("-c").arg(APPLICATION).arg(port.to_string()).arg(&value);
        let process = Process::start(&mut command, "application (python3, prometheus_client)", scratch.join("application.log"));
        let address = format!("127.0.0.1:{port}");
        wait_until("the application to serve", Duration::from_secs(20), || http::get(&address, "/metrics").is_ok());
        Self { _process: process, value, port }
    }

    pub(crate) fn set_queue_length(&self, length: f64) {
        let tmp = self.value.with_extension("tmp");
        std::fs::write(&tmp, length.to_string()).unwrap();
        std::fs::rename(tmp, &self.value).unwrap();
    }
}
