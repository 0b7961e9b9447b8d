//! The hash of label sets that `limit_ratio` samples by: `xxHash64` over Prometheus's own packed labels.

use crate::model::labels::Labels;

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

/// Returns the hash of a label set as Prometheus computes it.
pub(in crate::promql) fn labels_hash(labels: &Labels) -> u64 {
    let mut packed = Vec::with_capacity(128);
    for (name, value) in labels {
        for text in [name, value] {
            if text.len() < 255 {
                packed.push(text.len() as u8);
            } else {
                packed.push(255);
                packed.extend_from_slice(text.len().to_le_bytes().get(..3).unwrap_or_default());
            }
            packed.extend_from_slice(text.as_bytes());
        }
    }
    xxhash64(&packed)
}

const fn round(state: u64, lane: u64) -> u64 {
    state.wrapping_add(lane.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

fn lane(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |lane, byte| (lane << 8) | u64::from(*byte))
}

fn xxhash64(bytes: &[u8]) -> u64 {
    let stripes = bytes.chunks_exact(32);
    let tail = stripes.remainder();
    let mut hash = PRIMES[4];
    if bytes.len() >= 32 {
        let mut states = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, PRIMES[0].wrapping_neg()];
        for stripe in stripes {
            for (state, bytes) in states.iter_mut().zip(stripe.chunks_exact(8)) {
                *state = round(*state, lane(bytes));
            }
        }
        let rotations = [1, 7, 12, 18];
        hash = states.iter().zip(rotations).fold(0_u64, |hash, (state, by)| hash.wrapping_add(state.rotate_left(by)));
        for state in states {
            hash = (hash ^ round(0, state)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    let words = tail.chunks_exact(8);
    let mut rest = words.remainder();
    for word in words {
        hash = (hash ^ round(0, lane(word))).rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    if let Some((half, behind)) = rest.split_first_chunk::<4>() {
        hash = (hash ^ lane(half).wrapping_mul(PRIMES[0])).rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        rest = behind;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_reference() {
        assert_eq!(xxhash64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxhash64(b"abc"), 0x44bc_2cf5_ad77_0999);
    }
}
