//! How one watch is doing: written by its informer, read by probes and metrics.

use super::{Clock, Reason, lock};
use crate::api::Watch;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How one watch is doing.
#[derive(Debug)]
pub struct WatchStatus {
    watch: Arc<Watch>,
    clock: Clock,
    state: Mutex<State>,
    ever_synced: AtomicBool,
    /// Asks who has accepted everything up to the end of the first list; without it, nobody is to accept.
    accepted: OnceLock<AskAccepted>,
    /// Who has, a bit each.
    accepted_by: AtomicU64,
    /// An output cannot be written, shared by all watches.
    is_held: Arc<AtomicBool>,
    heard_millis: AtomicU64,
    /// Its stream was given up because nothing came, and nothing has come since.
    silent: AtomicBool,
    unreadable: Mutex<Unreadable>,
}

/// The objects that are on the server and cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// How many there are.
    pub count: usize,
    /// Some of them, each as `namespace/name`.
    pub names: Vec<String>,
}

#[derive(Clone, Debug)]
struct State {
    condition: Condition,
    reason: Reason,
    /// The reason as the log has it.
    words: String,
    since: Instant,
}

/// The state of one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing was listed yet.
    Starting,
    /// The first list is under way.
    Listing,
    /// The first list has ended and events arrive.
    Synced,
    /// The server refuses for lack of rights; the reason names verb and resource.
    Forbidden,
    /// The kind is not served; it is waited for.
    Absent,
    /// Another version of the kind is served; the reason names it.
    VersionGone,
    /// The last request failed and is tried again.
    Retrying,
}

/// What a watch is worth to whoever relies on it, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Every change of it is heard.
    Healthy,
    /// Its first list has not ended yet.
    Syncing,
    /// It was synced, and fails or is silent now: what it told last may be outdated.
    Stale,
    /// It does not get to its first list, or may not.
    Failed,
}

impl WatchStatus {
    pub(super) fn new(watch: Arc<Watch>, clock: Clock, is_held: Arc<AtomicBool>) -> Self {
        let state = State { condition: Condition::Starting, reason: Reason::None, words: String::new(), since: Instant::now() };
        Self {
            watch,
            clock,
            state: Mutex::new(state),
            ever_synced: AtomicBool::new(false),
            accepted: OnceLock::new(),
            accepted_by: AtomicU64::new(0),
            is_held,
            heard_millis: AtomicU64::new(clock.millis()),
            silent: AtomicBool::new(false),
            unreadable: Mutex::default(),
        }
    }

    /// Notes how many objects cannot be read now, and the names of some.
    pub fn set_unreadable(&self, count: usize, names: Vec<String>) {
        *lock(&self.unreadable) = Unreadable { count, names };
    }

    /// The objects that cannot be read now.
    pub fn unreadable(&self) -> Unreadable {
        lock(&self.unreadable).clone()
    }

    /// The watch it is about.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Says what holds now, and why: for probes, and in the words of the log, which hold no credentials or contents of objects, but
    /// what the server said.
    pub fn set(&self, condition: Condition, reason: Reason, words: impl Into<String>) {
        if condition == Condition::Synced {
            self.ever_synced.store(true, Ordering::Relaxed);
            self.answered();
        }
        let mut state = lock(&self.state);
        if state.condition != condition {
            state.since = Instant::now();
        }
        state.condition = condition;
        (state.reason, state.words) = (reason, words.into());
    }

    /// Says how to ask who has accepted what the first list gave, a bit each. The first one holds.
    pub fn ask_accepted(&self, accepted: impl Fn() -> u64 + Send + Sync + 'static) {
        self.accepted.get_or_init(|| AskAccepted(Box::new(accepted)));
    }

    /// Takes back that it was synced: what an earlier run told turns out to need a comparison.
    pub fn unsync(&self) {
        self.ever_synced.store(false, Ordering::Relaxed);
        self.accepted_by.store(0, Ordering::Relaxed);
        self.set(Condition::Listing, Reason::None, "");
    }

    /// Whether file or state cannot be written now, which was said: events wait for that and nothing else.
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// What holds now, and why, in the words of the log.
    pub fn get(&self) -> (Condition, String) {
        let state = lock(&self.state).clone();
        (state.condition, state.words)
    }

    /// What probes and metrics say at `now`: one of [`CONDITIONS`], and why. A synced watch that is not heard is `silent`.
    pub fn told(&self, now: Instant) -> (&'static str, Reason) {
        let (condition, reason) = {
            let state = lock(&self.state);
            (state.condition, state.reason)
        };
        match (condition, self.standing(now)) {
            (Condition::Synced, Standing::Syncing) => (Condition::Listing.as_str(), Reason::NotAccepted),
            (Condition::Synced, Standing::Healthy) => (Condition::Synced.as_str(), reason),
            (Condition::Synced, _) => (SILENT, Reason::Silent),
            (other, _) => (other.as_str(), reason),
        }
    }

    /// Notes that the watch was heard just now: its bytes, or the end that the server gave it.
    pub fn heard(&self) {
        self.heard_millis.store(self.clock.millis(), Ordering::Relaxed);
        self.silent.store(false, Ordering::Relaxed);
    }

    /// Notes that the server answers just now. Of a watch that fell silent that says nothing: it may answer, and stay silent again.
    pub fn answered(&self) {
        self.heard_millis.store(self.clock.millis(), Ordering::Relaxed);
    }

    /// Notes that neither bytes nor an end came for as long as a watch may last. It is not relied on until it is heard again.
    pub fn fell_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// When what holds now began.
    pub fn since(&self) -> Instant {
        lock(&self.state).since
    }

    /// When the server was last heard; when this watch was added, if never.
    pub fn last_heard(&self) -> Instant {
        self.clock.instant(self.heard_millis.load(Ordering::Relaxed))
    }

    /// Whether a first list has ended with objects told.
    pub fn ever_synced(&self) -> bool {
        self.ever_synced.load(Ordering::Relaxed)
    }

    /// Whether it is synced as far as its informer knows; it may be silent all the same.
    pub(super) fn is_synced(&self) -> bool {
        lock(&self.state).condition == Condition::Synced
    }

    /// Whether the first list was read and accepted by all it is for, or refused.
    pub fn first_list_ended(&self) -> bool {
        self.first_list_ended_for(u64::MAX)
    }

    /// The same of these receivers, a bit each.
    pub fn first_list_ended_for(&self, receivers: u64) -> bool {
        (self.ever_synced() && self.is_accepted_by(receivers)) || lock(&self.state).condition.is_refusal()
    }

    /// Whether these have accepted the first list. Who has, has.
    fn is_accepted_by(&self, receivers: u64) -> bool {
        let lacks = |accepted: u64| accepted & receivers != receivers;
        let mut accepted = self.accepted_by.load(Ordering::Relaxed);
        if lacks(accepted) && self.ever_synced() {
            accepted |= self.accepted.get().map_or(u64::MAX, |ask| (ask.0)());
            self.accepted_by.fetch_or(accepted, Ordering::Relaxed);
        }
        !lacks(accepted)
    }

    /// What the watch is worth at `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        let condition = lock(&self.state).condition;
        let unheard = now.saturating_duration_since(self.last_heard()) > SILENT_AFTER;
        let silent = unheard || self.silent.load(Ordering::Relaxed);
        match (condition, self.ever_synced()) {
            (Condition::Forbidden | Condition::Absent | Condition::VersionGone, _) => Standing::Failed,
            (Condition::Retrying, false) => Standing::Failed,
            (Condition::Retrying, true) => Standing::Stale,
            (Condition::Starting | Condition::Listing, false) if silent => Standing::Failed,
            (Condition::Starting | Condition::Listing, false) => Standing::Syncing,
            (Condition::Starting | Condition::Listing | Condition::Synced, _) if silent => Standing::Stale,
            (Condition::Synced, _) if !self.is_accepted_by(u64::MAX) => Standing::Syncing,
            (Condition::Starting | Condition::Listing | Condition::Synced, _) => Standing::Healthy,
        }
    }
}

/// A watch that was not heard for longer is not relied on. The server ends every watch within 240 s, so five minutes
/// without a word are a fault and never just calm.
pub const SILENT_AFTER: Duration = Duration::from_secs(5 * 60);

/// Everything that [`WatchStatus::told`] says of a watch: the conditions, and `silent`.
pub const CONDITIONS: [&str; 8] = [
    Condition::Starting.as_str(),
    Condition::Listing.as_str(),
    Condition::Synced.as_str(),
    Condition::Forbidden.as_str(),
    Condition::Absent.as_str(),
    Condition::VersionGone.as_str(),
    Condition::Retrying.as_str(),
    SILENT,
];

/// Asks whoever keeps the book of what was accepted.
struct AskAccepted(Box<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for AskAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskAccepted(..)")
    }
}

const SILENT: &str = "silent";

impl Condition {
    /// `starting`, `listing`, `synced`, `forbidden`, `absent`, `version_gone` or `retrying`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Listing => "listing",
            Self::Synced => "synced",
            Self::Forbidden => "forbidden",
            Self::Absent => "absent",
            Self::VersionGone => "version_gone",
            Self::Retrying => "retrying",
        }
    }

    /// Whether the server was asked and has refused: there is nothing to list.
    fn is_refusal(self) -> bool {
        match self {
            Self::Forbidden | Self::Absent | Self::VersionGone => true,
            Self::Starting | Self::Listing | Self::Synced | Self::Retrying => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::watch_status;
    use super::*;

    fn check(story: &[Condition], silent_for: Duration, expected: Standing) {
        let status = watch_status("v1/pods");
        for condition in story {
            status.set(*condition, Reason::None, "");
        }
        let now = status.last_heard() + silent_for;
        assert_eq!(status.standing(now), expected, "{story:?}, then silent for {silent_for:?}");
    }

    #[test]
    fn a_watch_stands_as_what_it_went_through_says() {
        use Condition::{Absent, Forbidden, Listing, Retrying, Synced, VersionGone};
        let calm = Duration::from_secs(60);
        let silent = SILENT_AFTER + Duration::from_secs(1);
        check(&[], calm, Standing::Syncing);
        check(&[Listing], calm, Standing::Syncing);
        check(&[Listing], silent, Standing::Failed);
        check(&[Listing, Retrying], calm, Standing::Failed);
        check(&[Listing, Synced], calm, Standing::Healthy);
        check(&[Listing, Synced], silent, Standing::Stale);
        check(&[Listing, Synced, Listing], calm, Standing::Healthy);
        check(&[Listing, Synced, Listing], silent, Standing::Stale);
        check(&[Listing, Synced, Retrying], calm, Standing::Stale);
        check(&[Listing, Synced, Retrying, Synced], calm, Standing::Healthy);
        check(&[Listing, Forbidden], calm, Standing::Failed);
        check(&[Listing, Synced, Forbidden], calm, Standing::Failed);
        check(&[Absent], calm, Standing::Failed);
        check(&[VersionGone], calm, Standing::Failed);
    }

    #[test]
    fn a_silent_watch_is_relied_on_again_once_it_is_heard() {
        let status = watch_status("v1/pods");
        status.set(Condition::Synced, Reason::None, "");
        let later = status.last_heard() + SILENT_AFTER + Duration::from_secs(1);
        assert_eq!(status.standing(later), Standing::Stale);
        let before = Instant::now();
        status.heard();
        // The clock of the hot path counts whole milliseconds.
        assert!(status.last_heard() + Duration::from_millis(1) > before);
    }

    #[test]
    fn a_watch_that_was_given_up_as_silent_is_relied_on_again_once_it_is_heard_and_not_by_a_mere_answer() {
        let status = watch_status("v1/pods");
        status.set(Condition::Synced, Reason::None, "");
        status.fell_silent();
        status.answered();
        status.set(Condition::Synced, Reason::None, "");
        assert_eq!(status.standing(Instant::now()), Standing::Stale);
        status.heard();
        assert_eq!(status.standing(Instant::now()), Standing::Healthy);
    }

    #[test]
    fn a_condition_that_is_repeated_keeps_its_beginning() {
        let status = watch_status("v1/pods");
        status.set(Condition::Retrying, Reason::Unreachable, "connection refused");
        let began = status.since();
        status.set(Condition::Retrying, Reason::Unreachable, "connection reset");
        assert_eq!((status.since(), status.get()), (began, (Condition::Retrying, "connection reset".to_owned())));
    }
}
