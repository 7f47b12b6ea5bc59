//! Which entries of the log still count, and how much of it that is.
//!
//! Takes every entry in the order of the log; knows for each subject the row that holds its last one. Subjects are kept as
//! 128 bits of hash, keyed anew in each process, so that an object costs 40 to 75 bytes, as
//! full as the table is, and no chosen names can collide.

use super::entry::{Entry, Kind};
use crate::api::WatchId;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// The entries of the log that count.
#[derive(Debug, Default)]
pub(super) struct Index {
    keyer: Keyer,
    watches: HashMap<WatchId, Subjects>,
    live_bytes: u64,
}

/// A subject's hash.
pub(super) type Key = [u64; 2];
/// Subjects are hashed already.
pub(super) type KeySet = HashSet<Key, BuildHasherDefault<Hashed>>;
type KeyMap = HashMap<Key, Place, BuildHasherDefault<Hashed>>;

#[derive(Debug, Default)]
struct Subjects {
    objects: KeyMap,
    told: KeyMap,
}

/// Where a subject's last entry is.
#[derive(Clone, Copy, Debug)]
struct Place {
    row: u64,
    bytes: u32,
}

#[derive(Debug, Default)]
struct Keyer {
    first: RandomState,
    second: RandomState,
}

/// Passes on the first half of a [`Key`].
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Index {
    /// The hash of what `entry` is about.
    pub(super) fn key(&self, entry: &Entry<'_>) -> Key {
        let subject = entry.subject();
        // An object and a told event are subjects apart, though their texts be the same.
        let space = u64::from(matches!(entry.kind, Kind::Told | Kind::Replayed));
        [self.keyer.first.hash_one(subject) ^ space, self.keyer.second.hash_one(subject)]
    }

    /// Takes the next entry, which stands in row `row`.
    pub(super) fn put(&mut self, entry: &Entry<'_>, key: Key, row: u64) {
        let place = Place { row, bytes: u32::try_from(entry.bytes()).unwrap_or(u32::MAX) };
        let replaced = match entry.kind {
            Kind::Known | Kind::Told => {
                self.live_bytes += u64::from(place.bytes);
                self.watches.entry(entry.watch).or_default().of(entry.kind).insert(key, place)
            }
            Kind::Gone | Kind::Replayed => {
                self.watches.get_mut(&entry.watch).and_then(|subjects| subjects.of(entry.kind).remove(&key))
            }
            Kind::ClearTold => {
                if let Some(subjects) = self.watches.get_mut(&entry.watch) {
                    self.live_bytes -= bytes_of(&std::mem::take(&mut subjects.told));
                }
                None
            }
            Kind::Forget => {
                if let Some(subjects) = self.watches.remove(&entry.watch) {
                    self.live_bytes -= bytes_of(&subjects.objects) + bytes_of(&subjects.told);
                }
                None
            }
        };
        self.live_bytes -= replaced.map_or(0, |place| u64::from(place.bytes));
    }

    /// The row of the last entry of what `entry` is about, if that says that there is something.
    pub(super) fn row(&self, entry: &Entry<'_>, key: &Key) -> Option<u64> {
        self.place(entry, key).map(|place| place.row)
    }

    /// Whether `entry`, which stands in row `row`, is the last one of its subject, and says that there is something.
    pub(super) fn counts(&self, entry: &Entry<'_>, key: &Key, row: u64) -> bool {
        match entry.kind {
            Kind::Known | Kind::Told => self.place(entry, key).is_some_and(|place| place.row == row),
            Kind::Gone | Kind::Replayed | Kind::ClearTold | Kind::Forget => false,
        }
    }

    /// What the entries that count take.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    fn place(&self, entry: &Entry<'_>, key: &Key) -> Option<&Place> {
        let subjects = self.watches.get(&entry.watch)?;
        match entry.kind {
            Kind::Known | Kind::Gone => subjects.objects.get(key),
            Kind::Told | Kind::Replayed => subjects.told.get(key),
            Kind::ClearTold | Kind::Forget => None,
        }
    }
}

impl Subjects {
    fn of(&mut self, kind: Kind) -> &mut KeyMap {
        match kind {
            Kind::Known | Kind::Gone | Kind::Forget => &mut self.objects,
            Kind::Told | Kind::Replayed | Kind::ClearTold => &mut self.told,
        }
    }
}

fn bytes_of(subjects: &KeyMap) -> u64 {
    subjects.values().map(|place| u64::from(place.bytes)).sum()
}

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An array of integers hashes as its length and then the bytes of all of them.
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}
