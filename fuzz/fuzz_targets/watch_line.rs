//! Wherever `serde_json` reads a watch event with an object, Faro reads the same identity out of it.
//!
//! Keys that come twice are left out: Faro takes the first, `serde_json` the last.

#![no_main]

#[path = "../reference.rs"]
mod reference;

use faro::api::WatchLine;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Wrapped, the bytes need not first become an event by chance.
    check(&[br#"{"type":"ADDED","object":"#, bytes, b"}"].concat());
    check(&[br#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1""#, bytes, b"}}}"].concat());
    check(&[br#"{"type":"ADDED","object":{"metadata":{"labels":{"#, bytes, br#"},"name":"a","resourceVersion":"1"}}}"#].concat());
});

fn check(line: &[u8]) {
    let parsed = WatchLine::parse(line);
    let Some(event) = reference::value(line) else { return };
    let is_event = matches!(event["type"].as_str(), Some("ADDED" | "MODIFIED" | "DELETED"));
    let is_plain =
        event.as_object().is_some_and(|members| members.len() == 2) && !line.contains(&b'\r') && !line.contains(&b'\n');
    if !is_event || !is_plain {
        return;
    }
    let object: &Value = &event["object"];
    match (parsed, reference::identity(object)) {
        (Ok(WatchLine::Object { object: found, .. }), Some(expected)) => {
            assert_eq!(reference::found(&found), expected);
            assert_eq!(serde_json::from_slice::<Value>(found.bytes()).ok().as_ref(), Some(object));
        }
        (Err(error), Some(expected)) => panic!("{error}, but it is {expected:?}"),
        // Faro reads no further than it needs, so it may accept what is wrong behind the metadata.
        (Ok(_) | Err(_), None) => {}
        (Ok(other), Some(expected)) => panic!("{other:?}, but it is {expected:?}"),
    }
}
