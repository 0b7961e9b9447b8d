//! Recording rules: a vector in, series under the rule's name out.

use super::spec::RuleSpec;
use crate::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::model::sample::Value;
use crate::promql::value::VectorSample;
use std::collections::BTreeMap;

/// Names the result of a recording rule's expression, and returns the series to be written.
///
/// # Errors
/// When two elements become the same series, or there are more series than the limit (0: no bound).
pub fn step(rule: &RuleSpec, vector: Vec<VectorSample>, limit: usize) -> Result<Vec<(Labels, Value)>, String> {
    let mut written = BTreeMap::new();
    for sample in vector {
        let mut labels = LabelsBuilder::from(&sample.labels);
        labels.set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels.set(name, value);
        }
        if written.insert(labels.build(), sample.value).is_some() {
            return Err("vector contains metrics with the same labelset after applying rule labels".to_owned());
        }
    }
    if limit > 0 && written.len() > limit {
        return Err(format!("exceeded limit of {limit} with {} series", written.len()));
    }
    Ok(written.into_iter().collect())
}
