//! What goes wrong between a client and the simulated server, by seed.
//!
//! Takes each request; gives a plan of what to do to its answer. Promises that the n-th request of one kind to one path meets
//! the same fault in every run of a seed, however the threads of the run interleave. Writes are let alone, so that whoever
//! wrote knows what was written.

use super::api::Request;
use crate::lifecycle::Stop;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// An answer pauses anywhere for [`Faults::pause`], then goes on.
    Stall,
    /// Nothing more comes and nothing says so. Ends with the faults, or after [`Faults::half_open_limit`].
    HalfOpen,
    /// The connection is reset after any byte of an answer.
    Reset,
    /// A new connection is reset before anything is read from it. [`Cluster::down`](super::Cluster::down) refuses outright.
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
    /// A line of a watch is replaced by one of [`Faults::long_line_bytes`].
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
    /// 404 with a page of HTML, as from something between. [`Cluster::hide`](super::Cluster::hide) answers so for a while.
    ProxyNotFound,
}

impl Fault {
    /// All of them.
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
        Self::HeldHead,
        Self::Heartbeats,
        Self::EndlessList,
        Self::GluedEvents,
        Self::OldBookmark,
        Self::WholeObjects,
        Self::UnreadableObject,
        Self::NewerPage,
        Self::SamePage,
        Self::ProxyNotFound,
    ];

    /// Those that [`Faults::seeded`] chooses from.
    pub const SEEDED: [Self; 28] = [
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
    ];

    fn concerns(self, target: Target) -> bool {
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
}

/// What goes wrong, how often, and for how long.
#[derive(Clone, Debug)]
pub struct Faults {
    kinds: Vec<Fault>,
    seed: u64,
    one_in: u32,
    pause: Duration,
    half_open_limit: Duration,
    long_line_bytes: usize,
    heartbeat: Duration,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::only(&[])
    }

    /// These and no others.
    pub fn only(kinds: &[Fault]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            seed: 0,
            one_in: ONE_IN,
            pause: PAUSE,
            half_open_limit: HALF_OPEN_LIMIT,
            long_line_bytes: LONG_LINE_BYTES,
            heartbeat: HEARTBEAT,
        }
    }

    /// Each of [`Fault::SEEDED`] is switched on or off by the seed, and so is how often they strike.
    pub fn seeded(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let kinds: Vec<_> = Fault::SEEDED.into_iter().filter(|_| random.bool()).collect();
        Self { seed, one_in: random.u32(ONE_IN_SEEDED), ..Self::only(&kinds) }
    }

    /// Decides which request meets what. Defaults to 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// One request in so many meets a fault. Defaults to 3.
    #[must_use]
    pub fn one_in(mut self, requests: u32) -> Self {
        self.one_in = requests.max(1);
        self
    }

    /// How long a stall lasts. Defaults to 2 seconds.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// How long a half-open connection stays so before it is closed after all. Defaults to 10 minutes.
    #[must_use]
    pub fn half_open_limit(mut self, limit: Duration) -> Self {
        self.half_open_limit = limit;
        self
    }

    /// How long a long line is. Defaults to one byte more than Faro reads.
    #[must_use]
    pub fn long_line_bytes(mut self, bytes: usize) -> Self {
        self.long_line_bytes = bytes;
        self
    }

    /// How often a heartbeat comes. Defaults to 5 seconds.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = every;
        self
    }

    /// The kinds that are switched on.
    pub fn kinds(&self) -> &[Fault] {
        &self.kinds
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

const ONE_IN: u32 = 3;

/// From almost every request to a few in a run.
const ONE_IN_SEEDED: std::ops::Range<u32> = 2..8;

const PAUSE: Duration = Duration::from_secs(2);

/// Long after every client should have noticed.
const HALF_OPEN_LIMIT: Duration = Duration::from_secs(600);

const HEARTBEAT: Duration = Duration::from_secs(5);

const LONG_LINE_BYTES: usize = crate::client::LINE_BYTES_MAX + 1;

/// Faults at work. Knows which request comes how often.
#[derive(Debug)]
pub(super) struct Injector(Mutex<State>);

#[derive(Debug)]
struct State {
    faults: Faults,
    /// Wakes whoever pauses for a fault when the faults end.
    over: Stop,
    /// How many requests of each kind came.
    asked: HashMap<u64, u64>,
    struck: BTreeMap<Fault, u64>,
    hidden: Option<Hidden>,
}

/// What something between client and server does not find: it answers 404 with a page of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hidden {
    /// Every path.
    Everything,
    /// The documents and objects of one group, which the list of groups still names; empty for the core group.
    Group(String),
}

impl Hidden {
    fn hides(&self, path: &str) -> bool {
        let root = match self {
            Self::Everything => return true,
            Self::Group(group) if group.is_empty() => "/api/v1".to_owned(),
            Self::Group(group) => format!("/apis/{group}"),
        };
        path.strip_prefix(&root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What to do to one answer.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The fault, and after how many bytes or lines it strikes.
    pub(super) fault: Option<(Fault, usize)>,
    pub(super) withholds_bookmarks: bool,
    pub(super) withholds_initial_events_end: bool,
    pub(super) pause: Duration,
    pub(super) half_open_limit: Duration,
    pub(super) long_line_bytes: usize,
    pub(super) heartbeat: Duration,
    /// Requested when the faults end.
    pub(super) over: Stop,
}

/// What kind of request it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Document,
    List,
    LaterPage,
    Watch,
    StreamingList,
}

impl Injector {
    pub(super) fn new(faults: Faults) -> Self {
        Self(Mutex::new(State { faults, over: Stop::new(), asked: HashMap::new(), struck: BTreeMap::new(), hidden: None }))
    }

    /// Ends the faults so far, also those under way, and begins these.
    pub(super) fn set(&self, faults: Faults) {
        let mut state = self.lock();
        state.over.request();
        state.over = Stop::new();
        state.faults = faults;
        state.asked.clear();
    }

    /// Ends all pauses under way.
    pub(super) fn end(&self) {
        self.set(Faults::none());
    }

    /// From now on a 404 hides this, or nothing.
    pub(super) fn hide(&self, hidden: Option<Hidden>) {
        self.lock().hidden = hidden;
    }

    /// Whether a 404 hides this path now.
    pub(super) fn hides(&self, path: &str) -> bool {
        self.lock().hidden.as_ref().is_some_and(|hidden| hidden.hides(path))
    }

    pub(super) fn struck(&self, fault: Fault) {
        *self.lock().struck.entry(fault).or_default() += 1;
    }

    /// How often each fault struck.
    pub(super) fn tally(&self) -> BTreeMap<Fault, u64> {
        self.lock().struck.clone()
    }

    /// Whether the next connection is refused.
    pub(super) fn refuses(&self) -> bool {
        let mut state = self.lock();
        state.faults.kinds.contains(&Fault::Refuse) && {
            let one_in = state.faults.one_in;
            state.random(&"connection").u32(0..one_in) == 0
        }
    }

    /// What the answer to `request` meets.
    pub(super) fn plan(&self, request: &Request) -> Plan {
        let mut state = self.lock();
        let mut plan = Plan {
            fault: None,
            withholds_bookmarks: false,
            withholds_initial_events_end: false,
            pause: state.faults.pause,
            half_open_limit: state.faults.half_open_limit,
            long_line_bytes: state.faults.long_line_bytes,
            heartbeat: state.faults.heartbeat,
            over: state.over.clone(),
        };
        if state.faults.kinds.is_empty() || request.method != "GET" {
            return plan;
        }
        let target = Target::of(request);
        let selector = |name| request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let key = (&request.path, target, selector("labelSelector"), selector("fieldSelector"));
        let mut random = state.random(&key);
        let strikes = random.u32(0..state.faults.one_in) == 0;
        let kinds: Vec<_> = state.faults.kinds.iter().copied().filter(|kind| kind.concerns(target)).collect();
        let withholds = |fault, random: &mut fastrand::Rng| kinds.contains(&fault) && random.bool();
        plan.withholds_bookmarks = withholds(Fault::NoBookmarks, &mut random);
        plan.withholds_initial_events_end = strikes && withholds(Fault::NoInitialEventsEnd, &mut random);
        if strikes && !kinds.is_empty() {
            let kind = kinds[random.usize(0..kinds.len())];
            plan.fault = Some((kind, kind.place(&mut random)));
        }
        plan
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Chance, for the next request of this kind.
    fn random(&mut self, key: &impl Hash) -> fastrand::Rng {
        let mut hasher = DefaultHasher::new();
        (self.faults.seed, key).hash(&mut hasher);
        let count = self.asked.entry(hasher.finish()).or_default();
        *count += 1;
        count.hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }
}

impl Fault {
    /// After how many lines, or bytes, it strikes.
    fn place(self, random: &mut fastrand::Rng) -> usize {
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

impl Target {
    fn of(request: &Request) -> Self {
        let has = |name: &str| request.query.iter().any(|(key, value)| key == name && !value.is_empty() && value != "false");
        if has("watch") {
            if has("sendInitialEvents") { Self::StreamingList } else { Self::Watch }
        } else if has("continue") {
            Self::LaterPage
        } else if has("limit") || has("resourceVersion") {
            Self::List
        } else {
            Self::Document
        }
    }
}
