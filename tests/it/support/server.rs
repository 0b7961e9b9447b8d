//! The server under test: the binary as it ships.

use super::{Process, Scratch, free_port, http, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_watchkeeper");

pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
    config: Option<PathBuf>,
    data: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts `serve` and waits until it is ready.
    pub(crate) fn start(scratch: &Scratch, config: Option<&Path>) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        Self::start_at(&address, &scratch.join("data"), config, &scratch.join("watchkeeper.log"))
    }

    pub(crate) fn start_at(address: &str, data: &Path, config: Option<&Path>, log: &Path) -> Self {
        let process = Self::spawn(address, data, config, log);
        let mut server = Self {
            process,
            address: address.to_owned(),
            config: config.map(Path::to_owned),
            data: data.to_owned(),
            log: log.to_owned(),
        };
        server.wait_ready();
        server
    }

    pub(crate) fn spawn(address: &str, data: &Path, config: Option<&Path>, log: &Path) -> Process {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--listen", address, "--log-level", "debug", "--data-dir"]).arg(data);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.current_dir(data.parent().unwrap());
        Process::start(&mut command, "watchkeeper", log.to_owned())
    }

    /// Takes a process that was started, for one whose readiness is asked for in another way.
    pub(crate) fn around(process: Process, address: &str, data: &Path, config: Option<&Path>, log: &Path) -> Self {
        Self {
            process,
            address: address.to_owned(),
            config: config.map(Path::to_owned),
            data: data.to_owned(),
            log: log.to_owned(),
        }
    }

    fn wait_ready(&mut self) {
        let address = self.address.clone();
        let process = &mut self.process;
        wait_until("the server to be ready", Duration::from_secs(30), || {
            assert!(process.is_running(), "the server ended");
            // One that wants to know who asks is there as well.
            http::get(&address, "/-/ready").is_ok_and(|answer| matches!(answer.status, 200 | 401))
        });
    }

    /// `kill -9`, and at once a new one on the same data.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = Self::spawn(&self.address, &self.data, self.config.as_deref(), &self.log);
        self.wait_ready();
    }

    pub(crate) fn get(&self, path: &str) -> http::Answer {
        http::get(&self.address, path).unwrap()
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> http::Answer {
        http::request(&self.address, "POST", path, &[("Content-Type", content_type)], body).unwrap()
    }

    /// An instant query's result list.
    pub(crate) fn query(&self, expression: &str) -> Vec<serde_json::Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", http::encode(expression)));
        assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
        answer.json()["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The value of the first series of an instant query.
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression).first()?["value"][1].as_str()?.parse().ok()
    }
}
