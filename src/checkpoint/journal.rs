//! What was handed to handlers between two checkpoints, and who accepted it.
//!
//! Takes [`Batch`]es of records, each one write, before the handlers are called; gives back every [`Record`] in order at the next
//! start. Promises that what was appended survives the end of the process, `kill -9` included. It is not synced: a power failure
//! can take what was appended in the last seconds. Records that a checkpoint holds are dropped when the file has grown.

use super::frames::{FILE_HEAD_BYTES, FrameFile, FrameReader, Frames, Magic, damaged, remove_leftover, sync_folder_of};
use super::record::{self, Records};
use super::{Handed, Record, StateError};
use crate::api::WatchId;
use std::mem;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The journal of one state folder.
#[derive(Debug)]
pub struct Journal {
    written: Mutex<Written>,
    /// Held by whoever compacts.
    compacting: Mutex<()>,
}

#[derive(Debug)]
struct Written {
    file: FrameFile,
    /// How long the file was when it was last compacted; zero before.
    compacted: u64,
}

/// Records that are appended in one write. Reused, it allocates nothing.
#[derive(Debug, Default)]
pub struct Batch(Frames);

pub(super) const MAGIC: Magic = *b"FAROJR01";

/// The journal's file in its folder.
pub(super) const JOURNAL_FILE: &str = "journal.log";

/// Below this length nothing is compacted: it is read in some milliseconds.
const COMPACT_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// What a compaction holds in memory before it writes.
const COMPACT_BATCH_BYTES: usize = 256 * 1024;

const NO_RECORD: &str = "a record of it is none of faro's";

impl Batch {
    /// Adds that an event is handed to its receivers.
    ///
    /// # Panics
    ///
    /// When the change is neither [`Change::Known`](crate::api::Change::Known) nor [`Change::Gone`](crate::api::Change::Gone), which
    /// no event makes.
    pub fn emitted(&mut self, handed: Handed<'_>) {
        record::write_emitted(self.0.record(), handed);
    }

    /// Adds that the receiver of this bit, counted from 0, has accepted an event.
    pub fn accepted(&mut self, watch: WatchId, sequence: u64, receiver: u8) {
        record::write_accepted(self.0.record(), watch, sequence, receiver);
    }

    /// Adds who receives events from here on, in the order of their bits.
    pub fn receivers<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        record::write_receivers(self.0.record(), names);
    }

    /// Whether nothing was added since it was last appended.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Journal {
    /// Opens the journal in `folder`, whose lock the caller holds, or begins one, and gives every record in it to `visit`, in
    /// the order they were appended. What a crash left unfinished at its end is cut off.
    ///
    /// # Errors
    ///
    /// When the file cannot be made, read or written, or is not what this version writes.
    ///
    /// # Blocking
    ///
    /// Reads the whole file.
    pub fn open(folder: &Path, mut visit: impl FnMut(Record)) -> Result<Self, StateError> {
        let path = folder.join(JOURNAL_FILE);
        remove_leftover(&path)?;
        let found = FrameFile::open(&path, MAGIC, |_, payload| {
            for record in Records(payload) {
                visit(record.and_then(|record| record.decode()).ok_or_else(|| damaged(&path, NO_RECORD))?);
            }
            Ok(())
        })?;
        let file = match found {
            Some(file) => file,
            None => FrameFile::create(&path, MAGIC)?,
        };
        Ok(Self::of(file))
    }

    /// An empty journal in any storage.
    #[cfg(test)]
    pub(crate) fn on(storage: std::sync::Arc<dyn redb::StorageBackend>) -> std::io::Result<Self> {
        Ok(Self::of(FrameFile::begin(storage, Path::new(JOURNAL_FILE), MAGIC)?))
    }

    /// The journal that `file` holds.
    pub(super) fn of(file: FrameFile) -> Self {
        Self { written: Mutex::new(Written { file, compacted: 0 }), compacting: Mutex::default() }
    }

    /// Writes `batch`, whole, and empties it. The process may end then, and its records are found; a power failure may take them.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails. The file is as before then, and so is `batch`: the same call may be tried again.
    pub fn append(&self, batch: &mut Batch) -> Result<(), StateError> {
        // Held while writing, as the file knows no order but that of its bytes; what is written goes to the system's memory only.
        self.written().file.append(&mut batch.0)
    }

    /// Gives every record to `visit`, in the order they were appended, up to now.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    ///
    /// # Blocking
    ///
    /// Reads the whole file.
    pub fn read(&self, mut visit: impl FnMut(Record)) -> Result<(), StateError> {
        // Nobody may put another file in the place of this one meanwhile.
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let (reader, end) = {
            let written = self.written();
            (written.file.reader().clone(), written.file.len())
        };
        reader.walk(FILE_HEAD_BYTES as u64, end, |_, payload| {
            for record in Records(payload) {
                visit(record.and_then(|record| record.decode()).ok_or_else(|| damaged(reader.path(), NO_RECORD))?);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Whether the file has grown so far that [`compact`](Self::compact) is due.
    pub fn is_long(&self) -> bool {
        let written = self.written();
        written.file.len() > COMPACT_BYTES_MIN.max(2 * written.compacted)
    }

    /// Replaces the file by one that holds the records to which `counts` says yes, by their watch and sequence, and who receives
    /// events. Appends go on meanwhile; what they append is in it.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails; no record is lost then.
    ///
    /// # Blocking
    ///
    /// Reads the whole file, and waits for the disk.
    pub fn compact(&self, mut counts: impl FnMut(WatchId, u64) -> bool) -> Result<(), StateError> {
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let (reader, end) = {
            let written = self.written();
            (written.file.reader().clone(), written.file.len())
        };
        let mut copy = Copy { file: FrameFile::create_beside(reader.path(), MAGIC)?, batch: Frames::default(), receivers: None };
        let compacted = copy.take(&reader, (FILE_HEAD_BYTES as u64, end), &mut counts).and_then(|()| {
            copy.file.sync()?;
            // What was appended meanwhile is as little synced as in any other file.
            let mut written = self.written();
            let grown = (end, written.file.len());
            copy.take(&reader, grown, &mut |_, _| true)?;
            copy.file.rename()?;
            written.compacted = copy.file.len();
            mem::swap(&mut written.file, &mut copy.file);
            Ok(())
        });
        if let Err(error) = compacted {
            copy.file.remove_beside();
            return Err(error);
        }
        sync_folder_of(reader.path())
    }

    /// Makes the file again, with every record, where it was removed or moved away; the folder must be there. Nothing but a few
    /// system calls where it was not.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails; no record is lost then.
    pub fn restore(&self) -> Result<(), StateError> {
        let is_in_place = self.written().file.is_in_place()?;
        if is_in_place { Ok(()) } else { self.compact(|_, _| true) }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies what counts into another file.
struct Copy {
    file: FrameFile,
    batch: Frames,
    /// The last record of who receives events: written before the next one of an event, and at the end.
    receivers: Option<Vec<u8>>,
}

impl Copy {
    /// Copies what counts between two places.
    fn take(
        &mut self,
        reader: &FrameReader,
        (begin, end): (u64, u64),
        counts: &mut dyn FnMut(WatchId, u64) -> bool,
    ) -> Result<(), StateError> {
        let copied = reader.walk(begin, end, |_, payload| {
            for record in Records(payload) {
                let record = record.ok_or_else(|| damaged(reader.path(), NO_RECORD))?;
                match record.event() {
                    None => self.receivers = Some(record.bytes.to_owned()),
                    Some((watch, sequence)) if counts(watch, sequence) => self.put(record.bytes)?,
                    Some(_) => {}
                }
            }
            Ok(())
        })?;
        if copied < end {
            return Err(damaged(reader.path(), format!("what was written at byte {copied} has changed")));
        }
        self.end()
    }

    fn put(&mut self, record: &[u8]) -> Result<(), StateError> {
        if let Some(receivers) = self.receivers.take() {
            self.batch.record().extend_from_slice(&receivers);
        }
        self.batch.record().extend_from_slice(record);
        if self.batch.len() < COMPACT_BATCH_BYTES { Ok(()) } else { self.file.append(&mut self.batch) }
    }

    fn end(&mut self) -> Result<(), StateError> {
        if let Some(receivers) = self.receivers.take() {
            self.batch.record().extend_from_slice(&receivers);
        }
        self.file.append(&mut self.batch)
    }
}
