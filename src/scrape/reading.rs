//! The two ways to read a target's bodies, as one: the line cache for text, [`Gathered`] for what brings histograms.
//!
//! A target that changes its format changes the way; what only the way before knew ends.

use super::cache::{Cache, Outcome};
use super::created::CreatedLines;
use super::gathered::{Gathered, Taking};
use super::sample_labels::SampleLabels;
use crate::config::ScrapeConfig;
use crate::exposition::families::{Options, ReadError};
use crate::exposition::{Entry, Format, Parser};
use crate::model::metadata::Metadata;
use crate::storage::append::SeriesId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A body that was refused, and how far it was read.
#[derive(Debug)]
pub(super) struct RefusedBody {
    pub(super) error: ReadError,
    /// Whether it was the limit of buckets.
    pub(super) bucket_limit: bool,
    pub(super) scraped: usize,
    pub(super) kept: usize,
}

/// What is remembered of a target's last body.
#[derive(Debug)]
pub(super) struct Reading {
    taking: Taking,
    reserved: usize,
    created: CreatedLines,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Lines(Cache),
    Families(Gathered),
}

impl Reading {
    /// Returns what an empty memory is; rows begin with `reserved` series, which the body does not fill.
    pub(super) fn new(reserved: &[SeriesId], config: &ScrapeConfig) -> Self {
        let taking = Taking {
            options: Options {
                native: config.scrape_native_histograms == Some(true),
                keep_classic: config.always_scrape_classic_histograms == Some(true),
                convert: config.convert_classic_histograms_to_nhcb == Some(true),
            },
            honor_timestamps: config.honor_timestamps,
            bucket_limit: config.native_histogram_bucket_limit,
            schema_max: schema_of(config.native_histogram_min_bucket_factor),
        };
        Self {
            taking,
            reserved: reserved.len(),
            created: CreatedLines::default(),
            way: Way::Lines(Cache::new(reserved, taking.honor_timestamps)),
        }
    }

    /// Returns the row's series, reserved ones first.
    pub(super) const fn layout(&self) -> &Arc<[SeriesId]> {
        match &self.way {
            Way::Lines(cache) => cache.layout(),
            Way::Families(gathered) => gathered.layout(),
        }
    }

    /// Returns the row's values in the layout's order; the reserved ones are the caller's to fill.
    pub(super) fn values(&mut self) -> &mut [f64] {
        match &mut self.way {
            Way::Lines(cache) => cache.values(),
            Way::Families(gathered) => gathered.values(),
        }
    }

    /// Returns the last good body and what it is.
    pub(super) fn body(&self) -> (&[u8], Format) {
        match &self.way {
            Way::Lines(cache) => (cache.body(), Format::Lines(cache.dialect())),
            Way::Families(gathered) => (gathered.body(), gathered.format()),
        }
    }

    /// Forgets everything but the reserved series.
    pub(super) fn clear(&mut self) {
        match &mut self.way {
            Way::Lines(cache) => cache.clear(),
            Way::Families(gathered) => gathered.clear(),
        }
    }

    /// Takes the next body; `body` comes back as a buffer to reuse. After an error nothing is known any more.
    ///
    /// # Errors
    /// When it cannot be read or a sample is refused; nothing of it holds then.
    pub(super) fn update(
        &mut self,
        body: &mut Vec<u8>,
        format: Format,
        lookup: &mut SampleLabels<'_>,
    ) -> Result<Outcome, RefusedBody> {
        let by_lines = matches!(format, Format::Lines(_)) && !self.taking.options.convert;
        let before = (by_lines != matches!(self.way, Way::Lines(_))).then(|| match &self.way {
            Way::Lines(cache) => cache.layout().to_vec(),
            Way::Families(gathered) => [gathered.layout(), gathered.histograms()].concat(),
        });
        if let Some(before) = &before {
            self.created = CreatedLines::default();
            let reserved = &before[..self.reserved];
            self.way = if by_lines {
                Way::Lines(Cache::new(reserved, self.taking.honor_timestamps))
            } else {
                Way::Families(Gathered::new(reserved, self.taking))
            };
        }
        let mut outcome = match (&mut self.way, format) {
            (Way::Lines(cache), Format::Lines(dialect)) => {
                let mut outcome = cache.update(body, dialect, lookup).map_err(|refused| RefusedBody {
                    error: refused.error.into(),
                    bucket_limit: false,
                    scraped: refused.scraped,
                    kept: refused.kept,
                })?;
                self.created.tell(cache, &mut outcome.starts);
                outcome
            }
            (Way::Families(gathered), format) => gathered.update(body, format, lookup)?,
            (Way::Lines(_), Format::Protobuf) => Outcome::default(),
        };
        if let Some(before) = before {
            let beside = outcome.histograms.iter().map(|found| found.series);
            let mut now: Vec<SeriesId> = self.layout().iter().copied().chain(beside).collect();
            now.sort_unstable();
            outcome.vanished.extend(before.iter().filter(|series| now.binary_search(series).is_err()));
        }
        Ok(outcome)
    }

    /// Returns what the last good body says about its metrics.
    pub(super) fn metadata(&self) -> Vec<(String, Metadata)> {
        match &self.way {
            Way::Lines(cache) => metadata_of(cache),
            Way::Families(gathered) => gathered.metadata(),
        }
    }
}

fn metadata_of(cache: &Cache) -> Vec<(String, Metadata)> {
    let mut parser = Parser::new(cache.body(), cache.dialect());
    let mut families: BTreeMap<String, Metadata> = BTreeMap::new();
    while let Ok(Some(entry)) = parser.next() {
        if matches!(entry, Entry::Comment | Entry::Sample) {
            continue;
        }
        let metadata = families.entry(parser.metric().into_owned()).or_default();
        match entry {
            Entry::Help => metadata.help = parser.help().into_owned(),
            Entry::Type => metadata.metric_type = parser.metric_type(),
            Entry::Unit => metadata.unit = parser.unit().into_owned(),
            Entry::Comment | Entry::Sample => {}
        }
    }
    families.into_iter().collect()
}

/// Returns the finest schema whose buckets grow by at least that factor.
fn schema_of(factor: f64) -> i32 {
    const FINEST: i32 = 8;
    const COARSEST: i32 = -4;
    if factor <= 1.0 {
        return FINEST;
    }
    let exact = (-factor.log2().log2()).floor();
    exact.clamp(f64::from(COARSEST), f64::from(FINEST)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_of_buckets_is_a_schema() {
        for (factor, schema) in [(0.0, 8), (1.0, 8), (1.001, 8), (1.0028, 7), (1.1, 2), (2.0, 0), (4.0, -1), (1e9, -4)] {
            assert_eq!(schema_of(factor), schema, "{factor}");
        }
    }
}
