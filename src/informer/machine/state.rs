//! Where a watch stands, and what is true there.

use super::words::Pause;
use crate::api::{Anchor, Fault, ResourceVersion};

/// Where a watch stands.
#[derive(Debug)]
pub(super) enum State {
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
    /// A watch from before the newest event is open or being opened, and must begin with it.
    Probing(Resume),
    /// What the server had at the version to resume from is compared with what was told, while a watch is open there.
    Comparing(Resume),
    /// The server has another history, and what follows gets another number.
    BeginningHistory,
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
pub(super) struct StreamingList {
    /// How often this list was cut before its end.
    pub(super) cuts: u8,
    /// The head of the answer is there.
    pub(super) opened: bool,
    /// Every event of it could be read.
    pub(super) whole: bool,
}

/// A list by pages.
#[derive(Debug)]
pub(super) struct PagedList {
    pub(super) token: Option<String>,
    /// The version of the first page, once it was read.
    pub(super) version: Option<ResourceVersion>,
    pub(super) limit: u32,
    /// Every object of the pages so far could be read.
    pub(super) whole: bool,
    /// How often this page failed within the server.
    pub(super) failures: u8,
    /// Between two pages the server may have become another.
    pub(super) broken: bool,
}

/// The end of a list.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) version: ResourceVersion,
    pub(super) whole: bool,
    /// The streaming list that ended goes on as a watch.
    pub(super) open: bool,
    /// Between two pages of the list the server may have become another.
    pub(super) broken: bool,
}

/// A watch.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) resume: Resume,
    /// The head of the answer is there.
    pub(super) opened: bool,
    /// An event or a bookmark came since it was opened.
    pub(super) heard: bool,
}

/// Where to watch from, and how often that failed at once.
#[derive(Debug)]
pub(super) struct Resume {
    pub(super) version: ResourceVersion,
    /// The newest event up to there, or object of the list; `None` where there was none, or none whose number is known.
    pub(super) anchor: Option<Anchor>,
    /// How often in a row the watch from this version ended as soon as it was open.
    pub(super) ends: u8,
    /// How often the watch from this version ended with an error.
    pub(super) errors: u8,
    /// A server said once that it no longer has this version.
    pub(super) expired: bool,
}

/// So many errors of one version say that it leads nowhere.
const ERRORS_MAX: u8 = 2;

/// Whether this server answers streaming lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streaming {
    /// Nothing speaks against it.
    Usable,
    /// Something between here and the server swallows its beginning.
    Swallowed,
    /// It does not end, as on a server that ignores what it was asked for.
    Endless,
    /// The server has none.
    Refused,
}

/// Why discovery says that a path is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// No version of the kind is served, said a living server: once.
    NoVersion,
    /// Only other versions of it are.
    OtherVersions,
    /// The kind is gone, and nothing is known of it that could be told as deleted.
    Gone,
}

impl Resume {
    pub(super) fn new(version: ResourceVersion, anchor: Option<Anchor>) -> Self {
        Self { version, anchor, ends: 0, errors: 0, expired: false }
    }

    /// From where a watch begins with the newest event, and that event; `None` where nobody knows, or it proves nothing.
    pub(super) fn replay_from(&self) -> Option<(ResourceVersion, Anchor)> {
        let newest = self.anchor.as_ref()?;
        Some((newest.replay_from()?, newest.clone()))
    }

    /// A stream from this version ended with an error. Whether that has come so often that the version leads nowhere.
    pub(super) fn has_erred(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Refused | Fault::Server | Fault::Undecodable | Fault::TooLong | Fault::Connection => {
                self.errors = self.errors.saturating_add(1);
                self.errors >= ERRORS_MAX
            }
            Fault::Expired
            | Fault::UnknownVersion
            | Fault::Unauthorized
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Busy { .. }
            | Fault::Stopped => false,
        }
    }

    /// Goes on from `version`; another version has failed nothing yet.
    pub(super) fn advance(&mut self, version: ResourceVersion) {
        if self.version != version {
            (self.version, self.ends, self.errors, self.expired) = (version, 0, 0, false);
        }
    }
}
