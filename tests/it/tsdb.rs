//! `watchkeeper tsdb` on a real data directory, and its text through promtool and back.

use crate::support::remote_write::{self, Series};
use crate::support::server::{BINARY, Server};
use crate::support::{Scratch, run};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn tsdb(args: &[&str], dir: &Path) -> (i32, String) {
    run(Command::new(BINARY).arg("tsdb").args(args).arg("--data-dir").arg(dir))
}

/// What a command writes to standard output.
fn stdout(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn export(dir: &Path) -> String {
    stdout(Command::new(BINARY).args(["tsdb", "export", "--match", "{job=\"push\"}", "--data-dir"]).arg(dir))
}

/// A line of `promtool tsdb dump`, which every version has, as OpenMetrics.
fn open_metrics(line: &str) -> String {
    let (sample, at_ms) = line.rsplit_once(' ').unwrap();
    let series = sample.strip_prefix("{__name__=\"pushed\", ").unwrap().replace("\", job=", "\",job=");
    let at_ms: i64 = at_ms.parse().unwrap();
    format!("pushed{{{series} {}.{:03}\n", at_ms / 1000, at_ms % 1000)
}

#[test]
fn the_store_of_a_stopped_server_is_looked_into_copied_and_carried_over() {
    let scratch = Scratch::new("tsdb");
    let config = scratch.write("watchkeeper.yml", "storage:\n  retention:\n    time: 0\n");
    let mut server = Server::start(&scratch, Some(&config));
    let series = |instance: &'static str, offset: f64| Series {
        labels: vec![("__name__", "pushed"), ("instance", instance), ("job", "push")],
        samples: (0..500).map(|i| (1_700_000_000_000 + i * 30_000, offset + i as f64 * 0.1)).collect(),
    };
    let sent = remote_write::send(&server.address, &[series("a", 0.0), series("b\"\\\n", 7.5)]).unwrap();
    assert!(sent.status < 300, "{}", sent.body);
    let data = scratch.join("data");
    let (code, text) = tsdb(&["verify"], &data);
    assert_eq!(code, 1, "a running server has the LOCK: {text}");
    assert!(text.contains("in use"), "{text}");
    let (code, name) =
        run(Command::new(BINARY).args(["tsdb", "snapshot", "--running", "--url", &format!("http://{}", server.address)]));
    assert_eq!(code, 0, "{name}");
    server.process.signal("TERM");
    server.process.wait(Duration::from_secs(30));

    let snapshot = data.join("snapshots").join(name.trim());
    for dir in [&data, &snapshot] {
        let (code, text) = tsdb(&["verify"], dir);
        assert!(code == 0 && text.ends_with("ok\n"), "{text}");
    }
    let (code, text) = tsdb(&["stats"], &data);
    assert!(code == 0 && text.contains("Series by metric name") && text.contains("pushed"), "{text}");
    let (code, text) = tsdb(&["stats", "--format", "json"], &data);
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{code} {error}: {text}"));
    assert_eq!(stats["seriesCountByMetricName"][0]["name"].as_str().map(str::is_empty), Some(false));

    let text = export(&data);
    assert_eq!(text.lines().count(), 1001, "{text:.300}");
    assert!(text.starts_with("pushed{instance=\"a\",job=\"push\"} 0 1700000000.000\n") && text.ends_with("# EOF\n"));
    assert_eq!(export(&snapshot), text);

    // promtool reads our text, and we read what it writes.
    let file = scratch.write("export.om", &text);
    let blocks = scratch.join("blocks");
    stdout(Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(&blocks));
    // Older versions want a log to read.
    std::fs::create_dir_all(blocks.join("wal")).unwrap();
    let dumped = stdout(Command::new("promtool").args(["tsdb", "dump"]).arg(&blocks));
    let mut theirs: String = dumped.lines().map(open_metrics).collect();
    theirs.push_str("# EOF\n");
    let other = scratch.join("other");
    let mut importing = Command::new(BINARY)
        .args(["tsdb", "import", "--data-dir"])
        .arg(&other)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    importing.stdin.take().unwrap().write_all(theirs.as_bytes()).unwrap();
    let done = importing.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && told.starts_with("1000 samples, 2023-11-14T22:13:20Z to "), "{told}");
    assert_eq!(export(&other), text);

    let wrong = scratch.write("wrong.om", "a 1 2\nb{c=\"d\" 1 2\n# EOF\n");
    let (code, told) = tsdb(&["import", wrong.to_str().unwrap()], &other);
    assert!(code == 1 && told.contains("wrong.om:2:"), "{told}");
    assert_eq!(export(&other), text, "nothing of it is there");

    let block = std::fs::read_dir(other.join("blocks")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&block).unwrap();
    bytes[300] ^= 4;
    std::fs::write(&block, bytes).unwrap();
    let (code, told) = tsdb(&["verify"], &other);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains(":128: page 0: ") && told.contains("samples of 2 series of pushed, 2023-11-1"), "{told}");
    std::fs::write(data.join("events/2020-01-01.log"), b"WKEVENT\x01damage").unwrap();
    std::fs::write(data.join("events/2020-01-02.log"), b"WKEVENT\x01").unwrap();
    let (code, told) = tsdb(&["verify"], &data);
    assert!(code == 1 && told.contains("2020-01-01.log:8: the end is no event"), "{told}");
    let (code, told) = tsdb(&["verify"], &scratch.join("nowhere"));
    assert!(code == 1 && told.contains("is no data directory"), "{told}");
}
