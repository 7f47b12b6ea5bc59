//! What is remembered of an object's labels and annotations: no more than [`STORED_BYTES_MAX`], however many it has.
//!
//! Takes them as they are written; gives those that the state gets. The longest values of annotations become digests first; of what
//! is too much even so, keys and values together are one digest under the key [`LEFT_OUT`].

use super::{DigestKey, Redaction};
use crate::api::{Identity, StringMap, close_entries, push_entry, unescape};
use std::cmp::Reverse;

/// Most bytes of labels and annotations together, as JSON, that are remembered of one object. Of usual objects it is all of them.
pub const STORED_BYTES_MAX: usize = 16 * 1024;

/// Most of them may be labels.
const LABELS_BYTES_MAX: usize = STORED_BYTES_MAX / 2;

/// Under which key the digest of what was left out is; no label or annotation of an object has it.
const LEFT_OUT: &str = "(left out)";

/// What an entry has besides key and value: quotes, colon, and comma or brace; and what the whole has besides its entries.
const ENTRY_BYTES: usize = 6;
const BRACE_BYTES: usize = 1;

/// As long as any digest with a length.
const DIGEST_BYTES_MAX: usize = 48;

impl Redaction {
    /// Labels and annotations as they are remembered, as JSON; `None` where that is as they are.
    pub fn of_state(&self, labels: StringMap<'_>, annotations: StringMap<'_>) -> Option<[String; 2]> {
        if labels.as_json().len() + annotations.as_json().len() <= STORED_BYTES_MAX {
            return None;
        }
        let labels = cut(self.key(), &entries(labels), LABELS_BYTES_MAX);
        Some([labels.clone(), shortened(self.key(), annotations, STORED_BYTES_MAX - labels.len())])
    }

    /// What is remembered of an object that may have come from where nothing was left out.
    pub fn fitted(&self, identity: Identity) -> Identity {
        if identity.maps_bytes() <= STORED_BYTES_MAX {
            return identity;
        }
        let object = identity.to_object();
        let object = object.as_ref();
        match self.of_state(object.labels(), object.annotations()) {
            Some([labels, annotations]) => Identity::with_maps(&object, labels.as_bytes(), annotations.as_bytes()),
            None => identity,
        }
    }
}

/// Keys and values, as JSON text without quotes.
fn entries(map: StringMap<'_>) -> Vec<(&str, String)> {
    map.raw_entries().map(|(key, value)| (key, value.to_owned())).collect()
}

/// The annotations with digests in the place of as many of the longest values as it takes.
fn shortened(key: &DigestKey, annotations: StringMap<'_>, room: usize) -> String {
    let mut entries = entries(annotations);
    let mut bytes = entries.iter().map(bytes_of).sum::<usize>() + BRACE_BYTES;
    let mut longest: Vec<usize> = (0..entries.len()).collect();
    longest.sort_by_key(|index| Reverse(entries[*index].1.len()));
    for index in longest {
        let value = &mut entries[index].1;
        if bytes <= room || value.len() <= DIGEST_BYTES_MAX {
            break;
        }
        let digest = key.digest_with_length(unescape(value).as_bytes());
        bytes -= value.len() - digest.len();
        *value = digest;
    }
    cut(key, &entries, room)
}

fn bytes_of((key, value): &(&str, String)) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

/// As many entries as there is room for, from the first on, and a digest of the rest.
fn cut(digest: &DigestKey, entries: &[(&str, String)], room: usize) -> String {
    let (mut json, mut bytes, mut kept) = (String::new(), BRACE_BYTES, entries.len());
    if entries.iter().map(bytes_of).sum::<usize>() + BRACE_BYTES > room {
        let room = room.saturating_sub(LEFT_OUT.len() + DIGEST_BYTES_MAX + ENTRY_BYTES);
        kept = entries
            .iter()
            .take_while(|entry| {
                bytes += bytes_of(entry);
                bytes <= room
            })
            .count();
    }
    let (kept, left_out) = entries.split_at(kept);
    kept.iter().for_each(|(key, value)| push_entry(&mut json, key, value));
    if !left_out.is_empty() {
        let mut rest = String::new();
        left_out.iter().for_each(|(key, value)| push_entry(&mut rest, key, value));
        close_entries(&mut rest);
        push_entry(&mut json, LEFT_OUT, &digest.digest_with_length(rest.as_bytes()));
    }
    close_entries(&mut json);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction() -> Redaction {
        Redaction::new(DigestKey::new(b"k"))
    }

    fn map(entries: &[(String, String)]) -> String {
        let mut json = String::new();
        entries.iter().for_each(|(key, value)| push_entry(&mut json, key, value));
        close_entries(&mut json);
        json
    }

    fn stored(labels: &[(String, String)], annotations: &[(String, String)]) -> Option<[String; 2]> {
        let (labels, annotations) = (map(labels), map(annotations));
        let stored = redaction().of_state(StringMap::from_json(&labels), StringMap::from_json(&annotations));
        if let Some(stored) = &stored {
            assert!(stored[0].len() + stored[1].len() <= STORED_BYTES_MAX, "{} and {}", stored[0].len(), stored[1].len());
            stored
                .iter()
                .filter(|map| !map.is_empty())
                .for_each(|map| assert!(serde_json::from_str::<serde_json::Value>(map).is_ok()));
        }
        stored
    }

    fn entry(key: &str, value_bytes: usize) -> (String, String) {
        (key.to_string(), "v".repeat(value_bytes))
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(stored(&[], &[]), None);
        let exact = STORED_BYTES_MAX - r#"{"a":""}"#.len();
        assert_eq!(stored(&[], &[entry("a", exact)]), None);
        assert!(stored(&[], &[entry("a", exact + 1)]).is_some());
    }

    #[test]
    fn the_longest_values_of_annotations_become_digests_until_the_rest_fits() {
        let [labels, annotations] = stored(&[entry("app", 3)], &[entry("a", 9000), entry("b", 7000), entry("c", 8000)]).unwrap();
        assert_eq!(labels, r#"{"app":"vvv"}"#);
        let found: Vec<_> =
            StringMap::from_json(&annotations).iter().map(|(key, value)| format!("{key} {}", value.len())).collect();
        let digest = DigestKey::new(b"k").digest_with_length("v".repeat(9000).as_bytes());
        assert_eq!(found, [format!("a {}", digest.len()), "b 7000".to_owned(), "c 8000".to_owned()]);
        assert!(annotations.contains(&digest));
    }

    #[test]
    fn of_ever_so_many_small_ones_the_rest_is_one_digest() {
        let many = |count: usize| (0..count).map(|n| entry(&n.to_string(), 5)).collect::<Vec<_>>();
        let [labels, annotations] = stored(&many(5000), &many(20_000)).unwrap();
        for map in [&labels, &annotations] {
            let last = StringMap::from_json(map).iter().last().unwrap();
            assert!(last.0 == LEFT_OUT && last.1.starts_with("redacted:"), "{last:?}");
        }
        let [_, other] = stored(&many(5000), &many(20_001)).unwrap();
        assert_ne!(annotations, other, "a change still shows");
        assert!(labels.len() > LABELS_BYTES_MAX - 200 && annotations.len() > LABELS_BYTES_MAX - 200);
    }

    #[test]
    fn an_identity_is_fitted_and_keeps_who_it_is() {
        let text = format!("n\0a\0u\x007\0{}\0{}", map(&[entry("l", 5)]), map(&[entry("a", 20_000)]));
        let fitted = redaction().fitted(Identity::from_text(&text).unwrap());
        assert_eq!((fitted.key(), fitted.uid_json(), fitted.version()), ("n\0a", "u", "7"));
        assert!(fitted.maps_bytes() < 100 && fitted.as_text().contains("redacted:"));
    }
}
