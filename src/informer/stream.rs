//! Reads one open watch or streaming list, line by line, until the machine wants something else.

use super::handover::{Halt, Patience};
use super::held::Course;
use super::machine::{Action, Close, End, Input, Line as Heard, Machine, Step};
use super::report::Report;
use super::teller::{self, Teller};
use crate::api::Fault;
use crate::client::{Error, Line, WatchLines};
use std::mem;
use std::time::{Duration, Instant};

/// What was asked for, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    /// `timeoutSeconds`.
    pub(super) timeout: Duration,
    /// Where a streaming list was asked for.
    pub(super) list: Option<ListSilence>,
    /// The answer came so late after a cut that the server may have become another.
    pub(super) is_late: bool,
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
    lines: Box<dyn WatchLines + 'a>,
    asked: Asked,
    machine: &'a mut Machine,
    teller: &'a mut Teller,
    report: &'a mut Report,
    /// How it went so far; its end is now. Time spent waiting for the receivers is not the server's, and not in it.
    course: Course,
    /// When the last initial event came.
    initial: Instant,
    /// Only changes have come since.
    changes: bool,
    /// Whether the stream was ever waited for.
    waited: bool,
    /// Whether any byte came.
    begun: bool,
    /// When the last event, bookmark or error came.
    spoke: Option<Duration>,
    /// Whether that is noted for the lines of this read.
    is_noted: bool,
    /// How many bytes were counted.
    bytes: u64,
}

/// What reading a stream came to.
#[derive(Debug)]
pub(super) struct Reading {
    /// What the machine wants next.
    pub(super) step: Step,
    /// Why it is over, unless the machine asked for something else.
    pub(super) close: Option<Close>,
    /// How it went.
    pub(super) course: Course,
    /// It brought something, and was more than a moment.
    pub(super) is_sound: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        lines: Box<dyn WatchLines + 'a>,
        asked: Asked,
        machine: &'a mut Machine,
        teller: &'a mut Teller,
        report: &'a mut Report,
    ) -> Self {
        let course = Course::new(asked.at.elapsed());
        Self {
            lines,
            asked,
            machine,
            teller,
            report,
            course,
            initial: Instant::now(),
            changes: false,
            waited: false,
            begun: false,
            spoke: None,
            is_noted: false,
            bytes: 0,
        }
    }

    /// Reads until the machine wants something that is not reading, and gives that.
    pub(super) fn read(mut self) -> Reading {
        let mut close = None;
        let mut step = self.machine.step(Input::Line(if self.asked.is_late { Heard::OpenedLate } else { Heard::Opened }));
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
                        self.asked.list = None;
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
                | Action::Stop => {
                    let is_sound = self.spoke.is_some() && self.has_lasted();
                    return Reading { step: Step { note: None, ..step }, close, course: self.course, is_sound };
                }
            };
            if let Some(Input::Close(why)) = input {
                close = Some(why);
            }
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
        if self.asked.list.is_some_and(|list| self.changes && self.initial.elapsed() >= list.end) {
            self.report.ended("its end did not come");
            return Some(Input::Close(Close::NoInitialEventsEnd));
        }
        // The lines of one read cost one look at the clock, and go on together.
        let is_read = !self.lines.is_ready();
        if is_read {
            if let Some(close) = self.overdue() {
                return Some(Input::Close(close));
            }
            self.is_noted = false;
            self.teller.out.flush();
            let bytes = self.lines.bytes_received();
            self.teller.out.context.metrics.bytes_received(bytes - mem::replace(&mut self.bytes, bytes));
            self.teller.out.context.pulse.waiting();
        }
        let began = is_read.then(Instant::now);
        let line = self.lines.next();
        if let Some(began) = began {
            self.course.read(began.elapsed(), matches!(line, Ok(Line::Quiet)));
            self.teller.out.context.pulse.working();
        }
        match line {
            Ok(Line::Whole(bytes)) => {
                self.begun = true;
                let is_change = !bytes.starts_with(ADDED);
                let heard = self.teller.line(bytes);
                if is_change {
                    self.changes = true;
                } else if self.asked.list.is_some() {
                    (self.initial, self.changes) = (Instant::now(), false);
                }
                self.note(&heard);
                Some(take(heard, self.teller, self.report))
            }
            Ok(Line::TooLong(length)) => {
                self.begun = true;
                let why = format!("a line of {length} bytes is over the limit");
                Some(take(Ok(teller::Heard::Unreadable(why)), self.teller, self.report))
            }
            Ok(Line::Partial) => {
                self.begun = true;
                None
            }
            Ok(Line::Quiet) => self.heard_nothing(),
            Ok(Line::End) => {
                self.report.ended("the server ended the watch");
                self.teller.out.context.status.heard();
                Some(Input::Close(Close::Ended(self.end())))
            }
            Err(error) => Some(self.broken(&error)),
        }
    }

    /// Notes that the server said something: bytes that say nothing are no sign of life.
    fn note(&mut self, heard: &Result<teller::Heard, Halt>) {
        match heard {
            Ok(teller::Heard::Line(line)) => self.course.has_event |= matches!(line, Heard::Event(_)),
            Ok(teller::Heard::Error(_)) => {}
            Ok(teller::Heard::Unreadable(_)) | Err(_) => return,
        }
        self.spoke = Some(self.course.end);
        if !mem::replace(&mut self.is_noted, true) {
            self.teller.out.context.status.heard();
        }
    }

    /// What to make of a watch that is open for longer than was asked for, whatever comes on it.
    fn overdue(&mut self) -> Option<Close> {
        let limit = self.asked.timeout + self.teller.out.context.limits.silence_margin;
        if self.asked.list.is_some() || self.course.end < limit {
            return None;
        }
        if self.spoke.is_some_and(|spoke| spoke + self.asked.timeout > self.course.end) {
            return Some(Close::Overdue);
        }
        self.report.ended("neither event, bookmark nor end came");
        Some(Close::Silent)
    }

    /// Whether the stream was open for more than a moment.
    fn has_lasted(&self) -> bool {
        self.waited || self.asked.at.elapsed() >= self.teller.out.context.limits.brief
    }

    /// When the server ended the stream.
    fn end(&self) -> End {
        if !self.has_lasted() {
            End::AtOnce
        } else if self.course.end.max(self.asked.at.elapsed()) + END_TOLERANCE >= self.asked.timeout {
            End::InTime
        } else {
            End::Early
        }
    }

    /// What a broken connection means: nothing bad after a watch that lasted or brought something, for so proxies do.
    fn broken(&mut self, error: &Error) -> Input {
        let fault = error.fault();
        let has_lasted = self.has_lasted();
        if self.asked.list.is_none() && fault == Fault::Connection && (has_lasted || self.spoke.is_some()) {
            self.report.cut(error);
            return Input::Close(Close::Cut { at_once: !has_lasted });
        }
        self.report.failed(error);
        Input::Failed(fault)
    }

    fn heard_nothing(&mut self) -> Option<Input> {
        self.waited = true;
        let calm = self.course.calm;
        let (close, why) = match self.asked.list? {
            list if !self.begun && calm >= list.first_byte => (Close::NoFirstByte, "no byte came"),
            list if calm >= list.end => (Close::NoInitialEventsEnd, "its end did not come"),
            ListSilence { .. } => return None,
        };
        self.report.ended(why);
        Some(Input::Close(close))
    }
}

/// A server that ends a watch so little before the time that was asked for has kept to it: clocks and ways differ.
const END_TOLERANCE: Duration = Duration::from_secs(2);

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
