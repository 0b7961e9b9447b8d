//! Log lines on standard error, as text or JSON.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `time level message key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `level` is one of `error`, `warn`, `info`, `debug`, `trace`. A second call changes nothing.
pub fn start(level: &str, format: LogFormat) {
    let level = match level {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    // Libraries speak only when something is wrong: their news is not the operator's.
    let filter = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("watchkeeper", level);
    let base = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => base
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false))
            .try_init(),
        LogFormat::Json => {
            base.with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
