//! How many events may be in flight: for each watch, and for all watches of a gvr together.
//!
//! A credit is taken before an event is handed over and given back when the event is complete. As a gvr never has more
//! credits than one of its lanes has room, handing over never waits: all waiting is here, where it can be limited and ended.

use crate::event::Credit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most events of one watch in flight. At 6 KB an object they keep 1.5 MB alive; more would not make lanes busier.
pub const CREDITS_PER_WATCH: usize = 256;

/// Most events of all watches of one gvr in flight, and the room of each of its lanes: two busy watches at full speed.
pub const CREDITS_PER_GVR: usize = 2 * CREDITS_PER_WATCH;

/// Most bytes of all events of one gvr in flight, but for the event that crosses it. Objects of 1.5 MiB, the most that etcd
/// takes by default, would make 768 MiB of the number of events allowed alone.
pub const IN_FLIGHT_BYTES_PER_GVR: usize = 16 * 1024 * 1024;

/// A waiting watch goes on when no more than this share of its credits is taken, so that it wakes for many events, not for each.
const WAKE_NUMERATOR: usize = 3;
const WAKE_DENOMINATOR: usize = 4;

/// Down to how many events in flight wake the waiting watches of a gvr, and a waiting watch.
const WAKE_GVR: usize = CREDITS_PER_GVR * WAKE_NUMERATOR / WAKE_DENOMINATOR;
pub(super) const WAKE_WATCH: usize = CREDITS_PER_WATCH * WAKE_NUMERATOR / WAKE_DENOMINATOR;

/// Down to how many bytes in flight wake the waiting watches of a gvr.
const WAKE_BYTES: usize = IN_FLIGHT_BYTES_PER_GVR / WAKE_DENOMINATOR * WAKE_NUMERATOR;

/// The credits of one gvr.
#[derive(Debug, Default)]
pub(super) struct Gate {
    counts: Mutex<Counts>,
    /// Grows without the lock: whoever hands over an event has its credit already. Shrinks under the lock.
    bytes: AtomicUsize,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    in_flight: usize,
    waiting: usize,
}

/// The credits of one watch. Changed only while its gate's lock is held.
#[derive(Debug, Default)]
pub(super) struct Account {
    in_flight: AtomicUsize,
    closed: AtomicBool,
}

impl Account {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Gate {
    /// Takes one credit, waiting `limit` at most.
    pub(super) fn take(&self, account: &Account, limit: Duration) -> Credit {
        let mut counts = self.counts();
        if self.must_wait(account, &counts) && !limit.is_zero() {
            counts.waiting += 1;
            (counts, _) = self
                .freed
                .wait_timeout_while(counts, limit, |counts| self.must_wait(account, counts))
                .unwrap_or_else(PoisonError::into_inner);
            counts.waiting -= 1;
        }
        if account.is_closed() {
            return Credit::Closed;
        }
        if self.must_wait(account, &counts) {
            return Credit::Exhausted;
        }
        counts.in_flight += 1;
        account.in_flight.store(account.in_flight() + 1, Ordering::Relaxed);
        Credit::Granted
    }

    /// Takes nothing, and waits `limit`, or less when `account` is closed.
    pub(super) fn wait_until_closed(&self, account: &Account, limit: Duration) -> Credit {
        let mut counts = self.counts();
        counts.waiting += 1;
        (counts, _) =
            self.freed.wait_timeout_while(counts, limit, |_| !account.is_closed()).unwrap_or_else(PoisonError::into_inner);
        counts.waiting -= 1;
        if account.is_closed() { Credit::Closed } else { Credit::Exhausted }
    }

    fn must_wait(&self, account: &Account, counts: &Counts) -> bool {
        let exhausted = account.in_flight() >= CREDITS_PER_WATCH || counts.in_flight >= CREDITS_PER_GVR;
        !account.is_closed() && (exhausted || self.bytes.load(Ordering::Relaxed) >= IN_FLIGHT_BYTES_PER_GVR)
    }

    /// Counts the bytes of an event that is handed over.
    pub(super) fn hold(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back `credits` of `account`, and the `bytes` of events that are no longer held.
    pub(super) fn give_back(&self, account: &Account, credits: usize, bytes: usize) {
        let mut counts = self.counts();
        let bytes_before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(bytes <= bytes_before, "only bytes that were held come back");
        let (watch_before, gvr_before) = (account.in_flight(), counts.in_flight);
        assert!(credits <= watch_before && watch_before <= gvr_before, "only credits that were taken come back");
        account.in_flight.store(watch_before - credits, Ordering::Relaxed);
        counts.in_flight -= credits;
        let wakes = |mark: usize, before: usize, less: usize| before > mark && before - less <= mark;
        let enough = wakes(WAKE_WATCH, watch_before, credits) || wakes(WAKE_GVR, gvr_before, credits);
        if counts.waiting > 0 && (enough || wakes(WAKE_BYTES, bytes_before, bytes)) {
            self.freed.notify_all();
        }
    }

    /// Grants `account` nothing more, and wakes whoever waits for it.
    pub(super) fn close(&self, account: &Account) {
        let _counts = self.counts();
        account.closed.store(true, Ordering::Relaxed);
        self.freed.notify_all();
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(gate: &Gate, account: &Account) -> usize {
        std::iter::repeat_with(|| gate.take(account, Duration::ZERO)).take_while(|credit| *credit == Credit::Granted).count()
    }

    #[test]
    fn a_watch_has_its_credits_and_all_watches_of_a_gvr_share_theirs() {
        let gate = Gate::default();
        let [first, second, third] = [const { Account { in_flight: AtomicUsize::new(0), closed: AtomicBool::new(false) } }; 3];
        assert_eq!(take_all(&gate, &first), CREDITS_PER_WATCH);
        assert_eq!(take_all(&gate, &second), CREDITS_PER_GVR - CREDITS_PER_WATCH);
        assert_eq!(take_all(&gate, &third), 0);
        gate.give_back(&first, 3, 0);
        assert_eq!(take_all(&gate, &third), 3);
        assert_eq!(take_all(&gate, &first), 0);
    }

    #[test]
    fn a_few_large_events_use_up_what_many_small_ones_do() {
        let (gate, account) = (Gate::default(), Account::default());
        for _ in 0..2 {
            assert_eq!(gate.take(&account, Duration::ZERO), Credit::Granted);
            gate.hold(IN_FLIGHT_BYTES_PER_GVR / 2);
        }
        assert_eq!(gate.take(&account, Duration::ZERO), Credit::Exhausted);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.take(&account, Duration::from_secs(60)));
            while gate.counts().waiting == 0 {
                std::thread::yield_now();
            }
            gate.give_back(&account, 1, IN_FLIGHT_BYTES_PER_GVR / 2);
            assert_eq!(waiting.join().unwrap(), Credit::Granted);
        });
    }

    #[test]
    fn closing_wakes_a_waiting_watch_and_no_other() {
        let (gate, closing, other) = (Gate::default(), Account::default(), Account::default());
        take_all(&gate, &closing);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.take(&closing, Duration::from_secs(60)));
            while gate.counts().waiting == 0 {
                std::thread::yield_now();
            }
            gate.close(&closing);
            assert_eq!(waiting.join().unwrap(), Credit::Closed);
        });
        assert_eq!(gate.take(&other, Duration::ZERO), Credit::Granted);
    }

    #[test]
    fn a_waiting_watch_goes_on_when_a_quarter_of_its_credits_is_back() {
        let (gate, account) = (Gate::default(), Account::default());
        take_all(&gate, &account);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.take(&account, Duration::from_secs(60)));
            while gate.counts().waiting == 0 {
                std::thread::yield_now();
            }
            for _ in 0..CREDITS_PER_WATCH - WAKE_WATCH {
                gate.give_back(&account, 1, 0);
            }
            assert_eq!(waiting.join().unwrap(), Credit::Granted);
        });
    }
}
