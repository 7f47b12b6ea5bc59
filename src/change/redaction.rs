//! What is written of an object's annotations.
//!
//! Takes them as the server sent them; gives what files, standard output and state get. Nothing is allocated for those that are
//! written as they are, which nearly all are.

use super::copies::is_copy;
use super::digest::DigestKey;
use crate::api::{ObjectRef, StringMap, close_entries, push_entry, unescape};

/// Which annotations are written as digests, and with which key.
#[derive(Clone, Debug)]
pub struct Redaction {
    key: DigestKey,
    redacts_copies: bool,
    value_bytes_max: usize,
}

/// Longest value of an annotation that is written unless configured otherwise. What people and controllers write is far shorter;
/// beyond are copies and whole documents.
pub const ANNOTATION_VALUE_BYTES_MAX: usize = 16 * 1024;

impl Redaction {
    /// The usual one: copies and long values are redacted.
    pub fn new(key: DigestKey) -> Self {
        Self { key, redacts_copies: true, value_bytes_max: ANNOTATION_VALUE_BYTES_MAX }
    }

    /// Whether the well-known annotations that hold a [copy](super::COPIES) of an object are redacted.
    #[must_use]
    pub fn copies(self, redacts_copies: bool) -> Self {
        Self { redacts_copies, ..self }
    }

    /// Longest value that is written.
    #[must_use]
    pub fn value_bytes_max(self, value_bytes_max: usize) -> Self {
        Self { value_bytes_max, ..self }
    }

    pub(super) fn key(&self) -> &DigestKey {
        &self.key
    }

    /// The annotations of an object from a server as they are written, as JSON; `None` where that is as they are.
    pub fn of_object(&self, object: &ObjectRef<'_>) -> Option<String> {
        // Nearly all were told apart while they were read.
        let is_kept = !(self.redacts_copies && object.may_hold_copy()) && object.longest_annotation() <= self.value_bytes_max;
        if is_kept { None } else { self.of(object.annotations()) }
    }

    /// The same of annotations of which nothing is known.
    pub fn of(&self, annotations: StringMap<'_>) -> Option<String> {
        let is_redacted = |(key, value): (&str, &str)| self.is_copy(key) || self.is_long(value);
        if !annotations.raw_entries().any(is_redacted) {
            return None;
        }
        Some(self.written(annotations, false))
    }

    /// The annotations of one of `v1/secrets`, as JSON: every value is a digest.
    pub fn of_secret(&self, annotations: StringMap<'_>) -> String {
        self.written(annotations, true)
    }

    /// The same keys in the same order. `is_secret`: every value is a digest.
    fn written(&self, annotations: StringMap<'_>, is_secret: bool) -> String {
        let mut json = String::new();
        for (key, value) in annotations.raw_entries() {
            let is_digest = is_secret || self.is_copy(key);
            if !is_digest && !self.is_long(value) {
                push_entry(&mut json, key, value);
                continue;
            }
            let plain = unescape(value);
            let digest =
                if is_digest { self.key.digest(plain.as_bytes()) } else { self.key.digest_with_length(plain.as_bytes()) };
            push_entry(&mut json, key, &digest);
        }
        close_entries(&mut json);
        json
    }

    fn is_copy(&self, key: &str) -> bool {
        self.redacts_copies && is_copy(&unescape(key))
    }

    /// Escapes make a text longer, never shorter.
    fn is_long(&self, value: &str) -> bool {
        value.len() > self.value_bytes_max && unescape(value).len() > self.value_bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::super::copies::COPIES;
    use super::*;

    fn check(redaction: &Redaction, annotations: &str, expected: Option<&str>) {
        assert_eq!(redaction.of(StringMap::from_json(annotations)).as_deref(), expected, "{annotations}");
    }

    #[test]
    fn copies_and_long_values_are_digests_and_the_rest_stays_as_it_was_sent() {
        let redaction = Redaction::new(DigestKey::new(b"k")).value_bytes_max(4);
        let digest = |value: &str| DigestKey::new(b"k").digest(value.as_bytes());
        check(&redaction, "", None);
        check(&redaction, r#"{ "a" : "1\n2" }"#, None);
        check(&redaction, r#"{"a":"\u0041\u0041\u0041\u0041"}"#, None);
        let (copy, long) = (digest("{\"p\":\"s\"}"), digest("12345"));
        check(
            &redaction,
            r#"{"z":"\u00e9", "kubectl.kubernetes.io\/last-applied-configuration": "{\"p\":\"s\"}","a":"12345","kapp.k14s.io/original":""}"#,
            Some(&format!(
                r#"{{"z":"\u00e9","kubectl.kubernetes.io\/last-applied-configuration":"{copy}","a":"{long}:5","kapp.k14s.io/original":"{}"}}"#,
                digest("")
            )),
        );
        check(&redaction.clone().copies(false), r#"{"kapp.k14s.io/original":"1"}"#, None);
        // Of both rules that of copies says less.
        let both = r#"{"kapp.k14s.io/original":"12345"}"#;
        check(&redaction, both, Some(&format!(r#"{{"kapp.k14s.io/original":"{long}"}}"#)));
        check(&redaction.copies(false), both, Some(&format!(r#"{{"kapp.k14s.io/original":"{long}:5"}}"#)));
    }

    #[test]
    fn what_was_seen_of_an_object_while_it_was_read_hides_nothing() {
        let redaction = Redaction::new(DigestKey::new(b"k")).value_bytes_max(4);
        let keys = COPIES.iter().flat_map(|key| [(*key).to_owned(), key.replace('/', "\\/"), key.replace('n', "\\u006e")]);
        for entry in keys.map(|key| format!("\"{key}\":\"1\"")).chain(["\"a\":\"12345\"".to_owned(), "\"a\":\"1234\"".to_owned()])
        {
            let json = format!(r#"{{"metadata":{{"annotations":{{"b":"2",{entry}}},"name":"n","resourceVersion":"1"}}}}"#);
            let object = ObjectRef::scan(json.as_bytes()).unwrap();
            assert_eq!(redaction.of_object(&object), redaction.of(object.annotations()), "{json}");
            assert_eq!(redaction.of_object(&object).is_none(), entry.ends_with(":\"1234\""), "{json}");
            let all = redaction.clone().copies(false).value_bytes_max(5);
            assert_eq!(all.of_object(&object), None, "{json}");
        }
    }

    #[test]
    fn every_value_of_a_secret_is_a_digest_however_it_is_escaped() {
        let redaction = Redaction::new(DigestKey::new(b"k"));
        let written = redaction.of_secret(StringMap::from_json(r#"{"a":"\u0041","b":"A"}"#));
        let digest = DigestKey::new(b"k").digest(b"A");
        assert_eq!(written, format!(r#"{{"a":"{digest}","b":"{digest}"}}"#));
        assert_eq!(redaction.of_secret(StringMap::EMPTY), "");
    }
}
