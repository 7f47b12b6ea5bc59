//! The end of a transport, seen at once by whatever it waits for.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

/// Comes once, and is never taken back. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// Dropped when the end comes; a closed channel is what wakes waits.
    door: Arc<Mutex<Option<Sender<Infallible>>>>,
    closed: Receiver<Infallible>,
}

impl Ending {
    pub(crate) fn new() -> Self {
        let (door, closed) = bounded(0);
        Self { door: Arc::new(Mutex::new(Some(door))), closed }
    }

    pub(crate) fn come(&self) {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) fn has_come(&self) -> bool {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// A channel that closes at the end, for `select!`.
    pub(crate) fn signal(&self) -> &Receiver<Infallible> {
        &self.closed
    }
}

/// One at a time: a lock that may be held across I/O, because waiting for it can be ended.
#[derive(Debug)]
pub(crate) struct Turn {
    give: Sender<()>,
    take: Receiver<()>,
}

/// Ends the turn when dropped.
#[derive(Debug)]
pub(crate) struct TurnGuard(Sender<()>);

impl Turn {
    pub(crate) fn new() -> Self {
        let (give, take) = bounded(1);
        give.send(()).expect("the channel has room for the one turn, and its receiver is here");
        Self { give, take }
    }

    /// `None` when the end or the deadline comes first.
    pub(crate) fn wait(&self, ending: &Ending, deadline: std::time::Instant) -> Option<TurnGuard> {
        crossbeam_channel::select! {
            recv(self.take) -> turn => turn.ok().map(|()| TurnGuard(self.give.clone())),
            recv(ending.signal()) -> _ => None,
            default(deadline.saturating_duration_since(std::time::Instant::now())) => None,
        }
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        // Only this guard held the one turn, so there is room; a receiver that is gone waits for none.
        let _ = self.0.try_send(());
    }
}
