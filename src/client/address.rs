//! Where a target lives on a server: paths and queries, percent-encoded.
//!
//! Takes a [`WatchTarget`]; gives what stands in a request line. Promises that no selector, token or version can add a
//! parameter of its own.

use super::{PageRequest, PastPage, WatchStart};
use crate::api::{FieldSelector, GroupVersionResource, LabelSelector, Scope, WatchTarget};
use std::fmt::Write;
use std::time::Duration;

/// The path of a target's collection, with the selectors that go into each of its queries.
#[derive(Clone, Debug)]
pub(super) struct Address {
    path: String,
    /// `labelSelector=…&`, or nothing.
    labels: String,
    /// `fieldSelector=…&`, or nothing.
    fields: String,
}

impl Address {
    /// A name that is asked for by a field selector is still asked of the collection. `scope` is what discovery said:
    /// cluster-scoped kinds have no namespace in their path.
    pub(super) fn new(target: &WatchTarget, scope: Option<Scope>) -> Self {
        let mut path = version_path(&target.gvr);
        if let Some(namespace) = target.namespace.as_deref().filter(|_| scope != Some(Scope::Cluster)) {
            path.push_str("/namespaces/");
            push_encoded(&mut path, namespace);
        }
        path.push('/');
        push_encoded(&mut path, target.gvr.resource());

        Self {
            path,
            labels: parameter("labelSelector", target.label_selector.as_ref().map(LabelSelector::as_str)),
            fields: parameter("fieldSelector", target.field_selector.as_ref().map(FieldSelector::as_str)),
        }
    }

    /// One page of a consistent list.
    pub(super) fn list(&self, page: &PageRequest<'_>) -> String {
        let mut text = format!("{}?{}{}limit={}", self.path, self.labels, self.fields, page.limit);
        if let Some(token) = page.token {
            text.push_str("&continue=");
            push_encoded(&mut text, token);
        }
        text
    }

    /// A watch, or a streaming list.
    pub(super) fn watch(&self, start: &WatchStart, timeout: Duration) -> String {
        let mut text = format!("{}?watch=1&{}{}", self.path, self.labels, self.fields);
        match start {
            WatchStart::InitialEvents => text.push_str("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
            WatchStart::After(version) => {
                text.push_str("resourceVersion=");
                push_encoded(&mut text, version.as_str());
            }
        }
        write!(text, "&allowWatchBookmarks=true&timeoutSeconds={}", timeout.as_secs()).expect("a String takes all text");
        text
    }

    /// One page of what was there at a version. A server refuses a version beside a token, which names it already
    /// (`ValidateListOptions` in `k8s.io/apimachinery`).
    pub(super) fn past(&self, page: &PastPage<'_>) -> String {
        let PastPage { version, limit, token } = *page;
        if token.is_some() {
            return self.list(&PageRequest { limit, token });
        }
        let mut text = format!("{}?{}{}resourceVersion=", self.path, self.labels, self.fields);
        push_encoded(&mut text, version.as_str());
        write!(text, "&resourceVersionMatch=Exact&limit={limit}").expect("a String takes all text");
        text
    }
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn version_path(gvr: &GroupVersionResource) -> String {
    group_version_path(gvr.group(), gvr.version())
}

/// As [`version_path`], of names that came from a server.
pub(super) fn group_version_path(group: &str, version: &str) -> String {
    let mut path = group_path(group);
    path.push('/');
    push_encoded(&mut path, version);
    path
}

/// `/api` or `/apis/GROUP`: the document that lists a group's versions.
pub(super) fn group_path(group: &str) -> String {
    let mut path = String::from(if group.is_empty() { "/api" } else { "/apis/" });
    push_encoded(&mut path, group);
    path
}

fn parameter(key: &str, value: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(value) = value {
        text.push_str(key);
        text.push('=');
        push_encoded(&mut text, value);
        text.push('&');
    }
    text
}

/// Escapes all but the unreserved characters of RFC 3986.
fn push_encoded(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes all text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ResourceVersion;
    use crate::client::transcript::Transcript;

    fn target(gvr: &str, namespace: Option<&str>, labels: Option<&str>, fields: Option<&str>) -> WatchTarget {
        WatchTarget {
            gvr: gvr.parse().unwrap(),
            namespace: namespace.map(str::to_owned),
            label_selector: labels.map(|text| text.parse().unwrap()),
            field_selector: fields.map(|text| text.parse().unwrap()),
        }
    }

    fn check(target: &WatchTarget, scope: Option<Scope>, expected: &str) {
        assert_eq!(Address::new(target, scope).list(&PageRequest { limit: 500, token: None }), expected);
    }

    #[test]
    fn each_kind_lives_where_the_api_has_it() {
        check(&target("v1/pods", None, None, None), None, "/api/v1/pods?limit=500");
        check(&target("v1/pods", Some("demo"), None, None), None, "/api/v1/namespaces/demo/pods?limit=500");
        check(&target("v1/nodes", Some("demo"), None, None), Some(Scope::Cluster), "/api/v1/nodes?limit=500");
        let widgets = target("example.com/v1/widgets", Some("demo"), None, None);
        check(&widgets, Some(Scope::Namespaced), "/apis/example.com/v1/namespaces/demo/widgets?limit=500");
    }

    #[test]
    fn selectors_and_tokens_cannot_add_parameters() {
        let target = target("v1/pods", None, Some("app in (a,b),x!=y"), Some("metadata.name=a&limit\\=1#ü"));
        let selectors = "labelSelector=app%20in%20%28a%2Cb%29%2Cx%21%3Dy&fieldSelector=metadata.name%3Da%26limit%5C%3D1%23%C3%BC";
        check(&target, None, &format!("/api/v1/pods?{selectors}&limit=500"));
        let page = PageRequest { limit: 2, token: Some("a+b/c=&limit=9") };
        assert!(Address::new(&target, None).list(&page).ends_with("&limit=2&continue=a%2Bb%2Fc%3D%26limit%3D9"));
        let version = ResourceVersion::new("1&watch=0").unwrap();
        let watch = Address::new(&target, None).watch(&WatchStart::After(version), Duration::from_secs(200));
        assert!(watch.contains("&resourceVersion=1%26watch%3D0&"), "{watch}");
    }

    #[test]
    fn the_past_is_asked_for_with_the_selectors_of_the_watch_and_by_its_version_once() {
        let target = target("v1/pods", None, Some("app=web"), Some("metadata.name=a"));
        let version = ResourceVersion::new("7").unwrap();
        let selectors = "labelSelector=app%3Dweb&fieldSelector=metadata.name%3Da";
        let past = |token| Address::new(&target, None).past(&PastPage { version: &version, limit: 500, token });
        assert_eq!(past(None), format!("/api/v1/pods?{selectors}&resourceVersion=7&resourceVersionMatch=Exact&limit=500"));
        assert_eq!(past(Some("t=")), format!("/api/v1/pods?{selectors}&limit=500&continue=t%3D"));
    }

    #[test]
    fn asks_as_the_recorded_requests_do() {
        let demo = Address::new(&target("v1/configmaps", Some("demo"), None, None), None);
        let version = |text| ResourceVersion::new(text).unwrap();
        let token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MjI0LCJzdGFydCI6Ii9jbS0yXHUwMDAwIn0";
        let secs = Duration::from_secs;
        for (name, asked) in [
            ("list-page-1", demo.list(&PageRequest { limit: 3, token: None })),
            ("exact-paged", demo.past(&PastPage { version: &version("5335"), limit: 2, token: None })),
            ("list-expired-continue-410", demo.list(&PageRequest { limit: 3, token: Some(token) })),
            ("watch-list-streaming-metadata-only", demo.watch(&WatchStart::InitialEvents, secs(3))),
            ("watch-bookmarks-every-minute", demo.watch(&WatchStart::After(version("260")), secs(75))),
        ] {
            assert_eq!(asked, Transcript::golden(name).path, "{name}");
        }
    }
}
