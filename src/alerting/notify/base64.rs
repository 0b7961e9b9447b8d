//! Base64: the standard's digits for pictures, URL-safe ones for Alertmanager's template functions.

const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn with(digits: &[u8; 64], bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = digits[((word >> (18 - 6 * place)) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Reads a text of URL-safe digits, as `base64decode` of Alertmanager's templates.
pub(super) fn decode_url(text: &str) -> Option<String> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let (mut word, mut bits, mut out) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for byte in body.bytes() {
        word = (word << 6) | u32::try_from(URL.iter().position(|digit| *digit == byte)?).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    String::from_utf8(out).ok()
}

/// Writes bytes in the standard's digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    with(STANDARD, bytes)
}

/// Writes bytes in URL-safe digits, padded, as `base64encode` of Alertmanager's templates.
pub(super) fn encode_url(bytes: &[u8]) -> String {
    with(URL, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_both_ways() {
        for text in ["", "a", "ab", "abc", "abcd", "flush>>"] {
            assert_eq!(decode_url(&encode_url(text.as_bytes())).as_deref(), Some(text));
        }
        assert_eq!(decode_url("abc"), None);
        assert_eq!(encode(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
