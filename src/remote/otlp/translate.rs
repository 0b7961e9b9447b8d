//! From OpenTelemetry's points to series: names and labels as Prometheus gives them, one series for each number of a point.
//!
//! Sources: OpenTelemetry's "Prometheus and OpenMetrics Compatibility", Prometheus's documentation of its OTLP receiver. Only what
//! counts since its start can be kept; a point that counts since the one before is rejected, and the sender is told.

use super::message::{Attributes, Buckets, Kind, Metric, Point, PointExemplar, Resource, Scope, text_of};
use super::names::{label_name, metric_name};
use crate::config::remote::OtlpConfig;
use crate::model::exemplar::Exemplar;
use crate::model::histogram::classic::ClassicHistogram;
use crate::model::histogram::flaw::flaw;
use crate::model::histogram::layout::pack;
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::model::labels::{LabelsBuilder, METRIC_NAME};
use crate::model::limits::HISTOGRAM_BUCKETS;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::number::format_f;
use crate::model::sample::stale_nan;
use crate::remote::receive::Gathered;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Attributes that say which process it is: they become `job` and `instance`.
const IDENTIFYING: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];
/// Between two samples of `target_info`: half of the default lookback.
const INFO_STEP_MS: i64 = 150_000;
/// The finest and coarsest resolution that the store has.
const SCHEMAS: std::ops::RangeInclusive<i64> = -4..=8;

/// What came out of a request.
#[derive(Default)]
pub(super) struct Translated {
    pub(super) gathered: Gathered,
    /// Points that could not be kept.
    pub(super) rejected: u64,
    /// Why the first could not.
    pub(super) complaint: Option<String>,
}

/// What the points of a metric have in common.
struct Common<'a> {
    config: &'a OtlpConfig,
    /// Labels of resource and scope.
    shared: BTreeMap<String, String>,
    name: String,
}

/// Translates a request.
pub(super) fn translate(resources: &[Resource], config: &OtlpConfig) -> Translated {
    let mut out = Translated::default();
    for resource in resources {
        let mut times: Option<(i64, i64)> = None;
        for scope in &resource.scopes {
            let shared = shared_labels(resource, scope, config);
            for metric in &scope.metrics {
                for point in &metric.points {
                    let at_ms = millis(point.time_ns);
                    let (first, last) = times.get_or_insert((at_ms, at_ms));
                    (*first, *last) = ((*first).min(at_ms), (*last).max(at_ms));
                }
                out.metric(metric, &shared, config);
            }
        }
        if let Some(times) = times {
            out.target_info(resource, times, config);
        }
    }
    out
}

fn millis(nanoseconds: u64) -> i64 {
    (nanoseconds / 1_000_000).cast_signed()
}

/// Sets labels from attributes. Where several have one name their values stand in the order of the attributes' names, with `;`
/// between them.
fn set_attributes<'a>(
    labels: &mut BTreeMap<String, String>,
    attributes: impl Iterator<Item = &'a (String, serde_json::Value)>,
    config: &OtlpConfig,
) {
    let mut sorted: Vec<_> = attributes.collect();
    sorted.sort_by_key(|(name, _)| name);
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in sorted {
        let value = text_of(value);
        let joined = own.entry(label_name(config, name));
        joined
            .and_modify(|known| {
                known.push(';');
                known.push_str(&value);
            })
            .or_insert(value);
    }
    labels.extend(own);
}

fn attribute<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a serde_json::Value> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Sets `job` and `instance`.
fn set_identity(labels: &mut BTreeMap<String, String>, resource: &Resource) {
    let text = |name: &str| attribute(&resource.attributes, name).map(text_of);
    if let Some(name) = text("service.name") {
        let job = text("service.namespace").map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
        labels.insert("job".to_owned(), job);
    }
    if let Some(instance) = text("service.instance.id") {
        labels.insert("instance".to_owned(), instance);
    }
}

fn shared_labels(resource: &Resource, scope: &Scope, config: &OtlpConfig) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let promoted = |(name, _): &&(String, serde_json::Value)| {
        if config.promote_all_resource_attributes {
            !config.ignore_resource_attributes.contains(name)
        } else {
            config.promote_resource_attributes.contains(name)
        }
    };
    set_attributes(&mut labels, resource.attributes.iter().filter(promoted), config);
    if config.promote_scope_metadata {
        let told = [
            ("otel_scope_name", &scope.name),
            ("otel_scope_version", &scope.version),
            ("otel_scope_schema_url", &scope.schema_url),
        ];
        labels.extend(told.map(|(name, value)| (name.to_owned(), value.clone())));
        let named: Attributes =
            scope.attributes.iter().map(|(name, value)| (format!("otel_scope_{name}"), value.clone())).collect();
        set_attributes(&mut labels, named.iter(), config);
    }
    set_identity(&mut labels, resource);
    labels
}

impl Common<'_> {
    /// Returns the labels of a point, with those of one of its numbers.
    fn labels(&self, point: &Point, ending: &str, more: Option<(&str, &str)>) -> Vec<(String, String)> {
        let mut labels = BTreeMap::new();
        set_attributes(&mut labels, point.attributes.iter(), self.config);
        labels.extend(self.shared.iter().map(|(name, value)| (name.clone(), value.clone())));
        labels.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels.insert(METRIC_NAME.to_owned(), format!("{}{ending}", self.name));
        labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

impl Translated {
    fn reject(&mut self, count: usize, metric: &Metric, reason: &str) {
        self.rejected += count as u64;
        self.complaint.get_or_insert_with(|| format!("metric {:?}: {reason}", metric.name));
    }

    fn metric(&mut self, metric: &Metric, shared: &BTreeMap<String, String>, config: &OtlpConfig) {
        let counts = matches!(metric.kind, Kind::Sum | Kind::Histogram | Kind::Exponential);
        let is_counter = metric.kind == Kind::Sum && metric.is_monotonic;
        if metric.name.is_empty() {
            return self.reject(metric.points.len(), metric, "there is no name");
        }
        if counts && metric.temporality != 2 {
            return self.reject(metric.points.len(), metric, "invalid temporality and type combination: only cumulative is kept");
        }
        let name = metric_name(config, &metric.name, &metric.unit, metric.kind, is_counter);
        let metric_type = match metric.kind {
            Kind::Nothing => return,
            Kind::Gauge => MetricType::Gauge,
            Kind::Sum if is_counter => MetricType::Counter,
            Kind::Sum => MetricType::Gauge,
            Kind::Histogram | Kind::Exponential => MetricType::Histogram,
            Kind::Summary => MetricType::Summary,
        };
        let metadata = Metadata { metric_type, help: metric.description.clone(), unit: metric.unit.clone() };
        self.gathered.rest.metadata.push((name.clone(), metadata));
        let common = Common { config, shared: shared.clone(), name };
        for point in &metric.points {
            let done = match metric.kind {
                Kind::Nothing | Kind::Gauge | Kind::Sum => {
                    let exemplars = exemplars(&point.exemplars);
                    self.number(&common, point, "", None, point.value, exemplars);
                    Ok(())
                }
                Kind::Histogram if config.convert_histograms_to_nhcb => self.custom_buckets(&common, point),
                Kind::Histogram => self.histogram(&common, point),
                Kind::Exponential => self.exponential(&common, point),
                Kind::Summary => {
                    self.summary(&common, point);
                    Ok(())
                }
            };
            if let Err(reason) = done {
                self.reject(1, metric, reason);
            }
        }
    }

    /// Adds one number of a point.
    fn number(
        &mut self,
        common: &Common<'_>,
        point: &Point,
        ending: &str,
        more: Option<(&str, &str)>,
        value: f64,
        exemplars: Vec<Exemplar>,
    ) {
        let labels = common.labels(point, ending, more);
        let (place, from, at_ms) = (self.gathered.place(), self.gathered.rest.samples.len(), millis(point.time_ns));
        self.gathered.rest.samples.push((at_ms, if is_gone(point) { stale_nan() } else { value }));
        self.told(place, point, exemplars);
        self.gathered.series(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), from, None);
    }

    /// Adds what belongs to a series beside its sample.
    fn told(&mut self, place: usize, point: &Point, exemplars: Vec<Exemplar>) {
        if point.start_ns != 0 {
            self.gathered.rest.starts.push((place, millis(point.time_ns), millis(point.start_ns)));
        }
        self.gathered.rest.exemplars.extend(exemplars.into_iter().map(|exemplar| (place, exemplar)));
    }

    fn native(&mut self, common: &Common<'_>, point: &Point, mut histogram: FloatHistogram) -> Result<(), &'static str> {
        if is_gone(point) {
            histogram = FloatHistogram { sum: stale_nan(), ..FloatHistogram::default() };
        } else if let Some(flaw) = flaw(&histogram, true) {
            return Err(flaw);
        }
        let labels = common.labels(point, "", None);
        let (place, from) = (self.gathered.place(), self.gathered.rest.samples.len());
        self.gathered.rest.histograms.push((place, millis(point.time_ns), Arc::new(histogram)));
        self.told(place, point, exemplars(&point.exemplars));
        self.gathered.series(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), from, None);
        Ok(())
    }

    /// Adds a histogram as classic series.
    fn histogram(&mut self, common: &Common<'_>, point: &Point) -> Result<(), &'static str> {
        check_buckets(point)?;
        if let Some(sum) = point.sum {
            self.number(common, point, "_sum", None, sum, Vec::new());
        }
        self.number(common, point, "_count", None, point.count as f64, Vec::new());
        let mut below = 0_u64;
        let mut lower = f64::NEG_INFINITY;
        for (place, bound) in point.bounds.iter().copied().chain([f64::INFINITY]).enumerate() {
            below = below.saturating_add(point.counts.get(place).copied().unwrap_or(0));
            let count = if bound == f64::INFINITY { point.count } else { below };
            let inside = point.exemplars.iter().filter(|one| one.value > lower && one.value <= bound);
            let exemplars = inside.filter_map(exemplar).collect();
            let le = format_f(bound);
            self.number(common, point, "_bucket", Some(("le", &le)), count as f64, exemplars);
            lower = bound;
        }
        Ok(())
    }

    /// Adds a histogram as a native one with custom buckets.
    fn custom_buckets(&mut self, common: &Common<'_>, point: &Point) -> Result<(), &'static str> {
        check_buckets(point)?;
        let mut classic = ClassicHistogram::default();
        let mut below = 0_u64;
        for (bound, count) in point.bounds.iter().zip(&point.counts) {
            below = below.saturating_add(*count);
            classic.bucket(*bound, below as f64).map_err(|_| "too many buckets")?;
        }
        classic.count(point.count as f64);
        classic.sum(point.sum.unwrap_or(0.0));
        let histogram = classic.finish().ok_or("the buckets contradict each other")?;
        self.native(common, point, histogram)
    }

    fn exponential(&mut self, common: &Common<'_>, point: &Point) -> Result<(), &'static str> {
        if point.scale < *SCHEMAS.start() {
            return Err("the scale of an exponential histogram is below -4");
        }
        if point.positive.counts.len().max(point.negative.counts.len()) > HISTOGRAM_BUCKETS {
            return Err("too many buckets");
        }
        let coarser = (point.scale - SCHEMAS.end()).clamp(0, 31);
        let (positive_spans, positive_buckets) = buckets(&point.positive, coarser)?;
        let (negative_spans, negative_buckets) = buckets(&point.negative, coarser)?;
        let histogram = FloatHistogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema: point.scale.min(*SCHEMAS.end()) as i32,
            // A zero bucket without a width is given the one that clients use.
            zero_threshold: if point.zero_threshold == 0.0 { 1e-128 } else { point.zero_threshold },
            zero_count: point.zero_count as f64,
            count: point.count as f64,
            sum: point.sum.unwrap_or(0.0),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: Vec::new(),
        };
        self.native(common, point, histogram)
    }

    fn summary(&mut self, common: &Common<'_>, point: &Point) {
        self.number(common, point, "_sum", None, point.sum.unwrap_or(0.0), Vec::new());
        self.number(common, point, "_count", None, point.count as f64, Vec::new());
        for (quantile, value) in &point.quantiles {
            let quantile = format_f(*quantile);
            self.number(common, point, "", Some(("quantile", &quantile)), *value, Vec::new());
        }
    }

    /// Adds `target_info`: what is known of a resource beside its identity.
    fn target_info(&mut self, resource: &Resource, (first_ms, last_ms): (i64, i64), config: &OtlpConfig) {
        let is_identifying = |(name, _): &&(String, serde_json::Value)| IDENTIFYING.contains(&name.as_str());
        let more = resource.attributes.iter().filter(|one| !is_identifying(one)).count();
        let mut labels = BTreeMap::new();
        let kept = |one: &&(String, serde_json::Value)| config.keep_identifying_resource_attributes || !is_identifying(one);
        set_attributes(&mut labels, resource.attributes.iter().filter(kept), config);
        set_identity(&mut labels, resource);
        if more == 0 || !(labels.contains_key("job") || labels.contains_key("instance")) {
            return;
        }
        labels.insert(METRIC_NAME.to_owned(), "target_info".to_owned());
        let metadata = Metadata { metric_type: MetricType::Gauge, help: "Target metadata".to_owned(), unit: String::new() };
        self.gathered.rest.metadata.push(("target_info".to_owned(), metadata));
        let from = self.gathered.rest.samples.len();
        let steps = (last_ms.saturating_sub(first_ms) / INFO_STEP_MS).clamp(0, 10_000);
        let times = (0..=steps).map(|step| first_ms + step * INFO_STEP_MS).filter(|at_ms| *at_ms < last_ms);
        self.gathered.rest.samples.extend(times.chain([last_ms]).map(|at_ms| (at_ms, 1.0)));
        let present = labels.iter().filter(|(_, value)| !value.is_empty());
        self.gathered.series(present.map(|(name, value)| (name.as_str(), value.as_str())), from, None);
    }
}

/// Whether the point says that there is no value any more.
const fn is_gone(point: &Point) -> bool {
    point.flags & 1 != 0
}

fn check_buckets(point: &Point) -> Result<(), &'static str> {
    if point.bounds.len() > HISTOGRAM_BUCKETS {
        return Err("too many buckets");
    }
    if !point.counts.is_empty() && point.counts.len() != point.bounds.len() + 1 {
        return Err("a histogram must have one count more than bounds");
    }
    let ascending = point.bounds.is_sorted_by(|left, right| left < right) && !point.bounds.iter().any(|bound| bound.is_nan());
    if ascending { Ok(()) } else { Err("the bounds of a histogram must ascend") }
}

/// Returns spans and counts; `coarser` is how often two neighbours become one. Theirs have their lower bounds inclusive, ours the
/// upper: bucket n of theirs is our n + 1.
fn buckets(from: &Buckets, coarser: i64) -> Result<(Vec<Span>, Vec<f64>), &'static str> {
    let mut merged: BTreeMap<i32, f64> = BTreeMap::new();
    for (place, count) in (0..).zip(&from.counts) {
        let theirs: i64 = from.offset.saturating_add(place);
        let ours = i32::try_from((theirs >> coarser).saturating_add(1)).map_err(|_| "a bucket is out of range")?;
        *merged.entry(ours).or_default() += *count as f64;
    }
    Ok(pack(merged))
}

fn exemplars(from: &[PointExemplar]) -> Vec<Exemplar> {
    from.iter().filter_map(exemplar).collect()
}

/// Returns an exemplar; `None` where it has no time, by which it could be found.
fn exemplar(from: &PointExemplar) -> Option<Exemplar> {
    if from.time_ns == 0 {
        return None;
    }
    let mut labels = LabelsBuilder::new();
    for (name, value) in &from.attributes {
        labels.set(name, &text_of(value));
    }
    for (name, value) in [("trace_id", &from.trace_id), ("span_id", &from.span_id)] {
        labels.set(name, value.as_str());
    }
    Some(Exemplar { labels: labels.build(), value: from.value, at_ms: Some(millis(from.time_ns)) })
}
