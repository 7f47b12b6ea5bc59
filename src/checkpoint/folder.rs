//! The state's files: where they are, how the database comes into being whole, and how it is removed.

use super::StateError;
use super::database::Database;
use super::journal::JOURNAL_FILE;
use super::lock::Lock;
use super::spill;
use crate::folders;
use redb::backends::FileBackend;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The database's file in its folder.
pub(super) const STATE_FILE: &str = "state.redb";
/// The same while it is made; what a crash leaves of it is made anew.
const NEW_FILE: &str = "state.redb.new";

/// Labels and annotations are in the state: nobody else's business.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What may lie unused in the file, whatever its size: an inventory of a thousand objects is then cleaned up every minute or so,
/// not every second.
const SLACK_BYTES: u64 = 1024 * 1024;

/// Makes `folder` where it is not there, so that a loss of power leaves it there.
pub(super) fn make(folder: &Path) -> Result<(), StateError> {
    folders::make(folder, FOLDER_MODE).map_err(|source| StateError::Folder { path: folder.to_owned(), source })
}

/// Opens the database of `folder`, whose lock the caller holds. Where there is none, it is made.
pub(super) fn open(folder: &Path) -> Result<Database, StateError> {
    let path = folder.join(STATE_FILE);
    if !path.try_exists().map_err(|error| cannot_open(&path, error))? {
        create(folder, &path).map_err(|source| StateError::Create { path: path.clone(), source: source.into() })?;
    }
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| cannot_open(&path, error))?;
    let length = file.metadata().map_err(|error| cannot_open(&path, error))?.len();
    if length == 0 {
        // redb would begin a new database in it.
        return Err(StateError::Damaged { path, reason: "it is empty".to_owned() });
    }
    let storage = FileBackend::new(file).map_err(|error| cannot_open(&path, error))?;
    Database::open(storage, SLACK_BYTES).map_err(|error| error.of(&path))
}

/// Removes the state that `folder` holds, if any: what was told is forgotten. Files that are not of the state stay.
///
/// # Errors
///
/// When another process uses the folder, or when a file cannot be removed.
pub fn reset(folder: &Path) -> Result<(), StateError> {
    make(folder)?;
    let _lock = Lock::take(folder)?;
    let owed = spill::files_in(folder)?;
    for path in [STATE_FILE, NEW_FILE, JOURNAL_FILE].map(|name| folder.join(name)).into_iter().chain(owed) {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(StateError::Remove { path, source }),
        }
    }
    sync_folder(folder).map_err(|source| StateError::Remove { path: folder.to_owned(), source })
}

/// Makes the database under another name first: one that has its name is whole.
fn create(folder: &Path, path: &Path) -> Result<(), redb::Error> {
    let new = folder.join(NEW_FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
    let made = Database::create(FileBackend::new(file)?).and_then(|()| {
        fs::rename(&new, path)?;
        Ok(sync_folder(folder)?)
    });
    if made.is_err() {
        // On a full disk it would take the room that is needed to try again.
        remove_leftover(&new)?;
    }
    made
}

fn remove_leftover(new: &Path) -> io::Result<()> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn cannot_open(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StateError {
    StateError::Open { path: path.to_owned(), source: source.into() }
}
