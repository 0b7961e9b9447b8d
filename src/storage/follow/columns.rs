//! Rows of the log on their way out: the same differences that a start reads ([`crate::storage::head::logged`]), without a head to
//! put them in. Of each column of a group it keeps the last value and the state of its coder.

use super::{LogSample, LogValue};
use crate::storage::append::SeriesId;
use crate::storage::column::scale::Scale;
use crate::storage::column::step_bits::{self, Width};
use crate::storage::column::token::{self, Track};
use crate::storage::column::varint::ByteReader;
use crate::storage::head::logged::Changes;
use crate::storage::head::window_of;
use crate::storage::wal::replay_rows::read_runs;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What the segment has said of one column.
#[derive(Clone, Copy, Debug)]
struct Column {
    bits: u64,
    mantissa: i64,
    scale: Scale,
    width: Width,
    /// Whether the segment has said it at all, in this half hour.
    is_known: bool,
    /// A second place of the same series: it has no samples.
    is_double: bool,
}

impl Column {
    fn unknown() -> Self {
        let Track { mantissa, scale } = Track::default();
        Self { bits: 0, mantissa, scale, width: Width::FIRST, is_known: false, is_double: false }
    }
}

#[derive(Debug)]
struct Group {
    version: u32,
    layout: Arc<[SeriesId]>,
    columns: Vec<Column>,
    /// Columns that no place of the layout has, by series: they may come back within the half hour.
    parked: Map<SeriesId, Column>,
    /// Time of the last row, to which the next is the difference.
    last_ms: i64,
    /// The half hour of the newest row.
    window: i64,
    /// It lost a row: until the next segment its rows cannot be told.
    is_broken: bool,
}

/// All groups as the open segment has them.
#[derive(Debug, Default)]
pub(super) struct Columns {
    groups: Map<u32, Group>,
}

/// Finds the layout of a group and version.
pub(super) type FindLayout<'a> = &'a mut dyn FnMut(u32, u32) -> Option<Arc<[SeriesId]>>;

impl Group {
    fn new() -> Self {
        let (parked, layout) = (Map::default(), Arc::from([]));
        Self { version: 0, layout, columns: Vec::new(), parked, last_ms: 0, window: i64::MIN, is_broken: false }
    }

    fn take_layout(&mut self, version: u32, layout: Arc<[SeriesId]>) {
        self.version = version;
        let is_longer = !self.columns.is_empty() && layout.starts_with(&self.layout);
        if !is_longer {
            for (series, column) in self.layout.iter().zip(self.columns.drain(..)) {
                if column.is_known {
                    self.parked.insert(*series, column);
                }
            }
        }
        let known = self.columns.len();
        let fresh = layout.iter().skip(known).map(|series| self.parked.remove(series).unwrap_or_else(Column::unknown));
        self.columns.extend(fresh);
        self.layout = layout;
        let mut seen = hashbrown::HashSet::<SeriesId, foldhash::fast::RandomState>::default();
        seen.extend(self.layout.iter().take(known));
        for (series, column) in self.layout.iter().zip(&mut self.columns).skip(known) {
            column.is_double = !seen.insert(*series);
        }
    }

    /// The half hour of a row: each begins anew.
    fn enter_window(&mut self, window: i64) {
        if window > self.window {
            self.window = window;
            self.parked.clear();
            for column in &mut self.columns {
                column.is_known = false;
            }
        }
    }

    /// Reads the value at a place; `None` where the bytes mean nothing.
    #[inline]
    fn value(&mut self, place: usize, has_changed: bool, changes: &mut Changes<'_>) -> Option<f64> {
        let column = self.columns.get_mut(place)?;
        if !column.is_known {
            *column = Column { is_known: true, ..Column::unknown() };
        }
        if has_changed {
            let step = match changes {
                Changes::Bits(bits) => step_bits::read(bits, &mut column.width)?,
                Changes::Bytes(bytes) => token::read_step(bytes)?,
            };
            let mut track = Track { mantissa: column.mantissa, scale: column.scale };
            column.bits = track.advance(step)?;
            column.mantissa = track.mantissa;
            column.scale = track.scale;
        }
        Some(f64::from_bits(column.bits))
    }

    fn values(
        &mut self,
        runs: &[Range<u32>],
        at_ms: i64,
        bitmap: &[u8],
        changes: &mut Changes<'_>,
        out: &mut Vec<LogSample>,
    ) -> Option<()> {
        let mut bit = 0_usize;
        for run in runs {
            out.reserve(run.len());
            for place in run.start as usize..run.end as usize {
                let has_changed = bitmap.get(bit / 8)? >> (bit % 8) & 1 != 0;
                bit += 1;
                if self.columns.get(place)?.is_double {
                    continue;
                }
                let value = self.value(place, has_changed, changes)?;
                let series = *self.layout.get(place)?;
                out.push(LogSample { series, at_ms, start_ms: 0, value: LogValue::Float(value) });
            }
        }
        Some(())
    }
}

impl Columns {
    /// Forgets what an earlier segment said.
    pub(super) fn begin_segment(&mut self) {
        for group in self.groups.values_mut() {
            group.last_ms = 0;
            // Any row enters its half hour anew.
            group.window = i64::MIN;
            group.is_broken = false;
        }
    }

    /// Reads a row or a part of one. `None` where it cannot be told.
    pub(super) fn row(
        &mut self,
        _segment: u64,
        file_version: u32,
        bytes: &mut ByteReader<'_>,
        is_partial: bool,
        layouts: FindLayout<'_>,
        out: &mut Vec<LogSample>,
    ) -> Option<()> {
        let id = bytes.varint_u32()?;
        let version = bytes.varint_u32()?;
        let group = self.groups.entry(id).or_insert_with(Group::new);
        let at_ms = group.last_ms.checked_add(bytes.signed()?)?;
        group.last_ms = at_ms;
        if group.is_broken {
            return Some(());
        }
        group.enter_window(window_of(at_ms));
        if group.version != version || group.columns.is_empty() {
            let Some(layout) = layouts(id, version) else {
                group.is_broken = true;
                return None;
            };
            group.take_layout(version, layout);
        }
        let whole = 0..group.layout.len() as u32;
        let runs = if is_partial { read_runs(bytes, group.layout.len())? } else { vec![whole] };
        let count: usize = runs.iter().map(ExactSizeIterator::len).sum();
        let bitmap = bytes.bytes(count.div_ceil(8))?;
        let mut changes = Changes::of_version(file_version, bytes);
        let done = group.values(&runs, at_ms, bitmap, &mut changes, out);
        group.is_broken = done.is_none();
        done
    }
}
