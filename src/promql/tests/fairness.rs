//! Queries that take long let others in, wherever they are.

use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use crate::promql::parse::parse;
use crate::storage::select::memory::MemoryStore;
use crate::storage::select::{Hints, Querier, SelectError, Selection, SeriesReader, SeriesSamples, TimeRange};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Cancels the query as soon as all is read.
struct CancelsWhenRead {
    store: MemoryStore,
    cancel: Arc<AtomicBool>,
}

struct Reading {
    reader: Arc<dyn SeriesReader>,
    cancel: Arc<AtomicBool>,
}

impl SeriesReader for Reading {
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError> {
        self.reader.read(places)
    }

    fn newest(&self, places: Range<usize>) -> Result<Vec<Option<(i64, Value)>>, SelectError> {
        self.reader.newest(places)
    }

    fn warnings(&self) -> Vec<String> {
        self.cancel.store(true, Ordering::SeqCst);
        Vec::new()
    }
}

impl Querier for CancelsWhenRead {
    fn select(&self, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Result<Selection, SelectError> {
        let selection = self.store.select(matchers, range, hints)?;
        let reader = Arc::new(Reading { reader: Arc::clone(&selection.reader), cancel: Arc::clone(&self.cancel) });
        Ok(Selection { reader, ..selection })
    }

    fn label_names(&self, _: &[Vec<Matcher>], _: TimeRange, _: usize) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: TimeRange, _: usize) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        BTreeMap::new()
    }

    fn exemplars(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError> {
        Ok(Vec::new())
    }
}

#[test]
fn what_comes_after_the_reading_sees_that_nobody_waits() {
    let store = MemoryStore::new();
    for at in 0..70_i32 {
        let labels = Labels::from_pairs([("__name__", "m".to_owned()), ("i", at.to_string())]);
        store.add(&labels, 1000, Value::Float(f64::from(at)));
    }
    let cancel = Arc::new(AtomicBool::new(false));
    let store = CancelsWhenRead { store, cancel: Arc::clone(&cancel) };
    let engine = Engine::new(EngineOptions::default());
    let options = QueryOptions { cancel: Some(Arc::clone(&cancel)), ..QueryOptions::default() };
    for text in [
        "m",
        "abs(m)",
        "absent(m)",
        "clamp_max(m, 3)",
        "topk(2, m)",
        "limitk(2, m)",
        "quantile(0.5, m)",
        "sort(m)",
        "sort_by_label(m, \"i\")",
    ] {
        for instant in [true, false] {
            cancel.store(false, Ordering::SeqCst);
            let expr = parse(text).expect("parses");
            let ended = match instant {
                true => engine.instant(&store, &expr, 1000, &options),
                false => engine.range(&store, &expr, 1000, 9000, 1000, &options),
            };
            assert!(matches!(ended, Err(QueryError::Cancelled)), "{text}");
        }
    }
}

#[test]
fn patterns_within_each_other_count_as_memory() {
    let store = MemoryStore::new();
    store.add(&Labels::from_pairs([("__name__", "m")]), 1000, Value::Float(1.0));
    let engine = Engine::new(EngineOptions { max_query_bytes: 8 << 20, ..EngineOptions::default() });
    let nested = |count: usize| {
        let (begin, end) = ("label_replace(".repeat(count), ", \"a\", \"\", \"b\", \"(x|[a-f]{500}.)*\")".repeat(count));
        engine.instant(&store, &parse(&format!("{begin}m{end}")).expect("parses"), 1000, &QueryOptions::default())
    };
    assert!(nested(2).is_ok());
    let refused = nested(150);
    assert!(matches!(refused, Err(QueryError::TooMuchMemory { .. })), "{refused:?}");
}

#[test]
fn an_answer_counts_as_the_list_that_it_becomes() {
    let store = MemoryStore::new();
    for at in 0..100 {
        store.add(&Labels::from_pairs([("__name__", "m".to_owned()), ("i", at.to_string())]), 0, Value::Float(1.0));
    }
    let ask = |max_query_bytes: u64, text: &str| {
        let engine = Engine::new(EngineOptions { max_query_bytes, lookback_ms: 2_000_000, ..EngineOptions::default() });
        engine.range(&store, &parse(text).expect("parses"), 0, 1_000_000, 1000, &QueryOptions::default()).map(drop)
    };
    // 100 columns of 1001 steps are 800 kB, and twice that as a list.
    assert!(ask(1_700_000, "m").is_ok());
    assert!(matches!(ask(1_300_000, "m"), Err(QueryError::TooMuchMemory { .. })));
    assert!(ask(1_300_000, "sum(m)").is_ok());
}

#[test]
fn labels_of_groups_count_as_memory() {
    let store = MemoryStore::new();
    let long = "x".repeat(10_000);
    for at in 0..100 {
        let labels = [("__name__", "m".to_owned()), ("i", at.to_string()), ("long", format!("{long}{at}"))];
        store.add(&Labels::from_pairs(labels), 1000, Value::Float(1.0));
    }
    let options = EngineOptions { max_query_bytes: 500_000, ..EngineOptions::default() };
    let engine = Engine::new(options);
    let ask = |text: &str| engine.instant(&store, &parse(text).expect("parses"), 1000, &QueryOptions::default());
    for text in ["sum by (i) (m)", "topk by (i) (1, m)", "m * on (i) m", "m and on (i) m"] {
        assert!(ask(text).is_ok(), "{text}");
    }
    for text in
        ["sum without (i) (m)", "quantile by (long) (0.5, m)", "topk by (long) (1, m)", "m * on (long) m", "m and on (long) m"]
    {
        assert!(matches!(ask(text), Err(QueryError::TooMuchMemory { .. })), "{text}");
    }
    // What the ranked take: places and values of each step.
    let ranked = |text: &str| engine.range(&store, &parse(text).expect("parses"), 0, 300_000, 1000, &QueryOptions::default());
    assert!(ranked("topk(1, m)").is_ok());
    assert!(matches!(ranked("topk(90, m)"), Err(QueryError::TooMuchMemory { .. })));
}

#[test]
fn a_light_query_is_answered_while_a_long_one_is_at_a_single_series() {
    let store = MemoryStore::new();
    let labels = Labels::from_pairs([("__name__", "m")]);
    for second in 0..4000 {
        store.add(&labels, second * 1000, Value::Float((second * 7919 % 1009) as f64));
    }
    for heavy in ["sum(quantile_over_time(0.5, m[1h]))", "mad_over_time(m[1h])", "quantile_over_time(0.5, m[1h:1s])"] {
        let asked = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&asked);
        let clock = Arc::new(move || Duration::from_millis(10 * counts.fetch_add(1, Ordering::SeqCst)));
        let engine = Engine::new(EngineOptions::default()).with_turns(1, clock);
        let cancel = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let options = QueryOptions { cancel: Some(Arc::clone(&cancel)), ..QueryOptions::default() };
            let long = scope.spawn(|| {
                let options = options;
                engine.range(&store, &parse(heavy).expect("parses"), 0, 4_000_000, 500, &options)
            });
            // From here on the only turn is taken.
            while asked.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            assert!(engine.instant(&store, &parse("m").expect("parses"), 1000, &QueryOptions::default()).is_ok());
            cancel.store(true, Ordering::SeqCst);
            let ended = long.join().expect("no panic");
            assert!(matches!(ended, Err(QueryError::Cancelled)), "{heavy}: the light query waited for all of it");
        });
    }
}
