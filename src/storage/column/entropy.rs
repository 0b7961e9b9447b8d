//! Whole numbers in as few bits as their distribution allows, for blocks that are written once and kept long.
//!
//! A number is cut in two: its low bits are noise and are stored as they are; what is above them is one of at most 64
//! symbols, coded by a table of their frequencies (tANS: asymmetric numeral systems by table), four states in turn so that
//! the processor has four chains to follow.
//!
//! ```text
//! u8 low bits w | u8 table log L (5..=9) | varint symbols s, s frequencies packed (their sum is 2^L)
//! | varint escapes, escapes x varint (what is above 63 of the escaped symbol, in order)
//! | ceil(n * w / 8) bytes: low bits | four states of L bits, then the bits that each number's step takes, from the low bit
//! ```
//!
//! Symbol 63 escapes. A state x in 0..2^L is a place in the table: it tells its symbol, how many bits to take and to what to
//! add them to get the next state. Places are dealt to symbols in steps of `5/8 * 2^L + 3`.

use super::pack::{fixed_len, pack, packed_len, put_fixed, unpack, unpack_fixed};
use super::varint::{ByteReader, put_varint, varint_len};

/// Numbers of symbols; the last escapes.
const SYMBOLS: usize = 64;
const ESCAPE: u64 = SYMBOLS as u64 - 1;
const LOG_MIN: u32 = 5;
const LOG_MAX: u32 = 9;
/// Places of the largest table.
const PLACES: usize = 1 << LOG_MAX;
/// Low parts of four numbers with so many bits fit one load of eight bytes wherever it begins.
const FUSED_MAX: u32 = 14;
/// States that take turns.
const STATES: usize = 4;
/// More low bits than this are not worth a table.
const LOW_MAX: u32 = 48;

/// How a list of numbers is to be coded.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    low: u32,
    log: u32,
    /// Frequencies that add up to `2^log`.
    frequencies: Vec<u64>,
    /// Bytes of the coded list, about.
    pub(crate) bytes: usize,
}

const fn bits_of(number: u64) -> u32 {
    64 - number.leading_zeros()
}

const fn symbol(number: u64, low: u32) -> (usize, Option<u64>) {
    let high = number >> low;
    if high < ESCAPE { (high as usize, None) } else { (ESCAPE as usize, Some(high - ESCAPE)) }
}

/// Counts symbols; the second number is the bytes of the escapes.
fn histogram(numbers: &[u64], low: u32) -> ([u32; SYMBOLS], usize) {
    let (mut counts, mut escapes) = ([0; SYMBOLS], 0);
    for number in numbers {
        let (symbol, above) = symbol(*number, low);
        counts[symbol] += 1;
        if let Some(above) = above {
            escapes += varint_len(above);
        }
    }
    (counts, escapes)
}

/// Bits that the symbols take at best.
fn entropy_bits(counts: &[u32; SYMBOLS], all: usize) -> f64 {
    let all = all as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) * (all / f64::from(*count)).log2()).sum()
}

/// Scales counts so that they add up to `2^log`, none that occurs below 1. `None` where there are too many symbols.
fn normalized(counts: &[u32; SYMBOLS], all: usize, log: u32) -> Option<Vec<u64>> {
    let size = 1_u64 << log;
    let used = counts.iter().rposition(|count| *count > 0)? + 1;
    if counts.iter().filter(|count| **count > 0).count() as u64 * 2 > size {
        return None;
    }
    let scaled = |count: &u32| if *count == 0 { 0 } else { ((u64::from(*count) * size * 2 / all as u64).div_ceil(2)).max(1) };
    let mut out: Vec<u64> = counts[..used].iter().map(scaled).collect();
    let mut sum: u64 = out.iter().sum();
    while sum != size {
        let largest = out.iter_mut().max()?;
        if sum > size {
            let less = (sum - size).min((*largest / 8).max(1));
            *largest -= less;
            sum -= less;
        } else {
            *largest += size - sum;
            sum = size;
        }
    }
    Some(out)
}

fn coded_bits(counts: &[u32; SYMBOLS], frequencies: &[u64], log: u32) -> f64 {
    let cost = |(count, frequency): (&u32, &u64)| f64::from(*count) * (f64::from(log) - (*frequency as f64).log2());
    counts.iter().zip(frequencies).filter(|(count, _)| **count > 0).map(cost).sum()
}

impl Model {
    /// Finds the best cut and table for some numbers; `None` where a table would not pay.
    pub(crate) fn of(numbers: &[u64]) -> Option<Self> {
        if numbers.len() < 64 {
            return None;
        }
        let mut widths = [0_u32; 65];
        for number in numbers {
            widths[bits_of(*number) as usize] += 1;
        }
        // The width that nine of ten numbers fit: a cut some bits below it leaves about as many symbols as are useful.
        let mut below = 0;
        let common = (0..=64_u32).find(|width| {
            below += widths[*width as usize] as usize;
            below * 10 >= numbers.len() * 9
        })?;
        let mut best: Option<(f64, u32, [u32; SYMBOLS], usize)> = None;
        for low in common.saturating_sub(6)..=common.saturating_sub(2) {
            if low > LOW_MAX {
                break;
            }
            let (counts, escapes) = histogram(numbers, low);
            let symbols = counts.iter().filter(|count| **count > 0).count() as f64;
            let bits = entropy_bits(&counts, numbers.len()) + (numbers.len() * low as usize + escapes * 8) as f64 + symbols * 5.5;
            if best.as_ref().is_none_or(|(known, ..)| bits < *known) {
                best = Some((bits, low, counts, escapes));
            }
        }
        let (_, low, counts, escapes) = best?;
        let fits = |log: u32| {
            let frequencies = normalized(&counts, numbers.len(), log)?;
            let table = packed_len(&frequencies);
            let bits = coded_bits(&counts, &frequencies, log) + f64::from(log * STATES as u32);
            let bytes = 4 + table + escapes + fixed_len(numbers.len(), low) + (bits / 8.0).ceil() as usize;
            Some(Self { low, log, frequencies, bytes })
        };
        (LOG_MIN..=LOG_MAX).filter_map(fits).min_by_key(|model| model.bytes)
    }

    /// Appends the numbers that the model was made of.
    pub(crate) fn put(&self, out: &mut Vec<u8>, numbers: &[u64]) {
        out.push(self.low as u8);
        out.push(self.log as u8);
        put_varint(out, self.frequencies.len() as u64);
        pack(out, &self.frequencies);
        let escaped: Vec<u64> = numbers.iter().filter_map(|number| symbol(*number, self.low).1).collect();
        put_varint(out, escaped.len() as u64);
        for above in escaped {
            put_varint(out, above);
        }
        put_fixed(out, numbers, self.low as usize);
        self.put_symbols(out, numbers);
    }

    fn put_symbols(&self, out: &mut Vec<u8>, numbers: &[u64]) {
        let size = 1_usize << self.log;
        let dealt = deal(&self.frequencies, self.log);
        // For each symbol, where in the table its places are, ascending.
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); self.frequencies.len()];
        for (place, symbol) in dealt[..size].iter().enumerate() {
            places[usize::from(*symbol)].push(place as u32);
        }
        let mut states = [size; STATES];
        let mut steps: Vec<(u64, u32)> = Vec::with_capacity(numbers.len());
        // The last number first: the reader then gets them in order.
        for (at, number) in numbers.iter().enumerate().rev() {
            let places = &places[symbol(*number, self.low).0];
            let state = &mut states[at % STATES];
            let mut bits = 0;
            while *state >> bits >= places.len() * 2 {
                bits += 1;
            }
            steps.push((*state as u64 & ((1 << bits) - 1), bits));
            *state = size + places[(*state >> bits) - places.len()] as usize;
        }
        let mut writer = BitWriter::new(out);
        for state in states {
            writer.put((state - size) as u64, self.log);
        }
        for (value, bits) in steps.into_iter().rev() {
            writer.put(value, bits);
        }
        writer.finish();
    }
}

struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    bits: u32,
}

impl<'a> BitWriter<'a> {
    const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, bits: 0 }
    }

    fn put(&mut self, value: u64, bits: u32) {
        self.held |= value << self.bits;
        self.bits += bits;
        while self.bits >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.bits -= 8;
        }
    }

    fn finish(self) {
        if self.bits > 0 {
            self.out.push(self.held as u8);
        }
    }
}

/// Deals the table's places to the symbols.
fn deal(frequencies: &[u64], log: u32) -> [u8; PLACES] {
    let size = 1_usize << log;
    let step = (size >> 1) + (size >> 3) + 3;
    let mut dealt = [0; PLACES];
    let mut place = 0;
    for (symbol, frequency) in frequencies.iter().enumerate() {
        for _ in 0..*frequency {
            dealt[place & (PLACES - 1)] = symbol as u8;
            place = (place + step) & (size - 1);
        }
    }
    dealt
}

/// One place of the table: next state's base (bits 16-31), bits to take (8-15), symbol (0-7).
type Place = u32;

fn table(frequencies: &[u64], log: u32) -> [Place; PLACES] {
    let dealt = deal(frequencies, log);
    let mut next = [0_u32; SYMBOLS];
    for (next, frequency) in next.iter_mut().zip(frequencies) {
        *next = *frequency as u32;
    }
    let mut table = [0; PLACES];
    for (place, symbol) in table.iter_mut().zip(&dealt).take(1 << log) {
        let next = &mut next[usize::from(*symbol) & (SYMBOLS - 1)];
        let state = *next;
        *next += 1;
        let bits = log + 1 - bits_of(u64::from(state));
        let base = (state << bits) - (1 << log);
        *place = base << 16 | bits << 8 | u32::from(*symbol);
    }
    table
}

fn load(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Appends `count` numbers, symbols above `low` bits that stand in `lows`; returns the bytes used of `bytes`.
fn read_symbols(
    bytes: &[u8],
    table: &[Place; PLACES],
    log: u32,
    count: usize,
    (lows, low): (&[u8], u32),
    out: &mut Vec<u64>,
) -> Option<usize> {
    const MASK: usize = PLACES - 1;
    let first = load(bytes, 0)?;
    let mut bit = log as usize * STATES;
    let size_mask = (1_u64 << log) - 1;
    let mut states = [0, 1, 2, 3].map(|turn| (first >> (turn * log) & size_mask) as usize);
    let start = out.len();
    out.resize(start + count, 0);
    let (fours, rest) = out.get_mut(start..)?.as_chunks_mut::<STATES>();
    let low_mask = (1_u64 << low) - 1;
    for (turn, four) in fours.iter_mut().enumerate() {
        // At most 7 + 4 * 9 bits: one load is enough.
        let word = load(bytes, bit / 8)? >> (bit % 8);
        // All places first: what each takes of the word does not wait for the one before.
        let [a, b, c, d] = states.map(|state| table[state & MASK]);
        if low == 0 {
            *four = [a, b, c, d].map(|place| u64::from(place & 0xff));
        } else {
            let low_bit = turn * STATES * low as usize;
            let word = load(lows, low_bit / 8)? >> (low_bit % 8);
            let number = |place: u32, turn: u32| u64::from(place & 0xff) << low | (word >> (turn * low) & low_mask);
            *four = [number(a, 0), number(b, 1), number(c, 2), number(d, 3)];
        }
        let (to_b, to_c) = (a >> 8 & 0xff, (a >> 8 & 0xff) + (b >> 8 & 0xff));
        let to_d = to_c + (c >> 8 & 0xff);
        let next = |place: u32, from: u32| {
            let taken = (word >> from) as u32;
            (place >> 16) as usize + (taken & ((1_u32 << (place >> 8 & 0xf)) - 1)) as usize
        };
        states = [next(a, 0), next(b, to_b), next(c, to_c), next(d, to_d)];
        bit += (to_d + (d >> 8 & 0xff)) as usize;
    }
    for (at, (state, out)) in states.iter().zip(rest.iter_mut()).enumerate() {
        let place = table[*state & MASK];
        let low_bit = (count / STATES * STATES + at) * low as usize;
        *out = u64::from(place & 0xff) << low | (load(lows, low_bit / 8)? >> (low_bit % 8) & low_mask);
        bit += (place >> 8 & 0xff) as usize;
    }
    Some(bit.div_ceil(8))
}

/// Reads `count` numbers that [`Model::put`] wrote and appends them; returns how many bytes they took. `bytes` must go on for
/// [`super::pack::SPARE_BYTES`] behind them.
pub(crate) fn read(bytes: &[u8], count: usize, out: &mut Vec<u64>) -> Option<usize> {
    let mut reader = ByteReader::new(bytes);
    let (low, log) = (u32::from(reader.u8()?), u32::from(reader.u8()?));
    let symbols = usize::try_from(reader.varint()?).ok()?;
    if low > LOW_MAX || !(LOG_MIN..=LOG_MAX).contains(&log) || symbols > SYMBOLS {
        return None;
    }
    let mut frequencies = Vec::with_capacity(SYMBOLS);
    let used = unpack(reader.rest(), symbols, &mut frequencies)?;
    reader.bytes(used)?;
    // Each at most the sum, so that adding up does not overflow.
    let size = 1_u64 << log;
    if frequencies.iter().any(|frequency| *frequency > size) || frequencies.iter().sum::<u64>() != size {
        return None;
    }
    let mut escaped = Vec::new();
    for _ in 0..reader.count(1)? {
        escaped.push(reader.varint()?);
    }
    let lows = reader.rest();
    reader.bytes(fixed_len(count, low))?;
    let start = out.len();
    // Four low parts of a load; wider ones are added afterwards.
    let fused = if low <= FUSED_MAX { low } else { 0 };
    let used = read_symbols(reader.rest(), &table(&frequencies, log), log, count, (lows, fused), out)?;
    let numbers = out.get_mut(start..)?;
    if !escaped.is_empty() {
        let mut escaped = escaped.into_iter();
        let mask = (1 << fused) - 1;
        for number in numbers.iter_mut().filter(|number| **number >> fused == ESCAPE) {
            *number = ESCAPE.checked_add(escaped.next()?)? << fused | *number & mask;
        }
    }
    let after = bytes.len() - reader.rest().len();
    if low > fused {
        // The reader loads eight bytes at a time: it gets what follows, too.
        unpack_fixed(lows, low as usize, numbers)?;
    }
    Some(after + used)
}

#[cfg(test)]
mod tests {
    use super::super::pack::SPARE_BYTES;
    use super::*;
    use proptest::prelude::*;

    fn check(numbers: &[u64]) -> Option<usize> {
        let model = Model::of(numbers)?;
        let mut bytes = vec![7; 3];
        model.put(&mut bytes, numbers);
        let length = bytes.len() - 3;
        assert!(length.abs_diff(model.bytes) < 12, "{length} bytes, {} were expected", model.bytes);
        bytes.extend_from_slice(&[0; SPARE_BYTES]);
        let mut out = vec![1, 2];
        assert_eq!(read(&bytes[3..], numbers.len(), &mut out), Some(length));
        assert_eq!(out[2..], *numbers);
        Some(length)
    }

    #[test]
    fn comes_near_to_the_entropy() {
        let mut state = 7_u64;
        let mut chance = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        // Mostly nothing: an eighth, 0.54 bits each.
        let rare: Vec<u64> = (0..1440).map(|_| u64::from(chance() % 8 == 0)).collect();
        // Sums of eight: a bell; its entropy is log2(sigma * sqrt(2 pi e)) = 11.65 bits.
        let bell: Vec<u64> = (0..1440).map(|_| (0..8).map(|_| chance() % 1024).sum::<u64>()).collect();
        let constant = vec![0; 1440];
        for (numbers, bytes_max) in [(rare, 115), (bell, 2150), (constant, 20)] {
            let bytes = check(&numbers).expect("a model");
            assert!(bytes <= bytes_max, "{bytes} bytes, at most {bytes_max}");
        }
        assert!(check(&[1; 10]).is_none());
    }

    #[test]
    fn golden_bytes() {
        let numbers: Vec<u64> = (0..64).map(|i| u64::from(i % 16 == 3)).collect();
        let mut bytes = Vec::new();
        Model::of(&numbers).expect("a model").put(&mut bytes, &numbers);
        assert_eq!(bytes[..8], [0, 5, 2, 5, 0b010_11110, 0, 0, bytes[7]], "{bytes:?}");
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            widths in proptest::collection::vec((0_u32..12, any::<u64>()), 64..700),
            odd in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u64>()), 0..4),
            shift in 0_u32..50,
        ) {
            let mut numbers: Vec<u64> =
                widths.iter().map(|(width, bits)| if *width == 0 { 0 } else { bits >> (64 - width) << shift }).collect();
            for (at, number) in odd {
                let at = at.index(numbers.len());
                numbers[at] = number >> 1;
            }
            check(&numbers);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0_usize..400) {
            let _read = read(&bytes, count, &mut Vec::new());
        }

        #[test]
        fn changed_bytes_never_panic(at in any::<proptest::sample::Index>(), byte: u8) {
            let numbers: Vec<u64> = (0..200).map(|i| i * 7919 % 131).collect();
            let mut bytes = Vec::new();
            Model::of(&numbers).expect("a model").put(&mut bytes, &numbers);
            bytes.extend_from_slice(&[0; SPARE_BYTES]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _read = read(&bytes, numbers.len(), &mut Vec::new());
        }
    }
}
