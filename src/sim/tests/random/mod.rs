//! Random histories: values go up and down, targets, mail server and ZooKeeper fail and come back, people silence and
//! acknowledge, the process and the machine die at any step. No notification is lost, and none is told twice but within
//! the documented window.
//!
//! A seed that fails is told with the command that repeats it. `WATCHKEEPER_SIM_SEEDS=n` asks for more of them,
//! `WATCHKEEPER_SIM_SEED=n` for one, with `WATCHKEEPER_SIM_LOG=debug` telling what the server says.

pub(super) mod history;
mod oracle;

use crate::telemetry::logging::{self, LogFormat};
use history::History;

/// Seeds of a usual run.
const SEEDS: u64 = 8;
/// Times of trouble within a history, each with a calm after it.
const TROUBLES: usize = 3;

/// Runs work in a world of its own: a paused runtime of one thread.
pub(super) fn in_a_world<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(work)
}

/// Says how to repeat a history that went wrong.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("history {0} went wrong; repeat it: make soak-alerting SEED={0}", self.0);
        }
    }
}

fn live(seed: u64) {
    let _repeat = Repeat(seed);
    in_a_world(async move {
        let mut history = History::begin(seed).await;
        for _ in 0..TROUBLES {
            history.trouble().await;
            history.calm().await;
            history.check();
        }
    });
}

#[test]
fn nothing_is_lost_and_nothing_told_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("WATCHKEEPER_SIM_SEED") {
        if let Ok(level) = std::env::var("WATCHKEEPER_SIM_LOG") {
            logging::start(&level, LogFormat::Text);
        }
        return live(seed);
    }
    let first = number("WATCHKEEPER_SIM_FIRST_SEED").unwrap_or(0);
    (first..first + number("WATCHKEEPER_SIM_SEEDS").unwrap_or(SEEDS)).for_each(live);
}
