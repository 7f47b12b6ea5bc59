//! How much one subscription has in flight: the bound of its queue, and the part of it that each watch may take.
//!
//! A place is taken before an event is handed over and given back when the subscription has dealt with it, parked events
//! included. Until the queue or a watch's part of it is full nobody waits; then only the watches that feed it do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most events of one subscription in flight, where [`Subscription::queue`](super::Subscription::queue) says nothing else.
pub const QUEUE_EVENTS: usize = 1024;

/// Most bytes of those events, but for the event that crosses it. Objects of 1.5 MiB, the most that etcd takes by default,
/// would make 1.5 GiB of the number of events alone.
pub const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// One watch takes at most this share of a queue, so that a busy one leaves room for others.
const SHARE: usize = 4;

/// Parked events take at most this share of a queue, and of a watch's part: what is parked beyond becomes owed, so that
/// objects that are refused never stop the others.
const PARKED_SHARE: usize = 2;

/// Waiting watches go on when no more than this share is taken, so that they wake for many events, not for each.
const WAKE_NUMERATOR: usize = 3;
const WAKE_DENOMINATOR: usize = 4;

/// A waiting watch looks by itself so often: there may be room, and nothing left that would wake it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The queue of one subscription, as a number of places.
#[derive(Debug)]
pub(super) struct Queue {
    events_max: usize,
    bytes_max: usize,
    taken: Level,
    parked: Level,
    waiting: AtomicUsize,
    /// Held only by those who wait, and by whoever wakes them.
    lock: Mutex<()>,
    freed: Condvar,
}

/// The part of a queue that one watch feeds.
#[derive(Debug)]
pub(super) struct Share {
    queue: Arc<Queue>,
    taken: Level,
    parked: Level,
}

/// A number of events, and their bytes.
#[derive(Debug, Default)]
struct Level {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// One place in a queue, taken by one event. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    share: Arc<Share>,
    bytes: usize,
    is_parked: bool,
}

impl Queue {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Self {
        assert!(events_max > 0 && bytes_max > 0, "a queue without room is refused before");
        let (taken, parked, waiting) = Default::default();
        Self { events_max, bytes_max, taken, parked, waiting, lock: Mutex::default(), freed: Condvar::new() }
    }

    /// Wakes everyone who waits, for whatever they may see now.
    pub(super) fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Under the lock, so that it comes neither before nor between a look and a wait.
            let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.freed.notify_all();
        }
    }
}

impl Share {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        Self { queue: Arc::clone(queue), taken: Level::default(), parked: Level::default() }
    }

    fn events_max(&self) -> usize {
        (self.queue.events_max / SHARE).max(1)
    }

    fn bytes_max(&self) -> usize {
        (self.queue.bytes_max / SHARE).max(1)
    }

    fn has_room(&self) -> bool {
        let queue = &self.queue;
        self.taken.is_below(self.events_max(), self.bytes_max()) && queue.taken.is_below(queue.events_max, queue.bytes_max)
    }

    /// Takes one place, where there is one. Only the thread of the watch takes.
    pub(super) fn take(&self) -> bool {
        let more = |taken| (taken < self.queue.events_max).then_some(taken + 1);
        let is_taken = self.has_room() && self.queue.taken.events.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok();
        if is_taken {
            self.taken.events.fetch_add(1, Ordering::SeqCst);
        }
        is_taken
    }

    /// Waits until there is room, or `is_over`, or the deadline.
    pub(super) fn wait(&self, deadline: Instant, is_over: impl Fn() -> bool) {
        let mut guard = self.queue.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue.waiting.fetch_add(1, Ordering::SeqCst);
        while !self.has_room() && !is_over() {
            let limit = deadline.saturating_duration_since(Instant::now());
            if limit.is_zero() {
                break;
            }
            let waited = self.queue.freed.wait_timeout(guard, limit.min(LOOK_AGAIN));
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(guard);
        self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Gives the place that was taken to an event.
    pub(super) fn slot(self: &Arc<Self>, bytes: usize) -> Slot {
        self.queue.taken.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.taken.bytes.fetch_add(bytes, Ordering::SeqCst);
        Slot { share: Arc::clone(self), bytes, is_parked: false }
    }

    /// Gives a place back that no event took.
    pub(super) fn give_back(&self) {
        self.release(0);
    }

    pub(super) fn wake(&self) {
        self.queue.wake();
    }

    fn release(&self, bytes: usize) {
        let is_enough_of_watch = self.taken.release(bytes, self.events_max(), self.bytes_max());
        let is_enough = self.queue.taken.release(bytes, self.queue.events_max, self.queue.bytes_max);
        if is_enough_of_watch || is_enough {
            self.queue.wake();
        }
    }
}

impl Level {
    fn is_below(&self, events: usize, bytes: usize) -> bool {
        self.events.load(Ordering::SeqCst) < events && self.bytes.load(Ordering::SeqCst) < bytes
    }

    /// Takes one event out. Returns whether that was the one which makes waiting watches go on.
    fn release(&self, bytes: usize, events_max: usize, bytes_max: usize) -> bool {
        let wakes = |max: usize, before: usize, less: usize| {
            let mark = max / WAKE_DENOMINATOR * WAKE_NUMERATOR;
            before > mark && before - less <= mark
        };
        let bytes_before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        let events_before = self.events.fetch_sub(1, Ordering::SeqCst);
        assert!(events_before > 0 && bytes_before >= bytes, "only what was taken comes back");
        wakes(events_max, events_before, 1) || wakes(bytes_max, bytes_before, bytes)
    }

    fn add(&self, bytes: usize) {
        self.events.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }
}

impl Slot {
    /// Notes that its event waits for an earlier one of its object, or to be tried again. Returns whether there is still room
    /// for parked events.
    pub(super) fn park(&mut self) -> bool {
        if !std::mem::replace(&mut self.is_parked, true) {
            self.share.parked.add(self.bytes);
            self.share.queue.parked.add(self.bytes);
        }
        let (share, queue) = (&self.share, &self.share.queue);
        share.parked.is_below(share.events_max() / PARKED_SHARE, share.bytes_max() / PARKED_SHARE)
            && queue.parked.is_below(queue.events_max / PARKED_SHARE, queue.bytes_max / PARKED_SHARE)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_parked {
            let (share, queue) = (&self.share, &self.share.queue);
            share.parked.release(self.bytes, usize::MAX, usize::MAX);
            queue.parked.release(self.bytes, usize::MAX, usize::MAX);
        }
        self.share.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::DEADLINE;
    use std::sync::atomic::AtomicBool;

    fn shares<const N: usize>(events: usize, bytes: usize) -> [Arc<Share>; N] {
        let queue = Arc::new(Queue::new(events, bytes));
        [(); N].map(|()| Arc::new(Share::new(&queue)))
    }

    fn take_all(share: &Arc<Share>) -> Vec<Slot> {
        std::iter::from_fn(|| share.take().then(|| share.slot(1))).collect()
    }

    #[test]
    fn one_watch_takes_a_quarter_of_a_queue_and_all_watches_share_the_whole() {
        let shares = shares::<5>(16, 1000);
        let taken: Vec<Vec<Slot>> = shares.iter().map(take_all).collect();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 4, 0]);
        drop(taken);
        assert_eq!(take_all(&shares[4]).len(), 4);
    }

    #[test]
    fn a_few_large_events_use_up_what_many_small_ones_do() {
        let [share, other] = shares(1000, 4000);
        assert!(share.take());
        let large = share.slot(1000);
        assert!(!share.take() && other.take(), "a quarter of the bytes is one watch's");
        let whole = other.slot(3000);
        let third = Arc::new(Share::new(&other.queue));
        assert!(!third.take(), "all bytes are taken");
        drop(large);
        assert!(third.take() && share.take() && !other.take());
        third.give_back();
        share.give_back();
        drop(whole);
        assert!(other.take());
        other.give_back();
    }

    #[test]
    fn a_waiting_watch_goes_on_when_there_is_room_or_it_is_over() {
        let [share] = shares(16, 1000);
        let slots = take_all(&share);
        let is_over = AtomicBool::new(false);
        let wait_begun = |share: &Share| {
            while share.queue.waiting.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| share.wait(Instant::now() + DEADLINE, || is_over.load(Ordering::SeqCst)));
            wait_begun(&share);
            is_over.store(true, Ordering::SeqCst);
            share.wake();
            waiting.join().unwrap();
            is_over.store(false, Ordering::SeqCst);
            let waiting = scope.spawn(|| share.wait(Instant::now() + DEADLINE, || is_over.load(Ordering::SeqCst)));
            wait_begun(&share);
            drop(slots);
            waiting.join().unwrap();
            assert!(share.take());
            share.give_back();
        });
    }

    #[test]
    fn parked_events_leave_room_for_others() {
        let [share] = shares(64, 1 << 20);
        let mut slots = take_all(&share);
        let parked = slots.iter_mut().map(Slot::park).take_while(|has_room| *has_room).count();
        assert_eq!((slots.len(), parked), (16, 7), "half of a watch's part");
        assert!(!slots[0].park());
        slots.truncate(7);
        assert!(slots[0].park() && share.take());
        share.give_back();
    }
}
