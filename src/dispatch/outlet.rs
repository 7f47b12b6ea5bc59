//! The outlet by which a watch hands its events to every receiver at once: to each subscription that wants them, and to the export.
//!
//! No receiver waits for another: each has its own part in the event's ticket. Where no handler wants anything there are no
//! lanes, and events go straight to the export.

use super::handler::Export;
use super::lane::{Lanes, Place};
use super::queue::Share;
use super::receivers::Receivers;
use super::recorder;
use super::subscription::Registered;
use super::tracker::Ledger;
use crate::api::{Anchor, ObjectRef, ToldId};
use crate::chain::chain;
use crate::checkpoint::{Batch, Handed};
use crate::event::{Credit, EventType, Kept, Mark, MatchedEvent, Outlet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The way from one watch to one subscription.
pub(super) struct Way {
    pub(super) receiver: Receivers,
    /// What the subscription is known by.
    pub(super) name: String,
    pub(super) registered: Registered,
    pub(super) share: Arc<Share>,
    pub(super) lanes: Arc<Lanes>,
}

/// Where one watch hands over its events. Dropping it ends that watch's part, not the lanes.
pub struct LaneOutlet {
    ledger: Arc<Ledger>,
    export: Option<Arc<dyn Export>>,
    ways: Vec<Way>,
    /// What tells this watch's gvr, and this watch, from others.
    gvr_hash: u64,
    watch_hash: u64,
    /// A credit was granted and not yet used, and a place in every queue.
    has_credit: bool,
    /// What is to be journalled, and then handed over; nothing waits here where nothing is journalled.
    gathered: Vec<Gathered>,
    gathered_bytes: usize,
    batch: Batch,
    /// The journal's disk takes nothing.
    is_failing: bool,
    /// A list is under way.
    is_listing: bool,
    /// The newest event, where it is still to be hashed.
    unhashed: Option<MatchedEvent>,
}

/// An event that waits for the journal.
struct Gathered {
    event: MatchedEvent,
    sequence: u64,
    receivers: Receivers,
}

/// So much is journalled at once at most, as the handlers wait meanwhile.
const GATHERED_MAX: usize = 64;
const GATHERED_BYTES_MAX: usize = 256 * 1024;

/// Between attempts while the journal's disk takes nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

impl LaneOutlet {
    pub(super) fn new(ledger: Arc<Ledger>, export: Option<Arc<dyn Export>>, ways: Vec<Way>) -> Self {
        let (gvr_hash, watch_hash) = (hash_of(&ledger.watch().gvr), hash_of(&ledger.watch().id));
        let is_listing = ledger.accepted().listing;
        let (has_credit, gathered, gathered_bytes, batch, is_failing, unhashed) = Default::default();
        Self {
            ledger,
            export,
            ways,
            gvr_hash,
            watch_hash,
            has_credit,
            gathered,
            gathered_bytes,
            batch,
            is_failing,
            is_listing,
            unhashed,
        }
    }

    /// The watch's tickets: how far everything was accepted, and the way to end a wait for credit.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Lets each subscription go on with what earlier runs still owe it of this watch.
    pub(super) fn restore_owed(&self) {
        let Some(recorder) = self.ledger.recorder() else { return };
        for way in &self.ways {
            let objects = recorder.owed(&way.name).objects();
            for (_, key, _) in objects.into_iter().filter(|(watch, ..)| *watch == self.ledger.watch().id) {
                let (namespace, name) = key.split_once('\0').unwrap_or(("", &key));
                way.lanes.restore(self.place(object_hash(namespace, name)), &self.ledger, &key);
            }
        }
    }

    /// Takes a credit, waiting `limit` at most, and a place in every queue. Where there is none, gives the first queue that is full.
    fn take_within(&self, limit: Duration) -> Result<Credit, usize> {
        match self.ledger.take_credit(limit) {
            Credit::Granted => {}
            other @ (Credit::Exhausted | Credit::Closed) => return Ok(other),
        }
        let Some(full) = self.ways.iter().position(|way| !way.share.take()) else { return Ok(Credit::Granted) };
        // Nothing is held while waiting for another queue: its watches must not wait for this one.
        self.ways[..full].iter().for_each(|way| way.share.give_back());
        self.ledger.give_back(1, 0);
        Err(full)
    }

    /// Takes a credit and a place in every queue, or nothing.
    fn take(&self, deadline: Instant) -> Credit {
        loop {
            match self.take_within(deadline.saturating_duration_since(Instant::now())) {
                Ok(credit) => return credit,
                Err(_) if Instant::now() >= deadline => return Credit::Exhausted,
                Err(full) => self.ways[full].share.wait(deadline, || self.ledger.is_closed()),
            }
        }
    }

    /// Whether what is handed out is journalled. Where nobody but the export is interested in this watch its lines say it. Else all of
    /// it is journalled, so that each line is of an event that the journal has, too.
    fn is_journalled(&self) -> bool {
        self.ledger.recorder().is_some() && !self.ways.is_empty()
    }

    fn receivers_of(&self, event: &MatchedEvent) -> Receivers {
        let export = if self.export.is_some() { Receivers::EXPORT } else { Receivers::NONE };
        let wanting = self.ways.iter().filter(|way| way.registered.wants(event));
        wanting.fold(export, |receivers, way| receivers.and(way.receiver))
    }

    fn place_of(&self, object: ObjectRef<'_>) -> Place {
        self.place(object_hash(object.namespace_json(), object.name_json()))
    }

    fn place(&self, hash: u64) -> Place {
        Place { lane: hash ^ self.gvr_hash, object: hash ^ self.watch_hash }
    }

    /// What waits for the journal is written there and then handed over. While the disk takes nothing it stays, and the watch gets
    /// no credit: the next call tries again.
    fn hand_over_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        if let Some(recorder) = self.ledger.recorder()
            && let Err(error) = recorder.emitted(&mut self.batch)
        {
            if !std::mem::replace(&mut self.is_failing, true) {
                log::error!("{}: {}; its events wait until it can be written", self.ledger.watch().target, chain(&error));
            }
            return;
        }
        if std::mem::take(&mut self.is_failing) {
            log::info!("{}: its events are journalled again", self.ledger.watch().target);
        }
        self.gathered_bytes = 0;
        let mut gathered = std::mem::take(&mut self.gathered);
        for Gathered { event, sequence, receivers } in gathered.drain(..) {
            self.hand_over(&event, sequence, receivers);
        }
        // For its room.
        self.gathered = gathered;
    }

    fn hand_over(&self, event: &MatchedEvent, sequence: u64, receivers: Receivers) {
        self.hand_to_subscriptions(event, sequence, receivers);
        if receivers.contains(Receivers::EXPORT) && self.export.is_some() {
            self.hand_to_export(event, sequence);
        }
    }

    /// The run ends before they could be journalled: nobody gets them, and they stay unacknowledged.
    fn drop_gathered(&mut self) {
        for Gathered { event, sequence, receivers } in std::mem::take(&mut self.gathered) {
            self.ways.iter().for_each(|way| way.share.give_back());
            for receiver in receivers.each() {
                let bytes = if receiver == Receivers::EXPORT { event.raw().len() } else { 0 };
                drop(self.ledger.completion(sequence, receiver, bytes, event.received));
            }
        }
    }

    fn gather(&mut self, event: MatchedEvent, receivers: Receivers) {
        let object = event.metadata();
        let told = ToldId::new(object.uid_json(), object.resource_version().as_str(), event.event_type == EventType::Deleted);
        let (watch, flags) = (self.ledger.watch().id, recorder::flags_of(&event, self.is_listing));
        let metadata_hash = event.anchor().map(Anchor::metadata_hash);
        let batch = &mut self.batch;
        let sequence = self.ledger.register_next(&event, receivers, |sequence, change| {
            if let Some(change) = change {
                let (told, receivers) = (told.as_text(), receivers.to_bits());
                batch.emitted(Handed { watch, sequence, told, change, receivers, flags, metadata_hash });
            }
        });
        self.gathered_bytes += event.raw().len();
        self.gathered.push(Gathered { event, sequence, receivers });
        if self.gathered.len() >= GATHERED_MAX || self.gathered_bytes >= GATHERED_BYTES_MAX {
            self.hand_over_gathered();
        }
    }

    fn hand_to_subscriptions(&self, event: &MatchedEvent, sequence: u64, receivers: Receivers) {
        if self.ways.is_empty() {
            return;
        }
        let place = self.place_of(event.metadata());
        for way in &self.ways {
            if receivers.contains(way.receiver) {
                let completion = self.ledger.completion(sequence, way.receiver, 0, event.received);
                way.lanes.send(place, event.clone(), completion, way.share.slot(event.raw().len()));
            } else {
                way.share.give_back();
            }
        }
    }

    fn hand_to_export(&self, event: &MatchedEvent, sequence: u64) {
        let mut completion = self.ledger.completion(sequence, Receivers::EXPORT, event.raw().len(), event.received);
        // Without one the completion is dropped, as of a removed watch.
        let Some(export) = &self.export else { return };
        // Of a removed watch nothing more is emitted.
        if completion.begin_export().is_ok() {
            export.export(event, completion);
            self.ledger.end_call();
        }
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.has_credit) {
            self.ways.iter().for_each(|way| way.share.give_back());
            self.ledger.give_back(1, 0);
        }
    }
}

impl Outlet for LaneOutlet {
    fn wait_for_credit(&mut self, limit: Duration) -> Credit {
        if self.has_credit {
            return if self.ledger.is_closed() { Credit::Closed } else { Credit::Granted };
        }
        if self.is_failing {
            self.hand_over_gathered();
            if self.is_failing {
                return self.ledger.wait_until_closed(limit.min(RETRY_PAUSE));
            }
        }
        let credit = match self.take_within(Duration::ZERO) {
            Ok(credit @ (Credit::Granted | Credit::Closed)) => credit,
            Ok(Credit::Exhausted) | Err(_) => {
                let deadline = Instant::now() + limit;
                // Credit comes back from what is gathered.
                self.flush();
                self.take(deadline)
            }
        };
        self.has_credit = credit == Credit::Granted;
        credit
    }

    fn send(&mut self, event: MatchedEvent) {
        assert!(self.has_credit, "an event is handed over with credit, one each");
        self.has_credit = false;
        let receivers = self.receivers_of(&event);
        if self.is_journalled() {
            return self.gather(event, receivers);
        }
        let sequence = self.ledger.register(&event, receivers);
        self.hand_over(&event, sequence, receivers);
        if event.is_unhashed() {
            self.unhashed = Some(event);
        }
    }

    fn may_hash_later(&self) -> bool {
        // The journal has the hash of each event.
        !self.is_journalled()
    }

    fn seal(&mut self) -> Option<Anchor> {
        let anchor = self.unhashed.take()?.to_anchor()?;
        self.ledger.seal(&anchor);
        Some(anchor)
    }

    fn takes_all(&self) -> bool {
        // What only the export wants is not journalled, and its line may be lost with a line of the journal left behind it.
        if self.ways.is_empty() { self.export.is_some() } else { self.ways.iter().any(|way| way.registered.wants_all()) }
    }

    fn send_again(&mut self, event: MatchedEvent, sequence: u64) {
        assert!(self.has_credit, "an event is handed over with credit, one each");
        self.has_credit = false;
        self.hand_over_gathered();
        let lacking = self.ledger.begin_again(sequence, event.raw().len());
        let wanting = self.receivers_of(&event);
        self.hand_over(&event, sequence, lacking.among(wanting));
        // Who no longer wants it lacks nothing.
        for receiver in lacking.without(wanting).each() {
            self.ledger.completion(sequence, receiver, 0, event.received).complete();
        }
        match event.anchor().cloned() {
            // Behind everything of the earlier run: the version goes on when all of that is accepted.
            Some(anchor) => {
                let object = event.metadata();
                let deleted = event.event_type == EventType::Deleted;
                let told = ToldId::new(object.uid_json(), object.resource_version().as_str(), deleted);
                self.ledger.keep(Kept::Replayed(told, anchor));
            }
            None => self.ledger.give_back(1, 0),
        }
    }

    fn supersede(&mut self) {
        self.ledger.supersede();
    }

    fn keep(&mut self, kept: Kept) {
        assert!(self.has_credit, "what is kept is handed over with credit, too");
        self.has_credit = false;
        self.ways.iter().for_each(|way| way.share.give_back());
        self.hand_over_gathered();
        self.ledger.keep(kept);
    }

    fn mark(&mut self, mark: Mark) {
        self.is_listing = match &mark {
            Mark::Listing | Mark::FirstListed(_) | Mark::OtherHistory(_) => true,
            Mark::Listed(..) => false,
            Mark::Bookmark(_) => self.is_listing,
        };
        self.ledger.mark(mark);
    }

    fn flush(&mut self) {
        self.hand_over_gathered();
        if let Some(export) = &self.export {
            export.flush();
        }
    }
}

impl Drop for LaneOutlet {
    fn drop(&mut self) {
        self.seal();
        self.flush();
        self.drop_gathered();
        self.give_back();
        self.ledger.close();
    }
}

/// Tells objects of one gvr apart: by namespace and name, so that all incarnations of an object share a lane.
fn object_hash(namespace_json: &str, name_json: &str) -> u64 {
    hash_of(&(namespace_json, name_json))
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
