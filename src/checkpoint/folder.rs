//! The state's files: where they are, how the database comes into being whole, how it is removed, and what becomes of it when somebody
//! else removes it while it is open.

use super::StateError;
use super::database::Database;
use super::journal::JOURNAL_FILE;
use super::lock::Lock;
use super::spill;
use crate::api::Keyer;
use crate::folders;
use crate::named::{Named, named};
use crate::ours;
use redb::backends::FileBackend;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek};
use std::path::{Path, PathBuf};

/// The database's file in its folder.
pub(super) const STATE_FILE: &str = "state.redb";
/// The same while it is made; what a crash leaves of it is made anew.
const NEW_FILE: &str = "state.redb.new";

/// Labels, annotations and objects are in the state: nobody else's business.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What may lie unused in the file, whatever its size: an inventory of a thousand objects is then cleaned up every minute or so,
/// not every second.
const SLACK_BYTES: u64 = 1024 * 1024;

/// Makes `folder` where it is not there, so that a loss of power leaves it there.
pub(super) fn make(folder: &Path) -> Result<(), StateError> {
    folders::make(folder, FOLDER_MODE)
        .and_then(|()| ours::folder(folder).map(drop))
        .map_err(|source| StateError::Folder { path: folder.to_owned(), source })
}

/// A folder that is ours, and the file in it that is open.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    lock: Lock,
    /// The state file once more, to be read: it stays what it is, whatever becomes of its name.
    file: File,
}

impl Home {
    /// Makes `folder` where it is not there, locks it, and opens the database in it, or begins one.
    pub(super) fn open(folder: &Path, keyer: Keyer) -> Result<(Self, Database), StateError> {
        make(folder)?;
        let lock = Lock::take(folder)?;
        let (database, file) = open(folder, keyer)?;
        Ok((Self { folder: folder.to_owned(), lock, file }, database))
    }

    /// How many bytes the files take that are in the folder.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
    }

    /// Where the state file is.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(STATE_FILE)
    }

    /// Whether folder, lock and file are still there under their names.
    ///
    /// # Errors
    ///
    /// When they are not, which [`open_again`](Self::open_again) may mend.
    pub(super) fn check(&self) -> Result<(), StateError> {
        let is_whole = self.lock.is_of(&self.folder)? && self.is_file_there()?;
        if is_whole { Ok(()) } else { Err(StateError::Removed { folder: self.folder.clone() }) }
    }

    /// Makes the folder again and takes its lock, where they were removed: what lies beside the state file is made again before that.
    ///
    /// # Errors
    ///
    /// When the folder is somebody else's by now, and when it cannot be made.
    pub(super) fn reclaim(&mut self) -> Result<(), StateError> {
        make(&self.folder)?;
        if !self.lock.is_of(&self.folder)? {
            // Of the folder that is there now; who was quicker has it.
            self.lock = Lock::take(&self.folder)?;
        }
        Ok(())
    }

    /// Opens the database again, after it was closed. What was removed meanwhile is made again first: the folder, its lock, and the
    /// file, with all that it held.
    ///
    /// # Errors
    ///
    /// When the folder, or the file in it, is somebody else's by now, and when it cannot be made.
    pub(super) fn open_again(&mut self, keyer: Keyer) -> Result<Database, StateError> {
        self.reclaim()?;
        if !self.is_file_there()? {
            let path = self.path();
            self.make_file_again(&path).map_err(|source| StateError::Create { path, source: source.into() })?;
        }
        let (database, file) = open(&self.folder, keyer)?;
        self.file = file;
        Ok(database)
    }

    fn is_file_there(&self) -> Result<bool, StateError> {
        let path = self.path();
        match named(&self.file, &path).map_err(|error| cannot_open(&path, error))? {
            Named::Itself => Ok(true),
            Named::Nothing => Ok(false),
            Named::Other => Err(StateError::Replaced { path }),
        }
    }

    /// Copies the file, which has no name any more, to where it was.
    fn make_file_again(&self, path: &Path) -> io::Result<()> {
        let (new, mut old) = (self.folder.join(NEW_FILE), &self.file);
        let made = old.rewind().and_then(|()| create_file(&new)).and_then(|mut file| {
            io::copy(&mut old, &mut file)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            sync_folder(&self.folder)
        });
        if made.is_err() {
            remove_leftover(&new)?;
        }
        made
    }
}

/// Opens the database of `folder`, whose lock the caller holds, and its file once more. Where there is none, it is made.
fn open(folder: &Path, keyer: Keyer) -> Result<(Database, File), StateError> {
    let path = folder.join(STATE_FILE);
    if !path.try_exists().map_err(|error| cannot_open(&path, error))? {
        create(folder, &path).map_err(|source| StateError::Create { path: path.clone(), source: source.into() })?;
    }
    let file = ours::change(&path).map_err(|error| cannot_open(&path, error))?;
    let length = file.metadata().map_err(|error| cannot_open(&path, error))?.len();
    if length == 0 {
        // redb would begin a new database in it.
        return Err(StateError::Damaged { path, reason: "it is empty".to_owned() });
    }
    let again = ours::read(&path).map_err(|error| cannot_open(&path, error))?;
    if named(&file, &path).map_err(|error| cannot_open(&path, error))? != Named::Itself {
        return Err(StateError::Removed { folder: folder.to_owned() });
    }
    let storage = FileBackend::new(file).map_err(|error| cannot_open(&path, error))?;
    let database = Database::open(storage, SLACK_BYTES, keyer).map_err(|error| error.of(&path))?;
    Ok((database, again))
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
    let made = Database::create(FileBackend::new(create_file(&new)?)?).and_then(|()| {
        fs::rename(&new, path)?;
        Ok(sync_folder(folder)?)
    });
    if made.is_err() {
        // On a full disk it would take the room that is needed to try again.
        remove_leftover(&new)?;
    }
    made
}

/// Makes an empty file in the place of what a crash has left under its name.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    remove_leftover(path)?;
    ours::create(path, FILE_MODE)
}

pub(super) fn remove_leftover(new: &Path) -> io::Result<()> {
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
