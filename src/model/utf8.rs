//! Bytes of files and znodes to text, and where they are none.

/// Bytes that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid UTF-8: byte {byte:#04x} is no part of a character")]
pub struct NotUtf8 {
    /// Line of the first wrong byte, from 1.
    pub line: u32,
    /// Its column in characters, from 1.
    pub column: u32,
    /// The byte.
    pub byte: u8,
}

/// Takes bytes as text.
///
/// # Errors
/// With the place of the first byte that does not belong to a character.
pub fn decode(bytes: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let (before, wrong) = error.as_bytes().split_at(good);
        let before = String::from_utf8_lossy(before);
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        let characters = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX - 1) + 1;
        NotUtf8 { line: count(lines), column: count(characters), byte: wrong.first().copied().unwrap_or_default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_has_a_place() {
        assert_eq!(decode("ä\nö".into()).as_deref(), Ok("ä\nö"));
        let cases: [(&[u8], NotUtf8); 2] = [
            (b"a\n\xc3\xa4b\xffc", NotUtf8 { line: 2, column: 3, byte: 0xff }),
            (b"\n\n\xc3", NotUtf8 { line: 3, column: 1, byte: 0xc3 }),
        ];
        for (bytes, want) in cases {
            assert_eq!(decode(bytes.to_vec()), Err(want));
        }
    }
}
