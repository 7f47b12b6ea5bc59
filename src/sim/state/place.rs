//! Where watches wait for what happens in one namespace of one resource, or in all of them.
//!
//! Takes events from whoever records them, under a lock of its own: a watch that takes them holds up no write, and is woken
//! for nothing else. Whatever else may concern a watch stirs the place, and the watch asks the state.

use super::storage::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A place to wait.
#[derive(Debug)]
pub(crate) struct Place {
    recent: Mutex<Recent>,
    wake: Condvar,
}

/// What happened of late.
#[derive(Debug)]
struct Recent {
    /// Oldest first.
    events: VecDeque<Arc<Event>>,
    /// The version of the newest event that was forgotten.
    forgotten: u64,
    /// How often something happened that is no event.
    stirs: u64,
}

/// What a look at a place shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// There were events, and they were taken.
    Taken,
    /// Events that were not taken are forgotten.
    Missed,
    /// So often something else happened, which only the state knows.
    Stirred(u64),
    /// Nothing came until then.
    Nothing,
}

impl Place {
    /// A place at which this happened so far.
    pub(super) fn new(events: VecDeque<Arc<Event>>, forgotten: u64) -> Self {
        Self { recent: Mutex::new(Recent { events, forgotten, stirs: 0 }), wake: Condvar::new() }
    }

    /// Adds what happened.
    pub(super) fn record(&self, event: &Arc<Event>) {
        self.lock().events.push_back(Arc::clone(event));
        self.wake.notify_all();
    }

    /// Forgets the oldest event.
    pub(super) fn forget_one(&self) {
        let mut recent = self.lock();
        if let Some(event) = recent.events.pop_front() {
            recent.forgotten = event.version;
        }
    }

    /// Makes every watch ask the state.
    pub(super) fn stir(&self) {
        self.lock().stirs += 1;
        self.wake.notify_all();
    }

    /// Waits until `limit` for what comes after `version`, and offers it to `take`, oldest first, until that says no. A watch
    /// that has seen `stirs` is told of those that follow.
    pub(crate) fn look(&self, version: u64, stirs: u64, limit: Instant, mut take: impl FnMut(&Arc<Event>) -> bool) -> Look {
        let mut recent = self.lock();
        loop {
            if version < recent.forgotten {
                return Look::Missed;
            }
            if recent.events.back().is_some_and(|newest| newest.version > version) {
                let first = recent.events.partition_point(|event| event.version <= version);
                let _ = recent.events.range(first..).all(&mut take);
                return Look::Taken;
            }
            if recent.stirs != stirs {
                return Look::Stirred(recent.stirs);
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Look::Nothing;
            }
            recent = self.wake.wait_timeout(recent, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether something happened after `version`, forgotten since or not.
    pub(crate) fn is_past(&self, version: u64) -> bool {
        let recent = self.lock();
        recent.forgotten > version || recent.events.back().is_some_and(|newest| newest.version > version)
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
