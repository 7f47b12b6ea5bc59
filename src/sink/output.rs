//! One place lines go to, and how much of the current batch it has already: what failed goes on where it stopped.
//!
//! Free of threads and waiting: each call is one attempt, and the writer decides when there is another.

use super::events_file::EventsFile;
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

/// Files in a folder, or standard output.
pub(super) enum Output {
    Files(Box<EventsFile>),
    StandardOutput(Pipe),
}

/// Standard output, unbuffered: nothing to sync, nothing to cut.
pub(super) struct Pipe {
    pipe: Box<dyn Write + Send>,
    /// How many bytes of the current batch were written.
    written: usize,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work later.
    Passing(io::Error),
    /// Nobody reads standard output any more.
    Broken(io::Error),
    /// Lines that were written are neither on the disk for sure nor can they be read back.
    Lost(io::Error),
}

impl Output {
    pub(super) fn pipe(pipe: Box<dyn Write + Send>) -> Self {
        Self::StandardOutput(Pipe { pipe, written: 0 })
    }

    /// The file; `None` for standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Files(files) => Some(files.path()),
            Self::StandardOutput(_) => None,
        }
    }

    /// What log lines call it.
    pub(super) fn name(&self) -> String {
        self.path().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }

    /// When [`rotate_old`](Self::rotate_old) has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Files(files) => files.due(),
            Self::StandardOutput(_) => None,
        }
    }

    /// The next batch begins.
    pub(super) fn next_batch(&mut self) {
        match self {
            Self::Files(files) => files.next_batch(),
            Self::StandardOutput(pipe) => pipe.written = 0,
        }
    }

    /// Writes what of the batch `bytes` was not written yet.
    pub(super) fn write_rest(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Files(files) => files.write_rest(bytes),
            Self::StandardOutput(pipe) => pipe.write_rest(bytes),
        }
    }

    /// Gives the current batch up: what of it is a whole line stays, the rest is cut off where that is possible. Returns the
    /// number of whole lines.
    pub(super) fn give_up(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Files(files) => files.give_up(bytes),
            Self::StandardOutput(pipe) => Ok(memchr::memchr_iter(b'\n', &bytes[..pipe.written]).count()),
        }
    }

    /// Waits until the disk has everything.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        match self {
            Self::Files(files) => files.sync(),
            Self::StandardOutput(_) => Ok(()),
        }
    }

    /// Begins the next file when this one is too old.
    pub(super) fn rotate_old(&mut self) -> Result<(), Fault> {
        match self {
            Self::Files(files) => files.rotate_old(),
            Self::StandardOutput(_) => Ok(()),
        }
    }
}

impl Pipe {
    fn write_rest(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        while self.written < bytes.len() {
            match self.pipe.write(&bytes[self.written..]) {
                Ok(0) => return Err(Fault::Passing(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Fault::Broken(error)),
                Err(error) => return Err(Fault::Passing(error)),
            }
        }
        Ok(())
    }
}

/// Standard output, without the buffer and the lock of the standard library.
///
/// # Errors
///
/// When standard output is closed, or is open for reading only.
pub(super) fn open_standard_output() -> io::Result<Box<dyn Write + Send>> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    match unwritable(&file)? {
        Some(why) => Err(io::Error::other(why)),
        None => Ok(Box::new(file)),
    }
}

/// Why what is written to `file`, which is standard output, goes nowhere that anyone has chosen; `None` where it does not.
///
/// Before `main`, Rust opens `/dev/null` for reading and writing in the place of a standard output that is closed
/// (`sanitize_standard_fds` in `library/std/src/sys/pal/unix/mod.rs`), so that writes to it succeed. A shell's `>/dev/null`, with
/// which people throw lines away on purpose, is open for writing only.
fn unwritable(file: &File) -> io::Result<Option<&'static str>> {
    let access = fcntl_getfl(file)? & OFlags::RWMODE;
    if access == OFlags::RDONLY {
        return Ok(Some("it is open for reading only"));
    }
    let is_null = || fs::metadata("/dev/null").is_ok_and(|null| file.metadata().is_ok_and(|file| file.rdev() == null.rdev()));
    Ok((access == OFlags::RDWR && is_null()).then_some("it is closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_standard_output_that_was_closed_is_told_from_one_that_is_thrown_away() {
        let check = |file: File, expected: Option<&str>| assert_eq!(unwritable(&file).unwrap(), expected, "{file:?}");
        let null = |read, write| OpenOptions::new().read(read).write(write).open("/dev/null").unwrap();
        check(null(true, true), Some("it is closed"));
        check(null(false, true), None);
        check(null(true, false), Some("it is open for reading only"));
        check(tempfile::tempfile().unwrap(), None);
        check(File::from(std::os::fd::OwnedFd::from(io::pipe().unwrap().1)), None);
    }
}
