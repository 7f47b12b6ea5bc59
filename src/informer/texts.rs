//! Where the names, labels and annotations of known objects are: with whoever remembers them on a disk, or here.

use crate::api::{Identity, Keyer, Record, Table, TextKey};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Remembers the objects of one watch, also those whose events are still on their way.
pub trait Recall: Send + Sync {
    /// What is remembered of the objects of these keys, in no order; `None` while that cannot be had. Of one of which nothing is
    /// remembered there is nothing.
    ///
    /// # Blocking
    ///
    /// While it is read from a disk.
    fn recall(&self, keys: &[TextKey]) -> Option<Vec<Identity>>;
}

/// How much of labels and annotations the informers of one server hold in memory, where nobody remembers them on a disk: what is
/// beyond [`TEXT_BYTES_MAX`] is not remembered, and missing from a `DELETED` that is found by comparison. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TextBudget(Arc<AtomicUsize>);

/// All labels and annotations that are held for the watches of one server where there is no state.
pub const TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(super) enum Texts {
    There(Arc<dyn Recall>),
    Here(Archive),
}

/// Identities by their keys.
#[derive(Debug, Default)]
pub(super) struct Archive {
    places: Table<Place>,
    identities: Vec<Option<Identity>>,
    free: Vec<u32>,
    budget: TextBudget,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key_high: u64,
    key_low: u32,
    index: u32,
}

impl Record for Place {
    const EMPTY: Self = Self { key_high: 0, key_low: 0, index: 0 };

    fn key(&self) -> TextKey {
        TextKey { high: self.key_high, low: self.key_low }
    }
}

impl Texts {
    pub(super) fn here(budget: &TextBudget) -> Self {
        let mut archive = Archive::default();
        archive.budget = budget.clone();
        Self::Here(archive)
    }

    pub(super) fn put(&mut self, key: TextKey, identity: impl FnOnce() -> Identity) {
        match self {
            Self::There(_) => {}
            Self::Here(archive) => archive.put(key, identity()),
        }
    }

    pub(super) fn remove(&mut self, key: TextKey) {
        match self {
            Self::There(_) => {}
            Self::Here(archive) => archive.remove(key),
        }
    }

    pub(super) fn recall(&self, keys: &[TextKey], keyer: &Keyer) -> Option<Vec<(TextKey, Identity)>> {
        match self {
            Self::There(recall) => {
                let found = recall.recall(keys)?;
                Some(found.into_iter().map(|identity| (keyer.key(identity.key()), identity)).collect())
            }
            Self::Here(archive) => Some(keys.iter().filter_map(|key| Some((*key, archive.get(*key)?.clone()))).collect()),
        }
    }
}

impl Archive {
    fn get(&self, key: TextKey) -> Option<&Identity> {
        self.identities.get(self.places.get(key)?.index as usize)?.as_ref()
    }

    fn put(&mut self, key: TextKey, identity: Identity) {
        self.remove(key);
        let bytes = identity.maps_bytes();
        let is_kept = self.budget.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= TEXT_BYTES_MAX;
        let identity = if is_kept {
            self.bytes += bytes;
            identity
        } else {
            self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
            identity.without_maps()
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.identities.push(None);
            u32::try_from(self.identities.len() - 1).expect("fewer than 4 billion objects")
        });
        self.identities[index as usize] = Some(identity);
        self.places.insert(Place { key_high: key.high, key_low: key.low, index });
    }

    fn remove(&mut self, key: TextKey) {
        let Some(Place { index, .. }) = self.places.remove(key) else { return };
        let bytes = self.identities[index as usize].take().map_or(0, |identity| identity.maps_bytes());
        self.give_back(bytes);
        self.free.push(index);
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::There(_) => "There(..)",
            Self::Here(_) => "Here(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: usize, labels_bytes: usize) -> Identity {
        let filler = "x".repeat(labels_bytes.saturating_sub(r#"{"a":""}"#.len()));
        Identity::from_text(&format!("n\0{name}\0u\x007\0{{\"a\":\"{filler}\"}}\0")).unwrap()
    }

    #[test]
    fn what_is_beyond_the_budget_is_remembered_by_its_names_alone_and_room_comes_back() {
        let (keyer, budget) = (Keyer::default(), TextBudget::default());
        let (mut one, mut other) = (Texts::here(&budget), Texts::here(&budget));
        let key = |n: usize| keyer.key(&format!("n\0{n}"));
        let half = TEXT_BYTES_MAX / 2;
        one.put(key(1), || identity(1, half));
        other.put(key(2), || identity(2, half));
        other.put(key(3), || identity(3, 100));
        let labels = |texts: &Texts, n: usize| {
            let found = texts.recall(&[key(n)], &keyer).unwrap();
            found[0].1.maps_bytes()
        };
        assert_eq!((labels(&one, 1), labels(&other, 2), labels(&other, 3)), (half, half, 0));
        drop(one);
        other.put(key(3), || identity(3, 100));
        assert_eq!(labels(&other, 3), 100);
        other.remove(key(2));
        assert!(other.recall(&[key(2)], &keyer).unwrap().is_empty());
        other.put(key(4), || identity(4, half));
        assert_eq!((labels(&other, 3), labels(&other, 4)), (100, half));
        drop(other);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
