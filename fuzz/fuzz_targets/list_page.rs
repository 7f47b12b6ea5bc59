//! A list page tells the same objects as `serde_json` reads, spread over lines or not.

#![no_main]

#[path = "../reference.rs"]
mod reference;

use faro::api::ListPage;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Wrapped, the bytes need not first become a list by chance.
    check(&[br#"{"metadata":{"resourceVersion":"1"},"items":["#, bytes, b"]}"].concat());
    check(
        &[
            br#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a","resourceVersion":"1","annotations":{"#,
            bytes,
            b"}}}]}",
        ]
        .concat(),
    );
});

fn check(body: &[u8]) {
    let Ok(page) = ListPage::parse(body) else { return };
    let objects: Vec<_> = page.objects().collect();
    for object in objects.iter().flatten() {
        assert!(!object.labels().as_json().contains('\n') && !object.annotations().as_json().contains('\n'));
        let redacted = object.to_identity_object(object.annotations());
        let value: Value = serde_json::from_slice(redacted.as_ref().bytes()).expect("what Faro writes is JSON");
        assert_eq!(value["metadata"]["name"], *object.name());
    }
    let Some(list) = reference::value(body) else { return };
    let items = list["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(items.len(), page.len());
    for (object, item) in objects.iter().zip(&items) {
        if let Some(expected) = reference::identity(item) {
            assert_eq!(object.as_ref().map(reference::found).map_err(ToString::to_string), Ok(expected));
        }
    }
}
