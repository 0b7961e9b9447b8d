//! Many small growing byte streams in one allocation: chains of chunks, so that a stream of twenty bytes costs
//! twenty-four and no call of the allocator.

const PAYLOAD: usize = 20;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Chunk {
    bytes: [u8; PAYLOAD],
    next: u32,
}

/// One stream: its first and last chunk and the bytes used in the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    first: u32,
    last: u32,
    used: u8,
}

impl Stream {
    /// A stream without bytes.
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, used: 0 };

    /// Returns whether nothing was written.
    pub(crate) const fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// The chunks of all streams of one owner.
#[derive(Debug)]
pub(crate) struct Chunks {
    chunks: Vec<Chunk>,
}

impl Chunks {
    /// Returns no chunks.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Appends bytes to a stream.
    pub(crate) fn push(&mut self, stream: &mut Stream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if stream.first == NONE || usize::from(stream.used) == PAYLOAD {
                self.extend(stream);
            }
            let used = usize::from(stream.used);
            let taken = bytes.len().min(PAYLOAD - used);
            let (now, later) = bytes.split_at(taken);
            self.chunks[stream.last as usize].bytes[used..used + taken].copy_from_slice(now);
            stream.used += taken as u8;
            bytes = later;
        }
    }

    /// Appends the `count` lowest bytes of `word`, 8 at most: one store where the last chunk has room for all eight.
    #[inline]
    pub(crate) fn push_word(&mut self, stream: &mut Stream, word: u64, count: u32) {
        let (used, bytes) = (usize::from(stream.used), word.to_le_bytes());
        // What lies behind `used` is never read.
        match self.chunks.get_mut(stream.last as usize).and_then(|chunk| chunk.bytes.get_mut(used..used + bytes.len())) {
            Some(room) => {
                room.copy_from_slice(&bytes);
                stream.used += count as u8;
            }
            None => self.push(stream, &bytes[..count as usize]),
        }
    }

    fn extend(&mut self, stream: &mut Stream) {
        if self.chunks.len() == self.chunks.capacity() {
            // Doubling would leave a third of the memory empty on average; a quarter more costs little copying.
            self.chunks.reserve_exact((self.chunks.len() / 4).max(8));
        }
        let fresh = self.chunks.len() as u32;
        self.chunks.push(Chunk { bytes: [0; PAYLOAD], next: NONE });
        if stream.first == NONE {
            stream.first = fresh;
        } else {
            self.chunks[stream.last as usize].next = fresh;
        }
        stream.last = fresh;
        stream.used = 0;
    }

    /// Copies a stream's bytes to the end of `out`.
    pub(crate) fn copy(&self, stream: &Stream, out: &mut Vec<u8>) {
        let mut place = stream.first;
        while place != NONE {
            let chunk = &self.chunks[place as usize];
            // The whole chunk: a copy of a known length is two moves and no call.
            out.extend_from_slice(&chunk.bytes);
            if place == stream.last {
                out.truncate(out.len() - (PAYLOAD - usize::from(stream.used)));
                return;
            }
            place = chunk.next;
        }
    }

    /// Returns the bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_stay_apart(writes in proptest::collection::vec((0_usize..4, proptest::collection::vec(any::<u8>(), 0..50), any::<bool>()), 0..40)) {
            let mut chunks = Chunks::new();
            let mut streams = [Stream::EMPTY; 4];
            let mut expected: [Vec<u8>; 4] = Default::default();
            for (which, bytes, as_word) in writes {
                if as_word {
                    let word = bytes.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                    let count = bytes.len().min(8);
                    chunks.push_word(&mut streams[which], word, count as u32);
                    expected[which].extend_from_slice(&bytes[..count]);
                    continue;
                }
                chunks.push(&mut streams[which], &bytes);
                expected[which].extend_from_slice(&bytes);
            }
            for (stream, expected) in streams.iter().zip(&expected) {
                let mut out = Vec::new();
                chunks.copy(stream, &mut out);
                prop_assert_eq!(&out, expected);
                prop_assert_eq!(stream.is_empty(), expected.is_empty());
            }
        }
    }
}
