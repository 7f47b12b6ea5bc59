//! Who set which field: `metadata.managedFields`, as servers keep it for updates and patches.
//!
//! Lists are taken as one field each, except finalizers; a real server follows their merge keys.

use super::json::Json;
use std::collections::{BTreeMap, BTreeSet};

/// Who changes an object, how it is served, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manager<'a> {
    pub(crate) name: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) custom: bool,
    pub(crate) now: &'a str,
}

/// A field by the keys that lead to it, each behind a [`MARK`], as in `f:metadata`, `f:labels`, `f:app`.
type Path = String;

/// Stands before each key of a path. JSON escapes it, so no key of an object in use has it; it sorts before all that they have.
const MARK: char = '\u{1}';

/// Metadata that nobody owns.
const UNOWNED: [&str; 10] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];
/// Objects of built-in types that Go holds by value, so that nobody owns their being there.
const BY_VALUE: [&str; 4] = ["spec", "status", "source", "template"];
/// Objects of built-in types that only change as a whole.
const ATOMIC: [&str; 2] = ["involvedObject", "selector"];

/// Notes in `new` which fields `manager` changed since `old`.
pub(crate) fn note(old: Option<&Json>, new: &mut Json, manager: Manager<'_>) {
    let before = old.map(|old| leaves(old, manager.custom)).unwrap_or_default();
    let after = leaves(new, manager.custom);
    let changed: BTreeSet<&Path> =
        after.iter().filter(|(path, value)| before.get(*path) != Some(value)).map(|(path, _)| path).collect();
    let known = old.and_then(|old| old.at("metadata.managedFields")).map(Json::items).unwrap_or_default();
    if changed.is_empty() && before.len() == after.len() {
        let known = Json::Array(known.to_vec());
        new.entry("metadata").set("managedFields", known);
        return;
    }
    let mut entries = Vec::new();
    let mut is_known = false;
    for entry in known {
        let is_own = is_of(entry, manager);
        let mut owned = BTreeSet::new();
        collect(entry.get("fieldsV1").unwrap_or(&Json::Null), &mut Path::new(), &mut owned);
        owned.retain(|path| after.contains_key(path) && (is_own || is_presence(path) || !changed.contains(path)));
        if is_own {
            is_known = true;
            owned.extend(changed.iter().map(|path| (*path).clone()));
        }
        if !owned.is_empty() {
            entries.push(if is_own { entry_of(&owned, manager) } else { with_fields(entry, &owned) });
        }
    }
    if !is_known && !changed.is_empty() {
        entries.push(entry_of(&changed.into_iter().cloned().collect(), manager));
    }
    new.entry("metadata").set("managedFields", Json::Array(entries));
}

fn is_of(entry: &Json, manager: Manager<'_>) -> bool {
    entry.text_at("manager") == manager.name && entry.text_at("apiVersion") == manager.api_version
}

/// Whether the path says only that an object is there.
fn is_presence(path: &Path) -> bool {
    path.ends_with("\u{1}.")
}

fn entry_of(owned: &BTreeSet<Path>, manager: Manager<'_>) -> Json {
    Json::object([
        ("manager", Json::text(manager.name)),
        ("operation", Json::text("Update")),
        ("apiVersion", Json::text(manager.api_version)),
        ("time", Json::text(manager.now)),
        ("fieldsType", Json::text("FieldsV1")),
        ("fieldsV1", tree(owned)),
    ])
}

fn with_fields(entry: &Json, owned: &BTreeSet<Path>) -> Json {
    let mut entry = entry.clone();
    entry.set("fieldsV1", tree(owned));
    entry
}

/// The paths as nested objects.
fn tree(paths: &BTreeSet<Path>) -> Json {
    let mut tree = Json::object([]);
    for path in paths {
        let leaf = path.split(MARK).skip(1).fold(&mut tree, |at, key| {
            at.entries_mut();
            at.entry(key)
        });
        leaf.entries_mut();
    }
    tree
}

/// The paths of nested objects.
fn collect(tree: &Json, path: &mut Path, to: &mut BTreeSet<Path>) {
    for (key, value) in tree.entries() {
        let length = path.len();
        path.extend([MARK]);
        path.push_str(key);
        if value.entries().is_empty() {
            to.insert(path.clone());
        }
        collect(value, path, to);
        path.truncate(length);
    }
}

/// Every field that somebody can own, with its value.
fn leaves(json: &Json, custom: bool) -> BTreeMap<Path, Option<&Json>> {
    let mut found = BTreeMap::new();
    for (key, value) in json.entries() {
        match key.as_str() {
            "kind" | "apiVersion" => {}
            "metadata" => {
                let owned = value.entries().iter().filter(|(key, _)| !UNOWNED.contains(&key.as_str()));
                owned.for_each(|(key, value)| walk(value, key, &mut METADATA.to_owned(), custom, &mut found));
            }
            _ => walk(value, key, &mut Path::new(), custom, &mut found),
        }
    }
    found
}

fn walk<'a>(value: &'a Json, key: &str, path: &mut Path, custom: bool, to: &mut BTreeMap<Path, Option<&'a Json>>) {
    let length = path.len();
    path.extend([MARK]);
    path.push_str("f:");
    path.push_str(key);
    let is_atomic = !custom && ATOMIC.contains(&key);
    let is_finalizers = key == "finalizers" && path.starts_with(METADATA);
    if is_atomic || (value.entries().is_empty() && !is_finalizers) {
        to.insert(path.clone(), Some(value));
    } else {
        if custom || !BY_VALUE.contains(&key) {
            to.insert(format!("{path}{MARK}."), None);
        }
        for (key, value) in value.entries() {
            walk(value, key, path, custom, to);
        }
        for value in value.items().iter().filter_map(Json::as_text) {
            to.insert(format!("{path}{MARK}v:{value:?}"), None);
        }
    }
    path.truncate(length);
}

/// The path of all metadata.
const METADATA: &str = "\u{1}f:metadata";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Option<&str>, new: &str, manager: &str, expected: &str) -> String {
        let old = old.map(|old| Json::parse(old.as_bytes()).unwrap());
        let mut new = Json::parse(new.as_bytes()).unwrap();
        note(old.as_ref(), &mut new, Manager { name: manager, api_version: "v1", custom: false, now: "t" });
        let fields = new.at("metadata.managedFields").unwrap().items();
        let told: Vec<String> = fields
            .iter()
            .map(|it| format!("{} {}", it.text_at("manager"), String::from_utf8(it.get("fieldsV1").unwrap().to_vec()).unwrap()))
            .collect();
        assert_eq!(told.join("; "), expected);
        String::from_utf8(new.to_vec()).unwrap()
    }

    #[test]
    fn each_manager_owns_what_it_set_last() {
        let made = check(
            None,
            r#"{"metadata":{"name":"x"},"data":{"a":"1","b":"1"}}"#,
            "create",
            r#"create {"f:data":{".":{},"f:a":{},"f:b":{}}}"#,
        );
        let labelled = made.replace(r#""name":"x""#, r#""name":"x","labels":{"app":"web"}"#).replace(r#""b":"1""#, r#""b":"2""#);
        let expected =
            r#"create {"f:data":{".":{},"f:a":{}}}; label {"f:data":{"f:b":{}},"f:metadata":{"f:labels":{".":{},"f:app":{}}}}"#;
        let labelled = check(Some(&made), &labelled, "label", expected);
        let unlabelled = labelled.replace(r#","labels":{"app":"web"}"#, "");
        let expected = r#"create {"f:data":{".":{},"f:a":{}}}; label {"f:data":{"f:b":{}}}"#;
        check(Some(&labelled), &unlabelled, "other", expected);
    }
}
