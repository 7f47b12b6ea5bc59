//! What is alive, what is heard and what is stuck: the truth behind `/health`, `/ready` and the health metrics.
//!
//! Every informer keeps its [`WatchStatus`] up to date; every long-lived thread has a [`Pulse`]; the sink says when it
//! cannot write. Readers take a [`Liveness`] or a [`Readiness`], which hold the reasons too. Nothing here waits: locks
//! are held for the copying of a few words, and the hot path ([`WatchStatus::heard`], [`Pulse`]) takes none.

mod pulse;
mod reason;
mod report;
mod watch_status;

pub use pulse::{Pulse, STUCK_AFTER};
pub use reason::Reason;
pub use report::{FailingThread, Liveness, Readiness, ThreadFailure, WatchReport};
pub use watch_status::{CONDITIONS, Condition, SILENT_AFTER, Standing, Unreadable, WatchStatus};

use crate::api::Watch;
use pulse::ThreadState;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Everything that is watched over, shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    clock: Clock,
    watches: Mutex<Vec<Arc<WatchStatus>>>,
    threads: Mutex<Vec<Arc<ThreadState>>>,
    /// Why the sink cannot write; `None` while it can.
    sink_failure: Mutex<Option<String>>,
    /// Why the state cannot be written; `None` while it can.
    state_failure: Mutex<Option<String>>,
    /// Either of them is there.
    is_held: Arc<AtomicBool>,
    /// Every configured watch was added.
    has_begun: AtomicBool,
    /// Watches that were added to a run, and are not among the watches yet.
    waiting: AtomicUsize,
    stopping: AtomicBool,
}

impl Health {
    /// Begins to watch over `watch`. Add every watch before the first one starts: [`Readiness`] knows only those added.
    pub fn add_watch(&self, watch: Arc<Watch>) -> Arc<WatchStatus> {
        let status = Arc::new(WatchStatus::new(watch, self.0.clock, Arc::clone(&self.0.is_held)));
        lock(&self.0.watches).push(Arc::clone(&status));
        status
    }

    /// Stops watching over what `status` is about: it was removed, not lost.
    pub fn remove_watch(&self, status: &Arc<WatchStatus>) {
        lock(&self.0.watches).retain(|known| !Arc::ptr_eq(known, status));
    }

    /// Begins to watch over the thread `name`. It counts as waiting until it says otherwise.
    pub fn add_thread(&self, name: &str) -> Pulse {
        let (pulse, state) = Pulse::new(name, self.0.clock);
        let mut threads = lock(&self.0.threads);
        // Threads that ended as they should are forgotten here, so that months of new ones do not add up.
        threads.retain(|thread| !thread.has_ended());
        threads.push(state);
        pulse
    }

    /// Notes that the sink cannot write now, and why. The reason is for people and holds no event.
    pub fn sink_failed(&self, reason: impl Into<String>) {
        self.note(&self.0.sink_failure, Some(reason.into()));
    }

    /// Notes that the sink can write (again).
    pub fn sink_ok(&self) {
        self.note(&self.0.sink_failure, None);
    }

    /// Notes that the state cannot be written now, and why. The reason is for people and holds no event.
    pub fn state_failed(&self, reason: impl Into<String>) {
        self.note(&self.0.state_failure, Some(reason.into()));
    }

    /// Notes that the state can be written (again).
    pub fn state_ok(&self) {
        self.note(&self.0.state_failure, None);
    }

    fn note(&self, failure: &Mutex<Option<String>>, reason: Option<String>) {
        *lock(failure) = reason;
        let is_held = lock(&self.0.sink_failure).is_some() || lock(&self.0.state_failure).is_some();
        self.0.is_held.store(is_held, Ordering::Relaxed);
    }

    /// Notes that every configured watch was added: where there is none, nothing is missing.
    pub fn begun(&self) {
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// Notes how many watches were asked for at run time and could not be added yet.
    pub fn waiting_to_start(&self, waiting: usize) {
        self.0.waiting.store(waiting, Ordering::Release);
    }

    /// Notes that Faro stops: from here on it is not ready, and still alive.
    pub fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether every thread lives and moves.
    pub fn liveness(&self) -> Liveness {
        self.liveness_at(Instant::now())
    }

    /// Whether the first list of every watch has ended and the sink can write, and what is not synced.
    pub fn readiness(&self) -> Readiness {
        self.readiness_at(Instant::now())
    }

    /// Every watch that is watched over, in the order in which they were added.
    pub fn watches(&self) -> Vec<Arc<WatchStatus>> {
        lock(&self.0.watches).clone()
    }

    /// Every watch, its state and the reason for it, in the order in which they were added.
    pub fn watch_reports(&self) -> Vec<WatchReport> {
        let now = Instant::now();
        self.watches().iter().map(|status| WatchReport::of(status, now)).collect()
    }

    pub(crate) fn liveness_at(&self, now: Instant) -> Liveness {
        Liveness::of(&lock(&self.0.threads), now)
    }

    fn readiness_at(&self, now: Instant) -> Readiness {
        // Before the watches: what waits becomes one of them before it waits no longer.
        let waiting = self.0.waiting.load(Ordering::Acquire);
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let mut readiness = Readiness::of(&self.watches(), now);
        readiness.waiting = waiting;
        readiness.sink_failure = lock(&self.0.sink_failure).clone();
        readiness.state_failure = lock(&self.0.state_failure).clone();
        readiness.stopping = is(&self.0.stopping);
        readiness.ready &= is(&self.0.has_begun) && !readiness.is_held_back();
        readiness
    }
}

/// Times as milliseconds since the start, so that one fits an atomic.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    /// Never zero, which stands for "not yet" where this is stored.
    fn millis(self) -> u64 {
        self.0.elapsed().as_millis() as u64 + 1
    }

    /// The moment that `millis` stands for.
    fn instant(self, millis: u64) -> Instant {
        self.0 + std::time::Duration::from_millis(millis.saturating_sub(1))
    }
}

/// A panic elsewhere leaves these few words whole, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::api::WatchTarget;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    /// A watch of all objects of `gvr`.
    pub(crate) fn watch(gvr: &str) -> Arc<Watch> {
        Arc::new(Watch::new(WatchTarget::all(gvr.parse().unwrap()), "test", None))
    }

    /// The status of a watch that nothing else knows.
    pub(crate) fn watch_status(gvr: &str) -> Arc<WatchStatus> {
        Health::default().add_watch(watch(gvr))
    }

    /// A health that knows every watch it will ever know.
    fn health() -> Health {
        let health = Health::default();
        health.begun();
        health
    }

    fn check_ready(conditions: &[Condition], ready: bool, strictly: bool) {
        let health = health();
        for condition in conditions {
            health.add_watch(watch("v1/pods")).set(*condition, Reason::None, "a reason");
        }
        let readiness = health.readiness();
        assert_eq!((readiness.ready, readiness.strictly_ready()), (ready, strictly), "{conditions:?}");
        let unsynced = conditions.iter().filter(|condition| **condition != Condition::Synced).count();
        assert_eq!(readiness.not_synced.len(), unsynced, "{conditions:?}");
    }

    #[test]
    fn ready_means_that_every_first_list_has_ended() {
        use Condition::{Absent, Forbidden, Listing, Retrying, Starting, Synced, VersionGone};
        check_ready(&[], true, true);
        check_ready(&[Synced], true, true);
        check_ready(&[Synced, Starting], false, false);
        check_ready(&[Synced, Listing], false, false);
        check_ready(&[Synced, Retrying], false, false);
        check_ready(&[Synced, Forbidden], true, false);
        check_ready(&[Absent, VersionGone], true, false);
    }

    #[test]
    fn nothing_is_ready_before_every_configured_watch_is_known_or_while_an_added_one_waits() {
        let health = Health::default();
        health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
        assert!(!health.readiness().ready);
        health.begun();
        assert!(health.readiness().strictly_ready());
        health.waiting_to_start(2);
        assert_eq!((health.readiness().ready, health.readiness().waiting), (false, 2));
        health.waiting_to_start(0);
        assert!(health.readiness().ready);
    }

    #[test]
    fn a_list_that_nobody_has_accepted_yet_is_no_first_list() {
        let (health, accepted) = (health(), Arc::<AtomicU64>::default());
        let status = health.add_watch(watch("v1/pods"));
        let answer = Arc::clone(&accepted);
        status.ask_accepted(move || answer.load(Ordering::Relaxed));
        status.set(Condition::Synced, Reason::None, "");
        let readiness = health.readiness();
        let named = &readiness.not_synced[0];
        assert_eq!((readiness.ready, named.condition, named.first_list_ended), (false, "listing", false));
        assert_eq!(named.reason, Reason::NotAccepted);
        accepted.store(0b10, Ordering::Relaxed);
        assert!(status.first_list_ended_for(0b10) && !status.first_list_ended_for(0b11) && !health.readiness().ready);
        accepted.store(u64::MAX, Ordering::Relaxed);
        assert!(health.readiness().strictly_ready());
        accepted.store(0, Ordering::Relaxed);
        assert!(health.readiness().strictly_ready(), "the first list is accepted once");
        status.unsync();
        status.set(Condition::Synced, Reason::None, "");
        assert!(!health.readiness().ready, "what has to be compared has no first list");
        status.set(Condition::Forbidden, Reason::Forbidden, "");
        assert!(health.readiness().ready, "there is nothing to accept");
    }

    #[test]
    fn a_watch_that_was_synced_once_keeps_ready_but_is_named() {
        let health = health();
        let status = health.add_watch(watch("v1/pods"));
        status.set(Condition::Synced, Reason::None, "");
        status.set(Condition::Retrying, Reason::Unreachable, "connection refused");
        let readiness = health.readiness();
        assert!(readiness.ready && !readiness.strictly_ready());
        assert_eq!((readiness.not_synced[0].condition, readiness.not_synced[0].reason.as_str()), ("retrying", "unreachable"));
        assert_eq!((readiness.not_synced[0].target.as_str(), readiness.not_synced[0].first_list_ended), ("v1/pods", true));
    }

    #[test]
    fn who_stops_is_alive_but_not_ready() {
        let health = health();
        health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
        health.stopping();
        assert!(!health.readiness().ready && health.liveness().alive);
    }

    #[test]
    fn a_silent_watch_is_named_until_it_is_heard_again() {
        let health = health();
        let status = health.add_watch(watch("v1/pods"));
        status.set(Condition::Synced, Reason::None, "");
        let readiness = health.readiness_at(status.last_heard() + SILENT_AFTER + Duration::from_secs(1));
        assert_eq!(readiness.not_synced[0].condition, "silent");
        assert!(readiness.ready && !readiness.strictly_ready());
        assert!(health.readiness().strictly_ready());
    }

    #[test]
    fn every_watch_is_reported_with_its_state_the_synced_ones_too() {
        let health = health();
        health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
        health.add_watch(watch("v1/nodes")).set(Condition::Forbidden, Reason::Forbidden, "needs \"list\" on nodes");
        let reports = health.watch_reports();
        let told: Vec<_> =
            reports.iter().map(|report| (report.target.as_str(), report.condition, report.reason.as_str())).collect();
        assert_eq!(told, [("v1/pods", "synced", ""), ("v1/nodes", "forbidden", "forbidden")]);
    }

    #[test]
    fn a_sink_that_cannot_write_is_not_ready_but_alive() {
        let health = health();
        health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
        health.sink_failed("no space left on device");
        let readiness = health.readiness();
        assert_eq!((readiness.ready, readiness.sink_failure.as_deref()), (false, Some("no space left on device")));
        assert!(health.liveness().alive);
        health.sink_ok();
        assert!(health.readiness().strictly_ready());
    }

    #[test]
    fn a_state_that_cannot_be_written_is_not_ready_but_alive() {
        let health = health();
        health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
        health.state_failed("no space left on device");
        let readiness = health.readiness();
        assert_eq!((readiness.ready, readiness.state_failure.as_deref()), (false, Some("no space left on device")));
        assert!(health.liveness().alive);
        health.state_ok();
        assert!(health.readiness().strictly_ready());
    }

    #[test]
    fn objects_that_cannot_be_read_are_named_and_keep_a_watch_from_being_strictly_ready() {
        let health = health();
        let status = health.add_watch(watch("v1/pods"));
        status.set(Condition::Synced, Reason::None, "");
        status.set_unreadable(2, vec!["shop/web-0".to_owned()]);
        let readiness = health.readiness();
        assert!(readiness.ready && !readiness.strictly_ready());
        let named = &readiness.not_synced[0];
        assert_eq!(
            (named.condition, named.unreadable_objects, &named.unreadable[..]),
            ("synced", 2, &["shop/web-0".to_owned()][..])
        );
        status.set_unreadable(0, Vec::new());
        assert!(health.readiness().strictly_ready());
    }

    #[test]
    fn a_removed_watch_is_asked_about_no_more() {
        let health = health();
        health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
        let other = health.add_watch(watch("v1/nodes"));
        assert!(!health.readiness().ready);
        health.remove_watch(&other);
        assert_eq!((health.readiness().ready, health.watches().len()), (true, 1));
    }

    fn failures(health: &Health, later: Duration) -> Vec<(String, ThreadFailure)> {
        let liveness = health.liveness_at(Instant::now() + later);
        assert_eq!(liveness.alive, liveness.failing.is_empty());
        liveness.failing.into_iter().map(|thread| (thread.thread, thread.failure)).collect()
    }

    #[test]
    fn a_thread_is_stuck_only_while_it_works_for_too_long() {
        let health = Health::default();
        let pulse = health.add_thread("lane-3");
        let (soon, too_late) = (STUCK_AFTER / 2, STUCK_AFTER + Duration::from_secs(1));
        assert_eq!(failures(&health, too_late), []);
        pulse.working();
        assert_eq!(failures(&health, soon), []);
        assert_eq!(failures(&health, too_late), [("lane-3".to_owned(), ThreadFailure::Stuck)]);
        pulse.waiting();
        assert_eq!(failures(&health, too_late), []);
    }

    #[test]
    fn a_thread_that_panics_is_dead_and_one_that_ends_is_forgotten() {
        let health = Health::default();
        let (pulse, calm) = (health.add_thread("inf-v1/pods"), health.add_thread("sink"));
        let clone = pulse.clone();
        let body = move || {
            let _pulse = pulse;
            panic!("injected");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err());
        assert_eq!(failures(&health, Duration::ZERO), []);
        drop(clone);
        assert_eq!(failures(&health, Duration::ZERO), [("inf-v1/pods".to_owned(), ThreadFailure::Dead)]);
        calm.ended();
        assert_eq!(health.liveness().threads, 1);
        health.add_thread("next").ended();
        assert_eq!(lock(&health.0.threads).len(), 2);
    }
}
