//! A chart as SVG: the values as a line, the limit dashed with what lies beyond it tinted, the time the alert fired shaded.
//!
//! Drawn for a phone: few marks, thick lines, all words stand in the mail around it.

use super::glyphs;
use crate::model::chart::ChartData;
use crate::template::Time;
use std::fmt::Write as _;

/// Size in pixels; rendered at twice that.
pub(super) const WIDTH: f64 = 600.0;
pub(super) const HEIGHT: f64 = 180.0;
/// Where the drawing lies: what is left is for numbers.
const TOP: f64 = 12.0;
const BOTTOM: f64 = 156.0;
const RIGHT: f64 = 590.0;
/// Height of numbers.
const TEXT: f64 = 10.0;
/// A gap of so many steps breaks the line.
const GAP_STEPS: i64 = 3;

/// What is drawn.
pub(super) struct Picture<'a> {
    pub(super) data: &'a ChartData,
    /// The first and the last moment.
    pub(super) span_ms: [i64; 2],
    /// When the alert fired.
    pub(super) fired_ms: [i64; 2],
}

/// Writes a number in few signs: `1.5k`, `0.25`, `3e-7`.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let (scaled, unit) = match size {
        _ if size >= 1e15 => return format!("{value:.0e}"),
        _ if size >= 1e12 => (value / 1e12, "T"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ if size > 0.0 && size < 1e-3 => return format!("{value:.0e}"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

/// Returns a round step that divides a length into three to six pieces.
fn round_step(length: f64) -> f64 {
    let rough = length / 4.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * magnitude >= rough).unwrap_or(10.0);
    factor * magnitude
}

/// Returns the axis: lowest, highest and step.
fn axis(data: &ChartData) -> [f64; 3] {
    let values = || data.points.iter().map(|(_, value)| *value).chain(data.threshold.map(|limit| limit.value));
    let (mut low, mut high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // Zero belongs to what lies near it.
    if low > 0.0 && low < high * 0.6 {
        low = 0.0;
    }
    if high < 0.0 && high > low * 0.6 {
        high = 0.0;
    }
    if high - low <= f64::EPSILON * high.abs().max(low.abs()).max(1e-300) {
        let pad = if low.abs() > 0.0 { low.abs() * 0.1 } else { 1.0 };
        (low, high) = (low - pad, high + pad);
    }
    let step = round_step(high - low);
    [(low / step).floor() * step, (high / step).ceil() * step, step]
}

/// Writes the chart. `None` where its numbers are too far apart to be drawn.
pub(super) fn draw(picture: &Picture<'_>) -> Option<String> {
    let [low, high, step] = axis(picture.data);
    let marks: Vec<f64> =
        (0..=12).map(|place| f64::from(place).mul_add(step, low)).take_while(|mark| *mark <= high + step / 2.0).collect();
    if !(high - low).is_finite() || marks.len() < 2 {
        return None;
    }
    let numbers: Vec<String> = marks.iter().map(|mark| short(*mark)).collect();
    let left = numbers.iter().map(|number| glyphs::width(number, TEXT)).fold(20.0, f64::max) + 14.0;
    let [from, to] = picture.span_ms;
    let span = (to - from).max(1) as f64;
    let x = |at_ms: i64| ((at_ms - from) as f64 / span).clamp(0.0, 1.0).mul_add(RIGHT - left, left);
    let y = |value: f64| ((value - low) / (high - low)).clamp(0.0, 1.0).mul_add(TOP - BOTTOM, BOTTOM);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"
    );
    let mut put = |text: std::fmt::Arguments<'_>| {
        // Writing to a text cannot fail.
        let _done = out.write_fmt(text);
    };
    let [fired, over] = picture.fired_ms.map(x);
    if over - fired > 0.5 {
        put(format_args!(
            "<rect x=\"{fired:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#7f1420\" fill-opacity=\"0.09\"/>",
            over - fired,
            BOTTOM - TOP
        ));
    }
    for mark in &marks {
        put(format_args!("<path d=\"M{left:.1} {0:.1}H{RIGHT}\" stroke=\"#dfe4ea\" stroke-width=\"1\"/>", y(*mark)));
    }
    if let Some(limit) = picture.data.threshold {
        let at = y(limit.value);
        if let Some(above) = limit.bad_above() {
            let (top, bottom) = if above { (TOP, at) } else { (at, BOTTOM) };
            put(format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#b3261e\" fill-opacity=\"0.06\"/>",
                RIGHT - left,
                bottom - top
            ));
        }
        put(format_args!(
            "<path d=\"M{left:.1} {at:.1}H{RIGHT}\" stroke=\"#b3261e\" stroke-width=\"1.5\" stroke-dasharray=\"7 5\"/>"
        ));
    }
    put(format_args!("{}", line(picture.data, x, y)));
    put(format_args!(
        "<g fill=\"none\" stroke=\"#56606c\" stroke-width=\"0.85\" stroke-linecap=\"round\" stroke-linejoin=\"round\">"
    ));
    for (mark, number) in marks.iter().zip(&numbers) {
        glyphs::write(&mut out, number, [left - 8.0 - glyphs::width(number, TEXT), y(*mark) - TEXT / 2.0], TEXT);
    }
    for place in 0..=4 {
        let at_ms = from + (to - from) / 4 * place;
        let clock = Time::from_ms(at_ms).format("15:04");
        let width = glyphs::width(&clock, TEXT);
        let middle = (x(at_ms) - width / 2.0).clamp(left - 8.0, RIGHT - width);
        glyphs::write(&mut out, &clock, [middle, BOTTOM + 10.0], TEXT);
    }
    out.push_str("</g></svg>");
    Some(out)
}

/// The values: lines where they follow each other, dots where one stands alone, and a dot at the last.
fn line(data: &ChartData, x: impl Fn(i64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let (mut path, mut dots) = (String::new(), String::new());
    let gap_ms = data.step_ms.saturating_mul(GAP_STEPS);
    let is_near = |a: Option<&(i64, f64)>, b: Option<&(i64, f64)>| a.zip(b).is_some_and(|(a, b)| b.0 - a.0 <= gap_ms);
    let before = |place: usize| place.checked_sub(1).and_then(|before| data.points.get(before));
    for (place, point) in data.points.iter().enumerate() {
        let (left, top) = (x(point.0), y(point.1));
        let follows = is_near(before(place), Some(point));
        let is_followed = is_near(Some(point), data.points.get(place + 1));
        let _done = write!(path, "{}{left:.1} {top:.1}", if follows { "L" } else { "M" });
        if place + 1 == data.points.len() || (!follows && !is_followed) {
            let _done = write!(dots, "<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"3\" fill=\"#0a5bb0\"/>");
        }
    }
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"#0a5bb0\" stroke-width=\"2\" stroke-linejoin=\"round\"/>{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chart::Threshold;

    #[test]
    fn writes_numbers_in_few_signs() {
        let numbers = [0.0, 0.25, 1.0, 42.5, 100.0, 1500.0, 15_000.0, 2.5e6, 3e9, 4e12, 1e18, 3e-7, -0.5, -20.0];
        let texts = ["0", "0.25", "1", "42.5", "100", "1500", "15k", "2.5M", "3G", "4T", "1e18", "3e-7", "-0.5", "-20"];
        assert_eq!(numbers.map(short), texts);
        assert!(texts.iter().flat_map(|text| text.chars()).all(|sign| glyphs::width(&sign.to_string(), 6.0) > 0.0));
    }

    #[test]
    fn chooses_a_round_axis() {
        let data = |values: &[f64], limit: Option<f64>| ChartData {
            points: values.iter().map(|value| (0, *value)).collect(),
            threshold: limit.map(|value| Threshold { value, operator: ">" }),
            ..ChartData::default()
        };
        let check = |data: ChartData, wanted: [f64; 3]| assert_eq!(axis(&data).map(short), wanted.map(short));
        check(data(&[1.0, 9.0], None), [0.0, 10.0, 2.5]);
        check(data(&[1.0, 9.0], Some(90.0)), [0.0, 100.0, 25.0]);
        check(data(&[95.0, 99.0], Some(90.0)), [90.0, 100.0, 2.5]);
        let [low, high, _] = axis(&data(&[0.0], None));
        assert!(low < 0.0 && high > 0.0);
        assert!(draw(&Picture { data: &data(&[-1e308, 1e308], None), span_ms: [0, 1], fired_ms: [0, 0] }).is_none());
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let points = vec![(0, 1.0), (10, 2.0), (100, 3.0), (200, 1.0), (210, 1.0)];
        let drawn = line(&ChartData { points, step_ms: 10, ..ChartData::default() }, |at| at as f64, |value| value);
        assert_eq!(drawn.matches('M').count(), 3, "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 2, "one stands alone, one is the last: {drawn}");
    }
}
