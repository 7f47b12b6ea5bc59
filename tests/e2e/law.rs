//! The law that lines obey whatever happened to servers and connections.
//!
//! Each object's lines tell one story (ADDED, UPDATED, DELETED in this order), the end of all stories is what the server
//! has, and nothing is told that the server did not say.

use crate::lines::Line;
use crate::writer::Change;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An object in a watch: watch, gvr, namespace, name.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

/// What is known of one object: uid and version.
type Identity<'a> = (&'a str, &'a str);

/// Holds the lines of one watch to the law; `server` is every object it should know in the end.
///
/// # Panics
///
/// When a story is broken or its end is not the server's.
pub(crate) fn check_stories(lines: &[Line], server: &[Value]) {
    let mut known: BTreeMap<Key<'_>, Identity<'_>> = BTreeMap::new();
    for line in lines {
        let before = known.get(&line.object()).copied();
        match (line.event_type.as_str(), before) {
            ("ADDED", None) => {}
            ("UPDATED", Some((uid, version))) => {
                assert_eq!(line.uid, uid, "another object is told as an update: {line:?}");
                assert_ne!(line.resource_version, version, "the same state is told again: {line:?}");
            }
            ("DELETED", Some((uid, _))) => {
                assert_eq!(line.uid, uid, "the delete of another object is told: {line:?}");
                known.remove(&line.object());
                continue;
            }
            (_, before) => panic!("told out of place, after {before:?}: {line:?}"),
        }
        known.insert(line.object(), (&line.uid, &line.resource_version));
    }
    let told: BTreeMap<(&str, &str), Identity<'_>> =
        known.into_iter().map(|((_, _, namespace, name), identity)| ((namespace, name), identity)).collect();
    assert_eq!(told, identities(server), "what the lines tell (left) is not what the server has (right)");
}

/// Of every object that `changes` deleted, exactly one delete is told.
///
/// # Panics
///
/// When that is not so.
pub(crate) fn check_deletes(lines: &[Line], changes: &[Change]) {
    let mut told: Vec<&str> = lines.iter().filter(|line| line.event_type == "DELETED").map(|line| line.uid.as_str()).collect();
    let mut deleted: Vec<&str> =
        changes.iter().filter(|change| change.event_type == "DELETED").map(|change| change.uid.as_str()).collect();
    told.sort_unstable();
    deleted.sort_unstable();
    assert_eq!(told, deleted, "uids told as deleted (left), uids deleted (right)");
}

/// Every state that is told is one that the server answered with.
///
/// # Panics
///
/// When one is not.
pub(crate) fn check_nothing_invented(lines: &[Line], changes: &[Change]) {
    let answered: BTreeSet<Identity<'_>> =
        changes.iter().filter_map(|change| Some((change.uid.as_str(), change.version.as_deref()?))).collect();
    for line in lines.iter().filter(|line| line.event_type != "DELETED") {
        assert!(answered.contains(&(line.uid.as_str(), line.resource_version.as_str())), "the server never said this: {line:?}");
    }
}

/// The state that each of `changes` led to is told.
///
/// # Panics
///
/// When one is not.
pub(crate) fn check_no_state_is_skipped(lines: &[Line], changes: &[Change]) {
    let told: BTreeSet<Identity<'_>> = lines.iter().map(|line| (line.uid.as_str(), line.resource_version.as_str())).collect();
    for change in changes {
        let version = change.version.as_deref();
        assert!(version.is_none_or(|version| told.contains(&(change.uid.as_str(), version))), "not told: {change:?}");
    }
}

/// Every change is told, one line each, in the order of the changes to each object.
///
/// # Panics
///
/// When one is missing, told twice, told out of order or told otherwise than the server answered.
pub(crate) fn check_one_by_one(lines: &[Line], changes: &[Change]) {
    let mut told: BTreeMap<(&str, &str), Vec<&Line>> = BTreeMap::new();
    for line in lines {
        told.entry((line.namespace.as_deref().unwrap_or_default(), &line.name)).or_default().push(line);
    }
    let mut made: BTreeMap<(&str, &str), Vec<&Change>> = BTreeMap::new();
    for change in changes {
        made.entry((&change.namespace, &change.name)).or_default().push(change);
    }
    assert_eq!(told.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>(), "objects told (left), objects changed (right)");
    for (object, changes) in made {
        let lines = &told[&object];
        let brief = |line: &&&Line| format!("{} {}", line.event_type, line.resource_version);
        assert_eq!(
            lines.len(),
            changes.len(),
            "{object:?}: {:?} for {changes:?}",
            lines.iter().map(|line| brief(&line)).collect::<Vec<_>>()
        );
        for (line, change) in lines.iter().zip(changes) {
            assert_eq!((line.event_type.as_str(), &line.uid), (change.event_type, &change.uid), "{line:?} for {change:?}");
            let version = change.version.as_ref();
            assert!(version.is_none_or(|version| *version == line.resource_version), "{line:?} for {change:?}");
        }
        // The delete's own version is not in the server's answer, but it is none of the states before.
        let versions: BTreeSet<&str> = lines.iter().map(|line| line.resource_version.as_str()).collect();
        assert_eq!(versions.len(), lines.len(), "{object:?}: a version is told twice");
    }
}

fn identities(server: &[Value]) -> BTreeMap<(&str, &str), Identity<'_>> {
    let identity =
        |object| ((text(object, "namespace"), text(object, "name")), (text(object, "uid"), text(object, "resourceVersion")));
    server.iter().map(identity).collect()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}
