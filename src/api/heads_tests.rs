//! Addresses as Go's servers take them, on real sockets: whatever comes how, each request is answered as itself.

use super::serve::{ServeOptions, serve};
use crate::env::Env;
use crate::env::network::BoxStream;
use crate::telemetry::metrics::Registry;
use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Uri};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// Starts a server that answers with what it was asked.
async fn echoing() -> (Env, String, watch::Sender<bool>) {
    let env = Env::real();
    let listener = env.network.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().unwrap().to_string();
    let echo =
        |method: Method, uri: Uri, body: Bytes| async move { format!("{method} {uri} {}", String::from_utf8_lossy(&body)) };
    // What does not read its body leaves it to the server.
    let careless = |uri: Uri| async move { format!("careless {uri}") };
    let router = Router::new().route("/careless", axum::routing::any(careless)).fallback(echo);
    let (running, ends) = watch::channel(false);
    drop(env.tasks.spawn("server", serve(env.clone(), listener, router, ServeOptions::default(), Registry::new(), ends)));
    (env, address, running)
}

/// Reads one answer: its status and its body; `None`: the connection ended.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u16, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).map_or(Some(0), |rest| rest.split("\r\n").next()?.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head.split(' ').nth(1)?.parse().ok()?, String::from_utf8_lossy(&body).into_owned()))
}

/// Reads one answer, if it comes in time.
async fn answer(env: &Env, stream: &mut BoxStream) -> Option<(u16, String)> {
    env.clock.timeout(Duration::from_secs(5), read(stream)).await.ok()?
}

async fn ask(env: &Env, address: &str, request: &[u8]) -> Option<(u16, String)> {
    let mut stream = env.network.connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    answer(env, &mut stream).await
}

#[tokio::test]
async fn raw_bytes_in_an_address_are_taken() {
    let (env, address, _running) = echoing().await;
    let cases = [
        ("/api/v1/query?query=up{job=\"x\"}", Some("/api/v1/query?query=up%7Bjob=%22x%22%7D")),
        ("/q?a<1&b>2&c=d|e^f`g\\h#i", Some("/q?a%3C1&b%3E2&c=d%7Ce%5Ef%60g%5Ch%23i")),
        ("/q?grüße=日", Some("/q?gr%C3%BC%C3%9Fe=%E6%97%A5")),
        ("/q?a=%22+b", Some("/q?a=%22+b")),
        // As in Go: neither spaces nor control characters.
        ("/q?a=b c\"", None),
        ("/q?a=\u{1}\"", None),
    ];
    for (target, expected) in cases {
        let request = format!("\r\nGET {target} HTTP/1.1\r\nHost: x\r\nA: \"{{<é\r\n\r\n");
        let found = ask(&env, &address, request.as_bytes()).await;
        match expected {
            Some(expected) => assert_eq!(found, Some((200, format!("GET {expected} "))), "{target}"),
            None => assert_eq!(found.map(|(status, _)| status), Some(400), "{target}"),
        }
    }
}

#[tokio::test]
async fn an_address_too_long_is_answered_with_what_to_do() {
    let (env, address, _running) = echoing().await;
    for length in [65_532, 65_533, 70_000, 1 << 20, 3 << 20] {
        let mut stream = env.network.connect(&address).await.unwrap();
        let long = format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(length));
        let sent = stream.write_all(long.as_bytes()).await;
        let found = answer(&env, &mut stream).await;
        if length == 65_532 {
            assert_eq!(found.map(|(status, body)| (status, body.len())), Some((200, 65_532 + 7)));
            continue;
        }
        if length == 3 << 20 && found.is_none() {
            // It is cut off while it is still being sent.
            continue;
        }
        sent.unwrap();
        let (status, body) = found.unwrap_or_else(|| panic!("no answer to {length} bytes"));
        assert!(status == 414 && body.contains("by POST"), "{length}: {status}");
        if length < 2 << 20 {
            // The connection goes on.
            stream.write_all(b"GET /next?{} HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            assert_eq!(answer(&env, &mut stream).await, Some((200, "GET /next?%7B%7D ".to_owned())), "{length}");
        }
    }
    // Three bytes for one count as three.
    let (status, _) = ask(&env, &address, format!("GET /?{} HTTP/1.1\r\n\r\n", "\"".repeat(30_000)).as_bytes()).await.unwrap();
    assert_eq!(status, 414);
}

/// Text that looks like requests, for bodies and addresses.
fn text(random: &mut fastrand::Rng, pieces: &[&str]) -> String {
    (0..random.usize(0..6)).map(|_| pieces[random.usize(0..pieces.len())]).collect()
}

/// Requests of one connection, as they are sent, and their answers.
fn conversation(random: &mut fastrand::Rng) -> (Vec<u8>, Vec<String>) {
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    // Behind a body in chunks addresses pass untouched.
    let mut untouched = false;
    for _ in 0..random.usize(1..8) {
        let path = if random.u8(0..5) == 0 { "/careless" } else { "/p" };
        let (raw, escaped) =
            [("", ""), ("\"{}", "%22%7B%7D"), ("<é>", "%3C%C3%A9%3E")][if untouched { 0 } else { random.usize(0..3) }];
        let query = text(random, &["a=b", "&", "%22", "x"]);
        let body = text(random, &["GET /\" HTTP/1.1\r\n\r\n", "\"", "{\r\n\r\n", "\n\n", "x"]);
        let (method, fields, framed) = match random.u8(0..5) {
            0 | 1 => ("GET", String::new(), String::new()),
            2 | 3 => ("POST", format!("Content-Length: {}\r\n", body.len()), body.clone()),
            _ => {
                untouched = true;
                let chunk = if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
                ("POST", "Transfer-Encoding: chunked\r\n".to_owned(), format!("{chunk}0\r\n\r\n"))
            }
        };
        let head = format!("{method} {path}?{query}{raw} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = if random.u8(0..6) == 0 { head.replace("\r\n", "\n") } else { head };
        sent.extend_from_slice(head.as_bytes());
        sent.extend_from_slice(framed.as_bytes());
        expected.push(match path {
            "/p" if method == "GET" => format!("GET /p?{query}{escaped} "),
            "/p" => format!("POST /p?{query}{escaped} {body}"),
            _ => format!("careless {path}?{query}{escaped}"),
        });
    }
    (sent, expected)
}

#[tokio::test]
async fn requests_of_one_connection_never_run_into_each_other() {
    let (env, address, _running) = echoing().await;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (sent, expected) = conversation(&mut random);
        let stream = env.network.connect(&address).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let pieces = async {
            let mut rest = sent.as_slice();
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(random.usize(1..=rest.len().min(120)));
                // A server that has had enough may close early.
                if writing.write_all(piece).await.is_err() {
                    return;
                }
                if random.bool() {
                    tokio::task::yield_now().await;
                }
                rest = behind;
            }
        };
        let answers = async {
            for (at, text) in expected.iter().enumerate() {
                match read(&mut reading).await {
                    Some(found) => assert_eq!(found, (200, text.clone()), "seed {seed}, request {at}"),
                    None => {
                        // After a body that nobody read the connection may end, but never go on with something else.
                        let before = expected.get(..at).unwrap_or_default();
                        assert!(before.iter().any(|text| text.starts_with("careless")), "seed {seed}: no answer {at}");
                        return;
                    }
                }
            }
        };
        let both = async { tokio::join!(pieces, answers) };
        assert!(env.clock.timeout(Duration::from_secs(10), both).await.is_ok(), "seed {seed}: no end");
    }
}
