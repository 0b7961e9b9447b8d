//! Metadata by metric family: type, help, unit. The newest word wins.

use crate::model::metadata::{Metadata, MetricType};
use crate::storage::block::writer::About;
use std::collections::BTreeMap;

/// Types by the numbers that files have for them.
const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// What a family's series may have behind its name.
const SUFFIXES: [&str; 7] = ["_bucket", "_count", "_sum", "_total", "_info", "_gcount", "_gsum"];

/// Returns the number of a type.
pub(crate) fn type_number(metric_type: MetricType) -> u8 {
    TYPES.iter().position(|known| *known == metric_type).unwrap_or(0) as u8
}

/// Returns the type of a number.
pub(crate) fn type_of(number: u8) -> Option<MetricType> {
    TYPES.get(usize::from(number)).copied()
}

/// What is known about metric families.
#[derive(Debug, Default)]
pub(crate) struct MetadataMap {
    known: BTreeMap<String, Metadata>,
    changes: u64,
}

impl MetadataMap {
    /// Notes metadata; returns whether that was news.
    pub(crate) fn note(&mut self, metric: &str, metadata: &Metadata) -> bool {
        let is_news = match self.known.get_mut(metric) {
            Some(known) if known == metadata => false,
            Some(known) => {
                *known = metadata.clone();
                true
            }
            None => {
                self.known.insert(metric.to_owned(), metadata.clone());
                true
            }
        };
        self.changes += u64::from(is_news);
        is_news
    }

    /// Returns what is known about one metric or all.
    pub(crate) fn get(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        let entry = |(name, metadata): (&String, &Metadata)| (name.clone(), vec![metadata.clone()]);
        match metric {
            Some(metric) => self.known.get_key_value(metric).into_iter().map(entry).collect(),
            None => self.known.iter().map(entry).collect(),
        }
    }

    /// Returns what a block says of the series of a metric: what is known about its family.
    pub(crate) fn about(&self, metric: &str) -> About {
        self.of_series(metric)
            .map_or_else(About::default, |known| About { kind: type_number(known.metric_type), unit: known.unit.clone() })
    }

    /// Returns what is known about the family of the series of a metric.
    pub(crate) fn of_series(&self, metric: &str) -> Option<&Metadata> {
        let family = || SUFFIXES.iter().find_map(|suffix| self.known.get(metric.strip_suffix(suffix)?));
        self.known.get(metric).or_else(family)
    }

    /// Returns how often there was news.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns what is known about a metric of exactly this name.
    pub(crate) fn exactly(&self, metric: &str) -> Option<&Metadata> {
        self.known.get(metric)
    }
}
