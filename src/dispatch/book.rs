//! The ring of open tickets of one watch: pure bookkeeping, without locks, clocks or waiting.
//!
//! A ticket holds what is true when everything up to it is complete, so that moving the prefix over it is a copy.

use super::tracker::{Accepted, Progress};
use crate::api::{Anchor, Change, ResourceVersion};
use crate::event::Mark;
use std::collections::VecDeque;
use std::mem;

/// The tickets that are not yet in the prefix, oldest first.
#[derive(Debug, Default)]
pub(super) struct Book {
    tickets: VecDeque<Ticket>,
    /// The sequence of the oldest ticket.
    first: u64,
    pub(super) accepted: Accepted,
    /// A list is under way, as told; `accepted` follows.
    listing: bool,
    /// What the prefix has changed since [`progress`](Self::progress) was last asked for, in order.
    changes: Vec<Change>,
    /// A list was under way somewhere in the prefix since then.
    listed: bool,
    /// The prefix has come over the end of a list since this was last asked.
    list_ended: bool,
    /// Registered and not complete.
    pub(super) unfinished: u64,
    /// Of those, dropped: they never will be.
    pub(super) abandoned: u64,
    /// How many wait for the last of the rest.
    pub(super) settling: usize,
    /// The watch was removed: whatever ends gives back its credit, as no prefix is waited for.
    retired: bool,
    /// The last progress was taken: changes are kept for nobody.
    ended: bool,
}

/// What is true when everything up to here is complete.
#[derive(Debug)]
pub(super) struct Ticket {
    state: TicketState,
    /// The version reached; `None` where it does not change.
    version: Option<ResourceVersion>,
    /// The event that was reached; `None` where it does not change, but at the end of a list.
    anchor: Option<Anchor>,
    /// A list has ended here: of what came before it nothing is gone on from, also where it held no object.
    list_end: bool,
    /// The history that begins here.
    history: Option<u32>,
    listing: bool,
    /// A list was under way here, also where the mark of its end has joined that of its beginning.
    listed: bool,
    change: Option<Change>,
    /// Where the file's position was before the batch with its line was written; `None` where there is no line yet, or ever.
    written_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TicketState {
    /// An event on its way.
    Pending,
    /// An accepted event that keeps its credit: too far ahead of the prefix, or the prefix may not move on.
    Ahead,
    /// An accepted event.
    Complete,
    /// No event.
    Mark,
}

/// How far ahead of the oldest open event others may be complete and give back their credit. It bounds the memory of a watch
/// with an event that fails again and again, and lets others go on for about a minute of 250 changes a second.
pub(super) const WINDOW: usize = 16 * 1024;

/// How many tickets an empty book keeps room for: all that is in flight in the steady state, and marks between.
pub(super) const TICKETS_KEPT: usize = 2 * super::CREDITS_PER_WATCH;

impl Book {
    /// A book that goes on from what an earlier run has stored.
    pub(super) fn resumed(accepted: Accepted) -> Self {
        Self { listing: accepted.listing, accepted, ..Self::default() }
    }

    /// Whether the prefix is past the end of every list.
    pub(super) fn has_accepted_lists(&self) -> bool {
        let Accepted { version, listing, .. } = &self.accepted;
        version.is_some() && !listing && !self.listing && !self.tickets.iter().any(|ticket| ticket.listed)
    }

    /// Adds an event that reaches `version`, where it reaches any, and changes what is known of the watch. Returns its sequence.
    pub(super) fn register(&mut self, version: Option<ResourceVersion>, anchor: Option<Anchor>, change: Option<Change>) -> u64 {
        let version = version.filter(|_| !self.listing);
        let anchor = anchor.filter(|_| !self.listing);
        let ticket = self.ticket(TicketState::Pending);
        self.tickets.push_back(Ticket { version, anchor, change, ..ticket });
        self.unfinished += 1;
        self.first + (self.tickets.len() as u64 - 1)
    }

    /// Adds a point without an event. Returns how many credits come back; `room`: how many changes the prefix may take in.
    pub(super) fn mark(&mut self, mark: Mark, room: usize) -> usize {
        self.listing = match &mark {
            Mark::Listing | Mark::OtherHistory(_) => true,
            Mark::Listed(..) => false,
            Mark::Bookmark(_) => self.listing,
        };
        // Marks in a row are one, so that they need no credit to be bounded.
        if self.tickets.back().is_none_or(|last| last.state != TicketState::Mark) {
            let ticket = self.ticket(TicketState::Mark);
            self.tickets.push_back(ticket);
        }
        let listing = self.listing;
        let last = self.tickets.back_mut().expect("there is a mark");
        last.listing = listing;
        last.listed |= listing;
        match mark {
            Mark::Listing => {}
            Mark::OtherHistory(history) => last.history = Some(history),
            Mark::Listed(version, anchor) => {
                (last.version, last.anchor, last.list_end) = (Some(version), anchor, true);
            }
            Mark::Bookmark(version) => last.version = (!listing).then_some(version).or(last.version.take()),
        }
        self.advance(room)
    }

    /// One that changes nothing.
    fn ticket(&self, state: TicketState) -> Ticket {
        let (listing, list_end) = (self.listing, false);
        let (version, anchor, history, change, written_at) = (None, None, None, None, None);
        Ticket { state, version, anchor, list_end, history, listing, listed: listing, change, written_at }
    }

    /// Returns how many credits come back.
    pub(super) fn complete(&mut self, sequence: u64, written_at: Option<u64>, room: usize) -> usize {
        let index = usize::try_from(sequence - self.first).expect("a ticket is in memory");
        let ticket = &mut self.tickets[index];
        assert_eq!(ticket.state, TicketState::Pending, "a completion is used once");
        self.unfinished -= 1;
        ticket.written_at = written_at;
        // What the prefix cannot take in soon would wait in ever more tickets.
        let is_ahead = !self.retired && (index >= WINDOW || room == 0);
        ticket.state = if is_ahead { TicketState::Ahead } else { TicketState::Complete };
        usize::from(ticket.state == TicketState::Complete) + self.advance(room)
    }

    /// Takes what the prefix has come to since the last time.
    pub(super) fn progress(&mut self) -> Progress {
        let beyond = self.tickets.iter().filter(|ticket| ticket.state != TicketState::Pending);
        Progress {
            accepted: self.accepted.clone(),
            listed: mem::take(&mut self.listed),
            written_beyond: beyond.filter_map(|ticket| ticket.written_at).min(),
            changes: mem::take(&mut self.changes),
        }
    }

    /// Notes that an event was dropped. Returns how many credits come back: until the watch is removed it keeps its own.
    pub(super) fn abandon(&mut self) -> usize {
        self.abandoned += 1;
        usize::from(self.retired)
    }

    /// From here on no event waits for the prefix. Returns how many credits come back: those of what waited, and how many of
    /// them are of dropped events.
    pub(super) fn retire(&mut self) -> (usize, u64) {
        if mem::replace(&mut self.retired, true) {
            return (0, 0);
        }
        let ahead = self.tickets.iter_mut().filter(|ticket| ticket.state == TicketState::Ahead);
        let waited = ahead.map(|ticket| ticket.state = TicketState::Complete).count();
        (waited + usize::try_from(self.abandoned).expect("as many as there are tickets"), self.abandoned)
    }

    /// Takes what the prefix has come to, and the changes of what was accepted beyond it; later ones are kept for nobody.
    ///
    /// Where there is an event beyond the prefix, the version is that of the prefix and a list is under way: only a comparison
    /// tells what is missing.
    pub(super) fn last_progress(&mut self) -> Progress {
        self.advance(usize::MAX);
        let mut last = self.progress();
        last.accepted.listing |= self.tickets.iter().any(|ticket| ticket.state != TicketState::Mark);
        last.listed |= last.accepted.listing || self.tickets.iter().any(|ticket| ticket.listed);
        let beyond = self.tickets.iter_mut().filter(|ticket| ticket.state != TicketState::Pending);
        last.changes.extend(beyond.filter_map(|ticket| ticket.change.take()));
        // The changes of all these lines are taken.
        last.written_beyond = None;
        self.ended = true;
        last
    }

    #[cfg(test)]
    pub(super) fn tickets(&self) -> &VecDeque<Ticket> {
        &self.tickets
    }

    /// Whether the prefix has come over the end of a list since this was last asked.
    pub(super) fn has_list_ended(&mut self) -> bool {
        mem::take(&mut self.list_ended)
    }

    /// How many changes wait for [`progress`](Self::progress).
    pub(super) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Moves the prefix over what is complete. Returns how many credits come back: of what waited for the prefix, and because
    /// the window moved.
    pub(super) fn advance(&mut self, room: usize) -> usize {
        let (mut credits, full) = (0, self.changes.len().saturating_add(room));
        while let Some(front) = self.tickets.front() {
            match front.state {
                TicketState::Pending => return credits,
                TicketState::Ahead | TicketState::Complete if front.change.is_some() && self.changes.len() >= full => {
                    return credits;
                }
                TicketState::Ahead => credits += 1,
                TicketState::Complete | TicketState::Mark => {}
            }
            let ticket = self.tickets.pop_front().expect("it was looked at");
            self.first += 1;
            self.list_ended |= !ticket.listing && (ticket.listed || self.accepted.listing);
            self.accepted.listing = ticket.listing;
            self.listed |= ticket.listed;
            self.accepted.version = ticket.version.or(self.accepted.version.take());
            let before = self.accepted.anchor.take().filter(|_| !ticket.list_end);
            self.accepted.anchor = ticket.anchor.or(before);
            self.accepted.history = ticket.history.unwrap_or(self.accepted.history);
            self.changes.extend(ticket.change.filter(|_| !self.ended));
            if let Some(entering) = self.tickets.get_mut(WINDOW - 1).filter(|ticket| ticket.state == TicketState::Ahead) {
                entering.state = TicketState::Complete;
                credits += 1;
            }
        }
        self.tickets.shrink_to(TICKETS_KEPT);
        credits
    }
}
