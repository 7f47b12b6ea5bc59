//! Reads one open watch or streaming list, line by line, until the machine wants something else.

use super::handover::{Halt, Patience};
use super::machine::{Action, Close, Input, Line as Heard, Machine, Step};
use super::report::Report;
use super::teller::{self, Teller};
use crate::client::{Line, READ_TICK, WatchLines};
use std::mem;
use std::time::{Duration, Instant};

/// How long an open stream may stay without a byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// As a watch, by its timeout.
    pub(super) watch: Duration,
    /// As a streaming list that has not ended.
    pub(super) list: Option<ListSilence>,
}

/// How long a streaming list may stay without a byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListSilence {
    /// Before its first.
    pub(super) first_byte: Duration,
    /// Before its end.
    pub(super) end: Duration,
}

/// An open stream and everything that reads it.
pub(super) struct Stream<'a> {
    pub(super) lines: Box<dyn WatchLines + 'a>,
    pub(super) silence: Silence,
    pub(super) machine: &'a mut Machine,
    pub(super) teller: &'a mut Teller,
    pub(super) report: &'a mut Report,
    /// For how long no byte came, counted only while reading: time spent waiting for the receivers is not the server's.
    quiet: Duration,
    /// When the stream was opened.
    opened: Instant,
    /// When the last initial event came.
    initial: Instant,
    /// Only changes have come since.
    changes: bool,
    /// Whether the stream was ever waited for.
    waited: bool,
    /// Whether any byte came.
    begun: bool,
    /// How many bytes were counted.
    bytes: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        lines: Box<dyn WatchLines + 'a>,
        silence: Silence,
        machine: &'a mut Machine,
        teller: &'a mut Teller,
        report: &'a mut Report,
    ) -> Self {
        let (opened, quiet) = (Instant::now(), Duration::ZERO);
        let (initial, changes, waited, begun) = (opened, false, false, false);
        Self { lines, silence, machine, teller, report, quiet, opened, initial, changes, waited, begun, bytes: 0 }
    }

    /// Reads until the machine wants something that is not reading, and gives that.
    pub(super) fn read(mut self) -> Step {
        let mut step = self.machine.step(Input::Line(Heard::Opened));
        loop {
            if let Some(note) = step.note {
                self.report.note(note);
            }
            let input = match step.action {
                Action::Read => self.next(),
                Action::EndList { version, whole } => {
                    let ended = self.teller.end_list(&version, whole, Patience::Limited);
                    if ended.is_ok() {
                        self.report.listed(self.teller.store.len(), version.as_str());
                        // From here on it is a watch.
                        self.silence.list = None;
                    }
                    Some(ended.map_or_else(halted, |newest| Input::ListEnded { newest }))
                }
                Action::StreamList
                | Action::Page { .. }
                | Action::Watch(_)
                | Action::Probe(_)
                | Action::LookUp(_)
                | Action::TellAllDeleted
                | Action::Pause(_)
                | Action::AwaitCredit
                | Action::Stop => return Step { note: None, ..step },
            };
            step = match input {
                Some(input) => self.machine.step(input),
                None => Step { action: Action::Read, note: None },
            };
        }
    }

    /// One read. `None` when it brought nothing for the machine.
    fn next(&mut self) -> Option<Input> {
        if self.teller.out.context.stop.is_requested() {
            return Some(Input::Stop);
        }
        if self.teller.is_relist_due() {
            self.report.ended("an event could not be read");
            return Some(Input::Line(Heard::RelistDue));
        }
        // Changes that go on and on must not hide that the end was swallowed.
        if self.silence.list.is_some_and(|list| self.changes && self.initial.elapsed() >= list.end) {
            self.report.ended("its end did not come");
            return Some(Input::Close(Close::NoInitialEventsEnd));
        }
        // The lines of one read cost one look at the clock, and go on together.
        let is_read = !self.lines.is_ready();
        if is_read {
            self.teller.out.flush();
            let bytes = self.lines.bytes_received();
            self.teller.out.context.metrics.bytes_received(bytes - mem::replace(&mut self.bytes, bytes));
            self.teller.out.context.pulse.waiting();
        }
        let line = self.lines.next();
        let context = &self.teller.out.context;
        if is_read {
            context.pulse.working();
        }
        match line {
            Ok(Line::Whole(bytes)) => {
                (self.quiet, self.begun) = (Duration::ZERO, true);
                if is_read {
                    context.status.heard();
                }
                let is_change = !bytes.starts_with(ADDED);
                let heard = self.teller.line(bytes);
                if is_change {
                    self.changes = true;
                } else if self.silence.list.is_some() {
                    (self.initial, self.changes) = (Instant::now(), false);
                }
                Some(take(heard, self.teller, self.report))
            }
            Ok(Line::TooLong(length)) => {
                (self.quiet, self.begun) = (Duration::ZERO, true);
                let why = format!("a line of {length} bytes is over the limit");
                Some(take(Ok(teller::Heard::Unreadable(why)), self.teller, self.report))
            }
            Ok(Line::Partial) => {
                (self.quiet, self.begun) = (Duration::ZERO, true);
                context.status.heard();
                None
            }
            Ok(Line::Quiet) => self.heard_nothing(),
            Ok(Line::End) => {
                self.report.ended("the server ended the watch");
                context.status.heard();
                // A busy stream may last its whole time without a quiet moment.
                let at_once = !self.waited && self.opened.elapsed() < READ_TICK;
                Some(Input::Close(Close::Ended { at_once }))
            }
            Err(error) => {
                self.report.failed(&error);
                Some(Input::Failed(error.fault()))
            }
        }
    }

    fn heard_nothing(&mut self) -> Option<Input> {
        self.waited = true;
        self.quiet += READ_TICK;
        let (close, why) = match self.silence.list {
            Some(list) if !self.begun && self.quiet >= list.first_byte => (Close::NoFirstByte, "no byte came"),
            Some(list) if self.quiet >= list.end => (Close::NoInitialEventsEnd, "its end did not come"),
            None if self.quiet >= self.silence.watch => (Close::Silent, "neither byte nor end came"),
            Some(_) | None => return None,
        };
        self.report.ended(why);
        Some(Input::Close(close))
    }
}

/// How a line begins that may be an initial event, as every API server writes it.
const ADDED: &[u8] = br#"{"type":"ADDED""#;

/// What a line, told as far as it could be, means for the machine.
fn take(heard: Result<teller::Heard, Halt>, teller: &mut Teller, report: &mut Report) -> Input {
    match heard {
        Ok(teller::Heard::Line(line)) => {
            report.told();
            Input::Line(line)
        }
        Ok(teller::Heard::Error(status)) => {
            report.error_line(&status);
            Input::Close(Close::Error(status.fault(None)))
        }
        Ok(teller::Heard::Unreadable(why)) => {
            report.unreadable(&why);
            teller.skipped();
            Input::Line(Heard::Skipped)
        }
        Err(halt) => halted(halt),
    }
}

/// What an event that could not be told means for the machine.
fn halted(halt: Halt) -> Input {
    match halt {
        Halt::Slow => Input::Close(Close::Slow),
        Halt::Stop => Input::Stop,
    }
}
