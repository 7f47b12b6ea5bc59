//! One long-lived thread's sign of life.

use super::{Clock, lock};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One long-lived thread's sign of life: it works, and for how long already, or it waits for something outside.
///
/// When the last clone goes without [`ended`](Self::ended), as in a panic, the thread counts as dead. The default one is
/// watched over by nobody.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Option<Arc<Owner>>);

/// What [`Health`](super::Health) knows of one thread.
#[derive(Debug)]
pub(super) struct ThreadState {
    name: String,
    clock: Clock,
    /// When the present piece of work began; `WAITING` when there is none.
    working_since: AtomicU64,
    end: Mutex<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Running,
    AsItShould,
    Dead(Instant),
}

/// Goes with the last clone of a pulse, and says so.
#[derive(Debug)]
struct Owner(Arc<ThreadState>);

/// Longest piece of work of a thread that is not stuck: a probe every few seconds then notices within ten.
///
/// It holds for Faro's own work, which takes milliseconds. A thread that is inside a user's handler, or waits for a disk,
/// a server or room in a queue, reports [`Pulse::waiting`]: however slow those are, the thread is not stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(8);

/// No moment of the clock, which begins at one.
const WAITING: u64 = 0;

impl Pulse {
    pub(super) fn new(name: &str, clock: Clock) -> (Self, Arc<ThreadState>) {
        let state = Arc::new(ThreadState {
            name: name.to_owned(),
            clock,
            working_since: AtomicU64::new(WAITING),
            end: Mutex::new(End::Running),
        });
        (Self(Some(Arc::new(Owner(Arc::clone(&state))))), state)
    }

    /// The thread begins a piece of work that must not last longer than [`STUCK_AFTER`]. Saying it again begins the next.
    pub fn working(&self) {
        if let Some(owner) = &self.0 {
            owner.0.working_since.store(owner.0.clock.millis(), Ordering::Relaxed);
        }
    }

    /// The thread waits for something outside itself: a server, a disk, room in a queue, an event, a user's handler.
    pub fn waiting(&self) {
        if let Some(owner) = &self.0 {
            owner.0.working_since.store(WAITING, Ordering::Relaxed);
        }
    }

    /// The thread ends as it should. Dropped without this, as in a panic, it counts as dead.
    pub fn ended(self) {
        if let Some(owner) = &self.0 {
            owner.0.end_with(End::AsItShould);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end_with(End::Dead(Instant::now()));
    }
}

impl ThreadState {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn has_ended(&self) -> bool {
        *lock(&self.end) == End::AsItShould
    }

    /// How long ago the thread died, when it did.
    pub(super) fn dead_for(&self, now: Instant) -> Option<Duration> {
        match *lock(&self.end) {
            End::Dead(since) => Some(now.saturating_duration_since(since)),
            End::Running | End::AsItShould => None,
        }
    }

    /// How long the thread has been at one piece of work, when that is too long.
    pub(super) fn stuck_for(&self, now: Instant) -> Option<Duration> {
        let since = self.working_since.load(Ordering::Relaxed);
        if since == WAITING || *lock(&self.end) != End::Running {
            return None;
        }
        Some(now.saturating_duration_since(self.clock.instant(since))).filter(|busy| *busy > STUCK_AFTER)
    }

    /// The first end counts.
    fn end_with(&self, end: End) {
        let mut known = lock(&self.end);
        if *known == End::Running {
            *known = end;
        }
    }
}
