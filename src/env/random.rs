//! Chance: seeded where a test wants to repeat itself, from the system for secrets.

use std::sync::Mutex;

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// Returns 64 random bits, not for secrets.
    fn next_u64(&self) -> u64;

    /// Fills `out` with bytes fit for secrets.
    fn secret(&self, out: &mut [u8]);

    /// Returns a number in `0.0..1.0`.
    fn next_f64(&self) -> f64 {
        const SCALE: f64 = 1.0 / 9_007_199_254_740_992.0;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let high = (self.next_u64() >> 11) as f64;
        high * SCALE
    }

    /// Returns a random UUID (version 4) as text.
    fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.secret(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// The system's chance.
#[derive(Debug)]
pub struct SystemRandom {
    fast: Mutex<fastrand::Rng>,
}

impl SystemRandom {
    /// Seeds itself from the system.
    #[must_use]
    pub fn new() -> Self {
        Self { fast: Mutex::new(fastrand::Rng::new()) }
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn next_u64(&self) -> u64 {
        self.fast.lock().unwrap_or_else(std::sync::PoisonError::into_inner).u64(..)
    }

    fn secret(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(16) {
            // A version 4 UUID holds 122 random bits of the system's generator; hashing two of them leaves no fixed bit.
            let mut hash = <sha2::Sha256 as sha2::Digest>::new();
            sha2::Digest::update(&mut hash, uuid::Uuid::new_v4().as_bytes());
            sha2::Digest::update(&mut hash, uuid::Uuid::new_v4().as_bytes());
            let digest = sha2::Digest::finalize(hash);
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }
}

/// Chance that repeats itself from its seed.
#[derive(Debug)]
pub struct SeededRandom {
    rng: Mutex<fastrand::Rng>,
}

impl SeededRandom {
    /// Starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).u64(..)
    }

    fn secret(&self, out: &mut [u8]) {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(out);
    }
}
