//! The outlet by which a watch hands its events to every receiver at once: to each subscription that wants them, and to the export.
//!
//! No receiver waits for another: each has its own part in the event's ticket. Where no handler wants anything there are no
//! lanes, and events go straight to the export.

use super::handler::Export;
use super::lane::{Lanes, Place};
use super::queue::Share;
use super::receivers::Receivers;
use super::subscription::Registered;
use super::tracker::Ledger;
use crate::api::ObjectRef;
use crate::event::{Credit, Kept, Mark, MatchedEvent, Outlet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The way from one watch to one subscription.
pub(super) struct Way {
    pub(super) receiver: Receivers,
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
}

impl LaneOutlet {
    pub(super) fn new(ledger: Arc<Ledger>, export: Option<Arc<dyn Export>>, ways: Vec<Way>) -> Self {
        let (gvr_hash, watch_hash) = (hash_of(&ledger.watch().gvr), hash_of(&ledger.watch().id));
        Self { ledger, export, ways, gvr_hash, watch_hash, has_credit: false }
    }

    /// The watch's tickets: how far everything was accepted, and the way to end a wait for credit.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Takes a credit and a place in every queue, or nothing.
    fn take(&self, deadline: Instant) -> Credit {
        loop {
            match self.ledger.take_credit(deadline.saturating_duration_since(Instant::now())) {
                Credit::Granted => {}
                other @ (Credit::Exhausted | Credit::Closed) => return other,
            }
            let Some(full) = self.ways.iter().position(|way| !way.share.take()) else { return Credit::Granted };
            // Nothing is held while waiting for another queue: its watches must not wait for this one.
            self.ways[..full].iter().for_each(|way| way.share.give_back());
            self.ledger.give_back(1, 0);
            if Instant::now() >= deadline {
                return Credit::Exhausted;
            }
            self.ways[full].share.wait(deadline, || self.ledger.is_closed());
        }
    }

    fn receivers_of(&self, event: &MatchedEvent) -> Receivers {
        let export = if self.export.is_some() { Receivers::EXPORT } else { Receivers::NONE };
        let wanting = self.ways.iter().filter(|way| way.registered.wants(event));
        wanting.fold(export, |receivers, way| receivers.and(way.receiver))
    }

    fn place_of(&self, object: ObjectRef<'_>) -> Place {
        let hash = object_hash(object);
        Place { lane: hash ^ self.gvr_hash, object: hash ^ self.watch_hash }
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
        let Some(export) = &self.export else { return };
        let mut completion = self.ledger.completion(sequence, Receivers::EXPORT, event.raw().len(), event.received);
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
        let now = Instant::now();
        let mut credit = self.take(now);
        if credit == Credit::Exhausted {
            // Credit comes back from what is gathered.
            self.flush();
            credit = self.take(now + limit);
        }
        self.has_credit = credit == Credit::Granted;
        credit
    }

    fn send(&mut self, event: MatchedEvent) {
        assert!(self.has_credit, "an event is handed over with credit, one each");
        self.has_credit = false;
        let receivers = self.receivers_of(&event);
        let sequence = self.ledger.register(&event, receivers);
        self.hand_to_subscriptions(&event, sequence, receivers);
        self.hand_to_export(&event, sequence);
    }

    fn keep(&mut self, kept: Kept) {
        assert!(self.has_credit, "what is kept is handed over with credit, too");
        self.has_credit = false;
        self.ways.iter().for_each(|way| way.share.give_back());
        self.ledger.keep(kept);
    }

    fn mark(&mut self, mark: Mark) {
        self.ledger.mark(mark);
    }

    fn flush(&mut self) {
        if let Some(export) = &self.export {
            export.flush();
        }
    }
}

impl Drop for LaneOutlet {
    fn drop(&mut self) {
        self.flush();
        self.give_back();
        self.ledger.close();
    }
}

/// Tells objects of one gvr apart: by namespace and name, so that all incarnations of an object share a lane.
fn object_hash(object: ObjectRef<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (object.namespace_json(), object.name_json()).hash(&mut hasher);
    hasher.finish()
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
