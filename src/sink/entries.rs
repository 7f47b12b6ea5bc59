//! Labels or annotations that may be changed: one JSON object of strings, kept as text.
//!
//! They are few and short, so that writing them anew with each change costs less than a map of them would.

use crate::api::{StringMap, close_entries, escape, push_entry, unescape};
use std::mem;

/// A JSON object of strings, empty where there is none.
#[derive(Debug, Default)]
pub(super) struct Entries {
    json: String,
}

impl Entries {
    /// Takes a checked object of strings in the place of what was there.
    pub(super) fn fill(&mut self, json: &str) {
        self.json.clear();
        self.json.push_str(json);
    }

    pub(super) fn map(&self) -> StringMap<'_> {
        StringMap::from_json(&self.json)
    }

    pub(super) fn bytes(&self) -> usize {
        self.json.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.json.capacity()
    }

    /// Adds an entry, or replaces the value of the one there is. Does nothing and returns false when there would be more than
    /// `bytes_max` bytes.
    pub(super) fn insert(&mut self, scratch: &mut String, key: &str, value: &str, bytes_max: usize) -> bool {
        scratch.clear();
        let value = escape(value);
        let mut is_written = false;
        for (found, old) in self.map().raw_entries() {
            if unescape(found) != key {
                push_entry(scratch, found, old);
            } else if !mem::replace(&mut is_written, true) {
                push_entry(scratch, found, &value);
            }
        }
        if !is_written {
            push_entry(scratch, &escape(key), &value);
        }
        close_entries(scratch);
        let is_taken = scratch.len() <= bytes_max;
        if is_taken {
            mem::swap(&mut self.json, scratch);
        }
        is_taken
    }

    /// Removes what `keeps` does not keep. Returns whether there was any.
    pub(super) fn retain(&mut self, scratch: &mut String, mut keeps: impl FnMut(&str, &str) -> bool) -> bool {
        scratch.clear();
        let mut is_changed = false;
        for (key, value) in self.map().raw_entries() {
            if keeps(&unescape(key), &unescape(value)) {
                push_entry(scratch, key, value);
            } else {
                is_changed = true;
            }
        }
        close_entries(scratch);
        if is_changed {
            mem::swap(&mut self.json, scratch);
        }
        is_changed
    }
}
