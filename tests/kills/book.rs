//! What the receiver has noted, in the order it accepted it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The receiver's own book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
}

/// One accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) event_type: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) inferred: bool,
}

impl Book {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        Self { entries: whole.lines().map(entry).collect() }
    }

    pub(crate) fn lines(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| entry.name.clone()).collect()
    }

    pub(crate) fn has_version(&self, name: &str, version: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.version.to_string() == version)
    }

    pub(crate) fn has_deleted(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.event_type == "DELETED")
    }

    /// What was accepted of each object, by its uid.
    pub(crate) fn by_uid(&self) -> BTreeMap<&str, Vec<&Entry>> {
        let mut objects: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        self.entries.iter().for_each(|entry| objects.entry(&entry.uid).or_default().push(entry));
        objects
    }
}

fn entry(line: &str) -> Entry {
    let fields: Vec<_> = line.split(' ').collect();
    let [event_type, name, uid, version, inferred] = fields[..] else { panic!("{line:?}") };
    let (version, inferred) = (version.parse().unwrap(), inferred == "true");
    Entry { event_type: event_type.to_owned(), name: name.to_owned(), uid: uid.to_owned(), version, inferred }
}
