//! What proxies, look-alikes and broken servers make of a request or of the text of an answer.

use crate::sim::api::{Request, inconsistent_token};

/// Makes a request for metadata one for whole objects, if it is one.
pub(super) fn asks_for_whole_objects(request: &mut Request) -> bool {
    let accept = request.headers.iter_mut().find(|(name, value)| name == "accept" && value.contains("as=PartialObjectMetadata"));
    accept.map(|(_, value)| "application/json".clone_into(value)).is_some()
}

/// Makes a request for a page of an old version one for the rest as it is now, if it is one.
pub(super) fn asks_for_a_newer_page(request: &mut Request) -> bool {
    let token = request.query.iter_mut().find(|(name, _)| name == "continue").map(|(_, token)| token);
    let Some((token, newer)) = token.and_then(|token| inconsistent_token(token).map(|newer| (token, newer))) else {
        return false;
    };
    *token = newer;
    true
}

/// The text with the uid of its `place`-th object, counted round and round, as a number, which no uid is.
pub(super) fn unreadable(text: &[u8], place: usize) -> Option<Vec<u8>> {
    let found: Vec<_> = memchr::memmem::find_iter(text, UID).collect();
    let at = found.get(place % found.len().max(1))? + UID.len() - 1;
    Some([&text[..at], b"7,\"uidText\":", &text[at..]].concat())
}

/// The page as if the next one were `token`; nothing where it is the last.
pub(super) fn same_page(page: &[u8], token: &str) -> Option<Vec<u8>> {
    let from = memchr::memmem::find(page, CONTINUE)? + CONTINUE.len();
    let to = from + memchr::memchr(b'"', &page[from..])?;
    Some([&page[..from], token.as_bytes(), &page[to..]].concat())
}

/// A bookmark of `version` for a watch of which this is a line.
pub(super) fn bookmark(line: &[u8], version: &str) -> Option<Vec<u8>> {
    let from = memchr::memmem::find(line, OBJECT)?;
    let to = memchr::memmem::find(line, METADATA)?;
    let metadata = format!("{{\"resourceVersion\":\"{version}\"}}}}}}\n");
    Some([br#"{"type":"BOOKMARK""#, &line[from..to + METADATA.len()], metadata.as_bytes()].concat())
}

const CONTINUE: &[u8] = br#""continue":""#;
const METADATA: &[u8] = br#""metadata":"#;
const OBJECT: &[u8] = br#","object":"#;
const UID: &[u8] = br#""uid":""#;

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"type":"ADDED","object":{"kind":"K","apiVersion":"v1","metadata":{"name":"a","uid":"u"}}}"#;

    fn text(bytes: Option<Vec<u8>>) -> String {
        bytes.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default()
    }

    #[test]
    fn a_distorted_answer_is_json_still() {
        let unreadable =
            r#"{"type":"ADDED","object":{"kind":"K","apiVersion":"v1","metadata":{"name":"a","uid":7,"uidText":"u"}}}"#;
        assert_eq!(text(unreadable_of(LINE)), unreadable);
        let bookmark_text = "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"K\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"4\"}}}\n";
        assert_eq!(text(bookmark(LINE, "4")), bookmark_text);
        let page = br#"{"metadata":{"resourceVersion":"9","continue":"next"},"items":[]}"#;
        assert_eq!(text(same_page(page, "this")), r#"{"metadata":{"resourceVersion":"9","continue":"this"},"items":[]}"#);
        assert_eq!(text(same_page(b"{}", "this")), "");
    }

    fn unreadable_of(text: &[u8]) -> Option<Vec<u8>> {
        unreadable(text, 5)
    }
}
