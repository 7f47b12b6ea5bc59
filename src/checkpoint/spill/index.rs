//! Which events one subscription is owed, object by object: where they stand in the file, and which of them may be skipped.
//!
//! Pure bookkeeping: reads and writes nothing. An event costs 40 bytes of memory, whatever its object's size.

use crate::api::WatchId;
use crate::checkpoint::frames::FRAME_HEAD_BYTES;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// The owed events of one subscription, in the order they came, by object.
#[derive(Debug, Default)]
pub(super) struct Index {
    watches: HashMap<WatchId, HashMap<Arc<str>, Queue>>,
    /// The objects of which something may be skipped, by how many bytes that is.
    skippable: BTreeSet<(u64, WatchId, Arc<str>)>,
    bytes: u64,
    events: usize,
}

/// One owed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number in the file, by which it is marked as done.
    pub(super) number: u64,
    pub(super) offset: u64,
    /// Of its whole frame.
    pub(super) bytes: u32,
    /// A hash of the object's uid.
    pub(super) uid: u64,
    pub(super) is_deleted: bool,
}

/// The owed events of one object.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: u64,
    /// The delete of the object that the first event is of: the receiver may know that one, and no later one of its name.
    delete: Option<Entry>,
}

impl Entry {
    pub(super) fn new(number: u64, offset: u64, payload_bytes: usize, uid: u64, is_deleted: bool) -> Self {
        let bytes = u32::try_from(FRAME_HEAD_BYTES + payload_bytes).expect("an event is shorter than 4 GiB");
        Self { number, offset, bytes, uid, is_deleted }
    }

    /// How long its frame's payload is.
    pub(super) fn payload_bytes(&self) -> usize {
        self.bytes as usize - FRAME_HEAD_BYTES
    }
}

impl Index {
    /// What all events take in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many events there are.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Every object that is owed something, with how many events that is, in no order.
    pub(super) fn objects(&self) -> impl Iterator<Item = (WatchId, &Arc<str>, usize)> {
        self.watches.iter().flat_map(|(watch, objects)| objects.iter().map(|(key, queue)| (*watch, key, queue.entries.len())))
    }

    /// The oldest event of an object.
    pub(super) fn front(&self, watch: WatchId, key: &str) -> Option<Entry> {
        self.watches.get(&watch)?.get(key)?.entries.front().copied()
    }

    /// How many events of an object there are.
    pub(super) fn events_of(&self, watch: WatchId, key: &str) -> usize {
        self.watches.get(&watch).and_then(|objects| objects.get(key)).map_or(0, |queue| queue.entries.len())
    }

    /// Adds the newest event of an object.
    pub(super) fn push(&mut self, watch: WatchId, key: &str, entry: Entry) {
        let objects = self.watches.entry(watch).or_default();
        if !objects.contains_key(key) {
            objects.insert(key.into(), Queue::default());
        }
        self.change(watch, key, |queue| queue.push(entry));
    }

    /// Takes the oldest event of an object.
    pub(super) fn pop(&mut self, watch: WatchId, key: &str) -> Option<Entry> {
        let popped = self.change(watch, key, Queue::pop)??;
        self.forget_empty(watch, key);
        Some(popped)
    }

    /// Takes what may be skipped of the object of which that is most: all but its oldest event, the delete of the object that one
    /// is of, and its newest event. `None` when nothing may be.
    pub(super) fn skip_most(&mut self) -> Option<(WatchId, Arc<str>, Vec<Entry>)> {
        let (_, watch, key) = self.skippable.last()?.clone();
        let skipped = self.change(watch, &key, Queue::skip)?;
        Some((watch, key, skipped))
    }

    /// Takes every event of a watch.
    pub(super) fn forget(&mut self, watch: WatchId) -> Vec<Entry> {
        let keys: Vec<_> = self.watches.get(&watch).into_iter().flat_map(HashMap::keys).cloned().collect();
        let mut forgotten = Vec::new();
        for key in keys {
            let taken = self.change(watch, &key, |queue| std::mem::take(queue).entries);
            forgotten.extend(taken.into_iter().flatten());
        }
        self.watches.remove(&watch);
        forgotten
    }

    /// Every event, to say where it stands from now on.
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.watches.values_mut().flat_map(HashMap::values_mut).flat_map(|queue| queue.entries.iter_mut())
    }

    /// Does what changes a queue, and keeps the sums.
    fn change<T>(&mut self, watch: WatchId, key: &str, step: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let objects = self.watches.get_mut(&watch)?;
        let key = Arc::clone(objects.get_key_value(key)?.0);
        let queue = objects.get_mut(&key)?;
        let (bytes, events, skippable) = (queue.bytes, queue.entries.len(), queue.skippable_bytes());
        let done = step(queue);
        self.bytes = self.bytes - bytes + queue.bytes;
        self.events = self.events - events + queue.entries.len();
        let now = queue.skippable_bytes();
        if now != skippable {
            if skippable > 0 {
                self.skippable.remove(&(skippable, watch, Arc::clone(&key)));
            }
            if now > 0 {
                self.skippable.insert((now, watch, key));
            }
        }
        Some(done)
    }

    fn forget_empty(&mut self, watch: WatchId, key: &str) {
        let Some(objects) = self.watches.get_mut(&watch) else { return };
        if objects.get(key).is_some_and(|queue| queue.entries.is_empty()) {
            objects.remove(key);
        }
        if objects.is_empty() {
            self.watches.remove(&watch);
        }
    }
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        self.bytes += u64::from(entry.bytes);
        if self.delete.is_none() && entry.is_deleted && self.entries[0].uid == entry.uid {
            self.delete = Some(entry);
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let popped = self.entries.pop_front()?;
        self.bytes -= u64::from(popped.bytes);
        let is_same = self.entries.front().is_some_and(|front| front.uid == popped.uid);
        if !is_same || self.delete == Some(popped) {
            self.find_delete();
        }
        Some(popped)
    }

    fn skip(&mut self) -> Vec<Entry> {
        let kept = [self.entries.front(), self.delete.as_ref(), self.entries.back()].map(|entry| entry.map(|entry| entry.number));
        let (kept, skipped): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| kept.contains(&Some(entry.number)));
        self.entries = kept.into();
        self.bytes = self.entries.iter().map(|entry| u64::from(entry.bytes)).sum();
        skipped
    }

    fn find_delete(&mut self) {
        let uid = self.entries.front().map(|front| front.uid);
        self.delete = self.entries.iter().find(|entry| entry.is_deleted && Some(entry.uid) == uid).copied();
    }

    /// All but the oldest, its delete, and the newest.
    fn skippable_bytes(&self) -> u64 {
        let (Some(front), Some(back)) = (self.entries.front(), self.entries.back()) else { return 0 };
        let mut kept = u64::from(front.bytes);
        if back.number != front.number {
            kept += u64::from(back.bytes);
        }
        if let Some(delete) = self.delete.filter(|delete| delete.number != front.number && delete.number != back.number) {
            kept += u64::from(delete.bytes);
        }
        self.bytes - kept
    }
}
