//! CPU time by mode, from `/proc/stat`; interrupts, context switches, forks and boot time come from the same file.

use super::{Page, Source};
use std::io;

/// The kernel counts in hundredths of a second (USER_HZ) for every architecture that matters.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

pub(super) fn collect(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let text = source.read("/proc/stat")?;
    let cpus: Vec<(&str, Vec<f64>)> = text.lines().filter_map(cpu_line).collect();
    page.counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
    for (cpu, ticks) in &cpus {
        for (mode, ticks) in MODES.iter().zip(ticks) {
            page.sample(&[("cpu", cpu), ("mode", mode)], ticks / TICKS_PER_SECOND);
        }
    }
    page.counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.");
    for (cpu, ticks) in &cpus {
        for (mode, place) in [("user", 8), ("nice", 9)] {
            if let Some(ticks) = ticks.get(place) {
                page.sample(&[("cpu", cpu), ("mode", mode)], ticks / TICKS_PER_SECOND);
            }
        }
    }
    let single = [
        ("ctxt", "node_context_switches_total", "Total number of context switches.", true),
        ("intr", "node_intr_total", "Total number of interrupts serviced.", true),
        ("processes", "node_forks_total", "Total number of forks.", true),
        ("btime", "node_boot_time_seconds", "Node boot time, in unixtime.", false),
        ("procs_running", "node_procs_running", "Number of processes in runnable state.", false),
        ("procs_blocked", "node_procs_blocked", "Number of processes blocked waiting for I/O to complete.", false),
    ];
    for (key, name, help, is_counter) in single {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        if let Some(value) = line.and_then(|rest| rest.split(' ').next()?.parse().ok()) {
            if is_counter {
                page.counter(name, help);
            } else {
                page.gauge(name, help);
            }
            page.sample(&[], value);
        }
    }
    Ok(())
}

/// Reads `cpu0 1 2 3 ...`; the sum over all CPUs (`cpu `) is no CPU.
fn cpu_line(line: &str) -> Option<(&str, Vec<f64>)> {
    let (cpu, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
    (!cpu.is_empty()).then(|| (cpu, rest.split_ascii_whitespace().filter_map(|ticks| ticks.parse().ok()).collect()))
}
