//! Empties one lane: each event to each handler in turn, then to the export; what fails is tried again later.
//!
//! Takes [`Work`] from its lane. A handler that fails or panics holds back its object, not its lane. Ends when the lane is
//! closed and nothing is parked, or at once when Faro stops waiting for it; what is left then is dropped, unacknowledged.

use super::Completion;
use super::contain::contained;
use super::crew::Halt;
use super::dispatcher::Shared;
use super::lane::LaneExit;
use super::parking::Parking;
use super::slow::Desk;
use super::subscription::Registered;
use crate::chain::chain;
use crate::event::MatchedEvent;
use crate::health::Pulse;
use crossbeam_channel::{TryRecvError, at, never, select};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One event on its way through a lane.
pub(super) struct Work {
    pub(super) event: MatchedEvent,
    pub(super) completion: Completion,
    /// The hash of the object's namespace and name. Two objects of one hash are kept in order as if they were one.
    pub(super) object: u64,
    /// The handler whose turn it is.
    handler: usize,
    /// How often that handler failed.
    failures: u32,
}

impl Work {
    pub(super) fn new(event: MatchedEvent, completion: Completion, object: u64) -> Self {
        Self { event, completion, object, handler: 0, failures: 0 }
    }
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) halt: Halt,
    /// Those that are registered for the gvr of this lane.
    pub(super) handlers: Arc<[Registered]>,
    pub(super) lane: LaneExit,
    /// The lane was closed and is empty.
    pub(super) closed: bool,
    pub(super) parking: Parking,
    pub(super) desk: Arc<Desk>,
    /// Waiting while a user's handler has the event.
    pub(super) pulse: Pulse,
}

impl Worker {
    /// Works until the end.
    pub(super) fn run(mut self) {
        self.pulse.working();
        while !self.halt.is_halted() && !self.is_through() {
            self.retry_due();
            match self.take() {
                Some(work) => self.accept(work),
                None => self.wait(),
            }
        }
        self.pulse.ended();
    }

    fn is_through(&self) -> bool {
        self.closed && self.parking.is_empty()
    }

    /// The next event of the lane, if there is one and room to park it.
    fn take(&mut self) -> Option<Work> {
        if self.closed || self.parking.is_full() {
            return None;
        }
        match self.lane.works.try_recv() {
            Ok(work) => Some(work),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.closed = true;
                None
            }
        }
    }

    /// Waits until there may be something to do.
    fn wait(&mut self) {
        if self.is_through() {
            return;
        }
        let (nothing, no_timer) = (never(), never());
        let lane = if self.closed || self.parking.is_full() { &nothing } else { &self.lane.works };
        let timer = self.parking.next_due().map_or(no_timer, at);
        self.pulse.waiting();
        select! {
            recv(lane) -> work => match work {
                Ok(work) => {
                    self.pulse.working();
                    self.accept(work);
                }
                Err(_) => self.closed = true,
            },
            recv(timer) -> _ => {}
            recv(self.lane.sweep) -> swept => match swept {
                Ok(()) => self.sweep(),
                // Closed with the lane, and not to be heard again.
                Err(_) => self.lane.sweep = never(),
            },
            recv(self.halt.signal) -> _ => {}
        }
        self.pulse.working();
    }

    /// Deals with an event that just left the lane.
    fn accept(&mut self, work: Work) {
        if !self.parking.holds(work.object) {
            self.attempt(work);
        } else if !work.completion.ledger().is_retired() {
            self.parking.park_behind(work);
        }
    }

    /// Drops the parked events of removed watches.
    fn sweep(&mut self) {
        self.parking.retain(|work| !work.completion.ledger().is_retired());
    }

    /// Tries the parked objects whose time has come; each goes on until it is through or fails again.
    fn retry_due(&mut self) {
        if self.parking.is_empty() {
            return;
        }
        if self.lane.sweep.try_recv().is_ok() {
            self.sweep();
        }
        let now = Instant::now();
        while let Some(object) = self.parking.due(now) {
            while !self.halt.is_halted()
                && let Some(work) = self.parking.pop(object)
            {
                if self.attempt(work) == Outcome::Parked {
                    break;
                }
            }
            if self.halt.is_halted() {
                return;
            }
        }
    }

    /// Gives `work` to the handlers that have not accepted it, then to the export. That of a removed watch is dropped.
    fn attempt(&mut self, mut work: Work) -> Outcome {
        if work.completion.begin_call().is_err() {
            return Outcome::Done;
        }
        let ledger = Arc::clone(work.completion.ledger());
        let outcome = match self.ask_handlers(&mut work) {
            Some(pause) => {
                self.parking.park(work, Instant::now() + pause);
                Outcome::Parked
            }
            None => {
                self.export(work);
                Outcome::Done
            }
        };
        ledger.end_call();
        outcome
    }

    fn export(&self, mut work: Work) {
        if work.completion.begin_export().is_err() {
            return;
        }
        match &self.shared.export {
            Some(export) => {
                export.export(&work.event, work.completion);
                // The next handler may take its time.
                export.flush();
            }
            None => work.completion.complete(),
        }
    }

    /// Asks each handler that has not accepted `work`. Returns the pause after which to go on, when one refused.
    fn ask_handlers(&self, work: &mut Work) -> Option<Duration> {
        let retry = &self.shared.settings.retry;
        while let Some(handler) = self.handlers.get(work.handler)
            && !work.completion.ledger().is_retired()
        {
            if handler.wants(&work.event)
                && let Err(error) = self.call(handler, work)
            {
                work.failures += 1;
                let (gvr, id, cause) = (work.event.gvr(), work.event.id(), chain(error.as_ref()));
                if work.failures < retry.attempts_max {
                    log::debug!(cause = cause.as_str(); "{gvr}: handler {} failed, trying {id} again", handler.name());
                    return Some(retry.pause_after(work.failures));
                }
                log::error!(
                    cause = cause.as_str();
                    "{gvr}: handler {} failed {} times, giving up on event {id}", handler.name(), work.failures
                );
                self.give_up(handler, work, error.as_ref());
            }
            (work.handler, work.failures) = (work.handler + 1, 0);
        }
        None
    }

    /// Calls one handler; a panic is a failure like any other.
    fn call(&self, handler: &Registered, work: &Work) -> Result<(), Failure> {
        let begin = Instant::now();
        self.desk.begin(handler.name(), &work.event, begin);
        self.pulse.waiting();
        let handled = contained(work.completion.ledger(), || handler.call(&work.event));
        self.pulse.working();
        let took = begin.elapsed();
        self.desk.end(took);
        let handled = handled.unwrap_or_else(|panicked| Err(panicked.into()));
        work.completion.ledger().metrics().handled(took, handled.is_err());
        handled
    }

    fn give_up(&self, handler: &Registered, work: &Work, error: &(dyn Error + Send + Sync + 'static)) {
        self.shared.count_given_up();
        work.completion.ledger().metrics().handler_given_up();
        let Some(on_gave_up) = handler.on_gave_up() else { return };
        self.pulse.waiting();
        let told = contained(work.completion.ledger(), || on_gave_up(&work.event, error));
        self.pulse.working();
        if let Err(panicked) = told {
            let cause = panicked.to_string();
            log::error!(cause = cause.as_str(); "{}: on_gave_up failed for event {}", work.event.gvr(), work.event.id());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Every handler has accepted it or was given up on.
    Done,
    /// It waits to be tried again.
    Parked,
}

/// Why an attempt failed.
type Failure = Box<dyn Error + Send + Sync>;
