//! `watchkeeper serve`: starts the server.

use crate::app::{self, ServeOptions};
use crate::env::Env;
use crate::telemetry::logging::{self, LogFormat};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The configuration, a superset of prometheus.yml. Without it this host and the server itself are watched.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = host_and_port)]
    listen: String,
    /// The least important lines to log.
    #[arg(long, value_name = "L", default_value = "info", value_parser = ["error", "warn", "info", "debug", "trace"])]
    log_level: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value = "text")]
    log_format: Format,
}

/// Refuses what cannot be an address before anything is opened: the command line is wrong then.
fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.map(|_| text.to_owned()).ok_or_else(|| "not HOST:PORT".to_owned())
}

/// Runs the server until it is told to stop.
pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let format = match args.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    logging::start(&args.log_level, format);
    let options = ServeOptions { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: args.listen.clone() };
    // These threads only move bytes (queries and rules have their own): fewer of them wake each other less. Beside one
    // Prometheus, 100 targets at 1 s cost 0.23 of its CPU with one thread on two cores, 0.28 with two.
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    let built =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().thread_name("watchkeeper").build();
    let served = built.map_err(anyhow::Error::from).and_then(|runtime| {
        let served = runtime.block_on(app::serve(Env::real(), options));
        // Whatever still blocks was left behind by a phase of the stop, which said so.
        runtime.shutdown_timeout(Duration::from_millis(200));
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}
