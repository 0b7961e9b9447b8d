//! Queries that take long let others in, wherever they are.

use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use crate::promql::parse::parse;
use crate::storage::select::memory::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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
