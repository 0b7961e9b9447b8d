//! The data set: counters with resets, gauges, classic and native histograms, stale markers, gaps, numbers that are none.

use crate::support::remote_write::{bytes, varint};

/// Time of the first samples.
pub(crate) const START_MS: i64 = 1_700_000_100_000;
/// Between two samples of a series.
pub(super) const STEP_MS: i64 = 15_000;
/// Samples of a series at most.
pub(super) const STEPS: i64 = 120;

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

enum Sample {
    Float(f64),
    /// Exponential buckets: schema, zero count, positive and negative counts, whether it is a gauge.
    Exponential {
        schema: i64,
        zero: f64,
        positive: Vec<f64>,
        negative: Vec<f64>,
        sum: f64,
        is_gauge: bool,
    },
    /// Custom buckets: bounds, counts (one more).
    Custom {
        bounds: Vec<f64>,
        counts: Vec<f64>,
        sum: f64,
    },
}

struct Series {
    labels: Vec<(&'static str, String)>,
    samples: Vec<(i64, Sample)>,
}

fn float(out: &mut Vec<u8>, field: u8, value: f64) {
    varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, value);
}

fn buckets(out: &mut Vec<u8>, spans_field: u8, counts_field: u8, offset: i64, counts: &[f64]) {
    if counts.is_empty() {
        return;
    }
    let mut span = Vec::new();
    number(&mut span, 1, zigzag(offset));
    number(&mut span, 2, counts.len() as u64);
    bytes(out, spans_field, &span);
    let packed: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
    bytes(out, counts_field, &packed);
}

fn histogram(sample: &Sample, at_ms: i64) -> Vec<u8> {
    let mut out = Vec::new();
    match sample {
        Sample::Float(_) => {}
        Sample::Exponential { schema, zero, positive, negative, sum, is_gauge } => {
            float(&mut out, 2, zero + positive.iter().sum::<f64>() + negative.iter().sum::<f64>());
            float(&mut out, 3, *sum);
            number(&mut out, 4, zigzag(*schema));
            float(&mut out, 5, 0.001);
            float(&mut out, 7, *zero);
            buckets(&mut out, 8, 10, 0, negative);
            buckets(&mut out, 11, 13, -1, positive);
            if *is_gauge {
                number(&mut out, 14, 3);
            }
        }
        Sample::Custom { bounds, counts, sum } => {
            float(&mut out, 2, counts.iter().sum());
            float(&mut out, 3, *sum);
            number(&mut out, 4, zigzag(-53));
            buckets(&mut out, 11, 13, 0, counts);
            let packed: Vec<u8> = bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
            bytes(&mut out, 16, &packed);
        }
    }
    number(&mut out, 15, at_ms as u64);
    out
}

fn labels(labels: &[(&str, String)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        bytes(&mut label, 1, name.as_bytes());
        bytes(&mut label, 2, value.as_bytes());
        bytes(&mut body, 1, &label);
    }
    body
}

/// All samples as packed requests of Remote-Write 1.0. A server may take all floats of a request before its histograms, so where
/// they alternate in a series each run has a request of its own.
pub(crate) fn remote_write() -> Vec<Vec<u8>> {
    let mut all = Maker { random: fastrand::Rng::with_seed(2026), series: Vec::new() }.everything();
    // Series are made in the order of their labels, so that both servers hold them in one order.
    all.sort_by(|left, right| left.labels.cmp(&right.labels));
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for one in &all {
        let is_float = |(_, sample): &(i64, Sample)| matches!(sample, Sample::Float(_));
        for (place, run) in one.samples.chunk_by(|left, right| is_float(left) == is_float(right)).enumerate() {
            let mut body = labels(&one.labels);
            for (at_ms, sample) in run {
                let mut message = Vec::new();
                if let Sample::Float(value) = sample {
                    float(&mut message, 1, *value);
                    number(&mut message, 2, *at_ms as u64);
                    bytes(&mut body, 2, &message);
                } else {
                    bytes(&mut body, 4, &histogram(sample, *at_ms));
                }
            }
            if requests.len() == place {
                requests.push(Vec::new());
            }
            bytes(&mut requests[place], 1, &body);
        }
    }
    requests.iter().map(|request| snap::raw::Encoder::new().compress_vec(request).unwrap()).collect()
}

struct Maker {
    random: fastrand::Rng,
    series: Vec<Series>,
}

impl Maker {
    /// Adds a series; `value` is asked at each step and may leave one out.
    fn add(
        &mut self,
        name: &str,
        labels: &[(&'static str, &str)],
        mut value: impl FnMut(&mut fastrand::Rng, i64) -> Option<Sample>,
    ) {
        let mut all = vec![("__name__", name.to_owned())];
        all.extend(labels.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let shift = if self.random.u8(0..4) == 0 { self.random.i64(0..STEP_MS) } else { 0 };
        let mut samples = Vec::new();
        for step in 0..STEPS {
            // A gap of some samples now and then.
            if self.random.u8(0..25) != 0
                && let Some(sample) = value(&mut self.random, step)
            {
                samples.push((START_MS + step * STEP_MS + shift, sample));
            }
        }
        self.series.push(Series { labels: all, samples });
    }

    fn everything(mut self) -> Vec<Series> {
        for job in ["api", "db"] {
            for instance in ["1", "2", "3"] {
                self.floats(job, instance);
                self.classic(job, instance);
                if instance != "3" {
                    self.native(job, instance);
                }
            }
        }
        self.odd();
        self.series
    }

    fn floats(&mut self, job: &'static str, instance: &'static str) {
        for zone in ["eu", "us"] {
            self.add("g", &[("instance", instance), ("job", job), ("zone", zone)], |random, step| {
                let value = random.f64() * 20.0 - 8.0;
                Some(Sample::Float(match random.u8(0..60) {
                    0 => STALE,
                    1 if zone == "us" && instance == "1" => f64::NAN,
                    2 if zone == "us" && instance == "2" => f64::INFINITY,
                    3 if zone == "us" && instance == "2" => f64::NEG_INFINITY,
                    // Stale for a while, then back.
                    _ if instance == "3" && (40..70).contains(&step) => return (step == 40).then_some(Sample::Float(STALE)),
                    _ => value,
                }))
            });
        }
        for code in ["200", "500"] {
            let mut total = 100.0;
            self.add("c_total", &[("code", code), ("instance", instance), ("job", job)], move |random, _| {
                total = if random.u8(0..40) == 0 { 0.0 } else { total + f64::from(random.u8(0..20)) };
                Some(Sample::Float(total))
            });
        }
        let mut seconds = 0.0;
        self.add("seconds_total", &[("instance", instance), ("job", job)], move |random, _| {
            seconds += random.f64();
            Some(Sample::Float(seconds))
        });
        self.add("n", &[("instance", instance), ("job", job)], |random, _| Some(Sample::Float(f64::from(random.i8(-3..6)))));
        let version = if instance == "2" { "1.1" } else { "1.0" };
        self.add("target_info", &[("instance", instance), ("job", job), ("version", version)], |_, _| Some(Sample::Float(1.0)));
    }

    fn classic(&mut self, job: &'static str, instance: &'static str) {
        let steps: Vec<u8> = (0..STEPS).map(|_| self.random.u8(0..9)).collect();
        for (place, le) in ["0.1", "0.5", "1", "5", "+Inf"].into_iter().enumerate() {
            let (steps, mut total) = (steps.clone(), 0.0);
            self.add("h_bucket", &[("instance", instance), ("job", job), ("le", le)], move |_, step| {
                let added = steps.get(step as usize).copied().unwrap_or(0);
                total = if step == 77 { 0.0 } else { total + f64::from(u32::from(added) * (place as u32 + 1)) };
                Some(Sample::Float(total))
            });
        }
    }

    fn native(&mut self, job: &'static str, instance: &'static str) {
        for (name, is_gauge) in [("nh", false), ("gh", true)] {
            // So many that no extrapolation reaches zero: how far it goes there for histograms is another in 3.5.
            let mut positive = vec![2000.0; 6];
            let mut negative = vec![0.0; 2];
            let (mut zero, mut sum) = (0.0, 0.0);
            self.add(name, &[("instance", instance), ("job", job)], move |random, _| {
                if !is_gauge && random.u8(0..40) == 0 {
                    positive.fill(1000.0);
                    (zero, sum) = (0.0, 0.0);
                }
                for count in positive.iter_mut().chain(&mut negative) {
                    *count += f64::from(random.u8(0..5));
                }
                zero += f64::from(random.u8(0..2));
                sum += random.f64() * 10.0;
                let negative = if instance == "2" { negative.clone() } else { Vec::new() };
                let schema = if job == "db" { 1 } else { 2 };
                Some(Sample::Exponential { schema, zero, positive: positive.clone(), negative, sum, is_gauge })
            });
        }
        let mut counts = vec![1000.0; 5];
        let mut sum = 0.0;
        self.add("nc", &[("instance", instance), ("job", job)], move |random, _| {
            for count in &mut counts {
                *count += f64::from(random.u8(0..5));
            }
            sum += random.f64() * 10.0;
            Some(Sample::Custom { bounds: vec![0.1, 0.5, 1.0, 5.0], counts: counts.clone(), sum })
        });
    }

    /// What comes seldom: floats and histograms in one series, one that ends, one that begins late, one that never changes.
    fn odd(&mut self) {
        self.add("mixed", &[("instance", "1"), ("job", "api")], |random, step| {
            if step / 20 % 2 == 0 {
                return Some(Sample::Float(random.f64() * 9.0));
            }
            Some(Sample::Exponential {
                schema: 0,
                zero: 1.0,
                positive: vec![2000.0, step as f64],
                negative: Vec::new(),
                sum: 5.0,
                is_gauge: false,
            })
        });
        self.add("mixed", &[("instance", "2"), ("job", "api")], |random, _| Some(Sample::Float(random.f64() * 9.0)));
        self.add("short", &[("instance", "1"), ("job", "api")], |random, step| match step {
            0..30 => Some(Sample::Float(random.f64())),
            30 => Some(Sample::Float(STALE)),
            _ => None,
        });
        self.add("short", &[("instance", "2"), ("job", "api")], |random, step| (step > 90).then(|| Sample::Float(random.f64())));
        self.add("still", &[("job", "api")], |_, _| Some(Sample::Float(0.1)));
        self.add("still", &[("job", "db")], |_, _| Some(Sample::Float(7.0)));
        self.add("http.size", &[("job", "api"), ("status.code", "200")], |random, _| Some(Sample::Float(random.f64() * 1e6)));
        self.add("huge", &[("job", "api")], |random, _| Some(Sample::Float((random.f64() - 0.5) * 1e300)));
        self.add("tiny", &[("job", "api")], |random, _| Some(Sample::Float(random.f64() * 1e-300)));
    }
}
