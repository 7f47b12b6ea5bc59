//! What of a watch was accepted: tickets registered in order, completed in any order, and one ordered prefix of complete ones.
//!
//! The informer's side registers events and marks; handlers and sink complete the events. [`Ledger::accepted`] is the
//! version up to which everything before is complete: what a checkpoint may store. In the steady state nothing is allocated.

use super::backlog::Backlog;
use super::book::Book;
use super::credit::{Account, Gate};
use crate::api::{Change, Identity, ResourceVersion, Watch};
use crate::event::{Credit, EventType, Kept, Mark, MatchedEvent};
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
    /// Where changes are counted until a checkpoint takes them; `None` where nobody stores them.
    backlog: Option<Arc<Backlog>>,
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

/// What of a watch was accepted since this was last asked for.
#[derive(Debug, Default)]
pub struct Progress {
    /// How far everything was accepted.
    pub accepted: Accepted,
    /// A list was under way meanwhile, also when it has ended: what was to be replayed before it no longer comes.
    pub listed: bool,
    /// What became known or gone, in order.
    pub changes: Vec<Change>,
    /// The lowest position in the files at which there may be a line of an event that was accepted, while one before it was not.
    pub written_beyond: Option<u64>,
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
        Self { watch, metrics, gate, account, book, backlog: None, settled: Condvar::new() }
    }

    /// Goes on from what an earlier run has stored, and keeps what changes for the next checkpoint.
    pub(super) fn resumed(self, accepted: Accepted, backlog: Arc<Backlog>) -> Self {
        Self { book: Mutex::new(Book::resumed(accepted)), backlog: Some(backlog), ..self }
    }

    /// The watch whose tickets these are.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The version up to which everything was accepted.
    pub fn accepted(&self) -> Accepted {
        self.book().accepted.clone()
    }

    /// Takes what was accepted since the last time, for a checkpoint.
    pub fn progress(&self) -> Progress {
        let mut book = self.book();
        let progress = book.progress();
        if let Some(backlog) = &self.backlog {
            backlog.taken(progress.changes.len());
        }
        let credits = self.moved(book, Book::advance);
        self.give_back(credits, 0);
        progress
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
        let object = event.metadata();
        // What was found by comparison carries the version at which the object was last seen: nothing to resume from.
        let version = (!event.inferred).then(|| object.resource_version());
        let change = self.backlog.is_some().then(|| match event.event_type {
            EventType::Added | EventType::Updated => Change::Known(Identity::of(&object)),
            EventType::Deleted => Change::Gone(Identity::key_of(&object)),
        });
        self.register_version(version, change, event.raw().len(), event.received)
    }

    /// Registers what nobody is told, for which a credit was taken; it is accepted at once.
    pub(super) fn keep(self: &Arc<Self>, kept: Kept) {
        let (version, change) = match kept {
            Kept::Known(identity) => (None, Change::Known(identity)),
            Kept::Replayed(id, version) => (Some(version), Change::Replayed(id)),
        };
        let change = Some(change).filter(|_| self.backlog.is_some());
        self.register_version(version, change, 0, SystemTime::now()).complete();
    }

    fn register_version(
        self: &Arc<Self>,
        version: Option<ResourceVersion>,
        change: Option<Change>,
        bytes: usize,
        received: SystemTime,
    ) -> Completion {
        let sequence = self.book().register(version, change);
        self.gate.hold(bytes);
        self.metrics.in_flight_changed(1);
        Completion { ledger: Arc::clone(self), sequence, bytes, received, is_complete: false }
    }

    /// Registers a point in the stream that carries no event.
    pub(super) fn mark(&self, mark: Mark) {
        let credits = self.moved(self.book(), |book, room| book.mark(mark, room));
        self.give_back(credits, 0);
    }

    /// Does what may move the prefix, and counts the changes that it takes in.
    fn moved(&self, mut book: MutexGuard<'_, Book>, step: impl FnOnce(&mut Book, usize) -> usize) -> usize {
        let before = book.changes();
        let credits = step(&mut book, self.backlog.as_deref().map_or(usize::MAX, Backlog::room));
        let taken_in = book.changes() - before;
        // While the book is locked: what is taken from it was counted before.
        if let Some(backlog) = self.backlog.as_ref().filter(|_| taken_in > 0) {
            backlog.wait(taken_in);
        }
        credits
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
    fn complete(&self, completions: impl Iterator<Item = Completion>, written_at: Option<u64>, now: SystemTime) {
        let (mut bytes, mut events) = (0, 0);
        let credits = self.moved(self.book(), |book, mut room| {
            let mut credits = 0;
            for mut completion in completions {
                // First, so that a broken promise of the book does not end in a wait for the lock held here.
                completion.is_complete = true;
                let before = book.changes();
                credits += book.complete(completion.sequence, written_at, room);
                room -= book.changes() - before;
                bytes += completion.bytes;
                self.metrics.accepted(now.duration_since(completion.received).unwrap_or_default());
                events += 1;
            }
            self.tell_settled(book);
            credits
        });
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
    /// The event was accepted, without a line in a file.
    pub fn complete(self) {
        Self::complete_all([self], None);
    }

    /// The events were all accepted, now. Costs less than one by one where neighbours are of one watch.
    ///
    /// `written_at`: the position in the files before the batch that holds their lines; `None` where there are none.
    pub fn complete_all(completions: impl IntoIterator<Item = Self>, written_at: Option<u64>) {
        let now = SystemTime::now();
        let mut completions = completions.into_iter().peekable();
        while let Some(first) = completions.next() {
            let ledger = Arc::clone(&first.ledger);
            let rest = iter::from_fn(|| completions.next_if(|next| Arc::ptr_eq(&next.ledger, &ledger)));
            ledger.complete(iter::once(first).chain(rest), written_at, now);
        }
    }

    /// The metrics of its watch.
    pub(crate) fn metrics(&self) -> &WatchMetrics {
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
    use crate::dispatch::tests::{event as dispatch_event, ledger, watch};

    fn version(number: u64) -> ResourceVersion {
        ResourceVersion::new(&number.to_string()).unwrap()
    }

    fn event(ledger: &Arc<Ledger>, number: u64) -> Completion {
        assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Granted);
        ledger.register_version(Some(version(number)), None, 0, SystemTime::now())
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
            ledger.register_version(Some(version(number)), None, 0, SystemTime::now()).complete();
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

    /// One ticket as the naive model keeps it: accepted or not, where its line is, and the name that it makes known.
    struct Line(Option<u64>, bool, String);

    fn keeping(most: usize) -> (Arc<Ledger>, Arc<Backlog>) {
        let backlog = Arc::new(Backlog::of(most));
        let ledger = Arc::into_inner(ledger()).unwrap().resumed(Accepted::default(), Arc::clone(&backlog));
        (Arc::new(ledger), backlog)
    }

    fn known(name: &str, number: u64) -> Change {
        Change::Known(Identity::of(&dispatch_event(&watch("v1/pods"), name, number).metadata()))
    }

    fn name(change: &Change) -> String {
        let Change::Known(identity) = change else { panic!("only known objects were registered") };
        format!("{}@{}", identity.key().rsplit('\0').next().unwrap(), identity.version())
    }

    #[test]
    fn a_checkpoint_gets_what_the_prefix_changed_and_the_lines_beyond_it() {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (ledger, backlog) = keeping(40);
            let (mut lines, mut open, mut taken) = (Vec::<Line>::new(), Vec::new(), 0);
            for number in 1..=300 {
                match random.u8(..8) {
                    0 => {
                        let progress = ledger.progress();
                        let changes: Vec<String> = progress.changes.iter().map(name).collect();
                        let expected: Vec<&str> =
                            lines[taken..taken + changes.len()].iter().map(|line| line.2.as_str()).collect();
                        assert_eq!(changes, expected, "seed {seed}, step {number}");
                        taken += changes.len();
                        assert!(lines[..taken].iter().all(|line| line.1), "seed {seed}: only what was accepted");
                        let beyond = lines[taken..].iter().filter(|line| line.1).filter_map(|line| line.0).min();
                        assert_eq!(progress.written_beyond, beyond, "seed {seed}, step {number}");
                    }
                    1..5 if ledger.take_credit(Duration::ZERO) == Credit::Granted => {
                        let change = known("web", number);
                        lines.push(Line(None, false, name(&change)));
                        open.push((
                            lines.len() - 1,
                            ledger.register_version(Some(version(number)), Some(change), 0, SystemTime::now()),
                        ));
                    }
                    1.. if open.is_empty() => {}
                    1.. => {
                        let (index, completion) = open.swap_remove(random.usize(..open.len()));
                        let at = random.bool().then_some(number);
                        Completion::complete_all([completion], at);
                        (lines[index].0, lines[index].1) = (at, true);
                    }
                }
                assert!(backlog.waiting() <= 40, "seed {seed}, step {number}");
            }
            drop(open);
        }
    }

    #[test]
    fn changes_that_no_checkpoint_takes_use_up_the_credits() {
        let (ledger, backlog) = keeping(10);
        let mut accepted = 0;
        while ledger.take_credit(Duration::ZERO) == Credit::Granted {
            accepted += 1;
            let change = Some(known("web", accepted));
            ledger.register_version(Some(version(accepted)), change, 0, SystemTime::now()).complete();
        }
        assert_eq!((accepted as usize, backlog.waiting()), (10 + CREDITS_PER_WATCH, 10));
        assert_eq!(told(&ledger), "10");
        let progress = ledger.progress();
        assert_eq!((progress.accepted.version, progress.changes.len()), (Some(version(10)), 10));
        assert_eq!((told(&ledger).as_str(), ledger.take_credit(Duration::ZERO)), ("20", Credit::Granted));
    }

    #[test]
    fn a_checkpoint_learns_of_a_list_that_began_and_ended_between_two_of_them() {
        let (ledger, _) = keeping(10);
        assert!(!ledger.progress().listed);
        ledger.mark(Mark::Listing);
        ledger.mark(Mark::Listed(version(7)));
        let progress = ledger.progress();
        assert!(progress.listed && !progress.accepted.listing);
        assert!(!ledger.progress().listed);
    }
}
