//! A file of checked frames that is only appended to: what the journal and the owed events are kept in.
//!
//! Takes batches of frames, each batch one write; gives them back in order up to the first one that is not whole. Promises that
//! a crash in the middle of a write, or a disk that took a part of one, costs that write alone, and that no bytes of a payload
//! are ever taken for a frame: a frame's checksum covers its place and a random number of its file.
//!
//! A file begins with a magic number (8 bytes), its random number (8) and their checksum (8). A frame is its payload's length
//! (4 bytes), a checksum (8) and the payload; numbers are little-endian.

use super::folder::create_file;
use super::{StateError, folder};
use crate::named::{Identity, Named, identity, named_as};
use crate::ours;
use redb::StorageBackend;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One open file of frames, to be appended to.
#[derive(Debug)]
pub(super) struct FrameFile {
    reader: FrameReader,
    /// Where the last whole frame ends, and the next one goes.
    length: u64,
    /// A write failed, and what it left behind `length` could not be cut off yet.
    is_torn: bool,
}

/// The same file, to be read. Clones read the same one.
#[derive(Clone, Debug)]
pub(super) struct FrameReader {
    storage: Arc<dyn StorageBackend>,
    path: PathBuf,
    salt: u64,
    /// Which file it is; `None` for storage that is none.
    identity: Option<Identity>,
}

/// Frames that are written at once.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Where the last frame begins.
    last: usize,
}

/// What kind of file it is, and of which format: the first bytes of the file.
pub(super) type Magic = [u8; 8];

/// What stands before the frames.
pub(super) const FILE_HEAD_BYTES: usize = 24;
/// What stands before a payload.
pub(super) const FRAME_HEAD_BYTES: usize = 12;

/// A frame is ended when its payload is so long, so that reading needs little memory however much was written at once.
const FRAME_BYTES_DUE: usize = 256 * 1024;
/// The longest payload that is read back. A watch line is at most 16 MiB, and nothing that is stored of one is longer.
const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// Digits of a kind and a format, at the end of a magic number.
const FORMAT_BYTES: usize = 2;

impl Frames {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was put, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.last = 0;
    }

    /// What the frames take in the file.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where to put the next record of the last frame, which is a new one when the last is long enough.
    pub(super) fn record(&mut self) -> &mut Vec<u8> {
        if self.bytes.is_empty() || self.bytes.len() - self.last >= FRAME_BYTES_DUE {
            self.begin();
        }
        &mut self.bytes
    }

    /// Begins a frame, and gives where its payload goes.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.end();
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        &mut self.bytes
    }

    /// Writes the last frame's length into its head.
    fn end(&mut self) {
        if let Some(frame) = self.bytes.get_mut(self.last..).filter(|frame| !frame.is_empty()) {
            let length = u32::try_from(frame.len() - FRAME_HEAD_BYTES).expect("a frame is shorter than 4 GiB");
            frame[..4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Writes the checksums, which depend on where the frames will stand.
    fn seal(&mut self, salt: u64, mut offset: u64) {
        self.end();
        let mut rest = self.bytes.as_mut_slice();
        while let Some((head, behind)) = rest.split_first_chunk_mut::<FRAME_HEAD_BYTES>() {
            let (length, _) = split_head(head);
            let (payload, behind) = behind.split_at_mut(length);
            head[4..].copy_from_slice(&checksum(salt, offset, payload).to_le_bytes());
            offset += (FRAME_HEAD_BYTES + length) as u64;
            rest = behind;
        }
    }
}

impl FrameFile {
    /// Makes an empty file at `path`, durably. There must be none.
    pub(super) fn create(path: &Path, magic: Magic) -> Result<Self, StateError> {
        let file = Self::create_beside(path, magic)?;
        let made = file.sync().and_then(|()| file.rename()).and_then(|()| sync_folder_of(path));
        if made.is_err() {
            file.remove_beside();
        }
        made.map(|()| file)
    }

    /// Makes an empty file beside `path`, which [`rename`](Self::rename) gives that name.
    pub(super) fn create_beside(path: &Path, magic: Magic) -> Result<Self, StateError> {
        let file = create_file(&new_path(path));
        let begin = |file: File| {
            let identity = identity(&file.metadata()?);
            Ok(Self::begin(Arc::new(PlainFile(file)), path, magic)?.known_as(identity))
        };
        file.and_then(begin).map_err(|source| StateError::Create { path: path.to_owned(), source: source.into() })
    }

    /// Begins the file in empty storage.
    pub(super) fn begin(storage: Arc<dyn StorageBackend>, path: &Path, magic: Magic) -> io::Result<Self> {
        let salt = fastrand::u64(..);
        storage.write(0, &head_of(magic, salt))?;
        let reader = FrameReader { storage, path: path.to_owned(), salt, identity: None };
        Ok(Self { reader, length: FILE_HEAD_BYTES as u64, is_torn: false })
    }

    /// Gives a file that was made [beside](Self::create_beside) its name, in the place of what has it.
    pub(super) fn rename(&self) -> Result<(), StateError> {
        let path = self.path();
        fs::rename(new_path(path), path).map_err(|error| cannot_write(path, error))
    }

    /// Removes a file that was made [beside](Self::create_beside) and is not wanted: on a full disk it takes the room of others.
    pub(super) fn remove_beside(&self) {
        _ = fs::remove_file(new_path(self.path()));
    }

    /// Opens the file at `path` and gives every whole frame's place and payload to `visit`, in order; `None` when there is none.
    /// What is not whole at the end is cut off.
    pub(super) fn open(
        path: &Path,
        magic: Magic,
        visit: impl FnMut(u64, &[u8]) -> Result<(), StateError>,
    ) -> Result<Option<Self>, StateError> {
        match ours::change(path) {
            Ok(file) => {
                let identity = identity(&file.metadata().map_err(|error| cannot_open(path, error))?);
                Ok(Some(Self::read(Arc::new(PlainFile(file)), path, magic, visit)?.known_as(identity)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot_open(path, error)),
        }
    }

    /// The same of storage that holds such a file.
    pub(super) fn read(
        storage: Arc<dyn StorageBackend>,
        path: &Path,
        magic: Magic,
        visit: impl FnMut(u64, &[u8]) -> Result<(), StateError>,
    ) -> Result<Self, StateError> {
        let end = storage.len().map_err(|error| cannot_open(path, error))?;
        if end < FILE_HEAD_BYTES as u64 {
            return Err(damaged(path, "it is shorter than its head"));
        }
        let mut head = [0; FILE_HEAD_BYTES];
        storage.read(0, &mut head).map_err(|error| cannot_open(path, error))?;
        let salt = salt_of(&head, magic, path)?;
        let reader = FrameReader { storage, path: path.to_owned(), salt, identity: None };
        let length = reader.walk(FILE_HEAD_BYTES as u64, end, visit)?;
        let mut file = Self { reader, length, is_torn: length < end };
        if file.is_torn {
            log::warn!(bytes = end - length; "{}: its end is not whole, as after a crash; cut off", path.display());
            file.cut().map_err(|error| cannot_open(path, error))?;
        }
        Ok(file)
    }

    fn known_as(mut self, identity: Identity) -> Self {
        self.reader.identity = Some(identity);
        self
    }

    /// Whether its path still means this file: it may have been removed, or the folder that it lies in.
    pub(super) fn is_in_place(&self) -> Result<bool, StateError> {
        let Some(identity) = self.reader.identity else { return Ok(true) };
        let named = named_as(identity, self.path()).map_err(|error| cannot_open(self.path(), error))?;
        Ok(named == Named::Itself)
    }

    /// Writes all of `frames` at the end, in one write, and empties it; after an error the file is as it was, and so is `frames`.
    pub(super) fn append(&mut self, frames: &mut Frames) -> Result<(), StateError> {
        self.append_io(frames).map_err(|error| cannot_write(self.path(), error))
    }

    fn append_io(&mut self, frames: &mut Frames) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        if self.is_torn {
            self.cut()?;
        }
        frames.seal(self.reader.salt, self.length);
        if let Err(error) = self.reader.storage.write(self.length, &frames.bytes) {
            // A disk that is full took a part of it.
            self.is_torn = true;
            _ = self.cut();
            return Err(error);
        }
        self.length += frames.bytes.len() as u64;
        frames.clear();
        Ok(())
    }

    /// Forgets the frames from `offset` on, where one begins.
    pub(super) fn cut_at(&mut self, offset: u64) -> Result<(), StateError> {
        let length = std::mem::replace(&mut self.length, offset);
        self.cut().map_err(|error| {
            self.length = length;
            cannot_write(self.path(), error)
        })
    }

    /// Cuts off what stands behind the last whole frame.
    fn cut(&mut self) -> io::Result<()> {
        self.reader.storage.set_len(self.length)?;
        self.is_torn = false;
        Ok(())
    }

    /// Waits until what was appended is on the disk.
    pub(super) fn sync(&self) -> Result<(), StateError> {
        self.reader.sync()
    }

    /// How long the file is.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// Reads what was appended.
    pub(super) fn reader(&self) -> &FrameReader {
        &self.reader
    }
}

impl FrameReader {
    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until what was appended is on the disk.
    pub(super) fn sync(&self) -> Result<(), StateError> {
        self.storage.sync_data().map_err(|error| cannot_write(&self.path, error))
    }

    /// Gives the whole frames between two places to `visit`, in order, with their places. Returns where the last of them ends.
    pub(super) fn walk(
        &self,
        begin: u64,
        end: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), StateError>,
    ) -> Result<u64, StateError> {
        let (mut offset, mut payload) = (begin, Vec::new());
        let mut section = BufReader::with_capacity(READ_BYTES, Section { storage: &*self.storage, offset, end });
        while self.next_frame(&mut section, offset, end, &mut payload).map_err(|error| cannot_open(&self.path, error))? {
            visit(offset, &payload)?;
            offset += (FRAME_HEAD_BYTES + payload.len()) as u64;
        }
        Ok(offset)
    }

    /// Reads the frame at `offset`. Returns false where there is no whole one.
    fn next_frame(&self, section: &mut impl Read, offset: u64, end: u64, payload: &mut Vec<u8>) -> io::Result<bool> {
        let Some(left) = (end - offset).checked_sub(FRAME_HEAD_BYTES as u64) else { return Ok(false) };
        let mut head = [0; FRAME_HEAD_BYTES];
        section.read_exact(&mut head)?;
        let (length, expected) = split_head(&head);
        if length == 0 || length > FRAME_BYTES_MAX || length as u64 > left {
            return Ok(false);
        }
        payload.resize(length, 0);
        section.read_exact(payload)?;
        Ok(checksum(self.salt, offset, payload) == expected)
    }

    /// Reads the payload of `length` bytes of the frame at `offset` into `payload`.
    pub(super) fn payload(&self, offset: u64, length: usize, payload: &mut Vec<u8>) -> Result<(), StateError> {
        let mut head = [0; FRAME_HEAD_BYTES];
        payload.resize(length, 0);
        let read = self.storage.read(offset, &mut head);
        let read = read.and_then(|()| self.storage.read(offset + FRAME_HEAD_BYTES as u64, payload));
        read.map_err(|error| cannot_open(&self.path, error))?;
        if split_head(&head) != (length, checksum(self.salt, offset, payload)) {
            return Err(damaged(&self.path, format!("what was written at byte {offset} has changed")));
        }
        Ok(())
    }
}

/// A file as storage. Unlike redb's own it takes no lock: the folder's lock is ours already, and a process that was just started
/// holds a copy of every lock until its own program begins.
#[derive(Debug)]
struct PlainFile(File);

impl StorageBackend for PlainFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

/// A part of some storage, read from its begin to its end.
struct Section<'a> {
    storage: &'a dyn StorageBackend,
    offset: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(out.len());
        self.storage.read(self.offset, &mut out[..length])?;
        self.offset += length as u64;
        Ok(length)
    }
}

/// Waits until the name of the file at `path` is on the disk.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), StateError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    folder::sync_folder(folder).map_err(|error| cannot_write(path, error))
}

/// Removes what a crash left of a file that was being made.
pub(super) fn remove_leftover(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(new_path(path)) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(StateError::Remove { path: new_path(path), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn new_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn head_of(magic: Magic, salt: u64) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&magic);
    head[8..16].copy_from_slice(&salt.to_le_bytes());
    let sum = checksum(0, 0, &head[..16]);
    head[16..].copy_from_slice(&sum.to_le_bytes());
    head
}

fn salt_of(head: &[u8; FILE_HEAD_BYTES], magic: Magic, path: &Path) -> Result<u64, StateError> {
    let (kind, format) = magic.split_at(magic.len() - FORMAT_BYTES);
    let salt = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
    if !head.starts_with(kind) {
        return Err(damaged(path, "it is not faro's"));
    }
    if head[kind.len()..8] != *format {
        let (found, known) = (String::from_utf8_lossy(&head[kind.len()..8]).into_owned(), FORMAT);
        return Err(StateError::Format { path: path.to_owned(), found, known });
    }
    if head_of(magic, salt) != *head {
        return Err(damaged(path, "its head has changed"));
    }
    Ok(salt)
}

/// The format of every file of frames: the last two bytes of each magic number.
pub(super) const FORMAT: &str = "01";

fn split_head(head: &[u8; FRAME_HEAD_BYTES]) -> (usize, u64) {
    let (length, sum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
    (length as usize, u64::from_le_bytes(sum.try_into().expect("eight bytes")))
}

/// The same hash for the same bytes in every version, of which files are named.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    checksum(0, 0, bytes)
}

/// An odd number without pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Eight bytes a step. Each step is a bijection of what came before, so that a change within one word always shows; anything else
/// goes unseen once in 2^64. It guards against torn writes and failing disks, not against people who may write the file.
fn checksum(salt: u64, offset: u64, bytes: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let mut sum = step(step(step(FACTOR, salt), offset), bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        sum = step(sum, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum = step(sum, u64::from_le_bytes(last));
    sum ^ (sum >> 32)
}

/// The error for bytes that nobody wrote so.
pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> StateError {
    StateError::Damaged { path: path.to_owned(), reason: reason.into() }
}

fn cannot_write(path: &Path, source: io::Error) -> StateError {
    StateError::Write { path: path.to_owned(), source: source.into() }
}

fn cannot_open(path: &Path, source: io::Error) -> StateError {
    StateError::Open { path: path.to_owned(), source: source.into() }
}
