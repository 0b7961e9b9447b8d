//! Mending one flipped bit of a file of records.
//!
//! A checksum of 32 bits tells more than that a record is bad: in records of bounded length each single bit leaves a difference
//! of its own between the checksum that is written and the one that is computed, so the bit is found and turned back. What
//! more than one bit has changed looks like a single one with a chance of its length in bits to 2^32 (1 in 8000 for the
//! longest that is tried, 1 in 500,000 for a row of a thousand series); what follows must be a record as well. Torn ends of
//! the newest file are not tried: they are no damage.

use super::segment::{End, FRAME_BYTES, HEADER_BYTES, KIND_MAX, Records, checksum, read_header};

/// Longer records are not tried.
const MENDED_MAX: usize = 64 << 10;
/// The polynomial of CRC-32C, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// A bit of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bit {
    /// Its byte.
    pub(crate) at: usize,
    /// Its place there; 0 is the lowest.
    pub(crate) place: u8,
}

impl Bit {
    fn flip(self, bytes: &mut [u8]) {
        if let Some(byte) = bytes.get_mut(self.at) {
            *byte ^= 1 << self.place;
        }
    }
}

/// Flips back single bits in a file of records. `closed`: a bad end is damage, too. Returns what was flipped.
pub(crate) fn mend(bytes: &mut [u8], number: u64, closed: bool) -> Vec<Bit> {
    let mut mended = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let mut records = Records::from(bytes, number, at);
        while records.next().is_some() {}
        let bad = match records.end() {
            End::Clean => return mended,
            End::Torn(_) if !closed => return mended,
            End::Torn(bad) | End::Damaged(bad) => bad as usize,
        };
        if let Some(bit) = flipped_bit(bytes, number, bad) {
            bit.flip(bytes);
            mended.push(bit);
            at = bad;
            continue;
        }
        records.skip_damage();
        if records.offset() as usize <= bad {
            return mended;
        }
        at = records.offset() as usize;
    }
}

/// Flips back a single bit of a header, whose number is known by the file's name.
pub(crate) fn mend_header(magic: [u8; 8], bytes: &mut [u8], number: u64) -> Option<Bit> {
    let bits = (0..HEADER_BYTES).flat_map(|at| (0..8).map(move |place| Bit { at, place }));
    for bit in bits {
        bit.flip(bytes);
        if read_header(magic, bytes) == Ok(number) {
            return Some(bit);
        }
        bit.flip(bytes);
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Finds the one bit that keeps the bytes at an offset from being a record.
fn flipped_bit(bytes: &[u8], number: u64, at: usize) -> Option<Bit> {
    let (length, crc) = (word(bytes, at)?, word(bytes, at + 4)?);
    let body_of = |length: u32| {
        let length = usize::try_from(length).ok().filter(|length| (1..=MENDED_MAX).contains(length))?;
        bytes.get(at + FRAME_BYTES..at + FRAME_BYTES + length)
    };
    let is_followed = |length: usize| {
        let next = at + FRAME_BYTES + length;
        next >= bytes.len() || Records::from(bytes, number, next).next().is_some()
    };
    if let Some(body) = body_of(length).filter(|body| is_followed(body.len())) {
        let difference = checksum(number, length, body) ^ crc;
        if difference.is_power_of_two() {
            let place = difference.trailing_zeros() as usize;
            return Some(Bit { at: at + 4 + place / 8, place: (place % 8) as u8 });
        }
        if let Some(bit) = bit_of_difference(difference, body.len()) {
            let mended = Bit { at: at + FRAME_BYTES + bit / 8, place: (bit % 8) as u8 };
            let kind = body.first().map_or(0, |kind| if bit < 8 { kind ^ 1 << bit } else { *kind });
            return (1..=KIND_MAX).contains(&kind).then_some(mended);
        }
    }
    let is_it = |place: &u8| {
        let length = length ^ 1 << place;
        body_of(length).is_some_and(|body| checksum(number, length, body) == crc && is_followed(body.len()))
    };
    (0..32).find(is_it).map(|place| Bit { at: at + usize::from(place / 8), place: place % 8 })
}

/// Returns which bit of so many bytes, counted from the first byte's lowest, changes their checksum in this way.
fn bit_of_difference(difference: u32, bytes: usize) -> Option<usize> {
    // Of the last bit; each one before it went through one more step.
    let mut of_bit = POLYNOMIAL;
    for bit in (0..bytes * 8).rev() {
        if of_bit == difference {
            return Some(bit);
        }
        of_bit = (of_bit >> 1) ^ if of_bit & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::segment::{LOG_MAGIC, NAMES_MAGIC, header, put_record};
    use super::*;

    fn file() -> Vec<u8> {
        let mut out = header(LOG_MAGIC, 42, 1000).to_vec();
        for length in [1_usize, 3, 200, 40] {
            let body: Vec<u8> = (0..length).map(|i| if i == 0 { 1 } else { (i * 31) as u8 }).collect();
            put_record(&mut out, 42, &body);
        }
        out
    }

    #[test]
    fn every_single_bit_is_found() {
        let whole = file();
        for at in HEADER_BYTES..whole.len() {
            for place in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << place;
                assert_eq!(mend(&mut bytes, 42, true), [Bit { at, place }]);
                assert_eq!(bytes, whole);
            }
        }
        for at in 0..HEADER_BYTES {
            for place in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << place;
                assert_eq!(mend_header(LOG_MAGIC, &mut bytes, 42), Some(Bit { at, place }));
                assert_eq!(bytes, whole);
            }
        }
        assert_eq!(mend_header(NAMES_MAGIC, &mut whole.clone(), 42), None);
        assert_eq!(mend_header(LOG_MAGIC, &mut whole.clone(), 41), None);
    }

    #[test]
    fn a_torn_end_is_left_and_so_is_more_damage() {
        let whole = file();
        let last = whole.len() - 48;
        for (closed, expected) in [(false, vec![]), (true, vec![Bit { at: last + 20, place: 3 }])] {
            let mut bytes = whole.clone();
            bytes[last + 20] ^= 8;
            assert_eq!(mend(&mut bytes, 42, closed), expected);
        }
        for at in HEADER_BYTES..whole.len() - 30 {
            let mut bytes = whole.clone();
            for byte in &mut bytes[at..at + 30] {
                *byte = !*byte;
            }
            let damaged = bytes.clone();
            assert_eq!(mend(&mut bytes, 42, true), [], "{at}");
            assert_eq!(bytes, damaged);
        }
    }

    #[test]
    fn two_flipped_bits_in_two_records_are_both_found() {
        let whole = file();
        let mut bytes = whole.clone();
        bytes[HEADER_BYTES + 8] ^= 2;
        bytes[HEADER_BYTES + 80] ^= 0x80;
        assert_eq!(mend(&mut bytes, 42, false).len(), 2);
        assert_eq!(bytes, whole);
    }
}
