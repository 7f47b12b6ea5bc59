//! One process a folder: the file `lock`, locked for as long as its holder lives, which says who that is.

use super::StateError;
use crate::lifecycle::Stop;
use crate::named::{Named, named};
use crate::ours;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The system ends the lock when it closes the file, also after a crash.
    file: File,
}

/// Who holds a lock: the one line of its file.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
    since: String,
}

const LOCK_FILE: &str = "lock";

/// So often in a row nobody removes a lock file by chance.
const ATTEMPTS_MAX: u32 = 10;

/// More than a holder's line can be; a longer file is not read to its end.
const HOLDER_BYTES_MAX: u64 = 4096;

/// A process that this one starts has a copy of every open file, and with it of a lock that was given up meanwhile, until its
/// own program begins. So long that is waited for; only this process can still hold its own lock then.
pub(super) const FORK_LIMIT: Duration = Duration::from_secs(1);
const FORK_POLL: Duration = Duration::from_millis(5);

impl Lock {
    /// Locks `folder`, which must be there.
    pub(super) fn take(folder: &Path) -> Result<Self, StateError> {
        Self::take_when_open(folder, |_| {})
    }

    /// The same; `opened` is called with the lock file's path each time that it was opened, before it is locked.
    fn take_when_open(folder: &Path, mut opened: impl FnMut(&Path)) -> Result<Self, StateError> {
        let path = folder.join(LOCK_FILE);
        let fail = |source| StateError::Lock { path: path.clone(), source };
        for _ in 0..ATTEMPTS_MAX {
            let mut file = ours::change_or_create(&path, 0o600).map_err(fail)?;
            opened(&path);
            lock(&mut file, folder)?;
            // Between the two steps it may have been removed, and another process have locked the next one of that name.
            if named(&file, &path).map_err(fail)? == Named::Itself {
                write_holder(&mut file).map_err(fail)?;
                return Ok(Self { file });
            }
        }
        Err(fail(io::Error::other("others remove it all the time")))
    }

    /// Whether `folder` is still the one that was locked, and not another under its name, which another process may have locked.
    pub(super) fn is_of(&self, folder: &Path) -> Result<bool, StateError> {
        let path = folder.join(LOCK_FILE);
        let named = named(&self.file, &path).map_err(|source| StateError::Lock { path, source })?;
        Ok(named == Named::Itself)
    }
}

/// Locks the open lock file of `folder`.
fn lock(file: &mut File, folder: &Path) -> Result<(), StateError> {
    let deadline = Instant::now() + FORK_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(file);
                if !holder.as_ref().is_some_and(Holder::is_this_process) || Instant::now() >= deadline {
                    return Err(StateError::InUse { folder: folder.to_owned(), holder: describe(holder) });
                }
                Stop::new().wait(FORK_POLL);
            }
            Err(TryLockError::Error(source)) => return Err(StateError::Lock { path: folder.join(LOCK_FILE), source }),
        }
    }
}

impl Holder {
    fn is_this_process(&self) -> bool {
        self.pid == std::process::id() && self.host == host()
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let since = jiff::Timestamp::now().round(jiff::Unit::Second).map_err(io::Error::other)?.to_string();
    let mut line = serde_json::to_vec(&Holder { host: host(), pid: std::process::id(), since })?;
    line.push(b'\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&line)
}

/// Who holds the lock, as far as that is written: its holder may be about to write it.
fn read_holder(file: &mut File) -> Option<Holder> {
    let mut line = String::new();
    file.rewind().ok()?;
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn describe(holder: Option<Holder>) -> String {
    match holder {
        Some(Holder { host, pid, since }) => format!("faro on {host}, pid {pid}, since {since}"),
        None => "another process that has not yet said who it is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_lock_file_that_is_removed_before_it_is_locked_is_not_the_one_that_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let mut removals = 0;
        let lock = Lock::take_when_open(folder.path(), |path| {
            if removals < 3 {
                fs::remove_file(path).unwrap();
                removals += 1;
            }
        });
        assert!(lock.unwrap().is_of(folder.path()).unwrap());
        let error = Lock::take_when_open(folder.path(), |path| fs::remove_file(path).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("cannot lock the state folder with "), "{error}");
    }

    #[test]
    fn a_lock_knows_that_its_folder_is_another_by_now() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        fs::create_dir(&folder).unwrap();
        let first = Lock::take(&folder).unwrap();
        assert!(first.is_of(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert!(!first.is_of(&folder).unwrap());
        fs::create_dir(&folder).unwrap();
        let second = Lock::take(&folder).unwrap();
        assert_eq!((first.is_of(&folder).unwrap(), second.is_of(&folder).unwrap()), (false, true));
    }
}
