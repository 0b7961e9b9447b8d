//! Long chains of operators, on a thread with the stack of any other.

use super::load::load;
use super::run::engine;
use super::script::{Command, parse};
use crate::promql::engine::QueryOptions;
use crate::promql::parse::parse as parse_query;
use crate::promql::print::one_line;
use crate::promql::value::QueryValue;
use crate::storage::select::memory::MemoryStore;

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    for command in parse("load 10s\n  x{a=\"b\"} 1 2 3\n  y{a=\"b\"} 4 5 6") {
        if let Command::Load(series) = command {
            load(&store, &series);
        }
    }
    store
}

#[test]
fn five_thousand_operations_are_computed() {
    let store = store();
    let options = QueryOptions::default();
    let sum = |first: &str, next: &str| format!("{first}{}", format!(" + {next}").repeat(5000));
    let numbers = parse_query(&sum("1", "1")).expect("parses");
    assert_eq!(one_line(&numbers), sum("1", "1"));
    let value = engine().instant(&store, &numbers, 0, &options).expect("computes").value;
    assert!(matches!(value, QueryValue::Scalar { value, .. } if value == 5001.0), "{value:?}");
    for (text, want) in [
        (sum("x", "1"), 5001.0),
        (format!("sum({})", sum("x", "1")), 5001.0),
        (sum("x", "x"), 5001.0),
        (sum("x", "2 * y"), 40_001.0),
        (sum("x", "y @ 10"), 25_001.0),
    ] {
        let expr = parse_query(&text).expect("parses");
        let value = engine().range(&store, &expr, 0, 10_000, 10_000, &options).expect("computes").value;
        let QueryValue::Matrix(matrix) = &value else { panic!("{value:?}") };
        let first = matrix.first().and_then(|series| series.floats.first());
        assert_eq!((matrix.len(), first), (1, Some(&(0, want))), "{}", &text[..20]);
    }
    // Right operands lie within each other; that stays bounded.
    assert!(parse_query(&format!("1{}", " ^ 1".repeat(5000))).is_err());
}
