//! The labels of a sample: its own, its target's, relabelling, limits; then its series in the store.

use super::cache::Lookup;
use crate::config::ScrapeConfig;
use crate::config::global::NameValidation;
use crate::exposition::families::Pair;
use crate::exposition::{Entry, ParseError, Parser};
use crate::model::labels::{Labels, LabelsBuilder, METRIC_NAME, is_legacy_metric_name, is_legacy_name};
use crate::model::limits::{self, shortened};
use crate::model::metadata::Metadata;
use crate::model::number::quote;
use crate::model::relabel;
use crate::storage::append::{Append, SeriesId};
use std::cell::Cell;

/// How label names that the target's labels push aside begin.
const EXPORTED_PREFIX: &str = "exported_";

/// Finds the series of new lines.
pub(super) struct SampleLabels<'a> {
    pub(super) append: &'a dyn Append,
    pub(super) config: &'a ScrapeConfig,
    /// The target's labels.
    pub(super) target: &'a Labels,
    /// Whether a sample passed a limit of labels.
    pub(super) over_limits: Cell<bool>,
    /// The family whose HELP, TYPE and UNIT are being read.
    family: Option<(String, Metadata)>,
}

impl<'a> SampleLabels<'a> {
    pub(super) const fn new(append: &'a dyn Append, config: &'a ScrapeConfig, target: &'a Labels) -> Self {
        Self { append, config, target, over_limits: Cell::new(false), family: None }
    }

    fn flush_family(&mut self) {
        if let Some((metric, metadata)) = self.family.take() {
            self.append.note_metadata(&metric, &metadata);
        }
    }

    /// Joins the sample's labels with the target's: the target's win, or, with `honor_labels`, the sample's.
    fn join(&self, builder: &mut LabelsBuilder, names_label: &dyn Fn(&str) -> bool) {
        if self.config.honor_labels {
            for (name, value) in self.target {
                if !names_label(name) {
                    builder.set(name, value);
                }
            }
            return;
        }
        let mut pushed_aside: Vec<(String, String)> = Vec::new();
        for (name, value) in self.target {
            let own = builder.value(name);
            if !own.is_empty() {
                pushed_aside.push((name.to_owned(), own.to_owned()));
            }
            builder.set(name, value);
        }
        pushed_aside.sort_by_key(|(name, _)| name.len());
        for (name, value) in pushed_aside {
            let mut free = format!("{EXPORTED_PREFIX}{name}");
            while !builder.value(&free).is_empty() {
                free.insert_str(0, EXPORTED_PREFIX);
            }
            builder.set(&free, &value);
        }
    }

    /// Returns the series of a sample's own labels; `None` where relabelling drops it.
    ///
    /// # Errors
    /// Why the whole scrape is refused.
    pub(super) fn series_of(&self, pairs: &[Pair<'_>]) -> Result<Option<SeriesId>, String> {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            if name.is_empty() {
                return Err(format!("invalid metric name or label names: {}", builder.build()));
            }
            if !builder.value(name).is_empty() {
                return Err(format!("label name {} is not unique: invalid sample", quote(&shortened(name))));
            }
            builder.set(name, value);
        }
        self.find(builder, &|name| pairs.iter().any(|(named, _)| named == name))
    }

    fn find(&self, mut builder: LabelsBuilder, names_label: &dyn Fn(&str) -> bool) -> Result<Option<SeriesId>, String> {
        self.join(&mut builder, names_label);
        if !relabel::apply(&self.config.metric_relabel_configs, &mut builder) {
            return Ok(None);
        }
        let labels = builder.build();
        if labels.is_empty() {
            return Ok(None);
        }
        self.check(&labels)?;
        self.append.series(&labels).map(Some).map_err(|error| error.to_string())
    }

    fn check(&self, labels: &Labels) -> Result<(), String> {
        if !labels.has(METRIC_NAME) {
            return Err("missing metric name (__name__ label)".to_owned());
        }
        if self.config.metric_name_validation_scheme == NameValidation::Legacy {
            let is_fine = is_legacy_metric_name(labels.metric_name()) && labels.iter().all(|(name, _)| is_legacy_name(name));
            if !is_fine {
                return Err(format!("invalid metric name or label names: {labels}"));
            }
        }
        self.check_limits(labels).inspect_err(|_| self.over_limits.set(true))
    }

    /// Checks the configured limits, and the defaults of those that are not configured.
    fn check_limits(&self, labels: &Labels) -> Result<(), String> {
        let metric = || shortened(labels.metric_name());
        let or_default =
            |limit: u64, default: usize| if limit == 0 { (default as u64, "the default limit") } else { (limit, "limit") };
        let (limit, word) = or_default(self.config.label_limit, limits::LABELS);
        if labels.len() as u64 > limit {
            let (metric, count) = (metric(), labels.len());
            return Err(format!("label_limit exceeded (metric: {metric}, number of labels: {count}, {word}: {limit})"));
        }
        let (name_limit, name_word) = or_default(self.config.label_name_length_limit, limits::LABEL_NAME_BYTES);
        let (value_limit, value_word) = or_default(self.config.label_value_length_limit, limits::LABEL_VALUE_BYTES);
        for (name, value) in labels {
            if name.len() as u64 > name_limit {
                let (metric, shown, length) = (metric(), shortened(name), name.len());
                return Err(format!(
                    "label_name_length_limit exceeded (metric: {metric}, label name: {shown}, length: {length}, {name_word}: {name_limit})"
                ));
            }
            if value.len() as u64 > value_limit {
                let (metric, shown, quoted, length) = (metric(), shortened(name), quote(&shortened(value)), value.len());
                return Err(format!(
                    "label_value_length_limit exceeded (metric: {metric}, label name: {shown}, value: {quoted}, length: {length}, {value_word}: {value_limit})"
                ));
            }
        }
        limits::check_label_set(labels)
    }
}

impl Lookup for SampleLabels<'_> {
    fn series(&mut self, parser: &Parser<'_>) -> Result<Option<SeriesId>, ParseError> {
        self.flush_family();
        let mut builder = LabelsBuilder::new();
        parser.labels_into(&mut builder)?;
        self.find(builder, &|name| parser.names_label(name)).map_err(|message| parser.refuse(message))
    }

    fn metadata(&mut self, parser: &Parser<'_>, entry: Entry) {
        let metric = parser.metric();
        if self.family.as_ref().is_some_and(|(name, _)| *name != metric) {
            self.flush_family();
        }
        let (_, metadata) = self.family.get_or_insert_with(|| (metric.into_owned(), Metadata::default()));
        match entry {
            Entry::Help => metadata.help = parser.help().into_owned(),
            Entry::Type => metadata.metric_type = parser.metric_type(),
            Entry::Unit => metadata.unit = parser.unit().into_owned(),
            Entry::Comment | Entry::Sample => {}
        }
    }
}

impl Drop for SampleLabels<'_> {
    fn drop(&mut self) {
        self.flush_family();
    }
}
