//! Watches that are trusted.

use super::state::{Resume, State, Watching};
use super::{Close, End, Fault, Line, Machine, Note, Pause, RelistReason, Step, busy, unasked};
use crate::metrics::RestartReason;

/// So many watches in a row that end as soon as they are open say that the version leads nowhere.
const ENDS_AT_ONCE_MAX: u8 = 3;

impl Machine {
    pub(super) fn watch_line(&mut self, mut watching: Watching, line: Line) -> Step {
        match line {
            Line::Opened => watching.opened = true,
            // The server may have been away meanwhile, and come back as another.
            Line::OpenedLate => return self.enter(State::Probing(watching.resume)),
            // The mark of an initial end says nothing where it was not asked for.
            Line::Bookmark { version, initial_events_end: _ } => {
                watching.heard = true;
                watching.resume.advance(version);
            }
            Line::Event { version, newest } => {
                watching.heard = true;
                watching.resume.advance(version);
                watching.resume.anchor = newest;
            }
            Line::Listed | Line::Skipped | Line::Spared => watching.heard = true,
            // Where it comes from may be another server, which knows less, or another history.
            Line::OldBookmark => {
                let step = self.pause(Pause::Backoff, State::Probing(watching.resume));
                return step.noting(Note::Restart(RestartReason::OldBookmark));
            }
            Line::Doubtful => return self.enter(State::Comparing(watching.resume)),
            Line::Replayed | Line::Compared => unasked("a proof of the history"),
            Line::RelistDue => {
                let list = self.new_list();
                return self.enter(list).noting(Note::Relist(RelistReason::Dirty));
            }
        }
        self.read_on(State::Watching(watching))
    }

    pub(super) fn watch_closed(&mut self, watching: Watching, close: Close) -> Step {
        match close {
            Close::Ended(end) => self.watch_ended(watching, end),
            Close::Cut { at_once } => self.watch_cut(watching, at_once),
            Close::Overdue => {
                self.enter(State::Watching(Watching::new(watching.resume))).noting(Note::Restart(RestartReason::Ended))
            }
            // Asked again so that the head comes with the end, the answer shows whether the server is there at all.
            Close::HeldHead { late: false } => self.enter(State::Watching(Watching::new(watching.resume))),
            Close::HeldHead { late: true } => self.enter(State::Probing(watching.resume)),
            Close::Error(fault) => self.error_line(watching, fault),
            Close::Silent => self.enter(State::Probing(watching.resume)).noting(Note::Restart(RestartReason::Silent)),
            Close::Slow => {
                // Receivers may be busy for hours, in which the server may become another.
                let next = Box::new(State::Probing(watching.resume));
                self.enter(State::Blocked { next }).noting(Note::Restart(RestartReason::Slow))
            }
            Close::NoFirstByte | Close::NoInitialEventsEnd => unasked("the end of a list"),
            // What was told beyond the stored version does not come again.
            Close::NotReplayed => self.other_history(),
        }
    }

    fn watch_ended(&mut self, watching: Watching, end: End) -> Step {
        let Watching { mut resume, heard, .. } = watching;
        let at_once = end == End::AtOnce;
        resume.ends = if at_once { resume.ends + 1 } else { 0 };
        if resume.ends >= ENDS_AT_ONCE_MAX {
            return self.relist(RelistReason::Stuck);
        }
        let is_stuck = resume.ends > 1;
        // Who ends a watch when it was asked to was there all the time.
        let is_sure = heard || end == End::InTime;
        let again = if is_sure { State::Watching(Watching::new(resume)) } else { State::Probing(resume) };
        let step = match self.pace(at_once) {
            None => self.enter(again),
            Some(_) if is_stuck => self.pause(Pause::Backoff, again),
            Some(brief) => self.pause(brief, again),
        };
        step.noting(Note::Restart(RestartReason::Ended))
    }

    /// Goes on at once: who comes back soon enough finds the server that was there before.
    fn watch_cut(&mut self, watching: Watching, at_once: bool) -> Step {
        let pause = self.pace(at_once).unwrap_or(Pause::Cut);
        self.pause(pause, again(watching)).noting(Note::Restart(RestartReason::Cut))
    }

    /// The pause before a watch that ends as soon as it is open again and again: it goes on, but asks no faster than that.
    fn pace(&mut self, at_once: bool) -> Option<Pause> {
        self.ends_at_once = if at_once { self.ends_at_once.saturating_add(1) } else { 0 };
        (self.ends_at_once > 1).then_some(Pause::Brief)
    }

    /// The stream said why it ends: as the HTTP code would, but an error that comes again says that the version leads nowhere.
    fn error_line(&mut self, mut watching: Watching, fault: Fault) -> Step {
        if watching.resume.has_erred(fault) {
            return self.relist(RelistReason::Stuck);
        }
        match fault {
            Fault::Refused | Fault::Undecodable | Fault::TooLong => self.once_more(watching),
            Fault::Server
            | Fault::Connection
            | Fault::Expired
            | Fault::UnknownVersion
            | Fault::Unauthorized
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Busy { .. }
            | Fault::Stopped => self.watch_failed(watching, fault),
        }
    }

    pub(super) fn watch_failed(&mut self, mut watching: Watching, fault: Fault) -> Step {
        let opened = watching.opened;
        let step = match fault {
            Fault::Expired if watching.resume.expired => return self.relist(RelistReason::Expired),
            // A server that has just started has no past yet; another one behind the same address may have.
            Fault::Expired => {
                watching.resume.expired = true;
                self.enter(again(watching))
            }
            Fault::UnknownVersion => return self.other_history(),
            Fault::Refused | Fault::Undecodable | Fault::TooLong => {
                let is_stuck = watching.resume.has_erred(fault);
                return if is_stuck { self.relist(RelistReason::Stuck) } else { self.once_more(watching) };
            }
            Fault::NotFound => self.enter(State::LookingUp { before: None }),
            Fault::Connection => {
                let pause = if opened { Pause::Reconnect } else { Pause::Backoff };
                let step = self.pause(pause, State::Probing(watching.resume));
                return step.noting(Note::Restart(RestartReason::Connection));
            }
            // What answers so may be a server that starts, restored from a backup.
            Fault::Unauthorized | Fault::Server => self.pause(Pause::Backoff, State::Probing(watching.resume)),
            Fault::Forbidden => self.pause(Pause::Forbidden, State::Probing(watching.resume)),
            Fault::Busy { retry_after } => self.pause(busy(retry_after), State::Probing(watching.resume)),
            Fault::Stopped => return self.enter(State::Stopped),
        };
        step.noting(Note::Restart(RestartReason::Error))
    }

    /// What the server does not like of the request says nothing of its history.
    fn once_more(&mut self, watching: Watching) -> Step {
        self.pause(Pause::Backoff, again(watching)).noting(Note::Restart(RestartReason::Error))
    }
}

impl Watching {
    pub(super) fn new(resume: Resume) -> Self {
        Self { resume, opened: false, heard: false }
    }
}

fn again(watching: Watching) -> State {
    State::Watching(Watching::new(watching.resume))
}
