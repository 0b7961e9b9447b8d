//! Lines of a cached body, and the making of a new layout: which old line is this, which slot is whose.

use crate::model::metadata::MetricType;
use crate::storage::append::SeriesId;
use hashbrown::HashMap;

/// The slot of a line that relabelling dropped.
pub(super) const DROPPED: u32 = u32::MAX;
/// The slot of a line that repeats a series.
pub(super) const REPEATED: u32 = u32::MAX - 1;
/// How many lines ahead a line is looked for before a map is made.
pub(super) const WINDOW: usize = 64;

/// What a line is, beyond a plain value.
pub(super) const PLAIN: u8 = 0;
/// Something follows the value: a timestamp, an exemplar, a blank.
pub(super) const SPECIAL: u8 = 1;
/// The line's own timestamp holds; its slot counts in the timed series.
pub(super) const TIMED: u8 = 2;

/// One sample line: lengths in bytes from the end of the value before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// To the line's first byte: line break, comments, metadata.
    pub(super) lead: u32,
    /// Name, labels and blanks, up to the value.
    pub(super) head: u32,
    /// The value; of a special line all up to the line break.
    pub(super) value: u32,
    /// Place in the row, or in the timed series.
    pub(super) slot: u32,
    pub(super) kind: u8,
    /// What kind of bound its labels were read with.
    pub(super) class: u8,
}

impl Line {
    pub(super) const fn gap(&self) -> usize {
        self.lead as usize + self.head as usize
    }

    pub(super) const fn span(&self) -> usize {
        self.gap() + self.value as usize
    }
}

pub(super) const fn class_of(metric_type: MetricType) -> u8 {
    match metric_type {
        MetricType::Histogram => 1,
        MetricType::Summary => 2,
        _ => 0,
    }
}

pub(super) const fn type_of(class: u8) -> MetricType {
    match class {
        1 => MetricType::Histogram,
        2 => MetricType::Summary,
        _ => MetricType::Unknown,
    }
}

/// A scrape that took the cold way at least once.
pub(super) struct Rebuild {
    pub(super) lines: Vec<Line>,
    /// The slots as they will be, old ones first.
    pub(super) slots: Vec<SeriesId>,
    pub(super) timed: Vec<SeriesId>,
    pub(super) used: Vec<bool>,
    pub(super) used_timed: Vec<bool>,
    pub(super) slot_of: Option<HashMap<SeriesId, u32>>,
    pub(super) timed_slot_of: HashMap<SeriesId, u32>,
    /// Head bytes' hash and class -> old line and where it begins; over the lines from `first` on.
    pub(super) by_head: Option<HashMap<u64, (u32, u32)>>,
    pub(super) hasher: foldhash::fast::FixedState,
    pub(super) added: usize,
}

/// Where both bodies are: behind a value, or at the very start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    pub(super) old: usize,
    pub(super) new: usize,
    pub(super) line: usize,
}

/// Returns for each slot its new place, the slots that stay and those that go.
pub(super) fn compact(slots: &[SeriesId], used: &[bool]) -> (Vec<u32>, Vec<SeriesId>, Vec<SeriesId>) {
    let mut moves = Vec::with_capacity(slots.len());
    let (mut kept, mut gone) = (Vec::with_capacity(slots.len()), Vec::new());
    for (series, used) in slots.iter().zip(used) {
        moves.push(kept.len() as u32);
        if *used { &mut kept } else { &mut gone }.push(*series);
    }
    // A series that only moved between row and timed series is in neither list of the gone twice; that is fine: it is
    // marked stale where it was and written where it is.
    (moves, kept, gone)
}

/// Whose slot a line wants.
#[derive(Clone, Copy)]
pub(super) enum Claim {
    Dropped,
    Old(u32),
    Series(SeriesId),
}

impl Rebuild {
    /// Takes over lines as they are, marking their slots.
    pub(super) fn keep(&mut self, lines: &[Line]) {
        for line in lines.iter().filter(|line| line.slot < REPEATED) {
            let used = if line.kind == TIMED { &mut self.used_timed } else { &mut self.used };
            used[line.slot as usize] = true;
        }
        self.lines.extend_from_slice(lines);
    }

    /// Returns the slot for a line: an old one, a new one, or "repeated".
    pub(super) fn claim(&mut self, claim: Claim, timed: bool) -> u32 {
        let slot = match claim {
            Claim::Dropped => return DROPPED,
            Claim::Old(DROPPED) => return DROPPED,
            Claim::Old(slot) => slot,
            Claim::Series(series) => match self.known_slot(series, timed) {
                Some(slot) => slot,
                None => return self.new_slot(series, timed),
            },
        };
        let used = if timed { &mut self.used_timed } else { &mut self.used };
        if std::mem::replace(&mut used[slot as usize], true) { REPEATED } else { slot }
    }

    pub(super) fn known_slot(&mut self, series: SeriesId, timed: bool) -> Option<u32> {
        if timed {
            return self.timed_slot_of.get(&series).copied();
        }
        let slots = &self.slots;
        let slot_of = self.slot_of.get_or_insert_with(|| slots.iter().zip(0..).map(|(series, slot)| (*series, slot)).collect());
        slot_of.get(&series).copied()
    }

    pub(super) fn new_slot(&mut self, series: SeriesId, timed: bool) -> u32 {
        self.added += 1;
        if timed {
            let slot = self.timed.len() as u32;
            self.timed.push(series);
            self.used_timed.push(true);
            self.timed_slot_of.insert(series, slot);
            return slot;
        }
        let slot = self.slots.len() as u32;
        self.slots.push(series);
        self.used.push(true);
        if let Some(slot_of) = &mut self.slot_of {
            slot_of.insert(series, slot);
        }
        slot
    }

    /// Finds the old line with that head: its place and where it begins.
    pub(super) fn find(
        &mut self,
        old: &[u8],
        lines: &[Line],
        cursor: Cursor,
        head: &[u8],
        line: &Line,
    ) -> Option<(usize, usize)> {
        let fits = |candidate: &Line, start: usize| {
            candidate.class == line.class
                && (candidate.kind == TIMED) == (line.kind == TIMED)
                && candidate.head as usize == head.len()
                && old.get(start..start + head.len()) == Some(head)
        };
        if self.by_head.is_none() {
            let mut at = cursor.old;
            for (place, candidate) in lines.iter().enumerate().skip(cursor.line).take(WINDOW) {
                if fits(candidate, at + candidate.lead as usize) {
                    return Some((place, at + candidate.lead as usize));
                }
                at += candidate.span();
            }
            if cursor.line + WINDOW >= lines.len() {
                return None;
            }
        }
        let hasher = &self.hasher;
        let by_head = self.by_head.get_or_insert_with(|| index_heads(old, lines, cursor, hasher));
        let (place, start) = *by_head.get(&hash_head(hasher, head))?;
        fits(&lines[place as usize], start as usize).then_some((place as usize, start as usize))
    }
}

pub(super) fn hash_head(hasher: &foldhash::fast::FixedState, head: &[u8]) -> u64 {
    std::hash::BuildHasher::hash_one(hasher, head)
}

pub(super) fn index_heads(
    old: &[u8],
    lines: &[Line],
    cursor: Cursor,
    hasher: &foldhash::fast::FixedState,
) -> HashMap<u64, (u32, u32)> {
    let mut map = HashMap::with_capacity(lines.len() - cursor.line);
    let mut at = cursor.old;
    for (place, line) in lines.iter().enumerate().skip(cursor.line) {
        let start = at + line.lead as usize;
        if let Some(head) = old.get(start..start + line.head as usize) {
            map.entry(hash_head(hasher, head)).or_insert((place as u32, start as u32));
        }
        at += line.span();
    }
    map
}
