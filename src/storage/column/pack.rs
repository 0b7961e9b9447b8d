//! Whole numbers packed into bits, 128 at a time.
//!
//! ```text
//! block of up to 128 numbers:   u8 width (bit 7: exceptions) | [u8 count]
//!                               | ceil(n * width / 8) bytes, numbers from the low bit
//!                               | [count x (u8 place, varint of the bits above width)]
//! ```
//!
//! The width is the one that makes the block smallest. A reader loads eight bytes at a time, so that a page ends with
//! spare bytes.

use super::varint::{ByteReader, put_varint};

/// Numbers of one block.
const BLOCK: usize = 128;
/// Bytes behind the last payload that a reader may touch.
pub(crate) const SPARE_BYTES: usize = 9;
const EXCEPTIONS: u8 = 0x80;

const fn bits_of(number: u64) -> usize {
    64 - number.leading_zeros() as usize
}

/// Finds the width of the smallest block and its size in bytes.
fn best_width(numbers: &[u64]) -> (usize, usize) {
    let mut of_bits = [0_usize; 65];
    for number in numbers {
        of_bits[bits_of(*number)] += 1;
    }
    let widest = (0..=64).rev().find(|bits| of_bits[*bits] > 0).unwrap_or(0);
    let packed = |width: usize| (numbers.len() * width).div_ceil(8);
    let (mut best, mut best_size) = (widest, 1 + packed(widest));
    for width in (0..widest).rev() {
        // Each number above the width costs its place and its high bits.
        let above: usize = (width + 1..=widest).map(|bits| of_bits[bits] * (1 + (bits - width).div_ceil(7))).sum();
        let size = 2 + packed(width) + above;
        if size < best_size {
            (best, best_size) = (width, size);
        }
    }
    (best, best_size)
}

fn put_bits(out: &mut Vec<u8>, numbers: &[u64], width: usize) {
    let start = out.len();
    out.resize(start + (numbers.len() * width).div_ceil(8), 0);
    let bytes = &mut out[start..];
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let mut bit = 0;
    for number in numbers {
        let mut left = u128::from(number & mask) << (bit % 8);
        let mut at = bit / 8;
        while left != 0 {
            bytes[at] |= left as u8;
            left >>= 8;
            at += 1;
        }
        bit += width;
    }
}

/// Appends numbers.
pub(crate) fn pack(out: &mut Vec<u8>, numbers: &[u64]) {
    for block in numbers.chunks(BLOCK) {
        let (width, _) = best_width(block);
        let above: Vec<(u8, u64)> = if width == 64 {
            Vec::new()
        } else {
            let high = |(place, number): (usize, &u64)| (number >> width > 0).then_some((place as u8, number >> width));
            block.iter().enumerate().filter_map(high).collect()
        };
        out.push(width as u8 | if above.is_empty() { 0 } else { EXCEPTIONS });
        if !above.is_empty() {
            out.push(above.len() as u8);
        }
        put_bits(out, block, width);
        for (place, high) in above {
            out.push(place);
            put_varint(out, high);
        }
    }
}

/// Returns how many bytes [`pack`] would append.
pub(crate) fn packed_len(numbers: &[u64]) -> usize {
    numbers.chunks(BLOCK).map(|block| best_width(block).1).sum()
}

fn load(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

fn unpack_block(bytes: &[u8], count: usize, width: usize, out: &mut Vec<u64>) -> Option<()> {
    if width == 0 {
        out.resize(out.len() + count, 0);
        return Some(());
    }
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    // The last load begins in the last byte used: all are inside when that one is.
    let window = bytes.get(..((count - 1) * width) / 8 + 8)?;
    if width <= 56 {
        out.extend((0..count).map(|i| {
            let bit = i * width;
            (load(window, bit / 8).unwrap_or(0) >> (bit % 8)) & mask
        }));
        return Some(());
    }
    for i in 0..count {
        let bit = i * width;
        let (at, shift) = (bit / 8, bit % 8);
        let low = load(bytes, at)? >> shift;
        let high = if shift == 0 { 0 } else { u64::from(*bytes.get(at + 8)?) << (64 - shift) };
        out.push((low | high) & mask);
    }
    Some(())
}

/// Reads `count` numbers; returns how many bytes they took. `bytes` must go on for [`SPARE_BYTES`] behind them.
pub(crate) fn unpack(bytes: &[u8], count: usize, out: &mut Vec<u64>) -> Option<usize> {
    let mut at = 0;
    let mut left = count;
    while left > 0 {
        let in_block = left.min(BLOCK);
        let head = *bytes.get(at)?;
        at += 1;
        let width = usize::from(head & !EXCEPTIONS);
        if width > 64 {
            return None;
        }
        let mut above = 0;
        if head & EXCEPTIONS != 0 {
            above = usize::from(*bytes.get(at)?);
            at += 1;
        }
        let start = out.len();
        unpack_block(bytes.get(at..)?, in_block, width, out)?;
        at += (in_block * width).div_ceil(8);
        let mut reader = ByteReader::new(bytes.get(at..)?);
        for _ in 0..above {
            let place = usize::from(reader.u8()?);
            let high = reader.varint()?;
            let number = out.get_mut(start + place)?;
            *number |= if width < 64 { high << width } else { 0 };
        }
        at = bytes.len() - reader.rest().len();
        left -= in_block;
    }
    Some(at)
}

/// Returns the bytes of numbers of one width.
pub(crate) const fn fixed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low bits of numbers.
pub(crate) fn put_fixed(out: &mut Vec<u8>, numbers: &[u64], width: usize) {
    put_bits(out, numbers, width);
}

/// Puts bits that [`put_fixed`] wrote below those that the numbers have. `bytes` must go on for eight bytes behind them.
pub(crate) fn unpack_fixed(bytes: &[u8], width: usize, numbers: &mut [u64]) -> Option<()> {
    let mask = (1_u64 << width) - 1;
    let last = numbers.len().checked_sub(1)?;
    let window = bytes.get(..last * width / 8 + 8)?;
    for (i, number) in numbers.iter_mut().enumerate() {
        let bit = i * width;
        *number = *number << width | (load(window, bit / 8).unwrap_or(0) >> (bit % 8)) & mask;
    }
    Some(())
}

/// A gcd of two numbers.
pub(crate) const fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(numbers: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(&mut bytes, numbers);
        assert_eq!(bytes.len(), packed_len(numbers), "{numbers:?}");
        let length = bytes.len();
        let plain = bytes.clone();
        bytes.extend_from_slice(&[0; SPARE_BYTES]);
        let mut out = Vec::new();
        assert_eq!(unpack(&bytes, numbers.len(), &mut out), Some(length));
        assert_eq!(out, numbers);
        plain
    }

    #[test]
    fn golden_bytes() {
        assert!(check(&[]).is_empty());
        assert_eq!(check(&[0; 100]), [0]);
        assert_eq!(check(&[1, 0, 1, 1]), [1, 0b1101]);
        assert_eq!(check(&[3, 2, 1]), [2, 0b01_10_11]);
        let mut mostly = vec![1; 40];
        mostly[7] = 1 << 20;
        assert_eq!(check(&mostly), [0x81, 1, 0x7f, 255, 255, 255, 255, 7, 0x80, 0x80, 0x20]);
    }

    proptest! {
        #[test]
        fn numbers_come_back(widths in proptest::collection::vec((0_u32..=64, any::<u64>()), 0..300)) {
            let numbers: Vec<u64> = widths.iter().map(|(width, bits)| if *width == 0 { 0 } else { bits >> (64 - width) }).collect();
            check(&numbers);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0_usize..400) {
            let mut out = Vec::new();
            if let Some(used) = unpack(&bytes, count, &mut out) {
                prop_assert!(used <= bytes.len() && out.len() == count);
            }
        }
    }
}
