//! The events that subscriptions are owed: those of objects whose receiver refuses them for so long that nobody else waits.
//!
//! Takes the events of an object in order, each with its bytes; gives back the oldest one until it is done, also after a restart.
//! One file a subscription, which is appended to, and rewritten when more than half of it is done. In memory is only where
//! events stand. Promises that a subscription is owed no more bytes than its limit, but for the last state and the delete of each
//! object: what is beyond is skipped where most of it is, and said. The file takes at most twice what is owed and a little more,
//! and once more that while it is rewritten.

mod index;

#[cfg(test)]
mod tests;

use super::frames::{self, FILE_HEAD_BYTES, FRAME_HEAD_BYTES, FrameFile, Frames, Magic, damaged, sync_folder_of};
use super::record::{Fields, write_text};
use super::{OwedEvent, Skipped, StateError};
use crate::api::WatchId;
use crate::chain::chain;
use index::{Entry, Index};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// What the subscriptions of one state folder are owed.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    subscriptions: Mutex<HashMap<String, Arc<Owed>>>,
}

/// What one subscription is owed.
#[derive(Debug)]
pub struct Owed {
    name: String,
    path: PathBuf,
    file: Mutex<OwedFile>,
}

#[derive(Debug)]
struct OwedFile {
    /// `None` until the first event.
    frames: Option<FrameFile>,
    index: Index,
    next: u64,
    /// Which events are done, and not yet in the file.
    done: Vec<u64>,
    batch: Frames,
    is_synced: bool,
    /// Rewritten when it is longer, as far as that pays; a disk without room for that is not asked at every event.
    rewrite_bytes_min: u64,
}

const MAGIC: Magic = *b"FAROOW01";

/// Names of files, before and behind that of a subscription.
const FILE_BEGIN: &str = "owed-";
const FILE_END: &str = ".log";
/// A file that was being made ends so.
const LEFTOVER_END: &str = ".log.new";
/// So much of a subscription's name is in that of its file; file systems allow 255 bytes.
const NAME_CHARS_MAX: usize = 80;

/// So much of a file may be done, whatever is owed.
const SLACK_BYTES: u64 = 1024 * 1024;

/// The first byte of a frame's payload.
const NAME: u8 = 0;
const EVENT: u8 = 1;
const DONE: u8 = 2;

const NO_EVENT: &str = "an event in it is none of faro's";

impl Spill {
    /// Opens what is owed in `folder`, whose lock the caller holds; a folder where nothing is owed has no file of it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is not what this version writes.
    ///
    /// # Blocking
    ///
    /// Reads all files.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let mut subscriptions = HashMap::new();
        for path in files_in(folder)? {
            let owed = Owed::open(path)?;
            subscriptions.insert(owed.name.clone(), Arc::new(owed));
        }
        Ok(Self { folder: folder.to_owned(), subscriptions: Mutex::new(subscriptions) })
    }

    /// What the subscription of this name is owed.
    pub fn of(&self, name: &str) -> Arc<Owed> {
        let mut subscriptions = self.subscriptions();
        let new = || Arc::new(Owed::new(&self.folder, name));
        Arc::clone(subscriptions.entry(name.to_owned()).or_insert_with(new))
    }

    /// The subscriptions of which there is anything, in no order.
    pub fn names(&self) -> Vec<String> {
        self.subscriptions().keys().cloned().collect()
    }

    /// Forgets what a subscription is owed that there is no more.
    ///
    /// # Errors
    ///
    /// When its file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let Some(owed) = self.subscriptions().remove(name) else { return Ok(()) };
        let mut file = owed.file();
        if file.frames.is_some() {
            fs::remove_file(&owed.path).map_err(|source| StateError::Remove { path: owed.path.clone(), source })?;
        }
        *file = OwedFile::new();
        Ok(())
    }

    /// Nothing of a watch is owed to any subscription any longer.
    ///
    /// # Errors
    ///
    /// As for [`Owed::forget`].
    pub fn forget(&self, watch: WatchId) -> Result<(), StateError> {
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        all.iter().try_for_each(|owed| owed.forget(watch))
    }

    /// Makes the files again that were removed or moved away, with all that is owed; the folder must be there. Nothing but a few system
    /// calls where none was.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails; nothing is lost then.
    pub fn restore(&self) -> Result<(), StateError> {
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        all.iter().try_for_each(|owed| owed.restore())
    }

    /// Waits until everything is on the disk that was pushed or popped, of all subscriptions.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails.
    ///
    /// # Blocking
    ///
    /// Waits for the disk, where anything has changed.
    pub fn sync(&self) -> Result<(), StateError> {
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        all.iter().try_for_each(|owed| owed.sync())
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<String, Arc<Owed>>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owed {
    fn new(folder: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), path: folder.join(file_name(name)), file: Mutex::new(OwedFile::new()) }
    }

    fn open(path: PathBuf) -> Result<Self, StateError> {
        let (mut name, mut done) = (None, HashSet::new());
        let frames = FrameFile::open(&path, MAGIC, |_, payload| {
            match payload.split_first() {
                Some((&NAME, text)) => name = std::str::from_utf8(text).ok().map(str::to_owned),
                Some((&DONE, numbers)) => done.extend(numbers.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number))),
                Some((&EVENT, _)) => {}
                Some(_) | None => return Err(damaged(&path, NO_EVENT)),
            }
            Ok(())
        })?;
        let frames = frames.ok_or_else(|| damaged(&path, "it has just been removed"))?;
        let is_named = |name: &String| path.file_name().is_some_and(|file| *file == *file_name(name));
        let name = name.filter(is_named).ok_or_else(|| damaged(&path, "it is another subscription's"))?;
        let mut file = OwedFile::new();
        frames.reader().walk(FILE_HEAD_BYTES as u64, frames.len(), |offset, payload| {
            if payload.first() == Some(&EVENT) {
                let (number, event) = decode(payload).ok_or_else(|| damaged(&path, NO_EVENT))?;
                if !done.contains(&number) {
                    file.index.push(event.watch, event.key, entry_of(&event, number, offset, payload.len()));
                }
            }
            Ok(())
        })?;
        file.frames = Some(frames);
        Ok(Self { name, path, file: Mutex::new(file) })
    }

    fn restore(&self) -> Result<(), StateError> {
        let mut file = self.file();
        let is_in_place = file.frames.as_ref().map_or(Ok(true), FrameFile::is_in_place)?;
        if is_in_place { Ok(()) } else { file.rewrite(self) }
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds the newest event of an object. Where more than `bytes_max` are owed then, the middle states of the objects of which
    /// there are most are skipped, of as many as it takes, and returned; an object's oldest event, the delete of what that is of,
    /// and its newest event are kept.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails. The event is not owed then; the same call may be tried again.
    ///
    /// # Blocking
    ///
    /// Writes to the system's memory; where much of the file is done, waits for the disk.
    pub fn push(&self, event: &OwedEvent<'_>, bytes_max: u64) -> Result<Vec<Skipped>, StateError> {
        let mut file = self.file();
        file.push(self, event)?;
        let mut skipped = Vec::new();
        while file.index.bytes() > bytes_max {
            let Some((watch, key, entries)) = file.index.skip_most() else { break };
            file.done.extend(entries.iter().map(|entry| entry.number));
            skipped.push(Skipped { watch, key, events: entries.len() as u64 });
        }
        file.rewrite_when_due(self);
        Ok(skipped)
    }

    /// The oldest event that is owed of an object, read into `buffer`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    ///
    /// # Blocking
    ///
    /// Reads the event.
    pub fn front<'a>(&self, watch: WatchId, key: &str, buffer: &'a mut Vec<u8>) -> Result<Option<OwedEvent<'a>>, StateError> {
        let (entry, reader) = {
            let file = self.file();
            let Some((entry, frames)) = file.index.front(watch, key).zip(file.frames.as_ref()) else { return Ok(None) };
            (entry, frames.reader().clone())
        };
        reader.payload(entry.offset, entry.payload_bytes(), buffer)?;
        let (_, event) = decode(buffer).ok_or_else(|| damaged(&self.path, NO_EVENT))?;
        Ok(Some(event))
    }

    /// The oldest event that is owed of an object is done, and owed no longer, whatever this returns.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails: should the process end before a later call succeeds, the event is owed again.
    pub fn pop(&self, watch: WatchId, key: &str) -> Result<(), StateError> {
        let mut file = self.file();
        if let Some(entry) = file.index.pop(watch, key) {
            file.done.push(entry.number);
        }
        file.write_done(self)
    }

    /// Nothing of a watch is owed any longer.
    ///
    /// # Errors
    ///
    /// As for [`pop`](Self::pop).
    pub fn forget(&self, watch: WatchId) -> Result<(), StateError> {
        let mut file = self.file();
        let forgotten = file.index.forget(watch);
        file.done.extend(forgotten.iter().map(|entry| entry.number));
        file.write_done(self)
    }

    /// Every object of which something is owed, with how many events that is, in no order.
    pub fn objects(&self) -> Vec<(WatchId, Arc<str>, usize)> {
        self.file().index.objects().map(|(watch, key, events)| (watch, Arc::clone(key), events)).collect()
    }

    /// How many events of an object are owed.
    pub fn events_of(&self, watch: WatchId, key: &str) -> usize {
        self.file().index.events_of(watch, key)
    }

    /// How many events are owed in all.
    pub fn events(&self) -> usize {
        self.file().index.events()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> u64 {
        self.file().index.bytes()
    }

    /// Waits until everything is on the disk that was pushed or popped.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails.
    ///
    /// # Blocking
    ///
    /// Waits for the disk, where anything has changed.
    pub fn sync(&self) -> Result<(), StateError> {
        let reader = {
            let mut file = self.file();
            file.write_done(self)?;
            let Some(frames) = file.frames.as_ref().filter(|_| !file.is_synced) else { return Ok(()) };
            let reader = frames.reader().clone();
            file.is_synced = true;
            reader
        };
        // What is pushed meanwhile is for the next time.
        reader.sync().inspect_err(|_| self.file().is_synced = false)
    }

    fn file(&self) -> MutexGuard<'_, OwedFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwedFile {
    fn new() -> Self {
        // Random, so that no number of an event is that of another one which an earlier run has written and cut off.
        let next = fastrand::u64(..=u64::MAX / 2);
        let (frames, index, done, batch) = Default::default();
        Self { frames, index, next, done, batch, is_synced: true, rewrite_bytes_min: 0 }
    }

    fn push(&mut self, owed: &Owed, event: &OwedEvent<'_>) -> Result<(), StateError> {
        self.batch.clear();
        put_done(&self.done, &mut self.batch);
        let begin = self.batch.len();
        encode(self.batch.begin(), self.next, event);
        let payload_bytes = self.batch.len() - begin - FRAME_HEAD_BYTES;
        let offset = self.append(owed)? + begin as u64;
        self.index.push(event.watch, event.key, entry_of(event, self.next, offset, payload_bytes));
        self.next += 1;
        Ok(())
    }

    /// Writes what is done. Where nothing is owed any more the file has nothing to say.
    fn write_done(&mut self, owed: &Owed) -> Result<(), StateError> {
        if self.done.is_empty() {
            return Ok(());
        }
        if self.index.events() == 0 {
            return self.begin_again(owed);
        }
        self.batch.clear();
        put_done(&self.done, &mut self.batch);
        self.append(owed)?;
        self.rewrite_when_due(owed);
        Ok(())
    }

    fn begin_again(&mut self, owed: &Owed) -> Result<(), StateError> {
        if let Some(frames) = &mut self.frames {
            frames.cut_at(frames_begin(&owed.name))?;
            // Before anything new stands where the old was: a power failure may not mix them.
            frames.sync()?;
        }
        (self.is_synced, self.rewrite_bytes_min) = (true, 0);
        self.done.clear();
        Ok(())
    }

    /// Appends the batch, in which everything that is done stands. Returns where it begins.
    fn append(&mut self, owed: &Owed) -> Result<u64, StateError> {
        let frames = match &mut self.frames {
            Some(frames) => frames,
            none @ None => none.insert(create(owed)?),
        };
        let begin = frames.len();
        frames.append(&mut self.batch)?;
        self.is_synced = false;
        self.done.clear();
        Ok(begin)
    }

    /// Rewrites the file, when more than half of it is done.
    fn rewrite_when_due(&mut self, owed: &Owed) {
        let Some(frames) = &self.frames else { return };
        let (length, live) = (frames.len(), self.index.bytes());
        if length < self.rewrite_bytes_min || length - live < live.max(SLACK_BYTES) {
            return;
        }
        match self.rewrite(owed) {
            Ok(()) => self.rewrite_bytes_min = 0,
            Err(error) => {
                log::warn!("{}; it grows meanwhile, and is rewritten later", chain(&error));
                self.rewrite_bytes_min = length + SLACK_BYTES;
            }
        }
    }

    fn rewrite(&mut self, owed: &Owed) -> Result<(), StateError> {
        let Some(old) = self.frames.as_ref().map(|frames| frames.reader().clone()) else { return Ok(()) };
        let mut new = create_beside(owed)?;
        let mut entries: Vec<&mut Entry> = self.index.entries_mut().collect();
        entries.sort_unstable_by_key(|entry| entry.offset);
        let (mut places, mut payload) = (Vec::with_capacity(entries.len()), Vec::new());
        let copied = entries.iter().try_for_each(|entry| {
            old.payload(entry.offset, entry.payload_bytes(), &mut payload)?;
            self.batch.clear();
            self.batch.begin().extend_from_slice(&payload);
            places.push(new.len());
            new.append(&mut self.batch)
        });
        if let Err(error) = copied.and_then(|()| new.sync()).and_then(|()| new.rename()) {
            new.remove_beside();
            return Err(error);
        }
        entries.into_iter().zip(places).for_each(|(entry, place)| entry.offset = place);
        self.frames = Some(new);
        self.done.clear();
        sync_folder_of(&owed.path)
    }
}

fn create(owed: &Owed) -> Result<FrameFile, StateError> {
    let file = create_beside(owed)?;
    let made = file.sync().and_then(|()| file.rename()).and_then(|()| sync_folder_of(&owed.path));
    if made.is_err() {
        file.remove_beside();
    }
    made.map(|()| file)
}

/// A file in which stands whose it is.
fn create_beside(owed: &Owed) -> Result<FrameFile, StateError> {
    let mut file = FrameFile::create_beside(&owed.path, MAGIC)?;
    let mut name = Frames::default();
    let payload = name.begin();
    payload.push(NAME);
    payload.extend_from_slice(owed.name.as_bytes());
    file.append(&mut name).inspect_err(|_| file.remove_beside())?;
    Ok(file)
}

/// Where the frames begin that come after the name.
fn frames_begin(name: &str) -> u64 {
    (FILE_HEAD_BYTES + FRAME_HEAD_BYTES + 1 + name.len()) as u64
}

fn put_done(done: &[u64], batch: &mut Frames) {
    if !done.is_empty() {
        let payload = batch.begin();
        payload.push(DONE);
        done.iter().for_each(|number| payload.extend_from_slice(&number.to_le_bytes()));
    }
}

/// Writes an event's frame: its kind, number, watch, flags, whether it is a delete, and when it was received; key and uid, each with
/// its length before it; the object.
fn encode(out: &mut Vec<u8>, number: u64, event: &OwedEvent<'_>) {
    let received = event.received.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    out.push(EVENT);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&event.watch.to_bits().to_le_bytes());
    out.extend_from_slice(&[event.flags, u8::from(event.is_deleted)]);
    out.extend_from_slice(&u64::try_from(received).unwrap_or(u64::MAX).to_le_bytes());
    write_text(out, event.key);
    write_text(out, event.uid);
    out.extend_from_slice(event.raw);
}

/// The event of a frame, and its number.
fn decode(payload: &[u8]) -> Option<(u64, OwedEvent<'_>)> {
    let mut fields = Fields(payload.strip_prefix(&[EVENT])?);
    let (number, watch) = (fields.number()?, WatchId::from_bits(fields.number()?));
    let [flags, is_deleted] = fields.array()?;
    let received = UNIX_EPOCH.checked_add(Duration::from_micros(fields.number()?))?;
    let (key, uid) = (fields.text()?, fields.text()?);
    Some((number, OwedEvent { watch, key, uid, is_deleted: is_deleted != 0, flags, received, raw: fields.0 }))
}

fn entry_of(event: &OwedEvent<'_>, number: u64, offset: u64, payload_bytes: usize) -> Entry {
    Entry::new(number, offset, payload_bytes, frames::hash(event.uid.as_bytes()), event.is_deleted)
}

/// The files of owed events in `folder`, without what a crash left of others.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, StateError> {
    let cannot_read = |source: io::Error| StateError::Open { path: folder.to_owned(), source: source.into() };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot_read)? {
        let path = entry.map_err(cannot_read)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(FILE_BEGIN) && name.ends_with(LEFTOVER_END) {
            fs::remove_file(&path).map_err(|source| StateError::Remove { path: path.clone(), source })?;
        } else if name.starts_with(FILE_BEGIN) && name.ends_with(FILE_END) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The name of a subscription's file: what of its name is harmless everywhere, and a hash of all of it.
fn file_name(name: &str) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let begin: String = name.chars().take(NAME_CHARS_MAX).map(harmless).collect();
    format!("{FILE_BEGIN}{begin}-{:016x}{FILE_END}", frames::hash(name.as_bytes()))
}
