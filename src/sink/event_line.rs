//! One line of an events file, for whoever shows or counts lines: what it says of which object, borrowed from it.
//!
//! Takes a line as [`Lines`](crate::files::Lines) gives it. Promises one pass and no allocation; what is given was checked,
//! what is skipped was only followed to its end. [`ToldLine`](super::ToldLine) reads more, for whoever goes on from a line.

use crate::api::{DecodeError, Scanner, unescape};
use crate::event::EventType;
use std::borrow::Cow;

/// What a line says. Names are as they stand in the line, with JSON's escapes: they are never control characters.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EventLine<'a> {
    /// When Faro received the change: `2025-11-10T14:33:02.123456Z`. Of two such texts the older is the lesser.
    pub timestamp: &'a str,
    /// What happened: one of [`EventType`]'s texts, or what a later version of Faro calls it.
    pub event_type: &'a str,
    /// The resource, as in `apps/v1/deployments`; empty where the line is of no [`EventType`] and names none.
    pub gvr: &'a str,
    /// The namespace, as JSON text without quotes; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The object's name, as JSON text without quotes.
    pub name: &'a str,
    /// The object was there when the watch first listed.
    pub initial: bool,
    /// Found by comparing a list with what was known.
    pub inferred: bool,
}

impl<'a> EventLine<'a> {
    /// Reads a line, with or without its newline.
    ///
    /// ```
    /// use faro::sink::EventLine;
    ///
    /// let line = br#"{"timestamp":"2025-11-10T14:33:02.123456Z","eventType":"ADDED","gvr":"v1/nodes","name":"n1","initial":true}"#;
    /// let read = EventLine::parse(line)?;
    /// assert_eq!((read.gvr, read.namespace, read.name, read.initial), ("v1/nodes", "", "n1", true));
    /// # Ok::<(), faro::api::DecodeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the line is no JSON object that ends where the line ends, or lacks time or event type, or the resource that a line of an
    /// [`EventType`] has.
    pub fn parse(line: &'a [u8]) -> Result<Self, DecodeError> {
        let mut scanner = Scanner::new(line);
        let (mut timestamp, mut event_type, mut gvr) = (None, None, None);
        let (mut namespace, mut name) = (None, None);
        let (mut initial, mut inferred) = (false, false);
        scanner.open_object()?;
        let mut first = true;
        while let Some(key) = scanner.next_key(&mut first)? {
            match &*key {
                b"timestamp" if timestamp.is_none() => timestamp = Some(text(&mut scanner, line)?),
                b"eventType" if event_type.is_none() => event_type = Some(text(&mut scanner, line)?),
                b"gvr" if gvr.is_none() => gvr = Some(text(&mut scanner, line)?),
                b"namespace" if namespace.is_none() => namespace = Some(text(&mut scanner, line)?),
                b"name" if name.is_none() => name = Some(text(&mut scanner, line)?),
                b"initial" => initial = is_true(&mut scanner)?,
                b"inferred" => inferred = is_true(&mut scanner)?,
                _ => scanner.skip_value()?,
            }
        }
        if scanner.peek().is_some() {
            return Err(scanner.fail("more follows the object"));
        }
        let lacks = |what| move || DecodeError::new(what, 0);
        let event_type = event_type.ok_or_else(lacks("the line has no eventType"))?;
        let is_of_an_object = EventType::ALL.iter().any(|known| known.as_str() == event_type);
        Ok(Self {
            timestamp: timestamp.ok_or_else(lacks("the line has no timestamp"))?,
            event_type,
            gvr: if is_of_an_object { gvr.ok_or_else(lacks("the line has no gvr"))? } else { gvr.unwrap_or_default() },
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
            initial,
            inferred,
        })
    }

    /// Whether the object's name is `name`, however it is escaped in the line.
    pub fn is_named(&self, name: &str) -> bool {
        means(self.name, name)
    }

    /// Whether the object's namespace is `namespace`, however it is escaped in the line; the empty one has cluster-scoped objects.
    pub fn is_in(&self, namespace: &str) -> bool {
        means(self.namespace, namespace)
    }
}

/// Whether JSON text without its quotes means `plain`. Allocates only where it holds an escape.
fn means(json: &str, plain: &str) -> bool {
    json == plain || matches!(unescape(json), Cow::Owned(text) if text == plain)
}

fn text<'a>(scanner: &mut Scanner<'a>, line: &'a [u8]) -> Result<&'a str, DecodeError> {
    let range = scanner.text()?;
    Ok(std::str::from_utf8(&line[range]).expect("a checked text is UTF-8"))
}

fn is_true(scanner: &mut Scanner<'_>) -> Result<bool, DecodeError> {
    let is_true = scanner.peek() == Some(b't');
    scanner.skip_value()?;
    Ok(is_true)
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::*;
    use crate::api::{ObjectRef, Watch, WatchTarget};
    use crate::event::MatchedEvent;
    use std::sync::Arc;

    #[test]
    fn what_the_record_writes_is_read_as_it_was() {
        for (initial, inferred) in [(true, false), (false, true), (false, false)] {
            let watch = Arc::new(Watch::new(WatchTarget::all("apps/v1/deployments".parse().unwrap()), "c", Some("x".to_owned())));
            let object = br#"{"metadata":{"name":"caf\u00e9\"\n","namespace":"shop","uid":"u","resourceVersion":"7","labels":{"name":"no","initial":"x"}}}"#;
            let mut event = MatchedEvent::new(EventType::Deleted, watch, ObjectRef::scan(object).unwrap().to_object());
            (event.initial, event.inferred) = (initial, inferred);
            let mut line = Vec::new();
            Record::default().append(&event, None, true, &mut line);
            let read = EventLine::parse(&line).unwrap();
            assert_eq!((read.event_type, read.gvr, read.namespace), ("DELETED", "apps/v1/deployments", "shop"));
            assert_eq!((read.initial, read.inferred, read.name), (initial, inferred, r#"caf\u00e9\"\n"#));
            assert!(read.is_named("caf\u{e9}\"\n") && !read.is_named("caf") && read.is_in("shop") && !read.is_in(""));
            let received = read.timestamp.parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::UNIX_EPOCH);
            let since_epoch = event.received.duration_since(std::time::UNIX_EPOCH).unwrap();
            assert_eq!(received.as_micros(), i128::try_from(since_epoch.as_micros()).unwrap());
        }
    }

    #[test]
    fn a_line_of_an_event_type_that_is_not_known_is_read_and_needs_no_object() {
        let line = br#"{"timestamp":"t","eventType":"GAP","reason":"skipped","lines":7}"#;
        let read = EventLine::parse(line).unwrap();
        assert_eq!((read.timestamp, read.event_type, read.gvr, read.name), ("t", "GAP", "", ""));
    }

    #[test]
    fn what_is_no_event_is_told_with_its_place() {
        let line = r#"{"timestamp":"t","eventType":"ADDED","gvr":"v1/pods","name":"a"}"#;
        let error = |line: &str| EventLine::parse(line.as_bytes()).unwrap_err().to_string();
        assert!(EventLine::parse(line.as_bytes()).is_ok());
        for (from, to, expected) in [
            ("timestamp", "time", "the line has no timestamp at byte 0"),
            ("eventType", "type", "the line has no eventType at byte 0"),
            ("gvr", "kind", "the line has no gvr at byte 0"),
            ("\"a\"}", "\"a\"", "the JSON ends too early at byte 63"),
            ("\"a\"}", "\"a\"} {}", "more follows the object at byte 65"),
            ("\"a\"", "7", "expected a string at byte 60"),
        ] {
            assert!(line.contains(from));
            assert_eq!(error(&line.replace(from, to)), expected, "{from} {to}");
        }
        for other in ["", "null", "\0\0\0", "{}", "[1]"] {
            assert!(EventLine::parse(other.as_bytes()).is_err(), "{other:?}");
        }
    }
}
