//! Empties one lane of one subscription: gives each event to its handler; what is refused is tried again later.
//!
//! Takes [`Work`] from its lane. A handler that fails or panics holds back its object, not its lane. Ends when the lane is
//! closed and nothing waits, or at once when Faro stops waiting for it; what is left then is dropped, unacknowledged.

use super::Completion;
use super::contain::contained;
use super::lane::{Lane, Lanes, Restored};
use super::owed::Owed;
use super::parking::{Parking, Row};
use super::queue::Slot;
use super::slow::Desk;
use super::subscriber::Subscriber;
use super::tracker::Ledger;
use crate::chain::chain;
use crate::checkpoint::Batch;
use crate::event::MatchedEvent;
use crate::health::Pulse;
use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One event on its way through a lane.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) event: MatchedEvent,
    pub(super) completion: Completion,
    /// Its place in the queue, given back when it is dealt with.
    pub(super) slot: Slot,
    pub(super) object: u64,
}

impl Work {
    pub(super) fn new(event: MatchedEvent, completion: Completion, slot: Slot, object: u64) -> Self {
        Self { event, completion, slot, object }
    }
}

pub(super) struct Worker {
    subscriber: Arc<Subscriber>,
    lanes: Arc<Lanes>,
    lane: usize,
    /// What was taken from the lane, and is dealt with one by one.
    taken: VecDeque<Work>,
    parking: Parking,
    /// Nothing more comes.
    is_closed: bool,
    /// How many events came or were tried again since the parked ones were last looked at.
    unlooked: usize,
    /// What was accepted and is not journalled yet, and since when.
    accepted: Vec<Completion>,
    accepted_since: Option<Instant>,
    batch: Batch,
    desk: Arc<Desk>,
    /// Waiting while a user's handler has the event.
    pulse: Pulse,
}

/// So many waiting events of one object are given to its handler in a row; then others have their turn.
const TURN_EVENTS: usize = 16;

/// After so many events and attempts, and after so long without any, the worker looks whether parked ones hold back their watches.
const LOOK_EVENTS: usize = 64;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// So many acceptances are journalled at once, and none later than this and the call that is under way.
const ACCEPTED_MAX: usize = 64;
const ACCEPTED_PAUSE: Duration = Duration::from_millis(5);

/// Why an attempt failed.
type Failure = Box<dyn Error + Send + Sync>;

impl Worker {
    pub(super) fn new(subscriber: Arc<Subscriber>, lanes: Arc<Lanes>, lane: usize, desk: Arc<Desk>, pulse: Pulse) -> Self {
        let (taken, parking, is_closed, unlooked) = Default::default();
        let (accepted, accepted_since, batch) = Default::default();
        Self { subscriber, lanes, lane, taken, parking, is_closed, unlooked, accepted, accepted_since, batch, desk, pulse }
    }

    /// Works until the end.
    pub(super) fn run(mut self) {
        self.pulse.working();
        while !self.lane().is_halted() {
            let has_tried = self.try_due();
            match self.taken.pop_front() {
                Some(work) => self.receive(work),
                None if has_tried => self.refill(),
                None => {
                    self.refill();
                    if self.taken.is_empty() && self.is_through() {
                        break;
                    }
                    self.wait();
                }
            }
        }
        self.settle();
        let unheard = self.parking.in_memory();
        self.subscriber.count_unheard(unheard);
        self.lane().end();
        let Self { taken, parking, accepted, pulse, .. } = self;
        drop((taken, parking, accepted));
        pulse.ended();
    }

    fn lane(&self) -> &Lane {
        self.lanes.lane(self.lane)
    }

    fn is_through(&self) -> bool {
        self.is_closed && self.parking.is_on_disk()
    }

    /// Takes what has come, once nothing of what was taken is left.
    fn refill(&mut self) {
        let found = self.lanes.lane(self.lane).take(&mut self.taken);
        self.is_closed = found.is_closed;
        for Restored { object, ledger, key } in found.restored {
            if let Some(spill) = &self.subscriber.spill {
                let bytes = Arc::clone(&self.subscriber.owed_bytes);
                let owed = Owed::restored(Arc::clone(&ledger), key, bytes, Arc::clone(spill));
                self.parking.restore(object, ledger, owed, Instant::now());
            }
        }
        if found.is_swept {
            self.sweep();
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        if !self.taken.is_empty() {
            return;
        }
        let look = self.parking.has_parked().then(|| Instant::now() + LOOK_PAUSE);
        let settle = self.accepted_since.map(|since| since + ACCEPTED_PAUSE);
        let due = [self.parking.next_due(), look, settle].into_iter().flatten().min();
        self.pulse.waiting();
        self.lane().wait(due, self.is_closed);
        self.pulse.working();
        self.settle_late();
        self.relieve();
    }

    /// Deals with an event that just left the lane.
    fn receive(&mut self, work: Work) {
        self.look();
        if work.completion.ledger().is_retired() {
            return;
        }
        match self.parking.take(work.object).filter(|row| !row.ledger().is_retired()) {
            Some(row) => self.put_behind(row, work),
            None => self.try_first(work),
        }
    }

    fn put_behind(&mut self, mut row: Row, work: Work) {
        // It may be written to a disk.
        self.pulse.waiting();
        let behind = row.push(work);
        self.pulse.working();
        behind.completion.into_iter().for_each(|completion| self.accept(completion));
        if behind.skipped > 0 {
            self.subscriber.name_skipped(&mut row);
        }
        if behind.is_too_much {
            self.owe(&mut row);
        }
        self.parking.put(row);
    }

    /// Nothing else waits for the events of this row from here on.
    fn owe(&mut self, row: &mut Row) {
        self.pulse.waiting();
        let completions = row.owe(&self.subscriber.owed_bytes, self.subscriber.spill.as_ref());
        self.pulse.working();
        completions.into_iter().for_each(|completion| self.accept(completion));
    }

    /// Notes that an event is dealt with. Where that is journalled several are written at once.
    fn accept(&mut self, completion: Completion) {
        if completion.ledger().recorder().is_none() {
            return completion.complete();
        }
        self.accepted.push(completion);
        let since = *self.accepted_since.get_or_insert_with(Instant::now);
        if self.accepted.len() >= ACCEPTED_MAX || since.elapsed() >= ACCEPTED_PAUSE {
            self.settle();
        }
    }

    /// Writes down what was accepted, and then says so.
    fn settle(&mut self) {
        self.accepted_since = None;
        if let Some(recorder) = self.accepted.first().and_then(|completion| completion.ledger().recorder().cloned()) {
            recorder.accepted(&mut self.batch, &self.accepted);
            Completion::complete_all(self.accepted.drain(..), None);
        }
    }

    /// Does so when it has waited for long enough.
    fn settle_late(&mut self) {
        if self.accepted_since.is_some_and(|since| since.elapsed() >= ACCEPTED_PAUSE) {
            self.settle();
        }
    }

    /// Drops what waits of removed watches. What was accepted of them is said before they are forgotten.
    fn sweep(&mut self) {
        self.settle();
        for object in self.parking.objects(|row| row.ledger().is_retired()) {
            drop(self.parking.take(object));
        }
    }

    /// Looks at the parked events once in a while, as long as there is no time to wait.
    fn look(&mut self) {
        self.unlooked += 1;
        if self.unlooked >= LOOK_EVENTS {
            self.relieve();
        }
    }

    /// Parked events that would soon hold back their watch become owed.
    fn relieve(&mut self) {
        self.unlooked = 0;
        if !self.parking.has_parked() {
            return;
        }
        for object in self.parking.objects(Row::presses) {
            if let Some(mut row) = self.parking.take(object) {
                self.owe(&mut row);
                self.parking.put(row);
            }
        }
    }

    /// Tries an object whose time has come. One at a time, so that others have their turn; returns whether there was one.
    fn try_due(&mut self) -> bool {
        if self.parking.is_empty() {
            return false;
        }
        // Where something is always due, nothing else may ever come.
        self.settle_late();
        let now = Instant::now();
        self.look();
        let Some(mut row) = self.parking.due(now).and_then(|object| self.parking.take(object)) else { return false };
        if row.is_overdue(now) {
            self.owe(&mut row);
        }
        if row.next_try > now {
            self.parking.put(row);
        } else {
            self.try_again(row);
        }
        true
    }

    /// Gives an event to the handler that none of its object waits before.
    fn try_first(&mut self, work: Work) {
        let ledger = Arc::clone(work.completion.ledger());
        if ledger.begin_call().is_err() {
            return;
        }
        match self.offer(&work.event, &ledger, 1) {
            // Of a watch that was removed meanwhile nothing is accepted.
            Ok(()) if ledger.is_retired() => drop(work),
            Ok(()) => self.accept(work.completion),
            Err(cause) => self.park(work, &cause),
        }
        ledger.end_call();
    }

    fn park(&mut self, work: Work, cause: &str) {
        self.settle_late();
        let now = Instant::now();
        let (pause, owed_after) = (self.subscriber.retry.pause_after(1), self.subscriber.owed_after);
        let (mut row, is_too_much) = Parking::begin(work, now, now + pause, now + owed_after);
        self.subscriber.name_waiting(&mut row, cause);
        if is_too_much {
            self.owe(&mut row);
        }
        self.parking.put(row);
    }

    /// Goes on with an object that waits, until it is through or refused again, or others have their turn.
    fn try_again(&mut self, mut row: Row) {
        for _ in 0..TURN_EVENTS {
            let Some(event) = row.front() else { break };
            let ledger = Arc::clone(row.ledger());
            if self.lane().is_halted() {
                break;
            }
            if ledger.begin_call().is_err() {
                return;
            }
            let offered = self.offer(&event, &ledger, row.failures + 1);
            match offered {
                // Of a watch that was removed meanwhile nothing is accepted. What it owes may be another worker's by now.
                Ok(()) if ledger.is_retired() => {
                    ledger.end_call();
                    return;
                }
                Ok(()) => row.pop().into_iter().for_each(|completion| self.accept(completion)),
                Err(_) => {
                    row.failures += 1;
                    row.next_try = Instant::now() + self.subscriber.retry.pause_after(row.failures);
                }
            }
            ledger.end_call();
            if row.failures > 0 {
                break;
            }
        }
        if row.is_empty() {
            return self.subscriber.name_end(&row);
        }
        if row.failures == 0 && row.front().is_none() {
            // The disk does not give it now.
            row.next_try = Instant::now() + self.subscriber.retry.pause_after(1);
        }
        self.parking.put(row);
    }

    /// Gives one event to the handler. When it is refused, and not given up, returns the reason.
    fn offer(&self, event: &MatchedEvent, ledger: &Ledger, attempt: u32) -> Result<(), String> {
        let Err(error) = self.call(event, ledger) else { return Ok(()) };
        let cause = contained(ledger, || chain(error.as_ref())).unwrap_or_else(|panicked| format!("its text: {panicked}"));
        let (gvr, id, handler) = (event.gvr(), event.id(), self.subscriber.registered.name());
        let is_over = self.subscriber.retry.is_over(attempt);
        if is_over {
            log::error!("{gvr}: handler {handler} failed {attempt} times, giving up on event {id}: {cause}");
            self.give_up(event, ledger, error.as_ref());
        } else {
            log::debug!("{gvr}: handler {handler} failed, trying {id} again: {cause}");
        }
        // The error is the program's own, to its end.
        if contained(ledger, || drop(error)).is_err() {
            log::error!("{gvr}: handler {handler}: its error panics when it is dropped");
        }
        if is_over { Ok(()) } else { Err(cause) }
    }

    /// Calls the handler; a panic is a failure like any other.
    fn call(&self, event: &MatchedEvent, ledger: &Ledger) -> Result<(), Failure> {
        let (begin, handler) = (Instant::now(), &self.subscriber.registered);
        self.desk.begin(handler.name(), event, begin);
        self.pulse.waiting();
        let handled = contained(ledger, || handler.call(event));
        self.pulse.working();
        let took = begin.elapsed();
        self.desk.end(took);
        let handled = handled.unwrap_or_else(|panicked| Err(panicked.into()));
        ledger.metrics().handled(took, handled.is_err());
        handled
    }

    fn give_up(&self, event: &MatchedEvent, ledger: &Ledger, error: &(dyn Error + Send + Sync + 'static)) {
        self.subscriber.count_given_up();
        ledger.metrics().handler_given_up();
        let Some(on_gave_up) = self.subscriber.registered.on_gave_up() else { return };
        self.pulse.waiting();
        let called = contained(ledger, || on_gave_up(event, error));
        self.pulse.working();
        if let Err(panicked) = called {
            log::error!("{}: on_gave_up failed for event {}: {panicked}", event.gvr(), event.id());
        }
    }
}
