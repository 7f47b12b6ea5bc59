//! An object's identity, found in its bytes in one pass; the rest is passed on untouched.
//!
//! Takes the bytes of one object, from a watch line or a list page; gives its metadata, borrowed or owned together with the
//! bytes. Promises that what the accessors give was checked, and that the object itself is the server's, byte for byte.

use super::json_text::{escape, unescape};
use super::mend::{find_name, find_name_at_beginning};
use super::scan::{ENDS_EARLY, Marks, NO_STRING_END, Scanner, Span, Spans, find_metadata};
use super::{Identity, ResourceVersion, StringMap};
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

/// Why bytes are no object of the Kubernetes API, with the place, and of which object where its name can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct DecodeError {
    what: Cow<'static, str>,
    offset: usize,
    /// As [`Identity::key`](super::Identity::key) has it.
    key: Option<Box<str>>,
}

/// How a server begins an object of which metadata was asked for.
const METADATA_FRONT: &[u8] = br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

impl<'a> ObjectRef<'a> {
    /// Finds the metadata of the JSON object that `bytes` hold.
    ///
    /// Of a field that comes twice the first one counts. Bytes after the metadata are neither read nor checked, nor are
    /// `managedFields` and what follows them where name and version came before. Labels and annotations are given out as
    /// they stand, so they must stand on one line; a [`ListPage`](super::ListPage) sees to that.
    ///
    /// # Errors
    ///
    /// When what must be read is no JSON, no UTF-8, or lacks `metadata.name` or `metadata.resourceVersion`; when labels or
    /// annotations hold anything but strings, or line breaks between them.
    pub fn scan(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let object = Self::scan_any(bytes).map_err(|error| error.about(bytes))?;
        if object.spans.name.is_empty() {
            return Err(DecodeError::new("the object has no metadata.name", 0));
        }
        Ok(object)
    }

    /// The same for objects that have no name, as bookmarks.
    pub(super) fn scan_any(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let spans = find_metadata(bytes)?;
        if spans.version.is_empty() {
            return Err(DecodeError::new("the object has no metadata.resourceVersion", 0));
        }
        Ok(Self { bytes, spans })
    }

    /// The whole object as the server sent it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// `kind`, empty where the server left it out, as in lists, or sent it after the metadata.
    pub fn kind(&self) -> Cow<'a, str> {
        unescape(self.text(self.spans.kind))
    }

    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub fn namespace(&self) -> Cow<'a, str> {
        unescape(self.namespace_json())
    }

    /// `metadata.name`.
    pub fn name(&self) -> Cow<'a, str> {
        unescape(self.name_json())
    }

    /// `metadata.uid`; empty for the few virtual kinds that have none.
    pub fn uid(&self) -> Cow<'a, str> {
        unescape(self.uid_json())
    }

    /// `metadata.namespace` as JSON text without its quotes: escapes as the server sent them. For copying into JSON and for keys.
    pub fn namespace_json(&self) -> &'a str {
        self.text(self.spans.namespace)
    }

    /// `metadata.name` as JSON text without its quotes.
    pub fn name_json(&self) -> &'a str {
        self.text(self.spans.name)
    }

    /// `metadata.uid` as JSON text without its quotes.
    pub fn uid_json(&self) -> &'a str {
        self.text(self.spans.uid)
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> ResourceVersion {
        let raw = self.spans.version.of(self.bytes);
        ResourceVersion::from_digits(raw).unwrap_or_else(|| version_of(self.text(self.spans.version)))
    }

    /// Namespace, name, uid and version as the server sent them, without their quotes; for copying, which needs no second check.
    pub(crate) fn identity_bytes(&self) -> [&'a [u8]; 4] {
        [self.spans.namespace, self.spans.name, self.spans.uid, self.spans.version].map(|span| span.of(self.bytes))
    }

    /// `metadata.labels` as the server sent them, with their braces; for copying, which needs no second check.
    pub(crate) fn labels_bytes(&self) -> &'a [u8] {
        self.spans.labels.of(self.bytes)
    }

    /// `metadata.annotations` as the server sent them.
    pub(crate) fn annotations_bytes(&self) -> &'a [u8] {
        self.spans.annotations.of(self.bytes)
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> StringMap<'a> {
        StringMap::from_json(self.text(self.spans.labels))
    }

    /// `metadata.annotations`.
    pub fn annotations(&self) -> StringMap<'a> {
        StringMap::from_json(self.text(self.spans.annotations))
    }

    /// Whether an annotation may be one that holds a copy of an object, by how its name ends. Of an object from a server.
    pub(crate) fn may_hold_copy(&self) -> bool {
        self.spans.marks.may_hold_copy
    }

    /// How many bytes the longest value of an annotation has at most. Of an object from a server.
    pub(crate) fn longest_annotation(&self) -> usize {
        self.spans.marks.longest as usize
    }

    /// `metadata` as the server sent it, `managedFields` included. Where these come last they were not read: then up to the
    /// first end of an array in them, which the bytes before it decide alone.
    pub(super) fn metadata_bytes(&self) -> &'a [u8] {
        let read = self.spans.metadata.of(self.bytes);
        if read.ends_with(b"}") {
            return read;
        }
        let end = self.spans.metadata.end();
        let rest = &self.bytes[end..];
        let array_end = memchr::memchr_iter(b']', rest).find(|&at| at > 0 && rest[at - 1] == b'}');
        &self.bytes[end - read.len()..array_end.map_or(self.bytes.len(), |at| end + at)]
    }

    /// Copies the object: one allocation.
    pub fn to_object(&self) -> Object {
        Object { bytes: Bytes::copy_from_slice(self.bytes), spans: self.spans }
    }

    /// Copies the metadata alone, as a server gives it where only metadata is asked for. For a whole object that came instead.
    ///
    /// # Errors
    ///
    /// When what follows the part that was scanned is no JSON.
    pub fn to_metadata_object(&self) -> Result<Object, DecodeError> {
        let mut scanner = Scanner::new(self.bytes);
        scanner.open_object()?;
        let mut first = true;
        while let Some(key) = scanner.next_key(&mut first)? {
            let value = scanner.value()?;
            if &*key == b"metadata" && self.bytes[value.start] == b'{' {
                let json = [METADATA_FRONT, &self.bytes[value], b"}"].concat();
                return Ok(ObjectRef::scan(&json)?.to_object());
            }
        }
        Err(DecodeError::new("the object has no metadata", 0))
    }

    /// Copies identity and labels alone, with `annotations` in the place of its own: what is left holds no value of the object.
    pub fn to_identity_object(&self, annotations: StringMap<'_>) -> Object {
        Object::from_identity(
            self.namespace_json(),
            self.name_json(),
            self.uid_json(),
            &self.resource_version(),
            self.labels(),
            annotations,
        )
    }

    /// The whole object with `annotations`, which are JSON, in the place of its own.
    pub(crate) fn bytes_with_annotations(&self, annotations: &str) -> Vec<u8> {
        let end = self.spans.annotations.end();
        let start = end - self.annotations_bytes().len();
        [&self.bytes[..start], annotations.as_bytes(), &self.bytes[end..]].concat()
    }

    fn text(&self, span: Span) -> &'a str {
        std::str::from_utf8(span.of(self.bytes)).expect("what is scanned is checked to be UTF-8")
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
        let version_json = escape(version.as_str());
        let texts_bytes = namespace_json.len() + name_json.len() + uid_json.len() + version_json.len();
        let maps_bytes = labels.as_json().len() + annotations.as_json().len();
        let mut builder = Builder { json: Vec::with_capacity(texts_bytes + maps_bytes + Builder::KEYS_BYTES) };
        builder.json.extend_from_slice(b"{\"metadata\":");
        let spans = Spans {
            kind: Span::default(),
            name: builder.text("name", name_json),
            namespace: builder.text("namespace", namespace_json),
            uid: builder.text("uid", uid_json),
            version: builder.text("resourceVersion", &version_json),
            labels: builder.member("labels", labels.as_json()),
            annotations: builder.member("annotations", annotations.as_json()),
            // Never as a server sent it.
            metadata: Span::default(),
            marks: Marks::default(),
        };
        builder.json.extend_from_slice(b"}}");
        Self { bytes: builder.json.into(), spans }
    }

    /// The same object, borrowed: every accessor is there.
    pub fn as_ref(&self) -> ObjectRef<'_> {
        ObjectRef { bytes: &self.bytes, spans: self.spans }
    }
}

impl DecodeError {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>, offset: usize) -> Self {
        Self { what: what.into(), offset, key: None }
    }

    /// Namespace and name of the object that cannot be read, as [`Identity::key`](super::Identity::key) of it would be;
    /// `None` where they cannot be read either.
    pub fn object_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The same error of the object that `bytes` hold.
    fn about(self, bytes: &[u8]) -> Self {
        let key = find_name(bytes).map(|(namespace, name)| Identity::key_from(namespace, name));
        Self { key, ..self }
    }

    /// The same error of the object of which `bytes` hold the beginning.
    pub(crate) fn about_beginning(self, bytes: &[u8]) -> Self {
        let key = find_name_at_beginning(bytes).map(|(namespace, name)| Identity::key_from(namespace, name));
        Self { key, ..self }
    }

    /// Whether nothing is wrong with the bytes but that they end where they do.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.what == ENDS_EARLY || self.what == NO_STRING_END
    }

    /// The same error in bytes that begin `by` earlier.
    pub(crate) fn moved(self, by: usize) -> Self {
        Self { offset: self.offset + by, ..self }
    }
}

/// Writes the members of `metadata` and remembers where they stand.
struct Builder {
    json: Vec<u8>,
}

impl Builder {
    /// What braces, keys, quotes and commas take at most.
    const KEYS_BYTES: usize = 100;

    /// Writes a text, unless it is empty.
    fn text(&mut self, key: &str, text_json: &str) -> Span {
        if text_json.is_empty() {
            return Span::default();
        }
        self.key(key);
        self.json.push(b'"');
        let start = self.json.len();
        self.json.extend_from_slice(text_json.as_bytes());
        self.json.push(b'"');
        Span::new(start..start + text_json.len())
    }

    /// Writes a value of any kind, unless it is empty.
    fn member(&mut self, key: &str, json: &str) -> Span {
        if json.is_empty() {
            return Span::default();
        }
        self.key(key);
        let start = self.json.len();
        self.json.extend_from_slice(json.as_bytes());
        Span::new(start..self.json.len())
    }

    fn key(&mut self, key: &str) {
        self.json.push(if self.json.ends_with(b":") { b'{' } else { b',' });
        self.json.push(b'"');
        self.json.extend_from_slice(key.as_bytes());
        self.json.extend_from_slice(b"\":");
    }
}

fn version_of(text_json: &str) -> ResourceVersion {
    ResourceVersion::new(&unescape(text_json)).expect("an object without a version is refused when it is scanned")
}
