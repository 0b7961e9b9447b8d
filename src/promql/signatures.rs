//! Names, arguments and results of all PromQL functions (Prometheus's `promql/parser/functions.go`).
//!
//! Sorted by name. What the functions compute is in `functions/`; this table alone decides what a call may look like.

use super::expr::ValueType;

/// How many arguments a function takes beyond its fixed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Exactly the listed arguments.
    No,
    /// The last listed argument may be left out, or be repeated so many times in all.
    UpTo(u8),
    /// The last listed argument may be left out or be repeated for ever.
    Any,
}

impl Variadic {
    /// Returns the number that Prometheus's API shows.
    #[must_use]
    pub const fn as_number(self) -> i32 {
        match self {
            Self::No => 0,
            Self::UpTo(count) => count as i32,
            Self::Any => -1,
        }
    }
}

/// A function as the type check sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Types of the arguments; the last one repeats where the function is variadic.
    pub args: &'static [ValueType],
    /// Whether the last argument may be missing or repeat.
    pub variadic: Variadic,
    /// Type of the result.
    pub returns: ValueType,
    /// Whether Prometheus hides it behind a feature flag; here it is always there.
    pub experimental: bool,
}

/// Finds a function by its exact name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.binary_search_by(|signature| signature.name.cmp(name)).ok().and_then(|at| SIGNATURES.get(at))
}

const S: ValueType = ValueType::Scalar;
const T: ValueType = ValueType::String;
const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;

const fn fixed(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, args, variadic: Variadic::No, returns, experimental: false }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: Variadic) -> Signature {
    Signature { name, args, variadic, returns: V, experimental: false }
}

const fn experimental(signature: Signature) -> Signature {
    Signature { experimental: true, ..signature }
}

/// All functions, sorted by name.
pub static SIGNATURES: &[Signature] = &[
    fixed("abs", &[V], V),
    fixed("absent", &[V], V),
    fixed("absent_over_time", &[M], V),
    fixed("acos", &[V], V),
    fixed("acosh", &[V], V),
    fixed("asin", &[V], V),
    fixed("asinh", &[V], V),
    fixed("atan", &[V], V),
    fixed("atanh", &[V], V),
    fixed("avg_over_time", &[M], V),
    fixed("ceil", &[V], V),
    fixed("changes", &[M], V),
    fixed("clamp", &[V, S, S], V),
    fixed("clamp_max", &[V, S], V),
    fixed("clamp_min", &[V, S], V),
    fixed("cos", &[V], V),
    fixed("cosh", &[V], V),
    fixed("count_over_time", &[M], V),
    variadic("day_of_month", &[V], Variadic::UpTo(1)),
    variadic("day_of_week", &[V], Variadic::UpTo(1)),
    variadic("day_of_year", &[V], Variadic::UpTo(1)),
    variadic("days_in_month", &[V], Variadic::UpTo(1)),
    fixed("deg", &[V], V),
    fixed("delta", &[M], V),
    fixed("deriv", &[M], V),
    experimental(fixed("double_exponential_smoothing", &[M, S, S], V)),
    experimental(fixed("end", &[], S)),
    fixed("exp", &[V], V),
    experimental(fixed("first_over_time", &[M], V)),
    fixed("floor", &[V], V),
    fixed("histogram_avg", &[V], V),
    fixed("histogram_count", &[V], V),
    fixed("histogram_fraction", &[S, S, V], V),
    fixed("histogram_quantile", &[S, V], V),
    experimental(variadic("histogram_quantiles", &[V, T, S, S], Variadic::UpTo(9))),
    fixed("histogram_stddev", &[V], V),
    fixed("histogram_stdvar", &[V], V),
    fixed("histogram_sum", &[V], V),
    variadic("hour", &[V], Variadic::UpTo(1)),
    fixed("idelta", &[M], V),
    fixed("increase", &[M], V),
    experimental(variadic("info", &[V, V], Variadic::UpTo(1))),
    fixed("irate", &[M], V),
    variadic("label_join", &[V, T, T, T], Variadic::Any),
    fixed("label_replace", &[V, T, T, T, T], V),
    fixed("last_over_time", &[M], V),
    fixed("ln", &[V], V),
    fixed("log10", &[V], V),
    fixed("log2", &[V], V),
    experimental(fixed("mad_over_time", &[M], V)),
    experimental(fixed("max_of", &[S, S], S)),
    fixed("max_over_time", &[M], V),
    experimental(fixed("min_of", &[S, S], S)),
    fixed("min_over_time", &[M], V),
    variadic("minute", &[V], Variadic::UpTo(1)),
    variadic("month", &[V], Variadic::UpTo(1)),
    fixed("pi", &[], S),
    fixed("predict_linear", &[M, S], V),
    fixed("present_over_time", &[M], V),
    fixed("quantile_over_time", &[S, M], V),
    fixed("rad", &[V], V),
    experimental(fixed("range", &[], S)),
    fixed("rate", &[M], V),
    fixed("resets", &[M], V),
    variadic("round", &[V, S], Variadic::UpTo(1)),
    fixed("scalar", &[V], S),
    fixed("sgn", &[V], V),
    fixed("sin", &[V], V),
    fixed("sinh", &[V], V),
    fixed("sort", &[V], V),
    experimental(variadic("sort_by_label", &[V, T], Variadic::Any)),
    experimental(variadic("sort_by_label_desc", &[V, T], Variadic::Any)),
    fixed("sort_desc", &[V], V),
    fixed("sqrt", &[V], V),
    experimental(fixed("start", &[], S)),
    experimental(fixed("start_timestamp", &[V], V)),
    fixed("stddev_over_time", &[M], V),
    fixed("stdvar_over_time", &[M], V),
    experimental(fixed("step", &[], S)),
    fixed("sum_over_time", &[M], V),
    fixed("tan", &[V], V),
    fixed("tanh", &[V], V),
    fixed("time", &[], S),
    fixed("timestamp", &[V], V),
    experimental(fixed("ts_of_first_over_time", &[M], V)),
    experimental(fixed("ts_of_last_over_time", &[M], V)),
    experimental(fixed("ts_of_max_over_time", &[M], V)),
    experimental(fixed("ts_of_min_over_time", &[M], V)),
    fixed("vector", &[S], V),
    variadic("year", &[V], Variadic::UpTo(1)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        for signature in SIGNATURES {
            assert_eq!(find(signature.name), Some(signature));
        }
        assert_eq!(find("rates"), None);
    }
}
