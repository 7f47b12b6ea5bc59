//! Reads one open watch or streaming list, line by line, until the machine wants something else.

use super::driver::STRANGERS;
use super::gate::Permit;
use super::handover::{Halt, Patience};
use super::held::Course;
use super::history;
use super::machine::{Action, Close, End, Input, Line as Heard, Machine, Step};
use super::report::Report;
use super::teller::{self, Teller};
use super::timing::Limits;
use crate::api::{Anchor, Fault};
use crate::client::{Error, Line, WatchLines};
use std::mem;
use std::time::{Duration, Instant};

/// What was asked for, and when.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    /// `timeoutSeconds`.
    pub(super) timeout: Duration,
    /// Where a streaming list was asked for.
    pub(super) list: Option<ListSilence>,
    /// The event that must come first.
    pub(super) replay: Option<Anchor>,
}

impl Asked {
    /// Whether an answer that ends after this time has kept to the time that was asked for.
    pub(super) fn is_over(&self, after: Duration, limits: &Limits) -> bool {
        after + limits.end_tolerance >= self.timeout
    }
}

/// How long a streaming list may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListSilence {
    /// For its first byte.
    pub(super) first_byte: Duration,
    /// For its end, whatever comes before that...
    pub(super) end: Duration,
    /// ...and so much longer for each [`STEP_OBJECTS`] that came.
    pub(super) step: Duration,
}

/// So many objects earn a streaming list more time: a thousand a second, which every useful link and server can do.
const STEP_OBJECTS: u64 = 10_000;

impl ListSilence {
    /// How long a list of so many objects may take.
    pub(super) fn end_after(&self, objects: u64) -> Duration {
        self.end + self.step.saturating_mul(u32::try_from(objects / STEP_OBJECTS).unwrap_or(u32::MAX))
    }
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
    /// How many lines of the list came.
    listed: u64,
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
            listed: 0,
            waited: false,
            begun: false,
            spoke: None,
            is_noted: false,
            bytes: 0,
        }
    }

    /// Reads until the machine wants something that is not reading, and gives that.
    pub(super) fn read(mut self, opened: Heard) -> Reading {
        let mut close = None;
        let mut step = self.machine.step(Input::Line(opened));
        loop {
            if let Some(note) = step.note {
                self.report.note(note);
            }
            let input = match step.action {
                Action::Read => self.next(),
                Action::EndList { version, whole } => {
                    let ended = self.teller.end_list(&version, whole, Patience::Limited);
                    if ended.is_ok() {
                        self.report.listed(self.teller.store.len(), version.as_str(), whole);
                        // From here on it is a watch.
                        self.asked.list = None;
                    }
                    Some(ended.map_or_else(halted, |newest| Input::ListEnded { newest }))
                }
                Action::StreamList
                | Action::Page { .. }
                | Action::Watch(_)
                | Action::Replay { .. }
                | Action::Compare { .. }
                | Action::BeginHistory
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
                Some(input) => next_step(self.machine, self.teller, input),
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
        // A server that ignores what it was asked for sends changes for ever, and no end.
        if self.asked.list.is_some_and(|list| self.course.end >= list.end_after(self.listed)) {
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
                if let Some(newest) = self.asked.replay.take() {
                    let input = history::replayed(bytes, &newest, self.report);
                    if matches!(input, Input::Line(_)) {
                        self.teller.replayed();
                        (self.spoke, self.course.has_event) = (Some(self.course.end), true);
                        self.teller.out.context.status.heard();
                    } else {
                        self.teller.not_replayed(&newest, bytes);
                    }
                    return Some(input);
                }
                self.listed += u64::from(self.asked.list.is_some());
                let heard = self.teller.line(bytes);
                self.note(&heard);
                let input = take(heard, self.teller, self.report);
                if self.teller.is_scope_doubtful() {
                    self.report.ended(STRANGERS);
                    return Some(Input::Failed(Fault::NotFound));
                }
                Some(input)
            }
            Ok(Line::TooLong(length)) => {
                self.begun = true;
                if let Some(newest) = self.asked.replay.take() {
                    return Some(history::not_replayed(&newest, "a line over the limit came", self.report));
                }
                let why = format!("a line of {length} bytes is over the limit");
                Some(take(Ok(teller::Heard::Unreadable(why)), self.teller, self.report))
            }
            Ok(Line::Broken(length)) => {
                self.begun = true;
                let why = format!("{length} bytes are no event");
                if let Some(newest) = self.asked.replay.take() {
                    return Some(history::not_replayed(&newest, &why, self.report));
                }
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
            Ok(teller::Heard::Line(line)) => self.course.has_event |= matches!(line, Heard::Event { .. }),
            Ok(teller::Heard::Error(_)) => {}
            Ok(teller::Heard::NotReplayed | teller::Heard::Unreadable(_) | teller::Heard::Spared(_)) | Err(_) => return,
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
        } else if self.asked.is_over(self.course.end.max(self.asked.at.elapsed()), &self.teller.out.context.limits) {
            End::InTime
        } else {
            End::Early
        }
    }

    /// What a broken connection means: nothing bad after a watch that lasted or brought something, for so proxies do.
    fn broken(&mut self, error: &Error) -> Input {
        if self.teller.out.permit.as_ref().is_some_and(Permit::is_withdrawn) {
            return Input::Withdrawn;
        }
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
        if let Some(newest) = &self.asked.replay {
            return Some(history::not_replayed(newest, "nothing came", self.report));
        }
        if self.asked.list.is_none() && self.teller.is_replay_due() {
            return Some(history::not_replayed_beyond("nothing came", self.report));
        }
        let list = self.asked.list?;
        if self.begun {
            self.teller.list_paused();
        }
        if self.begun || self.course.calm < list.first_byte {
            return None;
        }
        self.report.ended("no byte came");
        Some(Input::Close(Close::NoFirstByte))
    }
}

/// Gives `input` to the machine, and before it the anchor of the newest event, unless the input is a newer one.
pub(super) fn next_step(machine: &mut Machine, teller: &mut Teller, input: Input) -> Step {
    let is_newer = matches!(input, Input::Line(Heard::Event { newest: None, .. }));
    if !is_newer && let Some(newest) = teller.out.take_newest() {
        machine.newest(newest);
    }
    machine.step(input)
}

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
        Ok(teller::Heard::NotReplayed) => history::not_replayed_beyond("something else came", report),
        Ok(teller::Heard::Unreadable(why)) => {
            report.unreadable(&why);
            teller.skipped();
            Input::Line(Heard::Skipped)
        }
        Ok(teller::Heard::Spared(why)) => {
            report.unreadable(&why);
            teller.spared();
            Input::Line(Heard::Spared)
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
