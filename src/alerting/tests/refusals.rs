//! Notification templates that are none: refused before they are in force, each with its place.

use crate::alerting::Alerting;
use crate::env::memory_disk::MemoryDisk;
use crate::env::{Disk as _, Env};
use std::path::Path;
use std::sync::Arc;

async fn check(text: &str, files: &[(&str, &str)]) -> Result<(), String> {
    let disk = MemoryDisk::new();
    disk.create_dir_all(Path::new("/c")).expect("a folder");
    for (name, text) in files {
        disk.replace(Path::new(name), text.as_bytes()).expect("a file");
    }
    let env = Env { disk: Arc::new(disk), ..Env::real() };
    let absent = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let config = crate::config::load(Path::new("/c/w.yml"), text, &absent).expect("well formed");
    Alerting::check(&env, &config).await.map_err(|error| error.to_string())
}

fn with(receiver: &str) -> String {
    format!("alertmanager:\n  route: {{receiver: a}}\n  receivers:\n  - name: a\n    {receiver}\n")
}

/// Takes the mark `§` out of a text; with it comes `line:column` of what stood behind it.
fn marked(text: &str) -> (String, String) {
    let before = text.split('§').next().expect("a beginning");
    let line = before.lines().count();
    (text.replace('§', ""), format!("{line}:{}", before.lines().last().unwrap_or_default().chars().count() + 1))
}

#[tokio::test]
async fn inline_templates() {
    let email = |what: &str| with(&format!("email_configs: [{{smarthost: outbox, from: a@b, to: c@d, {what}}}]"));
    let cases = [
        ("html: '{{ .Foo | §nofn }}'", "html: function \"nofn\" not defined"),
        ("text: 'ä {{ .Foo§'", "text: unclosed action"),
        ("text: §\"\\t{{ .Foo }\"", "text: unexpected \"}\" in operand"),
        ("headers: {Subject: \"{{ §nofn }}\"}", "headers.Subject: function \"nofn\" not defined"),
    ];
    for (case, words) in cases {
        let (text, place) = marked(&email(case));
        let error = check(&text, &[]).await.expect_err(case);
        assert_eq!(error, format!("/c/w.yml:{place}: receiver \"a\", email_configs[0].{words}"));
    }
    // What a template calls is looked up when it is executed; texts that are no templates stand for themselves.
    assert_eq!(check(&email("html: '{{ template \"later\" . }}', auth_password: '{{ nofn'"), &[]).await, Ok(()));
}

#[tokio::test]
async fn urls_routes_and_senders() {
    let url = check(&with("webhook_configs: [{url: 'http://h/{{ hunter2 }}'}]"), &[]).await.expect_err("refused");
    let words = "receiver \"a\", webhook_configs[0].url: not a valid template (it is a secret and not shown)";
    assert_eq!(url, format!("/c/w.yml:5:42: {words}"));
    let text = "alertmanager:\n  global: {smtp_from: '{{ nofn }}'}\n  route:\n    receiver: a\n    routes:\n    - labels:\n        team: '{{ end }}'\n  receivers: [{name: a}]\n";
    let error = check(text, &[]).await.expect_err("refused");
    assert_eq!(
        error,
        "/c/w.yml:2:27: smtp_from: function \"nofn\" not defined; /c/w.yml:7:16: route, labels.team: unexpected {{end}}"
    );
}

#[tokio::test]
async fn template_files() {
    let text = "alertmanager:\n  templates: [bad.tmpl, '*.tpl', absent.tmpl, 'none*.tmpl']\n  route: {receiver: a}\n  receivers: [{name: a}]\n";
    let good = ("/c/one.tpl", "{{ define \"x\" }}x{{ end }}");
    assert_eq!(check(text, &[good]).await, Ok(()));
    let bad = ("/c/bad.tmpl", "{{ define \"x\" }}\nx {{ .Foo | nofn }}\n{{ end }}");
    assert_eq!(check(text, &[good, bad]).await.expect_err("refused"), "/c/bad.tmpl:2:13: function \"nofn\" not defined");
    let open = ("/c/bad.tmpl", "{{ define \"x\" }}\nx");
    assert_eq!(check(text, &[good, open]).await.expect_err("refused"), "/c/bad.tmpl:2:2: unexpected EOF");
}
