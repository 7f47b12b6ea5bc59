//! Files that are read again as they change: certificates, keys and a token.
//!
//! Looks at them once a second at most, and when somebody asks. What cannot be read again is logged once, and what was read before
//! stays in use.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What was made of some files.
pub(super) struct Made<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    now: T,
    stamps: Vec<Stamp>,
    looked: Instant,
    is_trouble_logged: bool,
}

/// Makes something of the bytes of all files.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> io::Result<T> + Send>;

/// By what a file is known to be as it was: device, number, length, and when it was changed.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// More than any bundle of authorities.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl<T> Made<T> {
    /// Reads `files`, and makes of their bytes what is wanted.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or is not what is wanted, with its name.
    pub(super) fn of(files: Vec<PathBuf>, make: impl Fn(&[Vec<u8>]) -> io::Result<T> + Send + 'static) -> io::Result<Self> {
        let (looked, stamps) = (Instant::now(), stamps(&files));
        let now = read(&files).and_then(|bytes| make(&bytes))?;
        Ok(Self { files, make: Box::new(make), now, stamps, looked, is_trouble_logged: false })
    }

    /// As the files are at `now`, or were when they could last be read.
    pub(super) fn get(&mut self, now: Instant) -> &T {
        if now.saturating_duration_since(self.looked) >= LOOK_EVERY {
            self.looked = now;
            self.look();
        }
        &self.now
    }

    fn look(&mut self) {
        let stamps = stamps(&self.files);
        if stamps == self.stamps {
            return;
        }
        match read(&self.files).and_then(|bytes| (self.make)(&bytes)) {
            Ok(made) => {
                (self.now, self.stamps, self.is_trouble_logged) = (made, stamps, false);
                log::info!("read again for metrics: {}", self.names());
            }
            // They may be about to be replaced, one after the other.
            Err(error) if !std::mem::replace(&mut self.is_trouble_logged, true) => {
                log::warn!(cause:% = error; "cannot read again for metrics, going on with what was read before: {}", self.names());
            }
            Err(_) => {}
        }
    }

    fn names(&self) -> String {
        self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

fn read(files: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
    let read = |file: &PathBuf| {
        let named = |problem: String| io::Error::other(format!("{}: {problem}", file.display()));
        let found = fs::metadata(file).map_err(|error| named(error.to_string()))?;
        if !found.is_file() || found.len() > FILE_BYTES_MAX {
            return Err(named(format!("expected a file of at most {FILE_BYTES_MAX} bytes")));
        }
        fs::read(file).map_err(|error| named(error.to_string()))
    };
    files.iter().map(read).collect()
}

impl<T> std::fmt::Debug for Made<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("files", &self.files).finish_non_exhaustive()
    }
}
