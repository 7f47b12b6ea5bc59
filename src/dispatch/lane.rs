//! The lanes of one gvr, and the outlet by which a watch fills them.
//!
//! An object always takes the same lane. A lane has room for every credit of its gvr, so that handing over never waits.
//! Where there are no handlers there is nothing to wait for, and no lane: events go straight to the export.

use super::Completion;
use super::credit::CREDITS_PER_GVR;
use super::handler::Export;
use super::tracker::Ledger;
use super::worker::Work;
use crate::api::ObjectRef;
use crate::event::{Credit, Kept, Mark, MatchedEvent, Outlet};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// The lanes of one gvr. Dropping the last owner closes them.
pub(super) struct Lanes(Vec<LaneEntry>);

/// The end of a lane that is filled.
struct LaneEntry {
    works: Sender<Work>,
    sweep: Sender<()>,
}

/// The end of a lane that its worker empties.
pub(super) struct LaneExit {
    pub(super) works: Receiver<Work>,
    /// Brings a message when a watch was removed: its parked events are to be dropped.
    pub(super) sweep: Receiver<()>,
}

impl Lanes {
    /// `count` lanes, and the ends that workers empty.
    pub(super) fn new(count: usize) -> (Self, Vec<LaneExit>) {
        let (entries, exits) = (0..count).map(|_| lane()).unzip();
        (Self(entries), exits)
    }

    fn sweep(&self) {
        for lane in &self.0 {
            // Full means that the worker has yet to look, and will find these events too.
            _ = lane.sweep.try_send(());
        }
    }

    fn send(&self, event: MatchedEvent, completion: Completion) {
        let object = object_hash(event.metadata());
        let work = Work::new(event, completion, object);
        let lane = usize::try_from(work.object % self.0.len() as u64).expect("a remainder of a usize");
        match self.0[lane].works.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => unreachable!("a lane has room for every credit of its gvr"),
            // The worker no longer runs: the event stays unacknowledged.
            Err(TrySendError::Disconnected(work)) => drop(work),
        }
    }
}

fn lane() -> (LaneEntry, LaneExit) {
    let ((works_in, works), (sweep_in, sweep)) = (bounded(CREDITS_PER_GVR), bounded(1));
    (LaneEntry { works: works_in, sweep: sweep_in }, LaneExit { works, sweep })
}

/// Where the events of a gvr go.
#[derive(Clone)]
pub(super) enum Way {
    /// To handlers, then to the export.
    Lanes(Arc<Lanes>),
    /// To the export, or to nobody.
    Direct(Option<Arc<dyn Export>>),
}

impl Way {
    fn send(&self, event: MatchedEvent, mut completion: Completion, ledger: &Ledger) {
        let export = match self {
            Self::Lanes(lanes) => return lanes.send(event, completion),
            Self::Direct(export) => export,
        };
        // Of a removed watch nothing more is told.
        if completion.begin_call_and_export().is_err() {
            return;
        }
        match export {
            Some(export) => export.export(&event, completion),
            None => completion.complete(),
        }
        ledger.end_call();
    }

    /// Drops the events of removed watches soon, also where they wait to be tried again.
    pub(super) fn sweep(&self) {
        if let Self::Lanes(lanes) = self {
            lanes.sweep();
        }
    }

    /// Lanes gather nothing: their workers flush for themselves.
    fn flush(&self) {
        if let Self::Direct(Some(export)) = self {
            export.flush();
        }
    }
}

/// Where one watch hands over its events. Dropping it ends that watch's part, not its lanes.
pub struct LaneOutlet {
    ledger: Arc<Ledger>,
    way: Way,
    /// A credit was granted and not yet used.
    has_credit: bool,
}

impl LaneOutlet {
    pub(super) fn new(ledger: Arc<Ledger>, way: Way) -> Self {
        Self { ledger, way, has_credit: false }
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
        let mut credit = self.ledger.take_credit(Duration::ZERO);
        if credit == Credit::Exhausted {
            // Credit comes back from what is gathered.
            self.way.flush();
            credit = self.ledger.take_credit(limit);
        }
        self.has_credit = credit == Credit::Granted;
        credit
    }

    fn send(&mut self, event: MatchedEvent) {
        assert!(self.has_credit, "an event is handed over with credit, one each");
        self.has_credit = false;
        let completion = self.ledger.register(&event);
        self.way.send(event, completion, &self.ledger);
    }

    fn keep(&mut self, kept: Kept) {
        assert!(self.has_credit, "what is kept is handed over with credit, too");
        self.has_credit = false;
        self.ledger.keep(kept);
    }

    fn mark(&mut self, mark: Mark) {
        self.ledger.mark(mark);
    }

    fn flush(&mut self) {
        self.way.flush();
    }
}

impl Drop for LaneOutlet {
    fn drop(&mut self) {
        self.way.flush();
        self.ledger.give_back(usize::from(self.has_credit), 0);
        self.ledger.close();
    }
}

/// Tells objects of one gvr apart: by namespace and name, so that all incarnations of an object share a lane.
fn object_hash(object: ObjectRef<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (object.namespace_json(), object.name_json()).hash(&mut hasher);
    hasher.finish()
}
