//! The encoded form of a label set: what senders have on the wire, so that a known series is found without reading labels.
//!
//! ```text
//! for each label, by name:   0x0a | length of what follows | 0x0a | length | name | 0x12 | length | value
//! ```
//!
//! Lengths are varints. Only sets that are sorted by name, without doubles and empty values, and with the shortest lengths
//! are equal byte for byte; others are found by their labels. Two sets count as one where their hashes do: the hash has
//! 64 bits and a secret that nobody outside knows, so that neither chance nor a sender makes two sets meet.

use crate::storage::column::varint::{put_varint, varint_len};
use xxhash_rust::xxh3::xxh3_64_with_secret;

const SECRET_BYTES: usize = 192;

/// Hashes encoded label sets under a secret.
#[derive(Clone)]
pub(crate) struct SetHasher([u8; SECRET_BYTES]);

impl std::fmt::Debug for SetHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetHasher")
    }
}

impl SetHasher {
    /// Returns the hasher of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut secret = [0; SECRET_BYTES];
        let mut state = seed;
        for part in secret.chunks_exact_mut(8) {
            // SplitMix64: every part of the secret depends on the whole seed.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        Self(secret)
    }

    /// Returns the hash of an encoded label set; never 0.
    pub(crate) fn hash(&self, encoded: &[u8]) -> u64 {
        xxh3_64_with_secret(encoded, &self.0).max(1)
    }
}

/// Appends one label of a set.
pub(crate) fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    let text_len = |text: &str| 1 + varint_len(text.len() as u64) + text.len();
    out.push(0x0a);
    put_varint(out, (text_len(name) + text_len(value)) as u64);
    for (tag, text) in [(0x0a, name), (0x12, value)] {
        out.push(tag);
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        put_label(&mut out, "job", "node");
        assert_eq!(out, b"\x0a\x0b\x0a\x03job\x12\x04node");
        let long = "v".repeat(200);
        let mut out = Vec::new();
        put_label(&mut out, "a", &long);
        assert_eq!(out.get(..9), Some([0x0a, 0xce, 0x01, 0x0a, 1, b'a', 0x12, 0xc8, 0x01].as_slice()));
    }

    #[test]
    fn the_secret_matters() {
        let set = b"\x0a\x0b\x0a\x03job\x12\x04node";
        assert_eq!(SetHasher::new(1).hash(set), SetHasher::new(1).hash(set));
        assert_ne!(SetHasher::new(1).hash(set), SetHasher::new(2).hash(set));
    }
}
