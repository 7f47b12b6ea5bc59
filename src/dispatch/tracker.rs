//! What of a watch was accepted: tickets registered in order, completed in any order, and one ordered prefix of complete ones.
//!
//! The informer's side registers events and marks; handlers and sink complete the events. [`Ledger::accepted`] is the
//! version up to which everything before is complete: what a checkpoint may store. In the steady state nothing is allocated.

use super::backlog::Backlog;
use super::book::{Book, Gain, Reached, WINDOW};
use super::completion::Completion;
use super::contain::is_in_handler_of;
use super::credit::{Account, Gate};
use super::flow::{Awaited, Flow, Retired};
use super::queue::Share;
use super::receivers::Receivers;
use super::recorder::Recorder;
use crate::api::{Anchor, Change, HISTORY_FIRST, Identity, ResourceVersion, Watch};
use crate::event::{Credit, Emission, EventType, Kept, Mark, MatchedEvent, Origin};
use crate::metrics::WatchMetrics;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The tickets of one watch.
#[derive(Debug)]
pub struct Ledger {
    watch: Arc<Watch>,
    metrics: WatchMetrics,
    gate: Arc<Gate>,
    account: Account,
    /// What of each subscription's queue this watch feeds.
    shares: Box<[Arc<Share>]>,
    book: Mutex<Book>,
    /// The sequence of the next ticket, to be read without the book.
    next: AtomicU64,
    pub(super) flow: Flow,
    /// Where changes are counted until a checkpoint takes them; `None` where nobody stores them.
    backlog: Option<Arc<Backlog>>,
    recorder: Option<Arc<Recorder>>,
    /// Something ended that may be waited for.
    ended: Condvar,
}

/// How far everything of a watch was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Everything up to this version was accepted; `None` before the first list has ended.
    pub version: Option<ResourceVersion>,
    /// A list is under way: some of it was accepted, and `version` stands still until all of it is.
    pub listing: bool,
    /// The newest event up to `version`, or the object of a list; `None` where none came yet.
    pub anchor: Option<Anchor>,
    /// Which history of the cluster it is of.
    pub history: u32,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { version: None, listing: false, anchor: None, history: HISTORY_FIRST }
    }
}

/// Where a watch goes on.
#[derive(Clone, Debug, Default)]
pub struct Resumed {
    /// How far everything was accepted.
    pub accepted: Accepted,
    /// The number of the first event that is not in the checkpoint.
    pub sequence: u64,
    /// What was handed out beyond the checkpoint, in order.
    pub emissions: Vec<Emission>,
}

/// What of a watch was accepted since this was last asked for.
#[derive(Debug, Default)]
pub struct Progress {
    /// How far everything was accepted.
    pub accepted: Accepted,
    /// The number of the first event beyond that.
    pub sequence: u64,
    /// A list was under way meanwhile, also when it has ended: what was to be replayed before it no longer comes.
    pub listed: bool,
    /// What became known or gone, in order.
    pub changes: Vec<Change>,
    /// The lowest position in the files at which there may be a line of an event that was accepted, while one before it was not.
    pub written_beyond: Option<u64>,
}

impl Ledger {
    pub(super) fn new(watch: Arc<Watch>, metrics: WatchMetrics, gate: Arc<Gate>) -> Self {
        let (account, shares, book, next, flow) = Default::default();
        Self { watch, metrics, gate, account, shares, book, next, flow, backlog: None, recorder: None, ended: Condvar::new() }
    }

    /// Feeds these parts of queues.
    pub(super) fn feeding(self, shares: impl Iterator<Item = Arc<Share>>) -> Self {
        Self { shares: shares.collect(), ..self }
    }

    /// Goes on from what an earlier run has stored, and keeps what changes for the next checkpoint.
    pub(super) fn resumed(self, resumed: Resumed, backlog: Arc<Backlog>) -> Self {
        let book = Book::resumed(resumed);
        self.metrics.in_flight_changed(book.unfinished.cast_signed());
        Self { next: AtomicU64::new(book.next()), book: Mutex::new(book), backlog: Some(backlog), ..self }
    }

    /// What is handed to handlers is journalled, so that the events beyond the prefix need not be in a checkpoint.
    pub(super) fn recorded(self, recorder: Option<Arc<Recorder>>) -> Self {
        Self { recorder, ..self }
    }

    pub(super) fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    /// The watch whose tickets these are.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The version up to which everything was accepted.
    pub fn accepted(&self) -> Accepted {
        self.book().accepted.clone()
    }

    /// Who has yet to accept anything up to the end of the last list; `None` while one is under way, and before the first.
    pub fn lacking_of_lists(&self) -> Option<Receivers> {
        self.book().lacking_of_lists()
    }

    /// Gives what changes and was not taken yet to `look`, the newest first: what is on its way, and what was accepted.
    pub fn look_at_changes(&self, look: impl FnMut(&Change)) {
        self.book().newest_changes().for_each(look);
    }

    /// Takes what was accepted since the last time, for a checkpoint.
    pub fn progress(&self) -> Progress {
        let mut book = self.book();
        let counted = book.changes();
        let progress = book.progress();
        if let Some(backlog) = &self.backlog {
            backlog.taken(counted);
        }
        let credits = self.moved(book, Book::advance);
        self.give_back(credits, 0);
        progress
    }

    /// Takes what was accepted since the last time, for the last checkpoint of a watch that was removed: also the changes of
    /// events that were accepted while one before them was not. Where there are such, or any that was not accepted, it says
    /// that a list is under way, so that the watch lists and compares when it is added again.
    ///
    /// Call it once, when the ledger [is settled](Self::is_settled): of what is accepted later nothing is kept. The watch is
    /// [removed](Self::retire) by it, if it was not.
    pub fn last_progress(&self) -> Progress {
        self.retire();
        let mut book = self.book();
        let counted = book.changes();
        let progress = match &self.recorder {
            Some(recorder) => {
                recorder.exported(self.watch.id, &book.exported_beyond());
                book.last_prefix()
            }
            None => book.last_progress(),
        };
        if let Some(backlog) = &self.backlog {
            backlog.taken(counted);
        }
        progress
    }

    /// The watch was removed: from here on no event of it is given to a handler or to the export, and it gets no more credit.
    /// Those on their way are dropped, unacknowledged; calls that are under way end as they do, without their event being
    /// accepted. See [`Dispatcher::remove`](super::Dispatcher::remove), which waits for them.
    pub fn retire(&self) {
        self.flow.retire();
        self.close();
        let mut book = self.book();
        // Nobody waits for what is on its way.
        let leaving = if book.is_retired() { 0 } else { book.unfinished };
        let credits = book.retire();
        self.ended.notify_all();
        drop(book);
        self.give_back(credits, 0);
        self.metrics.in_flight_changed(-leaving.cast_signed());
    }

    /// Whether the watch was removed.
    pub fn is_retired(&self) -> bool {
        self.flow.is_retired()
    }

    /// Whether no event is on its way that may still be accepted. Nothing registers more once the outlet is dropped, or the
    /// watch is [removed](Self::retire).
    pub fn is_settled(&self) -> bool {
        self.is_settled_in(&self.book())
    }

    /// What a removed watch has left is accepted only where the export has it.
    fn is_settled_in(&self, book: &Book) -> bool {
        if self.flow.is_retired() { self.flow.exports() == 0 } else { book.is_settled() }
    }

    /// How many events are registered and not accepted.
    pub fn unfinished(&self) -> u64 {
        self.book().unfinished
    }

    /// How often a receiver dropped an event before it was accepted. Such events stay unacknowledged for ever, and hold the prefix.
    pub fn abandoned(&self) -> u64 {
        self.book().abandoned
    }

    /// Grants no more credit, and wakes the informer that waits for it: its watch ends.
    pub fn close(&self) {
        self.gate.close(&self.account);
        self.shares.iter().for_each(|share| share.wake());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.account.is_closed()
    }

    /// Lets `limit` pass, or less when the watch ends.
    pub(super) fn wait_until_closed(&self, limit: Duration) -> Credit {
        self.gate.wait_until_closed(&self.account, limit)
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

    /// Registers `event` for `receivers`, with a credit that was taken. Returns its sequence.
    pub(super) fn register(&self, event: &MatchedEvent, receivers: Receivers) -> u64 {
        self.register_next(event, receivers, |_, _| {})
    }

    /// What `event` changes in what is known of its watch.
    fn change_of(event: &MatchedEvent) -> Change {
        match event.event_type {
            EventType::Added | EventType::Updated => Change::Known(event.identity()),
            EventType::Deleted => Change::Gone(Identity::key_of(&event.metadata())),
        }
    }

    /// As [`register`](Self::register); before that `note` is given the sequence, as only one thread registers, and the change.
    pub(super) fn register_next(
        &self,
        event: &MatchedEvent,
        receivers: Receivers,
        note: impl FnOnce(u64, Option<&Change>),
    ) -> u64 {
        let object = event.metadata();
        // What was found by comparison carries the version at which the object was last seen: nothing to resume from.
        let version = || match &event.origin {
            Origin::List => object.resource_version(),
            Origin::Watch(anchor) => anchor.version().clone(),
            Origin::Unhashed(unhashed) => unhashed.version().clone(),
        };
        let version = (!event.inferred).then(version);
        let change = self.backlog.is_some().then(|| Self::change_of(event));
        note(self.next.load(Ordering::Relaxed), change.as_ref());
        let reached = Reached { version, anchor: event.anchor().cloned(), is_unsealed: event.is_unhashed(), change };
        self.register_reached(receivers, reached, event.raw().len())
    }

    /// The event that was registered last is the newest for now: the prefix may go over it, and over those before it that were
    /// registered without an anchor.
    pub(super) fn seal(&self, anchor: &Anchor) {
        let credits = self.moved(self.book(), |book, room| book.seal(anchor, room));
        self.give_back(credits, 0);
    }

    /// Registers what nobody receives, with a credit that was taken; it is accepted at once.
    pub(super) fn keep(&self, kept: Kept) {
        let (version, anchor, change) = match kept {
            Kept::Known(identity) => (None, None, Change::Known(identity)),
            Kept::Replayed(id, anchor) => (Some(anchor.version().clone()), Some(anchor), Change::Replayed(id)),
        };
        let change = Some(change).filter(|_| self.backlog.is_some());
        self.register_reached(Receivers::NONE, Reached { version, anchor, is_unsealed: false, change }, 0);
    }

    pub(super) fn register_reached(&self, receivers: Receivers, reached: Reached, bytes: usize) -> u64 {
        if receivers.contains(Receivers::EXPORT) {
            self.gate.hold(bytes);
        }
        if !receivers.is_empty() {
            self.metrics.in_flight_changed(1);
        }
        let mut sequence = 0;
        let credits = self.moved(self.book(), |book, room| {
            let gain;
            (sequence, gain) = book.register(receivers, reached, room);
            self.next.store(sequence + 1, Ordering::Relaxed);
            gain.credits
        });
        self.give_back(credits, 0);
        sequence
    }

    /// Begins to hand over once more what an earlier run has numbered so. Returns who lacks it.
    pub(super) fn begin_again(&self, sequence: u64, bytes: usize) -> Receivers {
        let lacking = self.book().begin_again(sequence);
        if lacking.contains(Receivers::EXPORT) {
            self.gate.hold(bytes);
        }
        lacking
    }

    /// What of earlier runs was not handed over again is out of date.
    pub(super) fn supersede(&self) {
        let mut complete = 0;
        let credits = self.moved(self.book(), |book, room| {
            let credits;
            (complete, credits) = book.supersede(room);
            credits
        });
        self.give_back(credits, 0);
        self.metrics.in_flight_changed(-complete.cast_signed());
    }

    /// The duty of one receiver of the event that was registered as `sequence`.
    pub(super) fn completion(
        self: &Arc<Self>,
        sequence: u64,
        receiver: Receivers,
        bytes: usize,
        received: SystemTime,
    ) -> Completion {
        Completion::new(Arc::clone(self), sequence, receiver, bytes, received)
    }

    /// Whether so much was registered since that the watch would soon wait for the event of this ticket.
    pub(super) fn is_pressed_by(&self, sequence: u64) -> bool {
        self.next.load(Ordering::Relaxed).saturating_sub(sequence) > WINDOW as u64 / 2
    }

    /// Registers a point in the stream that carries no event.
    pub(super) fn mark(&self, mark: Mark) {
        let credits = self.moved(self.book(), |book, room| {
            let credits = book.mark(mark, room);
            self.next.store(book.next(), Ordering::Relaxed);
            credits
        });
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
        // Until the end of a list is stored, a crash would have all of it compared again.
        if let Some(backlog) = self.backlog.as_ref().filter(|_| book.has_list_ended()) {
            backlog.ring();
        }
        credits
    }

    /// Waits until no event is on its way that may still be accepted, until `deadline` at most. Returns whether it is so.
    ///
    /// # Blocking
    ///
    /// For as long as handlers and export take, until `deadline` at most.
    pub fn wait_until_settled(&self, deadline: Instant) -> bool {
        let mut book = self.book();
        book.settling += 1;
        let limit = deadline.saturating_duration_since(Instant::now());
        let waited = self.ended.wait_timeout_while(book, limit, |book| !self.is_settled_in(book));
        let (mut book, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        book.settling -= 1;
        // Not by another look: an export that is refused counts until it is taken back.
        !outcome.timed_out()
    }

    /// Waits until neither a handler nor the export is called with an event of this removed watch, but for the call that the
    /// calling thread is in; until `deadline` at most. Returns whether it is so.
    pub(super) fn wait_for_calls(&self, deadline: Instant) -> bool {
        let own = u64::from(is_in_handler_of(self));
        let limit = deadline.saturating_duration_since(Instant::now());
        let waited = self.ended.wait_timeout_while(self.book(), limit, |_| self.flow.calls() > own);
        // As above: a call that is refused counts until it is taken back.
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// An event of this watch is about to be given to a handler; not where the watch was removed. Ends with
    /// [`end_call`](Self::end_call).
    pub(super) fn begin_call(&self) -> Result<(), Retired> {
        self.begun(self.flow.begin_call())
    }

    /// As [`begin_call`](Self::begin_call), for the export, which says when it has accepted.
    pub(super) fn begin_call_and_export(&self) -> Result<(), Retired> {
        self.begun(self.flow.begin_call_and_export())
    }

    /// Who waits for the end of calls may have seen the one that was refused.
    fn begun(&self, begun: Result<(), Retired>) -> Result<(), Retired> {
        begun.inspect_err(|Retired| self.tell(Awaited(true)))
    }

    /// The event that a call began with is with the export, or waits to be given again, or was dropped.
    pub(super) fn end_call(&self) {
        self.tell(self.flow.end_call());
    }

    /// Wakes whoever waits for what has ended.
    pub(super) fn tell(&self, awaited: Awaited) {
        if awaited.0 {
            // Under the lock, so that it comes neither before nor between a look and a wait.
            let _book = self.book();
            self.ended.notify_all();
        }
    }

    /// Completes parts of tickets of this ledger, all under one lock.
    pub(super) fn complete(&self, completions: impl Iterator<Item = Completion>, written_at: Option<u64>, now: SystemTime) {
        let (mut bytes, mut events, mut exports) = (0, 0, 0);
        let credits = self.moved(self.book(), |book, mut room| {
            let mut credits = 0;
            for mut completion in completions {
                // First, so that a broken promise of the book does not end in a wait for the lock held here.
                completion.is_complete = true;
                let before = book.changes();
                let Gain { credits: back, is_complete } = book.accept(completion.sequence, completion.receiver, written_at, room);
                credits += back;
                room -= book.changes() - before;
                bytes += completion.bytes;
                exports += u64::from(completion.is_in_export);
                if is_complete {
                    self.metrics.accepted(now.duration_since(completion.received).unwrap_or_default());
                    events += 1;
                }
            }
            self.tell_settled(book);
            credits
        });
        self.give_back(credits, bytes);
        self.metrics.in_flight_changed(-events);
        // What is not in the export is not awaited: an addition of nothing costs as much as one of something.
        if exports > 0 {
            self.tell(self.flow.end_exports(exports));
        }
    }

    pub(super) fn abandon(&self, completion: &Completion) {
        let mut book = self.book();
        let credits = book.abandon(completion.sequence, completion.receiver);
        self.tell_settled(&book);
        drop(book);
        self.give_back(credits, completion.bytes);
        if completion.is_in_export {
            self.tell(self.flow.end_exports(1));
        }
    }

    fn tell_settled(&self, book: &Book) {
        if book.settling > 0 && book.is_settled() {
            self.ended.notify_all();
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
