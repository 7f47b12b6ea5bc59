//! The objects of one watch that are on the server and cannot be read.
//!
//! Takes their keys from lists, and forgets each as soon as it can be read; gives their number, and the names of some.
//! Nothing else is known of them: they are neither told nor told as deleted.

use crate::api::{Identity, ObjectRef};
use std::collections::BTreeSet;

/// What the last list could not read, less what could be read since.
#[derive(Debug, Default)]
pub(super) struct Unreadables {
    keys: BTreeSet<Box<str>>,
    /// How many more there were.
    beyond: usize,
    /// Reused for looking up.
    key: String,
}

/// So many are remembered by name, 300 bytes each at most; a server that sends more garbage is in need of more than names.
const REMEMBERED_MAX: usize = 1000;

/// So many are named to people.
const NAMED_MAX: usize = 20;

impl Unreadables {
    /// Begins a list, which names all there are.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.beyond = 0;
    }

    /// The list names this object, and it cannot be read.
    pub(super) fn found(&mut self, key: &str) {
        if self.keys.len() < REMEMBERED_MAX {
            self.keys.insert(key.into());
        } else if !self.keys.contains(key) {
            self.beyond += 1;
        }
    }

    /// This object can be read. Returns whether it could not before.
    pub(super) fn read(&mut self, object: &ObjectRef<'_>) -> bool {
        if self.keys.is_empty() {
            return false;
        }
        Identity::write_key(&mut self.key, object);
        self.keys.remove(self.key.as_str())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.beyond
    }

    /// Some of them, for people.
    pub(super) fn names(&self) -> Vec<String> {
        self.keys.iter().take(NAMED_MAX).map(|key| Identity::words_of_key(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_there_are_some_are_named_and_all_are_counted() {
        let mut unreadables = Unreadables::default();
        (0..REMEMBERED_MAX + 5).for_each(|n| unreadables.found(&format!("demo\0{n:04}")));
        unreadables.found("demo\x000007");
        assert_eq!((unreadables.len(), unreadables.names().len()), (REMEMBERED_MAX + 5, NAMED_MAX));
        assert_eq!(unreadables.names()[7], "demo/0007");
        let json = br#"{"metadata":{"name":"0007","namespace":"demo","resourceVersion":"1"}}"#;
        let object = ObjectRef::scan(json).unwrap();
        assert_eq!((unreadables.read(&object), unreadables.read(&object)), (true, false));
        unreadables.clear();
        assert_eq!(unreadables.len(), 0);
    }
}
