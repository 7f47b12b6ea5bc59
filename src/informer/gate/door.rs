//! Who may list, decided without a clock or a wait of its own.
//!
//! Takes entrants and the time; says who is inside. The first in line is let in when fewer than the limit receive, and fewer
//! than twice the limit are inside. Who is inside and waits in vain for the server does not count as receiving.
//!
//! Where many kinds hang, that alone would keep sound ones waiting for as long as the hung ones take to fail. So who waits for
//! the first byte longer than is usual on this server is withdrawn, once, when others wait, and comes back behind them. A sound
//! server pays for that with a request or two; how long is usual is learned from its answers, and where none comes at all ever
//! fewer are withdrawn. When no more may be in flight, who receives next to nothing is withdrawn as well, whatever came before.

use super::Entrant;
use std::collections::VecDeque;
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
    /// How long the last answers took to come.
    answers: VecDeque<Duration>,
    /// How long somebody may wait for the first byte before others go first, whatever is usual.
    patience: Duration,
    /// In the order in which they are let in.
    waiting: VecDeque<((Turn, u64), Waiting)>,
    /// In the order in which they came in, with the numbers of their tickets.
    inside: Vec<(u64, Inside)>,
}

#[derive(Debug)]
struct Waiting {
    received: Arc<AtomicU64>,
    keeps_place: bool,
    can_be_withdrawn: bool,
    called: Arc<Condvar>,
}

#[derive(Debug)]
struct Inside {
    turn: Turn,
    received: Arc<AtomicU64>,
    keeps_place: bool,
    can_be_withdrawn: bool,
    /// It was, and is about to leave.
    is_withdrawn: bool,
    /// When it was let in, and what was received before.
    entered: (Instant, u64),
    /// What was received at `since`.
    counted: u64,
    /// Since then, next to nothing came.
    since: Instant,
}

impl Door {
    /// Lets `limit` in at once, one at least.
    pub(super) fn new(limit: usize) -> Self {
        let (waiting, inside, answers) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { limit: limit.max(1), tickets: 0, answers, patience: PATIENCE_MIN, waiting, inside }
    }

    /// Joins the line. What comes back is notified when the entrant becomes its first, or when there may be room.
    pub(super) fn queue(&mut self, entrant: &Entrant, can_be_withdrawn: bool) -> (Ticket, Arc<Condvar>) {
        let ticket = Ticket { turn: entrant.turn, number: self.tickets };
        self.tickets += 1;
        let called = Arc::new(Condvar::new());
        let waiting = Waiting {
            received: Arc::clone(&entrant.received),
            keeps_place: entrant.keeps_place,
            can_be_withdrawn,
            called: Arc::clone(&called),
        };
        let place = self.waiting.partition_point(|(key, _)| *key < ticket.key());
        self.waiting.insert(place, (ticket.key(), waiting));
        (ticket, called)
    }

    /// Whether the holder of `ticket`, who waits, is the first in line.
    pub(super) fn is_next(&self, ticket: &Ticket) -> bool {
        self.waiting.front().is_some_and(|(first, _)| *first == ticket.key())
    }

    /// Lets the holder of `ticket` in, if that is the first in line and there is room. Returns whether they are inside.
    pub(super) fn admit(&mut self, ticket: &Ticket, now: Instant) -> bool {
        if !self.is_next(ticket) || !self.has_room(now) {
            return false;
        }
        let (_, waiting) = self.waiting.pop_front().expect("the first in line asks");
        let Waiting { received, keeps_place, can_be_withdrawn, called: _ } = waiting;
        let counted = received.load(Ordering::Relaxed);
        let (turn, is_withdrawn, entered, since) = (ticket.turn, false, (now, counted), now);
        let inside = Inside { turn, received, keeps_place, can_be_withdrawn, is_withdrawn, entered, counted, since };
        self.inside.push((ticket.number, inside));
        self.call_next();
        true
    }

    /// The holder of `ticket` no longer waits, or is no longer inside.
    pub(super) fn leave(&mut self, ticket: &Ticket) {
        if let Ok(place) = self.waiting.binary_search_by(|(key, _)| key.cmp(&ticket.key())) {
            self.waiting.remove(place);
        }
        self.inside.retain(|(number, _)| *number != ticket.number);
        self.call_next();
    }

    /// Withdraws one who is inside, and gives its number, where that makes room for the holder of `ticket`: the first in line,
    /// who has not failed.
    pub(super) fn withdraw_for(&mut self, ticket: &Ticket, now: Instant) -> Option<u64> {
        if !self.is_next(ticket) || ticket.turn == Turn::Failed {
            return None;
        }
        let (patience, is_full) = (self.patience(), self.in_flight() >= self.limit * IN_FLIGHT_FACTOR);
        let in_the_way = self.inside.iter_mut().filter(|(_, inside)| {
            let is_idle = is_full && inside.is_idle(now);
            inside.may_be_withdrawn()
                && match inside.turn {
                    Turn::Live => ticket.turn == Turn::Live && (is_idle || inside.waits_for(now) >= patience),
                    Turn::First => is_idle || inside.waits_for(now) >= patience,
                    // Once withdrawn it has time, unless it keeps somebody out.
                    Turn::Failed => is_idle,
                }
        });
        let (number, inside) = in_the_way.min_by_key(|(_, inside)| inside.entered.0)?;
        inside.is_withdrawn = true;
        self.patience = self.patience.mul_f64(1.0 + PATIENCE_GROWTH / self.limit as f64).min(ANSWER_WAIT);
        Some(*number)
    }

    /// Whether the holder of `ticket` was withdrawn.
    pub(super) fn is_withdrawn(&self, ticket: &Ticket) -> bool {
        self.inside.iter().any(|(number, inside)| *number == ticket.number && inside.is_withdrawn)
    }

    /// Somebody's answer took so long to come.
    pub(super) fn answered(&mut self, after: Duration) {
        self.answers.push_back(after);
        if self.answers.len() > ANSWERS_KEPT {
            self.answers.pop_front();
        }
        self.patience = PATIENCE_MIN;
    }

    fn patience(&self) -> Duration {
        let usual = self.answers.iter().max().copied().unwrap_or_default();
        self.patience.max(usual * PATIENCE_FACTOR).min(ANSWER_WAIT)
    }

    fn in_flight(&self) -> usize {
        self.inside.iter().filter(|(_, inside)| !inside.is_withdrawn).count()
    }

    fn has_room(&mut self, now: Instant) -> bool {
        // All are asked, since asking is what notices that bytes came.
        let receiving = self.inside.iter_mut().filter_map(|(_, inside)| inside.is_receiving(now).then_some(())).count();
        receiving < self.limit && self.in_flight() < self.limit * IN_FLIGHT_FACTOR
    }

    fn call_next(&self) {
        if let Some((_, next)) = self.waiting.front() {
            next.called.notify_one();
        }
    }
}

impl Ticket {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

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
        !self.is_withdrawn && (self.keeps_place || !self.is_idle(now))
    }

    /// Whether next to nothing has come for long, as was seen when this was asked last.
    fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= ANSWER_WAIT
    }

    fn may_be_withdrawn(&self) -> bool {
        self.can_be_withdrawn && !self.is_withdrawn && !self.keeps_place
    }

    /// For how long it has waited for the first byte; for no time once that is there.
    fn waits_for(&self, now: Instant) -> Duration {
        let (entered, before) = self.entered;
        if self.received.load(Ordering::Relaxed) == before { now.saturating_duration_since(entered) } else { Duration::ZERO }
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

/// Who waits so little for its first byte is never withdrawn. Forty hung kinds in front of a sound one are passed, four at a time,
/// within ten seconds; a sound server answers a list in a tenth of that.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// Nor is who waits no longer than so many times the slowest of the last answers took.
const PATIENCE_FACTOR: u32 = 8;

/// How many answers say what is usual.
const ANSWERS_KEPT: usize = 8;

/// By this part patience grows with each round of withdrawals that no answer follows: it may be the server that is slow.
const PATIENCE_GROWTH: f64 = 0.1;

#[cfg(test)]
mod tests;
