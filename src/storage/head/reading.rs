//! Reading a generation's columns: runs of equal values, and the newest sample before a row.

use super::generation::Generation;
use crate::storage::column::token::{self, Token, Track};
use crate::storage::column::varint::ByteReader;

impl Generation {
    /// Walks a column's runs: (first row, rows, bits of the value). Absent rows are left out.
    ///
    /// Returns `None` where the stream is damaged, which would be a defect of this program.
    pub(crate) fn runs(&self, column: u32, scratch: &mut Vec<u8>, mut run: impl FnMut(u32, u32, u64)) -> Option<()> {
        let entry = &self.columns[column as usize];
        let covered = self.covered(column);
        if covered == 0 {
            return Some(());
        }
        if entry.stream.is_empty() {
            run(entry.since, covered - entry.since, self.bits[column as usize]);
            return Some(());
        }
        scratch.clear();
        self.chunks.copy(&entry.stream, scratch);
        let mut bytes = ByteReader::new(scratch);
        let (mut track, mut bits, mut row) = (Track::default(), 0, 0_u32);
        while !bytes.is_empty() {
            match token::read_token(&mut bytes)? {
                Token::Absent(count) => row += count as u32,
                Token::Repeat(count) => {
                    run(row, count as u32, bits);
                    row += count as u32;
                }
                Token::Value(step) => {
                    bits = track.advance(step)?;
                    run(row, 1, bits);
                    row += 1;
                }
            }
        }
        if covered > row {
            run(row, covered - row, bits);
        }
        Some(())
    }

    /// Returns row and bits of a column's newest sample before a row; the inner `None` where there is none.
    ///
    /// Returns `None` where the stream is damaged, which would be a defect of this program.
    pub(crate) fn newest_before(&self, column: u32, end: u32, scratch: &mut Vec<u8>) -> Option<Option<(u32, u64)>> {
        let entry = &self.columns[column as usize];
        let covered = self.covered(column);
        if covered == 0 {
            return Some(None);
        }
        if entry.since < end {
            // The last value has stood there since.
            return Some(Some((covered.min(end) - 1, self.bits[column as usize])));
        }
        scratch.clear();
        self.chunks.copy(&entry.stream, scratch);
        let mut bytes = ByteReader::new(scratch);
        let (mut track, mut told, mut row, mut newest) = (Track::default(), Some(0), 0_u32, None);
        while row < end && !bytes.is_empty() {
            match token::read_token(&mut bytes)? {
                Token::Absent(count) => row += count as u32,
                Token::Repeat(count) => {
                    row += count as u32;
                    newest = Some(row - 1);
                }
                Token::Value(step) => {
                    told = track.follow(step)?;
                    newest = Some(row);
                    row += 1;
                }
            }
        }
        let bits = told.unwrap_or_else(|| track.scale.value(track.mantissa).to_bits());
        Some(newest.map(|row| (row.min(end - 1), bits)))
    }

    /// Walks the runs that reach a row or lie behind it, and perhaps some before: a column that has kept its value since needs no
    /// decoding. Else like [`Self::runs`].
    pub(crate) fn runs_from(
        &self,
        column: u32,
        row: u32,
        scratch: &mut Vec<u8>,
        mut run: impl FnMut(u32, u32, u64),
    ) -> Option<()> {
        let (since, covered) = (self.columns[column as usize].since, self.covered(column));
        if since <= row && covered > 0 {
            run(since, covered - since, self.bits[column as usize]);
            return Some(());
        }
        let entry = &self.columns[column as usize];
        if row == 0 || covered == 0 || entry.stream.is_empty() {
            return self.runs(column, scratch, run);
        }
        scratch.clear();
        self.chunks.copy(&entry.stream, scratch);
        let mut bytes = ByteReader::new(scratch);
        // Before the row no value is computed: that is a division each.
        let (mut track, mut told, mut at) = (Track::default(), Some(0), 0_u32);
        let of = |track: Track, told: Option<u64>| told.unwrap_or_else(|| track.scale.value(track.mantissa).to_bits());
        while !bytes.is_empty() {
            match token::read_token(&mut bytes)? {
                Token::Absent(count) => at += count as u32,
                Token::Repeat(count) => {
                    if at + count as u32 > row {
                        run(at, count as u32, of(track, told));
                    }
                    at += count as u32;
                }
                Token::Value(step) => {
                    told = track.follow(step)?;
                    if at >= row {
                        run(at, 1, of(track, told));
                    }
                    at += 1;
                }
            }
        }
        if covered > at {
            run(at, covered - at, of(track, told));
        }
        Some(())
    }
}
