//! The watch protocol as a pure state machine: no clock, no socket, no log.
//!
//! Takes what happened as an [`Input`], gives what to do next as an [`Action`], and says what people want to know as a
//! [`Note`]. The driver carries out each action and reports what came of it; time reaches the machine as inputs.

mod absence;
mod listing;
mod watching;

use crate::api::{Fault, ResourceVersion};
use crate::client::Served;
use crate::metrics::{RelistReason, RestartReason};
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
    /// The version has moved since the last list: another list cannot end where that one did.
    moved: bool,
}

/// Where a watch stands.
#[derive(Debug)]
enum State {
    /// Nothing was asked yet.
    Idle,
    /// A streaming list is open or being opened, and its end was not seen: what it did not name may yet come.
    Streaming(StreamingList),
    /// One page is asked for; those before it were told.
    Paging(PagedList),
    /// Every object of the list was told; those it did not name are being told as deleted.
    Ending(Ending),
    /// The watch is open or being opened; everything up to `resume` was told.
    Watching(Watching),
    /// The server is asked whether it knows the version to resume from.
    Probing(Resume),
    /// The path was not found, and discovery is asked why. `before` is what it said the last time.
    LookingUp { before: Option<Finding> },
    /// The kind is gone, and everything known is being told as deleted.
    Emptying,
    /// Time passes, and then `next` is entered.
    Pausing { pause: Pause, next: Box<State> },
    /// The connection is closed until the receivers have room; then `next` is entered.
    Blocked { next: Box<State> },
    /// Nothing more is asked or told.
    Stopped,
}

/// A list by one long answer.
#[derive(Clone, Copy, Debug)]
struct StreamingList {
    /// How often this list was cut before its end.
    cuts: u8,
    /// The head of the answer is there.
    opened: bool,
    /// Every event of it could be read.
    whole: bool,
}

/// A list by pages.
#[derive(Debug)]
struct PagedList {
    token: Option<String>,
    limit: u32,
    /// Every object of the pages so far could be read.
    whole: bool,
}

/// The end of a list.
#[derive(Debug)]
struct Ending {
    version: ResourceVersion,
    whole: bool,
    /// The streaming list that ended goes on as a watch.
    open: bool,
}

/// A watch.
#[derive(Debug)]
struct Watching {
    resume: Resume,
    /// The head of the answer is there.
    opened: bool,
    /// An event or a bookmark came since it was opened.
    heard: bool,
}

/// Where to watch from, and how often that failed at once.
#[derive(Debug)]
struct Resume {
    version: ResourceVersion,
    /// How often in a row the watch from this version ended as soon as it was open.
    ends: u8,
    /// How often the watch from this version ended with an error.
    errors: u8,
}

/// Whether this server answers streaming lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streaming {
    /// Nothing speaks against it.
    Usable,
    /// Something between here and the server swallows its beginning or its end.
    Swallowed,
    /// The server has none.
    Refused,
}

/// Why discovery says that a path is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    NoVersion,
    OtherVersions,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The informer starts, from a stored version where there is one.
    Start { resume: Option<ResourceVersion> },
    /// The open watch or streaming list goes on.
    Line(Line),
    /// The open watch or streaming list is over.
    Close(Close),
    /// A request failed, or its connection broke.
    Failed(Fault),
    /// A page was told.
    Page(Page),
    /// What the list did not name was told as deleted.
    ListEnded,
    /// The server knows the version.
    Known,
    /// What discovery says.
    LookedUp(Served),
    /// Everything known was told as deleted.
    Emptied,
    /// The pause is over.
    Waited,
    /// The receivers have room again.
    Credited,
    /// Faro stops, or the receivers have ended.
    Stop,
}

/// What an open watch or streaming list brings.
#[derive(Debug)]
pub(super) enum Line {
    /// The head of the answer.
    Opened,
    /// An event of this version was told, or was known already.
    Event(ResourceVersion),
    /// A newer version.
    Bookmark { version: ResourceVersion, initial_events_end: bool },
    /// An event that could not be read.
    Skipped,
    /// It is time to list again, because of events that could not be read.
    RelistDue,
}

/// Why an open watch or streaming list is over, while the connection was sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The server ended it as it should; `at_once` when it did so without waiting.
    Ended { at_once: bool },
    /// The server said why.
    Error(Fault),
    /// Neither byte nor end came for longer than allowed.
    Silent,
    /// A streaming list gave no first byte in time.
    NoFirstByte,
    /// A streaming list gave no more, but did not say that it has ended.
    NoInitialEventsEnd,
    /// The receivers were busy for too long.
    Slow,
}

/// A page that was told.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) version: ResourceVersion,
    pub(super) next: Option<String>,
    /// Every object of it could be read.
    pub(super) whole: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Begin a list: open a streaming list and read it.
    StreamList,
    /// Fetch a page and tell its objects. Without a token, begin a list with it.
    Page { token: Option<String>, limit: u32 },
    /// End the list: when it is `whole`, tell what it did not name as deleted.
    EndList { version: ResourceVersion, whole: bool },
    /// Open a watch and read it.
    Watch(ResourceVersion),
    /// Read on.
    Read,
    /// Ask whether the server knows this version.
    Probe(ResourceVersion),
    /// Ask discovery.
    LookUp,
    /// Tell everything known as deleted.
    TellAllDeleted,
    /// Let time pass.
    Pause(Pause),
    /// Wait until the receivers have room, however long.
    AwaitCredit,
    /// Nothing more.
    Stop,
}

/// Why, and so for how long, time passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// After a failure: longer each time.
    Backoff,
    /// After a broken connection: as after a failure, and spread over all watches that broke with it.
    Reconnect,
    /// As long as the server said.
    After(Duration),
    /// The server refuses for lack of rights: longer each time.
    Forbidden,
    /// Before discovery is believed that the kind is gone.
    SecondLook,
    /// No version of the kind is served.
    Absent,
    /// Only these other versions are served.
    VersionGone(Vec<String>),
    /// Discovery cannot tell; this is why.
    Unknown(String),
}

/// What people want to know of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Everything will be listed again.
    Relist(RelistReason),
    /// The watch will be opened again.
    Restart(RestartReason),
    /// The list goes by pages from now on.
    Pages(Detour),
}

/// Why a list does not stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detour {
    /// The server does not offer it.
    Refused,
    /// No byte came.
    NoFirstByte,
    /// Its end did not come.
    NoEnd,
    /// It was cut too often.
    Cut,
}

/// What comes of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) note: Option<Note>,
}

impl Machine {
    /// A machine that waits for [`Input::Start`]. `listed_before`: a first list ended in an earlier run.
    pub(super) fn new(listed_before: bool) -> Self {
        let first = !listed_before;
        Self { state: State::Idle, streaming: Streaming::Usable, in_first_list: first, untold: first, moved: false }
    }

    /// Whether no list has ended yet.
    pub(super) fn in_first_list(&self) -> bool {
        self.in_first_list
    }

    /// Whether the server refused streaming lists, so that the right to watch is not enough.
    pub(super) fn must_page(&self) -> bool {
        self.streaming == Streaming::Refused
    }

    /// Takes what happened and says what to do next.
    ///
    /// # Panics
    ///
    /// When the input answers no question that the state has asked: a defect of the driver.
    pub(super) fn step(&mut self, input: Input) -> Step {
        let state = mem::replace(&mut self.state, State::Stopped);
        match input {
            Input::Start { resume } => self.start(resume),
            Input::Line(line) => self.line(state, line),
            Input::Close(close) => self.close(state, close),
            Input::Failed(fault) => self.failed(state, fault),
            Input::Page(page) => {
                let State::Paging(list) = state else { unasked("a page") };
                self.page(list, page)
            }
            Input::ListEnded => {
                let State::Ending(ending) = state else { unasked("the end of a list") };
                self.list_ended(ending)
            }
            Input::Known => {
                let State::Probing(resume) = state else { unasked("a probe") };
                self.enter(State::Watching(Watching::new(resume)))
            }
            Input::LookedUp(served) => {
                let State::LookingUp { before } = state else { unasked("discovery") };
                self.looked_up(before, served)
            }
            Input::Emptied => {
                let State::Emptying = state else { unasked("the end of known objects") };
                self.pause(Pause::Absent, State::LookingUp { before: Some(Finding::NoVersion) })
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

    fn start(&mut self, resume: Option<ResourceVersion>) -> Step {
        match resume {
            // The server may have been restored from a backup since the version was stored.
            Some(version) => self.enter(State::Probing(Resume::new(version))),
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
            State::Idle
            | State::Paging(_)
            | State::Ending(_)
            | State::Probing(_)
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
            State::Idle
            | State::Paging(_)
            | State::Probing(_)
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
            State::Probing(resume) => self.probe_failed(resume, fault),
            State::LookingUp { before } => self.look_up_failed(before, fault),
            State::Idle | State::Ending(_) | State::Emptying | State::Pausing { .. } | State::Blocked { .. } | State::Stopped => {
                unasked("a failed request")
            }
        }
    }

    /// Makes `state` the state, and asks what it asks.
    fn enter(&mut self, state: State) -> Step {
        let action = match &state {
            State::Streaming(_) => Action::StreamList,
            State::Paging(list) => Action::Page { token: list.token.clone(), limit: list.limit },
            State::Ending(ending) => Action::EndList { version: ending.version.clone(), whole: ending.whole },
            State::Watching(watching) => Action::Watch(watching.resume.version.clone()),
            State::Probing(resume) => Action::Probe(resume.version.clone()),
            State::LookingUp { .. } => Action::LookUp,
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

    /// Lists again. At once, unless the last list led nowhere: then a server in trouble gets time.
    fn relist(&mut self, reason: RelistReason) -> Step {
        let list = self.new_list();
        let step = if mem::take(&mut self.moved) { self.enter(list) } else { self.pause(Pause::Backoff, list) };
        step.noting(Note::Relist(reason))
    }
}

impl Step {
    fn noting(self, note: Note) -> Self {
        Self { note: Some(note), ..self }
    }
}

impl Resume {
    fn new(version: ResourceVersion) -> Self {
        Self { version, ends: 0, errors: 0 }
    }

    /// Goes on from `version`; another version has failed nothing yet. Returns whether it is another.
    fn advance(&mut self, version: ResourceVersion) -> bool {
        let moves = self.version != version;
        if moves {
            *self = Self::new(version);
        }
        moves
    }
}

/// How long to wait for a busy server.
fn busy(retry_after: Option<Duration>) -> Pause {
    retry_after.map_or(Pause::Backoff, Pause::After)
}

fn unasked(answer: &str) -> ! {
    panic!("the driver answered what was not asked: {answer}")
}
