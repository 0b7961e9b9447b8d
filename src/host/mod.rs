//! This machine's own metrics, under node_exporter's names and labels, so that its dashboards and rules work unchanged.
//!
//! Each collector reads kernel files through [`crate::env::Disk`], turns bytes into families, and fails alone: what cannot be
//! read (another kernel, a container) leaves its families out and says so in `node_scrape_collector_success`.

mod cpu;
mod disk_io;
mod filesystem;
mod kernel;
mod memory;
mod network_device;
mod own_process;
mod page;

pub use own_process::own_process;

use crate::env::Env;
use page::Page;
use std::io;
use std::path::Path;

/// A collector: reads what it needs and writes its families.
type Collect = fn(&Source<'_>, &mut Page) -> io::Result<()>;

/// All collectors by the names that `host_metrics.collectors` selects.
const COLLECTORS: &[(&str, Collect)] = &[
    ("cpu", cpu::collect),
    ("disk_io", disk_io::collect),
    ("filesystem", filesystem::collect),
    ("load", kernel::load),
    ("memory", memory::collect),
    ("network_device", network_device::collect),
    ("pressure", kernel::pressure),
    ("process", kernel::process),
    ("sockets", kernel::sockets),
    ("system", kernel::system),
    ("thermal", kernel::thermal),
];

/// Returns the names of all collectors, sorted.
pub fn collector_names() -> impl Iterator<Item = &'static str> {
    COLLECTORS.iter().map(|(name, _)| *name)
}

/// Where a collector reads.
struct Source<'a> {
    env: &'a Env,
}

impl Source<'_> {
    fn read(&self, path: &str) -> io::Result<String> {
        let bytes = self.env.disk.read(Path::new(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a file that holds one number.
    fn number(&self, path: &str) -> io::Result<f64> {
        let text = self.read(path)?;
        text.trim().parse().map_err(|_| io::Error::other(format!("{path}: not a number: {}", text.trim())))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Ok(self.env.disk.list(Path::new(path))?.into_iter().map(|entry| entry.name).collect())
    }
}

/// Collects this machine's metrics.
#[derive(Clone, Debug)]
pub struct HostCollector {
    env: Env,
    selected: Vec<(&'static str, Collect)>,
}

impl HostCollector {
    /// Selects collectors by name; an empty selection means all. Unknown names select nothing (configuration refuses them).
    #[must_use]
    pub fn new(env: &Env, names: &[String]) -> Self {
        let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        Self { env: env.clone(), selected: COLLECTORS.iter().filter(|(name, _)| wanted(name)).copied().collect() }
    }

    /// Reads all and returns a page of the text format 0.0.4. Blocks for the kernel's files.
    #[must_use]
    pub fn collect(&self) -> Vec<u8> {
        let source = Source { env: &self.env };
        let mut page = Page::new();
        let mut outcomes = Vec::with_capacity(self.selected.len());
        for (name, collect) in &self.selected {
            let began = self.env.clock.monotonic();
            let result = collect(&source, &mut page);
            if let Err(error) = &result {
                tracing::debug!(collector = name, %error, "collector failed");
            }
            outcomes.push((*name, result.is_ok(), self.env.clock.monotonic().saturating_sub(began).as_secs_f64()));
        }
        page.gauge("node_scrape_collector_duration_seconds", "How long a collector took.");
        for (name, _, seconds) in &outcomes {
            page.sample(&[("collector", name)], *seconds);
        }
        page.gauge("node_scrape_collector_success", "Whether a collector could read all it needs.");
        for (name, fine, _) in &outcomes {
            page.sample(&[("collector", name)], f64::from(u8::from(*fine)));
        }
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_of_a_declared_family_and_the_main_ones_are_there() {
        let text = String::from_utf8(HostCollector::new(&Env::real(), &[]).collect()).unwrap();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                typed.split(' ').next().unwrap_or_default().clone_into(&mut family);
            } else if !line.starts_with('#') {
                let name: String = line.chars().take_while(|c| *c != '{' && *c != ' ').collect();
                assert_eq!(name, family, "{line}");
            }
        }
        for name in
            ["node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_load1", "node_boot_time_seconds", "node_uname_info"]
        {
            assert!(text.contains(&format!("\n{name}")), "{name} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_selection_leaves_the_others_out() {
        let page = HostCollector::new(&Env::real(), &["load".to_owned()]).collect();
        let text = String::from_utf8(page).unwrap();
        assert!(text.contains("node_load5") && !text.contains("node_cpu"), "{text}");
    }
}
