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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::chunk_reader::{Room, floats};

    fn decode(chunk: &[u8]) -> Vec<(i64, u64)> {
        let mut points = Vec::new();
        let read = floats(chunk, &mut Room(1 << 20), &mut |at_ms, value| points.push((at_ms, value.to_bits())));
        assert_eq!(read, Ok(()));
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
