//! How far two byte strings are equal.

const CHUNK: usize = 32;

/// Returns the length of the longest common prefix.
#[inline]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_chunks, a_rest) = a.as_chunks::<CHUNK>();
    let (b_chunks, b_rest) = b.as_chunks::<CHUNK>();
    for (place, (x, y)) in a_chunks.iter().zip(b_chunks).enumerate() {
        if x != y {
            return place * CHUNK + first_difference(x, y);
        }
    }
    let done = a_chunks.len().min(b_chunks.len()) * CHUNK;
    let (a_rest, b_rest) = if a_chunks.len() == b_chunks.len() { (a_rest, b_rest) } else { (&a[done..], &b[done..]) };
    done + a_rest.iter().zip(b_rest).take_while(|(x, y)| x == y).count()
}

#[inline]
fn first_difference(x: &[u8; CHUNK], y: &[u8; CHUNK]) -> usize {
    let (x_words, _) = x.as_chunks::<8>();
    let (y_words, _) = y.as_chunks::<8>();
    for (place, (x, y)) in x_words.iter().zip(y_words).enumerate() {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return place * 8 + (difference.trailing_zeros() / 8) as usize;
        }
    }
    CHUNK
}

#[cfg(test)]
mod tests {
    use super::common_prefix;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first_difference(a in "[ab]{0,200}", at: proptest::sample::Index, tail in "[ab]{0,80}") {
            let cut = at.index(a.len() + 1);
            let b = format!("{}{tail}", a.split_at(cut).0);
            let expected = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
            prop_assert_eq!(common_prefix(a.as_bytes(), b.as_bytes()), expected);
        }
    }
}
