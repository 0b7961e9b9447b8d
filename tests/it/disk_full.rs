//! A disk that is really full: a small file system of its own under the data directory.

use crate::support::remote_write::{self, Series};
use crate::support::server::Server;
use crate::support::{Scratch, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A small file system that goes with the test.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this process may not mount, which it says.
    fn new(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m,mode=0700", "watchkeeper-test"]).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(std::env::var_os("WATCHKEEPER_REQUIRE_SHARED").is_none(), "this needs to mount a file system: run it as root");
        eprintln!("NOT TESTED: a full disk, because this process may not mount a file system (run the tests as root)");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn push(server: &Server, at_ms: i64) -> u16 {
    let labels = vec![("__name__", "pushed"), ("job", "push")];
    remote_write::send(&server.address, &[Series { labels, samples: vec![(at_ms, 1.0)] }]).unwrap().status
}

#[test]
fn a_full_disk_is_told_about_and_lived_through() {
    let scratch = Scratch::new("full");
    let Some(mount) = Mount::new(&scratch.join("disk")) else { return };
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/watchkeeper.yml");
    let config = scratch.write(
        "watchkeeper.yml",
        &format!(
            "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n  evaluation_interval: 500ms\nrule_files: [{}]\nhost_metrics: true\nstorage:\n  retention:\n    time: 0\n",
            rules.display()
        ),
    );
    let address = format!("127.0.0.1:{}", crate::support::free_port());
    let data = mount.0.join("data");
    let mut server = Server::start_at(&address, &data, Some(&config), &scratch.join("watchkeeper.log"));
    assert_eq!(push(&server, 1_700_000_000_000), 204);
    assert!(data.join("RESERVE").exists());

    // Everything but what the reserve holds.
    let filler = mount.0.join("filler");
    let bound = Duration::from_secs(60);
    let mut full = std::fs::File::create(&filler).unwrap();
    wait_until("the log to fail", bound, || {
        // What is given up is for the server: a filler that goes on would take that as well.
        while data.join("RESERVE").exists() && std::io::Write::write_all(&mut full, &[0; 4096]).is_ok() {}
        server.get("/-/ready").body.contains("pushed samples are refused")
    });
    assert!(!data.join("RESERVE").exists(), "the reserve was given up");
    assert_eq!(push(&server, 1_700_000_001_000), 503);
    assert_eq!(server.get("/-/ready").status, 200, "reading goes on");
    assert_eq!(server.value("count(pushed @ 1700000000)"), Some(1.0));
    let scraped = || server.value("count_over_time(up{job=\"watchkeeper\"}[10m])").unwrap_or(0.0);
    let before = scraped();
    wait_until("more scrapes in memory", bound, || scraped() > before);
    wait_until("the alert about it", bound, || {
        server.value("ALERTS{alertname=\"WatchkeeperStoreDiskFull\",alertstate=\"firing\"}") == Some(1.0)
    });
    let mails = || {
        std::fs::read_dir(data.join("outbox")).map_or(0, |list| {
            list.filter(|file| {
                let path = file.as_ref().unwrap().path();
                std::fs::read_to_string(path).is_ok_and(|mail| mail.contains("WatchkeeperStoreDiskFull"))
            })
            .count()
        })
    };
    wait_until("the mail about it", bound, || mails() > 0);

    let held = scraped();
    drop(full);
    std::fs::remove_file(&filler).unwrap();
    let began = Instant::now();
    wait_until("writing to resume", bound, || push(&server, 1_700_000_002_000) == 204);
    eprintln!("writing resumed after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    wait_until("the reserve", bound, || data.join("RESERVE").exists());
    server.kill_and_restart();
    assert!(server.value("max_over_time(count_over_time(up{job=\"watchkeeper\"}[10m])[1m:1s])").unwrap_or(0.0) >= held);
    assert_eq!(server.value("count_over_time(pushed[10s] @ 1700000005)"), Some(2.0));
}
