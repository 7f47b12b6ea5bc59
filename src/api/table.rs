//! A hash table of small records, each of which holds its key: for what there are a hundred thousand of.
//!
//! It grows by a quarter, not to twice its size, and is at least seven tenths full where it holds more than a few, so that a record
//! of 32 bytes costs 36 to 46. Keys are hashes already, keyed anew in each process: no chosen names can collide.

use std::hash::{BuildHasher, RandomState};

/// What a text is known by: 96 bits of keyed hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextKey {
    pub(crate) high: u64,
    pub(crate) low: u32,
}

/// Makes [`TextKey`]s. Those of its clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Keyer {
    first: RandomState,
    second: RandomState,
}

/// What a [`Table`] holds.
pub(crate) trait Record: Copy {
    /// Never [`TextKey::NONE`].
    fn key(&self) -> TextKey;

    /// Whose key is [`TextKey::NONE`].
    const EMPTY: Self;
}

/// Records by their keys, with open addressing: each stands at the place that its key names, or in the first free one behind it.
#[derive(Clone, Debug)]
pub(crate) struct Table<R> {
    slots: Box<[R]>,
    len: usize,
}

/// How many of a hundred places are taken at most.
const FULL_PERCENT: usize = 90;

/// Places of the smallest table that is not empty.
const SLOTS_MIN: usize = 8;

impl TextKey {
    /// The key of no text.
    pub const NONE: Self = Self { high: 0, low: 0 };

    fn of_some(self) -> Self {
        if self == Self::NONE { Self { high: 0, low: 1 } } else { self }
    }
}

impl Keyer {
    /// The key of a text.
    pub fn key(&self, text: &str) -> TextKey {
        // The low half of a keyed hash is a keyed hash.
        let low = self.second.hash_one(text) as u32;
        TextKey { high: self.first.hash_one(text), low }.of_some()
    }

    /// Tells texts of one key from each other: 64 bits.
    pub(crate) fn hash(&self, text: &str) -> u64 {
        self.first.hash_one(text)
    }
}

impl<R: Record> Table<R> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: TextKey) -> Option<&R> {
        self.find(key).ok().map(|place| &self.slots[place])
    }

    pub(crate) fn get_mut(&mut self, key: TextKey) -> Option<&mut R> {
        self.find(key).ok().map(|place| &mut self.slots[place])
    }

    /// Puts a record in the place of that with its key, and gives that one.
    pub(crate) fn insert(&mut self, record: R) -> Option<R> {
        if let Some(known) = self.get_mut(record.key()) {
            return Some(std::mem::replace(known, record));
        }
        if (self.len + 1) * 100 > self.slots.len() * FULL_PERCENT {
            self.resize(self.slots.len() + (self.slots.len() / 4).max(SLOTS_MIN));
        }
        self.put(record);
        self.len += 1;
        None
    }

    pub(crate) fn remove(&mut self, key: TextKey) -> Option<R> {
        let mut hole = self.find(key).ok()?;
        let removed = self.slots[hole];
        let mut at = hole;
        loop {
            at = self.next(at);
            let record = self.slots[at];
            if record.key() == TextKey::NONE {
                break;
            }
            // One that stands behind its own place moves up, unless that is behind the hole.
            let home = self.home(record.key());
            if self.distance(home, at) >= self.distance(hole, at) {
                self.slots[hole] = record;
                hole = at;
            }
        }
        self.slots[hole] = R::EMPTY;
        self.len -= 1;
        // A table that was ever large is not for ever.
        if self.len * 4 < self.slots.len() && self.slots.len() > SLOTS_MIN {
            self.resize((self.len * 100).div_ceil(FULL_PERCENT - 10).max(SLOTS_MIN));
        }
        Some(removed)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> + '_ {
        self.slots.iter().filter(|record| record.key() != TextKey::NONE)
    }

    /// The place of `key`, or the free one where it would be.
    fn find(&self, key: TextKey) -> Result<usize, ()> {
        if self.slots.is_empty() {
            return Err(());
        }
        let mut at = self.home(key);
        loop {
            let found = self.slots[at].key();
            if found == key {
                return Ok(at);
            }
            if found == TextKey::NONE {
                return Err(());
            }
            at = self.next(at);
        }
    }

    fn put(&mut self, record: R) {
        let mut at = self.home(record.key());
        while self.slots[at].key() != TextKey::NONE {
            at = self.next(at);
        }
        self.slots[at] = record;
    }

    fn resize(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, vec![R::EMPTY; slots].into());
        before.iter().filter(|record| record.key() != TextKey::NONE).for_each(|record| self.put(*record));
    }

    fn home(&self, key: TextKey) -> usize {
        let place = (u128::from(key.high) * self.slots.len() as u128) >> u64::BITS;
        usize::try_from(place).expect("less than the number of places")
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// How many places `to` is behind `from`.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { slots: Box::default(), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(TextKey, u32);

    impl Record for Number {
        const EMPTY: Self = Self(TextKey::NONE, 0);

        fn key(&self) -> TextKey {
            self.0
        }
    }

    #[test]
    fn it_holds_what_a_map_holds_however_it_grows_and_shrinks() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut table, mut map) = (Table::default(), HashMap::new());
        for round in 0..40_000_u32 {
            // Keys that crowd around a few places, as no keyed hash makes them.
            let high = u64::from(random.u32(..8)) << 61;
            let key = TextKey { high, low: random.u32(..200) }.of_some();
            let grows = round % 8_000 < 4_000;
            if random.u32(..10) < if grows { 8 } else { 2 } {
                assert_eq!(table.insert(Number(key, round)), map.insert(key, Number(key, round)));
            } else {
                assert_eq!(table.remove(key), map.remove(&key));
            }
            assert_eq!(table.len(), map.len());
            let key = TextKey { high, low: random.u32(..200) }.of_some();
            assert_eq!(table.get(key), map.get(&key));
        }
        let found: HashMap<_, _> = table.iter().map(|number| (number.0, *number)).collect();
        assert_eq!(found, map);
    }

    #[test]
    fn it_is_well_filled_at_any_number() {
        let (keyer, mut table) = (Keyer::default(), Table::default());
        for n in 0..100_000_u32 {
            table.insert(Number(keyer.key(&n.to_string()), n));
            let (len, slots) = (table.len(), table.slots.len());
            assert!(slots * 7 <= len * 10 + 7 * 2 * SLOTS_MIN && len * 10 <= slots * 9, "{len} in {slots}");
        }
        for n in 0..100_000_u32 {
            assert_eq!(table.remove(keyer.key(&n.to_string())).map(|found| found.1), Some(n));
        }
        assert!(table.slots.len() <= 2 * SLOTS_MIN, "{}", table.slots.len());
    }
}
