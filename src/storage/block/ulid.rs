//! Names of blocks: 48 bits of time, 80 of chance, written in Crockford's base 32 so that names sort by age.

use crate::env::Env;
use std::fmt;

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The name of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ulid(pub(crate) u128);

impl Ulid {
    /// Makes a fresh name, behind the newest one known: what is written later must sort later, also within a millisecond and
    /// after the clock was set back.
    pub(crate) fn fresh(env: &Env, newest: Option<Self>) -> Self {
        let time = u128::from(env.clock.now_ms().max(0) as u64 & 0xffff_ffff_ffff);
        let chance = u128::from(env.random.next_u64()) << 16 | u128::from(env.random.next_u64() & 0xffff);
        let fresh = Self(time << 80 | chance);
        match newest {
            Some(newest) if fresh <= newest => Self(newest.0.saturating_add(1 + (chance >> 48))),
            _ => fresh,
        }
    }

    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 26 {
            return None;
        }
        let mut number = 0_u128;
        for byte in text.bytes() {
            let digit = DIGITS.iter().position(|digit| *digit == byte)?;
            number = number.checked_mul(32)?.checked_add(digit as u128)?;
        }
        Some(Self(number))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..26).rev() {
            let digit = DIGITS[(self.0 >> (5 * place)) as usize & 31];
            write!(f, "{}", char::from(digit))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_names_sort_later() {
        let env = Env::real();
        let mut newest = Ulid::fresh(&env, None);
        for _ in 0..1000 {
            let next = Ulid::fresh(&env, Some(newest));
            assert!(next > newest);
            newest = next;
        }
        let future = Ulid(newest.0 << 1);
        assert!(Ulid::fresh(&env, Some(future)) > future);
    }

    #[test]
    fn names_come_back() {
        for number in [0, 1, u128::MAX, 0x0192_3456_789a_bcde_f012_3456_789a_bcde] {
            let text = Ulid(number).to_string();
            assert_eq!(text.len(), 26);
            assert_eq!(Ulid::parse(&text), Some(Ulid(number)));
        }
        assert_eq!(Ulid(33).to_string(), "00000000000000000000000011");
        assert_eq!(Ulid::parse("short"), None);
        assert_eq!(Ulid::parse("IIIIIIIIIIIIIIIIIIIIIIIIII"), None);
    }
}
