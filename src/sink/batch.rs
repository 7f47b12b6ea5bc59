//! The bounded buffer between the workers, who append lines, and the writer thread, which takes them all at once.

use super::record::Record;
use crate::dispatch::Completion;
use crate::event::MatchedEvent;
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
    /// There is room for the workers, or a sync has ended.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    record: Record,
    writer_waits: bool,
    workers_wait: usize,
    /// How many syncs were asked for, and how many of those have ended.
    syncs: (u64, u64),
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
    /// Everything is written: sync it, and tell how many syncs that answers.
    Sync(u64),
    /// Everything is written and nothing more will come.
    End,
}

/// Bytes that may wait in the buffer; a line that begins below may end above. One more such batch is with the writer.
const BATCH_BYTES: usize = 1024 * 1024;

/// A batch grown beyond this by one very long line gives its memory back.
const BATCH_BYTES_KEPT: usize = 2 * BATCH_BYTES;

impl Batch {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
        self.completions.clear();
    }
}

impl Buffer {
    /// Appends the line of `event`. Waits while the buffer is full; once the writer has ended, drops `completion`.
    pub(super) fn append(&self, event: &MatchedEvent, completion: Completion) {
        let mut state = self.state();
        while state.batch.bytes.len() >= BATCH_BYTES && !state.ended {
            state.workers_wait += 1;
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.workers_wait -= 1;
        }
        if state.ended {
            // A completion has locks of its own, which are not taken under this one.
            drop(state);
            return drop(completion);
        }
        let State { batch, record, .. } = &mut *state;
        record.append(event, &mut batch.bytes);
        batch.completions.push(completion);
        if state.writer_waits {
            state.writer_waits = false;
            self.filled.notify_one();
        }
    }

    /// Waits for something to do, and swaps the lines that are ready into `empty`.
    pub(super) fn take(&self, empty: &mut Batch) -> Order {
        assert!(empty.bytes.is_empty() && empty.completions.is_empty(), "a batch is taken when the last one is done");
        let mut state = self.state();
        loop {
            if !state.batch.bytes.is_empty() {
                std::mem::swap(&mut state.batch, empty);
                if state.workers_wait > 0 {
                    self.emptied.notify_all();
                }
                return Order::Write;
            }
            if state.syncs.0 > state.syncs.1 {
                return Order::Sync(state.syncs.0);
            }
            if state.deadline.is_some() {
                return Order::End;
            }
            state.writer_waits = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
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
        self.state().deadline.get_or_insert(deadline);
        self.filled.notify_one();
    }

    /// Asks for a sync of everything appended so far, and waits for it, `limit` at most. Returns whether it is done.
    pub(super) fn sync(&self, limit: Duration) -> bool {
        let mut state = self.state();
        state.syncs.0 += 1;
        let mine = state.syncs.0;
        self.filled.notify_one();
        let waited = self.emptied.wait_timeout_while(state, limit, |state| state.syncs.1 < mine && !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.syncs.1 >= mine
    }

    /// Tells that everything appended before the sync `answered` was asked for is on the disk.
    pub(super) fn synced(&self, answered: u64) {
        self.state().syncs.1 = answered;
        self.emptied.notify_all();
    }

    /// Tells that nothing more will be written, and whether all was. What is left is returned, to be dropped.
    pub(super) fn end(&self, is_clean: bool) -> Batch {
        let mut state = self.state();
        state.ended = true;
        state.ended_clean = is_clean;
        self.emptied.notify_all();
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
    use crate::api::ObjectRef;
    use crate::dispatch::tests::{completion, ledger, watch};
    use crate::event::EventType;

    fn long_event() -> MatchedEvent {
        let json = format!(
            r#"{{"metadata":{{"name":"a","uid":"u","resourceVersion":"1","annotations":{{"k":"{}"}}}}}}"#,
            "x".repeat(BATCH_BYTES / 8)
        );
        MatchedEvent::new(EventType::Added, watch("v1/pods"), ObjectRef::scan(json.as_bytes()).unwrap().to_object())
    }

    /// Appends ten events, of which eight fit, and calls `then` when the ninth waits. Returns how many were abandoned.
    fn check(then: impl FnOnce(&Buffer)) -> u64 {
        let (buffer, event, ledger) = (Buffer::default(), long_event(), ledger());
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10).for_each(|_| buffer.append(&event, completion(&ledger, &event))));
            while buffer.state().workers_wait == 0 {
                std::thread::yield_now();
            }
            assert_eq!(buffer.state().batch.completions.len(), 8);
            then(&buffer);
        });
        assert!(buffer.state().batch.completions.len() <= 2);
        ledger.abandoned()
    }

    #[test]
    fn a_full_buffer_holds_workers_until_the_writer_takes_it() {
        let abandoned = check(|buffer| {
            let mut batch = Batch::default();
            assert_eq!(buffer.take(&mut batch), Order::Write);
            assert_eq!(batch.completions.len(), 8);
        });
        assert_eq!(abandoned, 8);
    }

    #[test]
    fn the_end_of_the_writer_sends_waiting_workers_away() {
        assert_eq!(check(|buffer| drop(buffer.end(false))), 10);
    }
}
