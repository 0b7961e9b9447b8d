//! The whole path: configuration, discovery, a server on loopback, rows in a recorder.

use super::{Elsewhere, InProcessTarget, ScrapeDeps, ScrapeHandle, ScrapeManager, ScrapeView};
use crate::config::Config;
use crate::discovery;
use crate::env::Env;
use crate::env::memory_disk::MemoryDisk;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::rule_inputs::{RuleInput, RuleInputs, WatchedGroup};
use crate::model::sample::is_stale;
use crate::model::target::TargetHealth;
use crate::storage::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, GroupId, SeriesId};
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// Remembers all samples.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Mutex<Recorded>);

#[derive(Default)]
pub(super) struct Recorded {
    series: Vec<Labels>,
    samples: BTreeMap<u32, Vec<(i64, f64)>>,
    histograms: BTreeMap<u32, Vec<(i64, String)>>,
    starts: BTreeMap<u32, Vec<i64>>,
    pub(super) exemplars: usize,
    pub(super) metadata: BTreeMap<String, Metadata>,
}

impl Recorder {
    fn of<T: Clone + Default>(&self, series: &str, which: impl Fn(&Recorded) -> &BTreeMap<u32, T>) -> T {
        let recorded = self.0.lock().unwrap();
        let place = recorded.series.iter().position(|labels| labels.to_string() == series);
        place.and_then(|place| which(&recorded).get(&(place as u32))).cloned().unwrap_or_default()
    }

    /// Returns the samples of the one series that prints so.
    fn samples(&self, series: &str) -> Vec<(i64, f64)> {
        self.of(series, |recorded| &recorded.samples)
    }

    /// Returns its histograms.
    pub(super) fn histograms(&self, series: &str) -> Vec<(i64, String)> {
        self.of(series, |recorded| &recorded.histograms)
    }

    /// Returns its start times as they were noted.
    pub(super) fn starts(&self, series: &str) -> Vec<i64> {
        self.of(series, |recorded| &recorded.starts)
    }

    pub(super) fn values(&self, series: &str) -> Vec<f64> {
        self.samples(series).into_iter().map(|(_, value)| value).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().series.iter().map(ToString::to_string).collect()
    }
}

impl Append for Recorder {
    fn series(&self, labels: &Labels) -> Result<SeriesId, AppendError> {
        let mut recorded = self.0.lock().unwrap();
        let known = recorded.series.iter().position(|known| known == labels);
        let place = known.unwrap_or_else(|| {
            recorded.series.push(labels.clone());
            recorded.series.len() - 1
        });
        Ok(SeriesId(place as u32))
    }

    fn matching(&self, series: &[SeriesId], wanted: &[&[Matcher]], found: &mut dyn FnMut(usize, usize)) {
        let recorded = self.0.lock().unwrap();
        for (place, id) in series.iter().enumerate() {
            for (which, matchers) in wanted.iter().enumerate() {
                if matchers.iter().all(|one| one.matches_labels(&recorded.series[id.0 as usize])) {
                    found(place, which);
                }
            }
        }
    }

    fn group(&self, _name: &str) -> Result<GroupId, AppendError> {
        Ok(GroupId(0))
    }

    fn append_row(&self, _: GroupId, at_ms: i64, series: &Arc<[SeriesId]>, values: &[f64]) -> Result<Appended, AppendError> {
        assert_eq!(series.len(), values.len());
        let mut recorded = self.0.lock().unwrap();
        for (series, value) in series.iter().zip(values) {
            let samples = recorded.samples.entry(series.0).or_default();
            assert!(samples.last().is_none_or(|(last_ms, _)| *last_ms < at_ms), "rows ascend");
            samples.push((at_ms, *value));
        }
        Ok(Appended { stored: values.len() as u64, ..Appended::default() })
    }

    fn append_samples(&self, _: Option<GroupId>, samples: &[BatchSample], _: Durability) -> Result<Appended, AppendError> {
        let mut recorded = self.0.lock().unwrap();
        for sample in samples {
            match &sample.value {
                BatchValue::Float(value) => recorded.samples.entry(sample.series.0).or_default().push((sample.at_ms, *value)),
                BatchValue::Histogram(histogram) => {
                    let told = (sample.at_ms, histogram.test_expression());
                    recorded.histograms.entry(sample.series.0).or_default().push(told);
                }
            }
        }
        Ok(Appended::default())
    }

    fn note_start(&self, series: SeriesId, _at_ms: i64, start_ms: i64) {
        self.0.lock().unwrap().starts.entry(series.0).or_default().push(start_ms);
    }

    fn append_exemplars(&self, _: SeriesId, exemplars: &[Exemplar]) {
        self.0.lock().unwrap().exemplars += exemplars.len();
    }

    fn note_metadata(&self, metric: &str, metadata: &Metadata) {
        self.0.lock().unwrap().metadata.insert(metric.to_owned(), metadata.clone());
    }
}

/// A whole scraper, and a server whose answers the test sets.
pub(super) struct World {
    pub(super) env: Env,
    pub(super) recorder: Arc<Recorder>,
    pub(super) handle: ScrapeHandle,
    config: watch::Sender<Arc<Config>>,
    own: watch::Sender<Vec<InProcessTarget>>,
    answer: Arc<Mutex<Vec<u8>>>,
    pub(super) address: String,
    pub(super) rule_inputs: watch::Sender<Arc<RuleInputs>>,
    others: watch::Sender<Elsewhere>,
}

fn load(text: &str) -> Arc<Config> {
    let files = |_: &Path| Err(io::ErrorKind::NotFound.into());
    Arc::new(crate::config::load(Path::new("/etc/watchkeeper.yml"), text, &files).unwrap_or_else(|error| panic!("{error}")))
}

pub(super) fn reply(content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(super) fn text(body: &str) -> Vec<u8> {
    reply("text/plain; version=0.0.4", body)
}

/// Answers every request with what the test last set; an empty answer is never sent.
async fn serve(env: &Env, answer: &Arc<Mutex<Vec<u8>>>) -> String {
    let mut listener = env.network.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().unwrap().to_string();
    let (env, answer) = (env.clone(), Arc::clone(answer));
    drop(env.clone().tasks.spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            drop(env.tasks.spawn("connection", async move {
                let mut request = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    request.push(byte);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        let reply = answer.lock().unwrap().clone();
                        if stream.write_all(&reply).await.is_err() {
                            return;
                        }
                    }
                }
            }));
        }
    }));
    address
}

impl World {
    /// Starts with a configuration in which `ADDRESS` stands for the server.
    pub(super) async fn start(config: &str, body: Vec<u8>) -> Self {
        let env = Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() };
        let answer = Arc::new(Mutex::new(body));
        let address = serve(&env, &answer).await;
        let (sender, receiver) = watch::channel(load(&config.replace("ADDRESS", &address)));
        let registry = Registry::new();
        let recorder = Arc::new(Recorder::default());
        let (own, in_process) = watch::channel(Vec::new());
        let (rule_inputs, inputs) = watch::channel(Arc::default());
        let (others, elsewhere) = watch::channel(Elsewhere::default());
        let append: Arc<dyn Append> = Arc::<Recorder>::clone(&recorder);
        let deps =
            ScrapeDeps { env: env.clone(), append, registry: registry.clone(), in_process, rule_inputs: inputs, elsewhere };
        let targets = discovery::start(&env, receiver.clone(), &registry, None, crate::zookeeper::real_connector(&env));
        let handle = ScrapeManager::start(deps, receiver, targets);
        Self { env, recorder, handle, config: sender, own, answer, address, rule_inputs, others }
    }

    pub(super) fn reload(&self, config: &str) {
        self.config.send_replace(load(&config.replace("ADDRESS", &self.address)));
    }

    pub(super) fn say(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) async fn until(&self, what: &str, fits: impl Fn(&Self, &ScrapeView) -> bool) {
        for _ in 0..1000 {
            if fits(self, &self.handle.view()) {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:#?}\n{:?}", self.handle.view(), self.recorder.names());
    }

    pub(super) async fn until_error(&self, words: &str) {
        self.until(words, |_, view| view.active.first().is_some_and(|target| target.last_error.contains(words))).await;
    }
}

pub(super) const PLAIN: &str = "scrape_configs:\n- job_name: j\n  scrape_interval: 100ms\n  scrape_timeout: 90ms\n  static_configs: [{targets: [ADDRESS], labels: {zone: x}}]\n";

#[tokio::test]
async fn a_scrape_is_a_row_with_its_report() {
    let body = "# HELP a Help.\n# TYPE a gauge\na{job=\"own\"} 1.5\nb 2 1000\n";
    let world = World::start(PLAIN, text(body)).await;
    let address = world.address.clone();
    let series = |name: &str| format!("{{__name__=\"{name}\", instance=\"{address}\", job=\"j\", zone=\"x\"}}");
    let a = format!("{{__name__=\"a\", exported_job=\"own\", instance=\"{address}\", job=\"j\", zone=\"x\"}}");
    world.until("three scrapes", |world, _| world.recorder.values(&a).len() >= 3).await;
    assert_eq!(world.recorder.values(&a)[..3], [1.5; 3]);
    assert_eq!(world.recorder.samples(&series("b"))[0], (1000, 2.0));
    assert_eq!(world.recorder.values(&series("up"))[..1], [1.0]);
    assert_eq!(world.recorder.values(&series("scrape_samples_scraped"))[..1], [2.0]);
    assert_eq!(world.recorder.values(&series("scrape_series_added"))[..2], [2.0, 0.0]);
    assert_eq!(world.recorder.0.lock().unwrap().metadata["a"].help, "Help.");
    let view = world.handle.view();
    let target = &view.active[0];
    assert_eq!((target.pool.as_str(), target.health, target.samples_scraped), ("j", TargetHealth::Up, 2));
    assert_eq!(target.url, format!("http://{address}/metrics"));
    assert_eq!(world.handle.metadata().await[0].1[0].0, "a");
    assert_eq!(world.handle.scrape_now("j", None).await, 1);
    assert_eq!(world.handle.scrape_now("other", None).await, 0);
    world.handle.stop().await;
    assert!(!world.recorder.values(&a).iter().any(|value| is_stale(*value)), "a stopping server ends no series");
}

#[tokio::test]
async fn a_bad_line_fails_the_scrape_and_is_shown() {
    let world = World::start(PLAIN, text("a 1\nb 2\n")).await;
    let a = format!("{{__name__=\"a\", instance=\"{}\", job=\"j\", zone=\"x\"}}", world.address);
    let up = a.replace("\"a\"", "\"up\"");
    world.until("first scrape", |world, _| !world.recorder.values(&a).is_empty()).await;
    world.say(text("a 3\nb{x=\"y\" 2\n"));
    world.until_error("expected label name").await;
    let view = world.handle.view();
    let failure = view.active[0].failure.clone().unwrap();
    assert_eq!((failure.line, failure.column, failure.text.as_str()), (Some(2), Some(9), "b{x=\"y\" 2"));
    assert_eq!(failure.response, "a 3\nb{x=\"y\" 2\n");
    assert_eq!(view.active[0].health, TargetHealth::Down);
    world.until("stale", |world, _| world.recorder.values(&a).last().is_some_and(|value| is_stale(*value))).await;
    world.until("down twice", |world, _| world.recorder.values(&up).ends_with(&[0.0, 0.0])).await;
    world.until("counted", |_, view| view.active[0].failures >= 2).await;
    let later = world.handle.view();
    assert_eq!(later.active[0].since_ms, Some(failure.at_ms), "down since its first failure");
    assert!(later.active[0].last_scrape_ms > later.active[0].since_ms);
    assert_eq!(world.recorder.values(&a).iter().filter(|value| is_stale(**value)).count(), 1);
    assert!(!world.recorder.values(&a).contains(&3.0), "nothing of a bad body counts");
    world.say(text("a 4\n"));
    world.until("up again", |world, _| world.recorder.values(&a).last() == Some(&4.0)).await;
    world.until("shown", |_, view| view.active[0].failures == 0 && view.active[0].since_ms > later.active[0].since_ms).await;
}

#[tokio::test]
async fn bad_answers_fail_with_their_reason() {
    let config = PLAIN.replace("scrape_timeout: 90ms", "scrape_timeout: 90ms\n  body_size_limit: 10KB\n  sample_limit: 3");
    let world = World::start(&config, text("a 1\n")).await;
    world.until("up", |_, view| view.active.first().is_some_and(|target| target.health == TargetHealth::Up)).await;
    let mut endless = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec();
    endless.extend(std::iter::repeat_n(b'a', 100_000));
    for (answer, words) in [
        (endless, "body size limit exceeded"),
        (text("a 1\nb 1\nc 1\nd 1\n"), "sample limit exceeded"),
        (reply("text/html", "<html>"), "received unsupported Content-Type \"text/html\""),
        (reply("", "a 1\n"), "blank Content-Type"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(), "HTTP status 503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na".to_vec(), "context deadline exceeded"),
        (Vec::new(), "context deadline exceeded"),
        (text("a{x=\"\u{1}"), "expected label value"),
        (reply("application/openmetrics-text", "a 1\n"), "data does not end with # EOF"),
    ] {
        world.say(answer);
        world.until_error(words).await;
    }
    world.say(text("a 2\n"));
    world.until("up again", |_, view| view.active[0].health == TargetHealth::Up && view.active[0].last_error.is_empty()).await;
}

#[tokio::test]
async fn a_reload_touches_what_changed() {
    let two = format!(
        "{PLAIN}- job_name: k\n  scrape_interval: 100ms\n  scrape_timeout: 90ms\n  static_configs: [{{targets: [ADDRESS]}}]\n"
    );
    let world = World::start(&two, text("a 1\n")).await;
    let of = |job: &str, rest: &str| format!("{{__name__=\"a\", instance=\"{}\", job=\"{job}\"{rest}}}", world.address);
    let (j, k) = (of("j", ", zone=\"x\""), of("k", ""));
    world.until("both", |world, _| !world.recorder.values(&j).is_empty() && !world.recorder.values(&k).is_empty()).await;
    world.reload(PLAIN);
    world.until("k ends", |world, _| world.recorder.values(&k).last().is_some_and(|value| is_stale(*value))).await;
    assert_eq!(world.handle.view().active.len(), 1);
    let dropped = "  relabel_configs: [{source_labels: [zone], regex: y, action: keep}]\n";
    world.reload(&format!("{PLAIN}{dropped}"));
    world.until("j ends", |world, _| world.recorder.values(&j).last().is_some_and(|value| is_stale(*value))).await;
    let view = world.handle.view();
    assert_eq!((view.active.len(), view.dropped[0].rule), (0, Some(0)));
    let steps = world.handle.relabel_steps("j", &view.dropped[0].discovered).unwrap();
    assert!(!steps[0].kept);
    let relabelled = "  metric_relabel_configs: [{source_labels: [__name__], target_label: __name__, replacement: new_$1}]\n";
    world.reload(&format!("{PLAIN}{relabelled}"));
    let renamed = j.replace("\"a\"", "\"new_a\"");
    world.until("renamed", |world, _| !world.recorder.values(&renamed).is_empty()).await;
}

#[tokio::test]
async fn a_target_that_goes_while_it_hangs_ends_too() {
    let slow = PLAIN.replace("100ms", "2s").replace("90ms", "2s");
    let world = World::start(&slow, text("a 1\n")).await;
    let a = format!("{{__name__=\"a\", instance=\"{}\", job=\"j\", zone=\"x\"}}", world.address);
    world.until("first", |world, _| !world.recorder.values(&a).is_empty()).await;
    world.say(Vec::new());
    let hanging = world.handle.clone();
    let asked = world.env.tasks.spawn("ask", async move { hanging.scrape_now("j", None).await });
    world.env.clock.sleep(Duration::from_millis(100)).await;
    world.reload("scrape_configs: []");
    world.until("ended", |world, _| world.recorder.values(&a).last().is_some_and(|value| is_stale(*value))).await;
    assert_eq!(asked.await.unwrap(), 0);
}

#[tokio::test]
async fn targets_of_this_process_take_the_same_path() {
    let world = World::start("scrape_configs: []", Vec::new()).await;
    let source = || b"# TYPE own gauge\nown 7\n".to_vec();
    let target = InProcessTarget {
        job: "watchkeeper".to_owned(),
        instance: "localhost:9090".to_owned(),
        url: "http://localhost:9090/metrics".to_owned(),
        source: Arc::new(source),
    };
    world.own.send_replace(vec![target]);
    let own = r#"{__name__="own", instance="localhost:9090", job="watchkeeper"}"#;
    world.until("own", |world, _| world.recorder.values(own) == [7.0]).await;
    assert_eq!(world.handle.view().active[0].pool, "watchkeeper");
    world.own.send_replace(Vec::new());
    world.until("ended", |world, _| world.recorder.values(own).last().is_some_and(|value| is_stale(*value))).await;
}

#[tokio::test]
async fn who_configures_a_job_for_this_server_scrapes_it_once() {
    let world = World::start(PLAIN, text("a 1\n")).await;
    world.until("first", |_, view| !view.active.is_empty()).await;
    let own = |job: &str| InProcessTarget {
        job: job.to_owned(),
        instance: world.address.clone(),
        url: format!("http://{}/metrics", world.address),
        source: Arc::new(|| b"own 7\n".to_vec()),
    };
    world.own.send_replace(vec![own("j"), own("other")]);
    world.until("the other one", |_, view| view.active.iter().any(|target| target.pool == "other")).await;
    let pools: Vec<_> = world.handle.view().active.iter().map(|target| target.pool.clone()).collect();
    assert_eq!(pools.iter().filter(|pool| *pool == "j").count(), 1, "{pools:?}");
}

#[tokio::test]
async fn exemplars_and_limits() {
    let body = "# TYPE a counter\na_total{x=\"long value\"} 1 # {id=\"1\"} 0.5\n# EOF\n";
    let config = PLAIN.replace("scrape_timeout: 90ms", "scrape_timeout: 90ms\n  label_value_length_limit: 30");
    let world = World::start(&config, reply("application/openmetrics-text; version=1.0.0", body)).await;
    world.until("exemplar", |world, _| world.recorder.0.lock().unwrap().exemplars > 0).await;
    world.say(text(&format!("a{{x=\"{}\"}} 1\n", "v".repeat(31))));
    world.until_error("label_value_length_limit exceeded (metric: a, label name: x, value: \"vvvv").await;
}

#[tokio::test]
async fn limits_hold_where_none_is_configured() {
    // Large bodies take their time: asked for one by one.
    let slow = PLAIN.replace("100ms", "30s").replace("90ms", "30s");
    let world = World::start(&slow, text("a 1\n")).await;
    world.until("found", |_, view| !view.active.is_empty()).await;
    let many: String = (0..300).map(|number| format!("l{number}=\"v\",")).collect();
    let long = "v".repeat(5 << 20);
    for (body, words) in [
        (format!("a{{x=\"{long}\"}} 1\n"), "line too long (length: 5242888, limit: 1048576)"),
        (format!("a{{x=\"{long}"), "expected label value, got \"\\\"vvv"),
        (format!("# HELP a {long}\na 1\n"), "line too long"),
        (format!("#{long}\na 1\n"), "line too long"),
        (format!("a {}1\n", "0".repeat(1 << 20)), "value too long"),
        (format!("a {long}\n"), "strconv.ParseFloat: parsing \"vvv"),
        (
            format!("a{{x=\"{}\"}} 1\n", "v".repeat(70_000)),
            "label_value_length_limit exceeded (metric: a, label name: x, value: \"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\", length: 70000, the default limit: 65536)",
        ),
        (format!("a{{{}=\"y\"}} 1\n", "v".repeat(2000)), "label_name_length_limit exceeded"),
        (format!("a{{{many}}} 1\n"), "label_limit exceeded (metric: a, number of labels: 304, the default limit: 256)"),
    ] {
        world.say(text(&body));
        assert_eq!(world.handle.scrape_now("j", None).await, 1);
        let error = world.handle.view().active[0].last_error.clone();
        assert!(error.contains(words), "{words}: {error}");
        assert!(error.len() < 10_000, "what is kept of a refused line is short");
    }
    // A configured limit replaces the default.
    world.say(text(&format!("a{{x=\"{}\"}} 1\n", "v".repeat(70_000))));
    world.reload(&PLAIN.replace("scrape_timeout: 90ms", "scrape_timeout: 90ms\n  label_value_length_limit: 100000"));
    world.until("up", |_, view| view.active.first().is_some_and(|target| target.health == TargetHealth::Up)).await;
}

/// Watches selectors; returns them for the world, and where their groups note that they were woken.
fn watched(selectors: &[(&str, bool)]) -> (Arc<RuleInputs>, Arc<Mutex<Vec<usize>>>) {
    let counts = Arc::new(Mutex::new(vec![0; selectors.len()]));
    let group = |(place, (name, every_sample)): (usize, &(&str, bool))| {
        let (counts, name) = (Arc::clone(&counts), (*name).to_owned());
        let input = RuleInput { matchers: vec![Matcher::equal("__name__", name)], every_sample: *every_sample };
        WatchedGroup { inputs: vec![input], wake: Arc::new(move |_| counts.lock().unwrap()[place] += 1) }
    };
    (Arc::new(RuleInputs { groups: selectors.iter().enumerate().map(group).collect() }), counts)
}

#[tokio::test]
async fn watched_groups_hear_of_changed_inputs_alone() {
    let world = World::start(&PLAIN.replace("100ms", "1h").replace("90ms", "1s"), text("a 1\nb 1\nc 1 1000\n")).await;
    world.until("the target", |_, view| !view.active.is_empty()).await;
    let (inputs, counts) = watched(&[("a", false), ("b", true), ("c", true), ("up", false), ("absent", false), ("d", false)]);
    world.rule_inputs.send_replace(inputs);
    let scrape = async |body: Option<&str>| {
        world.say(body.map(text).unwrap_or_else(|| reply("text/plain", "?")));
        let before = std::mem::replace(&mut *counts.lock().unwrap(), vec![0; 6]);
        assert!(before.iter().all(|count| *count <= 1), "one call for each scrape: {before:?}");
        assert_eq!(world.handle.scrape_now("j", None).await, 1);
        counts.lock().unwrap().clone()
    };
    assert_eq!(scrape(Some("a 1\nb 1\nc 1 1000\n")).await, [1, 1, 1, 1, 0, 0], "what is first seen");
    assert_eq!(scrape(Some("a 1\nb 1\nc 1 1000\n")).await, [0, 1, 1, 0, 0, 0], "the same");
    assert_eq!(scrape(Some("a 2\nb 1\nc 1 1000\n")).await, [1, 1, 1, 0, 0, 0], "another value");
    assert_eq!(scrape(Some("a 2\nb 1\nd 1\n")).await, [0, 1, 0, 0, 0, 1], "a series more, one less beside the row");
    assert_eq!(scrape(Some("a 2\nb 1\nd 1\ne 1\n")).await, [0, 1, 0, 0, 0, 0], "a series that nobody reads");
    assert_eq!(scrape(Some("b 1\nd 1\ne 1\n")).await, [1, 1, 0, 0, 0, 0], "a series ended");
    assert_eq!(scrape(None).await, [0, 1, 0, 1, 0, 1], "all ended");
    assert_eq!(scrape(Some("b 1\nd 1\n")).await, [0, 1, 0, 1, 0, 1], "back");
    world.rule_inputs.send_replace(Arc::default());
    assert_eq!(scrape(Some("b 3\nd 3\n")).await, [0; 6]);
    world.reload("scrape_configs: []");
    world.until("no target", |_, view| view.active.is_empty()).await;
}

#[tokio::test]
async fn a_target_that_another_server_goes_on_with_does_not_end() {
    let world = World::start(
        "scrape_configs: [{job_name: j, scrape_interval: 50ms, scrape_timeout: 50ms, static_configs: [{targets: [ADDRESS]}]}]",
        text("a 1\n"),
    )
    .await;
    let a = format!("{{__name__=\"a\", instance={:?}, job=\"j\"}}", world.address);
    let count = |world: &World| world.recorder.values(&a).len();
    world.until("a sample", |world, _| count(world) > 0).await;
    world.others.send_replace(Elsewhere::of((), |(), _| Some("b".to_owned())));
    world.until("it moved", |_, view| view.active.is_empty() && view.elsewhere.len() == 1).await;
    let view = world.handle.view();
    assert_eq!((view.elsewhere[0].member.as_str(), view.elsewhere[0].labels.value("job")), ("b", "j"));
    // Nor does it where it goes from there.
    world.reload("scrape_configs: [{job_name: j}]");
    world.until("it is gone", |_, view| view.elsewhere.is_empty()).await;
    world.reload(
        "scrape_configs: [{job_name: j, scrape_interval: 50ms, scrape_timeout: 50ms, static_configs: [{targets: [ADDRESS]}]}]",
    );
    world.until("it is back", |_, view| view.elsewhere.len() == 1).await;
    let before = count(&world);
    world.others.send_replace(Elsewhere::default());
    world.until("it moved back", |world, view| view.active.len() == 1 && count(world) > before).await;
    assert!(!world.recorder.values(&a).iter().any(|value| is_stale(*value)));
    // Here it ends in truth.
    world.reload("scrape_configs: [{job_name: j}]");
    world.until("ended", |world, _| world.recorder.values(&a).last().is_some_and(|value| is_stale(*value))).await;
    world.handle.stop().await;
}
