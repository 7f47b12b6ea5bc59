//! Splits the bytes of a watch into lines, however they are cut into reads.
//!
//! Takes a reader whose reads may time out; gives each line once, without its newline. Promises that a timeout loses no
//! byte, that a line over [`LINE_BYTES_MAX`] is passed over without being kept, and that the buffer is small again after
//! a large line. A server ends every event with a newline, so bytes without one at the end are half an event: an error.

use super::Line;
use std::io::{self, Read};
use std::ops::Range;

/// Longest accepted line. etcd refuses objects above 1.5 MiB by default; the rest is room for JSON escapes.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The lines of a reader.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    /// Always written to its end; only `start..filled` means something.
    buffer: Vec<u8>,
    /// Where the line under way begins.
    start: usize,
    /// Up to here there is no newline in the line under way.
    searched: usize,
    /// Up to here the buffer holds received bytes.
    filled: usize,
    /// The last read left no room, so that a larger buffer saves reads.
    was_filled: bool,
    /// How much of a line over the limit was passed over; `None` outside of one.
    skipped: Option<u64>,
    /// How many lines in a row would have fitted into a small buffer.
    small_lines: u32,
    received: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Reads nothing yet.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: vec![0; BUFFER_BYTES_MIN],
            start: 0,
            searched: 0,
            filled: 0,
            was_filled: false,
            skipped: None,
            small_lines: 0,
            received: 0,
            ended: false,
        }
    }

    /// The next line, or what the next read gave instead. Empty lines are left out.
    ///
    /// # Errors
    ///
    /// As the reader fails, but for timeouts, which are [`Line::Quiet`]; [`io::ErrorKind::UnexpectedEof`] when it ends
    /// within a line.
    ///
    /// # Blocking
    ///
    /// For one read at most, and not at all while the buffer holds a whole line.
    pub fn next_line(&mut self) -> io::Result<Line<'_>> {
        if let Some(found) = self.find() {
            return Ok(self.show(found));
        }
        let read = match self.read() {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                self.shrink(BUFFER_BYTES_MIN);
                return Ok(Line::Quiet);
            }
            Err(error) => return Err(error),
        };
        if read == 0 {
            return self.end();
        }
        match self.find() {
            Some(found) => Ok(self.show(found)),
            None => Ok(Line::Partial),
        }
    }

    /// Whether the buffer holds the end of a line, so that the next line comes without a read.
    pub fn is_ready(&mut self) -> bool {
        let newline = memchr::memchr(b'\n', &self.buffer[self.searched..self.filled]);
        self.searched = newline.map_or(self.filled, |offset| self.searched + offset);
        // Newlines alone are no line.
        newline.is_some_and(|_| self.searched > self.start || self.skipped.is_some())
    }

    /// How many bytes were read so far.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Takes the next whole line out of the buffer, if one is there; drops what belongs to a line over the limit.
    fn find(&mut self) -> Option<Found> {
        while let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.searched..self.filled]) {
            let line = self.start..self.searched + offset;
            self.start = line.end + 1;
            self.searched = self.start;
            if let Some(skipped) = self.skipped.take() {
                return Some(Found::TooLong(skipped + line.len() as u64));
            }
            if line.len() > LINE_BYTES_MAX {
                return Some(Found::TooLong(line.len() as u64));
            }
            if !line.is_empty() {
                return Some(Found::Whole(line));
            }
        }
        self.searched = self.filled;
        let pending = self.filled - self.start;
        if self.skipped.is_some() || pending > LINE_BYTES_MAX {
            self.skipped = Some(self.skipped.unwrap_or(0) + pending as u64);
            self.start = self.filled;
        }
        None
    }

    fn show(&mut self, found: Found) -> Line<'_> {
        match found {
            Found::TooLong(bytes) => {
                self.small_lines = 0;
                Line::TooLong(bytes)
            }
            Found::Whole(line) => {
                self.small_lines = if line.len() > BUFFER_BYTES_KEPT { 0 } else { self.small_lines.saturating_add(1) };
                Line::Whole(&self.buffer[line])
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        self.make_room();
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    self.was_filled = self.filled == self.buffer.len();
                    self.received += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn end(&mut self) -> io::Result<Line<'_>> {
        self.ended = true;
        if self.skipped.is_none() && self.start == self.filled {
            return Ok(Line::End);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended within a line"))
    }

    /// Moves the line under way to the front, and doubles the buffer when that line takes more than half of it or bytes come
    /// faster than they fit.
    fn make_room(&mut self) {
        if self.small_lines >= SMALL_LINES_TO_SHRINK {
            self.shrink(BUFFER_BYTES_KEPT);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        let is_busy = std::mem::take(&mut self.was_filled) && self.buffer.len() < BUFFER_BYTES_BUSY;
        if is_busy || self.filled > self.buffer.len() / 2 {
            let doubled = (self.buffer.len() * 2).min(BUFFER_BYTES_MAX);
            self.buffer.resize(doubled, 0);
        }
        assert!(self.filled < self.buffer.len(), "a line that fills the largest buffer is over the limit and was dropped");
    }

    /// Gives the memory of larger lines back when the buffer has more than `kept` bytes. The line under way stays.
    fn shrink(&mut self, kept: usize) {
        let pending = self.filled - self.start;
        if self.buffer.len() <= kept || pending > BUFFER_BYTES_MIN / 2 {
            return;
        }
        let mut small = vec![0; BUFFER_BYTES_MIN];
        small[..pending].copy_from_slice(&self.buffer[self.start..self.filled]);
        self.buffer = small;
        self.searched -= self.start;
        self.start = 0;
        self.filled = pending;
        self.small_lines = 0;
    }
}

enum Found {
    Whole(Range<usize>),
    TooLong(u64),
}

/// Where a buffer begins: most idle watches never need more, and there may be thousands of them.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

/// Where a buffer grows to while bytes flow: what the connection gives at once, and a line under way.
const BUFFER_BYTES_BUSY: usize = 32 * 1024;

/// A buffer up to this size is not worth giving back while lines come; a quiet watch gives back all it can.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

/// Room for the longest line, its newline, and a read behind it.
const BUFFER_BYTES_MAX: usize = LINE_BYTES_MAX + BUFFER_BYTES_KEPT;

/// After so many small lines a large buffer is given back. A watch of large objects keeps its buffer.
const SMALL_LINES_TO_SHRINK: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::transcript::{Cut, Transcript};

    /// Everything that came, with one word for each line that is no whole one; `Partial` is left out.
    fn drain(mut lines: Lines<Cut>) -> (Vec<String>, Lines<Cut>) {
        let mut told = Vec::new();
        loop {
            let (is_ready, before) = (lines.is_ready(), lines.bytes_received());
            match lines.next_line() {
                Ok(Line::Whole(line)) => told.push(String::from_utf8_lossy(line).into_owned()),
                Ok(Line::TooLong(bytes)) => told.push(format!("too long: {bytes}")),
                Ok(Line::Partial) => {}
                Ok(Line::Quiet) => told.push("quiet".to_owned()),
                Ok(Line::End) => told.push("end".to_owned()),
                Err(error) => told.push(format!("{:?}", error.kind())),
            }
            assert!(!is_ready || lines.bytes_received() == before, "a line that is ready comes without a read");
            if matches!(told.last().map(String::as_str), Some("end" | "UnexpectedEof" | "ConnectionReset")) {
                return (told, lines);
            }
        }
    }

    fn check(text: &str, expected: &[&str]) {
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let (told, lines) = drain(Lines::new(Cut::at(bytes, &[first, second])));
                assert_eq!(told, expected, "{text:?} cut at {first} and {second}");
                assert_eq!(lines.bytes_received(), bytes.len() as u64);
            }
        }
    }

    #[test]
    fn however_a_short_stream_is_cut_the_same_lines_come_out() {
        check("", &["end"]);
        check("a\n", &["a", "end"]);
        check("{\"a\":1}\n\n\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}", "end"]);
        check("\nü\n", &["ü", "end"]);
    }

    #[test]
    fn an_end_within_a_line_is_a_broken_connection_and_not_an_event() {
        check("{\"a\":1}\n{\"b\":2}", &["{\"a\":1}", "UnexpectedEof"]);
        check("x", &["UnexpectedEof"]);
    }

    #[test]
    fn recorded_watches_give_the_same_lines_however_they_are_cut() {
        for name in ["watch-from-rv", "watch-list-streaming-metadata-only", "watch-with-bookmarks", "server-1.20/watch-no-rv"] {
            let body = Transcript::golden(name).body;
            let mut expected: Vec<String> = std::str::from_utf8(&body).unwrap().lines().map(str::to_owned).collect();
            assert!(expected.len() > 2, "{name} has lines");
            expected.push("end".to_owned());
            for seed in 0..200 {
                let (told, _) = drain(Lines::new(Cut::anywhere(&body, seed)));
                assert_eq!(told, expected, "{name}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_quiet_read_loses_no_byte() {
        let reader = Cut::at(b"{\"a\":1}\n{\"b\":2}\n", &[4, 11]).failing_between(io::ErrorKind::TimedOut);
        let (told, _) = drain(Lines::new(reader));
        assert_eq!(told, ["quiet", "{\"a\":1}", "quiet", "{\"b\":2}", "end"]);
        let reader = Cut::at(b"{\"a\":1}\n", &[4]).failing_between(io::ErrorKind::Interrupted);
        assert_eq!(drain(Lines::new(reader)).0, ["{\"a\":1}", "end"]);
    }

    #[test]
    fn a_reset_is_told_after_the_lines_that_came_before_it() {
        let reader = Cut::at(b"a\nb\nhalf", &[8]).failing_between(io::ErrorKind::ConnectionReset);
        assert_eq!(drain(Lines::new(reader)).0, ["a", "b", "ConnectionReset"]);
    }

    #[test]
    fn bytes_without_a_newline_are_progress() {
        let mut lines = Lines::new(Cut::at(b"ab\n", &[1]));
        assert_eq!(lines.next_line().unwrap(), Line::Partial);
        assert!(!lines.is_ready());
        assert_eq!(lines.next_line().unwrap(), Line::Whole(b"ab"));
        assert_eq!(lines.next_line().unwrap(), Line::End);
        assert_eq!(lines.next_line().unwrap(), Line::End);
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over_and_the_next_one_comes() {
        for (length, expected) in
            [(LINE_BYTES_MAX, None), (LINE_BYTES_MAX + 1, Some(16_777_217)), (40_000_000, Some(40_000_000_u64))]
        {
            let mut stream = b"before\n".to_vec();
            stream.resize(stream.len() + length, b'x');
            stream.extend_from_slice(b"\nafter\n");
            let (told, lines) = drain(Lines::new(Cut::every(&stream, 60_000)));
            assert_eq!((told.len(), told[0].as_str(), told[2].as_str()), (4, "before", "after"));
            match expected {
                Some(bytes) => assert_eq!(told[1], format!("too long: {bytes}")),
                None => assert_eq!(told[1].len(), length),
            }
            assert!(lines.buffer.len() <= BUFFER_BYTES_MAX, "{} bytes are held", lines.buffer.len());
        }
    }

    #[test]
    fn the_buffer_is_small_again_after_a_large_line() {
        let mut stream = vec![b'x'; 1_000_000];
        stream.push(b'\n');
        let large = stream.len();
        for _ in 0..=SMALL_LINES_TO_SHRINK {
            stream.extend_from_slice(b"{}\n");
        }
        let cuts: Vec<usize> = (large..stream.len()).step_by(3).collect();
        let (told, lines) = drain(Lines::new(Cut::at(&stream, &cuts)));
        assert_eq!(told.len(), 1 + 33 + 1);
        assert_eq!(lines.buffer.len(), BUFFER_BYTES_MIN);

        for length in [30_000, large] {
            let quiet = Cut::at(&stream[large - length..large], &[]).failing_between(io::ErrorKind::TimedOut);
            let mut lines = Lines::new(quiet);
            while lines.next_line().unwrap() != Line::Quiet {}
            assert_eq!((lines.buffer.len(), lines.bytes_received()), (BUFFER_BYTES_MIN, length as u64), "a quiet watch is small");
        }
    }
}
