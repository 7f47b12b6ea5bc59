//! One open database: the rows, the log, and the transactions that keep them together.
//!
//! Takes any storage that redb does, so that tests can give one that fails. Knows no files and no locks.

use super::StateError;
use super::commit::{Commit, Progress, StoredWatch};
use super::log::{LOG, Log};
use super::rows::{self, Format, STATE};
use crate::api::{Identity, Keyer, Known, TextKey, WatchId};
use redb::{Builder, ReadableDatabase, StorageBackend};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::SystemTime;

/// The database of one state file, open.
#[derive(Debug)]
pub(super) struct Database {
    redb: redb::Database,
    log: Log,
    is_new: bool,
}

/// Why a database cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Its bytes are not what was written.
    Damaged(String),
    /// It is of another format.
    Format(String),
    /// The storage failed.
    Storage(redb::Error),
}

/// What redb may keep of the file in memory. A commit touches the same few pages at the ends of its trees; what is read at the
/// start is read once.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

impl Database {
    /// Makes the database in empty storage; [`open`](Self::open) opens it.
    pub(super) fn create(storage: impl StorageBackend) -> Result<(), redb::Error> {
        let redb = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(storage)?;
        let mut transaction = redb.begin_write()?;
        transaction.set_two_phase_commit(true);
        rows::begin(&mut transaction.open_table(STATE)?)?;
        transaction.open_table(LOG)?;
        transaction.commit()?;
        redb.close()?;
        Ok(())
    }

    /// Opens what [`create`](Self::create) made, and checks all of it. Of the log so many bytes may be out of date as are in
    /// date, or `slack_bytes`. Objects are known by keys of `keyer`.
    pub(super) fn open(storage: impl StorageBackend, slack_bytes: u64, keyer: Keyer) -> Result<Self, OpenError> {
        // redb asserts a few things of a file's head that a damaged one does not keep.
        catch_unwind(AssertUnwindSafe(|| Self::open_unguarded(storage, slack_bytes, keyer)))
            .unwrap_or_else(|_| Err(OpenError::Damaged("reading it ended in a panic".to_owned())))
    }

    fn open_unguarded(storage: impl StorageBackend, slack_bytes: u64, keyer: Keyer) -> Result<Self, OpenError> {
        // Checked whole: all of it is read at a start anyway, and unchecked bytes can end in a panic at any later time.
        let redb = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(storage)
            .map_err(redb::Error::from)?;
        let transaction = redb.begin_read().map_err(redb::Error::from)?;
        let state = transaction.open_table(STATE).map_err(redb::Error::from)?;
        match rows::format(&state)? {
            Format::Known => {}
            Format::Other(found) => return Err(OpenError::Format(found)),
            Format::Foreign => return Err(OpenError::Damaged("it is not faro's".to_owned())),
        }
        let is_new = rows::is_new(&state)?;
        let log = Log::read(&transaction.open_table(LOG).map_err(redb::Error::from)?, slack_bytes, keyer)?;
        drop((state, transaction));
        Ok(Self { redb, log, is_new })
    }

    /// Whether nothing was ever committed.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Reads from the rows.
    pub(super) fn rows<T>(&self, read: impl FnOnce(&StateRows) -> Result<T, redb::StorageError>) -> Result<T, redb::Error> {
        let state = self.redb.begin_read()?.open_table(STATE)?;
        Ok(read(&state)?)
    }

    /// All that is known of `only`, or of every watch.
    pub(super) fn load(&self, only: Option<WatchId>) -> Result<HashMap<WatchId, Progress>, redb::Error> {
        let transaction = self.redb.begin_read()?;
        let mut inventories = self.log.inventories(&transaction.open_table(LOG)?, only)?;
        let watches = rows::watches(&transaction.open_table(STATE)?)?;
        let watches = watches.into_iter().filter(|watch| only.is_none_or(|only| only == watch.id));
        Ok(watches
            .map(|watch| {
                let nothing = || (Known::new(self.log.keyer().clone()), Vec::new());
                let (known, told) = inventories.remove(&watch.id).unwrap_or_else(nothing);
                let StoredWatch { id, version, listing, anchor, history, sequence, .. } = watch;
                (id, Progress { version, listing, anchor, history, sequence, known, told })
            })
            .collect())
    }

    /// What is known of these objects of `watch`.
    pub(super) fn identities(&self, watch: WatchId, keys: &[TextKey]) -> Result<Vec<Identity>, redb::Error> {
        Ok(self.log.identities(&self.redb.begin_read()?.open_table(LOG)?, watch, keys)?)
    }

    /// Writes `commit`. After an error the database must be opened again, to find the transaction done or not.
    pub(super) fn commit(&mut self, commit: &Commit, now: SystemTime) -> Result<(), redb::Error> {
        // The file holds two transactions, and one bit says which of them is the last: none may be from before the first commit.
        let times = if self.is_new { 2 } else { 1 };
        for _ in 0..times {
            self.write(|log, transaction| {
                rows::write(&mut transaction.open_table(STATE)?, commit, now)?;
                if commit.watches.iter().any(|watch| watch.clear_told || !watch.changes.is_empty()) {
                    log.append(&mut transaction.open_table(LOG)?, &commit.watches)?;
                }
                Ok(())
            })?;
        }
        self.is_new = false;
        Ok(())
    }

    /// Removes all that is known of `watch`. After an error as for [`commit`](Self::commit).
    pub(super) fn forget(&mut self, watch: WatchId) -> Result<(), redb::Error> {
        self.write(|log, transaction| {
            rows::remove(&mut transaction.open_table(STATE)?, watch)?;
            log.forget(&mut transaction.open_table(LOG)?, watch)?;
            Ok(())
        })
    }

    fn write(
        &mut self,
        change: impl FnOnce(&mut Log, &redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.redb.begin_write()?;
        // In one phase a damaged last commit would pass for one that a power failure cut short, and be taken back in silence.
        transaction.set_two_phase_commit(true);
        change(&mut self.log, &transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

/// The rows as a reader sees them.
pub(super) type StateRows = redb::ReadOnlyTable<&'static str, &'static str>;

impl OpenError {
    /// The same, of the file `path`.
    pub(super) fn of(self, path: &Path) -> StateError {
        let path = path.to_owned();
        match self {
            Self::Damaged(reason) => StateError::Damaged { path, reason },
            Self::Format(found) => StateError::Format { path, found, known: rows::FORMAT },
            Self::Storage(source) => StateError::Open { path, source: source.into() },
        }
    }
}

impl From<redb::Error> for OpenError {
    fn from(error: redb::Error) -> Self {
        let is_of_the_storage = matches!(&error, redb::Error::Io(error) if !is_of_the_bytes(error))
            || matches!(error, redb::Error::PreviousIo | redb::Error::DatabaseAlreadyOpen | redb::Error::DatabaseClosed);
        if is_of_the_storage { Self::Storage(error) } else { Self::Damaged(error.to_string()) }
    }
}

impl From<redb::StorageError> for OpenError {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

fn is_of_the_bytes(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}
