//! What an earlier run wrote and did not commit: read back before anything else, its torn end cut off.
//!
//! Takes the folder and the committed place; gives every line after it, oldest first, and the place where the newest file
//! ends. Promises that afterwards every file past that place consists of whole lines, and that no whole line was cut off, though
//! only a later version of Faro knew what it says. Memory is bounded by one line.

use super::SinkError;
use super::told_line::{ToldLine, is_whole};
use crate::api::FilePosition;
use crate::config::Compression;
use crate::files::{self, Disk, Entry, FileKind, FileName, Layer, LayerFile};
use std::io;
use std::path::{Path, PathBuf};

/// Gives each line of the events files in `folder` that comes after `since` to `told`, the oldest first, and returns where
/// the newest file ends; `None` when there is no file.
///
/// The end of a file that holds no whole line, as a crash or a loss of power leaves it, is cut off first, with one
/// line in the log. Without `since` no line is told, and only the newest file is looked at. A folder that does not exist is
/// an empty one.
///
/// # Errors
///
/// When a file cannot be read or cut.
///
/// # Blocking
///
/// For as long as reading takes: about a second for 200 MB.
pub fn recover(
    folder: &Path,
    since: Option<&FilePosition>,
    told: &mut dyn FnMut(ToldLine),
) -> Result<Option<FilePosition>, SinkError> {
    recover_on(&Disk, folder, since, told)
}

pub(super) fn recover_on(
    layer: &dyn Layer,
    folder: &Path,
    since: Option<&FilePosition>,
    told: &mut dyn FnMut(ToldLine),
) -> Result<Option<FilePosition>, SinkError> {
    let names = match files::names(layer, folder, FileKind::Events) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|source| SinkError::Recover { path: folder.to_owned(), source })?,
    };
    if let Some(since) = since.filter(|since| is_missing(since, &names)) {
        let path = folder.join(&since.file);
        log::warn!(bytes = since.offset; "{} was removed, lines that were told are gone", path.display());
    }
    let Some((newest, entry)) = names.last() else { return Ok(None) };
    let mut end = FilePosition { file: entry.name.clone(), offset: entry.bytes };
    let Some(since) = since else {
        if let Some(mut open) = Open::at(layer, folder, newest)? {
            end.offset = open.cut_torn_line()?;
        }
        return Ok(Some(end));
    };
    let committed = FileName::parse(&since.file);
    for (name, _) in names.iter().filter(|(name, _)| committed.is_none_or(|committed| !name.is_before(&committed))) {
        let is_committed = committed == Some(*name);
        let Some(mut open) = Open::at(layer, folder, name)? else { continue };
        end = FilePosition { file: name.to_string(), offset: open.read(if is_committed { since.offset } else { 0 }, told)? };
    }
    // The names of files may be in memory alone, too.
    layer.sync_folder(folder).map_err(|source| SinkError::Recover { path: folder.to_owned(), source })?;
    Ok(Some(end))
}

/// Whether lines of the committed file are told, and it is there under none of its names. Retention and compression leave it alone
/// for as long as it is the committed one.
fn is_missing(since: &FilePosition, names: &[(FileName, Entry)]) -> bool {
    let plain = |name: FileName| name.compressed(Compression::None);
    let committed = FileName::parse(&since.file).map(plain);
    since.offset > 0 && committed.is_some_and(|committed| names.iter().all(|(name, _)| plain(*name) != committed))
}

/// A file that may be read, and cut.
struct Open {
    path: PathBuf,
    file: Box<dyn LayerFile>,
}

/// Longest line that is read back: twice what a watch accepts of an object, whose texts are written as they came.
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

impl Open {
    /// `None` for a file that is not to be touched.
    fn at(layer: &dyn Layer, folder: &Path, name: &FileName) -> Result<Option<Self>, SinkError> {
        let path = folder.join(name.to_string());
        if name.compression() != Compression::None {
            // Faro compresses only what is committed: its lines are known already.
            return Ok(None);
        }
        let opened = layer.is_open(&path).and_then(|is_open| if is_open { Ok(None) } else { layer.open(&path).map(Some) });
        match opened {
            Ok(Some(file)) => Ok(Some(Self { path, file })),
            Ok(None) => {
                log::warn!("{} is being written by another process, left alone", path.display());
                Ok(None)
            }
            Err(source) => Err(SinkError::Recover { path, source }),
        }
    }

    /// Tells every line from `offset` on, cuts off what is none, and returns where the file ends.
    fn read(&mut self, offset: u64, told: &mut dyn FnMut(ToldLine)) -> Result<u64, SinkError> {
        let bytes = self.bytes()?;
        if bytes < offset {
            let missing = offset - bytes;
            log::warn!(bytes = missing; "{} is shorter than it was, lines that were told are gone", self.path.display());
            return Ok(bytes);
        }
        let (mut end, mut buffer, mut held, mut unknown) = (offset, Vec::new(), 0, 0);
        loop {
            buffer.resize(held + CHUNK_BYTES, 0);
            let count = self.read_at(&mut buffer[held..], end + held as u64)?;
            let whole = tell_lines(&buffer[..held + count], held, told);
            held = held + count - whole.bytes;
            unknown += whole.unknown;
            if whole.bytes > 0 {
                end += whole.bytes as u64;
                buffer.copy_within(whole.bytes..whole.bytes + held, 0);
            }
            if count == 0 || !whole.are_all_whole || held > LINE_BYTES_MAX {
                self.cut_to(end, bytes)?;
                break;
            }
        }
        if unknown > 0 {
            let path = self.path.display();
            log::warn!(lines = unknown; "{path} has {unknown} lines that this version does not know: they stay, and are not counted as told");
        }
        if end > offset {
            // After a kill the lines may be in memory alone. Whoever is told them takes them for written.
            self.file.sync().map_err(|source| self.failed(source))?;
        }
        Ok(end)
    }

    /// Cuts off what comes after the last newline, and returns where the file ends.
    fn cut_torn_line(&mut self) -> Result<u64, SinkError> {
        let bytes = self.bytes()?;
        let (mut end, mut chunk) = (bytes, vec![0; CHUNK_BYTES]);
        while end > 0 {
            let begin = end.saturating_sub(CHUNK_BYTES as u64);
            let wanted = usize::try_from(end - begin).expect("no more than a chunk");
            let count = self.read_at(&mut chunk[..wanted], begin)?;
            if let Some(newline) = memchr::memrchr(b'\n', &chunk[..count]) {
                return self.cut_to(begin + newline as u64 + 1, bytes);
            }
            end = begin;
        }
        self.cut_to(0, bytes)
    }

    fn cut_to(&mut self, end: u64, bytes: u64) -> Result<u64, SinkError> {
        if end < bytes {
            let cut = self.file.cut_to(end).and_then(|()| self.file.sync());
            cut.map_err(|source| self.failed(source))?;
            log::warn!(bytes = bytes - end; "cut off the torn end of {}", self.path.display());
        }
        Ok(end)
    }

    fn bytes(&self) -> Result<u64, SinkError> {
        self.file.bytes().map_err(|source| self.failed(source))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SinkError> {
        self.file.read_at(buffer, offset).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Recover { path: self.path.clone(), source }
    }
}

/// What of a piece of a file is whole lines.
struct Whole {
    bytes: usize,
    /// How many of them say what this version does not know.
    unknown: usize,
    /// No other line comes after them.
    are_all_whole: bool,
}

/// Tells the lines that end in `bytes`, where no newline is before `seen`.
fn tell_lines(bytes: &[u8], seen: usize, told: &mut dyn FnMut(ToldLine)) -> Whole {
    let mut whole = Whole { bytes: 0, unknown: 0, are_all_whole: true };
    for newline in memchr::memchr_iter(b'\n', &bytes[seen..]).map(|newline| seen + newline) {
        let line = &bytes[whole.bytes..newline];
        match ToldLine::parse(line) {
            Some(line) => told(line),
            None if is_whole(line) => whole.unknown += 1,
            None => return Whole { are_all_whole: false, ..whole },
        }
        whole.bytes = newline + 1;
    }
    whole
}
