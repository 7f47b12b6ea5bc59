//! Splits the bytes of a watch into events, however they are cut into reads.
//!
//! Takes a reader whose reads may time out; gives each event once: a line, without its newline, unless a server writes several
//! events into one line or one event into several. Promises that a timeout loses no byte, that nothing is passed over without
//! being said, that a line over [`LINE_BYTES_MAX`] is passed over without being kept, and that the buffer is small again after
//! a large line. Half an event at the end is an error.

use super::Line;
use super::framing::{Follower, Front, begins_event, front, is_usual};
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
    /// The next event, where it was looked for before it was asked for.
    found: Option<Found>,
    /// Follows the event under way where it goes on over the end of a line, or over the end of what has come.
    follower: Option<Follower>,
    /// Where the last line of the event under way begins.
    line: usize,
    /// Events came in another way than one a line.
    is_odd: bool,
    /// How many lines have come.
    lines: u32,
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
            found: None,
            follower: None,
            line: 0,
            is_odd: false,
            lines: 0,
        }
    }

    /// The next event, or what the next read gave instead. Empty lines are left out.
    ///
    /// # Errors
    ///
    /// As the reader fails, but for timeouts, which are [`Line::Quiet`]; [`io::ErrorKind::UnexpectedEof`] when it ends
    /// within a line.
    ///
    /// # Blocking
    ///
    /// For one read at most, and not at all while the buffer holds a whole event.
    pub fn next_line(&mut self) -> io::Result<Line<'_>> {
        if let Some(found) = self.found.take().or_else(|| self.find()) {
            return Ok(self.show(found));
        }
        let read = match self.read() {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                return Ok(self.give_up_half().unwrap_or_else(|| {
                    self.shrink(BUFFER_BYTES_MIN);
                    Line::Quiet
                }));
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

    /// Whether the buffer holds a whole event, so that the next one comes without a read.
    pub fn is_ready(&mut self) -> bool {
        if self.found.is_none() {
            self.found = self.find();
        }
        self.found.is_some()
    }

    /// How many bytes were read so far.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Takes the next event out of the buffer, if one is there; drops what belongs to a line over the limit.
    fn find(&mut self) -> Option<Found> {
        while let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.searched..self.filled]) {
            let end = self.searched + offset;
            let line = self.start..end;
            if let Some(skipped) = self.skipped.take() {
                self.pass(end + 1);
                return Some(Found::TooLong(skipped + line.len() as u64));
            }
            if line.len() > LINE_BYTES_MAX {
                self.pass(end + 1);
                return Some(Found::TooLong(line.len() as u64));
            }
            if line.is_empty() {
                // What came without the end of its line had one, which came later: following every part of a line costs much.
                self.is_odd = false;
                self.pass(end + 1);
                continue;
            }
            if let Some(found) = self.event_of(line) {
                return Some(found);
            }
        }
        self.searched = self.filled;
        let pending = self.filled - self.start;
        if self.skipped.is_some() || pending > LINE_BYTES_MAX {
            self.skipped = Some(self.skipped.unwrap_or(0) + pending as u64);
            self.pass(self.filled);
        }
        // An event that is whole is not kept waiting for the end of its line.
        let may_be_whole = self.is_odd || self.buffer[self.start..self.filled].ends_with(b"}");
        if may_be_whole && self.skipped.is_none() { self.unended() } else { None }
    }

    /// The first event of a line, or of several that hold it together. `None` where the next line belongs to it too.
    fn event_of(&mut self, line: Range<usize>) -> Option<Found> {
        if self.line > self.start {
            return self.event_of_lines(line);
        }
        self.follower = None;
        let is_checked = self.lines < LINES_CHECKED || self.lines.is_multiple_of(LINES_CHECKED_OF);
        self.lines = self.lines.wrapping_add(1);
        if !is_checked && is_usual(&self.buffer[line.clone()]) {
            self.pass(line.end + 1);
            return Some(Found::Whole(line));
        }
        match front(&self.buffer[line.clone()]) {
            Front::Whole => {
                self.pass(line.end + 1);
                Some(Found::Whole(line))
            }
            Front::Ends(end) => {
                self.is_odd = true;
                self.pass(line.start + end);
                Some(Found::Whole(line.start..line.start + end))
            }
            Front::Begins if self.buffer[line.clone()].trim_ascii().is_empty() => {
                self.pass(line.end + 1);
                None
            }
            Front::Begins => {
                let mut follower = Follower::default();
                follower.follow(&self.buffer[line.clone()]);
                if follower.is_in_string() {
                    self.pass(line.end + 1);
                    return Some(Found::Broken(line.len() as u64));
                }
                self.is_odd = true;
                (self.follower, self.searched, self.line) = (Some(follower), line.end + 1, line.end + 1);
                None
            }
            Front::Broken => {
                self.pass(line.end + 1);
                Some(Found::Broken(line.len() as u64))
            }
        }
    }

    /// The same where the event has begun in an earlier line.
    fn event_of_lines(&mut self, lines: Range<usize>) -> Option<Found> {
        // Whatever broke off before, here begins another.
        if begins_event(&self.buffer[self.line..lines.end]) {
            let broken = self.line - 1 - lines.start;
            self.pass(self.line);
            return Some(Found::Broken(broken as u64));
        }
        let follower = self.follower.as_mut()?;
        let Some(end) = follower.follow(&self.buffer[lines.clone()]) else {
            if follower.is_in_string() {
                self.pass(lines.end + 1);
                return Some(Found::Broken(lines.len() as u64));
            }
            (self.searched, self.line) = (lines.end + 1, lines.end + 1);
            return None;
        };
        Some(self.followed(end))
    }

    /// The event at the front of what has come without the end of its line, once it is whole.
    fn unended(&mut self) -> Option<Found> {
        let pending = self.start..self.filled;
        if !self.buffer[pending.clone()].trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let end = self.follower.get_or_insert_default().follow(&self.buffer[pending])?;
        self.is_odd = true;
        Some(self.followed(end))
    }

    /// The event that was followed over so many bytes.
    fn followed(&mut self, bytes: usize) -> Found {
        let value = self.start..self.start + bytes;
        self.pass(value.end);
        match front(&self.buffer[value.clone()]) {
            Front::Whole => Found::Whole(value),
            Front::Ends(_) | Front::Begins | Front::Broken => Found::Broken(value.len() as u64),
        }
    }

    /// Gives an event up that began in an earlier line and does not go on: it may have broken off there.
    fn give_up_half(&mut self) -> Option<Line<'static>> {
        (self.line > self.start).then(|| {
            let broken = self.filled - self.start;
            self.pass(self.filled);
            Line::Broken(broken as u64)
        })
    }

    /// Everything up to `to` is dealt with.
    fn pass(&mut self, to: usize) {
        (self.start, self.searched, self.line, self.follower) = (to, to, to, None);
    }

    fn show(&mut self, found: Found) -> Line<'_> {
        match found {
            Found::TooLong(bytes) => {
                self.small_lines = 0;
                Line::TooLong(bytes)
            }
            Found::Broken(bytes) => Line::Broken(bytes),
            Found::Whole(line) => {
                self.small_lines = if line.len() > BUFFER_BYTES_KEPT { 0 } else { self.small_lines.saturating_add(1) };
                Line::Whole(self.buffer[line].trim_ascii_end())
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
        if self.skipped.is_none() {
            if self.buffer[self.start..self.filled].trim_ascii().is_empty() {
                return Ok(Line::End);
            }
            if let Some(found) = self.unended() {
                return Ok(self.show(found));
            }
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
            self.line = self.line.saturating_sub(self.start);
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
        self.line = self.line.saturating_sub(self.start);
        self.start = 0;
        self.filled = pending;
        self.small_lines = 0;
    }
}

#[derive(Debug)]
enum Found {
    Whole(Range<usize>),
    TooLong(u64),
    Broken(u64),
}

/// So many lines of a watch are checked to their last byte: all that most watches ever get.
const LINES_CHECKED: u32 = 256;

/// Of a watch with more lines, one in so many still is. All others are looked at for a second event, which costs a fraction.
const LINES_CHECKED_OF: u32 = 64;

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
                Ok(Line::Broken(bytes)) => told.push(format!("broken: {bytes}")),
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
    fn however_a_short_stream_is_cut_the_same_events_come_out() {
        check("", &["end"]);
        check("{}\n", &["{}", "end"]);
        check("{\"a\":1}\n\n \n{\"b\":2}\r\n", &["{\"a\":1}", "{\"b\":2}", "end"]);
        check("\n{\"ü\":1}\n", &["{\"ü\":1}", "end"]);
    }

    #[test]
    fn several_events_in_one_line_and_one_over_several_lines_are_read_as_go_reads_them() {
        check("{\"a\":1}{\"b\":2} {\"c\":3}\n{}\n", &["{\"a\":1}", "{\"b\":2}", " {\"c\":3}", "{}", "end"]);
        check("{\"a\":\n{\"b\":\n[]\n}\n}\n{}\n", &["{\"a\":\n{\"b\":\n[]\n}\n}", "{}", "end"]);
        check("{\"a\":1}{\"b\"\n:2}{}\n", &["{\"a\":1}", "{\"b\"\n:2}", "{}", "end"]);
        check("{\"a\":1}{\"b\":2}", &["{\"a\":1}", "{\"b\":2}", "end"]);
    }

    #[test]
    fn what_is_no_event_is_said_and_hides_none() {
        let event = r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        let check = |text: String, expected: &[&str]| {
            for cut in 0..=text.len() {
                let (told, _) = drain(Lines::new(Cut::at(text.as_bytes(), &[cut])));
                assert_eq!(told, expected, "{text:?} cut at {cut}");
            }
        };
        check(format!("{event}garbage\n{event}\n"), &[event, "broken: 7", event, "end"]);
        check(format!("garbage{event}\n{event}\n"), &["broken: 58", event, "end"]);
        check(event.replace("\"a\"", "garbage") + "\n" + event + "\n", &["broken: 55", event, "end"]);
        // It breaks off in a string, and after a colon, where an object could follow.
        for at in [46, 44] {
            let broken = format!("broken: {at}");
            check(format!("{}\n{event}\n{event}\n", &event[..at]), &[&broken, event, event, "end"]);
        }
    }

    #[test]
    fn of_many_lines_the_usual_ones_are_looked_at_for_a_second_event_only() {
        let event = r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        let many = format!("{event}\n").repeat(LINES_CHECKED as usize);
        let (told, _) = drain(Lines::new(Cut::every(format!("{many}{event}\n{event}{event}\n").as_bytes(), 1000)));
        assert_eq!(told.len(), LINES_CHECKED as usize + 3 + 1);
        assert!(told[..told.len() - 1].iter().all(|line| line == event));
    }

    #[test]
    fn a_whole_event_is_not_kept_waiting_for_the_end_of_its_line_and_half_of_one_is_given_up() {
        let quiet = |text: &str, cuts: &[usize]| {
            drain(Lines::new(Cut::at(text.as_bytes(), cuts).failing_between(io::ErrorKind::TimedOut))).0
        };
        assert_eq!(quiet("{\"a\":1}\n{}\n", &[7]), ["{\"a\":1}", "quiet", "{}", "end"]);
        assert_eq!(quiet("{\"a\":\n1}\n{}\n", &[6]), ["broken: 6", "broken: 2", "{}", "end"]);
    }

    #[test]
    fn an_end_within_an_event_is_a_broken_connection_and_not_an_event() {
        check("{\"a\":1}\n{\"b\":2", &["{\"a\":1}", "UnexpectedEof"]);
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
        let reader = Cut::at(b"{}\n[\nhalf", &[8]).failing_between(io::ErrorKind::ConnectionReset);
        assert_eq!(drain(Lines::new(reader)).0, ["{}", "broken: 1", "ConnectionReset"]);
    }

    #[test]
    fn bytes_without_a_newline_are_progress() {
        let mut lines = Lines::new(Cut::at(b"{}\n", &[1]));
        assert_eq!(lines.next_line().unwrap(), Line::Partial);
        assert!(!lines.is_ready());
        assert_eq!(lines.next_line().unwrap(), Line::Whole(b"{}"));
        assert_eq!(lines.next_line().unwrap(), Line::End);
        assert_eq!(lines.next_line().unwrap(), Line::End);
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over_and_the_next_one_comes() {
        for (length, expected) in
            [(LINE_BYTES_MAX, None), (LINE_BYTES_MAX + 1, Some(16_777_217)), (40_000_000, Some(40_000_000_u64))]
        {
            let mut stream = b"{\"before\":1}\n{\"x\":\"".to_vec();
            stream.resize(stream.len() + length - 8, b'x');
            stream.extend_from_slice(b"\"}\n{\"after\":1}\n");
            let (told, lines) = drain(Lines::new(Cut::every(&stream, 60_000)));
            assert_eq!((told.len(), told[0].as_str(), told[2].as_str()), (4, "{\"before\":1}", "{\"after\":1}"));
            match expected {
                Some(bytes) => assert_eq!(told[1], format!("too long: {bytes}")),
                None => assert_eq!(told[1].len(), length),
            }
            assert!(lines.buffer.len() <= BUFFER_BYTES_MAX, "{} bytes are held", lines.buffer.len());
        }
    }

    #[test]
    fn the_buffer_is_small_again_after_a_large_line() {
        let mut stream = b"{\"x\":\"".to_vec();
        stream.resize(1_000_000, b'x');
        stream.extend_from_slice(b"\"}\n");
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
