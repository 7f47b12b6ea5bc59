//! The fields that middleware adds to a line: JSON text, ready to be copied behind Faro's own.

use super::json_record::{FIELDS_MAX, RecordError};
use crate::api::{escape, unescape};
use serde_json::Value;
use std::borrow::Cow;
use std::io;

/// Members of a JSON object, each with a comma before it.
#[derive(Debug, Default)]
pub(super) struct ExtraFields {
    json: Vec<u8>,
    places: Vec<Place>,
}

/// Where a member stands: `,"name":value`.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    /// Where its name ends.
    name_end: usize,
    end: usize,
}

/// What stands before a name.
const BEFORE_NAME: &[u8] = b",\"";

/// What stands between name and value.
const AFTER_NAME: &[u8] = b"\":";

impl ExtraFields {
    pub(super) fn clear(&mut self) {
        self.json.clear();
        self.places.clear();
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        self.clear();
        self.json.extend_from_slice(&other.json);
        self.places.extend_from_slice(&other.places);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.json
    }

    pub(super) fn capacity(&self) -> usize {
        self.json.capacity()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Value)> + '_ {
        self.places.iter().map(|place| {
            let name = std::str::from_utf8(self.name(*place)).expect("names are texts");
            let value = &self.json[place.name_end + AFTER_NAME.len()..place.end];
            (unescape(name), serde_json::from_slice(value).unwrap_or_default())
        })
    }

    /// Writes a field behind the others, and removes the one that had this name.
    pub(super) fn set(&mut self, name: &str, value: &Value, bytes_max: usize) -> Result<(), RecordError> {
        let old = self.find(name);
        if old.is_none() && self.places.len() >= FIELDS_MAX {
            return Err(RecordError::TooMany { name: name.to_owned() });
        }
        let old_bytes = old.map_or(0, |index| self.places[index].end - self.places[index].start);
        let start = self.json.len();
        self.json.extend_from_slice(BEFORE_NAME);
        self.json.extend_from_slice(escape(name).as_bytes());
        let name_end = self.json.len();
        self.json.extend_from_slice(AFTER_NAME);
        let mut bounded = Bounded { json: &mut self.json, bytes_max: bytes_max + old_bytes };
        if let Err(error) = serde_json::to_writer(&mut bounded, value) {
            self.json.truncate(start);
            let name = name.to_owned();
            return Err(if error.is_io() { RecordError::TooLarge { name } } else { RecordError::NoJson { name } });
        }
        self.places.push(Place { start, name_end, end: self.json.len() });
        if let Some(old) = old {
            self.remove_at(old);
        }
        Ok(())
    }

    /// Returns whether there was one.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let found = self.find(name);
        if let Some(index) = found {
            self.remove_at(index);
        }
        found.is_some()
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = escape(name);
        self.places.iter().position(|place| self.name(*place) == name.as_bytes())
    }

    fn name(&self, place: Place) -> &[u8] {
        &self.json[place.start + BEFORE_NAME.len()..place.name_end]
    }

    fn remove_at(&mut self, index: usize) {
        let removed = self.places.remove(index);
        self.json.drain(removed.start..removed.end);
        let bytes = removed.end - removed.start;
        for place in &mut self.places[index..] {
            (place.start, place.name_end, place.end) = (place.start - bytes, place.name_end - bytes, place.end - bytes);
        }
    }
}

/// Refuses what would be too much, so that it is never in memory.
struct Bounded<'a> {
    json: &'a mut Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.json.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.json.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
