//! A block's index can mend itself: one damaged stretch is computed again from the rest.
//!
//! A page that goes bad costs its columns; a bad index would cost the whole block. So the sections are seen as up to 64
//! chunks, each with a checksum, and the exclusive or of all chunks is kept. Where one chunk is bad, it is what the others and the
//! parity leave over. That costs a sixtieth of the index, which is a fortieth of the file.
//!
//! ```text
//! PARI   u32 chunk length | u64 offset of the region | u64 its length | chunks x crc u32 | parity, one chunk long
//! ```

use crate::storage::column::varint::ByteReader;

/// Chunks of a region, about.
const CHUNKS: usize = 64;
/// Chunks are a multiple of this.
const GRAIN: usize = 64;

/// What mends a region of the file.
#[derive(Debug)]
pub(crate) struct Parity {
    chunk: usize,
    /// Where the region begins.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
    crcs: Vec<u32>,
    parity: Vec<u8>,
}

fn add(parity: &mut [u8], chunk: &[u8]) {
    for (sum, byte) in parity.iter_mut().zip(chunk) {
        *sum ^= byte;
    }
}

/// Returns the section that mends a region, which begins at `offset` of the file.
pub(crate) fn parity_of(region: &[u8], offset: u64) -> Vec<u8> {
    let chunk = region.len().div_ceil(CHUNKS).next_multiple_of(GRAIN).max(GRAIN);
    let mut out = (chunk as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&(region.len() as u64).to_le_bytes());
    let mut parity = vec![0; chunk];
    for chunk in region.chunks(chunk) {
        out.extend_from_slice(&crc32c::crc32c(chunk).to_le_bytes());
        add(&mut parity, chunk);
    }
    out.extend_from_slice(&parity);
    out
}

impl Parity {
    /// Reads the section; `None` where it is damaged.
    pub(crate) fn read(section: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(section);
        let chunk = reader.u32()? as usize;
        let (offset, length) = (reader.u64()?, reader.u64()?);
        let chunks = usize::try_from(length).ok()?.checked_add(chunk.checked_sub(1)?)? / chunk;
        if chunks > section.len() / 4 {
            return None;
        }
        let crcs = (0..chunks).map(|_| reader.u32()).collect::<Option<Vec<u32>>>()?;
        let parity = reader.bytes(chunk)?.to_vec();
        Some(Self { chunk, offset, length, crcs, parity })
    }

    /// Mends a region in place. `false` where more than one chunk is bad, or none.
    pub(crate) fn mend(&self, region: &mut [u8]) -> bool {
        if region.len() as u64 != self.length {
            return false;
        }
        let is_bad = |(chunk, crc): &(&[u8], &u32)| crc32c::crc32c(chunk) != **crc;
        let bad: Vec<usize> = region
            .chunks(self.chunk)
            .zip(&self.crcs)
            .enumerate()
            .filter_map(|(number, pair)| is_bad(&pair).then_some(number))
            .collect();
        let [bad] = bad[..] else { return false };
        let mut mended = self.parity.clone();
        for (number, chunk) in region.chunks(self.chunk).enumerate() {
            if number != bad {
                add(&mut mended, chunk);
            }
        }
        let Some(chunk) = region.chunks_mut(self.chunk).nth(bad) else { return false };
        mended.truncate(chunk.len());
        if self.crcs.get(bad) != Some(&crc32c::crc32c(&mended)) {
            return false;
        }
        chunk.copy_from_slice(&mended);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_stretch_is_mended() {
        for length in [1_usize, 63, 64, 65, 4096, 5000, 100_003] {
            let region: Vec<u8> = (0..length).map(|i| (i * 7919 % 251) as u8).collect();
            let section = parity_of(&region, 128);
            let parity = Parity::read(&section).expect("reads");
            assert_eq!((parity.offset, parity.length), (128, length as u64));
            let mut whole = region.clone();
            assert!(!parity.mend(&mut whole), "nothing is bad");
            for at in [0, length / 2, length - 1] {
                let mut damaged = region.clone();
                damaged[at] ^= 0x10;
                assert!(parity.mend(&mut damaged), "{length} {at}");
                assert_eq!(damaged, region);
            }
            if length > 4096 {
                let mut damaged = region.clone();
                damaged[0] ^= 1;
                damaged[length - 1] ^= 1;
                assert!(!parity.mend(&mut damaged));
            }
            assert!(Parity::read(&section[..section.len() - 1]).is_none());
        }
        assert!(Parity::read(&[0; 20]).is_none());
    }
}
