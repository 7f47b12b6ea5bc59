//! What is remembered of an object that was told: who it is, its version, and what a `DELETED` found by comparison needs.
//!
//! Made from an [`ObjectRef`] when its event is told, or read back from the text that a checkpoint kept; one allocation.

use super::json_text::unescape;
use super::{Object, ObjectRef, ResourceVersion, StringMap};
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

/// One object in one allocation: namespace, name, uid, version, labels and annotations, each but the last ended by a NUL.
///
/// Namespace, name and uid are JSON text without quotes, labels and annotations are JSON objects or empty. Two are equal when
/// their keys are: namespace and name.
#[derive(Clone, Debug)]
pub struct Identity {
    text: Box<str>,
    /// Where the name ends: what comes before is the key.
    key_len: u32,
}

/// JSON text holds no control character unescaped, so none of the fields contains this one.
const END: char = '\0';

/// Namespace, name, uid, version, labels, annotations.
const FIELDS: usize = 6;

struct Fields<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    version: &'a str,
    labels: &'a str,
    annotations: &'a str,
}

impl Identity {
    /// Copies what is remembered of `object`, its labels and annotations as they are.
    pub fn of(object: &ObjectRef<'_>) -> Self {
        Self::with_maps(object, object.labels_bytes(), object.annotations_bytes())
    }

    /// Copies what is remembered of `object`, with `labels` and `annotations`, which are JSON, in the place of its own.
    #[expect(clippy::missing_panics_doc, reason = "no line is 4 GiB long")]
    pub fn with_maps(object: &ObjectRef<'_>, labels: &[u8], annotations: &[u8]) -> Self {
        let (version, [namespace, name, uid, _]) = (object.resource_version(), object.identity_bytes());
        let fields: [&[u8]; FIELDS] = [namespace, name, uid, version.as_bytes(), labels, annotations];
        // The exact size, so that the box needs no second allocation.
        let mut text =
            Vec::with_capacity(fields.iter().map(|field| field.len() + END.len_utf8()).sum::<usize>() - END.len_utf8());
        for (n, field) in fields.into_iter().enumerate() {
            if n > 0 {
                text.push(END as u8);
            }
            text.extend_from_slice(field);
        }
        let text = String::from_utf8(text).expect("what is scanned is checked to be UTF-8");
        let key_len = fields[0].len() + END.len_utf8() + fields[1].len();
        Self {
            text: text.into_boxed_str(),
            key_len: u32::try_from(key_len).expect("a line is shorter than 4 GiB, and so is a name"),
        }
    }

    /// How many bytes its labels and annotations have.
    pub(crate) fn maps_bytes(&self) -> usize {
        // They are not looked at: what they leave of the text is the key, uid and version, and four ends.
        self.text.len() - self.key().len() - self.uid_json().len() - self.version().len() - 4 * END.len_utf8()
    }

    /// The same object without its labels and annotations.
    pub(crate) fn without_maps(&self) -> Self {
        let version_end = self.text.len() - self.maps_bytes() - 2 * END.len_utf8();
        let text = [&self.text[..version_end], "\0\0"].concat();
        Self { text: text.into_boxed_str(), key_len: self.key_len }
    }

    /// Reads back what [`as_text`](Self::as_text) gave; `None` when the text has another number of fields, or no version.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut ends = text.match_indices(END).map(|(at, _)| at);
        let (_, name_end, uid_end) = (ends.next()?, ends.next()?, ends.next()?);
        let version_end = ends.next()?;
        let is_whole = ends.next().is_some() && ends.next().is_none() && version_end > uid_end + END.len_utf8();
        is_whole.then(|| Some(Self { key_len: u32::try_from(name_end).ok()?, text: text.into() })).flatten()
    }

    /// All of it as one text, for storing.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// Namespace and name as one text: no two objects of a kind share it.
    #[expect(clippy::missing_panics_doc, reason = "usize has 32 bits or more")]
    pub fn key(&self) -> &str {
        &self.text[..usize::try_from(self.key_len).expect("usize has 32 bits or more")]
    }

    /// What [`key`](Self::key) of `object` would be.
    pub fn key_of(object: &ObjectRef<'_>) -> Box<str> {
        Self::key_from(object.namespace_json(), object.name_json())
    }

    /// What [`key`](Self::key) of the object of this namespace and name would be; both are JSON text without quotes.
    pub(super) fn key_from(namespace_json: &str, name_json: &str) -> Box<str> {
        [namespace_json, name_json].join("\0").into()
    }

    /// The namespace in `key`, as JSON text without quotes: what a namespace is made of needs no escapes.
    pub fn namespace_of_key(key: &str) -> &str {
        key.split_once(END).map_or("", |(namespace, _)| namespace)
    }

    /// What `key` names, for people: `shop/web-0`, or `node-1` where there is no namespace.
    pub fn words_of_key(key: &str) -> String {
        let (namespace, name) = key.split_once(END).unwrap_or(("", key));
        let (namespace, name) = (unescape(namespace), unescape(name));
        if namespace.is_empty() { name.into_owned() } else { format!("{namespace}/{name}") }
    }

    /// Writes into `key` what [`key`](Self::key) of `object` would be.
    pub fn write_key(key: &mut String, object: &ObjectRef<'_>) {
        key.clear();
        key.push_str(object.namespace_json());
        key.push(END);
        key.push_str(object.name_json());
    }

    /// The uid as JSON text without its quotes.
    pub fn uid_json(&self) -> &str {
        self.after_key(0)
    }

    /// The version at which it was told.
    pub fn version(&self) -> &str {
        self.after_key(1)
    }

    /// The metadata-only object that an inferred `DELETED` carries.
    #[expect(clippy::missing_panics_doc, reason = "both ways of making one see to a version")]
    pub fn to_object(&self) -> Object {
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

    /// Uid, version, labels or annotations, counted from 0: a comparison needs no field before them.
    fn after_key(&self, field: usize) -> &str {
        let mut start = self.key().len() + END.len_utf8();
        let end_from = |start: usize| memchr::memchr(END as u8, &self.text.as_bytes()[start..]).map(|at| start + at);
        for _ in 0..field {
            start = end_from(start).expect("an identity has six fields") + END.len_utf8();
        }
        &self.text[start..end_from(start).unwrap_or(self.text.len())]
    }

    fn fields(&self) -> Fields<'_> {
        let mut rest = self.text.splitn(FIELDS, END);
        let mut next = || rest.next().expect("an identity has six fields");
        Fields { namespace: next(), name: next(), uid: next(), version: next(), labels: next(), annotations: next() }
    }
}

impl Borrow<str> for Identity {
    fn borrow(&self) -> &str {
        self.key()
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Identity {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_reads_back_as_the_same_and_nothing_else_does() {
        let object = br#"{"metadata":{"name":"a\u0062","namespace":"n","uid":"u","resourceVersion":"7","labels":{"l":"\n"}}}"#;
        let known = Identity::of(&ObjectRef::scan(object).unwrap());
        let read = Identity::from_text(known.as_text()).unwrap();
        assert_eq!((read.key(), read.uid_json(), read.version()), ("n\0a\\u0062", "u", "7"));
        assert_eq!((read.as_text(), read.to_object().as_ref().labels().as_json()), (known.as_text(), r#"{"l":"\n"}"#));
        for wrong in ["", "n\0a\0u\x007", "n\0a\0u\x007\0", "n\0a\0u\0\0\0", "n\0a\0u\x007\0\0\0"] {
            assert!(Identity::from_text(wrong).is_none(), "{wrong:?}");
        }
        assert!(Identity::from_text("\0a\0\x007\0\0").is_some(), "no namespace and no uid, as a few kinds have it");
    }
}
