//! One line of an events file, read back: what it told of which object.

use super::record::END_AFTER_DROP;
use crate::api::{Identity, WatchId};
use crate::event::EventType;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a line in an events file says.
#[derive(Clone, Debug)]
pub struct ToldLine {
    /// The watch that told it.
    pub watch: WatchId,
    /// What happened.
    pub event_type: EventType,
    /// The object was there when the watch first listed.
    pub initial: bool,
    /// Found by comparing a list with the store.
    pub inferred: bool,
    /// Middleware dropped one of this watch since the line before: of the objects of this watch, what was told is known only
    /// as far as their last line.
    pub after_drop: bool,
    /// The object: namespace, name, uid, version, and the labels and annotations that were written, as middleware left them.
    pub identity: Identity,
}

/// The fields that are read; others are skipped, as a later version or a user's own part may write them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(default)]
    initial: bool,
    #[serde(default)]
    inferred: bool,
    #[serde(borrow)]
    watch: Cow<'a, str>,
}

impl ToldLine {
    /// Reads a line, without its newline; `None` when Faro did not write it so.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let fields: Fields<'_> = serde_json::from_slice(line).ok()?;
        let event_type = EventType::ALL.into_iter().find(|known| known.as_str() == fields.event_type)?;
        let parts = [
            text(fields.namespace)?,
            text(fields.name)?,
            text(fields.uid)?,
            fields.resource_version.as_ref(),
            object(fields.labels)?,
            object(fields.annotations)?,
        ];
        Some(Self {
            watch: WatchId::from_text(&fields.watch)?,
            event_type,
            initial: fields.initial,
            inferred: fields.inferred,
            after_drop: line.ends_with(END_AFTER_DROP),
            identity: Identity::from_text(&parts.join("\0"))?,
        })
    }
}

/// Whether `line` is a whole JSON object with an event type, whatever that is: a later version of Faro may write others, or write
/// them otherwise. No crash leaves such a line.
pub(super) fn is_whole(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow, rename = "eventType")]
        _event_type: Cow<'a, str>,
    }
    serde_json::from_slice::<Whole<'_>>(line).is_ok()
}

/// The inside of a string, as it is escaped; empty when absent.
fn text(value: Option<&RawValue>) -> Option<&str> {
    value.map_or(Some(""), |value| value.get().strip_prefix('"')?.strip_suffix('"'))
}

/// A whole object; empty when absent.
fn object(value: Option<&RawValue>) -> Option<&str> {
    value.map_or(Some(""), |value| value.get().starts_with('{').then_some(value.get()))
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::*;
    use crate::api::{ObjectRef, Watch, WatchTarget};
    use crate::event::MatchedEvent;
    use std::sync::Arc;

    fn check_read_back(object: &str, event_type: EventType, initial: bool, inferred: bool) {
        let watch = Arc::new(Watch::new(WatchTarget::all("v1/pods".parse().unwrap()), "test", Some("é \"x\"".to_owned())));
        let object = ObjectRef::scan(object.as_bytes()).unwrap();
        let mut event = MatchedEvent::new(event_type, Arc::clone(&watch), object.to_object());
        (event.initial, event.inferred) = (initial, inferred);
        let mut line = Vec::new();
        Record::default().append(&event, None, false, &mut line);
        let told = ToldLine::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!((told.watch, told.event_type, told.initial, told.inferred), (watch.id, event_type, initial, inferred));
        assert_eq!(told.identity.as_text(), Identity::of(&object).as_text());
    }

    #[test]
    fn what_the_record_writes_is_read_back_as_it_was() {
        check_read_back(
            r#"{"metadata":{"name":"web-0","namespace":"default","uid":"0a-1","resourceVersion":"7","labels":{"app":"x y"},"annotations":{"k":"\n\u00fc"}}}"#,
            EventType::Added,
            true,
            false,
        );
        check_read_back(r#"{"metadata":{"name":"n1","resourceVersion":"7"}}"#, EventType::Deleted, false, true);
        check_read_back(
            r#"{"metadata":{"name":"caf\u00e9\"\n","uid":"\"u","resourceVersion":"v\"1"}}"#,
            EventType::Updated,
            false,
            false,
        );
    }

    #[test]
    fn unknown_fields_are_skipped_and_other_lines_are_not_ours() {
        let line =
            r#"{"x":{"watch":1},"eventType":"ADDED","resourceVersion":"7","more":[1,{"a":null}],"watch":"0000000000c0ffee"}"#;
        assert_eq!(ToldLine::parse(line.as_bytes()).unwrap().identity.version(), "7");
        for (from, to) in [
            ("ADDED", "MOVED"),
            ("\"7\"", "7"),
            ("\"7\"", "\"\""),
            ("0000000000c0ffee", "nobody"),
            ("\"watch\":\"0000000000c0ffee\"", "\"y\":1"),
            ("}]", ""),
            ("\"more\":[1,{\"a\":null}]", "\"labels\":[]"),
            ("\"more\":[1,{\"a\":null}]", "\"uid\":1"),
        ] {
            assert!(line.contains(from) && ToldLine::parse(line.replace(from, to).as_bytes()).is_none(), "{from} {to}");
        }
        for other in ["", "{}", "null", "\0\0\0", "{\"eventType\":"] {
            assert!(ToldLine::parse(other.as_bytes()).is_none(), "{other:?}");
        }
    }
}
