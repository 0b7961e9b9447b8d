//! `watchkeeper doctor`: why is a scrape, ZooKeeper or a mail failing? Does what the server does, one step after the other,
//! and says in words how far it comes. Changes nothing and sends no mail.

mod ensemble;
mod mail;
mod targets;

use super::check::DiskFiles;
use super::output;
use crate::config::{self, Config, Files as _};
use crate::env::Env;
use crate::env::network::BoxStream;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(10);

/// What `doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The configuration to try; without it, what `serve` does without one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Tries everything; answers 0 where every step worked.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = built.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(examine(args)));
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::fail(&error),
    }
}

/// The steps so far.
struct Chart {
    env: Env,
    failed: usize,
}

impl Chart {
    fn title(&self, text: &str) {
        output::show(&format!("{text}\n"));
    }

    fn fine(&self, text: &str) {
        output::show(&format!("  ok    {text}\n"));
    }

    fn hint(&self, text: &str) {
        output::show(&format!("  note  {text}\n"));
    }

    fn bad(&mut self, text: &str) {
        self.failed += 1;
        output::show(&format!("  FAIL  {text}\n"));
    }
}

/// Finds a host's addresses and connects to one of them; says each step. `None`: that is as far as it comes.
async fn reach(chart: &mut Chart, address: &str) -> Option<BoxStream> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    match chart.env.clock.timeout(STEP, chart.env.network.resolve(address)).await {
        Ok(Ok(found)) => {
            let found: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            if !found.is_empty() && host.trim_matches(['[', ']']) != found[0] {
                chart.fine(&format!("{host} is {}", found.join(", ")));
            }
        }
        Ok(Err(error)) => {
            chart.bad(&format!("{host}: no address: {error}"));
            chart.hint(
                "is the name spelled right, and does this machine's resolver know it? `getent hosts NAME` asks the same one",
            );
            return None;
        }
        Err(_) => {
            chart.bad(&format!("{host}: no address within {STEP:?}"));
            chart.hint("the DNS servers of this machine (/etc/resolv.conf) do not answer");
            return None;
        }
    }
    match chart.env.clock.timeout(STEP, chart.env.network.connect(address)).await {
        Ok(Ok(stream)) => {
            chart.fine(&format!("{address} takes connections"));
            Some(stream)
        }
        Ok(Err(error)) => {
            chart.bad(&format!("{address}: {error}"));
            chart.hint(match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    "the machine is there, but nothing listens on this port: does the service run, on this port, on this address and not on 127.0.0.1 alone?"
                }
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    "there is no way to this network: routes, VPN, or an address that was meant for another network"
                }
                _ => "the connection broke before it stood: a firewall or a proxy in between?",
            });
            None
        }
        Err(_) => {
            chart.bad(&format!("{address}: no connection within {STEP:?}"));
            chart.hint("packets are dropped without an answer: mostly a firewall or a security group, or the machine is down");
            None
        }
    }
}

async fn examine(args: &DoctorArgs) -> anyhow::Result<usize> {
    let mut chart = Chart { env: Env::real(), failed: 0 };
    chart.title("configuration");
    let config = match &args.config {
        None => {
            chart.fine("none given: this host and the server itself are watched, mails go to the outbox");
            Config::without_file()
        }
        Some(path) => {
            let text = DiskFiles.text(path)?;
            match config::load(path, &text, &DiskFiles) {
                Ok(config) => {
                    chart.fine(&format!("{} is well formed, {} jobs", path.display(), config.scrape_configs.len()));
                    config
                }
                Err(error) => {
                    chart.bad(&error.to_string());
                    return Ok(chart.failed);
                }
            }
        }
    };
    for wish in config.unsupported(config::SENDABLE) {
        chart.bad(&format!("the server will refuse this: {wish}"));
    }
    for (key, file) in config.named_files() {
        if let Err(error) = DiskFiles.read(file.path()) {
            chart.bad(&format!("{key}: {}: {error}", &**file));
        }
    }
    let config = Arc::new(config);
    targets::examine(&mut chart, &config).await;
    ensemble::examine(&mut chart, &config).await;
    mail::examine(&mut chart, &config).await;
    chart.title(&match chart.failed {
        0 => "everything works".to_owned(),
        1 => "1 step failed".to_owned(),
        failed => format!("{failed} steps failed"),
    });
    Ok(chart.failed)
}
