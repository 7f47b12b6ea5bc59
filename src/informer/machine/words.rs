//! What the driver and the machine say to each other.

use crate::api::{Anchor, Fault, ResourceVersion};
use crate::client::{Proof, Served};
use crate::metrics::{RelistReason, RestartReason};
use std::time::Duration;

/// What happened.
#[derive(Debug)]
pub(in crate::informer) enum Input {
    /// The informer starts, from a stored version where there is one; with the newest event up to it, where there was any.
    Start { resume: Option<ResourceVersion>, anchor: Option<Anchor> },
    /// The open watch or streaming list goes on.
    Line(Line),
    /// The open watch or streaming list is over.
    Close(Close),
    /// A request failed, or its connection broke.
    Failed(Fault),
    /// The request for a list was withdrawn for the sake of others: nothing came of it, and nothing failed.
    Withdrawn,
    /// A page was told.
    Page(Page),
    /// What the list did not name was told as deleted; with its newest object, where that is known.
    ListEnded { newest: Option<Anchor> },
    /// What was there at the version to resume from is no proof that the history is the same.
    Compared(Comparison),
    /// What follows is of another history.
    HistoryBegun,
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
pub(in crate::informer) enum Line {
    /// The head of the answer.
    Opened,
    /// The head of the answer, so long after a cut that the server may have become another meanwhile.
    OpenedLate,
    /// An object of a streaming list was told, or was known already.
    Listed,
    /// The event of this version was told, or was known already. Without its anchor that comes later, by
    /// [`Machine::newest`](super::Machine::newest).
    Event { version: ResourceVersion, newest: Option<Anchor> },
    /// The newest event that was told: the history is the same.
    Replayed,
    /// The head of an answer, after what was there at this version was found to be what was told.
    Compared,
    /// After a replay, something from before the version that was reached.
    Doubtful,
    /// A version before the one that was reached, from a server that does not agree with itself.
    OldBookmark,
    /// A newer version.
    Bookmark { version: ResourceVersion, initial_events_end: bool },
    /// An event that could not be read.
    Skipped,
    /// An object of a list that could not be read, but for its name.
    Spared,
    /// It is time to list again, because of events that could not be read.
    RelistDue,
}

/// Why an open watch or streaming list is over, while the connection was sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::informer) enum Close {
    /// The server ended it as it should.
    Ended(End),
    /// The connection broke after the watch had lasted or brought something, as proxies do: no fault of the server.
    /// `at_once` when it had brought something, but hardly lasted.
    Cut { at_once: bool },
    /// It was open for longer than asked for, and has brought something.
    Overdue,
    /// No head came in time: something on the way may hold it back until the answer ends. `late` when this took so long after
    /// a list or a cut that the server may have become another meanwhile.
    HeldHead { late: bool },
    /// The server said why.
    Error(Fault),
    /// Neither event, bookmark nor end came for longer than allowed.
    Silent,
    /// A streaming list gave no first byte in time.
    NoFirstByte,
    /// A streaming list gave no more, but did not say that it has ended.
    NoInitialEventsEnd,
    /// The receivers were busy for too long.
    Slow,
    /// A replay did not begin with the newest event that was told, or events that were told after it did not follow.
    NotReplayed,
}

/// Why a list of the past does not prove that the history is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::informer) enum Comparison {
    /// What was told is what was there at no one version, as the pages of its list were of several.
    Ahead,
    /// Something else was there.
    Different,
    /// The answer is of another version than the one asked for.
    OtherVersion,
    /// It was not given.
    Failed(Fault),
}

/// When a server ended a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::informer) enum End {
    /// As soon as it was open.
    AtOnce,
    /// Before the time that was asked for.
    Early,
    /// At the time that was asked for.
    InTime,
}

/// A page that was told.
#[derive(Debug)]
pub(in crate::informer) struct Page {
    pub(in crate::informer) version: ResourceVersion,
    pub(in crate::informer) next: Option<String>,
    /// Every object of it could be read.
    pub(in crate::informer) whole: bool,
    /// It came so quickly, and was so short, that a larger one would fit.
    pub(in crate::informer) quick: bool,
    /// It was asked for so long after the page before that the server may have become another meanwhile.
    pub(in crate::informer) late: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::informer) enum Action {
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
    /// Open a watch from this version, which must begin with this event, and read it.
    Replay { from: ResourceVersion, newest: Anchor },
    /// Open a watch at this version, compare what was there then with what was told, the object of the newest event more closely,
    /// and read the watch where that is the same.
    Compare { version: ResourceVersion, newest: Option<Anchor> },
    /// Count another history, and tell the receivers before anything of it.
    BeginHistory,
    /// Ask discovery. What must speak for it before the kind is believed to be absent.
    LookUp(Proof),
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
pub(in crate::informer) enum Pause {
    /// After a failure: longer each time.
    Backoff,
    /// Before a list that a lost version made necessary: longer each time, and whatever went wrong before does not count.
    Relist,
    /// After a watch that brought something and ended too soon: short, so that what follows is still heard in time.
    Brief,
    /// After a cut: none, unless many watches were cut at once.
    Cut,
    /// After a broken connection: as after a failure, and spread over all watches that broke with it.
    Reconnect,
    /// As long as the server said.
    After(Duration),
    /// The server refuses for lack of rights: longer each time.
    Forbidden,
    /// The server refuses the list itself, as for a selector that it does not know: longer each time.
    Refused,
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
pub(in crate::informer) enum Note {
    /// Everything will be listed again.
    Relist(RelistReason),
    /// The watch will be opened again.
    Restart(RestartReason),
    /// The list goes by pages from now on.
    Pages(Detour),
    /// A page was too long or too slow, and is asked for again with this limit.
    SmallerPages(u32),
}

/// Why a list does not stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::informer) enum Detour {
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
pub(in crate::informer) struct Step {
    pub(in crate::informer) action: Action,
    pub(in crate::informer) note: Option<Note>,
}

impl Step {
    pub(super) fn noting(self, note: Note) -> Self {
        Self { note: Some(note), ..self }
    }
}
