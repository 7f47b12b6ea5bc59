//! The last known identity of each object of one watch: what a comparison and an inferred `DELETED` need, never whole objects.

use crate::api::{Identity, Object, ObjectRef, ResourceVersion};
use std::collections::HashMap;

/// Every object that was told and not yet told as deleted.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Each object, and the list that saw it last.
    objects: HashMap<Identity, u32>,
    /// The list under way, or the last one.
    list: u32,
    /// Reused for looking up: namespace and name as [`Identity`] holds them.
    key: String,
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
    /// A store of what an earlier run has told.
    pub(super) fn of(known: impl IntoIterator<Item = Identity>) -> Self {
        let objects = known.into_iter().map(|identity| (identity, 0)).collect();
        Self { objects, ..Self::default() }
    }

    /// How many objects are known.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Begins a list: what [`see`](Self::see) and [`keep`](Self::keep) do not touch from here on is missing from it.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// How `object` stands to what was told. One that is the same is thereby seen by the list under way.
    pub(super) fn see(&mut self, object: &ObjectRef<'_>) -> Standing {
        Identity::write_key(&mut self.key, object);
        let list = self.list;
        let Some((record, seen)) = self.objects.get_key_value(self.key.as_str()) else { return Standing::Unknown };
        if record.uid_json() != object.uid_json() {
            return Standing::OtherUid;
        }
        if record.version().as_bytes() != object.resource_version().as_bytes() {
            return Standing::Changed;
        }
        if *seen != list {
            *self.objects.get_mut(self.key.as_str()).expect("the key was just found") = list;
        }
        Standing::Same
    }

    /// Whether the list under way, or the last one, has named a newer state of `object`, or of another that took its name.
    pub(super) fn is_beyond(&mut self, object: &ObjectRef<'_>) -> bool {
        Identity::write_key(&mut self.key, object);
        self.objects.get_key_value(self.key.as_str()).is_some_and(|(record, seen)| {
            let known = ResourceVersion::new(record.version()).and_then(|known| known.number());
            *seen == self.list && known.zip(object.resource_version().number()).is_some_and(|(known, number)| known > number)
        })
    }

    /// The list under way names the object of this key, of which it says nothing else that can be read.
    pub(super) fn spare(&mut self, key: &str) {
        let list = self.list;
        if let Some(seen) = self.objects.get_mut(key) {
            *seen = list;
        }
    }

    /// Remembers `identity` as told. Returns whether its key is new.
    pub(super) fn keep(&mut self, identity: Identity) -> bool {
        let is_new = self.objects.remove(identity.key()).is_none();
        self.objects.insert(identity, self.list);
        is_new
    }

    /// Forgets what was told under the namespace and name of `object`, and gives it back.
    pub(super) fn remove(&mut self, object: &ObjectRef<'_>) -> Option<Object> {
        Identity::write_key(&mut self.key, object);
        self.objects.remove_entry(self.key.as_str()).map(|(record, _)| record.to_object())
    }

    /// Whether exactly this is known: the same uid and version under the same namespace and name.
    pub(super) fn holds(&self, identity: &Identity) -> bool {
        let found = self.objects.get_key_value(identity.key());
        found.is_some_and(|(record, _)| record.uid_json() == identity.uid_json() && record.version() == identity.version())
    }

    /// Forgets exactly this. Returns whether it was known.
    pub(super) fn forget(&mut self, identity: &Identity) -> bool {
        let holds = self.holds(identity);
        if holds {
            self.objects.remove(identity.key());
        }
        holds
    }

    /// The uids of the known objects that the list under way has not seen.
    pub(super) fn missing_uids(&self) -> impl Iterator<Item = &str> + '_ {
        self.objects.iter().filter(|(_, seen)| **seen != self.list).map(|(record, _)| record.uid_json())
    }

    /// How many known objects the list under way has not seen.
    pub(super) fn missing(&self) -> usize {
        self.objects.values().filter(|seen| **seen != self.list).count()
    }

    /// Forgets each missing object as the iterator gives it; those it was not asked for stay known.
    pub(super) fn drain_missing(&mut self) -> impl Iterator<Item = Object> + '_ {
        let list = self.list;
        self.objects.extract_if(move |_, seen| *seen != list).map(|(record, _)| record.to_object())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(store: &mut Store, json: &str) -> Standing {
        let object = ObjectRef::scan(json.as_bytes()).unwrap();
        let standing = store.see(&object);
        store.keep(Identity::of(&object));
        standing
    }

    fn json(namespace: &str, name: &str, uid: &str, version: &str) -> String {
        format!(r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","uid":"{uid}","resourceVersion":"{version}"}}}}"#)
    }

    #[test]
    fn objects_are_told_apart_by_namespace_and_name_and_compared_by_uid_and_version() {
        let mut store = Store::default();
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
    fn what_is_missing_stays_known_until_it_is_taken() {
        let mut store = Store::default();
        for name in ["a", "b", "c"] {
            see(&mut store, &json("n", name, "u", "1"));
        }
        store.begin_list();
        see(&mut store, &json("n", "b", "u", "1"));
        assert_eq!(store.missing(), 2);
        let first = store.drain_missing().next().map(|object| object.as_ref().name().into_owned());
        assert_eq!((store.missing(), store.len()), (1, 2));
        let mut taken: Vec<_> =
            first.into_iter().chain(store.drain_missing().map(|object| object.as_ref().name().into_owned())).collect();
        taken.sort();
        assert_eq!(taken, ["a", "c"]);
    }

    #[test]
    fn an_object_costs_one_allocation_and_32_bytes_of_the_map() {
        assert_eq!(size_of::<(Identity, u32)>(), 32);
    }
}
