//! Cached and cold reading must agree, whatever happened to the body.

use super::cache::{Cache, Lookup, Outcome};
use crate::exposition::{Dialect, Entry, ParseError, Parser};
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::shared_data;
use crate::storage::append::SeriesId;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Numbers label sets as they come; drops metrics whose name begins with `drop`.
#[derive(Default)]
struct Catalogue {
    ids: BTreeMap<Labels, SeriesId>,
    asked: usize,
}

impl Lookup for Catalogue {
    fn series(&mut self, parser: &Parser<'_>) -> Result<Option<SeriesId>, ParseError> {
        let mut builder = LabelsBuilder::new();
        parser.labels_into(&mut builder)?;
        let labels = builder.build();
        self.asked += 1;
        if labels.metric_name().starts_with("drop") {
            return Ok(None);
        }
        let next = SeriesId(self.ids.len() as u32 + 100);
        Ok(Some(*self.ids.entry(labels).or_insert(next)))
    }

    fn metadata(&mut self, _parser: &Parser<'_>, _entry: Entry) {}
}

/// What a body means, in a form to compare.
fn meaning(cache: &mut Cache, result: &Result<Outcome, super::cache::Refused>) -> Result<Vec<String>, String> {
    let outcome = result.as_ref().map_err(|refused| refused.error.to_string())?;
    let layout = cache.layout().to_vec();
    let mut lines: Vec<String> =
        layout.iter().zip(cache.values().iter()).map(|(id, value)| format!("{} {:x}", id.0, value.to_bits())).collect();
    lines.extend(outcome.timed.iter().map(|(id, at_ms, value)| format!("timed {} {at_ms} {value}", id.0)));
    lines.extend(outcome.exemplars.iter().map(|(id, exemplar)| format!("exemplar {} {exemplar:?}", id.0)));
    lines.push(format!("{} lines, {} kept, {} repeated", outcome.scraped, outcome.kept, outcome.repeated));
    lines.sort();
    Ok(lines)
}

fn check(catalogue: &mut Catalogue, cache: &mut Cache, body: &[u8], dialect: Dialect) {
    let before: Vec<SeriesId> = cache.layout().to_vec();
    let warm = cache.update(&mut body.to_vec(), dialect, catalogue);
    let mut fresh = Cache::new(&[SeriesId(1), SeriesId(2)], true);
    let cold = fresh.update(&mut body.to_vec(), dialect, catalogue);
    assert_eq!(meaning(cache, &warm), meaning(&mut fresh, &cold), "{}", String::from_utf8_lossy(body));
    if let Ok(outcome) = warm {
        let after: Vec<SeriesId> = cache.layout().to_vec();
        let gone: Vec<SeriesId> = before.iter().filter(|id| !after.contains(id)).copied().collect();
        assert_eq!(outcome.vanished, gone);
    }
}

fn check_all(bodies: &[&str], dialect: Dialect) {
    let (mut catalogue, mut cache) = (Catalogue::default(), Cache::new(&[SeriesId(1), SeriesId(2)], true));
    for body in bodies {
        check(&mut catalogue, &mut cache, body.as_bytes(), dialect);
    }
}

#[test]
fn follows_what_changes() {
    check_all(
        &[
            "# TYPE a gauge\na 1\nb{x=\"1\"} 2\nc 3\n",
            "# TYPE a gauge\na 11\nb{x=\"1\"} 2\nc 3\n",
            "# TYPE a gauge\na 11\nb{x=\"1\"} NaN\nc -0\n",
            "# TYPE a gauge\na 1e3\nnew 4\nb{x=\"1\"} 2\nc 3\n",
            "b{x=\"1\"} 2\nc 3\n",
            "c 3\nb{x=\"1\"} 2\n",
            "c 3\nb{x=\"1\"} 2\nb{x=\"1\"} 5\n",
            "b{x=\"1\"} 5\nc 3\nc 4\n",
            "c 3",
            "c 3 1000\nd 1\n",
            "c 3 2000\nd 1 \n",
            "c 3\nd 1\ndrop_me 1\n",
            "",
            "c 3\nd 1\nbad",
            "c 3\nd 1\ndrop_me 2\n",
        ],
        Dialect::Text,
    );
}

#[test]
fn a_changed_type_changes_bounds() {
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 1\n# TYPE z gauge\nz 1\n";
    let gauge = histogram.replace("histogram", "gauge");
    check_all(&[histogram, &gauge, histogram], Dialect::Text);
}

#[test]
fn follows_exemplars() {
    check_all(
        &[
            "a_total 1 # {id=\"x\"} 4\nb 2\n# EOF\n",
            "a_total 1 # {id=\"y\"} 4\nb 3\n# EOF\n",
            "a_total 1\nb 3 # {id=\"z\"} 4 1.5\n# EOF\n",
            "a_total 1 5\nb 3 # {id=\"z\"} 4 1.5\n# EOF\n",
            "a_total 1 5\nb 3 # {id=\"z\"} 4 1.5\n# EO\n",
        ],
        Dialect::OpenMetrics,
    );
}

#[test]
fn a_steady_body_asks_for_nothing() {
    let (mut catalogue, mut cache) = (Catalogue::default(), Cache::new(&[], true));
    let mut asked = Vec::new();
    for round in 0..3 {
        let mut body: String = (0..500).map(|n| format!("metric_{n}{{a=\"b\"}} {}\n", n * round)).collect();
        if round == 2 {
            body = body.replace("metric_7{", "inserted{}  1\nmetric_7{");
        }
        let mut body = body.into_bytes();
        assert!(cache.update(&mut body, Dialect::Text, &mut catalogue).is_ok());
        asked.push(catalogue.asked);
    }
    assert_eq!(asked, [500, 500, 501]);
}

/// One edit of a body: where, what to remove, what to put there.
#[derive(Clone, Debug)]
enum Edit {
    Number(proptest::sample::Index, String),
    Bytes(proptest::sample::Index, usize, String),
    DropLine(proptest::sample::Index),
    CopyLine(proptest::sample::Index, proptest::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<proptest::sample::Index>;
    prop_oneof![
        5 => (index(), "-?[0-9]{1,4}(\\.[0-9]{1,3})?|NaN|\\+Inf|1e[0-9]").prop_map(|(at, text)| Edit::Number(at, text)),
        1 => (index(), 0..4_usize, "[a-z0-9 \"{},=#\n]{0,3}").prop_map(|(at, cut, text)| Edit::Bytes(at, cut, text)),
        2 => index().prop_map(Edit::DropLine),
        2 => (index(), index()).prop_map(|(from, to)| Edit::CopyLine(from, to)),
    ]
}

fn apply(body: &str, edit: &Edit) -> String {
    let mut lines: Vec<String> = body.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return "a 1\n".to_owned();
    }
    match edit {
        Edit::Number(at, text) => {
            let line = &mut lines[at.index(body.split_inclusive('\n').count())];
            if let Some((head, _)) = line.clone().rsplit_once(' ') {
                *line = format!("{head} {text}\n");
            }
        }
        Edit::Bytes(at, cut, text) => {
            let at = at.index(body.len());
            let end = (at + cut).min(body.len());
            if body.is_char_boundary(at) && body.is_char_boundary(end) {
                return format!("{}{text}{}", body.split_at(at).0, body.split_at(end).1);
            }
        }
        Edit::DropLine(at) => {
            lines.remove(at.index(lines.len()));
        }
        Edit::CopyLine(from, to) => {
            let line = lines[from.index(lines.len())].clone();
            lines.insert(to.index(lines.len()), line);
        }
    }
    lines.concat()
}

/// A piece of a real node_exporter body, or one of our own where the capture is absent.
fn real_body() -> String {
    let own = || {
        (0..40)
            .map(|n| format!("# HELP m{n} Text {n}.\n# TYPE m{n} gauge\nm{n}{{device=\"d{n}\",mode=\"idle\"}} {n}.5\nm{n} {n}\n"))
            .collect()
    };
    shared_data::text("bench/fleet/templates/node-capture.prom")
        .map_or_else(own, |text| text.split_inclusive('\n').step_by(3).take(250).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Cached reading is cold reading, through any chain of edits of a real body.
    #[test]
    fn cached_is_cold(rounds in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..6)) {
        let mut body = real_body();
        let (mut catalogue, mut cache) = (Catalogue::default(), Cache::new(&[SeriesId(1), SeriesId(2)], true));
        check(&mut catalogue, &mut cache, body.as_bytes(), Dialect::Text);
        for edits in rounds {
            let good = body.clone();
            for edit in &edits {
                body = apply(&body, edit);
            }
            let mut probe = Cache::new(&[], true);
            check(&mut catalogue, &mut cache, body.as_bytes(), Dialect::Text);
            if probe.update(&mut body.clone().into_bytes(), Dialect::Text, &mut catalogue).is_err() {
                body = good;
            }
        }
    }

    #[test]
    fn cached_is_cold_on_small_bodies(bodies in prop::collection::vec("((a|b|c|drop)(\\{x=\"[12]\"\\})? (1|2|10)( 5| 7)?\n|# TYPE a (gauge|summary)\n){0,6}", 1..6)) {
        let (mut catalogue, mut cache) = (Catalogue::default(), Cache::new(&[SeriesId(1), SeriesId(2)], true));
        for body in bodies {
            check(&mut catalogue, &mut cache, body.as_bytes(), Dialect::Text);
        }
    }
}
