//! How a text lies in a znode: as it is, gzip-compressed, or in parts below it.
//!
//! A znode holds less than 1 MiB. What is larger, compressed too, lies in children `part-0000`, `part-0001`, ..., and the znode itself says
//! how many there are and what they are together, in its first line: `# watchkeeper-parts: N sha256:HEX`, the hash being that
//! of the parts' bytes one after the other (which may be gzip again). With ` from:M` behind it the parts are those from `part-M` on: a new version is
//! written beside the old one, and a single change of the small znode makes it the one that counts. `N` = 0: the first version is
//! still being written, there is no file yet.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

/// A text may not be larger than this.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Bytes of one part.
const PART_BYTES: usize = 512 * 1024;
/// More parts than this no header may ask for.
const PARTS_MAX: usize = 256;
const MARK: &str = "# watchkeeper-parts: ";

/// What the first line of a znode in parts says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many parts; 0: not complete yet.
    pub count: usize,
    /// The number of the first.
    pub from: usize,
    /// Hash of all of them, hexadecimal.
    pub sha256: String,
}

impl Parts {
    /// What stands where the first version is still being written.
    #[must_use]
    pub const fn unfinished() -> Self {
        Self { count: 0, from: 0, sha256: String::new() }
    }

    /// Splits bytes; the numbers begin with `from`.
    #[must_use]
    pub fn split(bytes: &[u8], from: usize) -> (Self, Vec<(String, Vec<u8>)>) {
        let cut = bytes.chunks(PART_BYTES).enumerate();
        let parts: Vec<_> = cut.map(|(place, part)| (part_name(from + place), part.to_vec())).collect();
        (Self { count: parts.len(), from, sha256: sha256(bytes) }, parts)
    }

    /// Reads the first line; `None`: the data does not lie in parts.
    ///
    /// # Errors
    /// When the line is not as it should be.
    pub fn read(data: &[u8]) -> Option<Result<Self, String>> {
        let rest = data.strip_prefix(MARK.as_bytes())?;
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let parsed = std::str::from_utf8(line).ok().and_then(|line| {
            let mut words = line.split_whitespace();
            let count = words.next()?.parse().ok().filter(|count| *count <= PARTS_MAX)?;
            let sha256 = words.next().unwrap_or("sha256:").strip_prefix("sha256:")?.to_ascii_lowercase();
            let from = words.next().map_or(Some(0), |word| word.strip_prefix("from:")?.parse().ok())?;
            Some(Self { count, from, sha256 })
        });
        Some(parsed.ok_or_else(|| format!("`{MARK}` must be followed by a number of at most {PARTS_MAX} and sha256:HEX")))
    }

    /// Writes the first line.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let from = if self.from > 0 { format!(" from:{}", self.from) } else { String::new() };
        format!("{MARK}{} sha256:{}{from}\n", self.count, self.sha256).into_bytes()
    }

    /// Returns the parts' names.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        (self.from..self.from.saturating_add(self.count)).map(part_name)
    }
}

fn part_name(number: usize) -> String {
    format!("part-{number:04}")
}

/// Returns a part's number by its name.
#[must_use]
pub fn part_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("part-").filter(|digits| digits.len() >= 4)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Returns the hash of bytes, hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing into a text cannot fail.
        let _always = write!(text, "{byte:02x}");
    }
    text
}

/// Compresses, the same bytes always to the same.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::default());
    // Writing into memory cannot fail; if it did, the bytes as they are stand for themselves.
    let written = writer.write_all(bytes).and_then(|()| writer.finish());
    written.unwrap_or_else(|_| bytes.to_vec())
}

/// Returns what the data of a znode mean; `part` gives the data of a child by its name.
///
/// # Errors
/// When parts are missing or others than the znode says, when compressed data is torn, or when it is too large unpacked.
pub fn unpack<T: AsRef<[u8]>>(data: &[u8], part: impl Fn(&str) -> Option<T>) -> Result<Vec<u8>, String> {
    let Some(parts) = Parts::read(data) else { return unzip(data) };
    let parts = parts?;
    let mut whole = Vec::new();
    for name in parts.names() {
        let found = part(&name).ok_or_else(|| format!("not complete yet: {name} of {} parts is missing", parts.count))?;
        whole.extend_from_slice(found.as_ref());
        if whole.len() > TEXT_BYTES_MAX {
            return Err(format!("more than {TEXT_BYTES_MAX} bytes"));
        }
    }
    if sha256(&whole) != parts.sha256 {
        return Err("not complete yet: the parts are not those that the znode names by sha256".to_owned());
    }
    unzip(&whole)
}

fn unzip(data: &[u8]) -> Result<Vec<u8>, String> {
    if !data.starts_with(&[0x1f, 0x8b]) {
        return Ok(data.to_vec());
    }
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(data).take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("gzip: {error}"))?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(format!("gzip: more than {TEXT_BYTES_MAX} bytes when unpacked"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn parts_are_put_together_only_when_all_are_there_and_the_right_ones() {
        let whole: Vec<u8> = (0..PART_BYTES as u32 / 2).flat_map(u32::to_le_bytes).collect();
        for from in [0, 7] {
            let (parts, cut) = Parts::split(&whole, from);
            let mut there: BTreeMap<String, Vec<u8>> = cut.into_iter().collect();
            assert_eq!((there.len(), parts.names().next().unwrap()), (2, format!("part-000{from}")));
            assert_eq!(Parts::read(&parts.line()).unwrap().unwrap(), parts);
            let unpacked = |there: &BTreeMap<String, Vec<u8>>| unpack(&parts.line(), |name| there.get(name).cloned());
            assert_eq!(unpacked(&there).unwrap(), whole);
            let last = there.pop_last().unwrap();
            assert!(unpacked(&there).unwrap_err().contains("is missing"));
            there.insert(last.0, b"another version's".to_vec());
            assert!(unpacked(&there).unwrap_err().contains("by sha256"));
        }
        let wrong = b"# watchkeeper-parts: many\n".as_slice();
        assert!(unpack(wrong, |_| None::<Vec<u8>>).unwrap_err().contains("must be followed by a number"));
        assert!(unpack(b"# watchkeeper-parts: 999999999 sha256:00\n", |_| None::<Vec<u8>>).is_err());
    }

    #[test]
    fn compressed_text_has_a_bound_and_parts_have_numbers() {
        let bomb = gzip(&vec![b' '; TEXT_BYTES_MAX + 1]);
        assert!(unpack(&bomb, |_| None::<Vec<u8>>).unwrap_err().contains("when unpacked"));
        assert_eq!(unpack(&gzip(b"groups: []"), |_| None::<Vec<u8>>).unwrap(), b"groups: []");
        assert_eq!(part_number("part-0012"), Some(12));
        assert_eq!([part_number("part-1"), part_number("part-00x1"), part_number("a.yml")], [None; 3]);
    }
}
