//! The buffer between those who append lines and the writer thread, which takes them all at once.
//!
//! Appending never waits. What bounds the buffer, in lines and in bytes, are the credits of the watches: each line in it is
//! an event in flight, and shorter than its object and what middleware may add.

use super::json_record::JsonRecord;
use super::record::Record;
use crate::api::WatchId;
use crate::dispatch::Completion;
use crate::event::MatchedEvent;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines, and the duty to complete their events, one for each line.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) completions: Vec<Completion>,
}

/// Where the two sides meet.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// There is something for the writer to do.
    filled: Condvar,
    /// A sync has ended.
    synced: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    record: Record,
    /// Watches of which a record was dropped since their last line.
    dropped: HashSet<WatchId>,
    /// The writer waits for anything.
    writer_waits: bool,
    /// The writer has just written and waits a moment for more.
    gathering: bool,
    /// How many syncs were asked for, and how many of those have ended.
    syncs: (u64, u64),
    /// There were lines in the batch when the last of those syncs was asked for: they are written before it.
    write_before_sync: bool,
    /// Set once: until when the writer may go on trying.
    deadline: Option<Instant>,
    /// Nothing more will be written.
    ended: bool,
    /// Everything was written and synced before that.
    ended_clean: bool,
}

/// What the writer is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Write what was swapped in.
    Write,
    /// What was appended before these syncs were asked for is written: sync it, and tell that so many were answered.
    Sync(u64),
    /// The time has come that [`Buffer::take`] was told.
    Due,
    /// Everything is written and nothing more will come.
    End,
}

/// From here on the writer is woken without a flush: a write of so many bytes costs little more for each than a larger one,
/// and a watch has credit for more.
const GATHERED_BYTES: usize = 32 * 1024;

/// How long the writer waits for more after a write, so that a busy stream is few large writes. A line that comes alone is
/// written at once.
const GATHER_LIMIT: Duration = Duration::from_millis(1);

/// A batch grown beyond this gives its memory back.
const BATCH_BYTES_KEPT: usize = 8 * GATHERED_BYTES;

impl Batch {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
        self.completions.clear();
    }
}

impl Buffer {
    /// Appends the line of `event`, with what middleware has `changed`; the writer may leave it there until the next
    /// [`flush`](Self::flush). Once the writer has ended, drops `completion`.
    pub(super) fn append(&self, event: &MatchedEvent, changed: Option<&JsonRecord>, completion: Completion) {
        let mut state = self.state();
        if state.ended {
            // A completion has locks of its own, which are not taken under this one.
            drop(state);
            return drop(completion);
        }
        let State { batch, record, dropped, .. } = &mut *state;
        let after_drop = !dropped.is_empty() && dropped.remove(&event.watch.id);
        let before = batch.bytes.len();
        record.append(event, changed, after_drop, &mut batch.bytes);
        completion.metrics().bytes_written((batch.bytes.len() - before) as u64);
        batch.completions.push(completion);
        if state.batch.bytes.len() >= GATHERED_BYTES {
            let is_gathering = std::mem::take(&mut state.gathering);
            self.wake_writer(state, is_gathering);
        }
    }

    /// Marks the next line of `watch` as one that comes after a dropped one.
    pub(super) fn mark_dropped(&self, watch: WatchId) {
        self.state().dropped.insert(watch);
    }

    /// Lets the writer take what was appended.
    pub(super) fn flush(&self) {
        let state = self.state();
        if !state.batch.bytes.is_empty() {
            self.wake_writer(state, false);
        }
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>, is_gathering: bool) {
        let is_due = std::mem::take(&mut state.writer_waits) || is_gathering;
        // Not under the lock, which the writer takes next.
        drop(state);
        if is_due {
            self.filled.notify_one();
        }
    }

    /// Waits a moment for more to write, less when there is much or someone waits for the end of writing.
    pub(super) fn gather(&self) {
        let mut state = self.state();
        state.gathering = state.deadline.is_none() && state.syncs.0 == state.syncs.1 && state.batch.bytes.len() < GATHERED_BYTES;
        let waited = self.filled.wait_timeout_while(state, GATHER_LIMIT, |state| state.gathering);
        waited.unwrap_or_else(PoisonError::into_inner).0.gathering = false;
    }

    /// Waits for something to do, until `due` at most, and swaps the lines that are ready into `empty`.
    ///
    /// A sync is not put off by lines that come after it was asked for.
    pub(super) fn take(&self, empty: &mut Batch, due: Option<Instant>) -> Order {
        assert!(empty.bytes.is_empty() && empty.completions.is_empty(), "a batch is taken when the last one is done");
        let mut state = self.state();
        loop {
            if state.syncs.0 > state.syncs.1 && !state.write_before_sync {
                return Order::Sync(state.syncs.0);
            }
            if !state.batch.bytes.is_empty() {
                std::mem::swap(&mut state.batch, empty);
                state.write_before_sync = false;
                return Order::Write;
            }
            if state.deadline.is_some() {
                return Order::End;
            }
            let pause = due.map(|due| due.saturating_duration_since(Instant::now()));
            if pause.is_some_and(|pause| pause.is_zero()) {
                return Order::Due;
            }
            state.writer_waits = true;
            state = match pause {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => self.filled.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.writer_waits = false;
        }
    }

    /// Sleeps for `pause`, or less when a stop comes or its deadline. Returns whether to try again.
    pub(super) fn wait_to_retry(&self, pause: Duration) -> bool {
        let state = self.state();
        let before = state.deadline;
        let pause = before.map_or(pause, |deadline| pause.min(deadline.saturating_duration_since(Instant::now())));
        let waited = self.filled.wait_timeout_while(state, pause, |state| state.deadline == before);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // A stop that comes while waiting allows one more attempt, however near its deadline.
        state.deadline != before || state.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Asks the writer to end when everything is written, and to try until `deadline`. The first deadline holds.
    pub(super) fn stop(&self, deadline: Instant) {
        let mut state = self.state();
        state.deadline.get_or_insert(deadline);
        state.gathering = false;
        drop(state);
        self.filled.notify_one();
    }

    /// Asks for a sync of everything appended so far, and waits for it, `limit` at most. Returns whether it is done.
    pub(super) fn sync(&self, limit: Duration) -> bool {
        let mut state = self.state();
        state.syncs.0 += 1;
        state.write_before_sync = !state.batch.bytes.is_empty();
        state.gathering = false;
        let mine = state.syncs.0;
        self.filled.notify_one();
        let waited = self.synced.wait_timeout_while(state, limit, |state| state.syncs.1 < mine && !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.syncs.1 >= mine
    }

    /// Tells that everything appended before the sync `answered` was asked for is on the disk.
    pub(super) fn synced(&self, answered: u64) {
        self.state().syncs.1 = answered;
        self.synced.notify_all();
    }

    /// Tells that nothing more will be written, and whether all was. What is left is returned, to be dropped.
    pub(super) fn end(&self, is_clean: bool) -> Batch {
        let mut state = self.state();
        state.ended = true;
        state.ended_clean = is_clean;
        self.synced.notify_all();
        std::mem::take(&mut state.batch)
    }

    pub(super) fn ended_clean(&self) -> bool {
        self.state().ended_clean
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::{completion, event, ledger, watch};

    #[test]
    fn lines_are_gathered_until_a_flush_wakes_the_writer() {
        let (buffer, ledger, event) = (Buffer::default(), ledger(), event(&watch("v1/pods"), "web-0", 1));
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                let mut batch = Batch::default();
                (buffer.take(&mut batch, None), batch.completions.len())
            });
            while !buffer.state().writer_waits {
                std::thread::yield_now();
            }
            (0..3).for_each(|_| buffer.append(&event, None, completion(&ledger, &event)));
            assert!(buffer.state().writer_waits, "the writer is left alone");
            buffer.flush();
            assert_eq!(taken.join().unwrap(), (Order::Write, 3));
        });
    }

    #[test]
    fn many_bytes_wake_the_writer_by_themselves() {
        let (buffer, ledger) = (Buffer::default(), ledger());
        let event = event(&watch("v1/pods"), &"x".repeat(GATHERED_BYTES), 1);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| buffer.take(&mut Batch::default(), None));
            while !buffer.state().writer_waits {
                std::thread::yield_now();
            }
            buffer.append(&event, None, completion(&ledger, &event));
            assert_eq!(taken.join().unwrap(), Order::Write);
        });
    }

    #[test]
    fn a_sync_waits_for_the_lines_before_it_and_not_for_those_after_it() {
        let (buffer, ledger, event) = (Buffer::default(), ledger(), event(&watch("v1/pods"), "web-0", 1));
        let mut batch = Batch::default();
        let mut take = || {
            let order = buffer.take(&mut batch, Some(Instant::now()));
            batch.clear();
            order
        };
        assert_eq!(take(), Order::Due);
        buffer.append(&event, None, completion(&ledger, &event));
        assert!(!buffer.sync(Duration::ZERO));
        assert_eq!(take(), Order::Write);
        buffer.append(&event, None, completion(&ledger, &event));
        assert_eq!(take(), Order::Sync(1));
        buffer.synced(1);
        assert_eq!((take(), take()), (Order::Write, Order::Due));
    }

    #[test]
    fn after_the_end_of_the_writer_events_stay_unacknowledged() {
        let (buffer, ledger, event) = (Buffer::default(), ledger(), event(&watch("v1/pods"), "web-0", 1));
        buffer.append(&event, None, completion(&ledger, &event));
        drop(buffer.end(false));
        buffer.append(&event, None, completion(&ledger, &event));
        assert_eq!(ledger.abandoned(), 2);
    }
}
