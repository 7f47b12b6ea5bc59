//! What middleware may change of a line before it is written: labels, annotations, and fields of its own.
//!
//! Filled from an event, changed by one middleware after the other, copied into the line. Everything is JSON text in buffers
//! that are used again for the next event, so that in the steady state nothing is allocated for what is not changed, nor for
//! what is changed without escapes. What a middleware did is undone when it panics.

use super::entries::Entries;
use super::extra_fields::ExtraFields;
use crate::api::StringMap;
use crate::event::MatchedEvent;
use serde_json::Value;
use std::borrow::Cow;
use std::mem;

/// One line as [`JsonMiddleware`](super::JsonMiddleware) may change it. What tells events apart is not in it: type, gvr,
/// namespace, name, uid, version, time, `initial`, `inferred`, cluster and watch are written as the event has them.
///
/// The line may grow by 256 KiB in all over what the server sent.
#[derive(Debug, Default)]
pub struct JsonRecord {
    now: Parts,
    /// As it was before the middleware under way changed anything.
    before: Parts,
    is_changed: bool,
    /// How many bytes its parts may have in all.
    bytes_max: usize,
    scratch: String,
}

#[derive(Debug, Default)]
struct Parts {
    labels: Entries,
    annotations: Entries,
    fields: ExtraFields,
}

/// Why a record does not take a change. It stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The name is empty.
    #[error("cannot add a field without a name")]
    Unnamed,
    /// Faro writes a field of this name.
    #[error("cannot set field {name:?}: Faro writes it; choose another name")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The name is longer than [`FIELD_NAME_BYTES_MAX`].
    #[error("cannot add a field whose name has {bytes} bytes, the most are {FIELD_NAME_BYTES_MAX}")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// There are [`FIELDS_MAX`] fields.
    #[error("cannot add field {name:?}: a record takes {FIELDS_MAX} fields at most; put several values into one object")]
    TooMany {
        /// The name.
        name: String,
    },
    /// All that was added would be more than [`ADDED_BYTES_MAX`].
    #[error("cannot set {name:?}: a record takes {ADDED_BYTES_MAX} bytes at most on top of what the server sent")]
    TooLarge {
        /// The key or name.
        name: String,
    },
    /// The value cannot be written as JSON.
    #[error("cannot write the value of field {name:?} as JSON")]
    NoJson {
        /// The name.
        name: String,
    },
}

/// What all middleware may add to a line: as much as Kubernetes allows an object's annotations. It keeps a line below what is
/// read back after a crash.
pub const ADDED_BYTES_MAX: usize = 256 * 1024;

/// How many fields middleware may add: a line is no table of values.
pub const FIELDS_MAX: usize = 64;

/// Longest name of such a field, as for the name of an object.
pub const FIELD_NAME_BYTES_MAX: usize = 253;

/// What Faro writes itself.
const RESERVED: [&str; 13] = [
    "timestamp",
    "eventType",
    "gvr",
    "namespace",
    "name",
    "uid",
    "resourceVersion",
    "labels",
    "annotations",
    "initial",
    "inferred",
    "cluster",
    "watch",
];

impl JsonRecord {
    /// The record of `event`, as the first middleware gets it: for tests of your own middleware.
    pub fn of(event: &MatchedEvent) -> Self {
        let mut record = Self::default();
        record.fill(event);
        record
    }

    /// The labels, in the order in which they are written.
    pub fn labels(&self) -> StringMap<'_> {
        self.now.labels.map()
    }

    /// The annotations, in the order in which they are written.
    pub fn annotations(&self) -> StringMap<'_> {
        self.now.annotations.map()
    }

    /// The fields that were added, in the order in which they are written.
    pub fn fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Value)> + '_ {
        self.now.fields.iter()
    }

    /// Adds a label, or replaces the value of the one there is.
    ///
    /// # Errors
    ///
    /// When the record would grow too large.
    pub fn insert_label(&mut self, key: &str, value: &str) -> Result<(), RecordError> {
        self.insert(|parts| &mut parts.labels, key, value)
    }

    /// Adds an annotation, or replaces the value of the one there is.
    ///
    /// # Errors
    ///
    /// When the record would grow too large.
    pub fn insert_annotation(&mut self, key: &str, value: &str) -> Result<(), RecordError> {
        self.insert(|parts| &mut parts.annotations, key, value)
    }

    /// Removes a label. Returns whether there was one.
    pub fn remove_label(&mut self, key: &str) -> bool {
        self.retain_labels(|found, _| found != key)
    }

    /// Removes an annotation. Returns whether there was one.
    pub fn remove_annotation(&mut self, key: &str) -> bool {
        self.retain_annotations(|found, _| found != key)
    }

    /// Removes each label, key and value, of which `keeps` is false. Returns whether there was any.
    pub fn retain_labels(&mut self, keeps: impl FnMut(&str, &str) -> bool) -> bool {
        self.begin_change();
        self.now.labels.retain(&mut self.scratch, keeps)
    }

    /// Removes each annotation, key and value, of which `keeps` is false. Returns whether there was any.
    pub fn retain_annotations(&mut self, keeps: impl FnMut(&str, &str) -> bool) -> bool {
        self.begin_change();
        self.now.annotations.retain(&mut self.scratch, keeps)
    }

    /// Writes a field of your own after Faro's, in the place of an earlier one of this name.
    ///
    /// # Errors
    ///
    /// When the name is empty, too long or one of Faro's own, when there are too many fields, or when the record would grow too
    /// large. A later version of Faro may write more fields: a name with a prefix of your own stays yours.
    pub fn set_field(&mut self, name: &str, value: &Value) -> Result<(), RecordError> {
        if name.is_empty() {
            return Err(RecordError::Unnamed);
        }
        if name.len() > FIELD_NAME_BYTES_MAX {
            return Err(RecordError::NameTooLong { bytes: name.len() });
        }
        if RESERVED.contains(&name) {
            return Err(RecordError::Reserved { name: name.to_owned() });
        }
        self.begin_change();
        let bytes_max = self.bytes_max - self.now.labels.bytes() - self.now.annotations.bytes();
        self.now.fields.set(name, value, bytes_max)
    }

    /// Removes a field that middleware added. Returns whether there was one.
    pub fn remove_field(&mut self, name: &str) -> bool {
        self.begin_change();
        self.now.fields.remove(name)
    }

    /// Begins anew with what `event` has.
    pub(super) fn fill(&mut self, event: &MatchedEvent) {
        let metadata = event.metadata();
        self.now.labels.fill(metadata.labels().as_json());
        self.now.annotations.fill(event.written_annotations().as_json());
        self.now.fields.clear();
        self.bytes_max = self.now.labels.bytes() + self.now.annotations.bytes() + ADDED_BYTES_MAX;
        self.is_changed = false;
    }

    /// What was changed so far stays.
    pub(super) fn commit(&mut self) {
        self.is_changed = false;
    }

    /// Makes it what it was at the last [`commit`](Self::commit).
    pub(super) fn undo(&mut self) {
        if mem::take(&mut self.is_changed) {
            mem::swap(&mut self.now, &mut self.before);
        }
    }

    /// The labels with their braces, empty where there are none.
    pub(super) fn labels_bytes(&self) -> &[u8] {
        self.now.labels.map().as_json().as_bytes()
    }

    /// The annotations with their braces, empty where there are none.
    pub(super) fn annotations_bytes(&self) -> &[u8] {
        self.now.annotations.map().as_json().as_bytes()
    }

    /// Each added field with a comma before it.
    pub(super) fn fields_bytes(&self) -> &[u8] {
        self.now.fields.bytes()
    }

    /// How much memory it holds.
    pub(super) fn capacity(&self) -> usize {
        self.now.capacity() + self.before.capacity() + self.scratch.capacity()
    }

    fn insert(&mut self, part: impl Fn(&mut Parts) -> &mut Entries, key: &str, value: &str) -> Result<(), RecordError> {
        self.begin_change();
        let bytes = self.now.bytes();
        let entries = part(&mut self.now);
        let bytes_max = self.bytes_max - (bytes - entries.bytes());
        let is_taken = entries.insert(&mut self.scratch, key, value, bytes_max);
        is_taken.then_some(()).ok_or_else(|| RecordError::TooLarge { name: key.to_owned() })
    }

    fn begin_change(&mut self) {
        if !mem::replace(&mut self.is_changed, true) {
            self.before.copy_from(&self.now);
        }
    }
}

impl Parts {
    fn bytes(&self) -> usize {
        self.labels.bytes() + self.annotations.bytes() + self.fields.bytes().len()
    }

    fn capacity(&self) -> usize {
        self.labels.capacity() + self.annotations.capacity() + self.fields.capacity()
    }

    fn copy_from(&mut self, other: &Self) {
        self.labels.fill(other.labels.map().as_json());
        self.annotations.fill(other.annotations.map().as_json());
        self.fields.copy_from(&other.fields);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::super::told_line::ToldLine;
    use super::*;
    use crate::api::ObjectRef;
    use crate::dispatch::tests::watch;
    use crate::event::EventType;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn event(labels: &str) -> MatchedEvent {
        let object = format!(r#"{{"metadata":{{"name":"web-0","uid":"u","resourceVersion":"7","labels":{labels}}}}}"#);
        let object = ObjectRef::scan(object.as_bytes()).unwrap().to_object();
        MatchedEvent::new(EventType::Updated, watch("v1/pods"), object)
    }

    fn line(event: &MatchedEvent, record: &JsonRecord) -> Value {
        let mut line = Vec::new();
        Record::default().append(event, Some(record), false, &mut line);
        assert!(line.ends_with(b"\n") && memchr::memchr_iter(b'\n', &line).count() == 1);
        ToldLine::parse(&line[..line.len() - 1]).expect("it is read back");
        serde_json::from_slice(&line).expect("a line is JSON")
    }

    #[test]
    fn a_refused_change_leaves_the_record_as_it_was_and_says_why() {
        let event = event(r#"{"a":"1"}"#);
        let mut record = JsonRecord::of(&event);
        record.set_field("mine", &json!(1)).unwrap();
        let before = line(&event, &record);
        let long = "n".repeat(FIELD_NAME_BYTES_MAX + 1);
        let large = "v".repeat(ADDED_BYTES_MAX);
        let mut check = |changed: fn(&mut JsonRecord, &str, &str) -> Result<(), RecordError>, name: &str, expected: &str| {
            assert_eq!(changed(&mut record, name, &large).unwrap_err().to_string(), expected);
            assert_eq!(line(&event, &record), before);
        };
        check(|record, name, _| record.set_field(name, &json!(1)), "", "cannot add a field without a name");
        for name in RESERVED {
            let expected = format!("cannot set field {name:?}: Faro writes it; choose another name");
            check(|record, name, _| record.set_field(name, &json!(1)), name, &expected);
        }
        let expected = "cannot add a field whose name has 254 bytes, the most are 253";
        check(|record, name, _| record.set_field(name, &json!(1)), &long, expected);
        let expected = "cannot set \"mine\": a record takes 262144 bytes at most on top of what the server sent";
        check(|record, name, large| record.set_field(name, &json!([large])), "mine", expected);
        check(JsonRecord::insert_label, "mine", expected);
        check(JsonRecord::insert_annotation, "mine", expected);
    }

    #[test]
    fn every_field_that_is_written_is_refused_as_a_name() {
        let mut full = event(r#"{"a":"1"}"#);
        (full.initial, full.inferred) = (true, true);
        let written = line(&full, &JsonRecord::of(&full));
        let names = written.as_object().unwrap().keys().map(String::as_str);
        for name in names.chain(["namespace", "annotations", "cluster"]) {
            assert!(RESERVED.contains(&name), "{name}");
        }
    }

    #[test]
    fn so_many_fields_are_taken_and_each_may_be_replaced() {
        let event = event("{}");
        let mut record = JsonRecord::of(&event);
        for round in 0..2 {
            for number in 0..FIELDS_MAX {
                record.set_field(&format!("f{number}"), &json!(number + round)).unwrap();
            }
            let error = record.set_field("more", &json!(1)).unwrap_err();
            assert_eq!(error, RecordError::TooMany { name: "more".to_owned() });
        }
        assert!(record.remove_field("f7") && !record.remove_field("f7"));
        record.set_field("more", &json!(1)).unwrap();
        let line = line(&event, &record);
        assert_eq!((&line["f63"], line.get("f7"), &line["more"]), (&json!(64), None, &json!(1)));
    }

    #[test]
    fn large_values_are_taken_in_place_of_large_values() {
        let event = event(&format!(r#"{{"big":"{}"}}"#, "x".repeat(ADDED_BYTES_MAX)));
        let mut record = JsonRecord::of(&event);
        let almost_all = "y".repeat(ADDED_BYTES_MAX - 100);
        for _ in 0..3 {
            record.set_field("a", &json!(almost_all)).unwrap();
        }
        assert!(record.insert_label("b", &almost_all).is_err());
        assert!(record.remove_label("big"));
        record.insert_label("b", &almost_all).unwrap();
        record.insert_label("b", &almost_all).unwrap();
        line(&event, &record);
    }

    /// Any keys and values, changed in any order, against a map; each step may be undone.
    #[test]
    fn whatever_is_done_to_it_the_line_says_what_a_map_would() {
        let texts = ["", "a", "b\"", "\\", "\n\r\t\0", "\u{7f}\u{2028}", "\u{fc}\u{1f600}", "a\\u0062", "}{,:"];
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let event = event(r#"{ "a" : "1", "b\u0022":"\u00fc\ud83d\ude00", "a":"twice"}"#);
            let mut record = JsonRecord::of(&event);
            assert!(record.remove_label("a"));
            record.commit();
            let mut model = (BTreeMap::from([("b\"", "\u{fc}\u{1f600}")]), BTreeMap::new());
            for _ in 0..20 {
                let before = model.clone();
                let (key, value) = (random.choice(texts).unwrap(), random.choice(texts).unwrap());
                match random.u8(..5) {
                    0 => assert_eq!(record.remove_label(key), model.0.remove(key).is_some()),
                    1 | 2 => {
                        record.insert_label(key, value).unwrap();
                        model.0.insert(key, value);
                    }
                    3 => assert_eq!(record.remove_field(key), model.1.remove(key).is_some()),
                    4.. if key.is_empty() => {}
                    4.. => {
                        record.set_field(key, &json!({ value: [value] })).unwrap();
                        model.1.insert(key, value);
                    }
                }
                if random.u8(..4) == 0 {
                    record.undo();
                    model = before;
                }
                record.commit();
            }
            check(&line(&event, &record), &model.0, &model.1, seed);
        }
    }

    fn check(line: &Value, labels: &BTreeMap<&str, &str>, fields: &BTreeMap<&str, &str>, seed: u64) {
        let expected = (!labels.is_empty()).then(|| json!(labels));
        assert_eq!(line.get("labels"), expected.as_ref(), "seed {seed}");
        let ours = ["timestamp", "eventType", "gvr", "name", "uid", "resourceVersion", "labels", "watch"];
        let found = line.as_object().unwrap().iter().filter(|(name, _)| !ours.contains(&name.as_str()));
        let found: BTreeMap<_, _> = found.map(|(name, value)| (name.as_str(), value.clone())).collect();
        let expected: BTreeMap<_, _> = fields.iter().map(|(name, value)| (*name, json!({ *value: [value] }))).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}
