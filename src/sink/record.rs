//! One event as one JSON line, straight into a buffer.
//!
//! Field order and names are the ones documented in the README; what is empty or false is absent. Names, uid, labels and
//! annotations are copied as the server escaped them, or as middleware left them; fields that middleware added come last, in
//! the order in which they were set. Nothing is allocated.

use super::json_record::JsonRecord;
use crate::api::WatchId;
use crate::event::MatchedEvent;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Formats lines. Keeps the second and the watch of the last one, which the next one mostly shares.
#[derive(Debug)]
pub(super) struct Record {
    second: u64,
    /// `{"timestamp":"2025-11-10T14:33:02.`
    begin: Vec<u8>,
    watch: Option<WatchId>,
    /// `,"watch":"5d2f8f5e0c3f4b7e"`
    watch_text: Vec<u8>,
}

/// How a line ends.
const END: &[u8] = b"}";

/// How it ends after a dropped one: the same JSON. Between the lines of an object one is missing then, so that they cannot
/// say which of its events were told; whoever reads them back must know it, and nobody else.
pub(super) const END_AFTER_DROP: &[u8] = b" }";

impl Default for Record {
    fn default() -> Self {
        let mut record = Self { second: 0, begin: Vec::new(), watch: None, watch_text: Vec::new() };
        record.set_second(0);
        record
    }
}

impl Record {
    /// Appends the line of `event`, its newline included; `changed`: what middleware made of it; `after_drop`: whether it is
    /// the first of its watch after one that middleware dropped.
    pub(super) fn append(&mut self, event: &MatchedEvent, changed: Option<&JsonRecord>, after_drop: bool, line: &mut Vec<u8>) {
        let (metadata, watch) = (event.metadata(), &*event.watch);
        self.timestamp(event.received, line);
        raw_text(line, b"\",\"eventType\":\"", event.event_type.as_str().as_bytes());
        text(line, b"\",\"gvr\":", &watch.gvr);
        let [namespace, name, uid, version] = metadata.identity_bytes();
        optional_raw_text(line, b",\"namespace\":\"", namespace);
        optional_raw_text(line, b",\"name\":\"", name);
        optional_raw_text(line, b",\"uid\":\"", uid);
        optional_raw_text(line, b",\"resourceVersion\":\"", version);
        let (labels, annotations) = match changed {
            None => (metadata.labels_bytes(), event.written_annotations_bytes()),
            Some(changed) => (changed.labels_bytes(), changed.annotations_bytes()),
        };
        optional(line, b",\"labels\":", labels);
        optional(line, b",\"annotations\":", annotations);
        if event.initial {
            line.extend_from_slice(b",\"initial\":true");
        }
        if event.inferred {
            line.extend_from_slice(b",\"inferred\":true");
        }
        if let Some(cluster) = &watch.cluster_name {
            text(line, b",\"cluster\":", cluster);
        }
        if self.watch != Some(watch.id) {
            self.watch = Some(watch.id);
            self.watch_text.clear();
            write!(self.watch_text, ",\"watch\":\"{}\"", watch.id).expect("a vector takes every write");
        }
        line.extend_from_slice(&self.watch_text);
        line.extend_from_slice(changed.map_or(b"", JsonRecord::fields_bytes));
        line.extend_from_slice(if after_drop { END_AFTER_DROP } else { END });
        line.push(b'\n');
    }

    /// In UTC and microseconds. A clock before 1970 shows as 1970.
    fn timestamp(&mut self, time: SystemTime, line: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.set_second(since.as_secs());
        }
        line.extend_from_slice(&self.begin);
        let mut digits = *b"000000Z";
        let mut micros = since.subsec_micros();
        for digit in digits[..6].iter_mut().rev() {
            *digit += u8::try_from(micros % 10).expect("one digit");
            micros /= 10;
        }
        line.extend_from_slice(&digits);
    }

    fn set_second(&mut self, second: u64) {
        self.second = second;
        self.begin.clear();
        let time = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX);
        let utc = TimeZone::UTC.to_datetime(time);
        let (date, time) = (utc.date(), utc.time());
        write!(
            self.begin,
            "{{\"timestamp\":\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
        .expect("a vector takes every write");
    }
}

/// A text that may need escapes, quoted.
fn text(line: &mut Vec<u8>, key: &[u8], text: &str) {
    line.extend_from_slice(key);
    serde_json::to_writer(line, text).expect("a text in a vector is always JSON");
}

/// A text that is JSON already; `key` ends in the opening quote, and what follows begins with the closing one.
fn raw_text(line: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    line.extend_from_slice(key);
    line.extend_from_slice(text);
}

/// A whole quoted text, absent when empty.
fn optional_raw_text(line: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    if !text.is_empty() {
        raw_text(line, key, text);
        line.push(b'"');
    }
}

/// JSON, absent when empty.
fn optional(line: &mut Vec<u8>, key: &[u8], json: &[u8]) {
    if !json.is_empty() {
        line.extend_from_slice(key);
        line.extend_from_slice(json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ObjectRef, Watch, WatchTarget};
    use crate::event::EventType;
    use std::sync::Arc;
    use std::time::Duration;

    fn event(gvr: &str, cluster: Option<&str>, object: &str) -> MatchedEvent {
        let target = WatchTarget::all(gvr.parse().unwrap());
        let watch = Watch::new(target, "test", cluster.map(str::to_owned));
        let object = ObjectRef::scan(object.as_bytes()).unwrap().to_object();
        let mut event = MatchedEvent::new(EventType::Added, Arc::new(watch), object);
        event.received = UNIX_EPOCH + Duration::from_micros(1_762_785_182_123_456);
        event
    }

    fn line(event: &MatchedEvent) -> String {
        let mut line = Vec::new();
        Record::default().append(event, None, false, &mut line);
        let line = String::from_utf8(line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).expect("a line is JSON");
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "one line: {line}");
        line.trim_end().replace(&event.watch.id.to_string(), "WATCH")
    }

    #[test]
    fn a_full_record_has_every_field_in_order() {
        let object = r#"{"kind":"Pod","metadata":{"name":"nginx-abc123","namespace":"default","uid":"0a-1","resourceVersion":"12345","labels":{"app":"nginx"},"annotations":{"k":"v"}}}"#;
        let mut event = event("v1/pods", Some("prod-eu"), object);
        (event.initial, event.inferred) = (true, true);
        assert_eq!(
            line(&event),
            r#"{"timestamp":"2025-11-10T14:33:02.123456Z","eventType":"ADDED","gvr":"v1/pods","namespace":"default","name":"nginx-abc123","uid":"0a-1","resourceVersion":"12345","labels":{"app":"nginx"},"annotations":{"k":"v"},"initial":true,"inferred":true,"cluster":"prod-eu","watch":"WATCH"}"#
        );
    }

    #[test]
    fn what_is_empty_or_false_is_absent() {
        let mut event =
            event("v1/nodes", None, r#"{"metadata":{"name":"n1","resourceVersion":"7","labels":{},"annotations":null}}"#);
        event.event_type = EventType::Deleted;
        event.received = UNIX_EPOCH + Duration::from_micros(1);
        assert_eq!(
            line(&event),
            r#"{"timestamp":"1970-01-01T00:00:00.000001Z","eventType":"DELETED","gvr":"v1/nodes","name":"n1","resourceVersion":"7","watch":"WATCH"}"#
        );
    }

    #[test]
    fn unusual_texts_stay_what_they_were_on_one_line() {
        let object = "{\n \"metadata\": {\n  \"name\": \"caf\u{e9}\\u0022\\n\",\n  \"resourceVersion\": \"v\\\"1\",\n  \"labels\": { \"a\" : \"x y\", \"b\": \"\\u00fc\\ud83d\\ude00\" }\n }\n}";
        let event = event("example.com/v1/widgets", Some("a \"b\"\n\u{1}\u{fc}"), object);
        let line: serde_json::Value = serde_json::from_str(&line(&event)).unwrap();
        assert_eq!(line["name"], "caf\u{e9}\"\n");
        assert_eq!(line["resourceVersion"], "v\"1");
        assert_eq!(line["labels"], serde_json::json!({"a": "x y", "b": "\u{fc}\u{1f600}"}));
        assert_eq!(line["cluster"], "a \"b\"\n\u{1}\u{fc}");
    }

    #[test]
    fn timestamps_follow_the_clock_both_ways() {
        let mut record = Record::default();
        let mut check = |seconds: u64, expected: &str| {
            let mut event = event("v1/nodes", None, r#"{"metadata":{"name":"n","resourceVersion":"1"}}"#);
            event.received = UNIX_EPOCH + Duration::from_secs(seconds);
            let mut line = Vec::new();
            record.append(&event, None, false, &mut line);
            assert!(String::from_utf8_lossy(&line).starts_with(&format!("{{\"timestamp\":\"{expected}.000000Z\"")), "{seconds}");
        };
        check(0, "1970-01-01T00:00:00");
        check(951_827_696, "2000-02-29T12:34:56");
        check(951_827_695, "2000-02-29T12:34:55");
        check(4_102_444_799, "2099-12-31T23:59:59");
        check(253_402_207_200, "9999-12-30T22:00:00");
    }
}
