//! Lists: streaming where the server has it, by pages where not.

use super::state::{Ending, PagedList, Resume, State, Streaming, StreamingList, Watching};
use super::{Close, Detour, Fault, Line, Machine, Note, Page, Pause, RelistReason, Step, busy, unasked};
use crate::api::Anchor;
use crate::metrics::RestartReason;

/// Objects on a page: as many as client-go asks for, and ever fewer while the answer is too long or too slow.
const PAGE_LIMITS: [u32; 4] = [500, 100, 20, 1];

/// A later page that the server fails to give so often is of a list that it can no longer give.
const PAGE_FAILURES_MAX: u8 = 2;

/// After so many cuts a streaming list goes on by pages, which survive a cut.
const CUTS_MAX: u8 = 2;

impl Machine {
    /// The beginning of a list.
    pub(super) fn new_list(&self) -> State {
        match self.streaming {
            Streaming::Usable => streaming(0),
            Streaming::Swallowed | Streaming::Endless | Streaming::Refused => pages(),
        }
    }

    pub(super) fn list_line(&mut self, list: StreamingList, line: Line) -> Step {
        match line {
            Line::Opened => self.read_on(State::Streaming(StreamingList { opened: true, ..list })),
            Line::Listed | Line::Event { .. } => {
                self.untold = false;
                self.read_on(State::Streaming(list))
            }
            Line::Skipped => self.read_on(State::Streaming(StreamingList { whole: false, ..list })),
            Line::Bookmark { version, initial_events_end: true } => {
                self.enter(State::Ending(Ending { version, whole: list.whole, open: true, broken: false }))
            }
            Line::OpenedLate => unasked("the late head of a watch"),
            // Before the end there is no version to resume from.
            Line::Bookmark { initial_events_end: false, .. }
            | Line::OldBookmark
            | Line::Doubtful
            | Line::RelistDue
            | Line::Spared => self.read_on(State::Streaming(list)),
            Line::Replayed | Line::Compared => unasked("a proof of the history"),
        }
    }

    pub(super) fn list_closed(&mut self, list: StreamingList, close: Close) -> Step {
        match close {
            Close::Ended(_) | Close::Silent => self.cut(list, Pause::Backoff),
            Close::Error(fault) => self.stream_failed(list, fault),
            // Without a head it may be the server that is out of reach, which says nothing about later lists.
            Close::NoFirstByte if !list.opened => self.enter(pages()).noting(Note::Pages(Detour::NoFirstByte)),
            Close::NoFirstByte => self.detour(Streaming::Swallowed, Detour::NoFirstByte),
            Close::NoInitialEventsEnd => self.detour(Streaming::Endless, Detour::NoEnd),
            Close::Cut { .. } | Close::Overdue | Close::HeldHead { .. } => unasked("the end of a watch"),
            Close::NotReplayed => unasked("the beginning of a replay"),
            Close::Slow => {
                // Pages hold no connection while their objects are told, so a list that is slow twice goes on by pages.
                let next = if list.cuts + 1 < CUTS_MAX { streaming(list.cuts + 1) } else { pages() };
                self.enter(State::Blocked { next: Box::new(next) }).noting(Note::Restart(RestartReason::Slow))
            }
        }
    }

    pub(super) fn stream_failed(&mut self, list: StreamingList, fault: Fault) -> Step {
        match fault {
            Fault::Refused => self.detour(Streaming::Refused, Detour::Refused),
            Fault::Connection if list.opened => self.cut(list, Pause::Reconnect),
            Fault::Server if list.opened => self.cut(list, Pause::Backoff),
            Fault::Undecodable | Fault::TooLong => self.cut(list, Pause::Backoff),
            Fault::Connection | Fault::Unauthorized | Fault::Server | Fault::Expired | Fault::UnknownVersion => {
                self.pause(Pause::Backoff, streaming(list.cuts))
            }
            Fault::Forbidden => self.pause(Pause::Forbidden, streaming(list.cuts)),
            Fault::NotFound => self.enter(State::LookingUp { before: None }),
            // A busy server is never asked for something heavier.
            Fault::Busy { retry_after } => self.pause(busy(retry_after), streaming(list.cuts)),
            Fault::Stopped => self.enter(State::Stopped),
        }
    }

    pub(super) fn page(&mut self, list: PagedList, page: Page) -> Step {
        self.untold = false;
        let (whole, broken) = (list.whole && page.whole, list.broken || page.late);
        // Pages belong to one version; where they disagree, what came between is in a watch from the first one's. As
        // client-go's pager (`tools/pager/pager.go`).
        let version = list.version.unwrap_or(page.version);
        let limit = if page.quick { larger(list.limit) } else { list.limit };
        match page.next {
            Some(token) => {
                let (token, version) = (Some(token), Some(version));
                self.enter(State::Paging(PagedList { token, version, limit, whole, failures: 0, broken }))
            }
            None => self.enter(State::Ending(Ending { version, whole, open: false, broken })),
        }
    }

    pub(super) fn page_failed(&mut self, list: PagedList, fault: Fault) -> Step {
        match fault {
            // Never with the token inside this answer: it gives an inconsistent rest.
            Fault::Expired => self.interrupted(list.limit),
            // Only a token can be refused for its age; what is refused without one will be again.
            Fault::Refused if list.token.is_none() => self.pause(Pause::Refused, first_page(list.limit)),
            Fault::Refused | Fault::UnknownVersion | Fault::Undecodable => {
                self.pause(Pause::Backoff, first_page(list.limit)).noting(Note::Relist(RelistReason::Interrupted))
            }
            // As for a token of before a restore, which the server knows only as a mistake of its own.
            Fault::Server if list.token.is_some() && list.failures + 1 >= PAGE_FAILURES_MAX => self.interrupted(list.limit),
            Fault::Server => {
                let failures = list.failures.saturating_add(1);
                self.pause(Pause::Backoff, State::Paging(PagedList { failures, ..broken(list) }))
            }
            Fault::Unauthorized | Fault::Connection => self.pause(Pause::Backoff, State::Paging(broken(list))),
            Fault::TooLong => match smaller(list.limit) {
                Some(limit) => self.enter(State::Paging(PagedList { limit, ..list })).noting(Note::SmallerPages(limit)),
                None => self.pause(Pause::Backoff, State::Paging(list)),
            },
            Fault::Forbidden => {
                // A role with `watch` only may stream what it may not list.
                if self.streaming == Streaming::Swallowed {
                    self.streaming = Streaming::Usable;
                }
                let again = self.new_list();
                self.pause(Pause::Forbidden, again)
            }
            Fault::NotFound => self.enter(State::LookingUp { before: None }),
            Fault::Busy { retry_after } => self.pause(busy(retry_after), State::Paging(list)),
            Fault::Stopped => self.enter(State::Stopped),
        }
    }

    pub(super) fn list_ended(&mut self, ending: Ending, newest: Option<Anchor>) -> Step {
        self.in_first_list = false;
        self.untold = false;
        let resume = Resume::new(ending.version, newest);
        // A page of one history and the next of another would go on as either. What could not be read is listed again soon.
        if ending.broken && ending.whole {
            return self.enter(State::Comparing(resume));
        }
        let watching = Watching::new(resume);
        if ending.open {
            return self.read_on(State::Watching(Watching { opened: true, heard: true, ..watching }));
        }
        self.enter(State::Watching(watching))
    }

    pub(super) fn ending_closed(&mut self, ending: Ending, close: Close) -> Step {
        match close {
            Close::Slow => {
                let next = Box::new(State::Ending(Ending { open: false, ..ending }));
                self.enter(State::Blocked { next }).noting(Note::Restart(RestartReason::Slow))
            }
            Close::Ended(_)
            | Close::Cut { .. }
            | Close::Overdue
            | Close::HeldHead { .. }
            | Close::Error(_)
            | Close::Silent
            | Close::NoFirstByte
            | Close::NoInitialEventsEnd
            | Close::NotReplayed => unasked("the end of a watch"),
        }
    }

    /// The streaming list broke off: what was told stays known, and the list begins again.
    fn cut(&mut self, list: StreamingList, pause: Pause) -> Step {
        if list.cuts + 1 < CUTS_MAX {
            return self.pause(pause, streaming(list.cuts + 1)).noting(Note::Relist(RelistReason::Interrupted));
        }
        self.pause(pause, pages()).noting(Note::Pages(Detour::Cut))
    }

    /// By pages from here on.
    fn detour(&mut self, streaming: Streaming, detour: Detour) -> Step {
        self.streaming = streaming;
        self.enter(pages()).noting(Note::Pages(detour))
    }

    fn interrupted(&mut self, limit: u32) -> Step {
        self.pause(Pause::Backoff, first_page(limit)).noting(Note::Relist(RelistReason::Interrupted))
    }
}

fn streaming(cuts: u8) -> State {
    State::Streaming(StreamingList { cuts, opened: false, whole: true })
}

fn pages() -> State {
    first_page(PAGE_LIMITS[0])
}

fn first_page(limit: u32) -> State {
    State::Paging(PagedList { token: None, version: None, limit, whole: true, failures: 0, broken: false })
}

/// The same list, of which the server may be another by now: where it has pages already.
fn broken(list: PagedList) -> PagedList {
    PagedList { broken: list.broken || list.token.is_some(), ..list }
}

/// The limit below this one.
fn smaller(limit: u32) -> Option<u32> {
    PAGE_LIMITS.into_iter().find(|smaller| *smaller < limit)
}

/// The limit above this one, or the largest.
fn larger(limit: u32) -> u32 {
    PAGE_LIMITS.into_iter().rev().find(|larger| *larger > limit).unwrap_or(PAGE_LIMITS[0])
}
