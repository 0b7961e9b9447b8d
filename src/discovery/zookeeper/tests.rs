//! What members of each kind come to, with rubbish among them, and sources against an ensemble in memory.

use super::*;
use crate::config::{self, Config};
use std::io;
use std::path::Path;

fn node(data: &[u8], zxid: i64) -> Znode {
    Znode { data: Arc::from(data), mzxid: zxid, czxid: zxid, version: 0, modified_ms: 0, owner: 0, denied: false }
}

fn tree(root: &str, nodes: &[(&str, &[u8])]) -> Tree {
    let nodes = nodes.iter().zip(1..).map(|((path, data), zxid)| ((*path).to_owned(), node(data, zxid)));
    Tree { nodes: nodes.collect(), roots: BTreeMap::from([(root.to_owned(), None)]) }
}

fn load(text: &str) -> Result<Config, String> {
    let files = |_: &Path| Err::<String, _>(io::ErrorKind::NotFound.into());
    config::load(Path::new("/etc/w.yml"), text, &files).map_err(|error| error.to_string())
}

/// Returns the only source of a job with this section.
fn source(section: &str) -> Source {
    let config = load(&format!("zookeeper: {{connect: 'own:2181/app'}}\nscrape_configs: [{{job_name: j, {section}}}]")).unwrap();
    let (mut sources, errors) = Source::of(&config.scrape_configs[0].discovery, &config);
    assert_eq!((sources.len(), errors.len()), (1, 0), "{errors:?}");
    sources.remove(0)
}

/// Reads znodes as a source does: the targets as text, and what is wrong.
fn read(section: &str, nodes: &[(&str, &[u8])]) -> (Vec<String>, Vec<String>) {
    let source = source(section);
    let root = source.roots[0].clone();
    let mut reader = Reader::new(&source.format).unwrap();
    let mut groups = BTreeMap::new();
    let errors = take(&mut reader, &mut groups, &tree(&root, nodes), &source);
    (groups[&root].targets.iter().map(ToString::to_string).collect(), errors)
}

#[test]
fn serversets_as_prometheus_reads_them() {
    let (targets, errors) = read(
        "serverset_sd_configs: [{servers: [a:2181, b:2181], paths: [/services/]}]",
        &[
            ("/services", b""),
            (
                "/services/web/member_0000000001",
                br#"{"serviceEndpoint": {"host": "10.0.0.1", "port": 8080}, "additionalEndpoints":
                    {"admin-http": {"host": "10.0.0.1", "port": 9990}}, "status": "ALIVE", "shard": 3}"#,
            ),
            (
                "/services/web/member_0000000002",
                br#"{"ServiceEndpoint": {"Host": "fd00::1", "Port": 1}, "additionalEndpoints": null}"#,
            ),
            ("/services/web", b""),
            ("/services/x/array", b"[1]"),
            ("/services/x/binary", b"\x00\xff\xfe\x01"),
            ("/services/x/port", br#"{"serviceEndpoint": {"host": "h", "port": 70000}}"#),
            ("/services/x/text-port", br#"{"serviceEndpoint": {"host": "h", "port": "80"}}"#),
            ("/services/x/without", b"{}"),
        ],
    );
    assert_eq!(
        targets,
        [
            concat!(
                r#"{__address__="10.0.0.1:8080", __meta_serverset_endpoint_host="10.0.0.1", "#,
                r#"__meta_serverset_endpoint_host_admin_http="10.0.0.1", __meta_serverset_endpoint_port="8080", "#,
                r#"__meta_serverset_endpoint_port_admin_http="9990", __meta_serverset_path="/services/web/member_0000000001", "#,
                r#"__meta_serverset_shard="3", __meta_serverset_status="ALIVE"}"#
            ),
            concat!(
                r#"{__address__="[fd00::1]:1", __meta_serverset_endpoint_host="fd00::1", __meta_serverset_endpoint_port="1", "#,
                r#"__meta_serverset_path="/services/web/member_0000000002", __meta_serverset_shard="0"}"#
            ),
        ]
    );
    assert_eq!(
        errors,
        [
            "/services/x/array: its data are JSON, but no object",
            "/services/x/binary: its data are not JSON: expected value at line 1 column 1",
            "/services/x/port: serviceEndpoint: port is not a port: 70000",
            "/services/x/text-port: serviceEndpoint: port is not a port: \"80\"",
            "/services/x/without: it has no serviceEndpoint",
        ]
    );
}

#[test]
fn nerve_as_prometheus_reads_it() {
    let long = vec![b' '; MEMBER_BYTES_MAX + 1];
    let deep = "[".repeat(30_000);
    let (targets, errors) = read(
        "nerve_sd_configs: [{servers: ['a:2181'], paths: [/nerve]}]",
        &[
            ("/nerve", b""),
            (
                "/nerve/shop/i_1",
                br#"{"host": "10.1.0.1", "port": 3000, "name": "i-1", "haproxy_server_options": "x", "weight": 1}"#,
            ),
            ("/nerve/shop/odd \u{fc}\"name", br#"{"host": "h", "port": 1}"#),
            ("/nerve/z/deep", deep.as_bytes()),
            ("/nerve/z/long", &long),
        ],
    );
    assert_eq!(
        targets[0],
        concat!(
            r#"{__address__="10.1.0.1:3000", __meta_nerve_endpoint_host="10.1.0.1", __meta_nerve_endpoint_name="i-1", "#,
            r#"__meta_nerve_endpoint_port="3000", __meta_nerve_path="/nerve/shop/i_1"}"#
        )
    );
    assert!(targets[1].contains("__meta_nerve_path=\"/nerve/shop/odd \u{fc}\\\"name\""), "{}", targets[1]);
    assert!(errors[0].starts_with("/nerve/z/deep: its data are not JSON: recursion limit"), "{errors:?}");
    assert_eq!(errors[1], "/nerve/z/long: 65537 bytes are more than a target's data may have (65536)");
}

#[test]
fn curator_and_spring_cloud() {
    let spring = br#"{"name": "orders", "id": "u-1", "address": "10.2.0.1", "port": 8081, "sslPort": null, "payload":
        {"@class": "org.x.ZookeeperInstance", "id": "orders", "metadata": {"management.port": "9091", "zone": "z1", "list": []}},
        "registrationTimeUTC": 1700000000000, "serviceType": "DYNAMIC", "uriSpec": {"parts": []}}"#;
    let plain = br#"{"name": "pay", "id": "p", "address": "10.2.0.2", "port": null, "sslPort": 8443, "payload": {"version": 2},
        "serviceType": "STATIC", "enabled": false}"#;
    let (targets, errors) = read(
        "curator_sd_configs: [{paths: [/services]}]",
        &[
            ("/services", b""),
            ("/services/orders", b"10.2.0.9"),
            ("/services/orders/u-1", spring),
            ("/services/orders/u-1/deeper", spring),
            ("/services/pay/no-port", br#"{"address": "h", "port": null}"#),
            ("/services/pay/p", plain),
        ],
    );
    assert_eq!(
        targets,
        [
            concat!(
                r#"{__address__="10.2.0.1:8081", __meta_curator_address="10.2.0.1", __meta_curator_id="u-1", "#,
                r#"__meta_curator_metadata_management_port="9091", __meta_curator_metadata_zone="z1", "#,
                r#"__meta_curator_path="/services/orders/u-1", __meta_curator_port="8081", __meta_curator_service="orders", "#,
                r#"__meta_curator_type="DYNAMIC"}"#
            ),
            concat!(
                r#"{__address__="10.2.0.2:8443", __meta_curator_address="10.2.0.2", __meta_curator_enabled="false", "#,
                r#"__meta_curator_id="p", __meta_curator_metadata_version="2", __meta_curator_path="/services/pay/p", "#,
                r#"__meta_curator_service="pay", __meta_curator_ssl_port="8443", __meta_curator_type="STATIC", __scheme__="https"}"#
            ),
        ]
    );
    assert_eq!(errors, ["/services/pay/no-port: it has neither port nor sslPort"]);
}

#[test]
fn kafka_with_and_without_a_plain_listener() {
    let plain = br#"{"listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"}, "endpoints": ["PLAINTEXT://k1:9092"],
        "jmx_port": 9999, "features": {}, "host": "k1", "timestamp": "1", "port": 9092, "version": 5, "rack": "r1"}"#;
    let secure =
        br#"{"endpoints": ["SASL_SSL://[fd00::2]:9093", "IN-SIDE://k2:9094"], "jmx_port": -1, "host": null, "port": -1}"#;
    let nodes: [(&str, &[u8]); 5] = [
        ("/kafka/brokers/ids", b""),
        ("/kafka/brokers/ids/1", plain),
        ("/kafka/brokers/ids/2", secure),
        ("/kafka/brokers/ids/3", br#"{"endpoints": [], "host": null}"#),
        ("/kafka/brokers/ids/4", br#"{"endpoints": ["nonsense"]}"#),
    ];
    let (targets, errors) = read("kafka_sd_configs: [{paths: [/kafka]}]", &nodes);
    assert_eq!(read("kafka_sd_configs: [{paths: [/kafka/brokers/ids]}]", &nodes).0, targets);
    assert_eq!(
        targets,
        [
            concat!(
                r#"{__address__="k1:9092", __meta_kafka_broker_id="1", __meta_kafka_endpoint_PLAINTEXT="k1:9092", "#,
                r#"__meta_kafka_host="k1", __meta_kafka_jmx_port="9999", __meta_kafka_port="9092", __meta_kafka_rack="r1"}"#
            ),
            concat!(
                r#"{__address__="[fd00::2]:9093", __meta_kafka_broker_id="2", __meta_kafka_endpoint_IN_SIDE="k2:9094", "#,
                r#"__meta_kafka_endpoint_SASL_SSL="[fd00::2]:9093", __meta_kafka_host="fd00::2", __meta_kafka_jmx_port="-1", "#,
                r#"__meta_kafka_port="9093"}"#
            ),
        ]
    );
    assert_eq!(
        errors,
        [
            "/kafka/brokers/ids/3: it has neither host and port nor endpoints",
            "/kafka/brokers/ids/4: an endpoint is not like LISTENER://host:port: \"nonsense\"",
        ]
    );
}

#[test]
fn dubbo_providers_of_one_process_are_one_target() {
    let url = |host: &str, interface: &str, more: &str| {
        format!(
            "/dubbo/{interface}/providers/dubbo%3A%2F%2F{host}%2F{interface}%3Fapplication%3Dshop%26group%3Dg+1%26version%3D1.0{more}"
        )
    };
    let (first, second, third) = (
        url("10.3.0.1%3A20880", "a.B", "%26k-v%3D%25C3%25A9"),
        url("10.3.0.1%3A20880", "c.D", ""),
        url("%5Bfd00::3%5D%3A20880", "a.B", ""),
    );
    let nodes: Vec<(&str, &[u8])> = vec![
        ("/dubbo", b""),
        ("/dubbo/a.B/consumers/consumer%3A%2F%2Fx%3Ay", b""),
        ("/dubbo/a.B/providers", b"10.3.0.9"),
        (&first, b"10.3.0.1"),
        (&second, b"\xff"),
        (&third, b""),
        ("/dubbo/a.B/providers/dubbo%3A%2F%2Fno-port%2Fx", b""),
        ("/dubbo/a.B/providers/%ZZ", b""),
        ("/dubbo/a.B/providers/plain", b""),
    ];
    let (targets, errors) = read("dubbo_sd_configs: [{paths: [/dubbo]}]", &nodes);
    assert_eq!(targets.len(), 2);
    assert_eq!(
        targets[0],
        concat!(
            r#"{__address__="10.3.0.1:20880", __meta_dubbo_application="shop", __meta_dubbo_group="g 1", "#,
            r#"__meta_dubbo_host="10.3.0.1", __meta_dubbo_interface="a.B", __meta_dubbo_interfaces=",a.B,c.D,", "#,
            r#"__meta_dubbo_param_application="shop", __meta_dubbo_param_group="g 1", __meta_dubbo_param_k_v="é", "#,
            r#"__meta_dubbo_param_version="1.0", __meta_dubbo_port="20880", __meta_dubbo_protocol="dubbo", __meta_dubbo_version="1.0"}"#
        )
    );
    assert!(
        targets[1].contains(r#"__address__="[fd00::3]:20880""#) && targets[1].contains(r#"host="fd00::3""#),
        "{}",
        targets[1]
    );
    assert_eq!(
        errors,
        [
            "/dubbo/a.B/providers/%ZZ: invalid URL escape \"%ZZ\"",
            "/dubbo/a.B/providers/dubbo%3A%2F%2Fno-port%2Fx: \"dubbo://no-port/x\" has no host and port",
            "/dubbo/a.B/providers/plain: \"plain\" is not a URL",
        ]
    );
}

#[test]
fn znodes_by_template() {
    let section = r#"znode_sd_configs: [{paths: [/app], address: "{{ .json.host }}:{{ .json.port }}",
        labels: {zone: "{{ .json.zone }}", role: "{{ .name }}", first: "{{ index .json.tags 0 }}"}}]"#;
    let (targets, errors) = read(
        section,
        &[
            ("/app", b""),
            ("/app/a", br#"{"host": "h1", "port": 8080, "tags": ["x"]}"#),
            ("/app/b", br#"{"host": "h2", "tags": ["x"]}"#),
            ("/app/c", b"h3:1"),
            ("/app/d", br#"{"host": "h4", "port": 1, "tags": []}"#),
            ("/app/e/f", br#"{"host": "h5", "port": 1e3, "tags": ["y"], "zone": "z", "ok": true, "sub": {"k": 1}}"#),
        ],
    );
    assert_eq!(
        targets,
        [
            concat!(
                r#"{__address__="h1:8080", __meta_znode_json_host="h1", __meta_znode_json_port="8080", __meta_znode_name="a", "#,
                r#"__meta_znode_path="/app/a", first="x", role="a"}"#
            ),
            concat!(
                r#"{__address__="h5:1000", __meta_znode_json_host="h5", __meta_znode_json_ok="true", __meta_znode_json_port="1000.0", "#,
                r#"__meta_znode_json_zone="z", __meta_znode_name="f", __meta_znode_path="/app/e/f", first="y", role="f", zone="z"}"#
            ),
        ]
    );
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(errors[0], "/app/b: the address comes to \"h2:<no value>\": a field is not there");
    assert!(errors[1].starts_with("/app/c: the address comes to") && errors[1].contains("its data are not JSON"), "{errors:?}");
    assert!(errors[2].starts_with("/app/d: template: first:1:"), "{errors:?}");
}

#[test]
fn znodes_by_their_names_and_by_their_data() {
    let section = r#"znode_sd_configs: [{paths: [/live_nodes], name_regex: '(?P<host>.+):(\d+)_solr',
        address: '{{ .match.host }}:{{ index .match "2" }}', labels: {__metrics_path__: /solr/admin/metrics}}]"#;
    let nodes: &[(&str, &[u8])] = &[("/live_nodes", b""), ("/live_nodes/10.4.0.1:8983_solr", b""), ("/live_nodes/other", b"x")];
    let (targets, errors) = read(section, nodes);
    assert_eq!(
        targets,
        [concat!(
            r#"{__address__="10.4.0.1:8983", __meta_znode_name="10.4.0.1:8983_solr", "#,
            r#"__meta_znode_path="/live_nodes/10.4.0.1:8983_solr", __metrics_path__="/solr/admin/metrics"}"#
        )]
    );
    assert_eq!(errors, Vec::<String>::new());
    let nodes: &[(&str, &[u8])] = &[("/n", b""), ("/n/a", b" h:1\n"), ("/n/b", b"\xff\x00"), ("/n/c", b"two words")];
    let (targets, errors) = read("znode_sd_configs: [{paths: [/n]}]", nodes);
    assert_eq!(targets, [r#"{__address__="h:1", __meta_znode_name="a", __meta_znode_path="/n/a"}"#]);
    assert_eq!(errors, ["/n/b: its data are not a text", "/n/c: \"two words\" is not an address"]);
}

#[test]
fn what_did_not_change_is_not_read_again_and_what_is_gone_is_forgotten() {
    let source = source("nerve_sd_configs: [{servers: ['a:2181'], paths: [/nerve]}]");
    let mut reader = Reader::new(&source.format).unwrap();
    let mut groups = BTreeMap::new();
    let mut now = tree("/nerve", &[("/nerve", b""), ("/nerve/a", br#"{"host": "h", "port": 1}"#), ("/nerve/b", b"?")]);
    assert_eq!(take(&mut reader, &mut groups, &now, &source).len(), 1);
    // The same change with other data cannot be: what is known is taken.
    now.nodes.get_mut("/nerve/a").unwrap().data = Arc::from(&b"!"[..]);
    assert_eq!(take(&mut reader, &mut groups, &now, &source).len(), 1);
    // Removed and made again has a new life, whatever the numbers of its data are.
    now.nodes.insert("/nerve/b".to_owned(), Znode { czxid: 9, ..node(br#"{"host": "h", "port": 2}"#, 3) });
    assert_eq!(take(&mut reader, &mut groups, &now, &source), Vec::<String>::new());
    assert_eq!(groups["/nerve"].targets.len(), 2);
    now.nodes.remove("/nerve/a");
    take(&mut reader, &mut groups, &now, &source);
    assert_eq!((groups["/nerve"].targets.len(), reader.known.len()), (1, 2));

    // A tree that was read for others, and a root that is refused, take nothing away; one that is not there does.
    now.roots = BTreeMap::from([("/other".to_owned(), None)]);
    assert_eq!(take(&mut reader, &mut groups, &now, &source), Vec::<String>::new());
    now.roots = BTreeMap::from([("/nerve".to_owned(), Some("more than 20000 znodes below /nerve".to_owned()))]);
    let errors = take(&mut reader, &mut groups, &now, &source);
    assert_eq!(errors, ["/nerve: more than 20000 znodes below /nerve; its last known targets go on"]);
    assert_eq!(groups["/nerve"].targets.len(), 1);
    let errors = take(&mut reader, &mut groups, &tree("/nerve", &[]), &source);
    assert_eq!(errors, ["/nerve does not exist in the ensemble a:2181"]);
    assert_eq!(groups["/nerve"].targets.len(), 0);

    // What may not be read is named.
    let denied = Znode { denied: true, ..node(b"", 0) };
    now.nodes.insert("/nerve/c".to_owned(), denied);
    now.roots = BTreeMap::from([("/nerve".to_owned(), None)]);
    assert_eq!(take(&mut reader, &mut groups, &now, &source), ["/nerve/c: no permission to read it"]);
}

#[test]
fn ensembles_are_ours_or_named() {
    let ours = source("kafka_sd_configs: [{paths: [/]}]");
    assert_eq!((ours.ensemble.connect.as_str(), ours.roots[0].as_str()), ("own:2181/app", "/brokers/ids"));
    let named = source("dubbo_sd_configs: [{servers: [a:1, b:2], paths: [/b/, /a, /a/]}]");
    assert_eq!((named.ensemble.connect.as_str(), named.roots.as_slice()), ("a:1,b:2", &["/a".to_owned(), "/b".to_owned()][..]));

    let job = |section: &str| format!("scrape_configs: [{{job_name: j, {section}}}]");
    let judged = |section: &str| load(&job(section)).and_then(|config| check(&config)).unwrap_err();
    let error = judged("curator_sd_configs: [{paths: [/a]}]");
    assert!(error.starts_with("job \"j\": curator_sd_configs names no servers"), "{error}");
    let error = judged("znode_sd_configs: [{servers: ['a:1'], paths: [/a], address: '{{ .json.host'}]");
    assert!(error.starts_with("job \"j\": znode_sd_configs: template: address:1:"), "{error}");
    for (section, words) in [
        ("znode_sd_configs: [{paths: [/a], name_regex: '('}]", "missing closing )"),
        ("nerve_sd_configs: [{servers: ['a:1'], paths: ['/a//b']}]", "has an empty part"),
        ("nerve_sd_configs: [{servers: ['a:1'], paths: [a]}]", "must begin with '/'"),
        ("nerve_sd_configs: [{servers: ['a:1'], paths: [/a], timeout: 0s}]", "timeout must not be 0"),
        ("nerve_sd_configs: [{paths: [/a]}]", "at least one Zookeeper server"),
    ] {
        let error = judged(section);
        assert!(error.contains(words), "{section}: {error}");
    }
}

/// Waits until what a source last said satisfies `fits`.
async fn until(env: &Env, said: &mut tokio::sync::mpsc::Receiver<(u64, Update)>, fits: impl Fn(&Update) -> bool) -> Update {
    let wait = async {
        loop {
            let (_, update) = said.recv().await.unwrap();
            if fits(&update) {
                return update;
            }
        }
    };
    env.clock.timeout(Duration::from_secs(60), wait).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_session_for_all_sources_ends_with_the_last() {
    let env = Env::real();
    let ensemble = crate::sim::zookeeper::Ensemble::new(&Env::real().clock);
    ensemble.write("/nerve/a", r#"{"host": "h", "port": 1}"#);
    let registry = crate::telemetry::metrics::Registry::new();
    let sessions = Sessions::new(&env, Arc::new(ensemble.clone()), &registry);
    let failures = registry.counter("failures", "", &[]);
    let start = |id: u64, section: &str| {
        let (sender, said) = tokio::sync::mpsc::channel(64);
        let sink = Sink { source: id, sender };
        let known = vec![TargetGroup { source: "/nerve".to_owned(), targets: Vec::new(), labels: Labels::empty() }];
        (env.tasks.spawn("source", run(env.clone(), source(section), known, sessions.clone(), failures.clone(), sink)), said)
    };
    let (one, mut of_one) = start(1, "nerve_sd_configs: [{servers: ['z:1'], paths: [/nerve]}]");
    until(&env, &mut of_one, |update| update.groups[0].targets.len() == 1).await;
    // A second path of the same ensemble, which is not there yet.
    let (two, mut of_two) = start(2, "znode_sd_configs: [{servers: ['z:1'], paths: [/later]}]");
    until(&env, &mut of_two, |update| update.errors == ["/later does not exist in the ensemble z:1"]).await;
    assert_eq!(sessions.count(), 1);
    ensemble.write("/later/x", "h:2");
    until(&env, &mut of_two, |update| update.errors.is_empty() && update.groups[0].targets.len() == 1).await;
    let connected = || -> Vec<f64> {
        let all = registry.snapshot().into_iter().filter(|family| family.name == "watchkeeper_sd_zookeeper_connected");
        all.flat_map(|family| family.samples.into_iter().map(|(_, _, value)| value)).collect()
    };
    assert_eq!(connected(), [1.0]);

    // Away: everything stays, and it is said.
    ensemble.set_away(true);
    let update = until(&env, &mut of_one, |update| !update.errors.is_empty()).await;
    assert!(update.errors[0].starts_with("ZooKeeper z:1: "), "{:?}", update.errors);
    assert_eq!(update.groups[0].targets.len(), 1);
    ensemble.remove("/nerve/a");
    ensemble.set_away(false);
    until(&env, &mut of_one, |update| update.errors.is_empty() && update.groups[0].targets.is_empty()).await;

    one.abort();
    drop(one.await);
    assert_eq!(sessions.count(), 1);
    ensemble.write("/later/y", "h:3");
    until(&env, &mut of_two, |update| update.groups[0].targets.len() == 2).await;
    two.abort();
    drop(two.await);
    assert_eq!(sessions.count(), 0);
    for _ in 0..100 {
        env.clock.sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(connected(), Vec::<f64>::new());
}
