//! What a daemon wrote: its JSON lines, each held to the exact form that is promised.

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) timestamp: String,
    pub(crate) event_type: String,
    pub(crate) gvr: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) initial: bool,
    #[serde(default)]
    pub(crate) inferred: bool,
    pub(crate) cluster: Option<String>,
    pub(crate) watch: String,
}

impl Line {
    /// `watch/uid/resourceVersion/eventType`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}/{}/{}", self.watch, self.uid, self.resource_version, self.event_type)
    }

    /// `ADDED name`, or `ADDED namespace/name initial`: what most scenarios are about.
    pub(crate) fn brief(&self) -> String {
        let place = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let initial = if self.initial { " initial" } else { "" };
        let inferred = if self.inferred { " inferred" } else { "" };
        format!("{} {place}{}{initial}{inferred}", self.event_type, self.name)
    }

    /// The object, in one watch.
    pub(crate) fn object(&self) -> (&str, &str, &str, &str) {
        (&self.watch, &self.gvr, self.namespace.as_deref().unwrap_or_default(), &self.name)
    }
}

/// The complete lines of every events file in `folder`, in order, gzipped ones too.
///
/// # Panics
///
/// When a line has not the promised form, or an id occurs twice.
pub(crate) fn read(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for text in texts(folder) {
        // What follows the last newline is still being written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        lines.extend(complete.lines().map(parse));
    }
    let mut ids = BTreeSet::new();
    for line in &lines {
        // A server that is restored from a backup goes back to states that were told before; comparison finds them.
        assert!(ids.insert(line.id()) || line.inferred, "told twice: {line:?}");
    }
    lines
}

/// The text of each events file, oldest first.
fn texts(folder: &Path) -> Vec<String> {
    for _ in 0..LOOKS_MAX {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let names = entries.map(|entry| entry.expect("a folder of ours can be read").file_name().into_string().expect("ASCII"));
        let files: BTreeSet<String> = names.filter(|name| name.starts_with("events-") && !name.ends_with(".tmp")).collect();
        // For a moment a file is there twice, and the plain one is as good.
        let doubles = |name: &String| name.strip_suffix(".gz").is_some_and(|plain| files.contains(plain));
        let texts: Result<_, _> = files.iter().filter(|name| !doubles(name)).map(|name| text(&folder.join(name))).collect();
        match texts {
            // What was compressed or removed meanwhile is looked for again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            texts => return texts.expect("an events file can be read"),
        }
    }
    panic!("files of {} come and go all the time", folder.display());
}

/// Files vanish while they are looked at, but not so often.
const LOOKS_MAX: u32 = 100;

fn text(path: &Path) -> io::Result<String> {
    if path.extension().is_some_and(|extension| extension == "gz") {
        io::read_to_string(GzDecoder::new(File::open(path)?))
    } else {
        fs::read_to_string(path)
    }
}

/// Reads one line.
///
/// # Panics
///
/// When it has not the promised form.
pub(crate) fn parse(text: &str) -> Line {
    let line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let keys: Keys = serde_json::from_str(text).expect("it was an object just now");
    let mut rest = FIELDS.iter();
    assert!(keys.0.iter().all(|key| rest.any(|field| field == key)), "fields out of order: {text}");
    // An annotation may hold JSON of its own, whose quotes are escaped.
    let own = text.replace(r#"\":"#, "");
    assert!(!own.contains(":{}") && !own.contains(":false,"), "an empty field is absent: {text}");
    let form: String = line.timestamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000Z", "{text}");
    assert!(["ADDED", "UPDATED", "DELETED"].contains(&line.event_type.as_str()), "{text}");
    assert!(line.watch.len() == 16 && line.watch.chars().all(|c| c.is_ascii_hexdigit()), "{text}");
    assert!(!line.uid.is_empty() && !line.resource_version.is_empty(), "{text}");
    line
}

/// The promised order.
const FIELDS: [&str; 13] = [
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

/// The keys of an object, as they stand in the text.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry()? {
            keys.push(key);
        }
        Ok(Keys(keys))
    }
}
