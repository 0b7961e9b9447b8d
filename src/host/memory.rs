//! Memory (`/proc/meminfo`) and paging (`/proc/vmstat`).

use super::{Page, Source};
use std::io;

/// Of vmstat what node_exporter takes by default: OOM kills, paging, swapping, faults.
fn is_wanted(key: &str) -> bool {
    key == "oom_kill"
        || ["pgpg", "pswp"].iter().any(|prefix| key.starts_with(prefix))
        || (key.starts_with("pg") && key.ends_with("fault"))
}

pub(super) fn collect(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    for line in source.read("/proc/meminfo")?.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(|value| value.parse::<f64>().ok()) else { continue };
        let key = key.replace('(', "_").replace(')', "");
        let in_bytes = words.next() == Some("kB");
        let name = if in_bytes { format!("node_memory_{key}_bytes") } else { format!("node_memory_{key}") };
        page.gauge(&name, &format!("Memory information field {key}."));
        page.sample(&[], if in_bytes { value * 1024.0 } else { value });
    }
    for line in source.read("/proc/vmstat")?.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        if let (true, Ok(value)) = (is_wanted(key), value.trim().parse()) {
            page.untyped(&format!("node_vmstat_{key}"), &format!("/proc/vmstat information field {key}."));
            page.sample(&[], value);
        }
    }
    Ok(())
}
