//! Metadata by metric family: type, help, unit. The newest word wins.

use crate::model::metadata::Metadata;
use std::collections::BTreeMap;

/// What is known about metric families.
#[derive(Debug, Default)]
pub(crate) struct MetadataMap {
    known: BTreeMap<String, Metadata>,
}

impl MetadataMap {
    /// Notes metadata; returns whether that was news.
    pub(crate) fn note(&mut self, metric: &str, metadata: &Metadata) -> bool {
        match self.known.get_mut(metric) {
            Some(known) if known == metadata => false,
            Some(known) => {
                *known = metadata.clone();
                true
            }
            None => {
                self.known.insert(metric.to_owned(), metadata.clone());
                true
            }
        }
    }

    /// Returns what is known about one metric or all.
    pub(crate) fn get(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        let entry = |(name, metadata): (&String, &Metadata)| (name.clone(), vec![metadata.clone()]);
        match metric {
            Some(metric) => self.known.get_key_value(metric).into_iter().map(entry).collect(),
            None => self.known.iter().map(entry).collect(),
        }
    }

    /// Returns whether a metric's metadata is exactly this.
    pub(crate) fn is(&self, metric: &str, metadata: &Metadata) -> bool {
        self.known.get(metric) == Some(metadata)
    }
}
