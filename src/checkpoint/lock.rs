//! One process a folder: the file `lock`, locked for as long as its holder lives, which says who that is.

use super::StateError;
use crate::lifecycle::Stop;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The system ends the lock when it closes the file, also after a crash.
    _file: File,
}

/// Who holds a lock: the one line of its file.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
    since: String,
}

const LOCK_FILE: &str = "lock";

/// More than a holder's line can be; a longer file is not read to its end.
const HOLDER_BYTES_MAX: u64 = 4096;

/// A process that this one starts has a copy of every open file, and with it of a lock that was given up meanwhile, until its
/// own program begins. So long that is waited for; only this process can still hold its own lock then.
pub(super) const FORK_LIMIT: Duration = Duration::from_secs(1);
const FORK_POLL: Duration = Duration::from_millis(5);

impl Lock {
    /// Locks `folder`, which must be there.
    pub(super) fn take(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join(LOCK_FILE);
        let fail = |source| StateError::Lock { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        let deadline = Instant::now() + FORK_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = read_holder(&mut file);
                    if !holder.as_ref().is_some_and(Holder::is_this_process) || Instant::now() >= deadline {
                        return Err(StateError::InUse { folder: folder.to_owned(), holder: describe(holder) });
                    }
                    Stop::new().wait(FORK_POLL);
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
        write_holder(&mut file).map_err(fail)?;
        Ok(Self { _file: file })
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
