//! This process's own figures, under the names that every Prometheus client library gives them.

use super::page::Page;
use super::{Source, cpu};
use crate::env::Env;
use std::io;

/// Reads `/proc/self` and returns a page of the text format 0.0.4; what cannot be read is left out. Blocks.
#[must_use]
pub fn own_process(env: &Env) -> Vec<u8> {
    let mut page = Page::new();
    if let Err(error) = collect(&Source { env }, &mut page) {
        tracing::debug!(%error, "own process cannot be read");
    }
    page.finish()
}

fn collect(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let stat = source.read("/proc/self/stat")?;
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace()
        .map(|word| word.parse().unwrap_or(0.0))
        .collect();
    // Counted from the state, the third field of proc(5): 11 and 12 are user and system ticks, 19 the start, 20 and 21 memory.
    let field = |place: usize| fields.get(place).copied().unwrap_or(0.0);
    page.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
    page.sample(&[], (field(11) + field(12)) / cpu::TICKS_PER_SECOND);
    page.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.");
    page.sample(&[], field(20));
    page.gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
    page.sample(&[], field(21) * rustix::param::page_size() as f64);
    page.gauge("process_threads", "Number of threads of this process.");
    page.sample(&[], field(17));
    let boot = source.read("/proc/stat")?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok()).unwrap_or(0.0);
    page.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
    page.sample(&[], boot + field(19) / cpu::TICKS_PER_SECOND);
    page.gauge("process_open_fds", "Number of open file descriptors.");
    page.sample(&[], source.list("/proc/self/fd")?.len() as f64);
    let limits = source.read("/proc/self/limits")?;
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_ascii_whitespace().next());
    if let Some(most) = open_files.and_then(|word| word.parse().ok()) {
        page.gauge("process_max_fds", "Maximum number of open file descriptors.");
        page.sample(&[], most);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_a_living_process() {
        let text = String::from_utf8(own_process(&Env::real())).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
        assert!(value("process_open_fds") >= 3.0 && value("process_threads") >= 1.0, "{text}");
        let age = Env::real().clock.now_ms() as f64 / 1000.0 - value("process_start_time_seconds");
        assert!((-5.0..36_000.0).contains(&age), "started {age} s ago");
    }
}
