//! The last known state of each object of one watch: what a comparison needs, never whole objects. Their names, labels and
//! annotations, which an inferred `DELETED` needs, are with whoever remembers them.

use super::texts::Texts;
use super::{Knowledge, TextBudget};
use crate::api::{Identity, Keyer, Known, KnownObject, ObjectRef, Record, TextKey};

/// Every object that was told and not yet told as deleted.
#[derive(Debug)]
pub(super) struct Store {
    known: Known,
    texts: Texts,
    /// The list under way, or the last one.
    list: u32,
}

/// How an object of the server stands to what was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing was told under this namespace and name.
    Unknown,
    /// The same uid and version were told.
    Same,
    /// The same uid was told, with another version.
    Changed,
    /// Another object was told under this namespace and name.
    OtherUid,
}

impl Store {
    /// A store of what an earlier run has told. What is remembered in memory takes its room from `budget`.
    pub(super) fn of(knowledge: Knowledge, budget: &TextBudget) -> Self {
        match knowledge {
            Knowledge::There { known, recall } => Self { known, texts: Texts::There(recall), list: 0 },
            Knowledge::Here(identities) => {
                let mut store = Self { known: Known::default(), texts: Texts::here(budget), list: 0 };
                for identity in identities {
                    store.known.insert(&identity);
                    store.texts.put(store.known.keyer().key(identity.key()), || identity);
                }
                store
            }
        }
    }

    /// What keys are made by.
    pub(super) fn keyer(&self) -> &Keyer {
        self.known.keyer()
    }

    /// How many objects are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Begins a list: what [`see`](Self::see) and [`keep`](Self::keep) do not touch from here on is missing from it.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// What `object` is looked up by.
    pub(super) fn key_of(&mut self, object: &ObjectRef<'_>) -> TextKey {
        self.known.key_of(object)
    }

    /// How `object` stands to what was told. One that is the same is thereby seen by the list under way.
    pub(super) fn see(&mut self, key: TextKey, object: &ObjectRef<'_>) -> Standing {
        let Some(known) = self.known.get(key) else { return Standing::Unknown };
        let record = self.known.record_of(key, object, self.list);
        if !known.has_uid_of(&record) {
            return Standing::OtherUid;
        }
        if !known.has_version_of(&record) {
            return Standing::Changed;
        }
        if known.seen() != self.list {
            self.known.see(key, self.list);
        }
        Standing::Same
    }

    /// Whether the list under way, or the last one, has named a newer state of `object`, or of another that took its name.
    pub(super) fn is_beyond(&self, key: TextKey, object: &ObjectRef<'_>) -> bool {
        let record = self.known.record_of(key, object, self.list);
        self.known.get(key).is_some_and(|known| known.seen() == self.list && known.is_newer_than(&record))
    }

    /// The list under way names the object of this key, of which it says nothing else that can be read.
    pub(super) fn spare(&mut self, key: &str) {
        let key = self.known.keyer().key(key);
        self.known.see(key, self.list);
    }

    /// Remembers `object` as told; `identity` is asked for where that is kept here. Returns whether its key is new.
    pub(super) fn keep(&mut self, key: TextKey, object: &ObjectRef<'_>, identity: impl FnOnce() -> Identity) -> bool {
        self.texts.put(key, identity);
        let record = self.known.record_of(key, object, self.list);
        self.known.put(record).is_none()
    }

    /// Forgets what was told under this key. Returns whether there was something.
    pub(super) fn forget(&mut self, key: TextKey) -> bool {
        self.texts.remove(key);
        self.known.take(key).is_some()
    }

    /// The key of `identity`, where exactly this is known: the same uid and version under the same namespace and name.
    pub(super) fn key_of_known(&self, identity: &Identity) -> Option<TextKey> {
        self.known.holds(identity).then(|| self.keyer().key(identity.key()))
    }

    /// What is remembered of the objects of these keys, in no order; `None` while that cannot be had. Of one of which nothing is
    /// remembered there is nothing.
    ///
    /// # Blocking
    ///
    /// While it is read from a disk.
    pub(super) fn recall(&self, keys: &[TextKey]) -> Option<Vec<(TextKey, Identity)>> {
        self.texts.recall(keys, self.known.keyer())
    }

    /// What the uid of `object` is known by.
    pub(super) fn uid_of(&self, uid_json: &str) -> u64 {
        self.known.uid_of(uid_json)
    }

    /// What the uids of the known objects are known by that the list under way has not seen.
    pub(super) fn missing_uids(&self) -> impl Iterator<Item = u64> + '_ {
        self.known.iter().filter(|known| known.seen() != self.list).map(KnownObject::uid)
    }

    /// The keys of the known objects that the list under way has not seen.
    pub(super) fn missing(&self) -> Vec<TextKey> {
        self.known.iter().filter(|known| known.seen() != self.list).map(Record::key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(store: &mut Store, json: &str) -> Standing {
        let object = ObjectRef::scan(json.as_bytes()).unwrap();
        let key = store.key_of(&object);
        let standing = store.see(key, &object);
        store.keep(key, &object, || Identity::of(&object));
        standing
    }

    fn store() -> Store {
        Store::of(Knowledge::default(), &TextBudget::default())
    }

    fn json(namespace: &str, name: &str, uid: &str, version: &str) -> String {
        format!(r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","uid":"{uid}","resourceVersion":"{version}"}}}}"#)
    }

    #[test]
    fn objects_are_told_apart_by_namespace_and_name_and_compared_by_uid_and_version() {
        let mut store = store();
        for (object, expected) in [
            (json("a", "bc", "u", "1"), Standing::Unknown),
            (json("ab", "c", "u", "1"), Standing::Unknown),
            (json("", "abc", "u", "1"), Standing::Unknown),
            (json("a", "bc", "u", "1"), Standing::Same),
            (json("a", "bc", "u", "01"), Standing::Changed),
            (json("a", "bc", "v", "01"), Standing::OtherUid),
            (json("a", "b\\u0063", "v", "01"), Standing::Unknown),
        ] {
            assert_eq!(see(&mut store, &object), expected, "{object}");
        }
        assert_eq!(store.len(), 4);
    }

    #[test]
    fn what_is_missing_stays_known_until_it_is_forgotten() {
        let mut store = store();
        for name in ["a", "b", "c"] {
            see(&mut store, &json("n", name, "u", "1"));
        }
        store.begin_list();
        see(&mut store, &json("n", "b", "u", "1"));
        let missing = store.missing();
        let mut found = store.recall(&missing).unwrap();
        found.sort_by(|one, other| one.1.key().cmp(other.1.key()));
        assert_eq!(found.iter().map(|(_, identity)| identity.key()).collect::<Vec<_>>(), ["n\0a", "n\0c"]);
        assert!(store.forget(found[0].0) && !store.forget(found[0].0));
        assert_eq!((store.missing(), store.len()), (vec![found[1].0], 2));
        assert_eq!(store.key_of_known(&found[1].1), Some(found[1].0));
        assert_eq!(store.key_of_known(&found[0].1), None);
    }
}
