//! What of each known object is held in memory: enough to tell whether something of it is new.

use super::table::{Keyer, Record, Table, TextKey};
use super::{Identity, ObjectRef, ResourceVersion};

/// Of every object of one watch that was told, and not yet told as deleted, who it is and its version; not its names, which
/// whoever remembers it has.
#[derive(Clone, Debug, Default)]
pub struct Known {
    keyer: Keyer,
    objects: Table<KnownObject>,
    /// Reused for looking up: namespace and name as [`Identity`] holds them.
    key: String,
}

/// One object: 32 bytes, however long its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownObject {
    /// Of its [`Identity::key`], in its parts, so that nothing is lost to alignment.
    key_high: u64,
    key_low: u32,
    /// The list that saw it last.
    seen: u32,
    /// Of its uid.
    uid: u64,
    /// Its number, or a hash of what is none with the highest bit set.
    version: u64,
}

const NO_NUMBER: u64 = 1 << 63;

impl Known {
    /// Nothing, to be known by keys of `keyer`.
    pub fn new(keyer: Keyer) -> Self {
        Self { keyer, ..Self::default() }
    }

    /// By what the objects are known.
    pub fn keyer(&self) -> &Keyer {
        &self.keyer
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes an object in, in the place of the one of its key.
    pub fn insert(&mut self, identity: &Identity) {
        self.objects.insert(self.record(identity));
    }

    /// Forgets the object of this [`Identity::key`].
    pub fn remove(&mut self, key: &str) {
        self.objects.remove(self.keyer.key(key));
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<TextKey> {
        self.objects.iter().map(Record::key).collect()
    }

    /// Whether exactly this is known: the same uid and version under the same key.
    pub fn holds(&self, identity: &Identity) -> bool {
        let record = self.record(identity);
        self.get(record.key()).is_some_and(|known| known.has_uid_of(&record) && known.has_version_of(&record))
    }

    /// The key of `object`.
    pub(crate) fn key_of(&mut self, object: &ObjectRef<'_>) -> TextKey {
        Identity::write_key(&mut self.key, object);
        self.keyer.key(&self.key)
    }

    /// `object` as it would be known, by its key.
    pub(crate) fn record_of(&self, key: TextKey, object: &ObjectRef<'_>, seen: u32) -> KnownObject {
        KnownObject::of(key, seen, self.keyer.hash(object.uid_json()), self.version_of(&object.resource_version()))
    }

    /// What a uid is known by.
    pub(crate) fn uid_of(&self, uid_json: &str) -> u64 {
        self.keyer.hash(uid_json)
    }

    pub(crate) fn get(&self, key: TextKey) -> Option<&KnownObject> {
        self.objects.get(key)
    }

    pub(crate) fn see(&mut self, key: TextKey, seen: u32) {
        if let Some(object) = self.objects.get_mut(key) {
            object.seen = seen;
        }
    }

    pub(crate) fn put(&mut self, object: KnownObject) -> Option<KnownObject> {
        self.objects.insert(object)
    }

    pub(crate) fn take(&mut self, key: TextKey) -> Option<KnownObject> {
        self.objects.remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KnownObject> + '_ {
        self.objects.iter()
    }

    fn record(&self, identity: &Identity) -> KnownObject {
        let version = ResourceVersion::new(identity.version()).map_or(NO_NUMBER, |version| self.version_of(&version));
        KnownObject::of(self.keyer.key(identity.key()), 0, self.keyer.hash(identity.uid_json()), version)
    }

    fn version_of(&self, version: &ResourceVersion) -> u64 {
        let number = version.number().filter(|number| *number < NO_NUMBER);
        number.unwrap_or_else(|| self.keyer.hash(version.as_str()) | NO_NUMBER)
    }
}

impl KnownObject {
    fn of(key: TextKey, seen: u32, uid: u64, version: u64) -> Self {
        Self { key_high: key.high, key_low: key.low, seen, uid, version }
    }

    pub(crate) fn seen(&self) -> u32 {
        self.seen
    }

    /// What its uid is known by.
    pub(crate) fn uid(&self) -> u64 {
        self.uid
    }

    pub(crate) fn has_uid_of(&self, other: &Self) -> bool {
        self.uid == other.uid
    }

    pub(crate) fn has_version_of(&self, other: &Self) -> bool {
        self.version == other.version
    }

    /// Whether its version has a higher number.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.version < NO_NUMBER && other.version < NO_NUMBER && self.version > other.version
    }
}

impl Record for KnownObject {
    const EMPTY: Self = Self { key_high: 0, key_low: 0, seen: 0, uid: 0, version: 0 };

    fn key(&self) -> TextKey {
        TextKey { high: self.key_high, low: self.key_low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_costs_32_bytes_of_the_table() {
        assert_eq!(size_of::<KnownObject>(), 32);
    }

    #[test]
    fn versions_are_compared_as_texts_and_ordered_as_numbers() {
        let known = Known::default();
        let version = |text: &str| known.version_of(&ResourceVersion::new(text).unwrap());
        assert_eq!((version("7"), version("0")), (7, 0));
        for other in ["07", "7 ", "a7", "9223372036854775808", "18446744073709551615", "00"] {
            assert!(version(other) >= NO_NUMBER, "{other}");
            assert_eq!(version(other), version(other));
        }
        assert_ne!(version("07"), version("007"));
    }
}
