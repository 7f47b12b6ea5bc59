//! Reads small files that others write, within limits of size and of time.
//!
//! A named pipe without a writer, or a file on a mount whose server is gone, would hold a read for ever. So whatever may wait runs on a
//! thread of its own, [`Apart`], and pipes are opened without waiting for their writer. A pipe gives its bytes once: who reads again
//! asks for [`Which::Regular`].

use crate::lifecycle::Joined;
use crossbeam_channel::{Receiver, bounded, never};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the first read of a file may take: a writer of a pipe, as `kubectl config view --raw`, takes less than a second.
pub(crate) const FIRST_LIMIT: Duration = Duration::from_secs(10);

/// Which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Whatever is there; a pipe is waited for.
    Any,
    /// Only what can be read again; anything else is an error.
    Regular,
    /// Only what can be read once, as a pipe.
    Once,
}

/// What a file holds; `None` where it is not of the files that were asked for.
pub(crate) type Contents = io::Result<Option<Vec<u8>>>;

/// Runs what may wait for ever on threads of their own, at most one for each file. Clones share what is under way.
#[derive(Debug)]
pub(crate) struct Apart<T> {
    limit: Duration,
    under_way: Arc<Mutex<Vec<UnderWay<T>>>>,
}

/// A file, and where the outcome of its job will be.
type UnderWay<T> = (PathBuf, Receiver<T>);

impl<T: Send + 'static> Apart<T> {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, under_way: Arc::default() }
    }

    /// The outcome of `job` for the file at `path`. One that took too long is left to end; until it does, no other is begun for that
    /// file, and whoever asks next is given its outcome.
    ///
    /// # Errors
    ///
    /// `TimedOut` once the limit is over, or while an earlier job is under way; `Interrupted` when `end` closes.
    pub(crate) fn run(&self, path: &Path, end: &Receiver<Infallible>, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let earlier = self.earlier(path);
        let deadline = Instant::now() + if earlier.is_some() { Duration::ZERO } else { self.limit };
        let outcome = match earlier {
            Some(outcome) => outcome,
            None => {
                let (give, outcome) = bounded(1);
                let thread = Joined::spawn("read-file", move || drop(give.try_send(job())))?;
                // Left alone: it may never end.
                thread.join_until(Instant::now());
                outcome
            }
        };
        let ended = crossbeam_channel::select! {
            recv(outcome) -> found => return found.map_err(|_| ErrorKind::Other.into()),
            recv(end) -> _ => ErrorKind::Interrupted.into(),
            default(deadline.saturating_duration_since(Instant::now())) => too_slow(self.limit),
        };
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), outcome));
        Err(ended)
    }

    fn earlier(&self, path: &Path) -> Option<Receiver<T>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let place = under_way.iter().position(|(of, _)| of == path)?;
        Some(under_way.swap_remove(place).1)
    }
}

impl<T> Clone for Apart<T> {
    fn clone(&self) -> Self {
        Self { limit: self.limit, under_way: Arc::clone(&self.under_way) }
    }
}

impl Apart<Contents> {
    /// Reads `which` files at `path`, of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run), and when the file cannot be read, is longer, or is another than [`Which::Regular`].
    pub(crate) fn read(&self, path: &Path, bytes_max: u64, which: Which, end: &Receiver<Infallible>) -> Contents {
        let (limit, of) = (self.limit, path.to_owned());
        self.run(path, end, move || read(&of, bytes_max, which, limit))?
    }
}

/// For whoever cannot be ended.
pub(crate) fn no_end() -> Receiver<Infallible> {
    never()
}

/// Reads on this thread. Whatever is no file on a disk is waited for until `limit` is over.
fn read(path: &Path, bytes_max: u64, which: Which, limit: Duration) -> Contents {
    // Without NONBLOCK a pipe would not even open before its writer comes.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open(2) is an int");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_regular = file.metadata()?.is_file();
    match which {
        Which::Regular if !is_regular => {
            Err(io::Error::other("it is no regular file, and what it gives can be read only once, at the start"))
        }
        Which::Once if is_regular => Ok(None),
        Which::Any | Which::Regular | Which::Once => collect(file, bytes_max, limit).map(Some),
    }
}

fn collect(mut file: File, bytes_max: u64, limit: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut bytes = Vec::new();
    // A pipe whose writer has not come yet reads as one at its end; a poll knows the difference.
    wait(&file, deadline, limit)?;
    loop {
        // One byte more than is accepted, so that a file which is too long is known as such and never read whole.
        let room = (bytes_max + 1).saturating_sub(bytes.len() as u64);
        match Read::by_ref(&mut file).take(room).read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&file, deadline, limit)?,
            Err(error) => return Err(error),
        }
    }
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Waits until the file can be read. Files on a disk always can.
fn wait(file: &File, deadline: Instant, limit: Duration) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(too_slow(limit)),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn too_slow(limit: Duration) -> io::Error {
    let limit = limit.as_secs_f32();
    io::Error::new(
        ErrorKind::TimedOut,
        format!("it gave nothing within {limit} s: a pipe that nobody writes to, or a mount that is gone"),
    )
}

/// A named pipe at `path`.
#[cfg(test)]
pub(crate) fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Writes `text` into the pipe at `path` once it is read.
#[cfg(test)]
pub(crate) fn feed(path: &Path, text: &str) -> Joined {
    let (path, text) = (path.to_owned(), text.to_owned());
    Joined::spawn("test-feed", move || {
        io::Write::write_all(&mut OpenOptions::new().write(true).open(path).unwrap(), text.as_bytes()).unwrap();
    })
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: u64 = 1000;
    const SHORT: Duration = Duration::from_millis(50);

    fn check(limit: Duration, path: &Path, which: Which, expected: Result<Option<&str>, ErrorKind>) {
        let found = Apart::new(limit).read(path, BYTES_MAX, which, &no_end());
        let found = found.map(|bytes| bytes.map(|bytes| String::from_utf8(bytes).unwrap())).map_err(|error| error.kind());
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)), "{which:?}");
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_ends_with_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        make_pipe(&path);
        check(SHORT, &path, Which::Any, Err(ErrorKind::TimedOut));
        check(SHORT, &path, Which::Once, Err(ErrorKind::TimedOut));
        check(FIRST_LIMIT, &path, Which::Regular, Err(ErrorKind::Other));
        check(SHORT, &folder.path().join("none"), Which::Any, Err(ErrorKind::NotFound));
        check(SHORT, folder.path(), Which::Any, Err(ErrorKind::IsADirectory));
    }

    #[test]
    fn a_pipe_is_read_until_its_writer_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        make_pipe(&path);
        let text = "as long as many writes ".repeat(40);
        let _writer = feed(&path, &text);
        check(FIRST_LIMIT, &path, Which::Any, Ok(Some(&text)));
        let _writer = feed(&path, "once");
        check(FIRST_LIMIT, &path, Which::Once, Ok(Some("once")));
    }

    #[test]
    fn a_regular_file_is_read_whole_and_never_beyond_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "text").unwrap();
        check(FIRST_LIMIT, &path, Which::Any, Ok(Some("text")));
        check(FIRST_LIMIT, &path, Which::Regular, Ok(Some("text")));
        check(FIRST_LIMIT, &path, Which::Once, Ok(None));
        check(FIRST_LIMIT, Path::new("/dev/null"), Which::Any, Ok(Some("")));
        check(FIRST_LIMIT, Path::new("/dev/zero"), Which::Any, Err(ErrorKind::FileTooLarge));
        std::fs::write(&path, "x".repeat(1001)).unwrap();
        check(FIRST_LIMIT, &path, Which::Any, Err(ErrorKind::FileTooLarge));
    }

    /// As on a mount whose server is gone: the job waits in the kernel.
    #[test]
    fn a_read_that_never_returns_is_begun_once_and_given_to_whoever_asks_when_it_does() {
        let apart = Apart::new(SHORT);
        let path = Path::new("/mnt/gone");
        let (release, released) = bounded::<Infallible>(0);
        let stuck = move || released.recv().map_or(1, |never| match never {});
        assert_eq!(apart.run(path, &no_end(), stuck).unwrap_err().kind(), ErrorKind::TimedOut);
        let again = || apart.clone().run(path, &no_end(), || 2).map_err(|error| error.kind());
        assert_eq!(again(), Err(ErrorKind::TimedOut), "no second thread is stuck");
        assert_eq!(apart.run(Path::new("/other"), &no_end(), || 3).unwrap(), 3, "another file is none of its business");
        drop(release);
        while again() == Err(ErrorKind::TimedOut) {
            std::thread::yield_now();
        }
        assert_eq!(again(), Ok(2));
    }

    #[test]
    fn the_end_ends_the_wait_at_once() {
        let apart = Apart::new(FIRST_LIMIT);
        let (release, released) = bounded::<Infallible>(0);
        let (end, ended) = bounded(0);
        drop(end);
        let error = apart.run(Path::new("/mnt/gone"), &ended, move || released.recv().is_ok()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        drop(release);
    }
}
