//! Who may list, decided without a clock or a wait of its own.
//!
//! Takes entrants and the time; says who is inside. The first in line is let in when fewer than the limit receive, and fewer
//! than twice the limit are inside. Who is inside and waits in vain for the server does not count as receiving.

use super::Entrant;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

/// Before and behind whom an entrant is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// A watch that was live goes on: every moment of its list is a moment in which its events come late.
    Live,
    /// A watch that was never live.
    #[default]
    First,
    /// A watch whose last list failed: it may fail again, and keep those waiting who would not.
    Failed,
}

/// One who waits or is inside.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    turn: Turn,
    number: u64,
}

/// Everybody who waits or is inside.
#[derive(Debug)]
pub(super) struct Door {
    limit: usize,
    tickets: u64,
    /// In the order in which they are let in.
    waiting: BTreeMap<(Turn, u64), Waiting>,
    inside: BTreeMap<u64, Inside>,
}

#[derive(Debug)]
struct Waiting {
    entrant: Entrant,
    called: Arc<Condvar>,
}

#[derive(Debug)]
struct Inside {
    received: Arc<AtomicU64>,
    keeps_place: bool,
    /// What was received at `since`.
    counted: u64,
    /// Since then, next to nothing came.
    since: Instant,
}

impl Door {
    /// Lets `limit` in at once, one at least.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), tickets: 0, waiting: BTreeMap::new(), inside: BTreeMap::new() }
    }

    /// Joins the line. What comes back is notified when the entrant becomes its first, or when there may be room.
    pub(super) fn queue(&mut self, entrant: Entrant) -> (Ticket, Arc<Condvar>) {
        let ticket = Ticket { turn: entrant.turn, number: self.tickets };
        self.tickets += 1;
        let called = Arc::new(Condvar::new());
        self.waiting.insert(ticket.key(), Waiting { entrant, called: Arc::clone(&called) });
        (ticket, called)
    }

    /// Whether the holder of `ticket`, who waits, is the first in line.
    pub(super) fn is_next(&self, ticket: &Ticket) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first == ticket.key())
    }

    /// Lets the holder of `ticket` in, if that is the first in line and there is room. Returns whether they are inside.
    pub(super) fn admit(&mut self, ticket: &Ticket, now: Instant) -> bool {
        if !self.is_next(ticket) || !self.has_room(now) {
            return false;
        }
        let (_, Waiting { entrant, .. }) = self.waiting.pop_first().expect("the first in line asks");
        let Entrant { received, keeps_place, turn: _ } = entrant;
        let counted = received.load(Ordering::Relaxed);
        self.inside.insert(ticket.number, Inside { received, keeps_place, counted, since: now });
        self.call_next();
        true
    }

    /// The holder of `ticket` no longer waits, or is no longer inside.
    pub(super) fn leave(&mut self, ticket: &Ticket) {
        self.waiting.remove(&ticket.key());
        self.inside.remove(&ticket.number);
        self.call_next();
    }

    fn has_room(&mut self, now: Instant) -> bool {
        // All are asked, since asking is what notices that bytes came.
        let receiving = self.inside.values_mut().filter_map(|inside| inside.is_receiving(now).then_some(())).count();
        receiving < self.limit && self.inside.len() < self.limit * IN_FLIGHT_FACTOR
    }

    fn call_next(&self) {
        if let Some((_, next)) = self.waiting.first_key_value() {
            next.called.notify_one();
        }
    }
}

impl Ticket {
    fn key(&self) -> (Turn, u64) {
        (self.turn, self.number)
    }
}

impl Inside {
    /// Whether enough came lately, or may still.
    fn is_receiving(&mut self, now: Instant) -> bool {
        let received = self.received.load(Ordering::Relaxed);
        if received.wrapping_sub(self.counted) >= PROGRESS_BYTES {
            (self.counted, self.since) = (received, now);
        }
        self.keeps_place || now.saturating_duration_since(self.since) < ANSWER_WAIT
    }
}

/// Who receives next to nothing for so long gives up its place until bytes come. Lists of a sound server begin within a second.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Fewer bytes than this within [`ANSWER_WAIT`] are next to nothing: heads, heartbeats, and an event now and then on a
/// stream that does not end must not hold a place. A list on the slowest useful link brings more.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// So many times the limit are inside at most, those included that wait in vain: a server that is too busy to answer must
/// not be asked by ever more.
const IN_FLIGHT_FACTOR: usize = 2;

#[cfg(test)]
mod tests;
