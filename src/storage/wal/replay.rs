//! Reading the log at start: names first, then every segment, row by row, into the head.
//!
//! A torn end is cut: a crash left it, and nobody was told that it is safe. Damage with good records behind it is something
//! else: a copy of the file goes to quarantine with the reason beside it. Rows behind the damage are told by their
//! difference to rows that are lost, so the rest of that segment gives only what stands for itself; the next segment is
//! whole again. Rows that blocks hold are skipped.

use super::Position;
use super::files::{GrowingFile, file_name, numbers};
use super::mend::{Bit, mend, mend_header};
use super::names::{DEFINITIONS, Entry, read_entry};
use super::record::{Kind, read_exemplars, read_histograms, read_metadata, read_samples, read_starts};
use super::replay_names::{NamesFile, define};
use super::replay_rows::{LoggedRow, Order, RowReplay, is_covered};
use super::segment::{
    End, HEADER_BYTES, HeaderFault, LOG_MAGIC, NAMES_MAGIC, Record, Records, read_header, version_in, version_of,
};
use crate::env::Env;
use crate::env::disk::Open;
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::column::varint::ByteReader;
use crate::storage::error::StoreError;
use crate::storage::head::{Head, LEARNED_PREFIX, LOST_GROUPS_MAX, lock, read, write};
use crate::storage::progress::{Progress, Task};
use crate::storage::quarantine;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a block holds of the log: all rows before `position` that are older than `end_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    /// Where the log stood.
    pub(crate) position: Position,
    /// Rows from here on are not in the block.
    pub(crate) end_ms: i64,
}

/// What a replay found.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Number of the next segment.
    pub(crate) next_segment: u64,
    /// The names log to go on with.
    pub(crate) names: Option<GrowingFile>,
    /// Older names logs, which were written anew and whose segments may still be there.
    pub(crate) old_names: Vec<u64>,
    /// Newest time of each old segment, by its number: a segment may go when blocks hold all of it.
    pub(crate) segments: Vec<(u64, i64)>,
    /// Samples that came back.
    pub(crate) samples: u64,
    /// Records that could not be used.
    pub(crate) damaged: u64,
}

/// What a file of records holds.
struct Scanned<'a> {
    records: Vec<Record<'a>>,
    /// Records before the first damage.
    before_damage: usize,
    first_damage: Option<u64>,
    /// Places with bytes that are no record, although records follow.
    damaged: u64,
    /// The end is torn.
    is_torn: bool,
    /// Length up to the last good record.
    length: u64,
}

impl Scanned<'_> {
    const fn is_whole(&self) -> bool {
        self.first_damage.is_none() && !self.is_torn
    }
}

/// Reads the records of a file, over damage too.
fn scan(bytes: &[u8], number: u64) -> Scanned<'_> {
    let mut walk = Records::new(bytes, number);
    let (mut records, mut before_damage, mut first_damage, mut damaged) = (Vec::new(), 0, None, 0);
    loop {
        records.extend(walk.by_ref());
        if first_damage.is_none() {
            before_damage = records.len();
        }
        let End::Damaged(offset) = walk.end() else { break };
        first_damage = first_damage.or(Some(offset));
        damaged += 1;
        walk.skip_damage();
    }
    let is_torn = matches!(walk.end(), End::Torn(_));
    Scanned { records, before_damage, first_damage, damaged, is_torn, length: walk.offset() }
}

/// Layouts by group and version.
pub(super) type Layouts = HashMap<(u32, u32), Arc<[SeriesId]>, foldhash::fast::RandomState>;

/// Brings the log back into an empty head.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    env: &'a Env,
    dir: &'a Path,
    head: &'a Head,
    covers: &'a [Cover],
    layouts: Layouts,
    /// What must still go into the registry.
    names: Vec<NamesFile>,
    found: Replayed,
    newest_ms: i64,
    /// Newest layouts that rows name and nobody defined.
    lost_versions: BTreeMap<u32, u32>,
    /// Names logs whose ends were cut, and where.
    torn_names: Vec<(PathBuf, Vec<u8>, u64)>,
}

impl<'a> Replay<'a> {
    /// Prepares a replay; `covers` say what is in blocks.
    pub(crate) fn new(env: &'a Env, dir: &'a Path, head: &'a Head, covers: &'a [Cover]) -> Self {
        Self {
            env,
            dir,
            head,
            covers,
            layouts: Layouts::default(),
            names: Vec::new(),
            found: Replayed { next_segment: 1, ..Replayed::default() },
            newest_ms: i64::MIN,
            lost_versions: BTreeMap::new(),
            torn_names: Vec::new(),
        }
    }

    /// Reads everything.
    pub(crate) fn run(mut self, progress: &Progress) -> Result<Replayed, StoreError> {
        let folder = self.dir.join("wal");
        let segments = numbers(&*self.env.disk, &folder).map_err(StoreError::io("listing", &folder))?;
        let (disk, tasks) = (Arc::clone(&self.env.disk), self.env.tasks.clone());
        let first_path = segments.first().map(|number| folder.join(file_name(*number)));
        let ahead = || first_path.map(|path| disk.read(&path));
        let (names, mut first_read) = tasks.both(|| self.read_names(), ahead);
        names?;
        let sizes: Vec<u64> = segments.iter().map(|number| self.size(&folder.join(file_name(*number)))).collect();
        progress.begin(Task::Replay, sizes.iter().sum());
        let (first, last) = (segments.first().copied().unwrap_or(0), segments.last().copied().unwrap_or(0));
        for (number, bytes) in segments.iter().zip(sizes) {
            progress.segment(first, *number, last);
            let path = folder.join(file_name(*number));
            let read = first_read.take().unwrap_or_else(|| self.env.disk.read(&path));
            self.segment(&path, read.map_err(StoreError::io("reading", &path))?, *number, *number == last)?;
            progress.advance(bytes);
        }
        progress.end();
        // Where there is no segment.
        self.rows(0, 0, &[]);
        self.settle();
        if !self.lost_versions.is_empty() {
            // Names are synced before the rows that need them: such an end is damage, unless the power failed in between.
            for (path, bytes, offset) in std::mem::take(&mut self.torn_names) {
                let reason = format!("the end was cut at {offset}; rows need what it said, and are left out");
                quarantine::copy(self.env, self.dir, &path, &bytes, &reason)?;
            }
        }
        let groups = read(&self.head.groups).all();
        let finish = |parity| {
            let groups = &groups;
            move || {
                for group in groups.iter().skip(parity).step_by(2) {
                    let state = group.lock();
                    for generation in state.sealed.iter().chain(&state.current) {
                        lock(generation).finish_replay();
                    }
                }
            }
        };
        self.env.tasks.both(finish(0), finish(1));
        self.found.next_segment = segments.last().map_or(1, |last| last + 1).max(self.found.next_segment);
        for cover in self.covers {
            self.found.next_segment = self.found.next_segment.max(cover.position.segment + 1);
        }
        Ok(self.found)
    }

    fn size(&self, path: &Path) -> u64 {
        self.env.disk.stat(path).ok().flatten().map_or(0, |entry| entry.bytes)
    }

    /// Takes a whole file whose header is good; a damaged one sends it to quarantine (`None`), unless one bit of it is all that is wrong.
    fn open(&self, path: &Path, mut bytes: Vec<u8>, magic: [u8; 8], number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let version = |found: u32| StoreError::Format {
            file: path.to_owned(),
            found: format!("version {found}"),
            expected: format!("version {}", version_of(magic)),
        };
        match read_header(magic, &bytes) {
            Ok(known) if known == number => Ok(Some(bytes)),
            Err(HeaderFault::Version(found)) => Err(version(found)),
            // A crash between making a file and its first sync.
            Err(HeaderFault::Damaged(_)) if bytes.len() <= HEADER_BYTES || bytes.iter().all(|byte| *byte == 0) => {
                tracing::warn!(file = %path.display(), bytes = bytes.len(), "a file without a header, as a crash leaves it, was removed");
                self.env.disk.remove_file(path).map_err(StoreError::io("removing", path))?;
                Ok(None)
            }
            Ok(_) | Err(HeaderFault::Damaged(_)) => {
                if let Some(bit) = mend_header(magic, &mut bytes, number) {
                    self.write_back(path, &bytes, &[bit]);
                    return Ok(Some(bytes));
                }
                quarantine::move_away(self.env, self.dir, path, "its header is damaged")?;
                Ok(None)
            }
        }
    }

    /// Writes mended bytes back. What cannot be written is mended again at the next start.
    fn write_back(&self, path: &Path, bytes: &[u8], bits: &[Bit]) {
        for bit in bits {
            tracing::error!(file = %path.display(), offset = bit.at, bit = bit.place, "a flipped bit was mended: is the disk or the memory failing?");
        }
        let write = || {
            let file = self.env.disk.open(path, Open::Write)?;
            for bit in bits {
                file.write_at(bytes.get(bit.at..=bit.at).unwrap_or_default(), bit.at as u64)?;
            }
            file.sync_data()
        };
        if let Err(error) = write() {
            tracing::warn!(file = %path.display(), %error, "mended bits could not be written back");
        }
    }

    /// Mends what single flipped bits did to a file. `newest`: its end may be torn, which is no damage.
    fn mend(&self, path: &Path, bytes: &mut [u8], number: u64, newest: bool) {
        let bits = mend(bytes, number, !newest);
        if !bits.is_empty() {
            self.write_back(path, bytes, &bits);
        }
    }

    /// Keeps a copy of what stayed damaged, and cuts a torn end off. Returns the good length.
    fn settle_file(&mut self, path: &Path, bytes: &[u8], scanned: &Scanned<'_>) -> Result<u64, StoreError> {
        self.found.damaged += scanned.damaged;
        if let Some(offset) = scanned.first_damage {
            let reason = format!("bytes at {offset} are no record although records follow; what could be read was used");
            quarantine::copy(self.env, self.dir, path, bytes, &reason)?;
        }
        if scanned.is_torn {
            let offset = scanned.length;
            tracing::warn!(file = %path.display(), offset, cut = bytes.len() as u64 - offset, "a torn end was cut off");
            if bytes.starts_with(&NAMES_MAGIC) {
                self.torn_names.push((path.to_owned(), bytes.to_vec(), offset));
            }
            let file = self.env.disk.open(path, Open::Write).map_err(StoreError::io("opening", path))?;
            file.set_len(offset).map_err(StoreError::io("cutting", path))?;
            file.sync_data().map_err(StoreError::io("syncing", path))?;
        }
        Ok(scanned.length)
    }

    /// Reads groups and layouts; texts and series wait in [`Self::names`].
    fn read_names(&mut self) -> Result<(), StoreError> {
        let folder = self.dir.join("names");
        let files = numbers(&*self.env.disk, &folder).map_err(StoreError::io("listing", &folder))?;
        let newest = files.last().copied();
        for number in files {
            let path = folder.join(file_name(number));
            let bytes = self.env.disk.read(&path).map_err(StoreError::io("reading", &path))?;
            let Some(mut bytes) = self.open(&path, bytes, NAMES_MAGIC, number)? else { continue };
            let mut scanned = scan(&bytes, number);
            if !scanned.is_whole() {
                self.mend(&path, &mut bytes, number, Some(&number) == newest.as_ref());
                scanned = scan(&bytes, number);
            }
            let length = self.settle_file(&path, &bytes, &scanned)?;
            let mut records = Vec::with_capacity(scanned.records.len());
            for record in &scanned.records {
                if record.kind != DEFINITIONS || self.layouts(record.payload).is_none() {
                    self.found.damaged += 1;
                }
                if record.kind == DEFINITIONS {
                    records.push(record.place());
                }
            }
            if length <= HEADER_BYTES as u64 && self.found.names.is_some() {
                // Writing it anew was cut short: all of it is one record. The one before holds everything.
                self.env.disk.remove_file(&path).map_err(StoreError::io("removing", &path))?;
                continue;
            }
            let names = GrowingFile::reopen(&*self.env.disk, path.clone(), number, length);
            let before = self.found.names.replace(names.map_err(StoreError::io("opening", &path))?);
            self.found.old_names.extend(before.map(|before| before.number));
            self.names.push(NamesFile { bytes, records });
        }
        Ok(())
    }

    fn layouts(&mut self, payload: &[u8]) -> Option<()> {
        let mut bytes = ByteReader::new(payload);
        while !bytes.is_empty() {
            match read_entry(&mut bytes)? {
                Entry::Symbol(..) | Entry::Series(..) => {}
                Entry::Group(id, name) => self.head.put_group(id, name)?,
                Entry::Layout(group, version, kept, series) => self.layout(group, version, kept, &series)?,
            }
        }
        Some(())
    }

    fn layout(&mut self, group: GroupId, version: u32, kept: usize, series: &[SeriesId]) -> Option<()> {
        let known = self.head.group(group)?;
        let mut state = known.lock();
        let layout: Arc<[SeriesId]> = state.layout.get(..kept)?.iter().chain(series).copied().collect();
        self.layouts.insert((group.0, version), Arc::clone(&layout));
        state.layout = layout;
        state.version = version;
        Some(())
    }

    fn segment(&mut self, path: &Path, bytes: Vec<u8>, number: u64, newest: bool) -> Result<(), StoreError> {
        let Some(mut bytes) = self.open(path, bytes, LOG_MAGIC, number)? else { return Ok(()) };
        self.newest_ms = i64::MIN;
        let mut scanned = scan(&bytes, number);
        if !scanned.is_whole() {
            self.mend(path, &mut bytes, number, newest);
            scanned = scan(&bytes, number);
        }
        self.settle_file(path, &bytes, &scanned)?;
        let (mut rows, mut others) = (Vec::new(), Vec::new());
        for (place, record) in scanned.records.into_iter().enumerate() {
            match Kind::from_byte(record.kind) {
                // Rows behind damage cannot be told.
                Some(Kind::Row | Kind::PartialRow) if place >= scanned.before_damage => {}
                Some(kind @ (Kind::Row | Kind::PartialRow)) => match LoggedRow::of(record, kind == Kind::PartialRow) {
                    Some(row) => rows.push(row),
                    None => self.found.damaged += 1,
                },
                _ => others.push(record),
            }
        }
        self.rows(number, version_in(&bytes), &rows);
        // These ask for series: the registry must be there.
        for record in others {
            let position = Position { segment: number, offset: record.offset };
            if self.record(position, record).is_none() {
                self.found.damaged += 1;
            }
        }
        if self.newest_ms == i64::MIN && self.size(path) <= HEADER_BYTES as u64 {
            // Nothing ever came: each start would leave one more of these.
            return self.env.disk.remove_file(path).map_err(StoreError::io("removing", path));
        }
        self.found.segments.push((number, self.newest_ms));
        Ok(())
    }

    /// Brings back the rows of a segment, half of the groups on each of two threads. Beside them go texts and series that wait.
    fn rows(&mut self, number: u64, version: u32, rows: &[LoggedRow<'_>]) {
        let (head, layouts, covers, names) = (self.head, &self.layouts, self.covers, std::mem::take(&mut self.names));
        let order = Order::of(rows);
        let half = |first| {
            let order = &order;
            move || RowReplay::new(head, layouts, covers, number, version).run(order.part(rows, first))
        };
        let waiting = || if names.is_empty() { 0 } else { define(&mut write(&head.registry), &names) };
        let ((first, second), damaged) = self.env.tasks.both(|| self.env.tasks.both(half(true), half(false)), waiting);
        self.found.damaged += damaged;
        for done in [first, second] {
            self.newest_ms = self.newest_ms.max(done.newest_ms);
            self.found.samples += done.samples;
            self.found.damaged += done.damaged;
            for (group, version) in done.lost_versions {
                let newest = self.lost_versions.entry(group).or_default();
                *newest = version.max(*newest);
            }
        }
    }

    /// Rows of the old log may have ended with an older layout than the names log: new versions count on from the newest.
    fn settle(&self) {
        for (group, version) in &self.lost_versions {
            if let Some(known) = self.head.group(GroupId(*group)) {
                known.lock().reserved = *version;
            }
        }
        let mut newest: BTreeMap<u32, u32> = BTreeMap::new();
        for (group, version) in self.layouts.keys() {
            let known = newest.entry(*group).or_default();
            *known = (*known).max(*version);
        }
        for (group, version) in newest {
            let Some(known) = self.head.group(GroupId(group)) else { continue };
            let mut state = known.lock();
            if version == state.version {
                continue;
            }
            if let Some(current) = state.current.clone() {
                state.leave(&mut lock(&current));
            }
            if let Some(layout) = self.layouts.get(&(group, version)) {
                state.layout = Arc::clone(layout);
            }
            state.version = version;
        }
    }

    /// Returns whether a series is known. The number of one whose name was lost (a power cut may keep a row and lose its
    /// names) must never be given to another while the row is there.
    fn is_known(&mut self, series: SeriesId) -> bool {
        let known = read(&self.head.registry).has(series);
        if !known {
            write(&self.head.registry).skip_to(series.0.saturating_add(1));
            self.found.damaged += 1;
        }
        known
    }

    fn is_covered(&self, position: Position, at_ms: i64) -> bool {
        is_covered(self.covers, position, at_ms)
    }

    fn record(&mut self, position: Position, record: Record<'_>) -> Option<()> {
        let mut bytes = ByteReader::new(record.payload);
        match Kind::from_byte(record.kind)? {
            // [`Self::segment`] has them.
            Kind::Row | Kind::PartialRow => Some(()),
            Kind::Samples => {
                for point in read_samples(&mut bytes)? {
                    self.newest_ms = self.newest_ms.max(point.at_ms);
                    if self.is_known(point.series) && !self.is_covered(position, point.at_ms) {
                        lock(&self.head.late).add(point.series, point.at_ms, point.value.to_bits());
                        self.found.samples += 1;
                    }
                }
                Some(())
            }
            Kind::Histogram => {
                for (series, at_ms, value) in read_histograms(&mut bytes)? {
                    self.newest_ms = self.newest_ms.max(at_ms);
                    if self.is_known(series) && !self.is_covered(position, at_ms) {
                        lock(&self.head.histograms).add(series, at_ms, &value, true);
                        self.found.samples += 1;
                    }
                }
                Some(())
            }
            Kind::Exemplar => {
                let (series, exemplars) = read_exemplars(&mut bytes)?;
                if self.is_known(series) {
                    self.head.add_exemplars(series, &exemplars);
                }
                Some(())
            }
            Kind::Metadata => {
                let (metric, metadata) = read_metadata(&mut bytes)?;
                write(&self.head.metadata).note(metric, &metadata);
                Some(())
            }
            Kind::Start => {
                let (series, steps) = read_starts(&mut bytes)?;
                if self.is_known(series) {
                    let mut starts = write(&self.head.starts);
                    for (at_ms, start_ms) in steps {
                        starts.note(series, at_ms, start_ms);
                    }
                }
                Some(())
            }
            Kind::Cut | Kind::Delete => Some(()),
        }
    }
}

impl Head {
    /// Puts a group of the names log.
    fn put_group(&self, id: GroupId, name: &str) -> Option<()> {
        let mut groups = write(&self.groups);
        if id.0 < groups.next() {
            return Some(());
        }
        if id.0 - groups.next() > LOST_GROUPS_MAX {
            return None;
        }
        groups.put(id, name);
        drop(groups);
        if name.starts_with(LEARNED_PREFIX) {
            self.group(id)?.lock().learned = true;
            self.saw_learned(name);
        }
        Some(())
    }
}
