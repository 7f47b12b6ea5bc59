//! Reading back: the lines of a folder's files, oldest first, while they are written, closed, compressed and removed.
//!
//! Takes a folder and one kind of its files; gives every whole line once, in the order in which they were written. Promises
//! to change nothing and to take no lock, so that it may run beside the daemon, as another user too; memory is bounded by one line.

mod cursor;
mod tail;
#[cfg_attr(not(feature = "compress"), path = "unpack_absent.rs")]
mod unpack;

#[cfg(test)]
#[cfg(feature = "compress")]
mod tests;

use super::{FileKind, FileName};
use crate::config::Compression;
use crate::folders::or_here;
use cursor::{Cursor, Step};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The lines of one kind of files in a folder.
///
/// Plain, gzip and zstd files are read alike; files of other names are not looked at. A line that has no end yet is given when it
/// has one. Retention may remove what was not read yet.
///
/// ```
/// use faro::files::{FileKind, Lines, Piece};
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("events-20251110-143302.json"), "{\"eventType\":\"ADDED\"}\n{\"eve")?;
/// let mut lines = Lines::open(folder.path(), FileKind::Events)?;
/// let mut told = Vec::new();
/// while let Some(piece) = lines.next()? {
///     match piece {
///         Piece::Line(line) => told.extend_from_slice(line.bytes),
///         Piece::Damage(damage) => eprintln!("{damage}"),
///     }
/// }
/// assert_eq!(told, b"{\"eventType\":\"ADDED\"}\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Lines {
    folder: PathBuf,
    kind: FileKind,
    /// Known and not begun, oldest first.
    queue: VecDeque<FileName>,
    /// The newest that was ever in the queue.
    newest: Option<FileName>,
    current: Option<Current>,
    /// How much of the next file's text is passed over.
    skip: u64,
}

/// The file that is read.
struct Current {
    path: PathBuf,
    cursor: Cursor,
    /// Nothing more will be written to it.
    is_closed: bool,
}

/// What comes next.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A whole line.
    Line(Line<'a>),
    /// Something that is no line. Reading goes on after it.
    Damage(Damage),
}

/// A whole line, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The line as it was written, its newline included.
    pub bytes: &'a [u8],
    /// The file.
    pub path: &'a Path,
    /// How far into the file's text the line begins, in bytes; of a compressed file the text is what was compressed.
    pub offset: u64,
}

/// What cannot be given as lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file cannot be read, or not to its end; the next one is gone on with.
    #[error("cannot read {} from byte {offset} of its text on", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What comes before is read.
        offset: u64,
        /// What the operating system says, or what is wrong with the compressed bytes.
        source: io::Error,
    },
    /// A file that nobody writes any more ends within a line.
    #[error("{} ends within a line, of which {bytes} bytes are there, from byte {offset} of its text on", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// How much of it there is.
        bytes: usize,
    },
    /// A line is longer than any that Faro writes.
    #[error("{} holds a line of more than 32 MiB from byte {offset} of its text on", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
    },
}

/// A file counts as written before a time only when that is so long before: clocks of file systems tick coarsely, and a line is
/// written a moment after its change was received.
const WRITTEN_TOLERANCE: Duration = Duration::from_secs(2);

impl Lines {
    /// Begins with the oldest file of `kind` in `folder`.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn open(folder: &Path, kind: FileKind) -> io::Result<Self> {
        let mut lines = Self { folder: folder.to_owned(), kind, queue: VecDeque::new(), newest: None, current: None, skip: 0 };
        lines.queue = lines.newer_files()?.into();
        lines.newest = lines.queue.back().copied();
        Ok(lines)
    }

    /// How many files are known that were not begun.
    pub fn files(&self) -> usize {
        self.queue.len()
    }

    /// Passes over the closed files into which nothing was written since `time`, by the times that the file system gives.
    pub fn skip_written_before(&mut self, time: SystemTime) {
        let Some(newest) = self.queue.pop_back() else { return };
        let folder = &self.folder;
        self.queue.retain(|name| {
            let modified = fs::metadata(folder.join(name.to_string())).and_then(|metadata| metadata.modified());
            modified.map_or(true, |modified| modified + WRITTEN_TOLERANCE >= time)
        });
        self.queue.push_back(newest);
    }

    /// What comes next; `None` when everything that is there was given. Later calls give what was written meanwhile: whoever
    /// follows calls again, after a pause of its own choice.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read any more. One that was removed counts as empty, since the daemon makes it anew.
    ///
    /// # Blocking
    ///
    /// While one piece is read.
    #[expect(clippy::should_implement_trait, reason = "a piece borrows from the reader, which no iterator can give")]
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        let found = loop {
            if let Some(found) = self.step()? {
                break found;
            }
        };
        Ok(match found {
            Found::Nothing => None,
            Found::Damage(damage) => Some(Piece::Damage(damage)),
            Found::Line(line) => self.current.as_ref().map(|Current { path, cursor, .. }| {
                let offset = cursor.at() - line.len() as u64;
                Piece::Line(Line { bytes: cursor.bytes(line), path, offset })
            }),
        })
    }

    /// One step; `None` when another one is to follow.
    fn step(&mut self) -> io::Result<Option<Found>> {
        let Some(current) = &mut self.current else { return self.begin_next() };
        let offset = current.cursor.at();
        let path = || current.path.clone();
        match current.cursor.next() {
            Ok(Step::Line(line)) => Ok(Some(Found::Line(line))),
            Ok(Step::TooLong) => Ok(Some(Found::Damage(Damage::TooLong { path: path(), offset }))),
            Ok(Step::End { torn }) if current.is_closed => {
                let damage = (torn > 0).then(|| Found::Damage(Damage::Torn { path: path(), offset, bytes: torn }));
                // What a sync could not bring to the disk was given out, and is at the begin of the next file.
                self.skip = current.cursor.taken_back();
                self.current = None;
                Ok(damage)
            }
            Ok(Step::End { .. }) => {
                self.look_for_more()?;
                if self.queue.is_empty() {
                    return Ok(Some(Found::Nothing));
                }
                // Lines may have come between that end and the begin of the next file.
                if let Some(current) = &mut self.current {
                    current.is_closed = true;
                }
                Ok(None)
            }
            Err(source) => {
                let damage = Damage::Unreadable { path: path(), offset, source };
                self.current = None;
                Ok(Some(Found::Damage(damage)))
            }
        }
    }

    /// Opens the next file; `None` when a step is to follow.
    fn begin_next(&mut self) -> io::Result<Option<Found>> {
        if self.queue.is_empty() {
            self.look_for_more()?;
        }
        let Some(name) = self.queue.pop_front() else { return Ok(Some(Found::Nothing)) };
        let skip = mem::take(&mut self.skip);
        match self.open_file(name, skip) {
            Ok(current) => self.current = current,
            Err(source) => {
                let path = self.folder.join(name.to_string());
                return Ok(Some(Found::Damage(Damage::Unreadable { path, offset: 0, source })));
            }
        }
        Ok(None)
    }

    /// Opens a file of the queue, also under the name that it has got since; `None` when it was removed.
    fn open_file(&self, name: FileName, skip: u64) -> io::Result<Option<Current>> {
        for compression in [name.compression(), Compression::None, Compression::Gzip, Compression::Zstd] {
            let path = self.folder.join(name.compressed(compression).to_string());
            let mut cursor = match Cursor::open(&path, compression) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            cursor.skip_to(skip)?;
            let is_closed = compression != Compression::None || !self.queue.is_empty();
            return Ok(Some(Current { path, cursor, is_closed }));
        }
        Ok(None)
    }

    /// Takes the files that have come since into the queue.
    fn look_for_more(&mut self) -> io::Result<()> {
        let found = match self.newer_files() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        self.newest = found.last().copied().or(self.newest);
        self.queue.extend(found);
        Ok(())
    }

    /// The files that are newer than all that were known, oldest first, each once.
    fn newer_files(&self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(or_here(&self.folder))? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(FileName::parse) else { continue };
            let is_newer = self.newest.is_none_or(|newest| newest.is_before(&name));
            if is_newer && name.kind() == self.kind && entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        // For a moment a file is there twice; the plain one, which sorts first, is whole for sure.
        names.dedup_by_key(|name| name.compressed(Compression::None));
        Ok(names)
    }
}

/// What a step has found.
enum Found {
    /// A line, at this place in the buffer of the file that is read.
    Line(Range<usize>),
    Damage(Damage),
    /// No more for now.
    Nothing,
}
