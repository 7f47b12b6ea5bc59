//! One file, line by line.
//!
//! Takes a plain file, which may grow meanwhile, or a compressed one; gives the places of whole lines in a reused buffer. Promises
//! that a line without its end is never given, that what a writer takes back of it is forgotten, and that memory is bounded
//! by the longest line.

use super::unpack::unpack;
use crate::config::Compression;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A place in a file, and what was read ahead of it.
pub(super) struct Cursor {
    source: Source,
    buffer: Vec<u8>,
    /// Which bytes of the buffer were read and not given out.
    held: Range<usize>,
    /// How far into the file's text they begin.
    at: u64,
    /// They belong to a line that is too long.
    is_passing_over: bool,
}

/// What a step comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole line with its newline, at this place in the buffer.
    Line(Range<usize>),
    /// A line that begins here is too long, and is passed over.
    TooLong,
    /// Nothing is there but so many bytes of a line without an end.
    End { torn: usize },
}

enum Source {
    Plain(File),
    Packed(Box<dyn Read + Send>),
}

/// Longest line that is given: twice what a watch accepts of an object, whose texts are written as they came.
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

impl Cursor {
    pub(super) fn open(path: &Path, compression: Compression) -> io::Result<Self> {
        let file = File::open(path)?;
        let source = match compression {
            Compression::None => Source::Plain(file),
            Compression::Gzip | Compression::Zstd => Source::Packed(unpack(file, compression)?),
        };
        Ok(Self { source, buffer: Vec::new(), held: 0..0, at: 0, is_passing_over: false })
    }

    /// Goes so far into the text, from its begin.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        match &mut self.source {
            Source::Plain(_) => {}
            Source::Packed(reader) => {
                io::copy(&mut reader.take(offset), &mut io::sink())?;
            }
        }
        self.at = offset;
        Ok(())
    }

    /// How far into the text the next line begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn bytes(&self, line: Range<usize>) -> &[u8] {
        &self.buffer[line]
    }

    /// How much of what was given out the file holds no more, as its writer has moved it.
    pub(super) fn taken_back(&self) -> u64 {
        match &self.source {
            Source::Plain(file) => file.metadata().map_or(0, |metadata| self.at.saturating_sub(metadata.len())),
            Source::Packed(_) => 0,
        }
    }

    /// The next line. After the end there may be more at the next call, if the file has grown.
    pub(super) fn next(&mut self) -> io::Result<Step> {
        let mut seen = 0;
        loop {
            let held = &self.buffer[self.held.clone()];
            if let Some(newline) = memchr::memchr(b'\n', &held[seen..]) {
                let line = self.held.start..self.held.start + seen + newline + 1;
                self.pass(line.len());
                seen = 0;
                if !mem::take(&mut self.is_passing_over) {
                    return Ok(Step::Line(line));
                }
                continue;
            }
            seen = held.len();
            if seen > LINE_BYTES_MAX || self.is_passing_over {
                self.pass(seen);
                seen = 0;
                if !mem::replace(&mut self.is_passing_over, true) {
                    return Ok(Step::TooLong);
                }
            }
            if self.read_more()? == 0 {
                return Ok(Step::End { torn: self.forget_torn() });
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.held.start += bytes;
        self.at += bytes as u64;
    }

    fn read_more(&mut self) -> io::Result<usize> {
        if self.held.start > 0 {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
        if self.buffer.len() - self.held.end < CHUNK_BYTES {
            self.buffer.resize(self.held.end + CHUNK_BYTES, 0);
        }
        let room = &mut self.buffer[self.held.end..];
        let count = loop {
            let read = match &mut self.source {
                Source::Plain(file) => file.read_at(room, self.at + self.held.len() as u64),
                Source::Packed(reader) => reader.read(room),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.held.end += count;
        Ok(count)
    }

    /// Whoever writes may cut a line that has no end, and write another one there: it is read again.
    fn forget_torn(&mut self) -> usize {
        let torn = self.held.len();
        if let Source::Plain(_) = self.source {
            self.held.end = self.held.start;
        }
        torn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;

    /// What comes until the end, as text.
    fn steps(cursor: &mut Cursor) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            match cursor.next().unwrap() {
                Step::Line(line) => told.push(String::from_utf8_lossy(cursor.bytes(line)).into_owned()),
                Step::TooLong => told.push("too long".to_owned()),
                Step::End { torn } => {
                    told.push(format!("torn {torn}"));
                    return told;
                }
            }
        }
    }

    #[test]
    fn what_a_writer_takes_back_of_a_torn_line_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        let mut cursor = Cursor::open(&path, Compression::None).unwrap();
        assert_eq!(steps(&mut cursor), ["one\n", "torn 2"]);
        assert_eq!(steps(&mut cursor), ["torn 2"]);
        file.set_len(4).unwrap();
        assert_eq!(steps(&mut cursor), ["torn 0"]);
        file.write_all(b"three\nfour\n").unwrap();
        assert_eq!(steps(&mut cursor), ["three\n", "four\n", "torn 0"]);
        assert_eq!((cursor.at(), cursor.taken_back()), (15, 0));
        file.set_len(10).unwrap();
        assert_eq!(cursor.taken_back(), 5);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_in_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        (0..3 * LINE_BYTES_MAX / CHUNK_BYTES).for_each(|_| file.write_all(&vec![b'x'; CHUNK_BYTES]).unwrap());
        file.write_all(b"\ntwo\n").unwrap();
        let mut cursor = Cursor::open(&path, Compression::None).unwrap();
        assert_eq!(steps(&mut cursor), ["one\n", "too long", "two\n", "torn 0"]);
        assert!(cursor.buffer.capacity() < 3 * LINE_BYTES_MAX, "{}", cursor.buffer.capacity());
    }
}
