//! An object's identity, found in its bytes in one pass; the rest is passed on untouched.

use super::ResourceVersion;
use bytes::Bytes;
use std::borrow::Cow;

/// An object's bytes, borrowed, and where its metadata stands in them.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRef<'a> {
    bytes: &'a [u8],
    spans: Spans,
}

/// An object's bytes, owned and shared, and where its metadata stands in them.
#[derive(Clone, Debug)]
pub struct Object {
    bytes: Bytes,
    spans: Spans,
}

/// Half-open byte ranges; an empty one means absent.
#[derive(Clone, Copy, Debug, Default)]
struct Spans {}

/// Labels or annotations: a JSON object of strings, already checked, on one line.
#[derive(Clone, Copy, Debug)]
pub struct StringMap<'a>(&'a str);

/// Why bytes are no object of the Kubernetes API, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct DecodeError {
    what: &'static str,
    offset: usize,
}

impl<'a> ObjectRef<'a> {
    /// Finds the metadata of the JSON object that `bytes` hold.
    ///
    /// # Errors
    ///
    /// When what must be read is no JSON, no UTF-8, or lacks `metadata.name` or `metadata.resourceVersion`.
    pub fn scan(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// The whole object as the server sent it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// `kind`, empty where the server left it out, as in lists.
    pub fn kind(&self) -> Cow<'a, str> {
        todo!()
    }

    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub fn namespace(&self) -> Cow<'a, str> {
        todo!()
    }

    /// `metadata.name`.
    pub fn name(&self) -> Cow<'a, str> {
        todo!()
    }

    /// `metadata.uid`; empty for the few virtual kinds that have none.
    pub fn uid(&self) -> Cow<'a, str> {
        todo!()
    }

    /// `metadata.namespace` as JSON text without its quotes: escapes as the server sent them. For copying into JSON and for keys.
    pub fn namespace_json(&self) -> &'a str {
        todo!()
    }

    /// `metadata.name` as JSON text without its quotes.
    pub fn name_json(&self) -> &'a str {
        todo!()
    }

    /// `metadata.uid` as JSON text without its quotes.
    pub fn uid_json(&self) -> &'a str {
        todo!()
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> ResourceVersion {
        todo!()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> StringMap<'a> {
        todo!()
    }

    /// `metadata.annotations`.
    pub fn annotations(&self) -> StringMap<'a> {
        todo!()
    }

    /// Copies the object: one allocation.
    pub fn to_object(&self) -> Object {
        Object { bytes: Bytes::copy_from_slice(self.bytes), spans: self.spans }
    }

    /// Copies identity, labels and annotations alone, without the annotation that `kubectl apply` keeps the whole object in.
    ///
    /// For `v1/secrets`: what is left holds no value of the object.
    pub fn to_redacted_object(&self) -> Object {
        todo!()
    }
}

impl Object {
    /// Makes the metadata-only object of a known identity, as for an inferred `DELETED`. The texts are JSON without quotes.
    pub fn from_identity(
        namespace_json: &str,
        name_json: &str,
        uid_json: &str,
        version: &ResourceVersion,
        labels: StringMap<'_>,
        annotations: StringMap<'_>,
    ) -> Self {
        todo!()
    }

    /// The same object, borrowed: every accessor is there.
    pub fn as_ref(&self) -> ObjectRef<'_> {
        ObjectRef { bytes: &self.bytes, spans: self.spans }
    }
}

impl<'a> StringMap<'a> {
    /// No labels or annotations at all.
    pub const EMPTY: Self = Self("");

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON object on one line, or the empty string where there are none (also for `{}`).
    pub fn as_json(&self) -> &'a str {
        self.0
    }

    /// Reads back what [`as_json`](Self::as_json) gave, unchecked but for being valid later: `json` must come from there.
    pub fn from_json(json: &'a str) -> Self {
        Self(json)
    }

    /// Each key with its value, in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + 'a {
        std::iter::empty()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<Cow<'a, str>> {
        todo!()
    }
}
