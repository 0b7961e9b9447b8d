//! A client against small servers on loopback.

use super::{Client, ClientError, ClientOptions, Request};
use crate::env::Env;
use crate::model::base64::encode as base64;
use crate::net::options::{Auth, SecretSource};
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Answers each request by `answer(request text)`, and keeps the connection; returns the address and what was asked.
async fn server(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let env = Env::real();
    let mut listener = env.network.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
    let _server = env.clone().tasks.spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            let _connection = env.tasks.spawn("connection", async move {
                let mut text = String::new();
                let mut chunk = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut chunk).await {
                    text.push_str(&String::from_utf8_lossy(&chunk[..length]));
                    while let Some((request, rest)) = text.split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())) {
                        let reply = answer(&request);
                        log.lock().unwrap().push(request);
                        text = rest;
                        if reply.is_empty() || stream.write_all(&reply).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, asked)
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

async fn get(client: &Client, url: &str, limit: u64) -> Result<String, ClientError> {
    let work = client.send(Request::get(url, limit)?);
    let env = Env::real();
    let response = env.clock.timeout(Duration::from_secs(10), work).await.expect("within ten seconds")?;
    Ok(format!("{} {}", response.status.as_u16(), String::from_utf8_lossy(&response.body)))
}

#[tokio::test]
async fn keeps_its_connection_and_says_who_it_is() {
    let (address, asked) = server(|_| ok("", b"hello")).await;
    let options = ClientOptions {
        auth: Auth::Basic { user: Some(SecretSource::Text("a".into())), password: Some(SecretSource::Text("b".into())) },
        headers: vec![("X-Extra".into(), SecretSource::Text("1".into()))],
        ..ClientOptions::default()
    };
    let client = Client::new(&Env::real(), options);
    for _ in 0..3 {
        assert_eq!(get(&client, &format!("http://{address}/metrics?a=b"), 100).await.unwrap(), "200 hello");
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].starts_with("GET /metrics?a=b HTTP/1.1\r\n"), "{}", asked[0]);
    let lower = asked[0].to_ascii_lowercase();
    assert!(lower.contains("authorization: basic ytpi") && lower.contains("x-extra: 1"), "{lower}");
    assert!(lower.contains(&format!("host: {address}")), "{lower}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_asked_again() {
    let served = std::sync::atomic::AtomicUsize::new(0);
    let (address, asked) = server(move |_| {
        // Every second request of a connection meets a closed door.
        if served.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 == 1 { Vec::new() } else { ok("", b"x") }
    })
    .await;
    let client = Client::new(&Env::real(), ClientOptions::default());
    for _ in 0..3 {
        assert_eq!(get(&client, &format!("http://{address}/"), 100).await.unwrap(), "200 x");
    }
    assert_eq!(asked.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn bodies_have_bounds() {
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&vec![b'a'; 10_000_000]).unwrap();
        encoder.finish().unwrap()
    };
    let (address, _) = server(move |request| match request.split(' ').nth(1) {
        Some("/bomb") => ok("Content-Encoding: gzip\r\n", &bomb),
        Some("/long") => ok("", &[b'a'; 2000]),
        Some("/chunks") => {
            let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for _ in 0..100 {
                out.extend_from_slice(b"40\r\n");
                out.extend_from_slice(&[b'a'; 64]);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            out
        }
        Some("/damaged") => ok("Content-Encoding: gzip\r\n", b"\x1f\x8bnothing"),
        Some(refused @ ("/snappy" | "/br")) => {
            let text = format!("Content-Encoding: {}\r\n", refused.trim_start_matches('/'));
            String::from_utf8_lossy(&ok(&text, b"boom")).replace("200 OK", "500 X").into_bytes()
        }
        _ => b"nonsense\r\n\r\n".to_vec(),
    })
    .await;
    let client = Client::new(&Env::real(), ClientOptions::default());
    for path in ["bomb", "long", "chunks"] {
        let limit = if path == "bomb" { 100_000 } else { 1000 };
        let error = get(&client, &format!("http://{address}/{path}"), limit).await.unwrap_err();
        assert!(matches!(error, ClientError::BodyTooLong { .. }), "{path}: {error}");
    }
    assert!(get(&client, &format!("http://{address}/bomb"), 20_000_000).await.is_ok());
    let damaged = get(&client, &format!("http://{address}/damaged"), 1000).await.unwrap_err();
    assert!(matches!(damaged, ClientError::Unpack { .. }), "{damaged}");
    // A refusal that is not packed as its headers say is told all the same.
    for path in ["snappy", "br"] {
        assert_eq!(get(&client, &format!("http://{address}/{path}"), 1000).await.unwrap(), "500 boom");
    }
    assert!(matches!(get(&client, &format!("http://{address}/odd"), 1000).await, Err(ClientError::Http(_))));
    let refused = get(&client, "http://127.0.0.1:1/", 1000).await.unwrap_err();
    assert_eq!(refused.to_string(), "dial tcp 127.0.0.1:1: connect: connection refused");
}

#[tokio::test]
async fn redirects_are_followed_without_secrets_for_others() {
    let (other, asked_other) = server(|_| ok("", b"there")).await;
    let (address, _) = server(move |request| match request.split(' ').nth(1) {
        Some("/away") => format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/x\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        Some("/a/b") => b"HTTP/1.1 301 Moved\r\nLocation: c\r\nContent-Length: 0\r\n\r\n".to_vec(),
        Some("/a/c") => ok("", b"moved"),
        _ => b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let auth = Auth::Header { kind: "Bearer".into(), credentials: Some(SecretSource::Text("t".into())) };
    let client = Client::new(&Env::real(), ClientOptions { auth, ..ClientOptions::default() });
    assert_eq!(get(&client, &format!("http://{address}/a/b"), 100).await.unwrap(), "200 moved");
    assert_eq!(get(&client, &format!("http://{address}/away"), 100).await.unwrap(), "200 there");
    assert!(!asked_other.lock().unwrap()[0].to_ascii_lowercase().contains("authorization"));
    assert!(matches!(get(&client, &format!("http://{address}/loop"), 100).await, Err(ClientError::Redirects)));
    let stay = Client::new(&Env::real(), ClientOptions { follow_redirects: false, ..ClientOptions::default() });
    assert_eq!(get(&stay, &format!("http://{address}/loop"), 100).await.unwrap(), "302 ");
}

#[test]
fn encodes_base64() {
    for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(text.as_bytes()), encoded);
    }
}

#[tokio::test]
async fn oauth2_asks_once_and_again_when_refused() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let (address, asked) = server(move |request| {
        let lower = request.to_ascii_lowercase();
        // What is left of the form before stands in front.
        if request.contains("POST /token") {
            // This server takes no basic authentication.
            if lower.contains("authorization: basic") {
                return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec();
            }
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return ok(
                "",
                format!("{{\"access_token\":\"t{number}\",\"token_type\":\"bearer\",\"expires_in\":3600}}").as_bytes(),
            );
        }
        if request.contains("Bearer t") && !request.starts_with("GET /refused") {
            return ok("", b"inside");
        }
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec()
    })
    .await;
    let oauth2 = super::oauth2::OAuth2Options {
        client_id: "me".into(),
        client_secret: Some(SecretSource::Text("s&cret".into())),
        token_url: format!("http://{address}/token"),
        scopes: vec!["a".into(), "b".into()],
        endpoint_params: vec![("audience".into(), "x y".into())],
        client: ClientOptions::default(),
    };
    let client = Client::new(&Env::real(), ClientOptions { oauth2: Some(Box::new(oauth2)), ..ClientOptions::default() });
    for _ in 0..3 {
        assert_eq!(get(&client, &format!("http://{address}/metrics"), 100).await.unwrap(), "200 inside");
    }
    assert_eq!(get(&client, &format!("http://{address}/refused"), 100).await.unwrap(), "401 ");
    assert_eq!(get(&client, &format!("http://{address}/metrics"), 100).await.unwrap(), "200 inside");
    let asked = asked.lock().unwrap();
    let with = |words: &str| asked.iter().filter(|request| request.contains(words)).count();
    // Twice for the first token (the second way worked, and is remembered), once for the token after the refusal.
    assert_eq!((with("POST /token"), with("GET /metrics")), (3, 4), "{asked:?}");
    assert_eq!((with("Bearer t0"), with("Bearer t1")), (4, 1));
    // The form that worked came before the second token's request on one connection.
    assert_eq!(with("client_id=me&client_secret=s%26cret"), 1);
    assert_eq!(with("grant_type=client_credentials&scope=a+b&audience=x+y"), 2);
}

#[tokio::test]
async fn proxies_are_asked_as_configured() {
    let (direct, asked_direct) = server(|_| ok("", b"direct")).await;
    let (proxy, asked) = server(|request| match request.starts_with("CONNECT") {
        true => b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec(),
        false => ok("", b"through"),
    })
    .await;
    let options = ClientOptions {
        proxy_url: Some(format!("http://ann:secret@{proxy}")),
        no_proxy: "127.0.0.0/8".to_owned(),
        proxy_headers: vec![("X-Pass".into(), SecretSource::Text("key".into()))],
        ..ClientOptions::default()
    };
    let client = Client::new(&Env::real(), options);
    assert_eq!(get(&client, "http://far.example.org:81/metrics?a=b", 100).await.unwrap(), "200 through");
    assert_eq!(get(&client, &format!("http://{direct}/metrics"), 100).await.unwrap(), "200 direct");
    let refused = get(&client, "https://far.example.org/metrics", 100).await.unwrap_err();
    assert_eq!(refused.to_string(), "proxy: HTTP/1.1 407 Proxy Authentication Required");
    let proves = format!("proxy-authorization: Basic {}", base64(b"ann:secret")).to_ascii_lowercase();
    let heads: Vec<String> = asked.lock().unwrap().iter().map(|head| head.to_ascii_lowercase()).collect();
    assert!(heads[0].starts_with("get http://far.example.org:81/metrics?a=b http/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains(&proves) && heads[0].contains("host: far.example.org:81"), "{heads:?}");
    assert!(heads[1].starts_with("connect far.example.org:443 http/1.1\r\n") && heads[1].contains(&proves), "{heads:?}");
    // These headers are for the tunnel alone.
    assert!(heads[1].contains("x-pass: key") && !heads[0].contains("x-pass"), "{heads:?}");
    assert!(!asked_direct.lock().unwrap()[0].to_ascii_lowercase().contains("proxy"));
}
