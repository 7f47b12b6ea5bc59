//! The lanes of one subscription: an object always takes the same one, and each has one worker.
//!
//! A lane never refuses: what bounds it are the places in its subscription's [queue](super::queue), one for each event.

use super::Completion;
use super::queue::Slot;
use super::tracker::Ledger;
use super::worker::Work;
use crate::event::MatchedEvent;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The lanes of one subscription.
#[derive(Debug)]
pub(super) struct Lanes(Box<[Lane]>);

/// Events on their way to one worker.
#[derive(Debug, Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    filled: Condvar,
    is_halted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    works: VecDeque<Work>,
    /// Objects of which earlier runs owe something.
    restored: Vec<Restored>,
    /// A watch was removed: its parked events are to be dropped.
    is_swept: bool,
    /// Nothing more comes.
    is_closed: bool,
    /// The worker has ended: what comes is dropped.
    is_ended: bool,
    worker_waits: bool,
}

/// Where an event goes: the lane of its object, and what tells the object from others there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: u64,
    /// Two objects of one hash are kept in order as if they were one.
    pub(super) object: u64,
}

/// An object of which earlier runs owe something.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) object: u64,
    pub(super) ledger: Arc<Ledger>,
    pub(super) key: Arc<str>,
}

/// What a worker finds in its lane.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) restored: Vec<Restored>,
    pub(super) is_swept: bool,
    pub(super) is_closed: bool,
}

impl Lanes {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Lane::default()).collect())
    }

    pub(super) fn lane(&self, index: usize) -> &Lane {
        &self.0[index]
    }

    pub(super) fn send(&self, place: Place, event: MatchedEvent, completion: Completion, slot: Slot) {
        self.lane_of(place).send(Work::new(event, completion, slot, place.object));
    }

    /// Goes on with what earlier runs owe of an object. Comes before any event of its watch.
    pub(super) fn restore(&self, place: Place, ledger: &Arc<Ledger>, key: &Arc<str>) {
        let restored = Restored { object: place.object, ledger: Arc::clone(ledger), key: Arc::clone(key) };
        self.lane_of(place).change(|state| state.restored.push(restored));
    }

    fn lane_of(&self, place: Place) -> &Lane {
        &self.0[usize::try_from(place.lane % self.0.len() as u64).expect("a remainder of a usize")]
    }

    /// Drops the events of removed watches soon, also where they wait to be tried again.
    pub(super) fn sweep(&self) {
        self.0.iter().for_each(|lane| lane.change(|state| state.is_swept = true));
    }

    /// Nothing more comes: each worker ends when its lane is empty.
    pub(super) fn close(&self) {
        self.0.iter().for_each(|lane| lane.change(|state| state.is_closed = true));
    }

    /// Each worker ends at once; one that sits in a handler, when that returns.
    pub(super) fn halt(&self) {
        for lane in &self.0 {
            lane.is_halted.store(true, Ordering::Relaxed);
            lane.change(|state| state.is_closed = true);
        }
    }
}

impl Lane {
    fn send(&self, work: Work) {
        let mut state = self.state();
        if state.is_ended {
            // A completion has locks of its own, which are not taken under this one. The event stays unacknowledged.
            drop(state);
            return drop(work);
        }
        state.works.push_back(work);
        self.wake(state);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let is_waiting = std::mem::take(&mut state.worker_waits);
        // Not under the lock, which the worker takes next.
        drop(state);
        if is_waiting {
            self.filled.notify_one();
        }
    }

    pub(super) fn is_halted(&self) -> bool {
        self.is_halted.load(Ordering::Relaxed)
    }

    /// Moves everything that has come into `taken`, which is empty, without waiting.
    pub(super) fn take(&self, taken: &mut VecDeque<Work>) -> Found {
        let mut state = self.state();
        std::mem::swap(&mut state.works, taken);
        Found {
            restored: std::mem::take(&mut state.restored),
            is_swept: std::mem::take(&mut state.is_swept),
            is_closed: state.is_closed,
        }
    }

    /// Waits until there is something to take, or until `due`. What the worker has found before is no news: `knows_closed` says
    /// whether that was that the lane is closed.
    pub(super) fn wait(&self, due: Option<Instant>, knows_closed: bool) {
        let mut state = self.state();
        loop {
            let has_news =
                !state.works.is_empty() || !state.restored.is_empty() || state.is_swept || state.is_closed != knows_closed;
            let limit = due.map(|due| due.saturating_duration_since(Instant::now()));
            if has_news || self.is_halted() || limit.is_some_and(|limit| limit.is_zero()) {
                state.worker_waits = false;
                return;
            }
            state.worker_waits = true;
            state = match limit {
                Some(limit) => self.filled.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The worker has ended: what is here, and what comes, stays unacknowledged.
    pub(super) fn end(&self) {
        let left = {
            let mut state = self.state();
            state.is_ended = true;
            std::mem::take(&mut state.works)
        };
        drop(left);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_closed_between_a_look_and_the_wait_is_no_wait() {
        let (lanes, mut taken) = (Lanes::new(1), VecDeque::new());
        let found = lanes.lane(0).take(&mut taken);
        assert!(!found.is_closed);
        lanes.close();
        lanes.lane(0).wait(None, found.is_closed);
        let found = lanes.lane(0).take(&mut taken);
        assert!(found.is_closed && taken.is_empty());
        // Nothing but its time is waited for then.
        lanes.lane(0).wait(Some(Instant::now()), found.is_closed);
    }
}
