//! The way in: the login page and its cookie, TLS whose certificate is renewed while the server runs, and what is checked before.

use crate::support::http::{self, Answer};
use crate::support::server::{BINARY, Server};
use crate::support::{Scratch, run, wait_until};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);
const SESSION: &str = "/api/watchkeeper/v1/session";
/// Of `sesame` and of `other`.
const SESAME: &str = "$2b$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW";
const OTHER: &str = "$2b$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu";

fn users(hash: &str) -> String {
    format!(
        "web:\n  basic_auth_users: {{li: '{hash}', guest: '{hash}'}}\n  roles: {{guest: viewer}}\n  frame_ancestors: [https://intranet.example]\n"
    )
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    http::request(&server.address, method, path, headers, body.as_bytes()).unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn login(server: &Server, user: &str) -> String {
    let body = json!({"user": user, "password": "sesame"}).to_string();
    let answer = ask(server, "POST", SESSION, &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    header(&answer, "set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn user(server: &Server, cookie: &str) -> Value {
    ask(server, "GET", SESSION, &[("Cookie", cookie)], "").json()["data"]["user"].clone()
}

#[test]
fn people_log_in_on_a_page_and_scripts_as_ever() {
    let scratch = Scratch::new("login");
    let config = scratch.write("watchkeeper.yml", &users(SESAME));
    let server = Server::start(&scratch, Some(&config));
    let page = ask(&server, "GET", "/alerts", &[("Accept", "text/html")], "");
    assert_eq!((page.status, header(&page, "www-authenticate")), (401, None));
    assert!(page.body.contains("<html") && !page.body.contains("basic_auth"), "{}", page.body);
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self' https://intranet.example";
    assert_eq!(header(&page, "content-security-policy"), Some(policy));
    assert_eq!(
        (header(&page, "x-content-type-options"), header(&page, "referrer-policy")),
        (Some("nosniff"), Some("same-origin"))
    );
    // The page's own files come without a login, where it was built with them.
    for part in page.body.split('"').filter(|part| part.starts_with("/assets/")) {
        let file = ask(&server, "GET", part, &[], "");
        assert_eq!((file.status, header(&file, "cache-control")), (200, Some("public, max-age=31536000, immutable")), "{part}");
        assert_eq!(header(&file, "vary"), Some("Accept-Encoding"));
        let again = ask(&server, "GET", part, &[("If-None-Match", header(&file, "etag").unwrap())], "");
        assert_eq!(again.status, 304, "{part}");
    }
    assert_eq!(ask(&server, "GET", "/assets/none.js", &[("Accept", "text/html")], "").status, 404);
    let script = ask(&server, "GET", "/api/v1/query?query=1", &[], "");
    assert_eq!((script.status, header(&script, "www-authenticate")), (401, Some("Basic")));
    let basic = [("Authorization", "Basic bGk6c2VzYW1l")];
    assert_eq!(ask(&server, "GET", "/api/v1/query?query=1", &basic, "").status, 200);

    let (li, guest) = (login(&server, "li"), login(&server, "guest"));
    assert_eq!(ask(&server, "GET", "/api/v1/query?query=1", &[("Cookie", &guest)], "").status, 200);
    assert_eq!(ask(&server, "GET", "/", &[("Cookie", &guest), ("Accept", "text/html")], "").status, 200);
    let reload = |cookie: &str| ask(&server, "POST", "/-/reload", &[("Cookie", cookie)], "").status;
    assert_eq!((reload(&guest), reload(&li)), (403, 200));
    // Live events come with the cookie alone: a browser can give them no header.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let request = format!("GET /api/watchkeeper/v1/events HTTP/1.1\r\nHost: {}\r\nCookie: {guest}\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut told = String::new();
    while !told.contains("event: heartbeat") {
        let mut piece = [0; 512];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "{told}");
        told.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");

    // Logging out takes the cookie back; another password ends the sessions that the old one began.
    let out = ask(&server, "DELETE", SESSION, &[("Cookie", &li)], "");
    assert!(header(&out, "set-cookie").unwrap().contains("Max-Age=0"), "{}", out.head);
    scratch.write("watchkeeper.yml", &users(OTHER));
    assert_eq!(user(&server, &guest), "guest");
    assert_eq!(reload(&li), 200);
    assert_eq!((user(&server, &guest), user(&server, &li)), (Value::Null, Value::Null));
    assert_eq!(reload(&li), 401);
}

#[test]
fn a_restart_logs_nobody_out() {
    let scratch = Scratch::new("login-restart");
    let mut server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", &users(SESAME))));
    let li = login(&server, "li");
    server.kill_and_restart();
    assert_eq!(user(&server, &li), "li");
}

/// Makes a certificate for loopback.
fn certify(scratch: &Scratch, name: &str) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.new", "-out", "cert.new"]);
    let (code, told) = run(openssl.current_dir(scratch.path()));
    assert_eq!(code, 0, "{told}");
    std::fs::copy(scratch.join("cert.new"), scratch.join("ca.pem")).unwrap();
    for part in ["key", "cert"] {
        std::fs::rename(scratch.join(&format!("{part}.new")), scratch.join(&format!("{part}.pem"))).unwrap();
    }
}

/// Asks over TLS; answers the certificate's name and the answer.
fn ask_tls(server: &Server, scratch: &Scratch, request: &str) -> (String, String) {
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-connect",
        &server.address,
        "-servername",
        "localhost",
        "-CAfile",
        "ca.pem",
        "-verify_return_error",
    ]);
    client.args(["-ign_eof"]).current_dir(scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = client.spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let told = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned();
    let name = told.lines().find_map(|line| line.strip_prefix("subject=")).unwrap_or_default().replace(' ', "");
    (name, told)
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let scratch = Scratch::new("tls");
    certify(&scratch, "first");
    let text = format!("{}  tls_server_config: {{cert_file: cert.pem, key_file: key.pem}}\n", users(SESAME));
    let config = scratch.write("watchkeeper.yml", &text);
    let (address, log) = (format!("127.0.0.1:{}", crate::support::free_port()), scratch.join("watchkeeper.log"));
    let process = Server::spawn(&address, &scratch.join("data"), Some(&config), &log);
    let server = Server::around(process, &address, &scratch.join("data"), Some(&config), &log);
    let request = "GET /-/ready HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic bGk6c2VzYW1l\r\n\r\n";
    let shown = |name: &str| {
        let (subject, told) = ask_tls(&server, &scratch, request);
        subject == format!("CN={name}") && told.contains("Watchkeeper is Ready")
    };
    wait_until("the server to be ready", Duration::from_secs(30), || shown("first"));
    certify(&scratch, "second");
    wait_until("the new certificate", BOUND, || shown("second"));
    // One that is broken leaves the old one in force.
    std::fs::rename(scratch.join("cert.pem"), scratch.join("good.pem")).unwrap();
    scratch.write("cert.pem", "no certificate");
    let (subject, _) = ask_tls(&server, &scratch, request);
    assert_eq!(subject, "CN=second");
    std::fs::rename(scratch.join("good.pem"), scratch.join("cert.pem")).unwrap();
    // The cookie goes by no other way then.
    let body = json!({"user": "li", "password": "sesame"}).to_string();
    let login = format!("POST {SESSION} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (_, told) = ask_tls(&server, &scratch, &login);
    assert!(told.contains("SameSite=Strict; Secure"), "{told}");
    // In the clear nobody is answered, and the server goes on.
    assert!(http::get(&server.address, "/-/ready").is_err());
    assert!(shown("second"));
}

#[test]
fn web_configurations_are_checked_with_their_certificates() {
    let scratch = Scratch::new("check-web");
    certify(&scratch, "mine");
    let check = |text: &str| {
        scratch.write("web.yml", text);
        run(Command::new(BINARY).args(["check", "web-config", "web.yml"]).current_dir(scratch.path()))
    };
    let tls = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n";
    let good = check(&format!("{tls}basic_auth_users: {{li: '{SESAME}'}}\n"));
    assert_eq!(good, (0, "web.yml: ok (TLS, 1 user)\n".to_owned()));
    for (text, words) in [
        ("tls_server_config: {cert_file: none.pem, key_file: key.pem}\n", "cert_file none.pem"),
        ("tls_server_config: {cert_file: key.pem, key_file: key.pem}\n", "cert_file: no certificate found"),
        ("tls_server_config: {cert_file: cert.pem}\n", "missing one of key or key_file"),
        ("tls_server_config: {cert_file: cert.pem, key_file: key.pem, cipher_suites: [NONE]}\n", "cipher_suites: \"NONE\""),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, max_version: TLS11}\n",
            "leave neither TLS 1.2 nor TLS 1.3",
        ),
        ("basic_auth_users: {li: sesame}\n", "not a bcrypt hash"),
        ("frame_ancestors: [\"https://a; script-src *\"]\n", "frame_ancestors"),
    ] {
        let (code, told) = check(text);
        assert!(code == 1 && told.contains(words), "{text}: {code} {told}");
    }
    // A server does not start, and a reload is refused, with what cannot be served.
    let config = scratch.write("watchkeeper.yml", "web:\n  tls_server_config: {cert_file: none.pem, key_file: key.pem}\n");
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--config"]).arg(config).current_dir(scratch.path());
    let (code, told) = run(&mut serve);
    assert!(code == 1 && told.contains("none.pem"), "{code} {told}");
}
