//! Space and inodes of mounted file systems, from `/proc/1/mounts` (or `/proc/self/mounts`) and `statvfs`.

use super::{Page, Source};
use std::collections::BTreeSet;
use std::io;

/// node_exporter's default exclusions: file systems that hold no files of people, and places that come and go.
const TYPES_LEFT_OUT: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
];

fn is_wanted_place(mount_point: &str) -> bool {
    let below =
        |folder: &str| mount_point == folder || mount_point.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    !["/dev", "/proc", "/sys", "/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"]
        .iter()
        .any(|folder| below(folder))
}

struct Mount {
    device: String,
    point: String,
    kind: String,
    is_readonly: bool,
}

/// Undoes the kernel's octal escapes of space, tab, line feed and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn mounts(text: &str) -> Vec<Mount> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point), Some(kind), Some(options)) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let mount = Mount {
            device: unescape(device),
            point: unescape(point),
            kind: kind.to_owned(),
            is_readonly: options.split(',').any(|option| option == "ro"),
        };
        let wanted = !TYPES_LEFT_OUT.contains(&mount.kind.as_str()) && is_wanted_place(&mount.point);
        if wanted && seen.insert((mount.device.clone(), mount.point.clone(), mount.kind.clone())) {
            found.push(mount);
        }
    }
    found
}

type Field = (&'static str, &'static str, fn(&rustix::fs::StatVfs) -> f64);

#[expect(clippy::cast_precision_loss, reason = "as node_exporter")]
const FIELDS: [Field; 5] = [
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", |s| s.f_blocks as f64 * s.f_frsize as f64),
    ("node_filesystem_free_bytes", "Filesystem free space in bytes.", |s| s.f_bfree as f64 * s.f_frsize as f64),
    ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", |s| {
        s.f_bavail as f64 * s.f_frsize as f64
    }),
    ("node_filesystem_files", "Filesystem total file nodes.", |s| s.f_files as f64),
    ("node_filesystem_files_free", "Filesystem total free file nodes.", |s| s.f_ffree as f64),
];

pub(super) fn collect(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let text = source.read("/proc/1/mounts").or_else(|_| source.read("/proc/self/mounts"))?;
    let looked_at: Vec<_> = mounts(&text)
        .into_iter()
        .map(|mount| {
            let space = rustix::fs::statvfs(mount.point.as_str());
            (mount, space)
        })
        .collect();
    for (name, help, field) in FIELDS {
        page.gauge(name, help);
        for (mount, space) in &looked_at {
            if let Ok(space) = space {
                page.sample(&labels(mount), field(space));
            }
        }
    }
    page.gauge("node_filesystem_readonly", "Filesystem read-only status.");
    for (mount, _) in &looked_at {
        page.sample(&labels(mount), f64::from(u8::from(mount.is_readonly)));
    }
    page.gauge("node_filesystem_device_error", "Whether an error occurred while getting statistics for the given device.");
    for (mount, space) in &looked_at {
        page.sample(&labels(mount), f64::from(u8::from(space.is_err())));
    }
    Ok(())
}

fn labels(mount: &Mount) -> [(&'static str, &str); 3] {
    [("device", &mount.device), ("fstype", &mount.kind), ("mountpoint", &mount.point)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mounts_of_people_alone() {
        let text = "/dev/vda / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n/dev/sdb /mnt/my\\040disk xfs ro,noatime 0 0\n\
                    tmpfs /run tmpfs rw 0 0\n/dev/vda / ext4 rw 0 0\noverlay /x overlay rw 0 0\nshm /dev/shm tmpfs rw 0 0\n";
        let found: Vec<_> = mounts(text).into_iter().map(|mount| (mount.point, mount.is_readonly)).collect();
        assert_eq!(found, [("/".to_owned(), false), ("/mnt/my disk".to_owned(), true), ("/run".to_owned(), false)]);
    }
}
