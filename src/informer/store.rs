//! The last known identity of each object of one watch: what a comparison and an inferred `DELETED` need, never whole objects.

use crate::api::{Object, ObjectRef, ResourceVersion, StringMap};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// Every object that was told and not yet told as deleted.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Each object, and the list that saw it last.
    objects: HashMap<Record, u32>,
    /// The list under way, or the last one.
    list: u32,
    /// Reused for looking up: namespace and name as [`Record`] holds them.
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

/// One object in one allocation: namespace, name, uid, version, labels and annotations, each but the last ended by [`END`].
///
/// Namespace, name and uid are JSON text without quotes, labels and annotations are JSON objects or empty.
#[derive(Debug)]
struct Record {
    text: Box<str>,
    /// Where the name ends: what comes before is the key.
    key_len: u32,
}

/// JSON text holds no control character unescaped, so none of the fields contains this one.
const END: char = '\0';

impl Store {
    /// How many objects are known.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Begins a list: what [`see`](Self::see) and [`put`](Self::put) do not touch from here on is missing from it.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// How `object` stands to what was told. One that is the same is thereby seen by the list under way.
    pub(super) fn see(&mut self, object: &ObjectRef<'_>) -> Standing {
        write_key(&mut self.key, object);
        let list = self.list;
        let Some((record, seen)) = self.objects.get_key_value(self.key.as_str()) else { return Standing::Unknown };
        let fields = record.fields();
        if fields.uid != object.uid_json() {
            return Standing::OtherUid;
        }
        if fields.version != object.resource_version().as_str() {
            return Standing::Changed;
        }
        if *seen != list {
            *self.objects.get_mut(self.key.as_str()).expect("the key was just found") = list;
        }
        Standing::Same
    }

    /// Remembers `object` as told. Returns whether its key is new.
    pub(super) fn put(&mut self, object: &ObjectRef<'_>) -> bool {
        let record = Record::new(object);
        let is_new = self.objects.remove(record.key()).is_none();
        self.objects.insert(record, self.list);
        is_new
    }

    /// Forgets what was told under the namespace and name of `object`, and gives it back.
    pub(super) fn remove(&mut self, object: &ObjectRef<'_>) -> Option<Object> {
        write_key(&mut self.key, object);
        self.objects.remove_entry(self.key.as_str()).map(|(record, _)| record.to_object())
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

struct Fields<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    version: &'a str,
    labels: &'a str,
    annotations: &'a str,
}

impl Record {
    fn new(object: &ObjectRef<'_>) -> Self {
        let version = object.resource_version();
        let (labels, annotations) = (object.labels(), object.annotations());
        let fields = [
            object.namespace_json(),
            object.name_json(),
            object.uid_json(),
            version.as_str(),
            labels.as_json(),
            annotations.as_json(),
        ];
        // The exact size, so that the box needs no second allocation.
        let mut text =
            String::with_capacity(fields.iter().map(|field| field.len() + END.len_utf8()).sum::<usize>() - END.len_utf8());
        for (n, field) in fields.into_iter().enumerate() {
            if n > 0 {
                text.push(END);
            }
            text.push_str(field);
        }
        let key_len = fields[0].len() + END.len_utf8() + fields[1].len();
        Self {
            text: text.into_boxed_str(),
            key_len: u32::try_from(key_len).expect("a line is shorter than 4 GiB, and so is a name"),
        }
    }

    fn key(&self) -> &str {
        &self.text[..usize::try_from(self.key_len).expect("usize has 32 bits or more")]
    }

    fn fields(&self) -> Fields<'_> {
        let mut rest = self.text.splitn(6, END);
        let mut next = || rest.next().expect("a record has six fields");
        Fields { namespace: next(), name: next(), uid: next(), version: next(), labels: next(), annotations: next() }
    }

    fn to_object(&self) -> Object {
        let fields = self.fields();
        Object::from_identity(
            fields.namespace,
            fields.name,
            fields.uid,
            &ResourceVersion::new(fields.version).expect("made from a version, which is never empty"),
            StringMap::from_json(fields.labels),
            StringMap::from_json(fields.annotations),
        )
    }
}

fn write_key(key: &mut String, object: &ObjectRef<'_>) {
    key.clear();
    key.push_str(object.namespace_json());
    key.push(END);
    key.push_str(object.name_json());
}

impl Borrow<str> for Record {
    fn borrow(&self) -> &str {
        self.key()
    }
}

impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Record {}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(store: &mut Store, json: &str) -> Standing {
        let object = ObjectRef::scan(json.as_bytes()).unwrap();
        let standing = store.see(&object);
        store.put(&object);
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
        assert_eq!(size_of::<(Record, u32)>(), 32);
    }
}
