//! One version of one object: its identity, what selectors look at, and its text in the order in which a real server writes it.

use super::catalog::Resource;
use super::json::Json;
use bytes::Bytes;

/// One version of one object. It never changes; all lists and watches share its text.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// `namespace/name`, or the name alone when there is no namespace: the order of lists.
    pub(crate) key: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) labels: Vec<(String, String)>,
    /// What field selectors may name besides name and namespace, and its value.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// From `"metadata":` to the closing brace; `kind` and `apiVersion` depend on who asks.
    tail: Text,
    /// The metadata alone, as metadata-only answers have it.
    metadata: Text,
}

/// What of an object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    Full,
    /// `PartialObjectMetadata`.
    Metadata,
}

/// JSON text, and where in it the digits of the version are.
#[derive(Clone, Debug)]
struct Text {
    bytes: Bytes,
    at: usize,
    length: usize,
}

/// The order of the fields of Go's `ObjectMeta` (`k8s.io/apimachinery/pkg/apis/meta/v1/types.go`).
const METADATA_ORDER: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Keys of objects that are maps in Go, which it writes in alphabetical order.
const MAPS: [&str; 3] = ["data", "binaryData", "stringData"];

impl Object {
    /// Takes an object whose metadata is complete but for the version.
    pub(crate) fn new(mut json: Json, resource: &Resource, version: u64) -> Self {
        let metadata = json.entry("metadata");
        metadata.remove("resourceVersion");
        for key in ["labels", "annotations"] {
            metadata.entry(key).sort();
            if metadata.entry(key).entries().is_empty() {
                metadata.remove(key);
            }
        }
        if metadata.get("managedFields").is_some_and(|fields| fields.items().is_empty()) {
            metadata.remove("managedFields");
        }
        let metadata_text = Text::of_metadata(metadata, version);
        let tail =
            if resource.custom { Text::custom_tail(&json, version) } else { Text::built_in_tail(&mut json, &metadata_text) };
        Self {
            key: key(json.text_at("metadata.namespace"), json.text_at("metadata.name")),
            namespace: json.text_at("metadata.namespace").to_owned(),
            name: json.text_at("metadata.name").to_owned(),
            uid: json.text_at("metadata.uid").to_owned(),
            version,
            labels: texts(json.at("metadata.labels")),
            fields: resource.selectable_fields().iter().map(|field| (*field, field_text(&json, field))).collect(),
            tail,
            metadata: metadata_text,
        }
    }

    /// The same content with another version, as deletes carry it.
    pub(crate) fn with_version(&self, version: u64) -> Self {
        Self { version, tail: self.tail.with_version(version), metadata: self.metadata.with_version(version), ..self.clone() }
    }

    /// The whole object as a value, without `kind` and `apiVersion`.
    pub(crate) fn json(&self) -> Json {
        let mut text = vec![b'{'];
        text.extend_from_slice(&self.tail.bytes);
        Json::parse(&text).expect("the text was written by this module")
    }

    /// About how many bytes [`write`](Self::write) appends.
    pub(crate) fn size(&self, form: Form) -> usize {
        match form {
            Form::Full => self.tail.bytes.len(),
            Form::Metadata => self.metadata.bytes.len(),
        }
    }

    /// Appends the object as `resource` serves it.
    pub(crate) fn write(&self, resource: &Resource, form: Form, to: &mut Vec<u8>) {
        match form {
            Form::Full => {
                to.extend_from_slice(resource.head.as_bytes());
                to.extend_from_slice(&self.tail.bytes);
            }
            Form::Metadata => {
                to.extend_from_slice(METADATA_HEAD.as_bytes());
                to.extend_from_slice(&self.metadata.bytes);
                to.push(b'}');
            }
        }
    }

    /// Appends the object as an item of a list: built-in types leave `kind` and `apiVersion` out there.
    pub(crate) fn write_item(&self, resource: &Resource, form: Form, to: &mut Vec<u8>) {
        if form == Form::Full && !resource.custom {
            to.push(b'{');
            to.extend_from_slice(&self.tail.bytes);
        } else {
            self.write(resource, form, to);
        }
    }
}

/// `namespace/name`, or the name alone when there is no namespace.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// How a metadata-only object begins.
pub(crate) const METADATA_HEAD: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

impl Text {
    /// Metadata in the order of Go's struct.
    fn of_metadata(metadata: &Json, version: u64) -> Self {
        let mut writer = MetadataWriter { text: vec![b'{'], at: 0, version: version.to_string() };
        for key in METADATA_ORDER {
            writer.key(key, metadata.get(key));
        }
        let unknown = metadata.entries().iter().filter(|(key, _)| !METADATA_ORDER.contains(&key.as_str()));
        for (key, value) in unknown {
            writer.key(key, Some(value));
        }
        writer.end()
    }

    /// A custom resource: alphabetical at every depth.
    fn custom_tail(json: &Json, version: u64) -> Self {
        let mut json = json.clone();
        json.sort();
        let metadata = json.remove("metadata").unwrap_or(Json::Null);
        let mut writer = MetadataWriter { text: br#""metadata":{"#.to_vec(), at: 0, version: version.to_string() };
        let (before, after): (Vec<_>, Vec<_>) = metadata.entries().iter().partition(|(key, _)| key.as_str() < "resourceVersion");
        before.iter().for_each(|(key, value)| writer.key(key, Some(value)));
        writer.key("resourceVersion", None);
        after.iter().for_each(|(key, value)| writer.key(key, Some(value)));
        let mut text = writer.end();
        let mut bytes = text.bytes.to_vec();
        write_rest(&json, &mut bytes);
        text.bytes = bytes.into();
        text
    }

    /// A built-in type: metadata first, then the rest as it came.
    fn built_in_tail(json: &mut Json, metadata: &Self) -> Self {
        for key in MAPS {
            if json.get(key).is_some() {
                json.entry(key).sort();
            }
        }
        let mut bytes = br#""metadata":"#.to_vec();
        let at = metadata.at + bytes.len();
        bytes.extend_from_slice(&metadata.bytes);
        write_rest(json, &mut bytes);
        Self { bytes: bytes.into(), at, length: metadata.length }
    }

    fn with_version(&self, version: u64) -> Self {
        let digits = version.to_string();
        let bytes = [&self.bytes[..self.at], digits.as_bytes(), &self.bytes[self.at + self.length..]].concat();
        Self { bytes: bytes.into(), at: self.at, length: digits.len() }
    }
}

/// Writes the keys of a metadata object; the version comes from here, wherever its key has its place.
struct MetadataWriter {
    text: Vec<u8>,
    at: usize,
    version: String,
}

impl MetadataWriter {
    fn key(&mut self, key: &str, value: Option<&Json>) {
        if key != "resourceVersion" && value.is_none() {
            return;
        }
        if self.text.last() != Some(&b'{') {
            self.text.push(b',');
        }
        Json::text(key).write(&mut self.text);
        self.text.push(b':');
        if let Some(value) = value {
            value.write(&mut self.text);
        } else {
            self.at = self.text.len() + 1;
            self.text.extend_from_slice(format!("\"{}\"", self.version).as_bytes());
        }
    }

    fn end(mut self) -> Text {
        self.text.push(b'}');
        Text { bytes: self.text.into(), at: self.at, length: self.version.len() }
    }
}

/// The keys after the metadata, and the closing brace.
fn write_rest(json: &Json, to: &mut Vec<u8>) {
    for (key, value) in json.entries() {
        if !matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
            to.push(b',');
            Json::text(key).write(to);
            to.push(b':');
            value.write(to);
        }
    }
    to.push(b'}');
}

fn texts(map: Option<&Json>) -> Vec<(String, String)> {
    let entries = map.map(Json::entries).unwrap_or_default();
    entries.iter().map(|(key, value)| (key.clone(), value.as_text().unwrap_or_default().to_owned())).collect()
}

/// A field as selectors compare it: Go's zero value when it is missing.
fn field_text(json: &Json, path: &str) -> String {
    match json.at(path) {
        Some(Json::Text(text)) => text.clone(),
        Some(Json::Bool(value)) => value.to_string(),
        Some(Json::Number(number)) => number.to_string(),
        Some(Json::Null | Json::Array(_) | Json::Object(_)) | None => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.replicas" | "status.successful" => "0".to_owned(),
            _ => String::new(),
        },
    }
}
