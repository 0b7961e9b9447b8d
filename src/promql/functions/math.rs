//! Functions of one number.

use std::f64::consts::PI;

/// Returns the function of one number with that name.
pub(in crate::promql) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |value| value * PI / 180.0,
        "deg" => |value| value * 180.0 / PI,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

/// Rounds to the nearest multiple; ties go up.
pub(in crate::promql) fn round(value: f64, nearest: f64) -> f64 {
    // Dividing by the inverse loses less where the multiple is a decimal fraction.
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// Cuts to `[lowest, highest]`, as Go's `math.Max` and `math.Min` treat what is not a number.
pub(in crate::promql) fn clamp(value: f64, lowest: f64, highest: f64) -> f64 {
    go_max(lowest, go_min(highest, value))
}

/// Returns the larger; infinity before all, not a number before the rest, and of two zeros the positive one.
pub(in crate::promql) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        return f64::INFINITY;
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    if a > b || (a >= b && b.is_sign_negative()) { a } else { b }
}

/// Returns the smaller; minus infinity before all, not a number before the rest, and of two zeros the negative one.
pub(in crate::promql) fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}
