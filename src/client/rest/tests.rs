//! Recorded answers and faults, told to an informer as they must be.

use super::*;
use crate::api::{Fault, ListPage, ResourceVersion};
use crate::client::http::{BodyLimit, read_to_limit};
use crate::client::transcript::{Script, Transcript};

fn target(gvr: &str, namespace: &str) -> WatchTarget {
    WatchTarget { namespace: Some(namespace.to_owned()), ..WatchTarget::all(gvr.parse().unwrap()) }
}

fn rest(script: &Script, gvr: &str, content: Content) -> RestListWatch {
    RestListWatch::over(Box::new(script.clone()), &target(gvr, "demo"), None, content)
}

const PAGE: PageRequest<'static> = PageRequest { limit: 2, token: None };
const SECONDS: Duration = Duration::from_secs(200);

fn after(version: &str) -> WatchStart {
    WatchStart::After(ResourceVersion::new(version).unwrap())
}

/// A page, read to its end.
fn body(rest: &mut RestListWatch, page: &PageRequest<'_>) -> Result<Vec<u8>, Error> {
    rest.list(page)?.into_body()
}

/// Each line of a watch, and how it ended.
fn told(rest: &mut RestListWatch, start: &WatchStart, timeout: Duration) -> (Vec<Vec<u8>>, Result<u64, Error>) {
    let mut watch = match rest.watch(start, timeout) {
        Ok(watch) => watch,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut lines = Vec::new();
    loop {
        match watch.next() {
            Ok(Line::Whole(line)) => lines.push(line.to_vec()),
            Ok(Line::End) => return (lines, Ok(watch.bytes_received())),
            Ok(Line::Partial) => {}
            Ok(other) => panic!("unexpected {other:?}"),
            Err(error) => return (lines, Err(error)),
        }
    }
}

#[test]
fn each_request_says_which_form_it_takes_and_only_that() {
    for (content, list, watch) in [
        (Content::Object, "application/json", "application/json"),
        (
            Content::Metadata,
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        ),
    ] {
        let script = Script::default();
        let mut rest = rest(&script, "v1/configmaps", content);
        assert!(rest.list(&PAGE).is_err());
        assert!(rest.watch(&after("7"), SECONDS).is_err());
        assert!(rest.watch(&WatchStart::InitialEvents, SECONDS).is_err());
        let version = ResourceVersion::new("7").unwrap();
        assert!(rest.past(&PastPage { version: &version, limit: 500, token: None }).is_err());
        let asked: Vec<(String, bool)> = script.asked().into_iter().map(|(_, accept, gzip)| (accept, gzip)).collect();
        let past = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let expected = [(list, true), (watch, false), (watch, false), (past, true)];
        assert_eq!(asked, expected.map(|(accept, gzip)| (accept.to_owned(), gzip)));
    }
}

#[test]
fn recorded_pages_arrive_whole() {
    for (server, name, content, limit) in [
        ("", "list-page-1", Content::Object, 3),
        ("", "list-metadata-only", Content::Metadata, 2),
        ("server-1.20/", "list-metadata-only", Content::Metadata, 2),
    ] {
        let transcript = Transcript::golden(&format!("{server}{name}"));
        let script = Script::new([transcript.clone()]);
        let body = body(&mut rest(&script, "v1/configmaps", content), &PageRequest { limit, token: None }).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), String::from_utf8(transcript.body).unwrap(), "{server}{name}");
        // The recorded requests would take plain objects too; we never do.
        let recorded = transcript.accept.strip_suffix(",application/json").unwrap_or(&transcript.accept);
        assert_eq!(script.asked()[0].1, recorded, "{server}{name}");
    }
}

#[test]
fn recorded_watches_arrive_line_by_line() {
    let secs = Duration::from_secs;
    for (name, content, start, timeout) in [
        ("watch-list-streaming-metadata-only", Content::Metadata, WatchStart::InitialEvents, secs(3)),
        ("watch-bookmarks-every-minute", Content::Object, after("260"), secs(75)),
    ] {
        let transcript = Transcript::golden(name);
        let script = Script::new([transcript.clone()]);
        let (lines, end) = told(&mut rest(&script, "v1/configmaps", content), &start, timeout);
        let recorded = transcript.accept.strip_suffix(",application/json").unwrap_or(&transcript.accept);
        assert_eq!(script.asked()[0].1, recorded, "{name}");
        let expected: Vec<&[u8]> = transcript.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, expected, "{name}");
        assert_eq!(end.unwrap(), transcript.body.len() as u64, "{name}");
    }
}

#[test]
fn secrets_are_asked_for_metadata_only_whatever_is_asked() {
    let script = Script::default();
    let mut secrets = rest(&script, "v1/secrets", Content::Object);
    assert_eq!(secrets.content(), Content::Metadata);
    assert!(secrets.list(&PAGE).is_err());
    assert!(secrets.watch(&after("7"), SECONDS).is_err());
    assert!(script.asked().iter().all(|(_, accept, _)| accept.contains(";as=PartialObjectMetadata") && !accept.contains(',')));
}

#[test]
fn a_list_of_secrets_that_comes_anyway_is_dropped() {
    let secrets = r#"{"kind":"SecretList","metadata":{},"items":[{"data":{"password":"aHVudGVyMg=="}}]}"#;
    let list = "/api/v1/namespaces/demo/secrets?limit=2";
    let mut over = rest(&Script::new([Transcript::made(list, 200, secrets)]), "v1/secrets", Content::Metadata);
    let error = over.list(&PAGE).unwrap_err();
    assert_eq!(error.fault(), Fault::Undecodable);
    assert!(!format!("{error} {error:?}").contains("aHVudGVyMg"), "{error:?}");
}

#[test]
fn a_list_that_breaks_off_is_a_broken_connection_and_leaves_nothing_of_unknown_kind() {
    let list = "/api/v1/namespaces/demo/secrets?limit=2";
    for front in ["", r#"{"items":[{"data":{"password":"aHVudGVyMg=="}}"#] {
        let script = Script::default().broken_after(list, front);
        let error = rest(&script, "v1/secrets", Content::Metadata).list(&PAGE).unwrap_err();
        assert_eq!(error.fault(), Fault::Connection, "{front}");
    }
}

#[test]
fn a_page_that_does_not_come_in_time_is_too_slow_and_a_smaller_one_may_fit() {
    let page = r#"{"kind":"PartialObjectMetadataList","metadata":{},"items":["#;
    for (content, limit, front) in
        [(Content::Object, 500, "{"), (Content::Metadata, 100, r#"{"kind":"#), (Content::Metadata, 20, page)]
    {
        let list = format!("/api/v1/namespaces/demo/configmaps?limit={limit}");
        let script = Script::default().stalled_after(&list, front);
        let request = PageRequest { limit, token: None };
        let error = body(&mut rest(&script, "v1/configmaps", content), &request).unwrap_err();
        assert_eq!(error.fault(), Fault::TooLong, "{error}");
        assert_eq!(error.to_string(), "list v1/configmaps in demo: the answer did not come whole in time");
    }
}

#[test]
fn a_watch_that_ends_within_a_line_is_a_broken_connection() {
    let start = after("7");
    let watch = rest(&Script::default(), "v1/pods", Content::Object).address.watch(&start, SECONDS);
    let script = Script::new([Transcript::made(&watch, 200, "{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"DEL")]);
    let (lines, end) = told(&mut rest(&script, "v1/pods", Content::Object), &start, SECONDS);
    assert_eq!((lines.len(), end.unwrap_err().fault()), (1, Fault::Connection));
}

#[test]
fn recorded_refusals_arrive_as_what_they_are() {
    for (name, gvr, expected) in [
        ("list-expired-continue-410", "v1/configmaps", Fault::Expired),
        ("list-not-acceptable", "v1/configmaps", Fault::Refused),
        ("server-1.20/watch-list-streaming", "v1/configmaps", Fault::Refused),
        ("watch-list-streaming-switched-off", "v1/configmaps", Fault::Refused),
        ("unauthorized", "v1/configmaps", Fault::Unauthorized),
        ("forbidden-secrets-list", "v1/secrets", Fault::Forbidden),
        ("crd-list-after-delete", "example.com/v1/widgets", Fault::NotFound),
        ("crd-list-empty", "example.com/v1/widgets", Fault::Busy { retry_after: Some(Duration::from_secs(1)) }),
    ] {
        let list = rest(&Script::default(), gvr, Content::Object).address.list(&PAGE);
        let script = Script::new([Transcript { path: list, ..Transcript::golden(name) }]);
        let error = rest(&script, gvr, Content::Object).list(&PAGE).unwrap_err();
        assert_eq!(error.fault(), expected, "{name}: {error}");
        assert!(error.to_string().starts_with(&format!("list {gvr} in demo: ")), "{error}");
    }
}

/// What a recorded server says of the past that it was asked for, without a limit, of those objects whose fields match.
fn past(name: &str, version: &str, fields: Option<&str>) -> Result<Vec<String>, Fault> {
    let mut recorded = Transcript::golden(name);
    recorded.path.push_str("&limit=500");
    let mut target = target("v1/configmaps", "demo");
    target.field_selector = fields.map(|fields| fields.parse().unwrap());
    let selector = fields.map_or(String::new(), |_| "fieldSelector=metadata.name%3Dpast&".to_owned());
    let watch = format!(
        "/api/v1/namespaces/demo/configmaps?watch=1&{selector}resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=200"
    );
    let script = Script::new([recorded, Transcript::made(&watch, 200, "")]);
    let mut rest = RestListWatch::over(Box::new(script.clone()), &target, None, Content::Object);
    let mut lines = rest.watch(&after(version), SECONDS).unwrap_or_else(|error| panic!("{:?}: {error}", script.asked()));
    let version = ResourceVersion::new(version).unwrap();
    let page = lines.past(&PastPage { version: &version, limit: 500, token: None }).map_err(|error| error.fault())?;
    let body = page.into_body().unwrap();
    let page = ListPage::parse(&body).unwrap();
    assert_eq!(page.version, version, "{name}");
    Ok(page
        .objects()
        .map(|object| format!("{}@{}", object.as_ref().unwrap().name(), object.as_ref().unwrap().resource_version()))
        .collect())
}

#[test]
fn recorded_servers_give_the_past_beside_an_open_watch_or_say_why_there_is_none() {
    let whole = ["gone@5334", "kube-root-ca.crt@4679", "openshift-service-ca.crt@4681", "past@5335"].map(str::to_owned).to_vec();
    assert_eq!(past("exact-whole-list", "5335", None), Ok(whole));
    assert_eq!(past("list-exact-expired-410", "224", None), Err(Fault::Expired));
    assert_eq!(past("server-1.20/list-exact-expired-410", "216", None), Err(Fault::Expired));
    let name = Some("metadata.name=past");
    assert_eq!(past("exact-name-future", "105337", name), Err(Fault::UnknownVersion), "a 504 with its cause");
    assert_eq!(past("server-1.20/exact-name-future", "100225", name), Err(Fault::UnknownVersion), "a 500 of etcd");
}

#[test]
fn a_lookup_teaches_the_scope() {
    let script = Script::new([Transcript::golden("discovery-core-v1")]);
    let mut nodes = rest(&script, "v1/nodes", Content::Object);
    assert!(nodes.list(&PAGE).is_err());
    assert_eq!(nodes.lookup(Proof::Server).unwrap(), Served::Yes);
    assert!(nodes.list(&PAGE).is_err());
    let paths: Vec<String> = script.asked().into_iter().map(|(path, _, _)| path).collect();
    assert_eq!(paths, ["/api/v1/namespaces/demo/nodes?limit=2", "/api/v1", "/api/v1/nodes?limit=2"]);
    assert!(nodes.asks_everywhere(), "a namespace was asked for, which is none of the kind's now");
}

#[test]
fn a_kind_that_is_namespaced_again_is_asked_for_in_the_namespace_of_the_configuration() {
    let document = |namespaced: bool| {
        let body =
            format!(r#"{{"resources":[{{"name":"widgets","namespaced":{namespaced},"kind":"Widget","verbs":["list"]}}]}}"#);
        Transcript::made("/apis/example.com/v1", 200, &body)
    };
    for (asked, expected) in [(vec!["demo"], "/namespaces/demo"), (vec!["demo", "shop"], ""), (vec![], "")] {
        let script = Script::new([document(true)]);
        let everywhere = WatchTarget::all("example.com/v1/widgets".parse().unwrap());
        let rest = RestListWatch::over(Box::new(script.clone()), &everywhere, Some(Scope::Cluster), Content::Metadata);
        let mut rest = rest.confined_to(asked.iter().map(ToString::to_string).collect());
        assert_eq!(rest.asks_everywhere(), !asked.is_empty(), "{asked:?}");
        assert!(rest.list(&PAGE).is_err());
        assert_eq!(rest.lookup(Proof::Server).unwrap(), Served::Yes);
        assert_eq!(rest.asks_everywhere(), asked.len() > 1, "{asked:?}");
        assert!(rest.list(&PAGE).is_err());
        let lists = script.asked().into_iter().map(|(path, _, _)| path).filter(|path| path.contains("widgets"));
        let path = |namespace: &str| format!("/apis/example.com/v1{namespace}/widgets?limit=2");
        assert_eq!(lists.collect::<Vec<_>>(), [path(""), path(expected)], "{asked:?}");
    }
}

#[test]
fn an_answer_over_its_limit_is_an_error_and_says_the_limit() {
    let body = [b'x'; 11];
    for (limit, fits) in [(11, true), (10, false), (0, false)] {
        let mut read = Vec::new();
        let most = BodyLimit { bytes: limit, time: SECONDS };
        let answer = read_to_limit(&mut body.as_slice(), &mut read, &most, "list v1/pods", "https://a.test");
        assert_eq!(answer.as_ref().err().map(Error::fault), (!fits).then_some(Fault::TooLong), "{limit}");
        if let Err(error) = answer {
            assert_eq!(error.to_string(), format!("list v1/pods: the answer is longer than {limit} bytes"));
        }
    }
}

#[test]
fn an_answer_that_drips_for_ever_is_given_up() {
    let none = BodyLimit { bytes: 1 << 20, time: Duration::ZERO };
    let answer = read_to_limit(&mut io::repeat(b'x'), &mut Vec::new(), &none, "list v1/pods", "https://a.test");
    assert_eq!(answer.unwrap_err().fault(), Fault::Connection);
}

#[test]
fn an_interrupted_read_is_a_stop_and_any_other_a_broken_connection() {
    let stopped = io::Error::other(Error::Stopped { request: "watch v1/pods".to_owned() });
    assert_eq!(read_error("watch v1/pods", "https://a.test", stopped).fault(), Fault::Stopped);
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(read_error("watch v1/pods", "https://a.test", reset).to_string(), "watch v1/pods: no answer from https://a.test");
}
