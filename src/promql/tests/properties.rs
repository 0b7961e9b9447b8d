//! What must hold for every expression: printing and parsing come back to the same; a range query gives what instant queries
//! at its steps give; rewriting the plan changes nothing; an aggregation over shards gives that over all.

use crate::model::labels::Labels;
use crate::model::sample::{Value, stale_nan};
use crate::promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use crate::promql::expr::{BinaryOp, Expr, ExprKind};
use crate::promql::fuzz::RANGE_FUNCTIONS;
use crate::promql::parse::parse;
use crate::promql::print::one_line;
use crate::promql::value::QueryValue;
use crate::storage::select::memory::MemoryStore;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Values by labels and time.
type Cells = BTreeMap<(Labels, i64), f64>;

const END_MS: i64 = 900_000;

/// Gauges, counters with resets, buckets; gaps, stale markers, numbers that are none.
fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let mut state = 7_u64;
    let mut chance = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    for metric in ["a", "b", "c_total", "d_total"] {
        for (g, i) in [("x", "1"), ("x", "2"), ("y", "1"), ("y", "2"), ("y", "3")] {
            let labels = Labels::from_pairs([("__name__", metric), ("g", g), ("i", i)]);
            let mut value = 10.0;
            for at_ms in (0..END_MS).step_by(15_000) {
                match chance() {
                    roll if roll < 0.04 => continue,
                    roll if roll < 0.06 => store.add(&labels, at_ms, Value::Float(stale_nan())),
                    roll if roll < 0.07 && metric == "b" => store.add(&labels, at_ms, Value::Float(f64::NAN)),
                    roll => {
                        let counts = metric.ends_with("_total");
                        let grows = (chance() * 10.0).floor();
                        value = if counts && roll > 0.97 {
                            0.0
                        } else if counts {
                            value + grows
                        } else {
                            grows - 3.0
                        };
                        // One series never changes.
                        let shown = if (metric, g, i) == ("a", "y", "3") { 4.5 } else { value };
                        store.add(&labels, at_ms + i64::from(g == "y") * 3_000, Value::Float(shown));
                    }
                }
            }
        }
    }
    for (place, le) in ["0.1", "0.5", "2", "+Inf"].iter().enumerate() {
        for g in ["x", "y"] {
            let labels = Labels::from_pairs([("__name__", "h_bucket"), ("g", g), ("le", le)]);
            for at_ms in (0..END_MS).step_by(15_000) {
                store.add(&labels, at_ms, Value::Float((at_ms / 15_000 * (place as i64 + 1)) as f64));
            }
        }
    }
    store
}

fn selector() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("c_total"),
        Just("a{g=\"x\"}"),
        Just("d_total{i!~\"2\"}"),
        Just("{__name__=~\"a|b\"}"),
        Just("{__name__=~\".+_total\", g=\"y\"}"),
        Just("absent_metric"),
    ]
    .prop_map(str::to_owned)
}

const RANGES: [&str; 3] = ["30s", "1m", "2m30s"];
const GROUPINGS: [&str; 5] = ["", " by (g)", " by (i, g)", " without (i)", " by (__name__)"];
fn leaf() -> impl Strategy<Value = String> {
    let (ranges, functions) = (|| prop::sample::select(&RANGES), prop::sample::select(RANGE_FUNCTIONS));
    let shift = prop_oneof![4 => Just(""), 1 => Just(" offset 1m"), 1 => Just(" @ 300"), 1 => Just(" offset -30s")];
    prop_oneof![
        (selector(), shift.clone()).prop_map(|(selector, shift)| format!("{selector}{shift}")),
        (functions, selector(), ranges(), shift)
            .prop_map(|(function, selector, range, shift)| format!("{function}({selector}[{range}]{shift})")),
        (selector(), ranges()).prop_map(|(selector, range)| format!("quantile_over_time(0.7, {selector}[{range}])")),
        ranges().prop_map(|range| format!("histogram_quantile(0.8, sum by (le) (rate(h_bucket[{range}])))")),
    ]
}

fn vector() -> BoxedStrategy<String> {
    let grouping = || prop::sample::select(&GROUPINGS);
    let aggregations =
        prop_oneof![Just("sum"), Just("avg"), Just("min"), Just("max"), Just("count"), Just("group"), Just("stddev")];
    let operators =
        prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("> bool"), Just("<="), Just("!="), Just("%"), Just("^")];
    let scalars = prop_oneof![Just("2"), Just("-1.5"), Just("time()"), Just("scalar(absent_metric)"), Just("(1 + 2 * 3)")];
    let sets = prop_oneof![Just("and"), Just("or"), Just("unless")];
    leaf()
        .prop_recursive(4, 24, 3, move |inner| {
            prop_oneof![
                (aggregations.clone(), grouping(), inner.clone()).prop_map(|(op, by, inner)| format!("{op}{by} ({inner})")),
                (grouping(), inner.clone()).prop_map(|(by, inner)| format!("quantile{by} (0.3, {inner})")),
                (grouping(), inner.clone()).prop_map(|(by, inner)| format!("topk{by} (2, {inner})")),
                (inner.clone(), operators.clone(), scalars.clone(), any::<bool>()).prop_map(|(inner, op, scalar, swap)| {
                    if swap { format!("{scalar} {op} ({inner})") } else { format!("({inner}) {op} {scalar}") }
                }),
                (inner.clone(), operators.clone(), inner.clone(), any::<bool>()).prop_map(|(left, op, right, on)| {
                    let on = if on { " on (g, i)" } else { "" };
                    format!("({left}) {op}{on} ({right})")
                }),
                (inner.clone(), sets.clone(), inner.clone()).prop_map(|(left, op, right)| format!("({left}) {op} ({right})")),
                inner.clone().prop_map(|inner| format!("-({inner})")),
                inner.clone().prop_map(|inner| format!("abs({inner})")),
                inner.clone().prop_map(|inner| format!("clamp_max({inner}, 5)")),
                inner.clone().prop_map(|inner| format!("label_replace({inner}, \"n\", \"$1\", \"g\", \"(.)\")")),
                (prop::sample::select(RANGE_FUNCTIONS), inner)
                    .prop_map(|(function, inner)| format!("{function}(({inner})[2m:30s])")),
            ]
        })
        .boxed()
}

fn cells(value: QueryValue) -> Cells {
    match value {
        QueryValue::Vector(samples) => {
            let float = |value: &Value| if let Value::Float(value) = value { Some(*value) } else { None };
            samples.iter().filter_map(|one| Some(((one.labels.clone(), one.at_ms), float(&one.value)?))).collect()
        }
        QueryValue::Matrix(series) => {
            let points =
                series.into_iter().flat_map(|one| one.floats.into_iter().map(move |(at, value)| (one.labels.clone(), at, value)));
            points.map(|(labels, at_ms, value)| ((labels, at_ms), value)).collect()
        }
        QueryValue::Scalar { at_ms, value } => BTreeMap::from([((Labels::empty(), at_ms), value)]),
        QueryValue::String { .. } => BTreeMap::new(),
    }
}

fn instant(engine: &Engine, store: &MemoryStore, expr: &Expr, at_ms: i64) -> Result<Cells, QueryError> {
    engine.instant(store, expr, at_ms, &QueryOptions::default()).map(|result| cells(result.value))
}

fn range(engine: &Engine, store: &MemoryStore, expr: &Expr) -> Result<Cells, QueryError> {
    engine.range(store, expr, 240_000, 780_000, 45_000, &QueryOptions::default()).map(|result| cells(result.value))
}

/// A thread for each piece of work.
fn threads() -> crate::promql::engine::Spawn {
    std::sync::Arc::new(|work| drop(crate::env::tasks::Tasks::new().thread("query", work)))
}

fn near(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn assert_same(text: &str, left: &Cells, right: &Cells) -> Result<(), TestCaseError> {
    let keys: Vec<_> = left.keys().collect();
    prop_assert_eq!(&keys, &right.keys().collect::<Vec<_>>(), "{}", text);
    for (key, value) in left {
        prop_assert!(near(*value, right[key]), "{text}: {key:?}: {value} and {}", right[key]);
    }
    Ok(())
}

/// Whether rounding can show in an expression's value: sums of windows of a subquery, which may be fractions, are rounded as the
/// windows beside them have it.
fn rounds(expr: &Expr) -> bool {
    let of_subquery = |call: &crate::promql::expr::Call| call.args.iter().any(|arg| matches!(arg.kind, ExprKind::Subquery(_)));
    match &expr.kind {
        ExprKind::Call(call) if of_subquery(call) => true,
        kind => parts(kind).into_iter().any(rounds),
    }
}

/// Whether rounding can become a difference that can be seen: a fall by the last digit is a counter's reset, and a comparison
/// tells apart what is nearly equal.
fn jumps(expr: &Expr) -> bool {
    let jumpy = match &expr.kind {
        ExprKind::Call(call) => matches!(
            call.function,
            "rate" | "increase" | "irate" | "changes" | "resets" | "ts_of_max_over_time" | "ts_of_min_over_time"
        ),
        ExprKind::Binary(binary) => binary.op.is_comparison() || matches!(binary.op, BinaryOp::Mod | BinaryOp::Pow),
        _ => false,
    };
    let parts = parts(&expr.kind);
    (jumpy && parts.iter().any(|part| rounds(part))) || parts.into_iter().any(jumps)
}

fn parts(kind: &ExprKind) -> Vec<&Expr> {
    match kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => Vec::new(),
        ExprKind::Subquery(subquery) => vec![&subquery.expr],
        ExprKind::Unary(_, expr) | ExprKind::Paren(expr) => vec![expr],
        ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
        ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        ExprKind::Call(call) => call.args.iter().collect(),
    }
}

/// Computes a range and the instants of all its steps: they must say the same.
fn is_its_instants(text: &str) -> Result<(), TestCaseError> {
    let (engine, store) = (Engine::new(EngineOptions::default()), store());
    let expr = parse(text).expect("parses");
    let whole = range(&engine, &store, &expr);
    let steps: Result<Vec<Cells>, QueryError> =
        (240_000..=780_000).step_by(45_000).map(|at_ms| instant(&engine, &store, &expr, at_ms)).collect();
    match (whole, steps) {
        (Ok(whole), Ok(steps)) => assert_same(text, &whole, &steps.into_iter().flatten().collect())?,
        (Err(_), Err(_)) => {}
        (whole, steps) => prop_assert!(false, "{}: {:?} and {:?}", text, whole.is_ok(), steps.is_ok()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_parses_to_the_same(text in vector()) {
        let expr = parse(&text).expect("parses");
        let printed = one_line(&expr);
        let again = parse(&printed).expect("what is printed parses");
        prop_assert_eq!(one_line(&again), printed);
        let pretty = parse(&crate::promql::print::pretty(&expr)).expect("what is printed parses");
        prop_assert_eq!(one_line(&pretty), one_line(&expr));
    }

    #[test]
    fn a_range_is_its_instants(text in vector()) {
        // Of equal values `topk` takes the first. Groups come in the order in which a series of theirs was first seen, and a
        // range may have seen one that an instant has not: there they may differ, as in Prometheus.
        prop_assume!(!text.contains("topk") && !jumps(&parse(&text).expect("parses")));
        is_its_instants(&text)?;
    }

    // Of functions that compute no sums: two values that are equal but for rounding may change places.
    #[test]
    fn a_range_of_the_topmost_is_its_instants(
        by in prop::sample::select(&GROUPINGS),
        function in prop::sample::select(&["last", "min", "max", "count", "present"]),
        (selector, range) in (selector(), prop::sample::select(&RANGES)),
    ) {
        is_its_instants(&format!("topk{by} (2, {function}_over_time({selector}[{range}]))"))?;
        is_its_instants(&format!("topk{by} (2, {selector})"))?;
    }

    #[test]
    fn rewrites_change_nothing(text in vector()) {
        let store = store();
        let rewriting = Engine::new(EngineOptions::default());
        let plain = Engine::new(EngineOptions { rewrites: false, ..EngineOptions::default() });
        let expr = parse(&text).expect("parses");
        match (range(&rewriting, &store, &expr), range(&plain, &store, &expr)) {
            (Ok(rewritten), Ok(plain)) => assert_same(&text, &rewritten, &plain)?,
            (Err(rewritten), Err(plain)) => prop_assert_eq!(rewritten.to_string(), plain.to_string(), "{}", text),
            (rewritten, plain) => prop_assert!(false, "{}: {:?} and {:?}", text, rewritten.is_ok(), plain.is_ok()),
        }
    }

    #[test]
    fn threads_change_nothing(text in vector()) {
        let store = store();
        let alone = Engine::new(EngineOptions::default());
        let together = Engine::new(EngineOptions { shared_samples: 1, ..EngineOptions::default() });
        let together = together.with_turns(3, std::sync::Arc::new(|| std::time::Duration::ZERO)).with_workers(threads());
        // There is no room for what others would compute ahead.
        let tight = Engine::new(EngineOptions { shared_samples: 1, max_query_bytes: 1 << 20, ..EngineOptions::default() });
        let tight = tight.with_turns(3, std::sync::Arc::new(|| std::time::Duration::ZERO)).with_workers(threads());
        // Nobody came, though somebody was called.
        let deserted = together.clone().with_workers(std::sync::Arc::new(drop));
        let expr = parse(&text).expect("parses");
        let expected = range(&alone, &store, &expr);
        for engine in [together, deserted, tight] {
            match (&expected, range(&engine, &store, &expr)) {
                (Ok(alone), Ok(together)) => {
                    let bits = |cells: &Cells| cells.iter().map(|(key, value)| (key.clone(), value.to_bits())).collect::<Vec<_>>();
                    prop_assert_eq!(bits(alone), bits(&together), "{}", text);
                }
                (Err(alone), Err(together)) => prop_assert_eq!(alone.to_string(), together.to_string(), "{}", text),
                (alone, together) => prop_assert!(false, "{}: {:?} and {:?}", text, alone.is_ok(), together.is_ok()),
            }
        }
    }

    #[test]
    fn shards_make_the_whole(op in prop_oneof![Just("sum"), Just("min"), Just("max"), Just("count")], function in prop_oneof![Just("rate"), Just("max_over_time")]) {
        let (engine, store) = (Engine::new(EngineOptions::default()), store());
        let query = |matcher: &str| {
            let expr = parse(&format!("{op} by (g) ({function}(c_total{{{matcher}}}[1m]))")).expect("parses");
            range(&engine, &store, &expr).expect("answers")
        };
        let mut merged = query("i=\"1\"");
        for shard in ["i=\"2\"", "i=\"3\""] {
            for (key, value) in query(shard) {
                let join = |known: &mut f64| *known = match op {
                    "min" => known.min(value),
                    "max" => known.max(value),
                    _ => *known + value,
                };
                merged.entry(key).and_modify(join).or_insert(value);
            }
        }
        assert_same(op, &query(""), &merged)?;
    }
}

// A number that is none makes its own windows alone be computed otherwise.
#[test]
fn windows_beside_it_do_not_show_in_a_spread() {
    for range in RANGES {
        is_its_instants(&format!("rate((stddev_over_time(b[{range}]))[2m:30s])")).expect("are the same");
    }
}

#[test]
fn nothing_breaks_on_bytes_that_nobody_wrote() {
    let texts = [
        "sum by (g) (rate(a{b=~\"x|y\"}[5m] offset 1m)) / on (g) group_left (le) max_over_time(b[1h:30s] @ end()) > bool 0x1p-2",
        "histogram_quantile(0.9, sum without (i) (rate({\"h.x\", \"le\"!=\"\"}[1m + step()]))) or -vector(1e3) # end",
        "topk(3, a and ignoring (x) b unless c) @ 1.5",
    ];
    for (target, run) in crate::promql::fuzz::TARGETS {
        let fresh: Vec<Vec<u8>> = match *target {
            "parser" => texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
            _ => (0..16_u8)
                .map(|first| (0..40).map(|i: u8| first.wrapping_mul(31).wrapping_add(i.wrapping_mul(7))).collect())
                .collect(),
        };
        crate::env::fuzz::replay(target, &fresh, 300, run);
    }
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    let store = store();
    let engine = |options| Engine::new(options);
    let replaced = format!("{}a{}", "label_replace(".repeat(40), r#", "g", "$0$0$0$0", "g", ".*")"#.repeat(40));
    let joined = format!("{}a{}", "label_join(".repeat(8), format!(r#", "g", ""{})"#, r#", "g""#.repeat(100)).repeat(8));
    let cases = [
        (EngineOptions { max_series: 3, ..EngineOptions::default() }, "sum(a)", "limit of 3 series"),
        (EngineOptions { max_samples_read: 20, ..EngineOptions::default() }, "sum(rate(a[5m]))", "limit of 20 samples"),
        (
            EngineOptions { max_query_bytes: 4096, ..EngineOptions::default() },
            "count_values(\"v\", {g=\"x\"})",
            "limit of 4096 bytes",
        ),
        (EngineOptions { max_query_bytes: 1 << 20, ..EngineOptions::default() }, replaced.as_str(), "limit of 1048576 bytes"),
        (EngineOptions { max_query_bytes: 1 << 20, ..EngineOptions::default() }, joined.as_str(), "limit of 1048576 bytes"),
        (EngineOptions { max_query_bytes: 800, ..EngineOptions::default() }, "a + on (g, i) c_total", "limit of 800 bytes"),
        (EngineOptions { max_total_bytes: 100, ..EngineOptions::default() }, "a", "limit of 100 bytes"),
        (EngineOptions { max_samples: 10, ..EngineOptions::default() }, "abs(a)", "too many samples"),
    ];
    for (options, text, named) in cases {
        let engine = engine(options);
        let refused = range(&engine, &store, &parse(text).expect("parses")).expect_err(text).to_string();
        assert!(refused.contains(named), "{text}: {refused}");
        // What was held was given back: a smaller query is answered.
        assert!(instant(&engine, &store, &parse("vector(1)").expect("parses"), 0).is_ok());
    }
    let parens = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    for bad in [parens.as_str(), "a{g=~\"((x{1000}){1000}){1000}\"}", "a{g=~\"(x|y\"}"] {
        assert!(parse(bad).is_err());
    }
    // Backtracking would take longer than the universe has.
    let catastrophic = format!("a{{g=~\"(x+x+)+y|{}\"}}", "(x*)*".repeat(20));
    assert!(instant(&engine(EngineOptions::default()), &store, &parse(&catastrophic).expect("parses"), 60_000).is_ok());
}

#[test]
fn explaining_names_every_node() {
    let (engine, store) = (Engine::new(EngineOptions::default()), store());
    let expr = parse("max(sum by (g) (rate(c_total[1m]))) / scalar(a @ 300)").expect("parses");
    let passed = std::sync::atomic::AtomicU64::new(0);
    let stopwatch = move || std::time::Duration::from_millis(passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let options = QueryOptions { explain: Some(std::sync::Arc::new(stopwatch)), ..QueryOptions::default() };
    let result = engine.range(&store, &expr, 240_000, 780_000, 45_000, &options).expect("answers");
    let root = result.explained.expect("was asked for");
    assert_eq!((root.series, root.steps, root.parts.len()), (1, 13, 2));
    let sum = &root.parts[0].parts[0];
    assert_eq!((sum.how, sum.series, sum.series_read), ("streamed", 2, 5));
    assert!(sum.samples_read > 0 && sum.took > std::time::Duration::ZERO && root.took > sum.took);
    assert_eq!((root.parts[1].how, root.parts[1].series), ("once for all steps", 1));
}
