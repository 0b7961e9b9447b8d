//! The positional line cache: what a body says, at the cost of what changed in it.
//!
//! The last body stays, and for each sample line the lengths of its parts. The next body is compared with it from the front:
//!
//! ```text
//! old  # TYPE load gauge\nload 0.15\nup{a="b"} 1\n...
//! new  # TYPE load gauge\nload 0.2\nup{a="b"} 1\n...
//!      |<----- lead ---->|head|value|
//! ```
//!
//! * equal bytes are skipped, however many lines they are;
//! * where the first difference lies in a value, a number is parsed and the comparison goes on behind it;
//! * any other difference takes the cold way: full grammar, labels, relabelling, lookup of the series. Then the two bodies
//!   find each other again: at one of the next lines, else by a map over all lines that are left.
//!
//! A part's length counts from the end of the part before, so that a value that grew by a digit moves nothing. The cache is
//! never believed more than the grammar: bytes are equal or are parsed. Lines with a timestamp or an exemplar are parsed
//! each time. A line that repeats a series of the same body counts, but its value is left out: the first one holds.

use super::cache_diff::common_prefix;
use super::cache_lines::{
    Claim, Cursor, DROPPED, Line, PLAIN, REPEATED, Rebuild, SPECIAL, TIMED, class_of, compact, hash_head, type_of,
};
use crate::exposition::number::{parse_decimal, parse_value};
use crate::exposition::{Dialect, Entry, ParseError, Parser, parser::ensure_newline};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::limits::{SCRAPE_EXEMPLARS, VALUE_BYTES};
use crate::storage::append::SeriesId;
use std::sync::Arc;

/// How much more than its body a cache may hold.
const SPARE_BYTES: usize = 64 << 10;

/// What the cold way asks.
pub(super) trait Lookup {
    /// Returns the series of the parser's present line; `None` where relabelling drops it.
    ///
    /// # Errors
    /// Why the whole scrape is refused.
    fn series(&mut self, parser: &Parser<'_>) -> Result<Option<SeriesId>, ParseError>;

    /// Takes note of HELP, TYPE or UNIT.
    fn metadata(&mut self, parser: &Parser<'_>, entry: Entry);
}

/// What one body brought.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Sample lines.
    pub(super) scraped: usize,
    /// Sample lines that relabelling left.
    pub(super) kept: usize,
    /// Series that the body before had not.
    pub(super) added: usize,
    /// Lines that repeat a series of this body.
    pub(super) repeated: usize,
    /// Series of the body before that this one lacks.
    pub(super) vanished: Vec<SeriesId>,
    /// The same for series with timestamps of their own.
    pub(super) vanished_timed: Vec<SeriesId>,
    /// Samples with timestamps of their own.
    pub(super) timed: Vec<(SeriesId, i64, f64)>,
    /// Exemplars.
    pub(super) exemplars: Vec<(SeriesId, Exemplar)>,
    /// Native histograms.
    pub(super) histograms: Vec<ScrapedHistogram>,
    /// Start times that were not known yet.
    pub(super) starts: Vec<ScrapedStart>,
}

impl Outcome {
    /// Adds exemplars as far as there is room: they are kept best effort.
    pub(super) fn add_exemplars(&mut self, series: SeriesId, exemplars: impl IntoIterator<Item = Exemplar>) {
        let room = SCRAPE_EXEMPLARS.saturating_sub(self.exemplars.len());
        self.exemplars.extend(exemplars.into_iter().take(room).map(|exemplar| (series, exemplar)));
    }
}

/// A native histogram; `at_ms` where it has a time of its own.
#[derive(Debug)]
pub(super) struct ScrapedHistogram {
    pub(super) series: SeriesId,
    pub(super) at_ms: Option<i64>,
    pub(super) histogram: Arc<FloatHistogram>,
}

/// When what a series counts began; 0: it has no start any more.
#[derive(Debug)]
pub(super) struct ScrapedStart {
    pub(super) series: SeriesId,
    pub(super) at_ms: Option<i64>,
    pub(super) start_ms: i64,
}

/// A body that was refused, and how far it was read.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why.
    pub(super) error: ParseError,
    /// Sample lines before.
    pub(super) scraped: usize,
    /// Of those, what relabelling left.
    pub(super) kept: usize,
}

/// The last good body of one target and what its lines mean.
#[derive(Debug, Default)]
pub(super) struct Cache {
    body: Vec<u8>,
    dialect: Dialect,
    lines: Vec<Line>,
    /// The row: reserved series first.
    layout: Arc<[SeriesId]>,
    values: Vec<f64>,
    timed: Vec<SeriesId>,
    reserved: usize,
    dropped: usize,
    repeated: usize,
    honor_timestamps: bool,
}

impl Cache {
    /// Returns an empty cache whose rows begin with `reserved` series, which the body does not fill.
    pub(super) fn new(reserved: &[SeriesId], honor_timestamps: bool) -> Self {
        Self {
            layout: Arc::from(reserved),
            values: vec![0.0; reserved.len()],
            reserved: reserved.len(),
            honor_timestamps,
            ..Self::default()
        }
    }

    /// Returns the row's series, reserved ones first.
    pub(super) const fn layout(&self) -> &Arc<[SeriesId]> {
        &self.layout
    }

    /// Returns the row's values in the layout's order; the reserved ones are the caller's to fill.
    pub(super) fn values(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Returns the last good body.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns its grammar.
    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the place in the row of each sample line of the last good body; `None` where it has none.
    pub(super) fn slots(&self) -> impl Iterator<Item = Option<u32>> + '_ {
        self.lines.iter().map(|line| (line.kind != TIMED && line.slot < REPEATED).then_some(line.slot))
    }

    /// Forgets everything but the reserved series.
    pub(super) fn clear(&mut self) {
        let reserved: Vec<SeriesId> = self.layout.iter().take(self.reserved).copied().collect();
        *self = Self::new(&reserved, self.honor_timestamps);
    }

    /// Takes the next body; `body` comes back as a buffer to reuse. After an error the cache is empty.
    ///
    /// # Errors
    /// When a line does not follow the grammar or `lookup` refuses it; nothing of the body holds then.
    pub(super) fn update(&mut self, body: &mut Vec<u8>, dialect: Dialect, lookup: &mut dyn Lookup) -> Result<Outcome, Refused> {
        if dialect == Dialect::Text {
            ensure_newline(body);
        }
        let mut outcome = Outcome::default();
        let mut rebuild = (dialect != self.dialect).then(|| self.rebuild(0));
        if rebuild.is_some() {
            // Another grammar reads other labels out of the same bytes.
            self.lines.clear();
            self.body.clear();
        }
        self.dialect = dialect;
        if let Err(error) = self.walk(body, lookup, &mut outcome, &mut rebuild) {
            let lines = rebuild.as_ref().map_or(self.lines.as_slice(), |rebuild| rebuild.lines.as_slice());
            let kept = lines.iter().filter(|line| line.slot != DROPPED).count();
            let refused = Refused { error, scraped: lines.len(), kept };
            self.clear();
            return Err(refused);
        }
        if let Some(rebuild) = rebuild {
            self.finish(rebuild, &mut outcome);
        }
        std::mem::swap(&mut self.body, body);
        if self.body.capacity() - self.body.len() > self.body.len() / 4 + SPARE_BYTES {
            self.body.shrink_to_fit();
        }
        outcome.scraped = self.lines.len();
        outcome.kept = self.lines.len() - self.dropped;
        outcome.repeated = self.repeated;
        Ok(outcome)
    }

    /// Goes through both bodies, by the fast way as far as it leads and by the cold way in between.
    fn walk(
        &mut self,
        body: &[u8],
        lookup: &mut dyn Lookup,
        outcome: &mut Outcome,
        rebuild: &mut Option<Rebuild>,
    ) -> Result<(), ParseError> {
        let mut cursor = Cursor::default();
        loop {
            if self.fast(body, &mut cursor, outcome, rebuild) {
                return Ok(());
            }
            if rebuild.is_none() {
                if self.repeated > 0 {
                    // Which line of a repeated series came first may change: read all lines anew.
                    *rebuild = Some(self.rebuild(0));

                    cursor = Cursor { old: self.body.len(), new: 0, line: self.lines.len() };
                    outcome.timed.clear();
                    outcome.exemplars.clear();
                    self.repeated = 0;
                } else {
                    *rebuild = Some(self.rebuild(cursor.line));
                }
            }
            let Some(rebuild) = rebuild.as_mut() else { return Ok(()) };
            if self.cold(body, &mut cursor, lookup, outcome, rebuild)? {
                return Ok(());
            }
        }
    }

    /// Follows equal bytes and changed values; returns whether the whole body was read so.
    fn fast(&mut self, body: &[u8], cursor: &mut Cursor, outcome: &mut Outcome, rebuild: &mut Option<Rebuild>) -> bool {
        loop {
            let (old, new) = (&self.body[cursor.old..], &body[cursor.new..]);
            let mut same = common_prefix(old, new);
            let whole = same == old.len() && same == new.len();
            let first = cursor.line;
            let mut skipped = 0;
            let mut next = None;
            for line in &self.lines[first..] {
                // The byte behind the value must be equal too: it ends the number.
                if line.span() >= same || line.kind != PLAIN {
                    next = Some(*line);
                    break;
                }
                same -= line.span();
                skipped += line.span();
                cursor.line += 1;
            }
            cursor.old += skipped;
            cursor.new += skipped;
            if let Some(rebuild) = rebuild {
                rebuild.keep(&self.lines[first..cursor.line]);
            }
            let Some(line) = next else { return whole && !self.lines.is_empty() };
            if same < line.gap() || !self.changed_value(body, cursor, line, outcome, rebuild) {
                return false;
            }
        }
    }

    /// Reads the value of a line whose head is equal; returns whether that was possible without the grammar.
    fn changed_value(
        &mut self,
        body: &[u8],
        cursor: &mut Cursor,
        mut line: Line,
        outcome: &mut Outcome,
        rebuild: &mut Option<Rebuild>,
    ) -> bool {
        let start = cursor.new + line.gap();
        let old_span = line.span();
        if line.kind == PLAIN {
            let Some((value, length)) = plain_value(&body[start..]) else { return false };
            line.value = length as u32;
            if let Some(place) = self.values.get_mut(line.slot as usize) {
                *place = value;
            }
        } else {
            let mut parser = Parser::resume(body, self.dialect, cursor.new + line.lead as usize, type_of(line.class));
            if !matches!(parser.next(), Ok(Some(Entry::Sample))) || self.kind(body, &parser) != line.kind {
                return false;
            }
            line.value = (parser.position() - 1 - parser.value_span().start) as u32;
            let series = if line.kind == TIMED {
                rebuild.as_ref().map_or(&self.timed, |rebuild| &rebuild.timed).get(line.slot as usize).copied()
            } else {
                if let Some(place) = self.values.get_mut(line.slot as usize) {
                    *place = parser.value();
                }
                rebuild.as_ref().map_or(&*self.layout, |rebuild| &rebuild.slots).get(line.slot as usize).copied()
            };
            note_special(&parser, line.kind, series, outcome);
        }
        if let Some(rebuild) = rebuild {
            rebuild.keep(&[line]);
        } else {
            self.lines[cursor.line] = line;
        }
        cursor.old += old_span;
        cursor.new += line.span();
        cursor.line += 1;
        true
    }

    fn kind(&self, body: &[u8], parser: &Parser<'_>) -> u8 {
        if parser.timestamp_ms().is_some() && self.honor_timestamps {
            TIMED
        } else if body.get(parser.value_span().end) == Some(&b'\n') {
            PLAIN
        } else {
            SPECIAL
        }
    }

    /// Reads entries by the grammar until a line of the old body is met again; returns whether the body ended before.
    fn cold(
        &mut self,
        body: &[u8],
        cursor: &mut Cursor,
        lookup: &mut dyn Lookup,
        outcome: &mut Outcome,
        rebuild: &mut Rebuild,
    ) -> Result<bool, ParseError> {
        let class = rebuild.lines.last().map_or(0, |line| line.class);
        let start = if cursor.new == 0 { 0 } else { cursor.new + 1 };
        let mut parser = Parser::resume(body, self.dialect, start, type_of(class));
        loop {
            while let Some((place, old_start, line, value)) = self.moved_line(body, &parser, cursor.new, rebuild) {
                rebuild.lines.push(line);
                self.values[line.slot as usize] = value;
                let old = &self.lines[place];
                let behind = old_start + old.head as usize + old.value as usize;
                *cursor = Cursor { old: behind, new: cursor.new + line.span(), line: place + 1 };
                if self.goes_on_alike(body, *cursor) {
                    return Ok(false);
                }
                parser.skip_to(cursor.new + 1);
            }
            let Some(entry) = parser.next()? else { return Ok(true) };
            if entry != Entry::Sample {
                if entry != Entry::Comment {
                    lookup.metadata(&parser, entry);
                }
                continue;
            }
            let kind = self.kind(body, &parser);
            let value = parser.value_span();
            let end = if kind == PLAIN { value.end } else { parser.position() - 1 };
            let mut line = Line {
                lead: (parser.entry_start() - cursor.new) as u32,
                head: (value.start - parser.entry_start()) as u32,
                value: (end - value.start) as u32,
                slot: DROPPED,
                kind,
                class: class_of(parser.metric_type()),
            };
            let head = &body[parser.entry_start()..value.start];
            let found = rebuild.find(&self.body, &self.lines, *cursor, head, &line);
            let slot = match found {
                Some((at, _)) if self.lines[at].slot != REPEATED => Claim::Old(self.lines[at].slot),
                _ => lookup.series(&parser)?.map_or(Claim::Dropped, Claim::Series),
            };
            line.slot = rebuild.claim(slot, kind == TIMED);
            if kind != TIMED && line.slot < REPEATED {
                let place = line.slot as usize;
                if self.values.len() <= place {
                    self.values.resize(place + 1, 0.0);
                }
                self.values[place] = parser.value();
            }
            if kind != PLAIN && line.slot < REPEATED {
                let slots = if kind == TIMED { &rebuild.timed } else { &rebuild.slots };
                note_special(&parser, kind, slots.get(line.slot as usize).copied(), outcome);
            }
            rebuild.lines.push(line);
            cursor.new = end;
            if let Some((at, old_start)) = found {
                let old = &self.lines[at];
                *cursor = Cursor { old: old_start + old.head as usize + old.value as usize, new: end, line: at + 1 };
                return Ok(false);
            }
        }
    }

    /// Returns whether the next line up to its value is the next old line.
    fn goes_on_alike(&self, body: &[u8], cursor: Cursor) -> bool {
        let Some(line) = self.lines.get(cursor.line) else { return false };
        let old = self.body.get(cursor.old..cursor.old + line.gap());
        old.is_some() && old == body.get(cursor.new..cursor.new + line.gap())
    }

    /// Understands the next line without the grammar where it is an old plain line that stands elsewhere now: its bytes up
    /// to the value are equal, so they mean the same. Only once a map was needed: bodies that change their order.
    ///
    /// Returns the old line's place and where it begins, the line, and its value.
    fn moved_line(
        &self,
        body: &[u8],
        parser: &Parser<'_>,
        behind: usize,
        rebuild: &mut Rebuild,
    ) -> Option<(usize, usize, Line, f64)> {
        let by_head = rebuild.by_head.as_ref()?;
        let start = parser.position();
        let rest = body.get(start..)?;
        let end = memchr::memchr(b'\n', rest)?;
        let head = &rest[..=memchr::memrchr(b' ', &rest[..end])?];
        let (place, old_start) = *by_head.get(&hash_head(&rebuild.hasher, head))?;
        let (place, old_start) = (place as usize, old_start as usize);
        let old = self.lines[place];
        let old_head = self.body.get(old_start..old_start + old.head as usize)?;
        let usable = old.kind == PLAIN && old.slot < REPEATED && old.class == class_of(parser.metric_type());
        if !usable || old_head != head || rebuild.used[old.slot as usize] {
            return None;
        }
        let (value, length) = plain_value(&rest[head.len()..])?;
        rebuild.used[old.slot as usize] = true;
        let (lead, head) = ((start - behind) as u32, head.len() as u32);
        Some((place, old_start, Line { lead, head, value: length as u32, ..old }, value))
    }

    /// Starts a rebuild that keeps the first `kept` lines.
    fn rebuild(&self, kept: usize) -> Rebuild {
        let mut used = vec![false; self.layout.len()];
        used.iter_mut().take(self.reserved).for_each(|used| *used = true);
        let mut rebuild = Rebuild {
            lines: Vec::with_capacity(self.lines.len() + 16),
            slots: self.layout.to_vec(),
            timed: self.timed.clone(),
            used,
            used_timed: vec![false; self.timed.len()],
            slot_of: None,
            timed_slot_of: self.timed.iter().zip(0..).map(|(series, slot)| (*series, slot)).collect(),
            by_head: None,
            hasher: foldhash::fast::FixedState::default(),
            added: 0,
        };
        rebuild.keep(&self.lines[..kept]);
        rebuild
    }

    /// Takes over a rebuild: slots that no line uses any more fall away.
    fn finish(&mut self, rebuild: Rebuild, outcome: &mut Outcome) {
        let Rebuild { mut lines, slots, timed, used, used_timed, added, .. } = rebuild;
        outcome.added = added;
        let (row_moves, row, vanished) = compact(&slots, &used);
        let (timed_moves, timed, vanished_timed) = compact(&timed, &used_timed);
        outcome.vanished = vanished;
        outcome.vanished_timed = vanished_timed;
        for line in lines.iter_mut().filter(|line| line.slot < REPEATED) {
            let moves = if line.kind == TIMED { &timed_moves } else { &row_moves };
            line.slot = moves[line.slot as usize];
        }
        self.values.resize(slots.len(), 0.0);
        let mut place = 0;
        self.values.retain(|_| {
            place += 1;
            used[place - 1]
        });
        if *self.layout != *row {
            self.layout = Arc::from(row);
        }
        self.timed = timed;
        self.dropped = lines.iter().filter(|line| line.slot == DROPPED).count();
        self.repeated = lines.iter().filter(|line| line.slot == REPEATED).count();
        lines.shrink_to_fit();
        self.lines = lines;
    }
}

/// Reads the value at the start of `rest` where a line break follows it at once.
#[inline]
fn plain_value(rest: &[u8]) -> Option<(f64, usize)> {
    if let Some((value, length)) = parse_decimal(rest)
        && rest.get(length) == Some(&b'\n')
    {
        return Some((value, length));
    }
    // A longer one is for the grammar to refuse.
    let length = memchr::memchr(b'\n', rest.get(..VALUE_BYTES).unwrap_or(rest))?;
    let token = &rest[..length];
    if token.is_empty() || token.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'{' | 0)) {
        return None;
    }
    parse_value(token).ok().map(|value| (value, length))
}

/// Collects what a special line carries beside its value.
fn note_special(parser: &Parser<'_>, kind: u8, series: Option<SeriesId>, outcome: &mut Outcome) {
    let Some(series) = series else { return };
    if kind == TIMED
        && let Some(at_ms) = parser.timestamp_ms()
    {
        outcome.timed.push((series, at_ms, parser.value()));
    }
    if let Some(exemplar) = parser.exemplar() {
        outcome.add_exemplars(series, [exemplar]);
    }
}
