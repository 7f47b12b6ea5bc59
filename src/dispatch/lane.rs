//! The lanes of one gvr, and the outlet by which a watch fills them.
//!
//! An object always takes the same lane. A lane has room for every credit of its gvr, so that handing over never waits.

use super::credit::CREDITS_PER_GVR;
use super::tracker::Ledger;
use super::worker::Work;
use crate::api::ObjectRef;
use crate::event::{Credit, Mark, MatchedEvent, Outlet};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// The lanes of one gvr. Dropping the last owner closes them.
pub(super) struct Lanes(Vec<Sender<Work>>);

impl Lanes {
    /// `count` lanes, and the ends that workers empty.
    pub(super) fn new(count: usize) -> (Self, Vec<Receiver<Work>>) {
        let (senders, receivers) = (0..count).map(|_| bounded(CREDITS_PER_GVR)).unzip();
        (Self(senders), receivers)
    }

    fn send(&self, work: Work) {
        let lane = usize::try_from(work.object % self.0.len() as u64).expect("a remainder of a usize");
        match self.0[lane].try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => unreachable!("a lane has room for every credit of its gvr"),
            // The worker no longer runs: the event stays unacknowledged.
            Err(TrySendError::Disconnected(work)) => drop(work),
        }
    }
}

/// Where one watch hands over its events. Dropping it ends that watch's part, not its lanes.
pub struct LaneOutlet {
    ledger: Arc<Ledger>,
    lanes: Arc<Lanes>,
    /// A credit was granted and not yet used.
    has_credit: bool,
}

impl LaneOutlet {
    pub(super) fn new(ledger: Arc<Ledger>, lanes: Arc<Lanes>) -> Self {
        Self { ledger, lanes, has_credit: false }
    }

    /// The watch's tickets: how far everything was accepted, and the way to end a wait for credit.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}

impl Outlet for LaneOutlet {
    fn wait_for_credit(&mut self, limit: Duration) -> Credit {
        if self.has_credit {
            return if self.ledger.is_closed() { Credit::Closed } else { Credit::Granted };
        }
        let credit = self.ledger.take_credit(limit);
        self.has_credit = credit == Credit::Granted;
        credit
    }

    fn send(&mut self, event: MatchedEvent) {
        assert!(self.has_credit, "an event is handed over with credit, one each");
        self.has_credit = false;
        let object = object_hash(event.metadata());
        let completion = self.ledger.register(&event);
        self.lanes.send(Work::new(event, completion, object));
    }

    fn mark(&mut self, mark: Mark) {
        self.ledger.mark(mark);
    }
}

impl Drop for LaneOutlet {
    fn drop(&mut self) {
        self.ledger.give_back_credits(usize::from(self.has_credit));
        self.ledger.close();
    }
}

/// Tells objects of one gvr apart: by namespace and name, so that all incarnations of an object share a lane.
fn object_hash(object: ObjectRef<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (object.namespace_json(), object.name_json()).hash(&mut hasher);
    hasher.finish()
}
