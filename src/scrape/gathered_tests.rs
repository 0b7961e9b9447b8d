//! What is remembered between bodies changes nothing of what a body means.

use super::cache::Outcome;
use super::gathered::{Gathered, Taking};
use super::reading::RefusedBody;
use super::sample_labels::SampleLabels;
use super::tests::Recorder;
use crate::config::ScrapeConfig;
use crate::exposition::families::Options;
use crate::exposition::protobuf_tests::{Message, both_kinds, delimited, family, label};
use crate::exposition::{Dialect, Format};
use crate::model::labels::Labels;
use crate::model::regex::Regex;
use crate::model::relabel::{RelabelAction, RelabelConfig};
use crate::storage::append::{Append as _, SeriesId};
use proptest::prelude::*;
use std::collections::BTreeSet;

const TAKING: Taking = Taking {
    options: Options { native: true, keep_classic: false, convert: true },
    honor_timestamps: true,
    bucket_limit: 0,
    schema_max: 8,
};

struct World {
    recorder: Recorder,
    config: ScrapeConfig,
    target: Labels,
    reserved: Vec<SeriesId>,
}

impl World {
    fn new() -> Self {
        let recorder = Recorder::default();
        let named = |name| recorder.series(&Labels::from_pairs([("__name__", name)])).unwrap();
        let reserved = vec![named("up"), named("other")];
        let drop = RelabelConfig {
            source_labels: vec!["__name__".to_owned()],
            regex: Regex::new("drop.*").unwrap(),
            action: RelabelAction::Drop,
            ..RelabelConfig::default()
        };
        let config = ScrapeConfig { metric_relabel_configs: vec![drop], ..ScrapeConfig::default() };
        Self { recorder, config, target: Labels::from_pairs([("instance", "i")]), reserved }
    }

    fn update(&self, gathered: &mut Gathered, body: &[u8], format: Format) -> Result<Outcome, RefusedBody> {
        let lookup = SampleLabels::new(&self.recorder, &self.config, &self.target);
        gathered.update(&mut body.to_vec(), format, &lookup)
    }

    /// Reads a body with what is remembered and without: both must mean the same.
    fn check(&self, warm: &mut Gathered, body: &[u8], format: Format) {
        let before = live(warm);
        let mut cold = Gathered::new(&self.reserved, TAKING);
        let (mine, other) = (self.update(warm, body, format), self.update(&mut cold, body, format));
        assert_eq!(meaning(warm, &mine), meaning(&mut cold, &other), "{}", String::from_utf8_lossy(body));
        if let Ok(outcome) = mine {
            let gone: BTreeSet<SeriesId> = before.difference(&live(warm)).copied().collect();
            assert_eq!(outcome.vanished.iter().copied().collect::<BTreeSet<_>>(), gone);
            assert_eq!(outcome.vanished.len(), gone.len(), "nothing ends twice");
            assert_eq!(warm.layout()[..2], self.reserved);
        }
    }
}

fn live(gathered: &Gathered) -> BTreeSet<SeriesId> {
    gathered.layout().iter().chain(gathered.histograms()).copied().collect()
}

fn meaning(gathered: &mut Gathered, result: &Result<Outcome, RefusedBody>) -> Result<Vec<String>, String> {
    let outcome = result.as_ref().map_err(|refused| refused.error.to_string())?;
    let layout = gathered.layout().to_vec();
    assert_eq!(layout.len(), gathered.values().len());
    let rows = layout.iter().zip(gathered.values().iter()).skip(2);
    let mut lines: Vec<String> = rows.map(|(series, value)| format!("{} {value}", series.0)).collect();
    lines.extend(outcome.timed.iter().map(|(series, at_ms, value)| format!("timed {} {at_ms} {value}", series.0)));
    let histograms = outcome.histograms.iter();
    lines.extend(histograms.map(|one| format!("histogram {} {:?} {}", one.series.0, one.at_ms, one.histogram.test_expression())));
    lines.push(format!("{} samples, {} kept, {} repeated", outcome.scraped, outcome.kept, outcome.repeated));
    lines.sort();
    Ok(lines)
}

/// One of a few families, so that they come, go and change their kind.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let one = (0..4_usize, 0..4_u8, 1..3_u8, prop::bool::ANY).prop_map(|(name, kind, value, timed)| {
        let name = ["a", "b", "drop", "h"][name];
        let own = Message::default().within(1, label("x", &value.to_string()));
        let own = if timed { own.number(6, 5000) } else { own };
        let gauge = Message::default().float(1, f64::from(value));
        match kind {
            0 => family(name, 1).within(4, own.within(2, gauge)),
            1 => family(name, 3).within(4, own.within(5, gauge)),
            2 => family(name, 4).within(4, own.within(7, both_kinds())),
            _ => family(name, 4).within(4, own.within(7, Message::default().number(1, u64::from(value)).float(2, 1.0))),
        }
    });
    prop::collection::vec(one, 0..6)
}

proptest! {
    #[test]
    fn remembered_is_cold_for_messages(bodies in prop::collection::vec(messages(), 1..6)) {
        let world = World::new();
        let mut warm = Gathered::new(&world.reserved, TAKING);
        for families in bodies {
            world.check(&mut warm, &delimited(&families), Format::Protobuf);
        }
    }

    #[test]
    fn remembered_is_cold_for_lines(
        bodies in prop::collection::vec(
            "((a|b|drop|h)(\\{x=\"[12]\"\\})? (1|2)( 5| 7)?\n|# TYPE h histogram\nh_bucket\\{le=\"1\"\\} [0-4]\nh_count [34]\n|# TYPE a gauge\n){0,6}(a\\{ 1\n)?",
            1..6,
        )
    ) {
        let world = World::new();
        let mut warm = Gathered::new(&world.reserved, TAKING);
        for body in bodies {
            world.check(&mut warm, body.as_bytes(), Format::Lines(Dialect::Text));
        }
    }
}
