//! What a query did, node by node: the tree that `explain` shows.
//!
//! Nodes are noted as they are evaluated, so a node that a rewrite made needless is missing, and one that was evaluated at a
//! single step for all says so.

use std::time::Duration;

/// One evaluated node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The expression, as it is printed.
    pub expr: String,
    /// How it was carried out, in a word: `streamed`, `once for all steps`, `as written`.
    pub how: &'static str,
    /// Steps it was evaluated at.
    pub steps: usize,
    /// Series it gave.
    pub series: usize,
    /// Series that were read from the store for it, not counting its parts.
    pub series_read: u64,
    /// Samples that were read from the store for it, not counting its parts.
    pub samples_read: u64,
    /// Time it took, its parts included.
    pub took: Duration,
    /// Its parts, in the order of their evaluation.
    pub parts: Vec<Self>,
}

/// Nodes under evaluation.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    open: Vec<(Node, Duration)>,
    done: Vec<Node>,
}

impl Recorder {
    pub(super) fn open(&mut self, node: Node, now: Duration) {
        self.open.push((node, now));
    }

    /// Notes samples read by the innermost node.
    pub(super) fn read(&mut self, series: u64, samples: u64) {
        if let Some((node, _)) = self.open.last_mut() {
            node.series_read += series;
            node.samples_read += samples;
        }
    }

    /// Says how the innermost node is carried out.
    pub(super) fn how(&mut self, how: &'static str) {
        if let Some((node, _)) = self.open.last_mut() {
            node.how = how;
        }
    }

    pub(super) fn close(&mut self, series: usize, now: Duration) {
        let Some((mut node, since)) = self.open.pop() else { return };
        node.series = series;
        node.took = now.saturating_sub(since);
        match self.open.last_mut() {
            Some((parent, _)) => parent.parts.push(node),
            None => self.done.push(node),
        }
    }

    /// Returns the root.
    pub(super) fn finish(mut self) -> Option<Node> {
        self.done.pop()
    }
}
