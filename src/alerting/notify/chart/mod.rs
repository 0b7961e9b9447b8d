//! Charts of alerts for mails: asked for, drawn as SVG, made to PNG (mail programs show no SVG).
//!
//! A chart never keeps a mail back: all charts of a mail together have little time, and where one cannot be had, the mail
//! goes without it.

mod glyphs;
mod svg;

use crate::alerting::alerts::StoredAlert;
use crate::alerting::machine::{Delivery, ToldAlert};
use crate::env::Env;
use crate::model::chart::{ChartAsk, ChartData};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Answers what the values behind an alert were; `None` where nothing is known.
#[derive(Clone)]
pub struct ChartFeed(Arc<dyn Fn(ChartAsk) -> BoxFuture<'static, Option<ChartData>> + Send + Sync>);

impl std::fmt::Debug for ChartFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChartFeed")
    }
}

impl ChartFeed {
    /// Returns one that asks this.
    pub fn new(ask: impl Fn(ChartAsk) -> BoxFuture<'static, Option<ChartData>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Returns one that knows nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Box::pin(async { None }))
    }
}

/// How many alerts of a mail get a chart.
pub const CHARTS_MAX: usize = 5;
/// How long a mail waits for its charts.
const PATIENCE: Duration = Duration::from_millis(700);
/// The least and the most that a chart shows.
const SPAN_MIN_MS: i64 = 3_600_000;
const SPAN_SHORT_MS: i64 = 600_000;
const SPAN_MAX_MS: i64 = 24 * 3_600_000;
/// Pixels per unit of the drawing.
const SCALE: f32 = 2.0;

/// What is known about an alert's values.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The values.
    pub data: ChartData,
    /// The first and the last moment shown.
    span_ms: [i64; 2],
    fired_ms: [i64; 2],
}

/// Charts by the fingerprint of their alert.
pub type Charts = BTreeMap<u64, Chart>;

fn ask(delivery: &Delivery, alert: &StoredAlert, resolved: bool) -> (ChartAsk, [i64; 2], [i64; 2]) {
    let to_ms = delivery.at_ms;
    let over_ms = if resolved { alert.ends_at_ms.min(to_ms) } else { to_ms };
    let length = ((to_ms - alert.starts_at_ms).max(0) / 2).saturating_mul(3).clamp(SPAN_MIN_MS, SPAN_MAX_MS);
    let ask = ChartAsk {
        generator_url: alert.generator_url.clone(),
        labels: alert.labels.clone(),
        from_ms: to_ms - length,
        to_ms,
        ended_ms: resolved.then_some(over_ms),
    };
    (ask, [to_ms - length, to_ms], [alert.starts_at_ms, over_ms])
}

/// Asks for the charts of these alerts; those that come in time are there.
pub async fn gather(env: &Env, feed: &ChartFeed, delivery: &Delivery, alerts: &[&ToldAlert]) -> Charts {
    let mut charts = Charts::new();
    let asking = async {
        for told in alerts.iter().take(CHARTS_MAX) {
            let (ask, span_ms, fired_ms) = ask(delivery, &told.alert, told.resolved);
            if let Some(data) = feed.0(ask).await {
                let [from_ms, to_ms] = span_ms;
                // Where little is known, that is shown large.
                let first_ms = data.points.first().map_or(from_ms, |(at_ms, _)| *at_ms);
                let span_ms = [first_ms.clamp(from_ms, (to_ms - SPAN_SHORT_MS).max(from_ms)), to_ms];
                charts.insert(told.alert.fingerprint, Chart { data, span_ms, fired_ms });
            }
        }
    };
    if env.clock.timeout(PATIENCE, asking).await.is_err() {
        tracing::debug!(record = delivery.record, "a mail did not wait for all its charts");
    }
    charts
}

impl Chart {
    /// Returns the first moment that it shows.
    #[must_use]
    pub const fn from_ms(&self) -> i64 {
        self.span_ms[0]
    }

    /// Returns the last moment that it shows.
    #[must_use]
    pub const fn to_ms(&self) -> i64 {
        self.span_ms[1]
    }

    /// Draws it. Takes some milliseconds.
    ///
    /// # Errors
    /// What the drawing library says; none is known.
    pub fn png(&self) -> Result<Vec<u8>, String> {
        let picture = svg::Picture { data: &self.data, span_ms: self.span_ms, fired_ms: self.fired_ms };
        let drawing = svg::draw(&picture).ok_or("its values are too far apart to be drawn")?;
        let tree = resvg::usvg::Tree::from_str(&drawing, &resvg::usvg::Options::default()).map_err(|error| error.to_string())?;
        let (width, height) = (svg::WIDTH as f32 * SCALE, svg::HEIGHT as f32 * SCALE);
        let mut pixels = resvg::tiny_skia::Pixmap::new(width as u32, height as u32).ok_or("no room for a picture")?;
        resvg::render(&tree, resvg::tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chart::Threshold;

    #[test]
    fn becomes_a_small_picture() {
        let points = (0..120).map(|place| (i64::from(place) * 30_000, 50.0 + 45.0 * (f64::from(place) / 9.0).sin())).collect();
        let threshold = Some(Threshold { value: 90.0, operator: ">" });
        let data = ChartData { points, step_ms: 30_000, threshold, ..ChartData::default() };
        let chart = Chart { data, span_ms: [0, 3_600_000], fired_ms: [3_000_000, 3_600_000] };
        let png = chart.png().expect("drawn");
        assert!(png.starts_with(b"\x89PNG"), "{png:?}");
        assert!(png.len() < 60_000, "{} bytes", png.len());
        let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).expect("a picture");
        assert_eq!((pixels.width(), pixels.height()), (1200, 360));
        let is_blue =
            |pixel: &&resvg::tiny_skia::PremultipliedColorU8| (pixel.red(), pixel.green(), pixel.blue()) == (0x0a, 0x5b, 0xb0);
        assert!(pixels.pixels().iter().filter(is_blue).count() > 500, "the line is there");
    }
}
