//! The ring of open tickets of one watch: pure bookkeeping, without locks, clocks or waiting.
//!
//! A ticket is complete when no receiver lacks its event any more. It holds what is true when everything up to it is complete, so
//! that moving the prefix over it is a copy.

use super::receivers::Receivers;
use super::tracker::{Accepted, Progress, Resumed};
use crate::api::{Anchor, Change, ResourceVersion, ToldId};
use crate::event::{Emission, Mark};
use std::collections::VecDeque;
use std::mem;

/// The tickets that are not yet in the prefix, oldest first.
#[derive(Debug, Default)]
pub(super) struct Book {
    tickets: VecDeque<Ticket>,
    /// The sequence of the oldest ticket.
    first: u64,
    pub(super) accepted: Accepted,
    /// The first event whose anchor is still to come, and the last one: the prefix stands before them.
    unsealed: Option<(u64, u64)>,
    /// The ticket for which the prefix stood still the last time.
    awaited: u64,
    /// A list is under way, as told; `accepted` follows.
    listing: bool,
    /// What the prefix has changed since [`progress`](Self::progress) was last asked for, in order.
    changes: Vec<Change>,
    /// How much they weigh.
    weight: usize,
    /// A list was under way somewhere in the prefix since then.
    listed: bool,
    /// The prefix has come over the end of a list since this was last asked.
    list_ended: bool,
    /// Tickets that are registered and not complete.
    pub(super) unfinished: u64,
    /// Receivers that have yet to accept an event, over all tickets; those that dropped it no longer do.
    open: u64,
    /// How often a receiver dropped an event: its ticket will never be complete.
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
    /// Those that have not accepted the event yet; nobody, where there is no event.
    lacking: Receivers,
    is_mark: bool,
    /// The event keeps its credit: the export has it, or it is too far ahead of the prefix, or the prefix may not move on.
    has_credit: bool,
    /// The export has dropped the event.
    is_unexported: bool,
    /// Of an earlier run, and not handed over again yet.
    is_restored: bool,
    /// The version reached; `None` where it does not change.
    version: Option<ResourceVersion>,
    /// The event that was reached; `None` where it does not change, but at the end of a list.
    anchor: Option<Anchor>,
    /// Its anchor is that of a later event: the prefix goes over both or neither.
    joins_next: bool,
    /// A list has ended here: of what came before it nothing is gone on from, also where it held no object.
    list_end: bool,
    /// The history that begins here.
    history: Option<u32>,
    listing: bool,
    /// A list was under way here, also where the mark of its end has joined that of its beginning.
    listed: bool,
    change: Option<Change>,
    /// By what a replay of the event is known, where the version stays behind it.
    told: Option<ToldId>,
    /// Where the file's position was before the batch with its line was written; `None` where there is no line yet, or ever.
    written_at: Option<u64>,
}

impl Ticket {
    fn is_complete(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Nothing but the prefix keeps the event's credit.
    fn waits_for_prefix(&self) -> bool {
        self.has_credit && (self.is_unexported || !self.lacking.contains(Receivers::EXPORT))
    }
}

/// What an event comes to.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// The version reached; `None` where there is nothing to resume from.
    pub(super) version: Option<ResourceVersion>,
    pub(super) anchor: Option<Anchor>,
    /// The anchor is still to come, for this event or a later one.
    pub(super) is_unsealed: bool,
    /// What it changes in what is known of the watch; `None` where nobody stores that.
    pub(super) change: Option<Change>,
}

/// What an acceptance brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gain {
    /// How many credits come back.
    pub(super) credits: usize,
    /// The ticket is complete now, and counts as such.
    pub(super) is_complete: bool,
}

/// How far ahead of the oldest open event others may be complete and give back their credit. It bounds the memory of a watch
/// with an event that fails again and again, and lets others go on for about a minute of 250 changes a second.
pub(super) const WINDOW: usize = 16 * 1024;

/// How many tickets an empty book keeps room for: all that is in flight in the steady state, and marks between.
pub(super) const TICKETS_KEPT: usize = 2 * super::CREDITS_PER_WATCH;

impl Book {
    /// A book that goes on from what an earlier run has stored.
    ///
    /// What that has handed out beyond its checkpoint holds the prefix until everyone has it.
    pub(super) fn resumed(resumed: Resumed) -> Self {
        let Resumed { accepted, sequence, emissions } = resumed;
        let mut book = Self { listing: accepted.listing, accepted, first: sequence, ..Self::default() };
        for emission in emissions {
            book.restore(&emission);
        }
        book
    }

    fn restore(&mut self, emission: &Emission) {
        let next = self.next();
        if emission.sequence < next {
            return;
        }
        // Numbers of marks, and of what was never journalled.
        for _ in next..emission.sequence {
            let ticket = self.ticket(Receivers::NONE);
            self.tickets.push_back(ticket);
        }
        let lacking = Receivers::from_bits(emission.lacking);
        let (change, told) = (Some(emission.change()), (!emission.is_listed).then(|| emission.told()));
        let ticket = self.ticket(lacking);
        self.tickets.push_back(Ticket { is_restored: !lacking.is_empty(), change, told, ..ticket });
        self.unfinished += u64::from(!lacking.is_empty());
    }

    /// The number of the next ticket.
    pub(super) fn next(&self) -> u64 {
        self.first + self.tickets.len() as u64
    }

    /// Begins to hand a restored event over again. Returns who lacks it; nobody, where it is no such event.
    pub(super) fn begin_again(&mut self, sequence: u64) -> Receivers {
        let index = sequence.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(ticket) = index.and_then(|index| self.tickets.get_mut(index)).filter(|ticket| ticket.is_restored) else {
            return Receivers::NONE;
        };
        ticket.is_restored = false;
        self.open += u64::from(ticket.lacking.to_bits().count_ones());
        ticket.lacking
    }

    /// What was restored and not handed over again is out of date. Returns how many tickets are complete by that, and how many
    /// credits come back.
    pub(super) fn supersede(&mut self, room: usize) -> (u64, usize) {
        let mut complete = 0;
        for ticket in self.tickets.iter_mut().filter(|ticket| ticket.is_restored) {
            (ticket.is_restored, ticket.lacking) = (false, Receivers::NONE);
            complete += 1;
        }
        self.unfinished -= complete;
        (complete, self.advance(room))
    }

    /// Who lacks anything up to the end of the last list; `None` while one is under way, and before the first.
    pub(super) fn lacking_of_lists(&self) -> Option<Receivers> {
        let end = self.tickets.iter().rposition(|ticket| ticket.listed || ticket.list_end);
        let has_listed = !self.listing && (end.is_some() || self.accepted.version.is_some());
        let listed = self.tickets.iter().take(end.map_or(0, |end| end + 1));
        has_listed.then(|| listed.fold(Receivers::NONE, |lacking, ticket| lacking.and(ticket.lacking)))
    }

    /// Adds an event for `receivers`. Returns its sequence, and what comes of it where nobody receives it; `room`: how many changes
    /// the prefix may take in.
    pub(super) fn register(&mut self, receivers: Receivers, reached: Reached, room: usize) -> (u64, Gain) {
        let Reached { version, anchor, is_unsealed, change } = reached;
        let (version, anchor) = if self.listing { (None, None) } else { (version, anchor) };
        let (sequence, is_ahead) = (self.next(), self.is_ahead(self.tickets.len(), room));
        if is_unsealed {
            let (first, last) = self.unsealed.unwrap_or((sequence, sequence));
            (last..sequence).for_each(|before| self.join_next(before));
            self.unsealed = Some((first, sequence));
        }
        let has_credit = receivers.contains(Receivers::EXPORT) || is_ahead;
        let ticket = self.ticket(receivers);
        self.tickets.push_back(Ticket { has_credit, version, anchor, change, ..ticket });
        let credits = usize::from(!has_credit);
        if receivers.is_empty() {
            return (sequence, Gain { credits: credits + self.advance(room), is_complete: true });
        }
        self.unfinished += 1;
        self.open += u64::from(receivers.to_bits().count_ones());
        (sequence, Gain { credits, is_complete: false })
    }

    /// The anchor of the last event that came without. Returns how many credits come back; `room`: how many changes the prefix may
    /// take in.
    pub(super) fn seal(&mut self, anchor: &Anchor, room: usize) -> usize {
        let Some((_, last)) = self.unsealed.take() else { return 0 };
        let index = self.index_of(last);
        // Within a list nothing is gone on from.
        let ticket = &mut self.tickets[index];
        ticket.anchor = ticket.version.is_some().then(|| anchor.clone());
        self.advance(room)
    }

    fn join_next(&mut self, sequence: u64) {
        let index = self.index_of(sequence);
        self.tickets[index].joins_next = true;
    }

    /// Adds a point without an event. Returns how many credits come back; `room`: how many changes the prefix may take in.
    pub(super) fn mark(&mut self, mark: Mark, room: usize) -> usize {
        self.listing = match &mark {
            Mark::Listing | Mark::FirstListed(_) | Mark::OtherHistory(_) => true,
            Mark::Listed(..) => false,
            Mark::Bookmark(_) => self.listing,
        };
        // Marks in a row are one, so that they need no credit to be bounded.
        if self.tickets.back().is_none_or(|last| !last.is_mark) {
            let ticket = self.ticket(Receivers::NONE);
            self.tickets.push_back(Ticket { is_mark: true, ..ticket });
        }
        let listing = self.listing;
        let last = self.tickets.back_mut().expect("there is a mark");
        last.listing = listing;
        last.listed |= listing;
        match mark {
            Mark::Listing => {}
            Mark::FirstListed(version) => last.version = Some(version),
            Mark::OtherHistory(history) => last.history = Some(history),
            Mark::Listed(version, anchor) => {
                (last.version, last.anchor, last.list_end) = (Some(version), anchor, true);
            }
            Mark::Bookmark(version) => last.version = (!listing).then_some(version).or(last.version.take()),
        }
        self.advance(room)
    }

    /// One that changes nothing.
    fn ticket(&self, lacking: Receivers) -> Ticket {
        let (listing, is_mark, has_credit, is_unexported, is_restored) = (self.listing, false, false, false, false);
        let (list_end, joins_next, version, anchor, history) = (false, false, None, None, None);
        let (change, told, written_at) = (None, None, None);
        Ticket {
            lacking,
            is_mark,
            has_credit,
            is_unexported,
            is_restored,
            version,
            anchor,
            joins_next,
            list_end,
            history,
            listing,
            listed: listing,
            change,
            told,
            written_at,
        }
    }

    /// What the prefix cannot take in soon would wait in ever more tickets.
    fn is_ahead(&self, index: usize, room: usize) -> bool {
        !self.retired && (index >= WINDOW || room == 0)
    }

    /// Of an event that one of its receivers has accepted. `written_at` is for the export.
    pub(super) fn accept(&mut self, sequence: u64, receiver: Receivers, written_at: Option<u64>, room: usize) -> Gain {
        let index = self.index_of(sequence);
        let is_ahead = self.is_ahead(index, room);
        let ticket = &mut self.tickets[index];
        assert!(ticket.lacking.contains(receiver), "a completion is used once");
        ticket.lacking = ticket.lacking.without(receiver);
        let mut gain = Gain { credits: 0, is_complete: ticket.is_complete() && !self.retired };
        if receiver == Receivers::EXPORT {
            ticket.written_at = written_at;
            // What is handed over again has none.
            gain.credits = usize::from(!is_ahead && mem::take(&mut ticket.has_credit));
        }
        self.unfinished -= u64::from(ticket.is_complete());
        self.open -= 1;
        gain.credits += self.advance(room);
        gain
    }

    fn index_of(&self, sequence: u64) -> usize {
        usize::try_from(sequence - self.first).expect("a ticket is in memory")
    }

    /// What changes, and was not taken yet: the newest first.
    pub(super) fn newest_changes(&self) -> impl Iterator<Item = &Change> {
        let beyond = self.tickets.iter().rev().filter_map(|ticket| ticket.change.as_ref());
        beyond.chain(self.changes.iter().rev())
    }

    /// Takes what the prefix has come to since the last time.
    pub(super) fn progress(&mut self) -> Progress {
        self.weight = 0;
        Progress {
            accepted: self.accepted.clone(),
            sequence: self.first,
            listed: mem::take(&mut self.listed),
            written_beyond: self.tickets.iter().filter_map(|ticket| ticket.written_at).min(),
            changes: mem::take(&mut self.changes),
        }
    }

    /// Notes that a receiver dropped an event. Returns how many credits come back: until the watch is removed it keeps its own.
    pub(super) fn abandon(&mut self, sequence: u64, receiver: Receivers) -> usize {
        self.abandoned += 1;
        self.open -= 1;
        if receiver != Receivers::EXPORT {
            return 0;
        }
        let (index, is_retired) = (self.index_of(sequence), self.retired);
        let ticket = &mut self.tickets[index];
        ticket.is_unexported = true;
        usize::from(is_retired && mem::take(&mut ticket.has_credit))
    }

    /// From here on no event waits for the prefix. Returns how many credits come back: those of what waited for it alone.
    pub(super) fn retire(&mut self) -> usize {
        self.retired = true;
        let waiting = self.tickets.iter_mut().filter(|ticket| ticket.waits_for_prefix());
        waiting.map(|ticket| ticket.has_credit = false).count()
    }

    /// Whether no receiver has yet to accept an event.
    pub(super) fn is_settled(&self) -> bool {
        self.open == 0
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// The events beyond the prefix that the export has accepted, or was never to.
    pub(super) fn exported_beyond(&self) -> Vec<u64> {
        let exported = (self.first..).zip(&self.tickets).filter(|(_, ticket)| !ticket.lacking.contains(Receivers::EXPORT));
        exported.filter(|(_, ticket)| !ticket.is_mark).map(|(sequence, _)| sequence).collect()
    }

    /// Takes what the prefix has come to; later changes are kept for nobody. For a watch whose journal holds what is beyond.
    pub(super) fn last_prefix(&mut self) -> Progress {
        self.advance(usize::MAX);
        let mut last = self.progress();
        last.written_beyond = None;
        self.ended = true;
        last
    }

    /// Takes what the prefix has come to, and the changes of what was accepted beyond it; later ones are kept for nobody.
    ///
    /// Where there is an event beyond the prefix, the version is that of the prefix and a list is under way: only a comparison
    /// tells what is missing.
    pub(super) fn last_progress(&mut self) -> Progress {
        self.advance(usize::MAX);
        let mut last = self.progress();
        last.accepted.listing |= self.tickets.iter().any(|ticket| !ticket.is_mark);
        last.listed |= last.accepted.listing || self.tickets.iter().any(|ticket| ticket.listed);
        let beyond = self.tickets.iter_mut().filter(|ticket| ticket.is_complete());
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
        self.weight
    }

    /// Moves the prefix over what is complete. Returns how many credits come back: of what waited for the prefix, and because
    /// the window moved.
    pub(super) fn advance(&mut self, room: usize) -> usize {
        let (mut credits, full) = (0, self.weight.saturating_add(room));
        while let Some(front) = self.tickets.front() {
            // Events that share an anchor come in together, where there is room for one.
            if (front.change.is_some() && self.weight >= full) || !self.may_go_on() {
                return credits;
            }
            while self.tickets.front().is_some() && self.pass(&mut credits) {}
        }
        self.tickets.shrink_to(TICKETS_KEPT);
        credits
    }

    /// Whether the oldest ticket is complete, and with it all that share its anchor.
    fn may_go_on(&mut self) -> bool {
        let is_open = |ticket: &Ticket| !ticket.is_complete();
        let is_unsealed = self.unsealed.is_some_and(|(first, _)| self.first >= first);
        let awaited = self.awaited.checked_sub(self.first).and_then(|index| self.tickets.get(usize::try_from(index).ok()?));
        if is_unsealed || awaited.is_some_and(is_open) {
            return false;
        }
        let last = self.tickets.iter().position(|ticket| is_open(ticket) || !ticket.joins_next).unwrap_or_default();
        self.awaited = self.first + last as u64;
        !is_open(&self.tickets[last])
    }

    /// Moves the prefix over the oldest ticket. Returns whether the next one belongs to it.
    fn pass(&mut self, credits: &mut usize) -> bool {
        let ticket = self.tickets.pop_front().expect("it was looked at");
        self.first += 1;
        *credits += usize::from(ticket.has_credit);
        self.list_ended |= !ticket.listing && (ticket.listed || self.accepted.listing);
        self.accepted.listing = ticket.listing;
        self.listed |= ticket.listed;
        self.accepted.version = ticket.version.or(self.accepted.version.take());
        let before = self.accepted.anchor.take().filter(|_| !ticket.list_end);
        self.accepted.anchor = ticket.anchor.or(before);
        self.accepted.history = ticket.history.unwrap_or(self.accepted.history);
        if !self.ended {
            for change in ticket.change.into_iter().chain(ticket.told.map(Change::Told)) {
                self.weight += change.weight();
                self.changes.push(change);
            }
        }
        if let Some(entering) = self.tickets.get_mut(WINDOW - 1).filter(|ticket| ticket.waits_for_prefix()) {
            entering.has_credit = false;
            *credits += 1;
        }
        ticket.joins_next
    }
}
