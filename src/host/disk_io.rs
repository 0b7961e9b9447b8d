//! Disk I/O of whole disks, from `/proc/diskstats`.

use super::{Page, Source};
use procfs_core::{DiskStat, DiskStats, FromBufRead as _};
use std::io;

const SECTOR_BYTES: f64 = 512.0;

/// node_exporter's default exclusion: memory disks, loops, floppies, and partitions (their disk is there).
fn is_wanted(device: &str) -> bool {
    let digits_behind = |prefix: &str| {
        let rest = device.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_partition = |prefix: &str| {
        let rest = device.strip_prefix(prefix).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_lowercase()));
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_nvme_partition = device.starts_with("nvme") && device.contains('p');
    !["ram", "loop", "fd"].iter().any(|prefix| digits_behind(prefix))
        && !["hd", "sd", "vd", "xvd"].iter().any(|prefix| is_partition(prefix))
        && !is_nvme_partition
}

type Field = (&'static str, &'static str, fn(&DiskStat) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "as node_exporter")]
const FIELDS: [Field; 17] = [
    ("node_disk_reads_completed_total", "The total number of reads completed successfully.", |d| Some(d.reads as f64)),
    ("node_disk_reads_merged_total", "The total number of reads merged.", |d| Some(d.merged as f64)),
    ("node_disk_read_bytes_total", "The total number of bytes read successfully.", |d| {
        Some(d.sectors_read as f64 * SECTOR_BYTES)
    }),
    ("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads.", |d| {
        Some(d.time_reading as f64 / 1000.0)
    }),
    ("node_disk_writes_completed_total", "The total number of writes completed successfully.", |d| Some(d.writes as f64)),
    ("node_disk_writes_merged_total", "The number of writes merged.", |d| Some(d.writes_merged as f64)),
    ("node_disk_written_bytes_total", "The total number of bytes written successfully.", |d| {
        Some(d.sectors_written as f64 * SECTOR_BYTES)
    }),
    ("node_disk_write_time_seconds_total", "This is the total number of seconds spent by all writes.", |d| {
        Some(d.time_writing as f64 / 1000.0)
    }),
    ("node_disk_io_now", "The number of I/Os currently in progress.", |d| Some(d.in_progress as f64)),
    ("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", |d| Some(d.time_in_progress as f64 / 1000.0)),
    ("node_disk_io_time_weighted_seconds_total", "The weighted number of seconds spent doing I/Os.", |d| {
        Some(d.weighted_time_in_progress as f64 / 1000.0)
    }),
    ("node_disk_discards_completed_total", "The total number of discards completed successfully.", |d| {
        d.discards.map(|n| n as f64)
    }),
    ("node_disk_discards_merged_total", "The total number of discards merged.", |d| d.discards_merged.map(|n| n as f64)),
    ("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully.", |d| {
        d.sectors_discarded.map(|n| n as f64)
    }),
    ("node_disk_discard_time_seconds_total", "This is the total number of seconds spent by all discards.", |d| {
        d.time_discarding.map(|ms| ms as f64 / 1000.0)
    }),
    ("node_disk_flush_requests_total", "The total number of flush requests completed successfully.", |d| {
        d.flushes.map(|n| n as f64)
    }),
    ("node_disk_flush_requests_time_seconds_total", "This is the total number of seconds spent by all flush requests.", |d| {
        d.time_flushing.map(|ms| ms as f64 / 1000.0)
    }),
];

pub(super) fn collect(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let text = source.read("/proc/diskstats")?;
    let disks = DiskStats::from_buf_read(text.as_bytes()).map_err(|error| io::Error::other(error.to_string()))?;
    let disks: Vec<&DiskStat> = disks.0.iter().filter(|disk| is_wanted(&disk.name)).collect();
    for (name, help, field) in FIELDS {
        if name == "node_disk_io_now" {
            page.gauge(name, help);
        } else {
            page.counter(name, help);
        }
        for disk in &disks {
            if let Some(value) = field(disk) {
                page.sample(&[("device", &disk.name)], value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_alone_are_wanted() {
        for wanted in ["sda", "vda", "xvdb", "nvme0n1", "md0", "dm-3", "zram0", "mmcblk0"] {
            assert!(is_wanted(wanted), "{wanted}");
        }
        for unwanted in ["sda1", "vda15", "loop0", "ram3", "nvme0n1p2", "fd0"] {
            assert!(!is_wanted(unwanted), "{unwanted}");
        }
    }
}
