//! `state.dump`: a checksummed export of the state, for the day when the database does not open.
//!
//! ```text
//! "WKSTATE\1"  n u32  n x (key length u32, key, value length u32, value)  crc32c of all before u32      little endian
//! ```

use super::{Entry, StateError};

const MAGIC: &[u8; 8] = b"WKSTATE\x01";

/// Writes entries.
#[must_use]
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let length = |bytes: &mut Vec<u8>, n: usize| bytes.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
    length(&mut bytes, entries.len());
    for (key, value) in entries {
        for part in [key, value] {
            length(&mut bytes, part.len());
            bytes.extend_from_slice(part);
        }
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn bad(what: &str) -> StateError {
    StateError::Failed(format!("state.dump: {what}"))
}

fn number(rest: &mut &[u8]) -> Result<usize, StateError> {
    let (four, behind) = rest.split_first_chunk::<4>().ok_or_else(|| bad("ends too early"))?;
    *rest = behind;
    Ok(u32::from_le_bytes(*four) as usize)
}

fn text(rest: &mut &[u8]) -> Result<Vec<u8>, StateError> {
    let length = number(rest)?;
    let (part, behind) = rest.split_at_checked(length).ok_or_else(|| bad("ends too early"))?;
    *rest = behind;
    Ok(part.to_vec())
}

/// Reads entries.
///
/// # Errors
/// When a byte is missing or differs.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, StateError> {
    let body_end = bytes.len().checked_sub(4).ok_or_else(|| bad("too short"))?;
    let (body, crc) = bytes.split_at(body_end);
    if crc32c::crc32c(body).to_le_bytes() != crc {
        return Err(bad("checksum differs"));
    }
    let mut rest = body.strip_prefix(MAGIC.as_slice()).ok_or_else(|| bad("not of this format or version"))?;
    let count = number(&mut rest)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let key = text(&mut rest)?;
        entries.push((key, text(&mut rest)?));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_golden_bytes_and_finds_every_flipped_bit() {
        let entries = vec![(b"a".to_vec(), b"1".to_vec()), (b"".to_vec(), b"".to_vec())];
        let bytes = encode(&entries);
        let golden =
            [b"WKSTATE".as_slice(), &[1, 2, 0, 0, 0, 1, 0, 0, 0, b'a', 1, 0, 0, 0, b'1', 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(bytes[..bytes.len() - 4], golden);
        assert_eq!(decode(&bytes).unwrap(), entries);
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(decode(&flipped).is_err(), "bit {at}");
        }
        assert!(decode(b"").is_err());
    }

    #[test]
    fn no_bytes_break_it() {
        let fresh = [encode(&[]), encode(&[(b"silence/1".to_vec(), vec![7; 40]), (b"a".to_vec(), b"".to_vec())])];
        crate::env::fuzz::replay("state_dump", &fresh, 2000, |bytes| {
            let _as_it_is = decode(bytes);
            let signed = [bytes, &crc32c::crc32c(bytes).to_le_bytes()].concat();
            if let Ok(entries) = decode(&signed) {
                assert_eq!(decode(&encode(&entries)).expect("reads"), entries);
            }
        });
    }
}
