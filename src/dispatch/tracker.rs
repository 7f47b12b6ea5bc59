//! What of a watch was accepted: tickets registered in order, completed in any order, and one ordered prefix of complete ones.
//!
//! The informer's side registers events and marks; handlers and sink complete the events. [`Ledger::accepted`] is the
//! version up to which everything before is complete: what a checkpoint may store. In the steady state nothing is allocated.

use super::book::Book;
use super::credit::{Account, Gate};
use crate::api::{ResourceVersion, Watch};
use crate::event::{Credit, Mark, MatchedEvent};
use crate::metrics::WatchMetrics;
use std::iter;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The tickets of one watch.
#[derive(Debug)]
pub struct Ledger {
    watch: Arc<Watch>,
    metrics: WatchMetrics,
    gate: Arc<Gate>,
    account: Account,
    book: Mutex<Book>,
    settled: Condvar,
}

/// How far everything of a watch was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Everything up to this version was accepted; `None` before the first list has ended.
    pub version: Option<ResourceVersion>,
    /// A list is under way: some of it was accepted, and `version` stands still until all of it is.
    pub listing: bool,
}

/// The duty to say that one event was accepted. Dropped without [`complete`](Self::complete), the event stays unacknowledged.
#[derive(Debug)]
pub struct Completion {
    ledger: Arc<Ledger>,
    sequence: u64,
    bytes: usize,
    received: SystemTime,
    is_complete: bool,
}

impl Ledger {
    pub(super) fn new(watch: Arc<Watch>, metrics: WatchMetrics, gate: Arc<Gate>) -> Self {
        let (account, book) = (Account::default(), Mutex::default());
        Self { watch, metrics, gate, account, book, settled: Condvar::new() }
    }

    /// The watch whose tickets these are.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The version up to which everything was accepted.
    pub fn accepted(&self) -> Accepted {
        self.book().accepted.clone()
    }

    /// How many events are registered and not accepted.
    pub fn unfinished(&self) -> u64 {
        self.book().unfinished
    }

    /// How many events were dropped before they were accepted. They stay unacknowledged for ever, and hold the prefix.
    pub fn abandoned(&self) -> u64 {
        self.book().abandoned
    }

    /// Grants no more credit, and wakes the informer that waits for it: its watch ends.
    pub fn close(&self) {
        self.gate.close(&self.account);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.account.is_closed()
    }

    pub(super) fn metrics(&self) -> &WatchMetrics {
        &self.metrics
    }

    pub(super) fn take_credit(&self, limit: Duration) -> Credit {
        self.gate.take(&self.account, limit)
    }

    pub(super) fn give_back(&self, credits: usize, bytes: usize) {
        if credits > 0 || bytes > 0 {
            self.gate.give_back(&self.account, credits, bytes);
        }
    }

    /// Registers `event`, for which a credit was taken.
    pub(super) fn register(self: &Arc<Self>, event: &MatchedEvent) -> Completion {
        // What was found by comparison carries the version at which the object was last seen: nothing to resume from.
        let version = (!event.inferred).then(|| event.metadata().resource_version());
        self.register_version(version, event.raw().len(), event.received)
    }

    fn register_version(self: &Arc<Self>, version: Option<ResourceVersion>, bytes: usize, received: SystemTime) -> Completion {
        let sequence = self.book().register(version);
        self.gate.hold(bytes);
        self.metrics.in_flight_changed(1);
        Completion { ledger: Arc::clone(self), sequence, bytes, received, is_complete: false }
    }

    /// Registers a point in the stream that carries no event.
    pub(super) fn mark(&self, mark: Mark) {
        self.book().mark(mark);
    }

    /// Waits until every event is accepted or dropped, or until `deadline`.
    pub(super) fn wait_until_settled(&self, deadline: Instant) {
        let mut book = self.book();
        book.settling = true;
        let limit = deadline.saturating_duration_since(Instant::now());
        let waited = self.settled.wait_timeout_while(book, limit, |book| book.unfinished > book.abandoned);
        waited.unwrap_or_else(PoisonError::into_inner).0.settling = false;
    }

    /// Completes tickets of this ledger, all under one lock.
    fn complete(&self, completions: impl Iterator<Item = Completion>, now: SystemTime) {
        let (mut credits, mut bytes, mut events) = (0, 0, 0);
        let mut book = self.book();
        for mut completion in completions {
            // First, so that a broken promise of the book does not end in a wait for the lock held here.
            completion.is_complete = true;
            credits += book.complete(completion.sequence);
            bytes += completion.bytes;
            self.metrics.accepted(now.duration_since(completion.received).unwrap_or_default());
            events += 1;
        }
        self.tell_settled(&book);
        drop(book);
        self.give_back(credits, bytes);
        self.metrics.in_flight_changed(-events);
    }

    fn abandon(&self) {
        let mut book = self.book();
        book.abandoned += 1;
        self.tell_settled(&book);
    }

    fn tell_settled(&self, book: &Book) {
        if book.settling && book.unfinished == book.abandoned {
            self.settled.notify_all();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completion {
    /// The event was accepted.
    pub fn complete(self) {
        Self::complete_all([self], None);
    }

    /// The events were all accepted, now. Costs less than one by one where neighbours are of one watch.
    pub fn complete_all(completions: impl IntoIterator<Item = Self>, _written_at: Option<u64>) {
        let now = SystemTime::now();
        let mut completions = completions.into_iter().peekable();
        while let Some(first) = completions.next() {
            let ledger = Arc::clone(&first.ledger);
            let rest = iter::from_fn(|| completions.next_if(|next| Arc::ptr_eq(&next.ledger, &ledger)));
            ledger.complete(iter::once(first).chain(rest), now);
        }
    }

    pub(super) fn metrics(&self) -> &WatchMetrics {
        self.ledger.metrics()
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.is_complete {
            self.ledger.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::CREDITS_PER_WATCH;
    use crate::dispatch::book::{TICKETS_KEPT, WINDOW};
    use crate::dispatch::tests::ledger;

    fn version(number: u64) -> ResourceVersion {
        ResourceVersion::new(&number.to_string()).unwrap()
    }

    fn event(ledger: &Arc<Ledger>, number: u64) -> Completion {
        assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Granted);
        ledger.register_version(Some(version(number)), 0, SystemTime::now())
    }

    fn told(ledger: &Ledger) -> String {
        let accepted = ledger.accepted();
        let version = accepted.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        if accepted.listing { format!("{version} listing") } else { version }
    }

    #[test]
    fn the_version_stands_still_until_everything_before_it_is_accepted() {
        let ledger = ledger();
        ledger.mark(Mark::Listing);
        assert_eq!(told(&ledger), "none listing");
        let (a, b) = (event(&ledger, 7), event(&ledger, 3));
        ledger.mark(Mark::Listed(version(10)));
        let c = event(&ledger, 11);
        ledger.mark(Mark::Bookmark(version(20)));
        c.complete();
        b.complete();
        assert_eq!(told(&ledger), "none listing");
        a.complete();
        assert_eq!(told(&ledger), "20");
        ledger.mark(Mark::Listing);
        event(&ledger, 25).complete();
        assert_eq!(told(&ledger), "20 listing");
        ledger.mark(Mark::Listed(version(30)));
        assert_eq!(told(&ledger), "30");
        event(&ledger, 31).complete();
        assert_eq!(told(&ledger), "31");
    }

    #[test]
    fn what_is_dropped_is_counted_and_holds_the_prefix() {
        let ledger = ledger();
        let (a, b) = (event(&ledger, 1), event(&ledger, 2));
        drop(a);
        b.complete();
        assert_eq!((told(&ledger).as_str(), ledger.unfinished(), ledger.abandoned()), ("none", 1, 1));
        ledger.wait_until_settled(Instant::now() + Duration::from_secs(60));
    }

    #[test]
    fn marks_in_a_row_are_kept_as_one() {
        let ledger = ledger();
        let open = event(&ledger, 1);
        for round in 0..1000 {
            ledger.mark(Mark::Listing);
            ledger.mark(Mark::Listed(version(round)));
            ledger.mark(Mark::Bookmark(version(5000 + round)));
        }
        assert_eq!(ledger.book().tickets().len(), 2);
        open.complete();
        assert_eq!(told(&ledger), "5999");
    }

    #[test]
    fn one_open_event_lets_others_go_on_for_a_bounded_while() {
        let ledger = ledger();
        let open = event(&ledger, 0);
        let mut number = 0;
        while ledger.take_credit(Duration::ZERO) == Credit::Granted {
            number += 1;
            ledger.register_version(Some(version(number)), 0, SystemTime::now()).complete();
        }
        assert_eq!(number as usize, WINDOW - 1 + CREDITS_PER_WATCH - 1);
        open.complete();
        assert_eq!(told(&ledger), number.to_string());
        assert!(ledger.book().tickets().capacity() <= 4 * TICKETS_KEPT);
        let rest: Vec<_> = (0..CREDITS_PER_WATCH as u64).map(|more| event(&ledger, number + more)).collect();
        assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Exhausted);
        drop(rest);
    }

    /// The same words as the ledger's, kept in full and evaluated from the start.
    #[derive(Default)]
    struct Naive(Vec<(bool, Option<Mark>, u64)>);

    impl Naive {
        fn told(&self) -> String {
            let (mut version, mut listing) = ("none".to_owned(), false);
            for (_, mark, number) in self.0.iter().take_while(|(complete, ..)| *complete) {
                match mark {
                    None if listing => {}
                    None => version = number.to_string(),
                    Some(Mark::Listing) => listing = true,
                    Some(Mark::Listed(listed)) => (version, listing) = (listed.to_string(), false),
                    Some(Mark::Bookmark(_)) if listing => {}
                    Some(Mark::Bookmark(bookmark)) => version = bookmark.to_string(),
                }
            }
            if listing { format!("{version} listing") } else { version }
        }
    }

    #[test]
    fn in_whatever_order_events_are_accepted_the_prefix_is_the_naive_one() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (ledger, mut naive, mut open) = (ledger(), Naive::default(), Vec::new());
            for number in 1..=200 {
                let mark = match random.u8(..8) {
                    0 => Some(Mark::Listing),
                    1 => Some(Mark::Listed(version(number))),
                    2 => Some(Mark::Bookmark(version(number))),
                    3..6 => {
                        open.push((naive.0.len(), event(&ledger, number)));
                        naive.0.push((false, None, number));
                        continue;
                    }
                    6.. if open.is_empty() => continue,
                    6.. => {
                        let (index, completion) = open.swap_remove(random.usize(..open.len()));
                        completion.complete();
                        naive.0[index].0 = true;
                        None
                    }
                };
                if let Some(mark) = mark {
                    naive.0.push((true, Some(mark.clone()), number));
                    ledger.mark(mark);
                }
                assert_eq!(told(&ledger), naive.told(), "seed {seed}, step {number}");
                assert_eq!(ledger.unfinished(), open.len() as u64, "seed {seed}, step {number}");
            }
        }
    }
}
