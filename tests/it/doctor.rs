//! `watchkeeper doctor` on real servers that work and that fail in the usual ways.

use crate::support::mail::MailServer;
use crate::support::server::BINARY;
use crate::support::zookeeper::{ZooKeeper, ask};
use crate::support::{Scratch, free_port, run, wait_until};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What `doctor` says of a configuration: exit code and text.
fn doctor(scratch: &Scratch, config: &str) -> (i32, String) {
    let path = scratch.write("watchkeeper.yml", config);
    run(Command::new(BINARY).args(["doctor", "--config"]).arg(path))
}

fn holds(told: &(i32, String), code: i32, words: &[&str]) {
    assert_eq!(told.0, code, "{}", told.1);
    for word in words {
        assert!(told.1.contains(word), "{word:?} is missing in:\n{}", told.1);
    }
}

fn mail(host: &str, port: u16, more: &str, email: &str) -> String {
    format!(
        "alertmanager:\n  global: {{smtp_smarthost: '{host}:{port}', smtp_from: w@example.org{more}}}\n  route: {{receiver: ops}}\n  receivers: [{{name: ops, email_configs: [{{to: o@example.org{email}}}]}}]\n"
    )
}

/// A server that says something to whoever connects, or to whoever has asked.
fn says(words: &'static [u8], waits_for_a_request: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                if waits_for_a_request {
                    let _asked = stream.read(&mut [0; 4096]);
                }
                let _sent = stream.write_all(words);
                let _read = stream.read(&mut [0; 512]);
            });
        }
    });
    port
}

#[test]
fn mail_servers_are_tried_up_to_the_mail() {
    let scratch = Scratch::new("doctor-mail");
    let server = MailServer::start(&scratch);
    let ca = |path: &Path| format!(", tls_config: {{ca_file: '{}'}}", path.display());
    let trusted = ca(&server.ca_file());
    let auth = |password: &str| format!(", smtp_auth_username: wk, smtp_auth_password: {password}");
    let good = doctor(&scratch, &mail("localhost", server.port, &auth("secret"), &trusted));
    holds(
        &good,
        0,
        &[
            "localhost is ",
            "takes connections",
            "greets, and offers",
            "STARTTLS stands, the certificate is good",
            "AUTH as wk is accepted",
            "everything works",
        ],
    );
    let wrong = doctor(&scratch, &mail("127.0.0.1", server.port, &auth("guess"), &trusted));
    holds(&wrong, 1, &["STARTTLS", "535", "user or password are not what the server knows"]);
    assert!(!wrong.1.contains("guess"), "no secret is shown: {}", wrong.1);
    let foreign = doctor(&scratch, &mail("127.0.0.1", server.port, &auth("secret"), ""));
    holds(&foreign, 1, &["FAIL  STARTTLS", "tls_config.ca_file"]);
    let implicit =
        doctor(&scratch, &mail("127.0.0.1", server.port, &auth("secret"), &format!(", force_implicit_tls: true{trusted}")));
    holds(&implicit, 1, &["FAIL  TLS handshake", "force_implicit_tls: false"]);
    assert_eq!(server.mails().len(), 0, "nothing was sent");
    // Servers that are none.
    let port = free_port();
    holds(&doctor(&scratch, &mail("127.0.0.1", port, "", "")), 1, &["Connection refused", "nothing listens on this port"]);
    holds(
        &doctor(&scratch, &mail("no-such-host.invalid", 25, "", "")),
        1,
        &["no-such-host.invalid: no address", "is the name spelled right"],
    );
    let busy = says(b"421 too busy\r\n", false);
    holds(&doctor(&scratch, &mail("127.0.0.1", busy, "", "")), 1, &["the server does not want to talk: 421 too busy"]);
}

#[test]
fn targets_are_located_where_they_fail() {
    let scratch = Scratch::new("doctor-targets");
    let (closed, page) = (free_port(), says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true));
    let good = says(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\na 1\nb 2\n", true);
    let job = |port: u16, more: &str| {
        format!("scrape_configs: [{{job_name: j{more}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n")
    };
    holds(&doctor(&scratch, &job(good, "")), 0, &["2 samples, 8 bytes"]);
    holds(
        &doctor(&scratch, &job(good, ", sample_limit: 1")),
        1,
        &["more samples than sample_limit (1): the whole scrape is given up"],
    );
    holds(&doctor(&scratch, &job(closed, "")), 1, &["Connection refused", "nothing listens on this port"]);
    holds(
        &doctor(&scratch, &job(page, "")),
        1,
        &["404 Not Found (is metrics_path right?)", "takes connections", "so name and port are right"],
    );
}

#[test]
fn zookeeper_is_tried_step_by_step_and_left_as_it_was() {
    let scratch = Scratch::new("doctor-zookeeper");
    let zookeeper = ZooKeeper::start(&scratch);
    let port = zookeeper.port;
    wait_until("ZooKeeper to serve", Duration::from_secs(30), || {
        ask(&zookeeper.address(), "srvr").is_ok_and(|told| told.contains("Mode:"))
    });
    let config = |connect: &str, more: &str| format!("zookeeper: {{connect: '{connect}'{more}}}\n");
    let fresh = doctor(&scratch, &config(&format!("localhost:{port}"), ""));
    holds(
        &fresh,
        0,
        &[
            "localhost is ",
            "serves as standalone",
            "session of ",
            "/watchkeeper is not there yet",
            "/ can be written",
            "no zookeeper.auth",
        ],
    );
    let chroot = doctor(&scratch, &config(&format!("127.0.0.1:{port}/apps/monitoring"), ""));
    holds(&chroot, 0, &["the chroot /apps/monitoring is not there yet", "/ can be written"]);
    let made = zookeeper.client(&["ls", "/"]);
    assert!(made.lines().any(|line| line == "[zookeeper]"), "nothing was made: {made}");
    // A folder of somebody else.
    zookeeper.client(&["create", "/watchkeeper", ""]);
    zookeeper.client(&["create", "/watchkeeper/rules", ""]);
    zookeeper.client(&["create", "/watchkeeper/config", ""]);
    zookeeper.client(&["setAcl", "/watchkeeper/rules", "digest:ops:nothing:cdrwa"]);
    zookeeper.client(&["setAcl", "/watchkeeper/config", "world:anyone:r"]);
    let foreign = doctor(&scratch, &config(&format!("127.0.0.1:{port}"), ", auth: {digest: 'wk:secret'}"));
    holds(
        &foreign,
        1,
        &[
            "no permission for znode /watchkeeper/rules",
            "its ACL does not let this user in",
            "/watchkeeper/config: nothing may be made in it",
            "2 steps failed",
        ],
    );
    assert!(!foreign.1.contains("secret"), "{}", foreign.1);
    // Two of three are away.
    let away = doctor(&scratch, &config(&format!("127.0.0.1:{port},127.0.0.1:{},127.0.0.1:{}", free_port(), free_port()), ""));
    holds(&away, 1, &["Connection refused", "1 of 3 servers serve: an ensemble of 3 needs 2"]);
    // Nobody is there: nothing is said of connections that stand.
    let nobody = doctor(&scratch, &config(&format!("127.0.0.1:{}", free_port()), ""));
    holds(&nobody, 1, &["Connection refused", "no session: none of the servers takes a connection"]);
    assert!(!nobody.1.contains("connections stand"), "{}", nobody.1);
}
