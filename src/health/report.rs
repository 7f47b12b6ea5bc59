//! What probes are told: alive or not, ready or not, and the reasons.

use super::pulse::ThreadState;
use super::{Reason, Standing, Unreadable, WatchStatus};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whether every thread lives and moves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Liveness {
    /// No thread is dead or stuck.
    pub alive: bool,
    /// How many threads are watched over.
    pub threads: usize,
    /// Those that are dead or stuck.
    pub failing: Vec<FailingThread>,
}

/// A thread that is dead or stuck.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailingThread {
    /// Its name.
    pub thread: String,
    /// What is wrong with it.
    pub failure: ThreadFailure,
    /// For how long, in seconds.
    pub for_seconds: f64,
}

/// What is wrong with a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadFailure {
    /// It ended without saying so, as in a panic.
    Dead,
    /// It is at one piece of work for longer than [`STUCK_AFTER`](super::STUCK_AFTER).
    Stuck,
}

/// Whether everything that was asked for is heard and can be written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Readiness {
    /// The first list of every watch was read and accepted by all it is for, or there is none to read (forbidden, absent, or served in
    /// another version only); sink and state can be written, and Faro does not stop.
    pub ready: bool,
    /// Faro stops: what was read is still handed on, nothing more is read. Absent in the body while it does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// How many watches there are.
    pub watches: usize,
    /// How many more were added and could not be started yet; absent when there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub waiting: usize,
    /// Why the sink cannot write; absent while it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink_failure: Option<String>,
    /// Why the state cannot be written; absent while it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_failure: Option<String>,
    /// The watches that are not synced, that fell silent, or of which an object cannot be read.
    pub not_synced: Vec<WatchReport>,
}

/// One watch, its state and the reason for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WatchReport {
    /// The id that its lines carry.
    pub watch: String,
    /// What it watches, in words.
    pub target: String,
    /// One of [`CONDITIONS`](super::CONDITIONS).
    pub condition: &'static str,
    /// Why; absent in the body where the condition says it all. What the server said is in the log.
    #[serde(skip_serializing_if = "Reason::is_none")]
    pub reason: Reason,
    /// How long the condition has held, in seconds.
    pub for_seconds: f64,
    /// How long ago the server was last heard on it, in seconds.
    pub heard_seconds_ago: f64,
    /// Whether its first list was read and accepted by all it is for, or refused; while not, nothing is ready.
    pub first_list_ended: bool,
    /// How many of its objects are on the server and cannot be read. Absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable_objects: usize,
    /// Some of these, each as `namespace/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

impl Liveness {
    pub(super) fn of(threads: &[Arc<ThreadState>], now: Instant) -> Self {
        let running: Vec<_> = threads.iter().filter(|thread| !thread.has_ended()).collect();
        let failing: Vec<_> = running.iter().filter_map(|thread| FailingThread::of(thread, now)).collect();
        Self { alive: failing.is_empty(), threads: running.len(), failing }
    }
}

impl FailingThread {
    fn of(thread: &ThreadState, now: Instant) -> Option<Self> {
        let dead = thread.dead_for(now).map(|duration| (ThreadFailure::Dead, duration));
        let (failure, duration) = dead.or_else(|| Some((ThreadFailure::Stuck, thread.stuck_for(now)?)))?;
        Some(Self { thread: thread.name().to_owned(), failure, for_seconds: seconds(duration) })
    }
}

impl Readiness {
    /// What the watches say.
    pub(super) fn of(watches: &[Arc<WatchStatus>], now: Instant) -> Self {
        let not_synced: Vec<_> = watches.iter().filter_map(|status| WatchReport::of_unsynced(status, now)).collect();
        let ready = not_synced.iter().all(|watch| watch.first_list_ended);
        let (stopping, waiting, sink_failure, state_failure) = Default::default();
        Self { ready, stopping, watches: watches.len(), waiting, sink_failure, state_failure, not_synced }
    }

    /// Whether something else than a watch keeps it from being ready.
    pub(super) fn is_held_back(&self) -> bool {
        self.stopping || self.waiting > 0 || self.sink_failure.is_some() || self.state_failure.is_some()
    }

    /// Ready, every watch is synced and heard, and each of its objects can be read.
    pub fn strictly_ready(&self) -> bool {
        self.ready && self.not_synced.is_empty()
    }
}

impl WatchReport {
    pub(super) fn of(status: &WatchStatus, now: Instant) -> Self {
        let (condition, reason) = status.told(now);
        let Unreadable { count, names } = status.unreadable();
        Self {
            watch: status.watch().id.to_string(),
            target: status.watch().target.to_string(),
            condition,
            reason,
            for_seconds: seconds(now.saturating_duration_since(status.since())),
            heard_seconds_ago: seconds(now.saturating_duration_since(status.last_heard())),
            first_list_ended: status.first_list_ended(),
            unreadable_objects: count,
            unreadable: names,
        }
    }

    /// `None` of a watch that is synced, heard and read whole, of which nothing is copied.
    fn of_unsynced(status: &WatchStatus, now: Instant) -> Option<Self> {
        let is_heard = status.standing(now) == Standing::Healthy && status.is_synced();
        let is_good = is_heard && status.first_list_ended() && status.unreadable().count == 0;
        (!is_good).then(|| Self::of(status, now))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// To the millisecond: enough for people, and short in JSON.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}
