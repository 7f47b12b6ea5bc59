//! Lets a few informers list at once and the rest wait, so that a restart does not crush the server.

use crate::lifecycle::Stop;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// At most so many first lists or relists at once to one server: each holds a page or a stream of every object in memory, here and there.
pub const MAX_CONCURRENT_LISTS: usize = 4;

/// The gate of one server, shared by the clones that its informers hold.
#[derive(Clone, Debug)]
pub struct ListGate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counts: Mutex<Counts>,
    freed: Condvar,
}

#[derive(Debug)]
struct Counts {
    free: usize,
    watches: usize,
}

/// The right to list, given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

/// One watch among those that share a gate; no longer counted when dropped.
#[derive(Debug)]
pub(super) struct Member(Arc<Inner>);

impl ListGate {
    /// Lets `limit` list at once, one at least.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { counts: Mutex::new(Counts { free: limit.max(1), watches: 0 }), freed: Condvar::new() }))
    }

    /// Waits for the right to list. `None` when `stop` was requested.
    ///
    /// # Blocking
    ///
    /// While as many others list as may.
    pub fn acquire(&self, stop: &Stop) -> Option<Permit> {
        let mut counts = self.0.lock();
        while counts.free == 0 {
            if stop.is_requested() {
                return None;
            }
            (counts, _) = self.0.freed.wait_timeout(counts, STOP_CHECK).unwrap_or_else(PoisonError::into_inner);
        }
        counts.free -= 1;
        Some(Permit(Arc::clone(&self.0)))
    }

    /// Counts one more watch of this server.
    pub(super) fn join(&self) -> Member {
        self.0.lock().watches += 1;
        Member(Arc::clone(&self.0))
    }
}

impl Default for ListGate {
    fn default() -> Self {
        Self::new(MAX_CONCURRENT_LISTS)
    }
}

impl Member {
    /// How many watches share the gate, this one included.
    pub(super) fn watches(&self) -> usize {
        self.0.lock().watches
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.freed.notify_one();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.lock().watches -= 1;
    }
}

/// How often a wait at the gate looks for a stop request, which has a condition variable of its own.
const STOP_CHECK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Joined;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_than_the_limit_are_inside_and_all_get_their_turn() {
        let gate = ListGate::new(2);
        let (inside, most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<Joined> = (0..8)
            .map(|n| {
                let (gate, inside, most, done) = (gate.clone(), inside.clone(), most.clone(), done.clone());
                let list = move || {
                    for _ in 0..50 {
                        let permit = gate.acquire(&Stop::new()).expect("nobody stops this");
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                };
                Joined::spawn(format!("list-{n}"), list).unwrap()
            })
            .collect();
        drop(threads);
        assert_eq!((done.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (8, 2));
    }

    #[test]
    fn a_stop_wakes_a_wait_at_the_gate() {
        let gate = ListGate::new(1);
        let stop = Stop::new();
        let held = gate.acquire(&stop);
        let waiting = {
            let (gate, stop) = (gate.clone(), stop.clone());
            Joined::spawn("waits", move || assert!(gate.acquire(&stop).is_none())).unwrap()
        };
        stop.request();
        drop(waiting);
        drop(held);
        assert!(gate.acquire(&Stop::new()).is_some());
    }
}
