//! Whole files: Prometheus's and Alertmanager's own good and bad configurations, and what is ours.

use super::*;
use crate::model::shared_data;
use std::io;
use std::path::Path;

/// Reads files and folders as they are.
struct DiskFiles;

impl Files for DiskFiles {
    #[expect(clippy::disallowed_methods, reason = "a test reads the files that it is about")]
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads the files that it is about")]
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "WHERE").then(|| "here".to_owned())
    }
}

/// Judges each file of a list of cases; returns those whose verdict is not the expected one.
fn wrong_verdicts(folder: &str, list: &str, judge: impl Fn(&Path, &str) -> Result<(), ConfigError>) -> Vec<String> {
    let Some(root) = shared_data::folder() else { return Vec::new() };
    let Some(cases) = shared_data::json(&format!("{folder}/{list}")) else { return Vec::new() };
    let cases = cases.get("cases").unwrap_or(&cases).as_array().cloned().unwrap_or_default();
    assert!(cases.len() > 10, "{folder}");
    let mut wrong = Vec::new();
    for case in &cases {
        let file = case["file"].as_str().unwrap();
        let good = case["ok"].as_bool().or_else(|| case["valid"].as_bool()).unwrap();
        let path = root.join(folder).join(file);
        let text = DiskFiles.text(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        match judge(&path, &text) {
            Ok(()) if !good => wrong.push(format!("{file}: accepted, expected: {}", case["error_contains"])),
            Err(error) if good => wrong.push(format!("{file}: refused: {error}")),
            Err(error) => {
                assert!(error.file.ends_with(".yml") || error.file.ends_with(".yaml") || error.file.is_empty(), "{error:?}");
                assert!(error.line > 0 && error.column > 0, "{file}: no place: {error}");
            }
            Ok(()) => {}
        }
    }
    println!("{folder}: {} of {} verdicts right", cases.len() - wrong.len(), cases.len());
    wrong
}

#[test]
fn judges_prometheus_files_as_prometheus() {
    let wrong = wrong_verdicts("promql/config", "cases.json", |path, text| load(path, text, &DiskFiles).map(|_| ()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn judges_alertmanager_files_as_alertmanager() {
    let wrong = wrong_verdicts("alerting/config", "expected.json", |path, text| load_alertmanager(path, text).map(|_| ()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files that are refused for their PromQL or templates, which is not judged here.
const BY_RULES: [&str; 5] =
    ["bad_expr.bad.yaml", "bad-rules-syntax.yml", "invalid_rules.yaml", "rules-bad.yml", "invalid_record_name.bad.yaml"];

#[test]
fn judges_rule_files_as_far_as_their_shape_goes() {
    for (folder, list) in [("promql/rules", "cases.json"), ("alerting/rule_files", "expected.json")] {
        let mut wrong = wrong_verdicts(folder, list, |_, text| rule_file::parse(text).map(|_| ()));
        wrong.retain(|complaint| !BY_RULES.iter().any(|file| complaint.starts_with(file)));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn load_text(text: &str) -> Result<Config, ConfigError> {
    load(Path::new("/etc/watchkeeper/watchkeeper.yml"), text, &DiskFiles)
}

/// A configuration that uses every key of ours.
const OURS: &str = r#"
global:
  external_labels: {where: "${WHERE}-$$5", nobody: "x$NOBODY"}
scrape_configs:
  - job_name: ensemble
    zookeeper_servers: ["zk1:2181"]
  - job_name: discovered
    scrape_interval: 5s
    curator_sd_configs: [{paths: [/services]}]
    kafka_sd_configs: [{servers: ["zk1:2181"], paths: [/brokers], timeout: 5s}]
    dubbo_sd_configs: [{paths: [/dubbo]}]
    znode_sd_configs: [{paths: [/app], address: "{{ .json.host }}", labels: {zone: "{{ .json.zone }}"}}]
    tls_config: {ca_file: ca.pem}
alertmanager:
  global: {smtp_smarthost: outbox, smtp_from: a@example.org}
  route:
    receiver: mail
    escalate: {after: 30m, receiver: boss}
  receivers:
    - {name: mail, email_configs: [{to: b@example.org}]}
    - {name: boss, webhook_configs: [{url: "http://127.0.0.1:1/"}]}
zookeeper:
  connect: host:2181,host2:2181/chroot
  root: /watch
  session_timeout: 6s
  auth: {digest: "user:hunter2"}
  publish:
    - up
    - {name: cluster_load, query: 'sum by (instance) (node_load1)', interval: 15s}
cluster: {name: web1, advertise: "10.0.0.5:9090", secret_file: secret, share_scrapes: yes}
storage:
  retention: {time: 0, size: 10GB}
  out_of_order_window: 1h
  sync: written
web:
  external_url: https://watch.example.org/prefix
  allowed_hosts: [watch.example.org]
  basic_auth_users: {li: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}
  roles: {li: viewer}
  api_tokens: [{name: ci, role: operator, token_file: token}]
host_metrics: {collectors: [cpu, memory]}
feature: []
watch_rule_groups: [fast]
overrides:
  disk_full: {by: instance, values: {db1: 95}}
"#;

#[test]
fn reads_our_keys() {
    let config = load_text(OURS).unwrap();
    assert_eq!(config.global.external_labels.to_string(), r#"{nobody="x", where="here-$5"}"#);
    assert_eq!(config.scrape_configs[0].zookeeper_servers, ["zk1:2181"]);
    let job = &config.scrape_configs[1];
    assert_eq!((job.scrape_interval.as_secs(), job.scrape_timeout.as_secs()), (5, 5));
    assert_eq!(&*job.http.tls_config.ca_file, "/etc/watchkeeper/ca.pem");
    assert_eq!(job.discovery.znode[0].labels["zone"], "{{ .json.zone }}");
    assert_eq!(job.discovery.kafka[0].timeout.as_secs(), 5);
    let zookeeper = config.zookeeper.as_ref().unwrap();
    assert_eq!(zookeeper.publish[0].0.query, "up");
    assert_eq!(zookeeper.publish[1].0.interval.as_secs(), 15);
    assert!(config.cluster.share_scrapes);
    assert_eq!((config.storage.retention.time.as_secs(), config.storage.retention.size.0), (0, 10 << 30));
    assert_eq!(config.host_metrics.collectors, ["cpu", "memory"]);
    assert!((config.overrides["disk_full"].values["db1"] - 95.0).abs() < f64::EPSILON);
    let notifier = config.notifier();
    assert!(notifier.receivers[0].email_configs[0].smarthost.is_outbox());
    assert_eq!(notifier.route.as_ref().unwrap().escalate.as_ref().unwrap().receiver, "boss");
}

#[test]
fn what_is_shown_reads_back_the_same_and_hides_secrets() {
    let shown = load_text(OURS).unwrap().to_yaml();
    assert!(!shown.contains("hunter2") && !shown.contains("QOauhQNb"), "{shown}");
    assert!(shown.contains("digest: <secret>"), "{shown}");
    // What is hidden cannot be read back; the rest comes out as it went in.
    let again = shown
        .replace("here-$5", "here-$$5")
        .replace("digest: <secret>", "digest: a:b")
        .replace("li: <secret>", "li: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi")
        .replace("url: <secret>", "url: http://127.0.0.1:1/");
    assert_eq!(load_text(&again).unwrap().to_yaml(), shown);
}

#[test]
fn shows_every_good_file_so_that_it_reads_back() {
    let Some(root) = shared_data::folder() else { return };
    let mut read = 0;
    for entry in DiskFiles.list(&root.join("promql/config")).unwrap() {
        let path = root.join("promql/config").join(&entry);
        if !entry.ends_with(".good.yml") || entry.starts_with("scrape_config_files") {
            continue;
        }
        let shown = load(&path, &DiskFiles.text(&path).unwrap(), &DiskFiles).unwrap().to_yaml();
        let again = load(&path, &shown, &DiskFiles).unwrap_or_else(|error| panic!("{entry}: {error}\n{shown}"));
        assert_eq!(again.to_yaml(), shown, "{entry}");
        assert!(!shown.contains("mysecret"), "{entry}: {shown}");
        read += 1;
    }
    assert!(read > 20, "{read}");
}

#[test]
fn a_short_interval_bounds_the_time_out() {
    let config = load_text("global: {scrape_interval: 2s}\nscrape_configs: [{job_name: a}]\n").unwrap();
    assert_eq!((config.global.scrape_timeout.as_secs(), config.scrape_configs[0].scrape_timeout.as_secs()), (2, 2));
}

#[test]
fn complaints_say_where() {
    let cases = [
        ("scrape_configs:\n  - job_name: a\n    foo: 1\n", 3, 5, "unknown key \"foo\""),
        ("global:\n  scrape_interval: 1x\n", 2, 20, "duration \"1x\""),
        ("global: {}\nglobal: {}\n", 2, 1, "already set at line 1"),
        ("global: [1]\n", 1, 9, "expected a map"),
        ("scrape_configs: {}\n", 1, 17, "expected a list"),
        ("a: [\n", 1, 4, "not valid YAML"),
        ("storage:\n  sync: maybe\n", 2, 9, "acknowledged, written"),
        ("host_metrics: 7\n", 1, 15, "true or false"),
        ("zookeeper:\n  connect: 'host:99999'\n", 2, 12, "host:2181"),
        ("web:\n  roles: {li: viewer}\n", 2, 10, "not in basic_auth_users"),
        ("alertmanager:\n  route: {receiver: a}\n", 2, 21, "undefined receiver"),
        ("alertmanager: {file: /nowhere/am.yml}\n", 1, 22, "/nowhere/am.yml"),
        ("scrape_configs:\n- job_name: a\n- job_name: a\n", 3, 13, "found multiple scrape configs"),
    ];
    for (text, line, column, words) in cases {
        let error = load_text(text).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{text}\n{error}");
        assert!(error.message.contains(words), "{text}\n{error}");
        assert_eq!(error.file, "/etc/watchkeeper/watchkeeper.yml");
    }
}

#[test]
fn a_small_file_cannot_become_a_large_tree() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, last) in ('b'..='j').zip('a'..='i') {
        bomb.push_str(&[&format!("{this}: &{this} ["), &*format!("*{last}, ").repeat(10), "]\n"].concat());
    }
    let error = load_text(&bomb).unwrap_err();
    assert!(error.message.contains("aliases stand for more than"), "{error}");
    for deep in ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000), "? ".repeat(10_000)] {
        assert!(load_text(&deep).is_err());
    }
    let loop_in_itself = load_text("global: &a\n  external_labels: *a\n").unwrap_err();
    assert!(loop_in_itself.line > 0, "{loop_in_itself}");
}

#[test]
fn nothing_written_is_fine_and_says_nothing() {
    for text in ["", "# nothing\n", "global:\nscrape_configs:\nrule_files:\nalerting:\nremote_write:\n"] {
        let config = load_text(text).unwrap();
        assert_eq!(Config { global: GlobalConfig::default(), ..config.clone() }, Config::default(), "{text:?}");
        assert_eq!(config.global.scrape_timeout.as_secs(), 10);
    }
    assert!(Config::without_file().host_metrics.enabled && !Config::default().host_metrics.enabled);
}

#[test]
fn what_a_client_cannot_do_is_refused_by_name() {
    let text = "scrape_configs:
- {job_name: a, basic_auth: {username: u, password_ref: p}}
- {job_name: b, authorization: {credentials_ref: c}, tls_config: {ca_ref: d, max_version: TLS11}}
- {job_name: c, oauth2: {client_id: i, client_secret_ref: s, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', token_url: 'http://t/'}}
- {job_name: d, http_sd_configs: [{url: 'http://t/', basic_auth: {username_ref: u}}]}
- {job_name: e, basic_auth: {username: u, password_file: p}, tls_config: {max_version: TLS12}}
remote_write: [{url: 'http://r/', round_robin_dns: true}]
";
    let refs = |job: &str, key: &str| format!("job {job:?}: {key} is not supported; supported: the text itself, or a file");
    let expected = [
        refs("a", "basic_auth.password_ref"),
        refs("b", "tls_config.ca_ref"),
        "job \"b\": tls_config.max_version TLS11 is not supported; supported: TLS12, TLS13".to_owned(),
        refs("b", "authorization.credentials_ref"),
        "job \"c\": oauth2.grant_type \"urn:ietf:params:oauth:grant-type:jwt-bearer\" is not supported; supported: client_credentials"
            .to_owned(),
        refs("c", "oauth2.client_secret_ref"),
        refs("d", "basic_auth.username_ref"),
        "remote_write http://r/: round_robin_dns is not supported".to_owned(),
    ];
    assert_eq!(load_text(text).unwrap().unsupported(&[]), expected);
}

proptest::proptest! {
    /// Any bytes: an answer, never a panic.
    #[test]
    fn any_text_is_answered(text in "[a-z:\\[\\]{}&*!|>'\"%@`#?,\\- \n\t~0-9\u{e9}]{0,200}") {
        let _answered = load_text(&text).is_ok();
        let _answered = rule_file::parse(&text).is_ok();
        let _answered = load_alertmanager(Path::new("a.yml"), &text).is_ok();
        let _answered = file_discovery::parse("a", &text).is_ok();
    }

    /// What is shown as text is read as the same text.
    #[test]
    fn texts_survive(value in "\\PC{0,20}|[a-z:\\[\\]{}&*!|>'\"%@`#?,\\- \n\t~0-9]{0,20}", name in "[a-zé:#\\- ]{1,8}") {
        let labels = crate::model::labels::Labels::from_pairs([(name.as_str(), value.replace('$', "").as_str())]);
        let mut config = Config::default();
        config.global.external_labels = labels.clone();
        let again = load_text(&config.to_yaml()).unwrap_or_else(|error| panic!("{error}\n{}", config.to_yaml()));
        proptest::prop_assert_eq!(again.global.external_labels, labels);
    }
}

#[test]
fn discovery_that_is_not_there_is_refused_with_its_place() {
    let text = "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs:\n  - role: pod\nalerting:\n  alertmanagers:\n  - consul_sd_configs: [{}]\n";
    let refused = load_text(text).unwrap().unsupported(&[]);
    let [job, alertmanagers] = refused.as_slice() else { panic!("{refused:?}") };
    assert!(job.ends_with(":4:5: job \"a\": kubernetes_sd_configs is not supported"), "{job}");
    assert!(alertmanagers.ends_with(":7:24: alerting.alertmanagers: consul_sd_configs is not supported"), "{alertmanagers}");
}

#[test]
fn only_the_first_document_counts() {
    let text = "global: {scrape_interval: 7s}\n---\nno_such_key: 1\n";
    assert_eq!(load_text(text).unwrap().global.scrape_interval.as_secs(), 7);
    let more = ["", "global: {}\n", "---\nglobal: {}\n", "global: {}\n...\n", "global: [\n---\n", text].map(has_more_documents);
    assert_eq!(more, [false, false, false, false, false, true]);
}

#[test]
fn a_pattern_that_can_match_nothing_is_refused_by_line() {
    for (pattern, fine) in
        [("[a", false), ("x/[]a.yml", false), ("[^]", false), ("[ab]*.yml", true), ("[^a].yml", true), ("a.yml", true)]
    {
        let text = format!("global: {{}}\nrule_files: ['{pattern}']\n");
        match load_text(&text) {
            Ok(_) => assert!(fine, "{pattern}"),
            Err(error) => {
                assert!(!fine, "{pattern}: {error}");
                assert!(error.line == 2 && error.to_string().contains("syntax error in pattern"), "{error}");
            }
        }
    }
}
