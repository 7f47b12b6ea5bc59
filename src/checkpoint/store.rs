//! The state of one folder: what the controller reads at a start and commits to after that.

use super::commit::{ClusterIdentity, Commit, Progress, StoredWatch};
use super::database::{Database, StateRows};
use super::folder::Home;
use super::{StateError, rows};
use crate::api::{FilePosition, Identity, Keyer, TextKey, WatchId};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The state of one folder, which is locked for as long as this lives.
pub struct StateStore {
    /// `None` from a commit that failed to the next one.
    database: Option<Database>,
    /// By what objects are known, for as long as this lives.
    keyer: Keyer,
    /// For errors.
    path: PathBuf,
    // Dropped after the database: nobody else may open that before it is closed.
    place: Place,
}

/// Where the database is.
enum Place {
    Folder(Home),
    #[cfg(test)]
    Disk(super::sim_disk::SimDisk, u64),
}

impl StateStore {
    /// Makes `folder` where it is not there, locks it, and opens the state in it, or begins one.
    ///
    /// # Errors
    ///
    /// When the folder is another process's, when it cannot be written, and when the state in it cannot be read.
    ///
    /// # Blocking
    ///
    /// Reads and checks the whole file.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let keyer = Keyer::default();
        let (home, database) = Home::open(folder, keyer.clone())?;
        Ok(Self { database: Some(database), keyer, path: home.path(), place: Place::Folder(home) })
    }

    /// The state that is on `disk`.
    #[cfg(test)]
    pub(super) fn on(disk: &super::sim_disk::SimDisk, slack_bytes: u64) -> Result<Self, StateError> {
        let mut place = Place::Disk(disk.clone(), slack_bytes);
        let keyer = Keyer::default();
        let database = Some(place.open_again(&keyer)?);
        Ok(Self { database, keyer, path: PathBuf::from(super::folder::STATE_FILE), place })
    }

    /// Whether nothing was ever committed.
    pub fn is_new(&self) -> bool {
        self.database.as_ref().is_some_and(Database::is_new)
    }

    /// Whose state it is.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is closed since a commit failed.
    pub fn cluster(&self) -> Result<Option<ClusterIdentity>, StateError> {
        self.rows(rows::cluster)
    }

    /// Up to where the events files are in the inventories.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is closed since a commit failed.
    pub fn position(&self) -> Result<Option<FilePosition>, StateError> {
        self.rows(rows::position)
    }

    /// Every watch that was committed and not forgotten.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is closed since a commit failed.
    pub fn watches(&self) -> Result<Vec<StoredWatch>, StateError> {
        self.rows(rows::watches)
    }

    /// All that is known of one watch; `None` for one that was never committed, or was forgotten.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is closed since a commit failed.
    ///
    /// # Blocking
    ///
    /// Reads the whole file, as [`load_all`](Self::load_all) does.
    pub fn load(&self, id: WatchId) -> Result<Option<Progress>, StateError> {
        Ok(self.database()?.load(Some(id)).map_err(|error| self.cannot_read(error))?.remove(&id))
    }

    /// All that is known of every watch, in one pass.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is closed since a commit failed.
    ///
    /// # Blocking
    ///
    /// Reads the whole file.
    pub fn load_all(&self) -> Result<HashMap<WatchId, Progress>, StateError> {
        self.database()?.load(None).map_err(|error| self.cannot_read(error))
    }

    /// How many bytes its folder's files take on the disk; nothing where that cannot be read.
    pub fn bytes(&self) -> u64 {
        match &self.place {
            Place::Folder(home) => home.bytes().unwrap_or_default(),
            #[cfg(test)]
            Place::Disk(..) => 0,
        }
    }

    /// By what its objects are known.
    pub fn keyer(&self) -> &Keyer {
        &self.keyer
    }

    /// What is known of these objects of a watch, in no order; of those of which nothing is, there is nothing.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is closed since a commit failed.
    ///
    /// # Blocking
    ///
    /// Reads as many rows of the file as there are objects, at most.
    pub fn identities(&self, watch: WatchId, keys: &[TextKey]) -> Result<Vec<Identity>, StateError> {
        self.database()?.identities(watch, keys).map_err(|error| self.cannot_read(error))
    }

    /// Opens the file again where a commit that failed has closed it, to be read.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit), when it cannot be opened.
    ///
    /// # Blocking
    ///
    /// Reads the whole file, where it was closed.
    pub fn open_again(&mut self) -> Result<(), StateError> {
        if self.database.is_none() {
            self.database = Some(self.place.open_again(&self.keyer)?);
        }
        Ok(())
    }

    /// Whether the state is still where it was opened: folder, lock and file.
    ///
    /// # Errors
    ///
    /// [`StateError::Removed`] where it was removed or moved away: the next commit but one makes it again, whole.
    /// [`StateError::Replaced`] where another is in its place.
    pub fn check(&self) -> Result<(), StateError> {
        self.place.check()
    }

    /// Makes the folder again and takes its lock, where they were removed; the state file comes with the [commit](Self::commit). What
    /// else is kept in the folder is to be there first: a state file without it says that nothing was handed out beyond itself.
    ///
    /// # Errors
    ///
    /// When the folder is another process's by now, and when it cannot be made.
    pub fn reclaim(&mut self) -> Result<(), StateError> {
        match &mut self.place {
            Place::Folder(home) => home.reclaim(),
            #[cfg(test)]
            Place::Disk(..) => Ok(()),
        }
    }

    /// Writes `commit`, whole or not at all; it is on the disk when this returns without an error.
    ///
    /// After an error the same commit may be tried again, also when it had reached the disk.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails, and when the state [was removed](Self::check); and, after such an error, when the file cannot
    /// be opened or made again.
    ///
    /// # Blocking
    ///
    /// Waits for the disk, twice; after an error, reads the whole file.
    pub fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        self.write(|database| database.commit(commit, SystemTime::now()))
    }

    /// Removes all that is known of one watch, as a commit does.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    pub fn forget(&mut self, id: WatchId) -> Result<(), StateError> {
        self.write(|database| database.forget(id))
    }

    /// redb does nothing more after an error; what it had done shows when the file is opened again.
    fn write(&mut self, write: impl FnOnce(&mut Database) -> Result<(), redb::Error>) -> Result<(), StateError> {
        let mut database = match self.database.take() {
            Some(database) => self.place.check().map(|()| database)?,
            None => self.place.open_again(&self.keyer)?,
        };
        write(&mut database).map_err(|error| StateError::Write { path: self.path.clone(), source: error.into() })?;
        self.database = Some(database);
        Ok(())
    }

    fn rows<T>(&self, read: impl FnOnce(&StateRows) -> Result<T, redb::StorageError>) -> Result<T, StateError> {
        self.database()?.rows(read).map_err(|error| self.cannot_read(error))
    }

    fn database(&self) -> Result<&Database, StateError> {
        self.database.as_ref().ok_or_else(|| StateError::Closed { path: self.path.clone() })
    }

    fn cannot_read(&self, error: redb::Error) -> StateError {
        StateError::Open { path: self.path.clone(), source: error.into() }
    }
}

impl Place {
    fn check(&self) -> Result<(), StateError> {
        match self {
            Self::Folder(home) => home.check(),
            #[cfg(test)]
            Self::Disk(..) => Ok(()),
        }
    }

    fn open_again(&mut self, keyer: &Keyer) -> Result<Database, StateError> {
        match self {
            Self::Folder(home) => home.open_again(keyer.clone()),
            #[cfg(test)]
            Self::Disk(disk, slack_bytes) => Database::open(disk.clone(), *slack_bytes, keyer.clone())
                .map_err(|error| error.of(super::folder::STATE_FILE.as_ref())),
        }
    }
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateStore").field("path", &self.path).finish_non_exhaustive()
    }
}
