//! Reads ahead of hyper, to take addresses as Go's servers do.
//!
//! `curl -g` and old scripts send `/api/v1/query?query=up{job="x"}` as it is. hyper's reader of addresses refuses `"`, `<`, `>`
//! and the like with an empty 400, and one longer than 64 KiB with an empty 414. So the line of each request passes here first:
//! such bytes of its target become `%22`, and in place of one that is too long hyper gets `/`, while the request is answered
//! with what to do instead.
//!
//! A byte that is changed in the wrong place would tear the borders between requests, so this goes by hyper's own reading. A head
//! is handed over up to its first empty line, where no reader can see a later end than hyper; then hyper must tell of the request
//! and the length of its body before the next byte; after that body the next line begins. Where anything is not so (hyper wants
//! more, the body has chunks, HTTP/2), the rest of the connection passes untouched.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

/// The longest target that can be an address for hyper.
const TARGET_MAX: usize = 65_534;
/// A line of this length is not waited for any more.
const LINE_MAX: usize = 2 << 20;
/// Read at once.
const CHUNK: usize = 4096;

/// What hyper and the reader tell each other. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// The request whose head was handed over last, and how long its body is, if that is known.
    begun: Option<Option<u64>>,
    /// Its target was too long.
    too_long: bool,
}

impl Heads {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that hyper has read a head, with the exact length of the body if it has one. Returns whether the target was too long.
    pub(super) fn begun(&self, body: Option<u64>) -> bool {
        let mut told = self.told();
        told.begun = Some(body);
        std::mem::take(&mut told.too_long)
    }

    /// Returns the stream as hyper is to read it.
    pub(super) fn read<S: AsyncRead>(&self, stream: S) -> Reader<S> {
        let stream = stream.take(u64::MAX);
        Reader { stream, heads: self.clone(), phase: Phase::Line, raw: Vec::new(), searched: 0, out: Vec::new() }
    }
}

/// Where in the stream the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the line of a request.
    Line,
    /// In one that is too long, so many bytes of it gone.
    LongLine(usize),
    /// Between that line and the head's end.
    Fields,
    /// Behind a head that hyper has in hand.
    HandedOver,
    /// So many bytes before a body's end.
    Body(u64),
    /// Everything passes.
    Through,
    /// Nothing more is read.
    Over,
}

/// A stream whose request lines can be read by hyper.
#[derive(Debug)]
pub(super) struct Reader<S> {
    /// Its limit is set before each read.
    stream: Take<S>,
    heads: Heads,
    phase: Phase,
    /// Read and not yet looked at.
    raw: Vec<u8>,
    /// So much of `raw` holds no end of a line.
    searched: usize,
    /// Looked at and not yet handed over.
    out: Vec<u8>,
}

impl<S> Reader<S> {
    /// Goes on as far as what was read allows. Returns false where more must be read.
    fn advance(&mut self) -> bool {
        match self.phase {
            Phase::Line => self.line(),
            Phase::LongLine(gone) => self.long_line(gone),
            Phase::Fields => {
                // The line's own end may be the first of the two; both lie in `raw`, see `line`.
                let Some(end) = head_end(&self.raw) else {
                    // What cannot be part of an end any more passes.
                    let passes = self.raw.len().saturating_sub(2);
                    self.out.extend(self.raw.drain(..passes));
                    return passes > 0;
                };
                self.out.extend(self.raw.drain(..end));
                self.heads.told().begun = None;
                self.phase = Phase::HandedOver;
                true
            }
            Phase::HandedOver => {
                self.phase = match self.heads.told().begun.take() {
                    Some(Some(length)) => Phase::Body(length),
                    Some(None) | None => Phase::Through,
                };
                true
            }
            Phase::Body(0) => {
                self.phase = Phase::Line;
                true
            }
            Phase::Body(left) => {
                let passes = self.raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.out.extend(self.raw.drain(..passes));
                self.phase = Phase::Body(left - passes as u64);
                passes > 0
            }
            Phase::Through => {
                self.out.append(&mut self.raw);
                !self.out.is_empty()
            }
            Phase::Over => false,
        }
    }

    fn line(&mut self) -> bool {
        let unseen = self.raw.get(self.searched..).unwrap_or_default();
        let Some(end) = unseen.iter().position(|byte| *byte == b'\n').map(|found| self.searched + found) else {
            self.searched = self.raw.len();
            if self.raw.len() <= TARGET_MAX + 64 {
                return false;
            }
            self.searched = 0;
            // The method and the first slash tell that it is a request at all.
            self.phase = match self.raw.iter().take(32).position(|byte| *byte == b' ') {
                Some(_) => Phase::LongLine(0),
                None => Phase::Through,
            };
            return true;
        };
        self.searched = 0;
        let line = self.raw.get(..end).unwrap_or_default();
        if line.is_empty() || line == b"\r" {
            // Empty lines before a request are skipped by hyper, too.
            self.out.extend(self.raw.drain(..=end));
            return true;
        }
        self.phase = if line.starts_with(b"PRI ") { Phase::Through } else { Phase::Fields };
        match target(line) {
            Some((start, stop)) => {
                let target = line.get(start..stop).unwrap_or_default();
                if !target.iter().any(|byte| must_be_escaped(*byte)) && target.len() <= TARGET_MAX {
                    self.out.extend(self.raw.drain(..end));
                    return true;
                }
                let mut escaped = Vec::with_capacity(target.len() + 64);
                target.iter().for_each(|byte| push_escaped(&mut escaped, *byte));
                if escaped.len() > TARGET_MAX {
                    escaped = b"/".to_vec();
                    self.heads.told().too_long = true;
                }
                self.out.extend_from_slice(line.get(..start).unwrap_or_default());
                self.out.append(&mut escaped);
                self.out.extend_from_slice(line.get(stop..).unwrap_or_default());
                drop(self.raw.drain(..end));
            }
            None => self.out.extend(self.raw.drain(..end)),
        }
        true
    }

    /// Drops a line that is too long, all but its method and version.
    fn long_line(&mut self, gone: usize) -> bool {
        let end = self.raw.iter().position(|byte| *byte == b'\n');
        let method: Vec<u8> = self.raw.iter().copied().take_while(|byte| *byte != b' ').collect();
        match end {
            Some(end) => {
                self.out.extend_from_slice(&method);
                self.out.extend_from_slice(b" / HTTP/1.1\r");
                drop(self.raw.drain(..end));
                self.heads.told().too_long = true;
                self.phase = Phase::Fields;
                true
            }
            None if gone + self.raw.len() > LINE_MAX => {
                self.out.extend_from_slice(&method);
                self.out.extend_from_slice(b" / HTTP/1.1\r\nConnection: close\r\n\r\n");
                self.raw.clear();
                self.heads.told().too_long = true;
                self.phase = Phase::Over;
                true
            }
            None => {
                // The method stays in front.
                let keep = method.len() + 1;
                self.phase = Phase::LongLine(gone + self.raw.len().saturating_sub(keep));
                self.raw.truncate(keep);
                false
            }
        }
    }
}

/// Returns where a head ends that begins with the end of a line: behind the first empty one.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = bytes.get(from..)?.iter().position(|byte| *byte == b'\n') {
        let next = from + found + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => from = next,
        }
    }
    None
}

/// Returns where the target of a request line lies; `None` where it is none of HTTP/1.
fn target(line: &[u8]) -> Option<(usize, usize)> {
    let start = line.iter().position(|byte| *byte == b' ')? + 1;
    let stop = start + line.get(start..)?.iter().position(|byte| *byte == b' ')?;
    line.get(stop + 1..)?.starts_with(b"HTTP/1.").then_some((start, stop))
}

/// Whether a byte of a target is one that hyper refuses, or would read as something else than Go does. What Go refuses, too
/// (control characters), is left to hyper.
const fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..)
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if must_be_escaped(byte) {
        out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    } else {
        out.push(byte);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reader<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.out.is_empty() {
                let count = this.out.len().min(into.remaining());
                into.put_slice(this.out.get(..count).unwrap_or_default());
                drop(this.out.drain(..count));
                return Poll::Ready(Ok(()));
            }
            if this.advance() {
                continue;
            }
            match this.phase {
                // Nobody reads on; what was asked for is answered, and that ends the connection.
                Phase::Over => return Poll::Pending,
                Phase::Through => {
                    this.stream.set_limit(u64::MAX);
                    return Pin::new(&mut this.stream).poll_read(context, into);
                }
                Phase::Body(left) => {
                    this.stream.set_limit(left);
                    ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
                    this.phase = Phase::Body(this.stream.limit());
                    return Poll::Ready(Ok(()));
                }
                Phase::Line | Phase::LongLine(_) | Phase::Fields | Phase::HandedOver => {
                    let mut chunk = [0; CHUNK];
                    let mut part = ReadBuf::new(&mut chunk);
                    this.stream.set_limit(u64::MAX);
                    ready!(Pin::new(&mut this.stream).poll_read(context, &mut part))?;
                    if part.filled().is_empty() {
                        // The end: whatever came last is hyper's.
                        this.phase = Phase::Through;
                        this.out.append(&mut this.raw);
                        if this.out.is_empty() {
                            return Poll::Ready(Ok(()));
                        }
                        continue;
                    }
                    this.raw.extend_from_slice(part.filled());
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Reader<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }
}
