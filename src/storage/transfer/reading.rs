//! Reading a long OpenMetrics text in parts, with the grammar of [`crate::exposition`] and places counted over the whole.
//!
//! A part ends with a line break, which is where every entry ends: OpenMetrics has no line break within quotes.

use crate::env::disk::DiskFile;
use crate::exposition::{Dialect, Entry, ParseError, Parser};
use crate::model::metadata::MetricType;
use crate::storage::progress::Progress;
use std::io;

/// Bytes that are parsed at once.
const PART_BYTES: usize = 1 << 20;
/// The longest line, and the most that is held.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Reads a file of the disk from its beginning.
pub(super) struct FileReader {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) length: u64,
    pub(super) at: u64,
}

impl io::Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.length - self.at).unwrap_or(usize::MAX).min(out.len());
        let Some(part) = out.get_mut(..length) else { return Ok(0) };
        self.file.read_at(part, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Why reading ended early.
pub(super) enum ReadError<E> {
    /// The text does not follow the grammar; line and column are those of the whole text.
    Text(ParseError),
    /// The text could not be read.
    Io(io::Error),
    /// The receiver does not want to go on.
    Receiver(E),
}

/// A text that is being read.
pub(super) struct Reading<'a> {
    input: &'a mut dyn io::Read,
    buffer: Vec<u8>,
    /// Lines before the buffer.
    lines: usize,
    ended: bool,
    kind: MetricType,
}

impl<'a> Reading<'a> {
    pub(super) fn new(input: &'a mut dyn io::Read) -> Self {
        Self { input, buffer: Vec::new(), lines: 0, ended: false, kind: MetricType::Unknown }
    }

    /// Adds text to the buffer, about one part.
    fn fill(&mut self, progress: &Progress) -> io::Result<()> {
        let wanted = self.buffer.len() + PART_BYTES;
        while !self.ended && self.buffer.len() < wanted {
            let from = self.buffer.len();
            self.buffer.resize(wanted, 0);
            let read = match self.input.read(&mut self.buffer[from..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
                Err(error) => return Err(error),
                Ok(0) => None,
                Ok(read) => Some(read),
            };
            self.buffer.truncate(from + read.unwrap_or(0));
            self.ended = read.is_none();
            progress.advance(read.unwrap_or(0) as u64);
        }
        Ok(())
    }

    /// Forgets the first bytes of the buffer.
    fn pass(&mut self, bytes: usize) {
        self.lines += memchr::memchr_iter(b'\n', &self.buffer[..bytes]).count();
        self.buffer.drain(..bytes);
    }

    fn placed(&self, mut error: ParseError) -> ParseError {
        error.line += self.lines;
        error
    }

    /// Gives each entry to `each`: the parser that stands on it, what it is, and the text of a sample's timestamp if it has one.
    pub(super) fn entries<E>(
        mut self,
        progress: &Progress,
        mut each: impl FnMut(&Parser<'_>, Entry, Option<&[u8]>) -> Result<(), Refused<E>>,
    ) -> Result<(), ReadError<E>> {
        loop {
            self.fill(progress).map_err(ReadError::Io)?;
            let usable = if self.ended { Some(self.buffer.len()) } else { memchr::memrchr(b'\n', &self.buffer).map(|at| at + 1) };
            let Some(usable) = usable else {
                self.check_length(0)?;
                continue;
            };
            let mut parser = Parser::resume(&self.buffer[..usable], Dialect::OpenMetrics, 0, self.kind);
            while self.ended || parser.position() < usable {
                match parser.next() {
                    Ok(Some(entry)) => {
                        let is_timed = entry == Entry::Sample && parser.timestamp_ms().is_some();
                        let behind =
                            is_timed.then(|| self.buffer.get(parser.value_span().end..parser.position()).unwrap_or_default());
                        let timestamp = behind.and_then(|text| text.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()));
                        match each(&parser, entry, timestamp) {
                            Ok(()) => {}
                            Err(Refused::Text(message)) => return Err(ReadError::Text(self.placed(parser.refuse(message)))),
                            Err(Refused::Receiver(error)) => return Err(ReadError::Receiver(error)),
                        }
                    }
                    Ok(None) => return self.finish(usable, progress),
                    Err(error) => return Err(ReadError::Text(self.placed(error))),
                }
            }
            self.kind = parser.metric_type();
            self.check_length(usable)?;
            self.pass(usable);
        }
    }

    fn check_length<E>(&self, passed: usize) -> Result<(), ReadError<E>> {
        if self.buffer.len() - passed <= LINE_BYTES_MAX {
            return Ok(());
        }
        let message = format!("a line is longer than {LINE_BYTES_MAX} bytes");
        Err(ReadError::Text(self.placed(ParseError::new(&self.buffer, passed, message))))
    }

    /// Behind `# EOF` nothing may follow.
    fn finish<E>(mut self, usable: usize, progress: &Progress) -> Result<(), ReadError<E>> {
        if self.buffer.len() == usable {
            self.fill(progress).map_err(ReadError::Io)?;
        }
        if self.buffer.len() > usable {
            let error = ParseError::new(&self.buffer, usable, "unexpected data after # EOF".to_owned());
            return Err(ReadError::Text(self.placed(error)));
        }
        Ok(())
    }
}

/// Why a sample is not taken.
pub(super) enum Refused<E> {
    /// The text is wrong there.
    Text(String),
    /// Something else failed.
    Receiver(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Dripping<'a>(&'a [u8]);

    impl io::Read for Dripping<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(out.len()).min(70_001);
            let (now, later) = self.0.split_at(count);
            out[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        let mut input = Dripping(text.as_bytes());
        let read = Reading::new(&mut input).entries(&Progress::default(), |parser, entry, timestamp| {
            if entry != Entry::Sample {
                return Ok(());
            }
            let timestamp = timestamp.ok_or_else(|| Refused::<()>::Text("no time".to_owned()))?;
            found.push((String::from_utf8_lossy(parser.series()).into_owned(), String::from_utf8_lossy(timestamp).into_owned()));
            Ok(())
        });
        match read {
            Ok(()) => Ok(found),
            Err(ReadError::Text(error)) => Err(format!("{}:{}: {}", error.line, error.column, error.message)),
            Err(ReadError::Io(_) | ReadError::Receiver(())) => Err("other".to_owned()),
        }
    }

    #[test]
    fn parts_do_not_show() {
        let line = |i: usize| format!("m{{a=\"line\\nbreak {i}\"}} {i} {i}.5 # {{x=\"y\"}} 1 2\n");
        let mut text: String = (0..60_000).map(line).collect();
        assert!(text.len() > 2 * PART_BYTES);
        text.push_str("# EOF\n");
        let found = read(&text).unwrap();
        assert_eq!(found.len(), 60_000);
        assert_eq!(found[59_999], ("m{a=\"line\\nbreak 59999\"}".to_owned(), "59999.5".to_owned()));
        let bad = text.replace(" 59000 59000.5", " x 59000.5");
        assert!(read(&bad).unwrap_err().starts_with("59001:"), "{:?}", read(&bad));
        let without = text.replace("59001 59001.5 #", "59001 #");
        assert!(read(&without).unwrap_err().contains("no time"));
    }

    #[test]
    fn ends_are_checked() {
        assert_eq!(read("a 1 2\n# EOF\n").map(|found| found.len()), Ok(1));
        assert!(read("a 1 2\n").unwrap_err().contains("data does not end with # EOF"));
        assert!(read("a 1 2\n# EOF\na 1 2\n").unwrap_err().contains("unexpected data after # EOF"));
        assert!(read("").unwrap_err().contains("data does not end with # EOF"));
    }
}
