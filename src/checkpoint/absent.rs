//! What stands here in a build without the feature `state`: no state, and an error for whoever asks for one.

mod commit;
mod error;

pub use commit::{ClusterIdentity, Commit, Progress, StoredWatch, WatchCommit};
pub use error::StateError;

use crate::api::{FilePosition, WatchId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;

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

/// Refuses to remove a state.
///
/// # Errors
///
/// Always: this build keeps no state.
pub fn reset(_folder: &Path) -> Result<(), StateError> {
    Err(StateError::Absent)
}
