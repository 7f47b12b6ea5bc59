//! The ring of open tickets of one watch: pure bookkeeping, without locks, clocks or waiting.
//!
//! A ticket holds what is true when everything up to it is complete, so that moving the prefix over it is a copy.

use super::tracker::Accepted;
use crate::api::ResourceVersion;
use crate::event::Mark;
use std::collections::VecDeque;

/// The tickets that are not yet in the prefix, oldest first.
#[derive(Debug, Default)]
pub(super) struct Book {
    tickets: VecDeque<Ticket>,
    /// The sequence of the oldest ticket.
    first: u64,
    pub(super) accepted: Accepted,
    /// A list is under way, as told; `accepted` follows.
    listing: bool,
    /// Registered and not complete.
    pub(super) unfinished: u64,
    /// Of those, dropped: they never will be.
    pub(super) abandoned: u64,
    /// Someone waits for the last of the rest.
    pub(super) settling: bool,
}

/// What is true when everything up to here is complete.
#[derive(Debug)]
pub(super) struct Ticket {
    state: TicketState,
    /// The version reached; `None` where it does not change.
    version: Option<ResourceVersion>,
    listing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TicketState {
    /// An event on its way.
    Pending,
    /// An accepted event so far ahead of the prefix that it keeps its credit.
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
    /// Adds an event that reaches `version`, where it reaches any. Returns its sequence.
    pub(super) fn register(&mut self, version: Option<ResourceVersion>) -> u64 {
        let version = version.filter(|_| !self.listing);
        self.tickets.push_back(Ticket { state: TicketState::Pending, version, listing: self.listing });
        self.unfinished += 1;
        self.first + (self.tickets.len() as u64 - 1)
    }

    /// Adds a point without an event.
    pub(super) fn mark(&mut self, mark: Mark) {
        let version = match mark {
            Mark::Listing => {
                self.listing = true;
                None
            }
            Mark::Listed(version) => {
                self.listing = false;
                Some(version)
            }
            Mark::Bookmark(version) => (!self.listing).then_some(version),
        };
        // Marks in a row are one, so that they need no credit to be bounded.
        match self.tickets.back_mut().filter(|last| last.state == TicketState::Mark) {
            Some(last) => {
                last.listing = self.listing;
                last.version = version.or(last.version.take());
            }
            None => self.tickets.push_back(Ticket { state: TicketState::Mark, version, listing: self.listing }),
        }
        let credits = self.advance();
        assert_eq!(credits, 0, "a mark at the end moves no window: before it nothing was complete");
    }

    /// Returns how many credits come back.
    pub(super) fn complete(&mut self, sequence: u64) -> usize {
        let index = usize::try_from(sequence - self.first).expect("a ticket is in memory");
        let ticket = &mut self.tickets[index];
        assert_eq!(ticket.state, TicketState::Pending, "a completion is used once");
        self.unfinished -= 1;
        if index >= WINDOW {
            ticket.state = TicketState::Ahead;
            return 0;
        }
        ticket.state = TicketState::Complete;
        1 + self.advance()
    }

    #[cfg(test)]
    pub(super) fn tickets(&self) -> &VecDeque<Ticket> {
        &self.tickets
    }

    /// Moves the prefix over what is complete. Returns how many credits come back because the window moved.
    fn advance(&mut self) -> usize {
        let mut credits = 0;
        while let Some(front) = self.tickets.front() {
            match front.state {
                TicketState::Pending => return credits,
                TicketState::Ahead => unreachable!("what is ahead of the window is not the oldest"),
                TicketState::Complete | TicketState::Mark => {}
            }
            let ticket = self.tickets.pop_front().expect("it was looked at");
            self.first += 1;
            self.accepted.listing = ticket.listing;
            self.accepted.version = ticket.version.or(self.accepted.version.take());
            if let Some(entering) = self.tickets.get_mut(WINDOW - 1).filter(|ticket| ticket.state == TicketState::Ahead) {
                entering.state = TicketState::Complete;
                credits += 1;
            }
        }
        self.tickets.shrink_to(TICKETS_KEPT);
        credits
    }
}
