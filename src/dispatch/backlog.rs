//! How many accepted changes wait for a checkpoint, over all watches: when there are many one is due, when there are too many
//! the prefixes stand still, and with them, through credits, the watches.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many changes are worth a checkpoint of their own before its time. One with many labels and annotations counts as several.
pub const CHANGES_DUE: usize = 10_000;

/// So many changes wait at most, while checkpoints cannot be written or do not keep up. At 300 bytes each they are 12 MB, and at 16 KiB, which count as 17, 40 MB.
pub const CHANGES_WAITING_MAX: usize = 4 * CHANGES_DUE;

/// The changes that wait for a checkpoint, shared by all watches.
#[derive(Debug)]
pub struct Backlog {
    waiting: AtomicUsize,
    /// [`CHANGES_WAITING_MAX`], but in tests.
    most: usize,
    ring: Sender<()>,
    due: Receiver<()>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::of(CHANGES_WAITING_MAX)
    }
}

impl Backlog {
    pub(super) fn of(most: usize) -> Self {
        let (ring, due) = bounded(1);
        Self { waiting: AtomicUsize::new(0), most, ring, due }
    }

    /// Brings a message when a checkpoint is due before its time: many changes wait, or a list has ended.
    pub fn due(&self) -> &Receiver<()> {
        &self.due
    }

    /// How many changes wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many more may wait. Several watches may see the same room, so that a few more come in than there was.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.waiting())
    }

    /// Counts changes that begin to wait.
    pub(super) fn wait(&self, changes: usize) {
        if self.waiting.fetch_add(changes, Ordering::Relaxed) + changes >= CHANGES_DUE {
            self.ring();
        }
    }

    /// Makes a checkpoint due.
    pub(super) fn ring(&self) {
        // Full means that it is due already.
        _ = self.ring.try_send(());
    }

    /// Counts changes that a checkpoint has taken.
    pub(super) fn taken(&self, changes: usize) {
        self.waiting.fetch_sub(changes, Ordering::Relaxed);
    }
}
