//! Lets a few informers list at once and the rest wait, so that a restart does not crush the server.
//!
//! Takes who wants to list and how urgent that is; gives [`Permit`]s. Promises that never more than the limit of lists
//! receive at once and never more than twice as many are in flight, that those of one [`Turn`] are let in as they came, and
//! that a list whose answer does not come holds up the others for seconds only: it gives its place up, or is withdrawn and
//! asked for again behind the others.

mod door;
mod wide;

pub use door::Turn;
pub use wide::Wide;

use super::streaming::Streaming;
use crate::client::Interrupt;
use crate::lifecycle::Stop;
use door::{Door, Ticket};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wide::Widening;

/// At most so many first lists or relists at once to one server: the server holds a page or a stream of every object of each in memory.
pub const MAX_CONCURRENT_LISTS: usize = 4;

/// The gate of one server, shared by the clones that its informers hold.
#[derive(Clone, Debug)]
pub struct ListGate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counts: Mutex<Counts>,
    streaming: Streaming,
    widening: Widening,
}

#[derive(Debug)]
struct Counts {
    door: Door,
    /// Of those who can be withdrawn, in the order in which they came.
    interrupts: Vec<(u64, Interrupt)>,
    watches: usize,
}

/// Who asks to be let in.
#[derive(Clone, Debug, Default)]
pub struct Entrant {
    /// Before and behind whom.
    pub turn: Turn,
    /// Counts the bytes that come for it; nothing ever comes where it counts none.
    pub received: Arc<AtomicU64>,
    /// Keeps its place also while nothing comes.
    pub keeps_place: bool,
    /// Ends its request, so that it can be withdrawn.
    pub interrupt: Option<Interrupt>,
}

/// The right to list, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    inner: Arc<Inner>,
    ticket: Ticket,
}

/// One watch among those that share a gate; no longer counted when dropped.
#[derive(Debug)]
pub(super) struct Member(Arc<Inner>);

impl ListGate {
    /// Lets `limit` list at once, one at least.
    pub fn new(limit: usize) -> Self {
        let counts = Counts { door: Door::new(limit), interrupts: Vec::new(), watches: 0 };
        let (streaming, widening) = Default::default();
        Self(Arc::new(Inner { counts: Mutex::new(counts), streaming, widening }))
    }

    /// Waits for the right to list. `None` when `stop` was requested.
    ///
    /// # Blocking
    ///
    /// While as many others list as may, and while others wait whose turn comes before.
    pub fn acquire(&self, stop: &Stop, entrant: Entrant) -> Option<Permit> {
        let mut counts = self.0.lock();
        let (ticket, called) = counts.door.queue(&entrant, entrant.interrupt.is_some());
        counts.interrupts.extend(entrant.interrupt.map(|interrupt| (ticket.number(), interrupt)));
        loop {
            let now = Instant::now();
            if counts.door.admit(&ticket, now) {
                return Some(Permit { inner: Arc::clone(&self.0), ticket });
            }
            if stop.is_requested() {
                counts.leave(&ticket);
                return None;
            }
            if let Some(withdrawn) = counts.door.withdraw_for(&ticket, now) {
                let interrupt = counts.take_interrupt(withdrawn);
                drop(counts);
                // Only who can be interrupted is withdrawn.
                interrupt.iter().for_each(Interrupt::cut);
                counts = self.0.lock();
                continue;
            }
            let pause = if counts.door.is_next(&ticket) { NEXT_CHECK } else { STOP_CHECK };
            (counts, _) = called.wait_timeout(counts, pause).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the right to hold one large object of a page, which one list has at a time. Who waits for it holds none. `None` when
    /// `stop` was requested.
    ///
    /// # Blocking
    ///
    /// While another list reads a large object and hands it over.
    pub fn widen(&self, stop: &Stop) -> Option<Wide> {
        Wide::acquire(&self.0, stop)
    }

    /// Counts one more watch of this server.
    pub(super) fn join(&self) -> Member {
        self.0.lock().watches += 1;
        Member(Arc::clone(&self.0))
    }
}

impl Permit {
    /// The request was answered after this time, whatever the answer.
    pub(super) fn answered(&self, after: Duration) {
        self.inner.lock().door.answered(after);
    }

    /// Whether the request was ended for the sake of others. It did not fail, and is to be made again.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.inner.lock().door.is_withdrawn(&self.ticket)
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

    /// What is known of the server's streaming lists.
    pub(super) fn streaming(&self) -> &Streaming {
        &self.0.streaming
    }
}

impl Counts {
    fn leave(&mut self, ticket: &Ticket) {
        self.door.leave(ticket);
        self.take_interrupt(ticket.number());
    }

    fn take_interrupt(&mut self, number: u64) -> Option<Interrupt> {
        let place = self.interrupts.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.interrupts.remove(place).1)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inner.lock().leave(&self.ticket);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.lock().watches -= 1;
    }
}

/// How often the first in line looks whether somebody inside waits in vain, and for a stop request.
const NEXT_CHECK: Duration = Duration::from_millis(50);

/// How often everybody else in line looks for a stop request, which has a condition variable of its own. Thousands may wait.
const STOP_CHECK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
