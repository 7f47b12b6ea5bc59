//! What is handed to handlers, on disk before they are called: the journal, and what they are owed.
//!
//! Takes emissions from outlets and acceptances from workers. Promises that a process that ends, `kill -9` included, leaves on disk
//! what was handed out and who has accepted it; an acceptance may be missing, and then the event comes again.

use super::completion::Completion;
use super::receivers::Receivers;
use crate::api::{Change, Identity, WatchId};
use crate::chain::chain;
use crate::checkpoint::{Batch, Handed, Journal, Owed, Record, Spill, StateError};
use crate::event::{Emission, EventType, MatchedEvent};
use crossbeam_channel::never;
use std::sync::Arc;
use std::time::Duration;

/// The journal and the owed events of one state folder.
#[derive(Debug)]
pub struct Recorder {
    journal: Journal,
    spill: Spill,
}

/// Of an event that made an object known: it came into the watch.
const FLAG_ADDED: u8 = 1;
/// No server sends the event again: it was found by a list.
const FLAG_LISTED: u8 = 2;

/// Between attempts while the disk takes nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

impl Recorder {
    /// Takes over both.
    pub fn new(journal: Journal, spill: Spill) -> Self {
        Self { journal, spill }
    }

    /// Says who receives events from here on, in the order of their bits.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails.
    pub fn begin(&self, subscriptions: &[String]) -> Result<(), StateError> {
        let mut batch = Batch::default();
        batch.receivers(subscriptions);
        self.journal.append(&mut batch)
    }

    /// Writes down what is about to be handed out. After an error the same call may be made again.
    pub(crate) fn emitted(&self, batch: &mut Batch) -> Result<(), StateError> {
        self.journal.append(batch)
    }

    /// Writes down what was accepted. Where that fails, the events come again after a crash.
    pub(super) fn accepted(&self, batch: &mut Batch, completions: &[Completion]) {
        for completion in completions {
            batch.accepted(completion.ledger().watch().id, completion.sequence, completion.receiver.number());
        }
        if let Err(error) = self.journal.append(batch) {
            log::debug!("{}; what was just accepted comes again after a crash", chain(&error));
            *batch = Batch::default();
        }
    }

    /// Writes down which events of a removed watch the export has: the files are read back only behind their position.
    pub(super) fn exported(&self, watch: WatchId, sequences: &[u64]) {
        let mut batch = Batch::default();
        sequences.iter().for_each(|sequence| batch.accepted(watch, *sequence, Receivers::EXPORT.number()));
        if !batch.is_empty()
            && let Err(error) = self.journal.append(&mut batch)
        {
            log::warn!("{}; lines of a removed watch may come again", chain(&error));
        }
    }

    /// What the subscription of this name is owed.
    pub(crate) fn owed(&self, name: &str) -> Arc<Owed> {
        self.spill.of(name)
    }

    /// Nothing of this watch is owed any more.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails.
    pub fn forget(&self, watch: WatchId) -> Result<(), StateError> {
        self.spill.forget(watch)
    }

    /// Makes files again that were removed.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails.
    pub fn restore(&self) -> Result<(), StateError> {
        self.journal.restore().and_then(|()| self.spill.restore())
    }

    /// Waits until what is owed is on the disk: a checkpoint counts it as accepted.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails.
    pub fn sync(&self) -> Result<(), StateError> {
        self.spill.sync()
    }

    /// Drops from the journal what `counts` says no to, when it has grown.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails; nothing is lost then.
    pub fn compact(&self, counts: impl FnMut(WatchId, u64) -> bool) -> Result<(), StateError> {
        if self.journal.is_long() { self.journal.compact(counts) } else { Ok(()) }
    }

    /// Gives every record of the journal.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(&self, visit: impl FnMut(Record)) -> Result<(), StateError> {
        self.journal.read(visit)
    }
}

/// Tries until the disk takes it, or `is_over`.
pub(super) fn insist(meanwhile: &str, mut write: impl FnMut() -> Result<(), StateError>, is_over: impl Fn() -> bool) -> bool {
    let mut is_said = false;
    while let Err(error) = write() {
        if !std::mem::replace(&mut is_said, true) {
            log::error!("{}; {meanwhile}", chain(&error));
        }
        if is_over() {
            return false;
        }
        // Nothing comes: only the time passes.
        _ = never::<()>().recv_timeout(RETRY_PAUSE);
    }
    if is_said {
        log::info!("the state takes again what is handed out");
    }
    true
}

/// What the journal says of an event, beside what it changes.
pub(super) fn flags_of(event: &MatchedEvent, is_listing: bool) -> u8 {
    let added = if event.event_type == EventType::Added { FLAG_ADDED } else { 0 };
    let listed = if is_listing || event.initial || event.inferred { FLAG_LISTED } else { 0 };
    added | listed
}

/// The event that a record of the journal speaks of; `None` where it is of no event. Nobody lacks it but `lacking`.
pub fn emission_of(handed: Handed<'_>, lacking: Receivers) -> Option<Emission> {
    let Handed { sequence, told, change, flags, metadata_hash, .. } = handed;
    let (event_type, identity) = match change {
        Change::Known(identity) if flags & FLAG_ADDED != 0 => (EventType::Added, identity.clone()),
        Change::Known(identity) => (EventType::Updated, identity.clone()),
        Change::Gone(key) => {
            let uid_and_version = told.get(1..)?;
            (EventType::Deleted, Identity::from_text(&format!("{key}\0{uid_and_version}\0\0"))?)
        }
        Change::Told(_) | Change::Replayed(_) => return None,
    };
    let is_listed = flags & FLAG_LISTED != 0;
    Some(Emission { sequence, event_type, identity, is_listed, lacking: lacking.to_bits(), metadata_hash })
}
