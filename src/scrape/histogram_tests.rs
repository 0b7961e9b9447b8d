//! Histograms on the whole path: protobuf and conversions, from a server on loopback to a recorder.

use super::tests::{PLAIN, World, reply, text};
use crate::exposition::protobuf_tests::{Message, both_kinds, delimited, family, label, span, time};
use crate::model::sample::is_stale;
use crate::model::target::TargetHealth;
use std::path::Path;

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const NATIVE: &str = "{{count:3 sum:20.5 z_bucket:1 z_bucket_w:0.001 offset:3 buckets:[2]}}";

/// A counter that began at 2 s, and a histogram of both kinds.
fn body(counter: f64) -> Message {
    let counter = Message::default().float(1, counter).within(3, time(2, 0));
    family("c_total", 0).within(4, Message::default().within(1, label("x", "é")).within(3, counter))
}

fn histogram() -> Message {
    family("h.native", 4).within(4, Message::default().within(1, label("job", "own")).within(7, both_kinds()))
}

fn protobuf(families: &[Message]) -> Vec<u8> {
    reply(PROTOBUF, delimited(families))
}

fn with(keys: &str) -> String {
    PLAIN.replace("scrape_timeout: 90ms", &format!("scrape_timeout: 90ms\n  {}", keys.replace(", ", "\n  ")))
}

fn series(world: &World, name: &str, labels: &str) -> String {
    format!("{{__name__=\"{name}\", instance=\"{}\", job=\"j\"{labels}, zone=\"x\"}}", world.address)
}

fn native(world: &World) -> String {
    format!("{{__name__=\"h.native\", exported_job=\"own\", instance=\"{}\", job=\"j\", zone=\"x\"}}", world.address)
}

fn ends(world: &World, series: &str) -> usize {
    world.recorder.values(series).iter().filter(|value| is_stale(**value)).count()
}

#[tokio::test]
async fn native_histograms_are_scraped() {
    let world = World::start(&with("scrape_native_histograms: true"), protobuf(&[body(5.0), histogram()])).await;
    let (h, c) =
        (native(&world), format!("{{__name__=\"c_total\", instance=\"{}\", job=\"j\", x=\"é\", zone=\"x\"}}", world.address));
    world.until("two scrapes", |world, _| world.recorder.histograms(&h).len() > 1).await;
    assert_eq!(world.recorder.histograms(&h)[0].1, NATIVE);
    assert_eq!(world.recorder.values(&c)[..2], [5.0; 2]);
    assert_eq!((world.recorder.starts(&c), world.recorder.starts(&h)), (vec![2000], vec![1500]));
    assert_eq!(world.recorder.values(&series(&world, "scrape_samples_scraped", ""))[..2], [2.0; 2]);
    assert_eq!(world.recorder.values(&series(&world, "scrape_series_added", ""))[..2], [2.0, 0.0]);
    assert!(world.recorder.0.lock().unwrap().exemplars > 0);
    let metadata = world.handle.metadata().await;
    assert_eq!(metadata[0].1.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c_total", "h.native"]);
    assert_eq!(world.recorder.0.lock().unwrap().metadata["h.native"].help, "Helps.");

    // One that goes ends, and may come back.
    world.say(protobuf(&[body(6.0)]));
    world.until("ended", |world, _| ends(world, &h) == 1).await;
    let before = world.recorder.histograms(&h).len();
    world.say(protobuf(&[body(6.0), histogram()]));
    world.until("back", |world, _| world.recorder.histograms(&h).len() > before).await;

    // Of repeated series the first holds, also where they have times of their own.
    let timed = |value| Message::default().within(2, Message::default().float(1, value)).number(6, 5000);
    world.say(protobuf(&[body(6.0), histogram(), histogram(), family("g", 1).within(4, timed(1.0)).within(4, timed(2.0))]));
    let g = series(&world, "g", "");
    world.until("repeated", |world, _| !world.recorder.values(&g).is_empty()).await;
    assert!(world.recorder.values(&g).iter().all(|value| value.to_bits() == 1_f64.to_bits()), "{:?}", world.recorder.values(&g));
    world.until("kept", |_, view| view.active[0].samples_kept == 5).await;

    // A failed scrape ends all.
    let bad = family("h.native", 4).within(4, Message::default().within(7, Message::default().within(12, span(0, 3))));
    world.say(protobuf(&[body(7.0), bad]));
    world.until_error("metric family 2 (\"h.native\"): metric 1: histogram's spans need 3 buckets, have 0").await;
    world.until("both ended", |world, _| ends(world, &h) == 2 && ends(world, &c) == 1).await;
    let failure = world.handle.view().active[0].failure.clone().unwrap();
    assert!(failure.line.is_none() && failure.response.contains("h.native"), "{failure:?}");
    assert!(!world.recorder.values(&c).contains(&7.0), "nothing of a bad body counts");
    world.say(protobuf(&[body(8.0)]));
    world
        .until("up", |world, view| view.active[0].health == TargetHealth::Up && world.recorder.values(&c).last() == Some(&8.0))
        .await;

    // Another format; what only the old one had ends.
    world.say(text("other 1\n"));
    let other = series(&world, "other", "");
    world.until("text", |world, _| !world.recorder.values(&other).is_empty() && ends(world, &c) == 2).await;
    world.say(protobuf(&[histogram()]));
    world.until("protobuf", |world, _| ends(world, &other) == 1).await;
    world.reload("scrape_configs: []");
    world.until("gone", |world, _| ends(world, &h) == 3).await;
}

#[tokio::test]
async fn histograms_are_taken_as_configured() {
    let all = || protobuf(&[histogram()]);
    let world = World::start(PLAIN, all()).await;
    let line = |name: &str| native(&world).replace("h.native", name);
    // Nobody asked for native ones.
    world.until("classic", |world, _| !world.recorder.values(&line("h.native_count")).is_empty()).await;
    assert!(world.recorder.histograms(&line("h.native")).is_empty());
    let last = |world: &World| world.recorder.histograms(&native(world)).last().map(|(_, told)| told.clone());

    world.reload(&with("convert_classic_histograms_to_nhcb: true"));
    let converted = "{{schema:-53 count:3 sum:20.5 custom_values:[1 16] buckets:[1 2]}}";
    world.until("converted", |world, _| last(world).as_deref() == Some(converted)).await;

    world.reload(&with("scrape_native_histograms: true, always_scrape_classic_histograms: true"));
    world.until("native", |world, _| last(world).as_deref() == Some(NATIVE)).await;
    world.until("classic too", |world, _| world.recorder.values(&line("h.native_sum")).last() == Some(&20.5)).await;

    let fine = Message::default().number(1, 4).float(2, 9.0).signed(5, 8).within(12, span(1, 4)).bytes(13, &[2, 0, 0, 0]);
    let fine = family("h.native", 4).within(4, Message::default().within(1, label("job", "own")).within(7, fine));
    world.say(protobuf(&[fine]));
    world.reload(&with("scrape_native_histograms: true, native_histogram_min_bucket_factor: 1.1"));
    world.until("coarser", |world, _| last(world).as_deref() == Some("{{schema:2 count:4 sum:9 offset:1 buckets:[4]}}")).await;
    world.reload(&with("scrape_native_histograms: true, native_histogram_bucket_limit: 2"));
    world.until("fewer", |world, _| last(world).as_deref() == Some("{{schema:7 count:4 sum:9 offset:1 buckets:[2 2]}}")).await;
    world.reload(&with("convert_classic_histograms_to_nhcb: true, native_histogram_bucket_limit: 1"));
    world.say(all());
    world.until_error("histogram bucket limit exceeded").await;
}

#[tokio::test]
async fn text_is_converted_where_that_is_asked_for() {
    let lines = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_count 3\nh_sum 4\n# TYPE g gauge\ng 1\n";
    let world = World::start(&with("convert_classic_histograms_to_nhcb: true"), text(lines)).await;
    let (h, count, g) = (series(&world, "h", ""), series(&world, "h_count", ""), series(&world, "g", ""));
    world.until("converted", |world, _| world.recorder.histograms(&h).len() > 1).await;
    assert_eq!(world.recorder.histograms(&h)[0].1, "{{schema:-53 count:3 sum:4 custom_values:[1] buckets:[1 2]}}");
    assert_eq!((world.recorder.values(&count), world.recorder.values(&g)[0]), (Vec::new(), 1.0));
    assert_eq!(world.recorder.values(&series(&world, "scrape_samples_scraped", ""))[..1], [2.0]);
    world.say(text(&lines.replace("g 1", "g{ 1")));
    world.until_error("expected label name").await;
    assert_eq!(world.handle.view().active[0].failure.clone().unwrap().line, Some(7));
    world.say(text(lines));
    world.reload(PLAIN);
    world.until("classic", |world, _| !world.recorder.values(&count).is_empty() && ends(world, &h) > 0).await;
}

#[tokio::test]
async fn names_are_checked_as_configured() {
    let dotted = || protobuf(&[histogram()]);
    let world = World::start(
        &with("scrape_native_histograms: true, metric_name_validation_scheme: legacy, metric_name_escaping_scheme: underscores"),
        dotted(),
    )
    .await;
    world.until_error("invalid metric name or label names: {__name__=\"h.native\"").await;
    world.say(text("{\"a.b\"} 1\n"));
    world.until_error("invalid metric name or label names: {__name__=\"a.b\"").await;
    world.reload(PLAIN);
    let a = series(&world, "a.b", "");
    world.until("taken", |world, _| !world.recorder.values(&a).is_empty()).await;
    let twice = Message::default().within(1, label("x", "1")).within(1, label("x", "2")).within(2, Message::default());
    world.say(protobuf(&[family("g", 1).within(4, twice)]));
    world.until_error("label name \"x\" is not unique").await;
}

#[tokio::test]
async fn failed_scrapes_are_logged() {
    let file = Path::new("/failures.json");
    let world = World::start(&with(&format!("scrape_failure_log_file: {}", file.display())), text("a{\n")).await;
    let read = || world.env.disk.read(file).unwrap_or_default();
    world.until("two lines", |_, _| memchr::memchr_iter(b'\n', &read()).count() > 1).await;
    let text = String::from_utf8(read()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((line["level"].as_str(), line["job_name"].as_str()), (Some("ERROR"), Some("j")));
    assert_eq!(line["target"], format!("http://{}/metrics", world.address));
    assert!(line["msg"].as_str().unwrap().contains("expected label name"), "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[tokio::test]
async fn open_metrics_tell_when_counting_began() {
    let lines = |more: &str, created: &str| {
        let counter = format!("# TYPE a counter\na_total{{x=\"1\"}} 5\na_created{{x=\"1\"}} {created}\na_total{{x=\"2\"}} 6\n");
        let summary = "# TYPE s summary\ns_count 1\ns_sum 2\ns{quantile=\"0.5\"} 2\ns_created 7.5\n";
        reply("application/openmetrics-text; version=1.0.0", format!("{counter}{summary}{more}# EOF\n"))
    };
    let world = World::start(PLAIN, lines("", "3.25")).await;
    let a = |x: &str| format!("{{__name__=\"a_total\", instance=\"{}\", job=\"j\", x=\"{x}\", zone=\"x\"}}", world.address);
    let s = series(&world, "s_sum", "");
    world.until("two scrapes", |world, _| world.recorder.values(&s).len() > 1).await;
    let starts = |series: &str| world.recorder.starts(series);
    assert_eq!((starts(&a("1")), starts(&a("2")), starts(&s)), (vec![3250], vec![], vec![7500]));
    // A new series changes the row, not the starts.
    world.say(lines("# TYPE g gauge\ng 1\n", "3.25"));
    let g = series(&world, "g", "");
    world.until("the gauge", |world, _| world.recorder.values(&g).len() > 1).await;
    assert_eq!((starts(&a("1")), starts(&s)), (vec![3250], vec![7500]));
    // Begun anew.
    world.say(lines("", "9"));
    world.until("anew", |_, _| starts(&a("1")) == [3250, 9000]).await;
    assert_eq!(starts(&s), [7500]);
    // The series of the lines themselves stay, as in Prometheus.
    assert!(!world.recorder.values(&series(&world, "s_created", "")).is_empty());
}

#[tokio::test]
async fn too_many_targets_are_down_and_say_so() {
    let config = PLAIN.replace("[ADDRESS]", "[ADDRESS, 'localhost:1']");
    let world =
        World::start(&config.replace("scrape_timeout: 90ms", "scrape_timeout: 90ms\n  target_limit: 1"), text("a 1\n")).await;
    world.until_error("target_limit exceeded (number of targets: 2, limit: 1)").await;
    let view = world.handle.view();
    assert_eq!((view.active.len(), view.dropped.len()), (2, 0));
    let up = series(&world, "up", "");
    world.until("down", |world, _| world.recorder.values(&up).ends_with(&[0.0, 0.0])).await;
    assert!(world.recorder.values(&series(&world, "a", "")).is_empty());
    world.reload(&config.replace("scrape_timeout: 90ms", "scrape_timeout: 90ms\n  target_limit: 2"));
    world.until("up", |world, _| world.recorder.values(&up).last() == Some(&1.0)).await;
}
