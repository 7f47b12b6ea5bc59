//! What goes wrong between a client and the simulated server, by seed.
//!
//! Takes each request; gives a plan of what to do to its answer. Promises that the n-th request of one kind to one path meets
//! the same fault in every run of a seed, however the threads of the run interleave. Writes are let alone, so that whoever
//! wrote knows what was written.

mod kinds;

pub use kinds::Fault;

use super::api::Request;
use crate::lifecycle::Stop;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

    /// Each of [`Fault::ALL`] is switched on or off by the seed, and so is how often they strike.
    pub fn seeded(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let kinds: Vec<_> = Fault::ALL.into_iter().filter(|_| random.bool()).collect();
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
