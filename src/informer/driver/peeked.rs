//! A watch of which the beginning was looked at, and is still to come.

use crate::client::{Error, Line, PageReader, PastPage, WatchLines};
use crate::lifecycle::Stop;
use std::collections::VecDeque;
use std::time::Instant;

/// The lines of a watch, those that were looked at first.
pub(super) struct Peeked<'a> {
    lines: Box<dyn WatchLines + 'a>,
    seen: VecDeque<Seen>,
    /// The line that was given last.
    given: Vec<u8>,
}

/// What a look gave.
enum Seen {
    Whole(Vec<u8>),
    TooLong(u64),
    Broken(u64),
    Partial,
    Quiet,
    End,
}

/// What a proxy holds back before it passes it on: nginx has 8 buffers of 8 KiB at most for it unless told otherwise.
const HELD_BYTES_MAX: usize = 64 * 1024;

impl<'a> Peeked<'a> {
    pub(super) fn new(lines: Box<dyn WatchLines + 'a>) -> Self {
        Self { lines, seen: VecDeque::new(), given: Vec::new() }
    }

    /// Looks once: a server that does not have the version says so at once, and any other may be silent.
    pub(super) fn of(lines: Box<dyn WatchLines + 'a>) -> Result<Self, Error> {
        let mut peeked = Self::new(lines);
        peeked.look()?;
        Ok(peeked)
    }

    /// The first line that was looked at, where it is whole and is still to come.
    pub(super) fn first(&self) -> &[u8] {
        match self.seen.front() {
            Some(Seen::Whole(line)) => line,
            Some(Seen::TooLong(_) | Seen::Broken(_) | Seen::Partial | Seen::Quiet | Seen::End) | None => &[],
        }
    }

    /// Looks until the answer has ended. Whether it has by `deadline`, and is no longer than what a proxy holds back.
    ///
    /// # Blocking
    ///
    /// Until then, and no longer than one read after `deadline` or a stop.
    pub(super) fn ends_by(&mut self, deadline: Instant, stop: &Stop) -> bool {
        let mut bytes = 0;
        while !stop.is_requested() {
            match self.look() {
                Ok(Seen::End) => return Instant::now() <= deadline,
                Ok(Seen::Whole(line)) => bytes += line.len(),
                Ok(Seen::TooLong(_) | Seen::Broken(_) | Seen::Partial | Seen::Quiet) => {}
                Err(_) => return false,
            }
            if bytes > HELD_BYTES_MAX || Instant::now() > deadline {
                return false;
            }
        }
        false
    }

    fn look(&mut self) -> Result<&Seen, Error> {
        let seen = match self.lines.next()? {
            Line::Whole(line) => Seen::Whole(line.to_vec()),
            Line::TooLong(length) => Seen::TooLong(length),
            Line::Broken(length) => Seen::Broken(length),
            Line::Partial => Seen::Partial,
            Line::Quiet => Seen::Quiet,
            Line::End => Seen::End,
        };
        self.seen.push_back(seen);
        Ok(self.seen.back().expect("it was just seen"))
    }
}

impl WatchLines for Peeked<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        Ok(match self.seen.pop_front() {
            Some(Seen::Whole(line)) => {
                self.given = line;
                Line::Whole(&self.given)
            }
            Some(Seen::TooLong(length)) => Line::TooLong(length),
            Some(Seen::Broken(length)) => Line::Broken(length),
            Some(Seen::Partial) => Line::Partial,
            Some(Seen::Quiet) => Line::Quiet,
            Some(Seen::End) => Line::End,
            None => {
                self.given = Vec::new();
                return self.lines.next();
            }
        })
    }

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
    }

    fn is_ready(&mut self) -> bool {
        !self.seen.is_empty() || self.lines.is_ready()
    }

    fn bytes_received(&self) -> u64 {
        self.lines.bytes_received()
    }
}
