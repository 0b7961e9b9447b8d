//! Feeding decoders with bytes that nobody wrote: stored inputs, and seeded changes of them.
//!
//! Inputs of a target lie in `tests/data/fuzz/<target>/`: bytes of our own encoders, and everything that once broke a decoder.
//! Every test run replays them and a bounded number of changed ones; `fuzz/` gives the same targets to libFuzzer.

use super::disk::{Disk as _, RealDisk};
use std::io;
use std::path::{Path, PathBuf};

/// A decoder may ask for so much address space more while it reads some hundred bytes of nonsense.
const MEMORY_MAX: u64 = 1 << 30;
const ODD: [u64; 9] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Changes inputs; the same seed gives the same changes.
#[derive(Debug)]
pub struct Mutator {
    rng: fastrand::Rng,
}

impl Mutator {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.rng.usize(0..=length);
        from..(from + self.rng.usize(0..=16)).min(length)
    }

    /// Returns `input` with one to four changes; parts of `other` may come in.
    pub fn change(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut out = input.to_vec();
        for _ in 0..self.rng.usize(1..=4) {
            let length = out.len();
            let at = self.rng.usize(0..=length.saturating_sub(1));
            match self.rng.u8(0..8) {
                0 if length > 0 => out[at] ^= 1 << self.rng.u8(0..8),
                1 if length > 0 => out[at] = ODD[self.rng.usize(0..5)] as u8,
                2 => out.truncate(at),
                3 => {
                    out.drain(self.range(length));
                }
                4 => {
                    let part = other.get(self.range(other.len())).unwrap_or_default().to_vec();
                    out.splice(at..at, part);
                }
                5 => {
                    let part = out.get(self.range(length)).unwrap_or_default().to_vec();
                    out.splice(at..at, part);
                }
                6 => {
                    // A number in one of the forms that files have.
                    let number = ODD[self.rng.usize(0..ODD.len())];
                    let bytes = number.to_le_bytes();
                    let width = [1, 2, 4, 8][self.rng.usize(0..4)];
                    for (place, byte) in bytes.iter().take(width).enumerate() {
                        if let Some(old) = out.get_mut(at + place) {
                            *old = *byte;
                        }
                    }
                }
                _ => {
                    let mut number = ODD[self.rng.usize(0..ODD.len())];
                    let mut varint = Vec::new();
                    while number >= 0x80 {
                        varint.push(number as u8 | 0x80);
                        number >>= 7;
                    }
                    varint.push(number as u8);
                    let end = (at + 1).min(length);
                    out.splice(at.min(end)..end, varint);
                }
            }
        }
        out
    }
}

/// The most address space that this process ever had.
fn memory_peak() -> u64 {
    let status = RealDisk.read(Path::new("/proc/self/status")).unwrap_or_default();
    let text = String::from_utf8_lossy(&status);
    let line = text.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Prints the input that broke a decoder.
struct Culprit<'a>(&'a str, &'a [u8]);

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.1.iter().map(|byte| format!("{byte:02x}")).collect();
            #[expect(clippy::print_stderr, reason = "for the person who looks at the failed test")]
            {
                eprintln!("target {} broke on {} bytes: {hex}", self.0, self.1.len());
            }
        }
    }
}

fn stored(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    RealDisk.list(folder)?.iter().map(|entry| RealDisk.read(&folder.join(&entry.name))).collect()
}

/// Runs a target over its stored inputs, `fresh` ones of today's encoders, and `rounds` changes of each. With
/// `WATCHKEEPER_WRITE_CORPUS` set it stores the fresh ones first.
///
/// # Panics
/// When the target does, when nothing is stored, or when memory grew without reason.
pub fn replay(target: &str, fresh: &[Vec<u8>], rounds: usize, mut run: impl FnMut(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(target);
    if std::env::var_os("WATCHKEEPER_WRITE_CORPUS").is_some() {
        RealDisk.create_dir_all(&folder).expect("a folder");
        for (number, input) in fresh.iter().enumerate() {
            RealDisk.replace(&folder.join(format!("fresh-{number:02}")), input).expect("written");
        }
    }
    let mut inputs = stored(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    assert!(!inputs.is_empty(), "nothing is stored for {target}");
    inputs.extend_from_slice(fresh);
    let before = memory_peak();
    let mut mutator = Mutator::new(target.bytes().map(u64::from).sum());
    let mut try_one = |input: &[u8]| {
        let culprit = Culprit(target, input);
        run(input);
        let grown = memory_peak().saturating_sub(before);
        assert!(grown < MEMORY_MAX, "{grown} bytes more than before");
        drop(culprit);
    };
    for (number, input) in inputs.iter().enumerate() {
        try_one(input);
        let other = &inputs[(number + 1) % inputs.len()];
        let mut changed = input.clone();
        for round in 0..rounds {
            // Changes of changes lead further than changes of the good input alone.
            let from = if round % 3 == 0 || changed.is_empty() { input } else { &changed };
            changed = mutator.change(from, other);
            try_one(&changed);
        }
    }
}
