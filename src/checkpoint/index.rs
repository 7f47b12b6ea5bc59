//! Which entries of the log still count, and how much of it that is.
//!
//! Takes every entry in the order of the log; knows for each subject the row that holds its last one. Subjects are kept as
//! hashes, keyed anew in each process, so that an object costs 27 to 35 bytes, as full as the table is, and no chosen names can
//! collide.

use super::entry::{Entry, Kind};
use crate::api::{Keyer, Record, Table, TextKey, WatchId};
use std::collections::HashMap;

/// The entries of the log that count.
#[derive(Debug, Default)]
pub(super) struct Index {
    keyer: Keyer,
    watches: HashMap<WatchId, Subjects>,
    live_bytes: u64,
}

#[derive(Debug, Default)]
struct Subjects {
    objects: Table<Place>,
    told: Table<Place>,
}

/// Where a subject's last entry is: 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    key_high: u64,
    key_low: u32,
    bytes: u32,
    row: u64,
}

impl Record for Place {
    const EMPTY: Self = Self { key_high: 0, key_low: 0, bytes: 0, row: 0 };

    fn key(&self) -> TextKey {
        TextKey { high: self.key_high, low: self.key_low }
    }
}

/// Sets told events apart from objects, though their texts be the same.
const TOLD: u32 = 1 << 31;

impl Index {
    /// The index of nothing.
    pub(super) fn new(keyer: Keyer) -> Self {
        Self { keyer, ..Self::default() }
    }

    /// By what objects are known.
    pub(super) fn keyer(&self) -> &Keyer {
        &self.keyer
    }

    /// The hash of what `entry` is about.
    pub(super) fn key(&self, entry: &Entry<'_>) -> TextKey {
        let key = self.keyer.key(entry.subject());
        if matches!(entry.kind, Kind::Told | Kind::Replayed) { TextKey { low: key.low ^ TOLD, ..key } } else { key }
    }

    /// The row of the last entry that says that there is the object of this key.
    pub(super) fn row_of_object(&self, watch: WatchId, key: TextKey) -> Option<u64> {
        self.watches.get(&watch)?.objects.get(key).map(|place| place.row)
    }

    /// Takes the next entry, which stands in row `row`.
    pub(super) fn put(&mut self, entry: &Entry<'_>, key: TextKey, row: u64) {
        let bytes = u32::try_from(entry.bytes()).unwrap_or(u32::MAX);
        let place = Place { key_high: key.high, key_low: key.low, bytes, row };
        let replaced = match entry.kind {
            Kind::Known | Kind::Told => {
                self.live_bytes += u64::from(place.bytes);
                self.watches.entry(entry.watch).or_default().of(entry.kind).insert(place)
            }
            Kind::Gone | Kind::Replayed => {
                self.watches.get_mut(&entry.watch).and_then(|subjects| subjects.of(entry.kind).remove(key))
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
    pub(super) fn row(&self, entry: &Entry<'_>, key: TextKey) -> Option<u64> {
        self.place(entry, key).map(|place| place.row)
    }

    /// Whether `entry`, which stands in row `row`, is the last one of its subject, and says that there is something.
    pub(super) fn counts(&self, entry: &Entry<'_>, key: TextKey, row: u64) -> bool {
        match entry.kind {
            Kind::Known | Kind::Told => self.place(entry, key).is_some_and(|place| place.row == row),
            Kind::Gone | Kind::Replayed | Kind::ClearTold | Kind::Forget => false,
        }
    }

    /// What the entries that count take.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    fn place(&self, entry: &Entry<'_>, key: TextKey) -> Option<&Place> {
        let subjects = self.watches.get(&entry.watch)?;
        match entry.kind {
            Kind::Known | Kind::Gone => subjects.objects.get(key),
            Kind::Told | Kind::Replayed => subjects.told.get(key),
            Kind::ClearTold | Kind::Forget => None,
        }
    }
}

impl Subjects {
    fn of(&mut self, kind: Kind) -> &mut Table<Place> {
        match kind {
            Kind::Known | Kind::Gone | Kind::Forget => &mut self.objects,
            Kind::Told | Kind::Replayed | Kind::ClearTold => &mut self.told,
        }
    }
}

fn bytes_of(subjects: &Table<Place>) -> u64 {
    subjects.iter().map(|place| u64::from(place.bytes)).sum()
}
