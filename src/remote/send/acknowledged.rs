//! How far the log was acknowledged: shards are done with samples in any order, the place to go on from is behind the last of
//! which everything before is done.

use crate::storage::follow::LogPosition;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A piece of the log that was read at once.
#[derive(Debug)]
struct Piece {
    number: u64,
    /// Samples that are on their way.
    left: u64,
    /// Where the log stood behind it.
    end: LogPosition,
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Piece>,
    next: u64,
    done_to: LogPosition,
}

/// What is on its way.
#[derive(Debug)]
pub(super) struct Acknowledged(Mutex<State>);

impl Acknowledged {
    /// Begins at a place.
    pub(super) const fn from(position: LogPosition) -> Self {
        Self(Mutex::new(State { pieces: VecDeque::new(), next: 0, done_to: position }))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state);
        while let Some(first) = state.pieces.front().filter(|piece| piece.left == 0) {
            state.done_to = first.end;
            state.pieces.pop_front();
        }
        changed
    }

    /// Notes a piece with so many samples, of which none is done; returns its number.
    pub(super) fn begin(&self, samples: u64, end: LogPosition) -> u64 {
        self.change(|state| {
            let number = state.next;
            state.next += 1;
            state.pieces.push_back(Piece { number, left: samples, end });
            number
        })
    }

    /// So many samples of a piece were sent, or will never be.
    pub(super) fn done(&self, piece: u64, samples: u64) {
        self.change(|state| {
            let first = state.pieces.front().map_or(piece, |piece| piece.number);
            let place = usize::try_from(piece.saturating_sub(first)).unwrap_or(usize::MAX);
            if let Some(piece) = state.pieces.get_mut(place) {
                piece.left = piece.left.saturating_sub(samples);
            }
        });
    }

    /// Returns the place to go on from.
    pub(super) fn position(&self) -> LogPosition {
        self.change(|state| state.done_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_out_of_order_waits_for_the_rest() {
        let at = |offset| LogPosition { segment: 1, created_ms: 0, offset };
        let acknowledged = Acknowledged::from(at(0));
        let pieces: Vec<u64> =
            [(2, 10), (0, 20), (3, 30), (1, 40)].map(|(samples, end)| acknowledged.begin(samples, at(end))).into();
        acknowledged.done(pieces[2], 3);
        acknowledged.done(pieces[0], 1);
        assert_eq!(acknowledged.position(), at(0));
        acknowledged.done(pieces[0], 1);
        assert_eq!(acknowledged.position(), at(30));
        acknowledged.done(pieces[3], 1);
        assert_eq!(acknowledged.position(), at(40));
        assert_eq!(acknowledged.begin(0, at(50)), 4);
        assert_eq!(acknowledged.position(), at(50));
    }
}
