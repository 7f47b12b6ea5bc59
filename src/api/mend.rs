//! Reads leniently what Go's decoder reads: `null` among labels and annotations, and lone surrogates in any string.
//!
//! Takes JSON that was refused; gives a copy in which each such `null` is `""` and each lone surrogate U+FFFD, as Go's
//! `encoding/json` decodes them, or nothing where neither is in it. Also finds the name of an object whose metadata cannot be
//! read. Nothing here is on the way of what can be read as it is.

use super::DecodeError;
use super::json_text::lone_surrogates;
use super::scan::Scanner;
use std::ops::Range;

/// What stands for a lone surrogate: as long as one.
const REPLACEMENT: &[u8] = b"\\ufffd";

/// A copy of an object, or of a line of a watch, that can be read; `None` when that needs nothing of the kind.
pub(crate) fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let surrogates = lone_surrogates(json);
    let mut copy = json.to_vec();
    for at in &surrogates {
        copy[*at..at + REPLACEMENT.len()].copy_from_slice(REPLACEMENT);
    }
    let mut nulls = Vec::new();
    // What else is wrong with it shows when the copy is read.
    let _ = find_nulls(&mut Scanner::new(&copy), Nesting::Any, &mut nulls);
    for null in nulls.iter().rev() {
        copy.splice(null.clone(), *b"\"\"");
    }
    (!surrogates.is_empty() || !nulls.is_empty()).then_some(copy)
}

/// Namespace and name of an object, as JSON text without quotes; the namespace is empty where it has none. `None` when the
/// name, or a namespace that is there, cannot be read.
pub(super) fn find_name(json: &[u8]) -> Option<(&str, &str)> {
    find_name_in(json, false)
}

/// The same of an object of which the beginning is there. As every server does that sorts keys or has Go's structures, `namespace`
/// comes behind `name` and before `uid`.
pub(super) fn find_name_at_beginning(json: &[u8]) -> Option<(&str, &str)> {
    find_name_in(json, true)
}

fn find_name_in(json: &[u8], is_cut: bool) -> Option<(&str, &str)> {
    let mut scanner = Scanner::new(json);
    scanner.open_object().ok()?;
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first).ok()? {
        if &*key == b"metadata" && scanner.peek() == Some(b'{') {
            return name_in(&mut scanner, json, is_cut);
        }
        scanner.skip_value().ok()?;
    }
    None
}

fn name_in<'a>(scanner: &mut Scanner<'_>, json: &'a [u8], is_cut: bool) -> Option<(&'a str, &'a str)> {
    let text = |range: Range<usize>| std::str::from_utf8(&json[range]).ok();
    let (mut namespace, mut name) = (None, None);
    scanner.open_object().ok()?;
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first).ok()? {
        // Nothing that follows changes what was read.
        if is_cut && name.is_some() && (namespace.is_some() || &*key == b"uid") {
            break;
        }
        match &*key {
            b"name" if name.is_none() => name = Some(text(scanner.text().ok()?)?),
            b"namespace" if namespace.is_none() => {
                namespace = Some(if scanner.take_null() { "" } else { text(scanner.text().ok()?)? });
            }
            _ => scanner.skip_value().ok()?,
        }
    }
    Some((namespace.unwrap_or_default(), name.filter(|name| !name.is_empty())?))
}

/// Which member of an object is looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    /// An object of the API, or a line that holds one under `object`.
    Any,
    /// The object of a line.
    Object,
    /// `metadata`.
    Metadata,
    /// `labels` or `annotations`.
    Map,
}

fn find_nulls(scanner: &mut Scanner<'_>, nesting: Nesting, nulls: &mut Vec<Range<usize>>) -> Result<(), DecodeError> {
    scanner.open_object()?;
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first)? {
        let inner = match (nesting, &*key) {
            (Nesting::Any, b"object") => Some(Nesting::Object),
            (Nesting::Any | Nesting::Object, b"metadata") => Some(Nesting::Metadata),
            (Nesting::Metadata, b"labels" | b"annotations") => Some(Nesting::Map),
            _ => None,
        };
        match (inner, scanner.peek()) {
            (Some(inner), Some(b'{')) => find_nulls(scanner, inner, nulls)?,
            (Some(_) | None, _) => {
                let place = scanner.value()?;
                if nesting == Nesting::Map && scanner.is_null(&place) {
                    nulls.push(place);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ListPage, ObjectRef, WatchLine};

    const OBJECT: &str = r#"{"kind":"K","metadata":{"name":"a\ud800","namespace":"n","resourceVersion":"7","labels":{"x":null,"y":"\udc00z"},"annotations":{"k\uD83D":"v\ud83d\ude00", "n" : null }},"spec":{"null":null,"s":"\udfff"}}"#;
    const MENDED: &str = r#"{"kind":"K","metadata":{"name":"a\ufffd","namespace":"n","resourceVersion":"7","labels":{"x":"","y":"\ufffdz"},"annotations":{"k\ufffd":"v\ud83d\ude00", "n" : "" }},"spec":{"null":null,"s":"\ufffd"}}"#;

    #[test]
    fn nulls_of_maps_and_lone_surrogates_are_read_as_go_reads_them() {
        assert!(ObjectRef::scan(OBJECT.as_bytes()).is_err());
        assert_eq!(String::from_utf8(mended(OBJECT.as_bytes()).unwrap()).unwrap(), MENDED);
        let line = format!(r#"{{"type":"ADDED","object":{OBJECT}}}"#);
        let copy = mended(line.as_bytes()).unwrap();
        let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(&copy) else { panic!("it can be read now") };
        assert_eq!((&*object.name(), object.bytes()), ("a\u{fffd}", MENDED.as_bytes()));
        assert_eq!(object.labels().get("x").unwrap(), "");
        assert_eq!(object.annotations().get("k\u{fffd}").unwrap(), "v\u{1f600}");
        let page = format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{OBJECT},{{"metadata":7}}]}}"#);
        let page = ListPage::parse(page.as_bytes()).unwrap();
        let objects: Vec<_> = page.objects().map(|object| object.map(|object| object.bytes().to_vec()).ok()).collect();
        assert_eq!(objects, [Some(MENDED.as_bytes().to_vec()), None]);
    }

    #[test]
    fn what_holds_nothing_of_the_kind_is_not_copied() {
        for json in [
            "",
            "{",
            "null",
            r#"{"metadata":{"labels":null}}"#,
            r#"{"metadata":{"labels":{"a":{"b":null}}}}"#,
            r#"{"metadata":{"labels":{"a":"null","b":"\\ud800","c":"\ud83d\ude00"}}}"#,
            r#"{"object":{"object":{"metadata":{"labels":{"a":null}}}}}"#,
            "{\"metadata\":\"\\",
            r#"{"metadata":"\u12"#,
        ] {
            assert_eq!(mended(json.as_bytes()), None, "{json}");
        }
        let deep = r#"{"object":"#.repeat(1 << 20);
        assert_eq!(mended(deep.as_bytes()), None);
    }

    #[test]
    fn the_name_of_an_object_is_found_whatever_else_cannot_be_read() {
        for (json, expected) in [
            (r#"{"metadata":{"name":"a","namespace":"n","labels":7}}"#, Some("n/a")),
            (r#"{"metadata":{"annotations":["x"],"labels":{"a":{}},"name":"a","namespace":null,"uid":7}}"#, Some("a")),
            (r#"{"spec":{"metadata":{"name":"no"}},"metadata":{"name":"a\u0062","resourceVersion":1}}"#, Some("ab")),
            (r#"{"metadata":{"name":"a","namespace":7}}"#, None),
            (r#"{"metadata":{"name":7,"namespace":"n"}}"#, None),
            (r#"{"metadata":{"name":"","labels":7}}"#, None),
            (r#"{"metadata":{"name":"a","labels":7"#, None),
            (r#"{"metadata":{"labels":7}}"#, None),
            (r#"{"metadata":7}"#, None),
        ] {
            let error = ObjectRef::scan(json.as_bytes()).unwrap_err();
            assert_eq!(error.object_key().map(crate::api::Identity::words_of_key).as_deref(), expected, "{json}");
        }
        let broken = b"{\"metadata\":{\"annotations\":{\"a\":\"\xff\"},\"name\":\"a\",\"resourceVersion\":\"7\"}}";
        assert_eq!(ObjectRef::scan(broken).unwrap_err().object_key(), Some("\0a"));
    }

    #[test]
    fn the_name_of_an_object_is_found_in_its_beginning_where_nothing_behind_that_can_change_it() {
        for (json, expected) in [
            (r#"{"kind":"Pod","metadata":{"name":"a","namespace":"n","annotations":{"a":"xx"#, Some(("n", "a"))),
            (r#"{"metadata":{"name":"a","uid":"u","annotations":{"a":"xx"#, Some(("", "a"))),
            (r#"{"metadata":{"name":"a","annotations":{"a":"xx"#, None),
            (r#"{"metadata":{"annotations":{"a":"xx"#, None),
            (r#"{"metadata":{"namespace":"n","annotations":{"a":"xx"#, None),
            (r#"{"spec":{"a":"xx"#, None),
        ] {
            assert_eq!(find_name_at_beginning(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn of_a_whole_object_the_metadata_is_what_a_server_would_have_given_alone() {
        let whole = br#"{"kind":"Pod","spec":{"a":1},"metadata":{"name":"a","resourceVersion":"7","managedFields":[{"manager":"m"}],"ownerReferences":[{}]},"status":{}}"#;
        let object = ObjectRef::scan(whole).unwrap().to_metadata_object().unwrap();
        let expected = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","resourceVersion":"7","managedFields":[{"manager":"m"}],"ownerReferences":[{}]}}"#;
        assert_eq!(std::str::from_utf8(object.as_ref().bytes()).unwrap(), expected);
        let broken = br#"{"metadata":{"name":"a","resourceVersion":"7","managedFields":[broken"#;
        assert!(ObjectRef::scan(broken).unwrap().to_metadata_object().is_err());
    }
}
