//! Prometheus's XOR chunks: times by how their differences change, values by which bits change (Facebook's Gorilla).

/// Bits, the highest first.
#[derive(Default)]
pub(super) struct Bits {
    pub(super) bytes: Vec<u8>,
    /// Free bits of the last byte.
    free: u32,
}

impl Bits {
    /// Begins behind whole bytes.
    pub(super) const fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes, free: 0 }
    }

    /// Appends the lowest `count` bits.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        for place in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> place & 1) as u8) << self.free;
            }
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }
}

/// Writes up to 65,535 samples, ascending in time, as one chunk.
pub(super) fn encode(points: &[(i64, f64)]) -> Vec<u8> {
    let mut bits = Bits::behind((points.len() as u16).to_be_bytes().to_vec());
    let (mut last_ms, mut step) = (0_i64, 0_i64);
    let (mut last_value, mut window) = (0_u64, None);
    for (place, (at_ms, value)) in points.iter().enumerate() {
        let value = value.to_bits();
        let difference = at_ms.wrapping_sub(last_ms);
        match place {
            0 => {
                bits.varint((at_ms << 1 ^ at_ms >> 63) as u64);
                bits.put(value, 64);
            }
            1 => bits.varint(difference as u64),
            _ => change(&mut bits, difference.wrapping_sub(step)),
        }
        if place > 0 {
            exclusive_or(&mut bits, value ^ last_value, &mut window);
            step = difference;
        }
        (last_ms, last_value) = (*at_ms, value);
    }
    bits.bytes
}

/// Writes how the step between times changed.
fn change(bits: &mut Bits, change: i64) {
    let fits = |count: u32| (-((1_i64 << (count - 1)) - 1)..=1_i64 << (count - 1)).contains(&change);
    match change {
        0 => bits.put(0, 1),
        _ if fits(14) => {
            bits.put(0b10, 2);
            bits.put(change as u64, 14);
        }
        _ if fits(17) => {
            bits.put(0b110, 3);
            bits.put(change as u64, 17);
        }
        _ if fits(20) => {
            bits.put(0b1110, 4);
            bits.put(change as u64, 20);
        }
        _ => {
            bits.put(0b1111, 4);
            bits.put(change as u64, 64);
        }
    }
}

/// Writes the bits in which two values differ; `window` says where the last ones lay.
pub(super) fn exclusive_or(bits: &mut Bits, difference: u64, window: &mut Option<(u32, u32)>) {
    if difference == 0 {
        bits.put(0, 1);
        return;
    }
    bits.put(1, 1);
    let (leading, trailing) = (difference.leading_zeros().min(31), difference.trailing_zeros());
    if let Some((before, behind)) = *window
        && leading >= before
        && trailing >= behind
    {
        bits.put(0, 1);
        bits.put(difference >> behind, 64 - before - behind);
        return;
    }
    *window = Some((leading, trailing));
    let count = 64 - leading - trailing;
    bits.put(1, 1);
    bits.put(u64::from(leading), 5);
    // 64 does not fit into six bits and is written as 0, which is no length.
    bits.put(u64::from(count & 63), 6);
    bits.put(difference >> trailing, count);
}

/// Reads chunks as the format's description has it, not as the writer does it.
#[cfg(test)]
pub(super) struct Reader {
    bits: Vec<bool>,
    at: usize,
}

#[cfg(test)]
impl Reader {
    pub(super) fn new(chunk: &[u8]) -> Self {
        let bits = chunk.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1 == 1)).collect();
        Self { bits, at: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> u64 {
        let taken = &self.bits[self.at..self.at + count];
        self.at += count;
        taken.iter().fold(0, |value, bit| value << 1 | u64::from(*bit))
    }

    pub(super) fn ones(&mut self, most: usize) -> usize {
        (0..most).take_while(|_| self.take(1) == 1).count()
    }

    /// Reads in which bits a value differs from the one before, whose place and length are told.
    pub(super) fn difference(&mut self, leading: &mut u64, length: &mut u64) -> u64 {
        if self.take(1) == 0 {
            return 0;
        }
        if self.take(1) == 1 {
            *leading = self.take(5);
            *length = match self.take(6) {
                0 => 64,
                length => length,
            };
        }
        self.take(*length as usize) << (64 - *leading - *length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Reader {
        fn varint(&mut self) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = self.take(8);
                value |= (byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
    }

    fn decode(chunk: &[u8]) -> Vec<(i64, u64)> {
        let mut reader = Reader::new(chunk);
        let count = reader.take(16);
        let (mut at_ms, mut step, mut value) = (0_i64, 0_i64, 0_u64);
        let (mut leading, mut length) = (0, 0);
        let mut points = Vec::new();
        for place in 0..count {
            match place {
                0 => {
                    let coded = reader.varint();
                    at_ms = (coded >> 1) as i64 ^ -((coded & 1) as i64);
                    value = reader.take(64);
                    points.push((at_ms, value));
                    continue;
                }
                1 => step = reader.varint() as i64,
                _ => {
                    let size = [0, 14, 17, 20, 64][reader.ones(4)];
                    let mut change = reader.take(size) as i64;
                    if size > 0 && size < 64 && change > 1 << (size - 1) {
                        change -= 1 << size;
                    }
                    step += change;
                }
            }
            at_ms += step;
            value ^= reader.difference(&mut leading, &mut length);
            points.push((at_ms, value));
        }
        points
    }

    #[test]
    fn chunks_have_what_was_written() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let mut at_ms = random.i64(-1_000_000..2_000_000_000_000);
            let points: Vec<(i64, f64)> = (0..random.usize(1..130))
                .map(|_| {
                    at_ms += [15_000, 15_001, 1, 8_192, 70_000, 600_000, 1 << 40][random.usize(0..7)];
                    let value = match random.u8(0..5) {
                        0 => 1.5,
                        1 => f64::from(random.u8(..)),
                        2 => f64::from_bits(0x7ff0_0000_0000_0002),
                        3 => -1.5,
                        _ => f64::from_bits(random.u64(..)),
                    };
                    (at_ms, value)
                })
                .collect();
            let expected: Vec<(i64, u64)> = points.iter().map(|(at_ms, value)| (*at_ms, value.to_bits())).collect();
            assert_eq!(decode(&encode(&points)), expected);
        }
    }
}
