//! The way out: waits for credit, hands over events and marks.
//!
//! Takes what the teller decided to tell, gives it to the outlet, and counts it. Nothing leaves after a stop.

use super::Context;
use super::gate::Permit;
use crate::api::{Anchor, Object, ResourceVersion, Watch};
use crate::event::{Credit, EventType, Kept, Mark, MatchedEvent, Outlet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One watch's outlet.
pub(super) struct Handover {
    pub(super) context: Context,
    pub(super) watch: Arc<Watch>,
    /// Held while a list is under way.
    pub(super) permit: Option<Permit>,
    outlet: Box<dyn Outlet>,
    /// A list was marked as begun, and none as ended since: no version may be marked.
    listing: bool,
    /// The number of the history that the events are of.
    history: u32,
    /// How many events went out unhashed.
    unhashed: u64,
    /// The last of them is not hashed yet.
    is_unsealed: bool,
    /// The newest event, hashed after it was told, until someone asks.
    newest: Option<Anchor>,
}

/// How long an event may wait for credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// A connection is open, and the server waits.
    Limited,
    /// Nobody waits.
    Unlimited,
}

/// Why an event was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The receivers were busy for too long.
    Slow,
    /// Faro stops, or the receivers have ended.
    Stop,
}

/// Of so many events in a row one is hashed at least, so that what is accepted soon counts.
const UNHASHED_MAX: u64 = 16;

/// How often a wait for credit looks for a stop request, which an outlet need not know of.
const STOP_CHECK: Duration = Duration::from_millis(100);

impl Handover {
    pub(super) fn new(watch: Arc<Watch>, outlet: Box<dyn Outlet>, context: Context, history: u32) -> Self {
        let (unhashed, is_unsealed, newest) = Default::default();
        Self { context, watch, permit: None, outlet, listing: false, history, unhashed, is_unsealed, newest }
    }

    /// Waits until one more event may be told.
    pub(super) fn wait_for_credit(&mut self, patience: Patience) -> Result<(), Halt> {
        if self.context.stop.is_requested() {
            return Err(Halt::Stop);
        }
        match self.outlet.wait_for_credit(Duration::ZERO) {
            Credit::Granted => return Ok(()),
            Credit::Closed => return Err(Halt::Stop),
            Credit::Exhausted => {}
        }
        self.seal();
        self.context.pulse.waiting();
        let start = Instant::now();
        let end = self.wait_in_turns(patience, start);
        self.context.metrics.waited_for_credit(start.elapsed());
        self.context.pulse.working();
        end
    }

    fn wait_in_turns(&mut self, patience: Patience, start: Instant) -> Result<(), Halt> {
        let limit = self.context.limits.slow;
        loop {
            match self.outlet.wait_for_credit(STOP_CHECK.min(limit)) {
                Credit::Granted => return Ok(()),
                Credit::Closed => return Err(Halt::Stop),
                Credit::Exhausted => {}
            }
            if self.context.stop.is_requested() {
                return Err(Halt::Stop);
            }
            if start.elapsed() >= limit {
                // Others may list while this one waits.
                self.permit = None;
                if patience == Patience::Limited {
                    return Err(Halt::Slow);
                }
            }
        }
    }

    /// Hands over an event. The caller has waited for credit.
    pub(super) fn send(&mut self, mut event: MatchedEvent) {
        event.metadata_only |= self.context.content_is_metadata;
        event.history = self.history;
        self.context.metrics.event(event.event_type, event.inferred, event.received);
        if event.is_unhashed() {
            (self.unhashed, self.is_unsealed) = (self.unhashed + 1, true);
        } else {
            self.seal();
        }
        self.outlet.send(event);
        if self.unhashed.is_multiple_of(UNHASHED_MAX) {
            self.seal();
        }
    }

    /// Whether events may go out unhashed.
    pub(super) fn may_hash_later(&self) -> bool {
        self.outlet.may_hash_later()
    }

    /// How many events went out unhashed.
    pub(super) fn unhashed(&self) -> u64 {
        self.unhashed
    }

    /// Takes the newest event, where it went out unhashed since this was last asked.
    pub(super) fn take_newest(&mut self) -> Option<Anchor> {
        self.seal();
        self.newest.take()
    }

    fn seal(&mut self) {
        if std::mem::take(&mut self.is_unsealed) {
            self.newest = self.outlet.seal();
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.seal();
        self.outlet.mark(mark);
    }

    /// Whether every event has a receiver, so that an earlier run has remembered each that came.
    pub(super) fn takes_all(&self) -> bool {
        self.outlet.takes_all()
    }

    /// Hands over what nobody is told. The caller has waited for credit.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.seal();
        self.outlet.keep(kept);
    }

    /// Hands over an event of an earlier run once more. The caller has waited for credit.
    pub(super) fn send_again(&mut self, mut event: MatchedEvent, sequence: u64) {
        event.metadata_only |= self.context.content_is_metadata;
        self.seal();
        self.outlet.send_again(event, sequence);
    }

    /// Says that a list has brought everything: what of earlier runs was not handed over again is out of date.
    pub(super) fn supersede(&mut self) {
        self.seal();
        self.outlet.supersede();
    }

    /// Says that nothing more comes for now, as before any wait for the server.
    pub(super) fn flush(&mut self) {
        self.seal();
        self.outlet.flush();
    }

    /// Hands over that `object`, as it was last known, is gone.
    pub(super) fn send_gone(&mut self, object: Object) {
        self.context.metrics.tracked_changed(-1);
        let mut event = MatchedEvent::new(EventType::Deleted, Arc::clone(&self.watch), object);
        (event.inferred, event.metadata_only) = (true, true);
        self.send(event);
    }

    /// Marks that what follows is of another history.
    pub(super) fn begin_history(&mut self) {
        self.history = self.context.histories.after(self.history);
        self.listing = true;
        self.mark(Mark::OtherHistory(self.history));
    }

    /// Marks that the version to resume from stands still until a list has ended.
    pub(super) fn mark_listing(&mut self) {
        if !self.listing {
            self.listing = true;
            self.mark(Mark::Listing);
        }
    }

    /// Marks that the watch goes on from `version`, and the newest object of the list, where that is known.
    pub(super) fn mark_listed(&mut self, version: &ResourceVersion, newest: Option<Anchor>) {
        self.listing = false;
        self.mark(Mark::Listed(version.clone(), newest));
    }

    /// Marks that the first list has ended at `version`, from which nobody can go on.
    pub(super) fn mark_first_listed(&mut self, version: &ResourceVersion) {
        self.mark(Mark::FirstListed(version.clone()));
    }

    pub(super) fn mark_bookmark(&mut self, version: &ResourceVersion) {
        if !self.listing {
            self.mark(Mark::Bookmark(version.clone()));
        }
    }
}
