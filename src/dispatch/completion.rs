//! One receiver's part in one event's ticket: on its way to a handler or the export, and back to its ledger as accepted or dropped.

use super::flow::Retired;
use super::receivers::Receivers;
use super::tracker::Ledger;
use crate::metrics::WatchMetrics;
use std::iter;
use std::sync::Arc;
use std::time::SystemTime;

/// The duty to say that one event was accepted by one of its receivers. Dropped without [`complete`](Self::complete), the event
/// stays unacknowledged.
#[derive(Debug)]
pub struct Completion {
    ledger: Arc<Ledger>,
    pub(super) sequence: u64,
    /// Whose it is: one of them.
    pub(super) receiver: Receivers,
    /// What the watch's gvr holds for the export.
    pub(super) bytes: usize,
    pub(super) received: SystemTime,
    pub(super) is_complete: bool,
    pub(super) is_in_export: bool,
}

impl Completion {
    pub(super) fn new(ledger: Arc<Ledger>, sequence: u64, receiver: Receivers, bytes: usize, received: SystemTime) -> Self {
        Self { ledger, sequence, receiver, bytes, received, is_complete: false, is_in_export: false }
    }

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

    /// Whether its watch would soon wait for it.
    pub(super) fn presses(&self) -> bool {
        self.ledger.is_pressed_by(self.sequence)
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The event is about to be given to the export; not where its watch was removed. The giving ends with [`Ledger::end_call`].
    pub(super) fn begin_export(&mut self) -> Result<(), Retired> {
        self.ledger.begin_call_and_export()?;
        self.is_in_export = true;
        Ok(())
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.is_complete {
            self.ledger.abandon(self);
        }
    }
}
