//! An ensemble that takes TLS alone, and wants to know who we are.

use crate::support::server::{BINARY, Server};
use crate::support::zookeeper::{OtherClient, ZooKeeper};
use crate::support::{Scratch, run, wait_for, wait_until};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

fn state(server: &Server) -> (String, String) {
    let data = server.get("/api/watchkeeper/v1/zookeeper").json()["data"].clone();
    (data["state"].as_str().unwrap().to_owned(), data["lastError"].as_str().unwrap().to_owned())
}

#[test]
fn a_session_by_tls_shows_our_certificate_and_judges_theirs() {
    let scratch = Scratch::new("zookeeper-tls");
    let (zookeeper, port) = ZooKeeper::start_tls(&scratch);
    let file = |name: &str| scratch.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("us.pem"), file("us.key"));
    let config = |name: &str, tls: &str| {
        let text = format!("zookeeper: {{connect: 'localhost:{port}', session_timeout: 4s, tls: {{{tls}}}}}\n");
        scratch.write(&format!("{name}.yml"), &text)
    };
    let found = "scrape_configs: [{job_name: j, znode_sd_configs: [{paths: [/app], address: '{{ .json.host }}:1'}]}]\n";
    let good = config("good", &format!("ca_file: '{ca}', cert_file: '{cert}', key_file: '{key}'"));
    std::fs::write(&good, std::fs::read_to_string(&good).unwrap() + found).unwrap();
    let server = Server::start(&scratch, Some(&good));
    wait_until("the session", BOUND, || state(&server).0 == "live");
    let other = OtherClient::connect(zookeeper.address());
    other.put("/watchkeeper/rules/a.yml", b"groups: [{name: g, rules: [{record: r, expr: 'vector(1)'}]}]");
    wait_until("the rule", Duration::from_secs(2), || server.get("/api/v1/rules").body.contains("vector(1)"));
    // Discovery in the same ensemble goes the same way.
    other.put("/app/x", b"{\"host\": \"127.0.0.9\"}");
    wait_until("the target", BOUND, || server.get("/api/v1/targets").body.contains("127.0.0.9:1"));
    let own = server.get("/metrics").body;
    assert!(own.contains("watchkeeper_zookeeper_requests_total{op=\"get\",result=\"ok\"}"), "{own}");
    wait_until("the measured activation", BOUND, || {
        server.get("/metrics").body.contains("watchkeeper_zookeeper_rule_activation_seconds_count 1\n")
    });
    wait_until("the count of files", BOUND, || {
        server.get("/metrics").body.contains("watchkeeper_zookeeper_rule_files{state=\"active\"} 1\n")
    });
    let (_, told) = run(Command::new(BINARY).args(["doctor", "--config"]).arg(&good));
    assert!(told.contains("session of 4s"), "{told}");
    drop(server);

    // Who does not show a certificate is not let in; neither do we go on with servers that nobody signed whom we trust.
    for (name, tls) in [("nobody", format!("ca_file: '{ca}'")), ("stranger", format!("cert_file: '{cert}', key_file: '{key}'"))] {
        let scratch = Scratch::new("zookeeper-tls-refused");
        let server = Server::start(&scratch, Some(&config(name, &tls)));
        let error = wait_for("the refusal", BOUND, || Some(state(&server).1).filter(|error| !error.is_empty()));
        assert_ne!(state(&server).0, "live", "{name}: {error}");
        let (code, told) = run(Command::new(BINARY).args(["doctor", "--config"]).arg(config(name, &tls)));
        assert!(code == 1 && told.contains("no session: ") && told.contains("zookeeper.tls"), "{told}");
    }
    // Without an authority of its own the system's hold, and the system can be told.
    let system = config("system", &format!("cert_file: '{cert}', key_file: '{key}'"));
    let (_, told) = run(Command::new(BINARY).env("SSL_CERT_FILE", &ca).args(["doctor", "--config"]).arg(&system));
    assert!(told.contains("session of 4s"), "{told}");
    // What cannot be done is refused, not passed over.
    let skip = config("skip", "insecure_skip_verify: true");
    let (code, told) = run(Command::new(BINARY).args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&skip));
    assert!(code == 1 && told.contains("zookeeper.tls.insecure_skip_verify is not supported"), "{told}");
}
