//! The readers as functions of arbitrary bytes, for tests and libFuzzer: nothing may panic, hang or ask for memory without
//! reason, and what is accepted keeps to the rules.

use super::families::{About, Options, Sample, Sink, Value};
use super::{Dialect, Entry, Parser, converted, protobuf};
use crate::model::histogram::flaw::flaw;
use crate::model::labels::LabelsBuilder;

/// A target: its name and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of the readers.
pub const TARGETS: &[Target] = &[("exposition_protobuf", take_protobuf), ("exposition_text", take_text)];

/// Asks everything that can be asked.
#[derive(Default)]
struct Judge {
    samples: usize,
}

impl Sink for Judge {
    fn about(&mut self, _metric: &str, _about: About<'_>) {}

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), String> {
        self.samples += 1;
        assert!(!sample.key.is_empty());
        let pairs = (sample.labels)()?;
        assert!(pairs.iter().any(|(name, value)| name == "__name__" && !value.is_empty()));
        if let Value::Histogram(histogram) = &sample.value {
            assert_eq!(flaw(histogram, false), None);
            assert!(histogram.all_buckets().len() <= histogram.positive_buckets.len() + histogram.negative_buckets.len() + 1);
        }
        Ok(())
    }
}

fn take_protobuf(bytes: &[u8]) {
    for (native, keep_classic, convert) in [(true, false, false), (true, true, true), (false, false, true)] {
        let mut judge = Judge::default();
        // An error is an answer, too.
        drop(protobuf::read(bytes, Options { native, keep_classic, convert }, &mut judge));
        // A sample needs bytes; an empty histogram of two bytes makes four.
        assert!(judge.samples <= 3 * bytes.len() + 4);
    }
}

fn take_text(bytes: &[u8]) {
    for dialect in [Dialect::Text, Dialect::OpenMetrics] {
        let mut parser = Parser::new(bytes, dialect);
        while let Ok(Some(entry)) = parser.next() {
            if entry == Entry::Sample {
                let mut labels = LabelsBuilder::new();
                drop(parser.labels_into(&mut labels));
                drop(parser.exemplar());
            }
        }
        let mut judge = Judge::default();
        drop(converted::read(bytes, dialect, true, &mut judge));
        assert!(judge.samples <= bytes.len());
    }
}
