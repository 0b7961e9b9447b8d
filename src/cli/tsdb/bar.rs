//! Progress on a terminal: one line on standard error that is drawn over itself. Elsewhere a line now and then.

#![expect(clippy::print_stderr, reason = "a command speaks to its user")]

use crate::env::Env;
use crate::storage::Progress;
use crate::storage::progress::Step;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const WIDTH: usize = 30;
const DRAW_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Returns a progress value that is shown.
pub(super) fn progress() -> Progress {
    let (env, terminal) = (Env::real(), std::io::stderr().is_terminal());
    let every = if terminal { DRAW_EVERY } else { LINE_EVERY };
    // The first line comes after that time: short work shows nothing.
    let told = Mutex::new((env.clock.monotonic(), false));
    Progress::observed(move |step| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = env.clock.monotonic();
        if step.ended {
            if terminal && told.1 {
                eprint!("\r{}\r", " ".repeat(WIDTH + 40));
            }
            *told = (now, false);
        } else if now.saturating_sub(told.0) >= every {
            *told = (now, true);
            if terminal {
                eprint!("\r{} {step}  ", bar(step));
            } else {
                eprintln!("{step}");
            }
        }
    })
}

/// Draws the bar.
fn bar(step: &Step) -> String {
    let filled = step.share().map_or(0, |share| (share * WIDTH as f64) as usize).min(WIDTH);
    format!("[{}{}]", "#".repeat(filled), "-".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::progress::Task;

    #[test]
    fn bars_fill() {
        let step = |done, total| Step { task: Task::Verify, done, total, ended: false };
        assert_eq!(bar(&step(0, 10)), "[------------------------------]");
        assert_eq!(bar(&step(5, 10)), "[###############---------------]");
        assert_eq!(bar(&step(20, 10)), "[##############################]");
        assert_eq!(bar(&step(5, 0)), "[------------------------------]");
    }
}
