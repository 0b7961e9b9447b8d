//! What people already have works with it: promtool and amtool, and the server's own checks of bad input.

use crate::support::server::{BINARY, Server};
use crate::support::{Scratch, free_port, run, wait_until};
use std::process::{Command, Stdio};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

fn promtool(words: &[&str]) -> String {
    let (code, text) = run(Command::new("promtool").args(words));
    assert_eq!(code, 0, "promtool {words:?}: {text}");
    text
}

#[test]
fn promtool_and_amtool_are_at_home() {
    let scratch = Scratch::new("clients");
    let server = Server::start(&scratch, None);
    let url = format!("http://{}", server.address);
    wait_until("the server to scrape itself", BOUND, || server.value("sum(up)") == Some(2.0));
    assert!(promtool(&["query", "instant", &url, "up"]).contains("=> 1 @"));
    assert!(promtool(&["query", "range", "--step=15s", &url, "sum(up)"]).contains("2 @["));
    assert!(promtool(&["query", "series", "--match=node_load1", &url]).contains("node_load1"));
    assert!(promtool(&["query", "labels", &url, "job"]).contains("watchkeeper"));

    let amtool = |words: &[&str]| {
        let (code, text) = run(Command::new("amtool").arg(format!("--alertmanager.url={url}")).args(words));
        assert_eq!(code, 0, "amtool {words:?}: {text}");
        text
    };
    amtool(&["alert", "add", "Greeting", "instance=web1", "severity=info", "--annotation=summary=hello"]);
    wait_until("the alert to be listed", BOUND, || amtool(&["alert", "query", "alertname=Greeting"]).contains("hello"));
    let id = amtool(&["silence", "add", "alertname=Greeting", "-c", "a test", "-a", "li", "-d", "1h"]);
    let id = id.lines().next().unwrap_or_default().trim().to_owned();
    let listed = amtool(&["silence", "query"]);
    assert!(listed.contains(&id) && listed.contains("a test"), "{listed}");
    wait_until("the alert to be silenced", BOUND, || {
        !amtool(&["alert", "query", "alertname=Greeting"]).contains("hello")
            && amtool(&["alert", "query", "--silenced", "alertname=Greeting"]).contains("hello")
    });
    amtool(&["silence", "expire", &id]);
    assert!(!amtool(&["silence", "query"]).contains(&id));
    assert!(amtool(&["config", "routes", "show"]).contains("receiver: outbox"));
}

#[test]
fn amtool_reads_the_routes_of_a_configuration_that_goes_beyond_alertmanager() {
    let scratch = Scratch::new("amtool-routes");
    let text = "alertmanager:
  global: {smtp_from: a@example.org, smtp_smarthost: outbox}
  route:
    receiver: ops
    routes:
    - {receiver: db, matchers: [team=db], escalate: {after: 30m, receiver: boss}}
  receivers:
  - name: ops
    email_configs: [{to: ops@example.org, max_connections: 3}]
  - name: db
    webhook_configs: [{url: 'http://127.0.0.1:1/hook'}]
  - name: boss
    email_configs: [{to: boss@example.org, smarthost: 'mail.example.org:25'}]
";
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", text)));
    let amtool = |words: &[&str]| {
        let url = format!("--alertmanager.url=http://{}", server.address);
        let (code, text) = run(Command::new("amtool").arg(url).args(words));
        assert_eq!(code, 0, "amtool {words:?}: {text}");
        text
    };
    let shown = amtool(&["config", "routes", "show"]);
    assert!(shown.contains("receiver: ops") && shown.contains("{team=\"db\"}  receiver: db"), "{shown}");
    assert!(amtool(&["config", "routes", "test", "team=db"]).contains("db"));
    // The server's own view says all of it.
    let config = server.get("/api/v1/status/config").body;
    assert!(config.contains("escalate") && config.contains("smtp_smarthost: outbox\\n"), "{config}");
}

#[test]
fn bad_input_is_refused_with_its_place_and_the_old_state_goes_on() {
    let scratch = Scratch::new("bad-input");
    let good = "global:\n  scrape_interval: 5s\n";
    let config = scratch.write("watchkeeper.yml", good);
    let refused_at_start = |text: &str, place: &str, words: &str| {
        let bad = scratch.write("bad.yml", text);
        let listen = format!("127.0.0.1:{}", free_port());
        let mut serve = Command::new(BINARY);
        serve.args(["serve", "--listen", &listen, "--config"]).arg(&bad).arg("--data-dir").arg(scratch.join("unused"));
        let (code, said) = run(&mut serve);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(place) && said.contains(words), "{place} {words}: {said}");
    };
    refused_at_start("global:\n  scrape_intervall: 5s\n", "bad.yml:2:3", "scrape_intervall");
    refused_at_start("global: [\n", "bad.yml:", "");
    refused_at_start("scrape_configs:\n  - job_name: a\n    kubernetes_sd_configs: [{role: pod}]\n", "", "kubernetes_sd_configs");
    refused_at_start(
        "alertmanager:\n  route: {receiver: x}\n  receivers:\n    - name: x\n      sns_configs: [{topic_arn: 'arn:aws:sns:us-east-1:1:x', sigv4: {region: a}}]\n",
        "",
        "sns",
    );

    // A template that is none, in a receiver, in a file, in a rule: check, start and reload name the same place.
    let receiver = "route: {receiver: x}\ntemplates: [bad.tmpl]\nreceivers:\n- name: x\n  email_configs:\n  - to: a@b\n    from: c@d\n    smarthost: outbox\n    html: '{{ .Foo | nofn }}'\n";
    let section = format!("alertmanager:\n  {}", receiver.trim_end().replace('\n', "\n  "));
    scratch.write("bad.tmpl", "{{ define \"x\" }}\n  {{ nofn }}\n{{ end }}\n");
    let places = ["bad.tmpl:2:6: function \"nofn\" not defined", "html: function \"nofn\" not defined"];
    for place in places {
        refused_at_start(&section, "bad.yml:10:24", place);
    }
    let check = |what: &str, file: &std::path::Path| {
        let (code, said) = run(Command::new(BINARY).args(["check", what]).arg(file));
        assert_eq!(code, 1, "{said}");
        said
    };
    for (what, text, place) in [("config", &*section, ":10:24: "), ("alertmanager", receiver, ":9:22: ")] {
        let said = check(what, &scratch.write("templates.yml", text));
        assert!(said.contains(&format!("templates.yml{place}")) && places.iter().all(|place| said.contains(place)), "{said}");
    }
    let rules = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == (\n    annotations: {summary: '{{ nofn }}'}\n";
    let rules = scratch.write("bad-rules.yml", rules);
    let naming = scratch.write("naming.yml", "rule_files: [bad-rules.yml]\n");
    for said in [check("rules", &rules), check("config", &naming)] {
        assert!(said.contains("bad-rules.yml:5:18: ") && said.contains("bad-rules.yml:6:32: "), "{said}");
    }

    let server = Server::start(&scratch, Some(&config));
    let reload = || server.post("/-/reload", "text/plain", b"");
    assert_eq!(reload().status, 200);
    scratch.write("watchkeeper.yml", "global:\n  scrape_interval: 5s\nscrape_config: []\n");
    let answer = reload();
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("watchkeeper.yml:3:1") && answer.body.contains("scrape_config"), "{}", answer.body);
    assert!(server.get("/metrics").body.contains("watchkeeper_config_last_reload_successful 0"));
    assert!(server.get("/api/v1/status/config").body.contains("scrape_interval: 5s"));
    scratch.write("watchkeeper.yml", &section);
    let answer = reload();
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("watchkeeper.yml:10:24: ") && answer.body.contains(places[0]), "{}", answer.body);
    scratch.write("watchkeeper.yml", good);
    assert_eq!(reload().status, 200);
    assert!(server.get("/metrics").body.contains("watchkeeper_config_last_reload_successful 1"));

    let bad_query = server.get("/api/v1/query?query=sum(");
    assert_eq!(bad_query.status, 400);
    assert!(bad_query.body.contains("parse error"), "{}", bad_query.body);
    for wrong in [&["serve", "--no-such-flag"][..], &["serve", "--listen", "foo"][..]] {
        let (code, said) = run(Command::new(BINARY).args(wrong));
        assert_eq!(code, 2, "{said}");
    }
}

/// A reader that goes away (`| head`) is no failure; a full disk is one, told in a line. Neither is a panic.
#[test]
fn output_that_cannot_be_written_ends_a_command_in_order() {
    let scratch = Scratch::new("unwritten");
    let file = scratch.write("watchkeeper.yml", "global: {}\n");
    let check = |stdout: Stdio| {
        let done = Command::new(BINARY).args(["check", "config"]).arg(&file).stdout(stdout).stderr(Stdio::piped()).output();
        let done = done.unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(check(writer.into()), (Some(0), String::new()));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, said) = check(full.into());
    assert!(code == Some(1) && said.lines().count() == 1 && said.contains("standard output"), "{code:?} {said}");
}
