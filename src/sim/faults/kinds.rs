//! What may go wrong: each kind of misbehaviour, which requests it may meet, and where in the answer.

use super::Target;

/// One kind of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The connection ends after any byte of an answer.
    Cut,
    /// The connection ends within a chunk of a watch.
    CutInChunk,
    /// A watch ends as if cleanly, but within a line.
    CutInLine,
    /// An answer pauses anywhere for [`Faults::pause`](super::Faults::pause), then goes on.
    Stall,
    /// Nothing more comes and nothing says so. Ends with the faults, or after [`Faults::half_open_limit`](super::Faults::half_open_limit).
    HalfOpen,
    /// The connection is reset after any byte of an answer.
    Reset,
    /// A new connection is reset before anything is read from it. [`Cluster::down`](crate::sim::Cluster::down) refuses outright.
    Refuse,
    /// An answer comes byte by byte.
    Drip,
    /// The version is gone: 410, in the stream of a watch or instead of a list.
    Gone,
    /// 429, with `Retry-After`.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
    /// 504, as from something between.
    GatewayTimeout,
    /// The token of the kubeconfig is replaced, and the old one answered with 401. Without effect on client certificates.
    Unauthorized,
    /// A watch gets no bookmarks.
    NoBookmarks,
    /// A streaming list does not say that it has ended.
    NoInitialEventsEnd,
    /// The token of a list's next page has expired: 410.
    ExpiredContinue,
    /// A line of a watch is replaced by one that is no event.
    Garbage,
    /// A line of a watch is replaced by one of [`Faults::long_line_bytes`](super::Faults::long_line_bytes).
    LongLine,
    /// Nothing of a watch comes before its end, not even the head, as behind a proxy that buffers. Ends with the faults.
    HeldHead,
    /// A watch brings blank lines, or bytes of a line that never ends, and nothing else; and it does not end when it should.
    /// Goes on when the faults end, until the client leaves.
    Heartbeats,
    /// A streaming list never says that it has ended, while events go on to come, as of a server that does not know such lists.
    /// Goes on when the faults end.
    EndlessList,
    /// Two events of a watch stand in one line, and others are spread over two.
    GluedEvents,
    /// A bookmark of an older version comes in a watch, then its clean end.
    OldBookmark,
    /// Whole objects come where only metadata was asked for.
    WholeObjects,
    /// The metadata of one object of a list cannot be read, but for its name.
    UnreadableObject,
    /// A later page of a list is of a newer version than the first.
    NewerPage,
    /// A later page of a list names itself as the next one.
    SamePage,
    /// 404 with a page of HTML, as from something between. [`Cluster::hide`](crate::sim::Cluster::hide) answers so for a while.
    ProxyNotFound,
}

impl Fault {
    /// All of them, in the order in which [`Faults::seeded`](super::Faults::seeded) chooses: new ones come last, so that a seed means
    /// much the same in every release.
    pub const ALL: [Self; 29] = [
        Self::Cut,
        Self::CutInChunk,
        Self::CutInLine,
        Self::Stall,
        Self::HalfOpen,
        Self::Reset,
        Self::Refuse,
        Self::Drip,
        Self::Gone,
        Self::TooManyRequests,
        Self::InternalError,
        Self::Unavailable,
        Self::GatewayTimeout,
        Self::Unauthorized,
        Self::NoBookmarks,
        Self::NoInitialEventsEnd,
        Self::ExpiredContinue,
        Self::Garbage,
        Self::LongLine,
        Self::Heartbeats,
        Self::EndlessList,
        Self::GluedEvents,
        Self::WholeObjects,
        Self::SamePage,
        Self::ProxyNotFound,
        Self::HeldHead,
        Self::OldBookmark,
        Self::UnreadableObject,
        Self::NewerPage,
    ];

    /// Whether it can happen to such an answer.
    pub(super) fn concerns(self, target: Target) -> bool {
        match self {
            Self::CutInChunk
            | Self::CutInLine
            | Self::Garbage
            | Self::LongLine
            | Self::NoBookmarks
            | Self::HeldHead
            | Self::Heartbeats
            | Self::GluedEvents => matches!(target, Target::Watch | Target::StreamingList),
            Self::NoInitialEventsEnd | Self::EndlessList => target == Target::StreamingList,
            Self::OldBookmark => target == Target::Watch,
            Self::UnreadableObject => matches!(target, Target::List | Target::LaterPage | Target::StreamingList),
            Self::Gone | Self::WholeObjects => target != Target::Document,
            Self::ExpiredContinue | Self::NewerPage | Self::SamePage => target == Target::LaterPage,
            Self::Refuse => false,
            Self::Cut
            | Self::Stall
            | Self::HalfOpen
            | Self::Reset
            | Self::Drip
            | Self::TooManyRequests
            | Self::InternalError
            | Self::Unavailable
            | Self::GatewayTimeout
            | Self::Unauthorized
            | Self::ProxyNotFound => true,
        }
    }

    /// After how many lines, or bytes, it strikes.
    pub(super) fn place(self, random: &mut fastrand::Rng) -> usize {
        let is_of_lines = match self {
            Self::CutInChunk
            | Self::CutInLine
            | Self::Gone
            | Self::Garbage
            | Self::LongLine
            | Self::Heartbeats
            | Self::GluedEvents
            | Self::OldBookmark
            | Self::UnreadableObject => true,
            Self::Cut
            | Self::Stall
            | Self::HalfOpen
            | Self::Reset
            | Self::Refuse
            | Self::Drip
            | Self::TooManyRequests
            | Self::InternalError
            | Self::Unavailable
            | Self::GatewayTimeout
            | Self::Unauthorized
            | Self::NoBookmarks
            | Self::NoInitialEventsEnd
            | Self::ExpiredContinue
            | Self::HeldHead
            | Self::EndlessList
            | Self::WholeObjects
            | Self::NewerPage
            | Self::SamePage
            | Self::ProxyNotFound => false,
        };
        if is_of_lines {
            return random.usize(0..LINES);
        }
        // Small answers and large ones are hit alike, heads too.
        let below = 1 << random.u32(0..BYTES_LOG2);
        random.usize(0..below)
    }
}

/// Within the first so many lines.
const LINES: usize = 12;

/// Within the first 64 KiB.
const BYTES_LOG2: u32 = 17;
