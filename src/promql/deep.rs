//! Room for walks over high syntax trees.
//!
//! `1 + 1 + 1 + ...` is a tree as high as it is long, and generators write such sums. Whoever walks down an operation's
//! sides does it in here, where the stack grows by a piece of the heap when little of it is left. This is the only file
//! that names the crate for it.

/// What one step down a tree needs at most, in builds without optimization, too.
const LEFT_BYTES: usize = 256 << 10;
/// By how much the stack grows.
const PIECE_BYTES: usize = 4 << 20;

/// Runs `step` where there is room for it.
pub fn deep<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEFT_BYTES, PIECE_BYTES, step)
}
