//! Exporters that do not behave: each fails by itself, the Targets page says why, honest ones and memory notice nothing.

use crate::support::server::Server;
use crate::support::{Scratch, http, wait_until};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);
const MB: usize = 1 << 20;

/// What an exporter sends behind its head.
enum Body {
    Whole(Vec<u8>),
    Endless(&'static [u8]),
    /// A byte at a time.
    Slow,
    Nothing,
}

fn text(body: impl Into<Vec<u8>>) -> (String, Body) {
    ("Content-Type: text/plain; version=0.0.4\r\n".to_owned(), Body::Whole(body.into()))
}

fn packed(encoding: &str, body: Vec<u8>) -> (String, Body) {
    (format!("Content-Type: text/plain; version=0.0.4\r\nContent-Encoding: {encoding}\r\n"), Body::Whole(body))
}

/// Answers by the path that is asked for.
fn answer(kind: &str) -> (String, Body) {
    let endless = |piece| ("Content-Type: text/plain; version=0.0.4\r\n".to_owned(), Body::Endless(piece));
    match kind {
        "body" => endless(b"a{n=\"1\"} 1\n"),
        "line" => endless(b"xxxxxxxxxxxxxxxx"),
        "gzip" => {
            static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
            let bomb = BOMB.get_or_init(|| {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                for _ in 0..100 {
                    encoder.write_all(&vec![b'#'; MB]).unwrap();
                }
                encoder.finish().unwrap()
            });
            packed("gzip", bomb.clone())
        }
        "zstd" => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            for _ in 0..100 {
                encoder.write_all(&vec![b'#'; MB]).unwrap();
            }
            packed("zstd", encoder.finish().unwrap())
        }
        "snappy" => packed("snappy", b"\xff\xff\xff\xff\x0f\x00".to_vec()),
        "coding" => packed("br", b"a 1\n".to_vec()),
        "label" => text([b"a{x=\"".as_slice(), &vec![b'v'; 50 * MB], b"\"} 1\n"].concat()),
        "utf8" => text(b"a{x=\"\xff\xfe\"} 1\n".as_slice()),
        "nul" => text(b"a{x=\"1\"} 1\na\0b 2\n".as_slice()),
        "labels" => {
            let labels: Vec<String> = (0..1_000_000).map(|n| format!("l{n}=\"\"")).collect();
            text(format!("a{{{}}} 1\n", labels.join(",")))
        }
        "many" => {
            let labels: Vec<String> = (0..1000).map(|n| format!("l{n}=\"1\"")).collect();
            text(format!("a{{{}}} 1\n", labels.join(",")))
        }
        "twice" => text("a{x=\"1\",x=\"2\"} 1\n"),
        "duplicates" => text("kept 1\na 1\na 2\n"),
        "future" => text(format!("kept 1\nahead 1 {}\n", 1_u64 << 52)),
        "slow" => ("Content-Type: text/plain\r\n".to_owned(), Body::Slow),
        "silent" => (String::new(), Body::Nothing),
        "loop" => (String::new(), Body::Whole(Vec::new())),
        "html" => ("Content-Type: text/html\r\n".to_owned(), Body::Whole(b"<p>a 1</p>".to_vec())),
        "garbage" => text("<html>\n"),
        _ => text("honest 1\n"),
    }
}

fn serve(mut stream: TcpStream) {
    let mut asked = [0; 4096];
    let Ok(length) = stream.read(&mut asked) else { return };
    let path = String::from_utf8_lossy(&asked[..length]).split(' ').nth(1).unwrap_or_default().to_owned();
    let (headers, body) = answer(path.trim_start_matches('/'));
    let status = if path == "/loop" { "302 Found\r\nLocation: /loop" } else { "200 OK" };
    if matches!(body, Body::Nothing) {
        let _until_the_other_hangs_up = stream.read(&mut asked);
        return;
    }
    let _sent = stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n").as_bytes());
    match body {
        Body::Whole(body) => drop(stream.write_all(&body)),
        Body::Endless(piece) => {
            let piece = piece.repeat(4096);
            while stream.write_all(&piece).is_ok() {}
        }
        Body::Slow => {
            while stream.write_all(b"#").is_ok() {
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
        Body::Nothing => {}
    }
}

/// What is bad, and what the Targets page must say of it.
const CASES: &[(&str, &str)] = &[
    ("body", "body size limit exceeded"),
    ("line", "limit"),
    ("gzip", "body size limit exceeded"),
    ("zstd", "body size limit exceeded"),
    ("snappy", "body size limit exceeded"),
    ("coding", "unknown Content-Encoding \"br\""),
    ("label", "limit"),
    ("utf8", "invalid UTF-8"),
    ("nul", "while parsing"),
    ("labels", "limit"),
    ("many", "limit"),
    ("twice", "is not unique"),
    ("slow", "context deadline exceeded"),
    ("silent", "context deadline exceeded"),
    ("loop", "stopped after 10 redirects"),
    ("html", "Content-Type"),
    ("garbage", "while parsing"),
];

#[test]
fn bad_exporters_fail_by_themselves_and_say_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    // Those that are to run out of time should not take long for it; the others have enough.
    let job = |kind: &str| {
        let seconds = if ["slow", "silent"].contains(&kind) { "1s" } else { "10s" };
        let times = format!("scrape_interval: {seconds}, scrape_timeout: {seconds}");
        let targets = format!("static_configs: [{{targets: ['{address}']}}]");
        format!("- {{job_name: {kind}, {times}, metrics_path: /{kind}, {targets}}}\n")
    };
    let fine = ["honest", "duplicates", "future"];
    let jobs: String = CASES.iter().map(|(kind, _)| *kind).chain(fine).map(job).collect();
    let scratch = Scratch::new("hostile");
    let config = format!("scrape_configs:\n{jobs}");
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &config)));
    for (kind, words) in CASES {
        let mut said = String::new();
        wait_until(&format!("{kind} to say {words:?}"), BOUND, || {
            let targets = server.get(&format!("/api/v1/targets?scrapePool={kind}")).json();
            let target = &targets["data"]["activeTargets"][0];
            target["lastError"].as_str().unwrap_or_default().clone_into(&mut said);
            println!("{kind}: {said}");
            // Whose turn always comes while others hold the memory for bodies is asked at another time.
            if said.contains("too much memory") {
                let asked = format!("{{\"pool\": \"{kind}\", \"instance\": \"{address}\"}}");
                server.post("/api/watchkeeper/v1/targets/scrape", "application/json", asked.as_bytes());
            }
            target["health"] == "down" && said.contains(words)
        });
        assert!(said.len() < 4096, "{kind}: {} bytes of reason", said.len());
        wait_until(&format!("{kind} to be down"), BOUND, || server.value(&format!("up{{job=\"{kind}\"}}")) == Some(0.0));
    }
    // As in Prometheus these cost the samples alone: of two at one time the first stays, and nothing is stored of the future.
    // They have turns of their own.
    wait_until("the first of two", BOUND, || server.value("a{job=\"duplicates\"}") == Some(1.0));
    wait_until("what is not of the future", BOUND, || server.value("kept{job=\"future\"}") == Some(1.0));
    wait_until("the honest one", BOUND, || server.value("up{job=\"honest\"}") == Some(1.0));
    assert!(server.query("ahead").is_empty());
    assert_eq!(server.value("min_over_time(up{job=~\"honest|duplicates|future\"}[1m]) == 0"), None);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.child.id())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    println!("peak: {peak:?} kB");
    assert!(peak.is_some_and(|kilobytes| kilobytes < 700 << 10), "{peak:?}");
    assert_eq!(http::get(&server.address, "/-/healthy").unwrap().status, 200);
}
