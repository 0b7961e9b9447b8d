//! The links in a mail that act, followed as a reader of the mail would: without a login, and good for just what they say.

use crate::support::server::Server;
use crate::support::{Scratch, http, wait_for, wait_until};
use std::path::Path;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(40);

/// Every link that acts, in the order of the mail's text.
fn links(mail: &str) -> Vec<String> {
    let joined = mail.replace("=\r\n", "").replace("=3D", "=");
    let text = joined.split("text/html").next().unwrap();
    let mut found = Vec::new();
    for part in text.split("/act/").skip(1) {
        found.push(format!("/act/{}", part.split(['\r', '\n', ' ', '"']).next().unwrap()));
    }
    found
}

fn outbox(data: &Path) -> Vec<String> {
    let Ok(list) = std::fs::read_dir(data.join("outbox")) else { return Vec::new() };
    let mut files: Vec<_> =
        list.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml")).collect();
    files.sort();
    files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

#[test]
fn a_reader_acknowledges_and_silences_from_the_mail() {
    let scratch = Scratch::new("links");
    let rules = "groups: [{name: g, rules: [{alert: Always, expr: 'watchkeeper_build_info > 0.5', labels: {severity: page}}]}]\n";
    scratch.write("rules.yml", rules);
    let config = "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 300ms}\n\
                  rule_files: [rules.yml]\n\
                  web: {api_tokens: [{name: ci, role: operator, token: not-to-be-guessed}]}\n\
                  alertmanager:\n  \
                    global: {smtp_smarthost: outbox, smtp_from: watch@example.org}\n  \
                    route: {receiver: ops, group_wait: 1s, group_interval: 1s}\n  \
                    receivers: [{name: ops, email_configs: [{to: ops@example.org}]}]\n";
    let mut server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", config)));
    let data = scratch.join("data");
    let mail = wait_for("the mail", BOUND, || outbox(&data).into_iter().next());
    assert!(mail.contains("image/png"), "the chart of the rule's expression is in the mail: {mail}");
    let links = links(&mail);
    let words: Vec<&str> = links.iter().map(|link| link.split('/').nth(2).unwrap()).collect();
    assert_eq!(words, ["acknowledge", "silence-1h", "silence-until-resolved", "silence-until-monday"]);

    let bearer = [("Authorization", "Bearer not-to-be-guessed")];
    let ask = |server: &Server, path: &str| http::request(&server.address, "GET", path, &bearer, &[]).unwrap();
    let fingerprint = links[0].split('/').nth(3).unwrap().to_owned();
    let silences = |server: &Server| ask(server, "/api/v2/silences").json().as_array().unwrap().clone();
    assert_eq!(server.get("/api/v2/silences").status, 401, "everything else needs the token");

    // A program that looks at links changes nothing.
    for link in &links {
        let page = server.get(link);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("Always") && page.body.contains("<form method=\"post\""), "{}", page.body);
        assert!(page.head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{}", page.head);
    }
    let zh = http::request(&server.address, "GET", &links[0], &[("Accept-Language", "zh-CN,zh;q=0.9")], &[]).unwrap();
    assert!(zh.body.contains("lang=\"zh-CN\"") && zh.body.contains("确认"), "{}", zh.body);
    let history = |server: &Server| ask(server, &format!("/api/watchkeeper/v1/alerts/{fingerprint}/history")).json();
    assert!(history(&server)["data"]["acknowledged"].is_null() && silences(&server).is_empty());

    let form = b"by=Li+%3Cb%3E&comment=looking";
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let press = |server: &Server, link: &str, origin: &str| {
        http::request(&server.address, "POST", link, &[kind, ("Origin", origin)], form).unwrap()
    };
    let own = format!("http://{}", server.address);
    assert_eq!(press(&server, &links[0], "https://evil.example").status, 403, "not from another page");
    assert!(history(&server)["data"]["acknowledged"].is_null());
    let done = press(&server, &links[0], &own);
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(history(&server)["data"]["acknowledged"]["by"], "Li <b>");
    let page = server.get(&links[0]);
    assert!(page.body.contains("Li &lt;b&gt;") && !page.body.contains("Li <b>"), "{}", page.body);

    // Twice is once.
    for _ in 0..2 {
        assert_eq!(press(&server, &links[1], &own).status, 200);
    }
    let made = silences(&server);
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!((&made[0]["createdBy"], &made[0]["comment"]), (&"Li <b>".into(), &"looking".into()));
    assert_eq!(press(&server, &links[2], &own).status, 200);
    assert_eq!(silences(&server).iter().filter(|silence| silence["untilResolved"] == true).count(), 1);

    // Changed, cut off, of another day: nothing of it.
    let changed = links[1].replace("silence-1h", "silence-until-monday");
    for bad in [changed.as_str(), &links[1][..links[1].len() - 2], "/act/acknowledge/0/0/0", "/act/rm/00/1/ff"] {
        assert_eq!(press(&server, bad, &own).status, 404, "{bad}");
        assert_eq!(server.get(bad).status, 404, "{bad}");
    }
    assert_eq!(silences(&server).len(), 2);
    // The key is kept: a mail of before is good after.
    server.kill_and_restart();
    wait_until("the alert to be back", BOUND, || server.get(&links[3]).status == 200);
    assert_eq!(silences(&server).len(), 2);
}
