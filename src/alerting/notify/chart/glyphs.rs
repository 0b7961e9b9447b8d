//! Numbers as strokes: a server has no fonts, and a chart's axes need no others than these few signs.

use std::fmt::Write as _;

/// Width of a sign's box, and the step to the next, in units of which a sign is 6 high.
const WIDTH: f64 = 4.0;
const ADVANCE: f64 = 5.4;

/// Returns a sign's strokes as an SVG path within 4 by 6, y downwards.
const fn strokes(sign: char) -> &'static str {
    match sign {
        '0' => "M2 0Q4 0 4 3Q4 6 2 6Q0 6 0 3Q0 0 2 0Z",
        '1' => "M.7 1.3L2.3 0V6",
        '2' => "M.2 1.5Q.4 0 2 0Q3.8 0 3.8 1.6Q3.8 2.7 2.4 3.9L.2 6H4",
        '3' => "M.2 .9Q.8 0 2 0Q3.7 0 3.7 1.4Q3.7 2.8 1.6 2.8Q4 2.8 4 4.4Q4 6 2 6Q.6 6 0 5",
        '4' => "M3 6V0L0 4.2H4",
        '5' => "M3.6 0H.6L.3 2.6Q1 2.1 2 2.1Q4 2.1 4 4Q4 6 2 6Q.6 6 0 5",
        '6' => "M3.6 .7Q3 0 2.1 0Q0 0 0 3.5Q0 6 2 6Q4 6 4 4.1Q4 2.3 2.1 2.3Q.3 2.3 0 4",
        '7' => "M0 0H4L1.5 6",
        '8' => "M2 2.8Q.3 2.8 .3 1.4Q.3 0 2 0Q3.7 0 3.7 1.4Q3.7 2.8 2 2.8Q0 2.8 0 4.4Q0 6 2 6Q4 6 4 4.4Q4 2.8 2 2.8Z",
        '9' => "M.4 5.3Q1 6 1.9 6Q4 6 4 2.5Q4 0 2 0Q0 0 0 1.9Q0 3.7 1.9 3.7Q3.7 3.7 4 2",
        '-' => "M.6 3H3.4",
        '+' => "M.4 3H3.6M2 1.4V4.6",
        '.' => "M1.8 5.8H2.2",
        ':' => "M1.8 1.8H2.2M1.8 4.8H2.2",
        'e' => "M.3 4.2H3.7Q3.7 2.3 2 2.3Q.2 2.3 .2 4.2Q.2 6 2 6Q3.2 6 3.6 5.2",
        'k' => "M.6 0V6M3.4 2.2L.6 4.4M1.7 3.6L3.6 6",
        'M' => "M0 6V0L2 3.4L4 0V6",
        'G' => "M3.8 1.2Q3.2 0 2 0Q0 0 0 3Q0 6 2 6Q4 6 4 4V3.4H2.4",
        'T' => "M0 0H4M2 0V6",
        _ => "",
    }
}

/// Returns the width of a text at some height, in pixels.
pub(super) fn width(text: &str, height: f64) -> f64 {
    let signs = text.chars().count();
    if signs == 0 { 0.0 } else { ((signs - 1) as f64).mul_add(ADVANCE, WIDTH) * height / 6.0 }
}

/// Writes a text with its upper left corner at `x`, `y`.
pub(super) fn write(out: &mut String, text: &str, [x, y]: [f64; 2], height: f64) {
    let scale = height / 6.0;
    for (place, sign) in text.chars().enumerate() {
        let path = strokes(sign);
        if !path.is_empty() {
            let left = (place as f64 * ADVANCE).mul_add(scale, x);
            // Writing to a text cannot fail.
            let _done = write!(out, "<path transform=\"translate({left:.2} {y:.2}) scale({scale:.3})\" d=\"{path}\"/>");
        }
    }
}
