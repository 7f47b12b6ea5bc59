//! What stands here in a build without the feature `state`: no state, and an error for whoever asks for one.

mod commit;
mod error;

pub use commit::{ClusterIdentity, Commit, Handed, OwedEvent, Progress, Record, Skipped, StoredWatch, WatchCommit};
pub use error::StateError;

use crate::api::{FilePosition, Identity, Keyer, TextKey, WatchId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

/// The state of one folder: there is none.
#[derive(Debug)]
pub struct StateStore(Infallible);

impl StateStore {
    /// Refuses to.
    ///
    /// # Errors
    ///
    /// Always: this build keeps no state.
    pub fn open(_folder: &Path) -> Result<Self, StateError> {
        Err(StateError::Absent)
    }

    /// Whether nothing was ever committed.
    pub fn is_new(&self) -> bool {
        match self.0 {}
    }

    /// Whose state it is.
    ///
    /// # Errors
    ///
    /// None.
    pub fn cluster(&self) -> Result<Option<ClusterIdentity>, StateError> {
        match self.0 {}
    }

    /// Up to where the events files are in the inventories.
    ///
    /// # Errors
    ///
    /// None.
    pub fn position(&self) -> Result<Option<FilePosition>, StateError> {
        match self.0 {}
    }

    /// Every watch that was committed and not forgotten.
    ///
    /// # Errors
    ///
    /// None.
    pub fn watches(&self) -> Result<Vec<StoredWatch>, StateError> {
        match self.0 {}
    }

    /// All that is known of one watch.
    ///
    /// # Errors
    ///
    /// None.
    pub fn load(&self, _id: WatchId) -> Result<Option<Progress>, StateError> {
        match self.0 {}
    }

    /// All that is known of every watch.
    ///
    /// # Errors
    ///
    /// None.
    pub fn load_all(&self) -> Result<HashMap<WatchId, Progress>, StateError> {
        match self.0 {}
    }

    /// How many bytes its files take.
    pub fn bytes(&self) -> u64 {
        match self.0 {}
    }

    /// By what its objects are known.
    pub fn keyer(&self) -> &Keyer {
        match self.0 {}
    }

    /// What is known of these objects of a watch.
    ///
    /// # Errors
    ///
    /// None.
    pub fn identities(&self, _watch: WatchId, _keys: &[TextKey]) -> Result<Vec<Identity>, StateError> {
        match self.0 {}
    }

    /// Opens the file again.
    ///
    /// # Errors
    ///
    /// None.
    pub fn open_again(&mut self) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Whether the state is where it was opened.
    ///
    /// # Errors
    ///
    /// None.
    pub fn check(&self) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Makes the folder again.
    ///
    /// # Errors
    ///
    /// None.
    pub fn reclaim(&mut self) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Writes `commit`.
    ///
    /// # Errors
    ///
    /// None.
    pub fn commit(&mut self, _commit: &Commit) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Removes all that is known of one watch.
    ///
    /// # Errors
    ///
    /// None.
    pub fn forget(&mut self, _id: WatchId) -> Result<(), StateError> {
        match self.0 {}
    }
}

/// Refuses to.
///
/// # Errors
///
/// Always: this build keeps no state.
pub fn redact_key(_folder: &Path) -> Result<Vec<u8>, StateError> {
    Err(StateError::Absent)
}

/// The journal of one state folder: there is none.
#[derive(Debug)]
pub struct Journal(Infallible);

/// Records for a journal that is not there.
#[derive(Debug, Default)]
pub struct Batch(());

impl Batch {
    /// Adds nothing.
    pub fn emitted(&mut self, _handed: Handed<'_>) {}

    /// Adds nothing.
    pub fn accepted(&mut self, _watch: WatchId, _sequence: u64, _receiver: u8) {}

    /// Adds nothing.
    pub fn receivers<N: AsRef<str>>(&mut self, _names: impl IntoIterator<Item = N>) {}

    /// Always.
    pub fn is_empty(&self) -> bool {
        true
    }
}

impl Journal {
    /// Refuses to.
    ///
    /// # Errors
    ///
    /// Always: this build keeps no state.
    pub fn open(_folder: &Path, _visit: impl FnMut(Record)) -> Result<Self, StateError> {
        Err(StateError::Absent)
    }

    /// Writes `batch`.
    ///
    /// # Errors
    ///
    /// None.
    pub fn append(&self, _batch: &mut Batch) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Gives every record.
    ///
    /// # Errors
    ///
    /// None.
    pub fn read(&self, _visit: impl FnMut(Record)) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Whether the file has grown.
    pub fn is_long(&self) -> bool {
        match self.0 {}
    }

    /// Keeps the records to which `counts` says yes.
    ///
    /// # Errors
    ///
    /// None.
    pub fn compact(&self, _counts: impl FnMut(WatchId, u64) -> bool) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Makes the file again that was removed.
    ///
    /// # Errors
    ///
    /// None.
    pub fn restore(&self) -> Result<(), StateError> {
        match self.0 {}
    }
}

/// What the subscriptions of one state folder are owed: there is none.
#[derive(Debug)]
pub struct Spill(Infallible);

/// What one subscription is owed: there is none.
#[derive(Debug)]
pub struct Owed(Infallible);

impl Spill {
    /// Refuses to.
    ///
    /// # Errors
    ///
    /// Always: this build keeps no state.
    pub fn open(_folder: &Path) -> Result<Self, StateError> {
        Err(StateError::Absent)
    }

    /// What the subscription of this name is owed.
    pub fn of(&self, _name: &str) -> Arc<Owed> {
        match self.0 {}
    }

    /// The subscriptions of which there is anything.
    pub fn names(&self) -> Vec<String> {
        match self.0 {}
    }

    /// Forgets what a subscription is owed.
    ///
    /// # Errors
    ///
    /// None.
    pub fn remove(&self, _name: &str) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Nothing of a watch is owed any longer.
    ///
    /// # Errors
    ///
    /// None.
    pub fn forget(&self, _watch: WatchId) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Makes files again that were removed.
    ///
    /// # Errors
    ///
    /// None.
    pub fn restore(&self) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    ///
    /// None.
    pub fn sync(&self) -> Result<(), StateError> {
        match self.0 {}
    }
}

impl Owed {
    /// Whose it is.
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// Adds the newest event of an object.
    ///
    /// # Errors
    ///
    /// None.
    pub fn push(&self, _event: &OwedEvent<'_>, _bytes_max: u64) -> Result<Vec<Skipped>, StateError> {
        match self.0 {}
    }

    /// The oldest event of an object.
    ///
    /// # Errors
    ///
    /// None.
    pub fn front<'a>(&self, _watch: WatchId, _key: &str, _buffer: &'a mut Vec<u8>) -> Result<Option<OwedEvent<'a>>, StateError> {
        match self.0 {}
    }

    /// The oldest event of an object is done.
    ///
    /// # Errors
    ///
    /// None.
    pub fn pop(&self, _watch: WatchId, _key: &str) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Nothing of a watch is owed any longer.
    ///
    /// # Errors
    ///
    /// None.
    pub fn forget(&self, _watch: WatchId) -> Result<(), StateError> {
        match self.0 {}
    }

    /// Every object of which something is owed.
    pub fn objects(&self) -> Vec<(WatchId, Arc<str>, usize)> {
        match self.0 {}
    }

    /// How many events of an object are owed.
    pub fn events_of(&self, _watch: WatchId, _key: &str) -> usize {
        match self.0 {}
    }

    /// How many events are owed in all.
    pub fn events(&self) -> usize {
        match self.0 {}
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> u64 {
        match self.0 {}
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    ///
    /// None.
    pub fn sync(&self) -> Result<(), StateError> {
        match self.0 {}
    }
}

/// Refuses to remove a state.
///
/// # Errors
///
/// Always: this build keeps no state.
pub fn reset(_folder: &Path) -> Result<(), StateError> {
    Err(StateError::Absent)
}
