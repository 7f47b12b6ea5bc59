//! Whether the server's history is still the one that was told, before a watch goes on after an outage or a start.
//!
//! A version proves nothing: a server that was restored from a backup accepts any that it has reached again since, and is silent
//! about any other. So a watch from before the newest event must begin with that event. Where the server has forgotten it, what
//! was there at the version to resume from must be what was told.

use super::state::{Resume, State, Watching};
use super::{Action, Close, Comparison, Fault, Line, Machine, Note, Pause, RelistReason, Step, busy, unasked};
use crate::metrics::RestartReason;

impl Machine {
    /// Asks whether the server's history is still the one that was told up to `resume`.
    pub(super) fn probe(&mut self, resume: Resume) -> Step {
        match resume.replay_from() {
            Some((from, newest)) => {
                self.state = State::Probing(resume);
                Step { action: Action::Replay { from, newest }, note: None }
            }
            // Nothing was told yet, or nothing of which it is known what came before, or what proves nothing: a delete, or an object
            // of a list after which others may have been deleted.
            None => self.enter(State::Comparing(resume)),
        }
    }

    /// What the replay brings first.
    pub(super) fn replay_line(&mut self, resume: Resume, line: &Line) -> Step {
        match line {
            Line::Opened | Line::OpenedLate => self.read_on(State::Probing(resume)),
            // It was told before, so an end right after it says as little as one without it.
            Line::Replayed => self.read_on(State::Watching(Watching { opened: true, ..Watching::new(resume) })),
            Line::RelistDue => {
                let list = self.new_list();
                self.enter(list).noting(Note::Relist(RelistReason::Dirty))
            }
            Line::Listed
            | Line::Event { .. }
            | Line::OldBookmark
            | Line::Doubtful
            | Line::Bookmark { .. }
            | Line::Skipped
            | Line::Spared
            | Line::Compared => unasked("what follows a replay"),
        }
    }

    pub(super) fn replay_closed(&mut self, mut resume: Resume, close: Close) -> Step {
        match close {
            // A server that knows the version before an event has that event, and sends it at once.
            Close::NotReplayed | Close::Ended(_) | Close::Silent | Close::Overdue => self.other_history(),
            Close::Error(fault) if resume.has_erred(fault) => self.relist(RelistReason::Stuck),
            Close::Error(fault) => self.replay_failed(resume, fault),
            Close::Cut { .. } => self.replay_failed(resume, Fault::Connection),
            Close::HeldHead { .. } => self.enter(State::Probing(resume)),
            Close::Slow => {
                let next = Box::new(State::Probing(resume));
                self.enter(State::Blocked { next }).noting(Note::Restart(RestartReason::Slow))
            }
            Close::NoFirstByte | Close::NoInitialEventsEnd => unasked("the end of a list"),
        }
    }

    pub(super) fn replay_failed(&mut self, resume: Resume, fault: Fault) -> Step {
        match fault {
            // A quiet kind: its newest event is older than what the server keeps.
            Fault::Expired => self.enter(State::Comparing(resume)),
            Fault::UnknownVersion => self.other_history(),
            Fault::Refused => self.relist(RelistReason::Unproven),
            Fault::NotFound => self.enter(State::LookingUp { before: None }),
            Fault::Unauthorized | Fault::Server | Fault::Connection | Fault::Undecodable | Fault::TooLong => {
                self.pause(Pause::Backoff, State::Probing(resume))
            }
            Fault::Forbidden => self.pause(Pause::Forbidden, State::Probing(resume)),
            Fault::Busy { retry_after } => self.pause(busy(retry_after), State::Probing(resume)),
            Fault::Stopped => self.enter(State::Stopped),
        }
    }

    /// The head of the watch that was opened before the comparison, which found no difference.
    pub(super) fn comparison_line(&mut self, resume: Resume, line: &Line) -> Step {
        match line {
            Line::Compared => self.read_on(State::Watching(Watching { opened: true, ..Watching::new(resume) })),
            Line::Opened
            | Line::OpenedLate
            | Line::Replayed
            | Line::Listed
            | Line::Event { .. }
            | Line::Bookmark { .. }
            | Line::OldBookmark
            | Line::Doubtful
            | Line::Skipped
            | Line::Spared
            | Line::RelistDue => unasked("what follows a comparison"),
        }
    }

    /// The watch that was opened for the comparison was closed before it.
    pub(super) fn comparison_closed(&mut self, mut resume: Resume, close: Close) -> Step {
        match close {
            Close::HeldHead { .. } => self.enter(State::Comparing(resume)),
            Close::Error(fault) if resume.has_erred(fault) => self.relist(RelistReason::Stuck),
            Close::Error(fault) => self.comparison_unopened(resume, fault),
            Close::Ended(_)
            | Close::Cut { .. }
            | Close::Overdue
            | Close::Silent
            | Close::NoFirstByte
            | Close::NoInitialEventsEnd
            | Close::NotReplayed
            | Close::Slow => unasked("the end of a watch"),
        }
    }

    /// The watch at the version to resume from did not open.
    pub(super) fn comparison_unopened(&mut self, resume: Resume, fault: Fault) -> Step {
        match fault {
            Fault::Expired => self.relist(RelistReason::Expired),
            Fault::UnknownVersion => self.other_history(),
            Fault::Refused => self.relist(RelistReason::Unproven),
            Fault::NotFound => self.enter(State::LookingUp { before: None }),
            Fault::Unauthorized | Fault::Server | Fault::Connection | Fault::Undecodable | Fault::TooLong => {
                self.pause(Pause::Backoff, State::Comparing(resume))
            }
            Fault::Forbidden => self.pause(Pause::Forbidden, State::Comparing(resume)),
            Fault::Busy { retry_after } => self.pause(busy(retry_after), State::Comparing(resume)),
            Fault::Stopped => self.enter(State::Stopped),
        }
    }

    pub(super) fn compared(&mut self, resume: Resume, comparison: Comparison) -> Step {
        match comparison {
            Comparison::Different => self.other_history(),
            Comparison::Ahead | Comparison::OtherVersion => self.relist(RelistReason::Unproven),
            Comparison::Failed(fault) => match fault {
                Fault::Expired => self.relist(RelistReason::Expired),
                Fault::UnknownVersion => self.other_history(),
                // The server does not say, as for a role with `watch` only. A streaming list needs no more than that and finds out.
                Fault::Refused | Fault::Forbidden | Fault::NotFound | Fault::Undecodable | Fault::TooLong => {
                    self.relist(RelistReason::Unproven)
                }
                Fault::Unauthorized | Fault::Server | Fault::Connection => self.pause(Pause::Backoff, State::Comparing(resume)),
                Fault::Busy { retry_after } => self.pause(busy(retry_after), State::Comparing(resume)),
                Fault::Stopped => self.enter(State::Stopped),
            },
        }
    }

    /// What was told is of a history that the server does not have: what it has is told as the difference, under another number.
    pub(super) fn other_history(&mut self) -> Step {
        self.enter(State::BeginningHistory)
    }

    pub(super) fn history_begun(&mut self) -> Step {
        self.relist(RelistReason::OtherHistory)
    }
}
