//! Empties one lane: each event to each handler in turn, then to the export; what fails is tried again later.
//!
//! Takes [`Work`] from its lane. A handler that fails or panics holds back its object, not its lane. Ends when the lane is
//! closed and nothing is parked, or at once when Faro stops waiting for it; what is left then is dropped, unacknowledged.

use super::Completion;
use super::dispatcher::Shared;
use super::parking::Parking;
use super::subscription::Registered;
use crate::chain::chain;
use crate::event::MatchedEvent;
use crate::health::Pulse;
use crossbeam_channel::{Receiver, TryRecvError, at, never, select};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    shared: Arc<Shared>,
    /// Those that are registered for the gvr of this lane.
    handlers: Arc<[Registered]>,
    lane: Receiver<Work>,
    /// The lane was closed and is empty.
    closed: bool,
    parking: Parking,
    /// Never working: what takes long here is a user's handler, or the export without room.
    pulse: Pulse,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        handlers: Arc<[Registered]>,
        lane: Receiver<Work>,
        parking_room: usize,
        pulse: Pulse,
    ) -> Self {
        Self { shared, handlers, lane, closed: false, parking: Parking::new(parking_room), pulse }
    }

    /// Works until the end.
    pub(super) fn run(mut self) {
        while !self.shared.is_halted() && !self.is_through() {
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
        match self.lane.try_recv() {
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
        let lane = if self.closed || self.parking.is_full() { &nothing } else { &self.lane };
        let timer = self.parking.next_due().map_or(no_timer, at);
        select! {
            recv(lane) -> work => match work {
                Ok(work) => self.accept(work),
                Err(_) => self.closed = true,
            },
            recv(timer) -> _ => {}
            recv(self.shared.halt) -> _ => {}
        }
    }

    /// Deals with an event that just left the lane.
    fn accept(&mut self, work: Work) {
        if self.parking.holds(work.object) {
            self.parking.park_behind(work);
        } else {
            self.attempt(work);
        }
    }

    /// Tries the parked objects whose time has come; each goes on until it is through or fails again.
    fn retry_due(&mut self) {
        if self.parking.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(object) = self.parking.due(now) {
            while !self.shared.is_halted()
                && let Some(work) = self.parking.pop(object)
            {
                if self.attempt(work) == Outcome::Parked {
                    break;
                }
            }
            if self.shared.is_halted() {
                return;
            }
        }
    }

    /// Gives `work` to the handlers that have not accepted it, then to the export.
    fn attempt(&mut self, mut work: Work) -> Outcome {
        while let Some(handler) = self.handlers.get(work.handler) {
            if !handler.wants(&work.event) {
                work.handler += 1;
                continue;
            }
            match call(handler, &work) {
                Ok(()) => (work.handler, work.failures) = (work.handler + 1, 0),
                Err(cause) => {
                    work.failures += 1;
                    if work.failures < self.shared.settings.retry.attempts_max {
                        log::debug!(cause = cause.as_str(); "{}: handler failed, trying {} again", work.event.watch.gvr, work.event.id());
                        let pause = self.shared.settings.retry.pause_after(work.failures);
                        self.parking.park(work, Instant::now() + pause);
                        return Outcome::Parked;
                    }
                    log::error!(
                        cause = cause.as_str();
                        "{}: handler failed {} times, giving up on event {}", work.event.watch.gvr, work.failures, work.event.id()
                    );
                    self.shared.count_given_up();
                    work.completion.metrics().handler_given_up();
                    (work.handler, work.failures) = (work.handler + 1, 0);
                }
            }
        }
        match &self.shared.export {
            Some(export) => {
                export.export(&work.event, work.completion);
                // The next handler may take its time.
                export.flush();
            }
            None => work.completion.complete(),
        }
        Outcome::Done
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Every handler has accepted it or was given up on.
    Done,
    /// It waits to be tried again.
    Parked,
}

/// Calls one handler; a panic is a failure like any other.
fn call(handler: &Registered, work: &Work) -> Result<(), String> {
    let begin = Instant::now();
    let handled = match catch_unwind(AssertUnwindSafe(|| handler.call(&work.event))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(chain(error.as_ref())),
        Err(panic) => Err(format!("panic: {}", panic_text(panic.as_ref()))),
    };
    work.completion.metrics().handled(begin.elapsed(), handled.is_err());
    handled
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&'static str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "of unknown content",
    }
}

impl super::Retry {
    /// Doubles with each failure; the random part keeps many objects from coming back at once.
    fn pause_after(&self, failures: u32) -> Duration {
        let doubled = self.pause_first.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLINGS_MAX));
        doubled.min(self.pause_max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Beyond this every pause has met its maximum.
const DOUBLINGS_MAX: u32 = 16;
