//! The watch protocol as a pure state machine: no clock, no socket, no log.
//!
//! Takes what happened as an [`Input`], gives what to do next as an [`Action`], and says what people want to know as a
//! [`Note`]. The driver carries out each action and reports what came of it; time reaches the machine as inputs.

mod absence;
mod history;
mod listing;
mod state;
mod watching;
mod words;

pub(super) use words::{Action, Close, Comparison, Detour, End, Input, Line, Note, Page, Pause, Step};

use crate::api::{Anchor, Fault, ResourceVersion};
use crate::metrics::RelistReason;
use absence::proof_after;
use state::{Finding, Resume, State, Streaming};
use std::mem;
use std::time::Duration;

/// One watch's place in the protocol.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    streaming: Streaming,
    /// No list has ended yet.
    in_first_list: bool,
    /// Nothing was told yet, so nothing could be told as deleted.
    untold: bool,
    /// How many watches in a row ended as soon as they were open, whatever they brought.
    ends_at_once: u8,
}

impl Machine {
    /// A machine that waits for [`Input::Start`]. `listed_before`: a first list ended in an earlier run; `told_before`: some
    /// of what it told is still known.
    pub(super) fn new(listed_before: bool, told_before: bool) -> Self {
        let (in_first_list, untold) = (!listed_before, !listed_before && !told_before);
        Self { state: State::Idle, streaming: Streaming::Usable, in_first_list, untold, ends_at_once: 0 }
    }

    /// Whether no list has ended yet.
    pub(super) fn in_first_list(&self) -> bool {
        self.in_first_list
    }

    /// Whether the server has no streaming lists of any use, so that the right to watch is not enough.
    pub(super) fn must_page(&self) -> bool {
        matches!(self.streaming, Streaming::Refused | Streaming::Endless)
    }

    /// Whether a streaming list did not end.
    pub(super) fn streams_without_end(&self) -> bool {
        self.streaming == Streaming::Endless
    }

    /// The server is another than it was: what it refused it may offer.
    pub(super) fn server_changed(&mut self) {
        self.streaming = Streaming::Usable;
    }

    /// Takes the anchor of the event that came last. Comes before any input but another event.
    pub(super) fn newest(&mut self, newest: Anchor) {
        if let State::Watching(watching) = &mut self.state {
            watching.resume.anchor = Some(newest);
        }
    }

    /// Takes what happened and says what to do next.
    ///
    /// # Panics
    ///
    /// When the input answers no question that the state has asked: a defect of the driver.
    pub(super) fn step(&mut self, input: Input) -> Step {
        let state = mem::replace(&mut self.state, State::Stopped);
        match input {
            Input::Start { resume, anchor } => self.start(resume, anchor),
            Input::Line(line) => self.line(state, line),
            Input::Close(close) => self.close(state, close),
            Input::Failed(fault) => self.failed(state, fault),
            Input::Withdrawn => {
                let (State::Streaming(_) | State::Paging(_)) = state else { unasked("a list") };
                self.enter(state)
            }
            Input::Page(page) => {
                let State::Paging(list) = state else { unasked("a page") };
                self.page(list, page)
            }
            Input::ListEnded { newest } => {
                let State::Ending(ending) = state else { unasked("the end of a list") };
                self.list_ended(ending, newest)
            }
            Input::Compared(comparison) => {
                let State::Comparing(resume) = state else { unasked("a comparison") };
                self.compared(resume, comparison)
            }
            Input::HistoryBegun => {
                let State::BeginningHistory = state else { unasked("another history") };
                self.history_begun()
            }
            Input::LookedUp(served) => {
                let State::LookingUp { before } = state else { unasked("discovery") };
                self.looked_up(before, served)
            }
            Input::Emptied => {
                let State::Emptying = state else { unasked("the end of known objects") };
                self.pause(Pause::Absent, State::LookingUp { before: Some(Finding::Gone) })
            }
            Input::Waited => {
                let State::Pausing { next, .. } = state else { unasked("the end of a pause") };
                self.enter(*next)
            }
            Input::Credited => {
                let State::Blocked { next } = state else { unasked("credit") };
                self.enter(*next)
            }
            Input::Stop => self.enter(State::Stopped),
        }
    }

    fn start(&mut self, resume: Option<ResourceVersion>, anchor: Option<Anchor>) -> Step {
        match resume {
            // The server may have been restored from a backup since the version was stored.
            Some(version) => self.enter(State::Probing(Resume::new(version, anchor))),
            None => {
                let list = self.new_list();
                self.enter(list)
            }
        }
    }

    fn line(&mut self, state: State, line: Line) -> Step {
        match state {
            State::Streaming(list) => self.list_line(list, line),
            State::Watching(watching) => self.watch_line(watching, line),
            State::Probing(resume) => self.replay_line(resume, &line),
            State::Comparing(resume) => self.comparison_line(resume, &line),
            State::Idle
            | State::Paging(_)
            | State::Ending(_)
            | State::BeginningHistory
            | State::LookingUp { .. }
            | State::Emptying
            | State::Pausing { .. }
            | State::Blocked { .. }
            | State::Stopped => unasked("a line of a watch"),
        }
    }

    fn close(&mut self, state: State, close: Close) -> Step {
        match state {
            State::Streaming(list) => self.list_closed(list, close),
            State::Ending(ending) => self.ending_closed(ending, close),
            State::Watching(watching) => self.watch_closed(watching, close),
            State::Probing(resume) => self.replay_closed(resume, close),
            State::Comparing(resume) => self.comparison_closed(resume, close),
            State::Idle
            | State::Paging(_)
            | State::BeginningHistory
            | State::LookingUp { .. }
            | State::Emptying
            | State::Pausing { .. }
            | State::Blocked { .. }
            | State::Stopped => unasked("the end of a watch"),
        }
    }

    fn failed(&mut self, state: State, fault: Fault) -> Step {
        match state {
            State::Streaming(list) => self.stream_failed(list, fault),
            State::Paging(list) => self.page_failed(list, fault),
            State::Watching(watching) => self.watch_failed(watching, fault),
            State::Probing(resume) => self.replay_failed(resume, fault),
            State::Comparing(resume) => self.comparison_unopened(resume, fault),
            State::LookingUp { before } => self.look_up_failed(before, fault),
            State::Idle
            | State::Ending(_)
            | State::BeginningHistory
            | State::Emptying
            | State::Pausing { .. }
            | State::Blocked { .. }
            | State::Stopped => unasked("a failed request"),
        }
    }

    /// Makes `state` the state, and asks what it asks.
    fn enter(&mut self, state: State) -> Step {
        if let State::Probing(resume) = state {
            return self.probe(resume);
        }
        let action = match &state {
            State::Streaming(_) => Action::StreamList,
            State::Paging(list) => Action::Page { token: list.token.clone(), limit: list.limit },
            State::Ending(ending) => Action::EndList { version: ending.version.clone(), whole: ending.whole },
            State::Watching(watching) => Action::Watch(watching.resume.version.clone()),
            State::Probing(_) => unreachable!("it was entered already"),
            State::Comparing(resume) => Action::Compare { version: resume.version.clone(), newest: resume.anchor.clone() },
            State::BeginningHistory => Action::BeginHistory,
            State::LookingUp { before } => Action::LookUp(proof_after(*before)),
            State::Emptying => Action::TellAllDeleted,
            State::Pausing { pause, .. } => Action::Pause(pause.clone()),
            State::Blocked { .. } => Action::AwaitCredit,
            State::Idle | State::Stopped => Action::Stop,
        };
        self.state = state;
        Step { action, note: None }
    }

    /// Stays with the open connection.
    fn read_on(&mut self, state: State) -> Step {
        self.state = state;
        Step { action: Action::Read, note: None }
    }

    fn pause(&mut self, pause: Pause, next: State) -> Step {
        self.enter(State::Pausing { pause, next: Box::new(next) })
    }

    /// Lists again, never at once: a list is the heaviest thing to ask, and what led here may come again right after it.
    fn relist(&mut self, reason: RelistReason) -> Step {
        let list = self.new_list();
        self.pause(Pause::Relist, list).noting(Note::Relist(reason))
    }
}

/// How long to wait for a busy server.
fn busy(retry_after: Option<Duration>) -> Pause {
    retry_after.map_or(Pause::Backoff, Pause::After)
}

fn unasked(answer: &str) -> ! {
    panic!("the driver answered what was not asked: {answer}")
}
