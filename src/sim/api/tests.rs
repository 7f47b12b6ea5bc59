//! What the transcripts do not show: writes, what they bring with them, and watches across compaction, restart and restore.

use super::super::state::State;
use super::super::state::catalog::Release;
use super::super::state::json::Json;
use super::{Lines, Next, Reply, Request, answer};
use std::sync::Arc;
use std::time::Duration;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Sends one request; the answer's code and body.
fn send(state: &Arc<State>, method: &str, target: &str, body: &str) -> (u16, Json) {
    match request(state, method, target, body) {
        Reply::Document { code, body, .. } => (code, Json::parse(&body).unwrap_or(Json::Null)),
        Reply::Stream { .. } => panic!("{target} is a stream"),
    }
}

fn request(state: &Arc<State>, method: &str, target: &str, body: &str) -> Reply {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let kind = if body.starts_with('[') { "application/json-patch+json" } else { "application/merge-patch+json" };
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body: body.to_owned().into(),
        certificate: None,
    };
    answer(state, &request)
}

/// Sends one request that must succeed.
fn done(state: &Arc<State>, method: &str, target: &str, body: &str) -> Json {
    let (code, json) = send(state, method, target, body);
    assert!(code < 300, "{method} {target}: {json:?}");
    json
}

fn create(state: &Arc<State>, name: &str, label: &str) -> Json {
    done(state, "POST", CONFIG_MAPS, &format!(r#"{{"metadata":{{"name":"{name}","labels":{{"app":"{label}"}}}}}}"#))
}

fn watch(state: &Arc<State>, target: &str) -> Box<dyn Lines> {
    match request(state, "GET", target, "") {
        Reply::Stream { lines, .. } => lines,
        Reply::Document { code, body, .. } => panic!("{target}: {code} {body:?}"),
    }
}

/// What the watch has ready, as `TYPE name@version`, and `END` when it ends.
fn told(lines: &mut dyn Lines) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        match lines.next(Duration::ZERO) {
            Next::Line(line) => {
                let json = Json::parse(&line).unwrap();
                let object = json.get("object").unwrap();
                let name =
                    if object.text_at("reason").is_empty() { object.text_at("metadata.name") } else { object.text_at("reason") };
                told.push(format!("{} {name}@{}", json.text_at("type"), object.text_at("metadata.resourceVersion")));
            }
            Next::Quiet => return told,
            Next::End => {
                told.push("END".to_owned());
                return told;
            }
        }
    }
}

/// A server whose next change has version 101.
fn server() -> Arc<State> {
    let state = State::new(7);
    state.lock().version = 100;
    state
}

#[test]
fn a_write_that_cannot_be_done_is_refused_and_changes_nothing() {
    let state = server();
    create(&state, "a", "web");
    let check = |method: &str, target: &str, body: &str, expected: (u16, &str)| {
        let (code, status) = send(&state, method, target, body);
        assert_eq!((code, status.text_at("reason")), expected, "{method} {target} {body}");
    };
    check("POST", CONFIG_MAPS, r#"{"metadata":{"name":"a"}}"#, (409, "AlreadyExists"));
    check("POST", CONFIG_MAPS, r#"{"metadata":{}}"#, (422, "Invalid"));
    check("POST", CONFIG_MAPS, "no json", (400, "BadRequest"));
    check("POST", CONFIG_MAPS, r#"{"kind":"Pod","metadata":{"name":"b"}}"#, (400, "BadRequest"));
    check("POST", "/api/v1/namespaces/nosuch/configmaps", r#"{"metadata":{"name":"b"}}"#, (404, "NotFound"));
    check("PUT", &format!("{CONFIG_MAPS}/a"), r#"{"metadata":{"resourceVersion":"1"}}"#, (409, "Conflict"));
    check("PUT", &format!("{CONFIG_MAPS}/b"), r#"{"metadata":{"name":"b"}}"#, (404, "NotFound"));
    check("DELETE", &format!("{CONFIG_MAPS}/a"), r#"{"preconditions":{"uid":"other"}}"#, (409, "Conflict"));
    check("PATCH", &format!("{CONFIG_MAPS}/a"), r#"[{"op":"remove","path":"/nosuch"}]"#, (422, "Invalid"));
    check("POST", &format!("{CONFIG_MAPS}/a"), "{}", (405, "MethodNotAllowed"));
    check("POST", "/api/v1/nodes/x/nosuch", "{}", (404, "NotFound"));
    assert_eq!(state.version(), 101);
    done(&state, "PATCH", &format!("{CONFIG_MAPS}/a"), r#"{"metadata":{"labels":{"app":"web"}}}"#);
    assert_eq!(state.version(), 101, "a patch that changes nothing gives out no version");
}

#[test]
fn names_are_generated_and_the_same_seed_gives_the_same() {
    let made = |seed: u64| {
        let json = done(&State::new(seed), "POST", CONFIG_MAPS, r#"{"metadata":{"generateName":"job-"}}"#);
        (json.text_at("metadata.name").to_owned(), json.text_at("metadata.uid").to_owned())
    };
    assert!(made(1).0.starts_with("job-") && made(1).0.len() == 9);
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
}

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let state = server();
    let mut lines = watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=100"));
    done(&state, "POST", CONFIG_MAPS, r#"{"metadata":{"name":"a","finalizers":["x/y"]}}"#);
    let marked = done(&state, "DELETE", &format!("{CONFIG_MAPS}/a"), "");
    assert!(!marked.text_at("metadata.deletionTimestamp").is_empty());
    done(&state, "PATCH", &format!("{CONFIG_MAPS}/a"), r#"{"metadata":{"finalizers":null}}"#);
    assert_eq!(told(lines.as_mut()), ["ADDED a@101", "MODIFIED a@102", "DELETED a@103"]);
}

#[test]
fn a_namespace_takes_its_contents_along_and_waits_for_what_is_held() {
    let state = server();
    done(&state, "POST", "/api/v1/namespaces", r#"{"metadata":{"name":"x"}}"#);
    let maps = "/api/v1/namespaces/x/configmaps";
    done(&state, "POST", maps, r#"{"metadata":{"name":"a"}}"#);
    done(&state, "POST", maps, r#"{"metadata":{"name":"b","finalizers":["x/y"]}}"#);
    let mut contents = watch(&state, "/api/v1/configmaps?watch=1&resourceVersion=103");
    let mut namespaces = watch(&state, "/api/v1/namespaces?watch=1&resourceVersion=103");
    done(&state, "DELETE", "/api/v1/namespaces/x", "");
    assert_eq!(told(contents.as_mut()), ["DELETED a@105", "MODIFIED b@106"]);
    assert_eq!(told(namespaces.as_mut()), ["MODIFIED x@104"]);
    assert_eq!(send(&state, "POST", maps, r#"{"metadata":{"name":"c"}}"#).0, 403);
    done(&state, "PATCH", &format!("{maps}/b"), r#"{"metadata":{"finalizers":[]}}"#);
    assert_eq!(told(contents.as_mut()), ["DELETED b@107"]);
    assert_eq!(told(namespaces.as_mut()), ["DELETED x@108"]);
}

#[test]
fn pages_belong_to_the_version_of_the_first() {
    let state = server();
    ["a", "b", "c", "d"].into_iter().for_each(|name| drop(create(&state, name, "web")));
    let first = done(&state, "GET", &format!("{CONFIG_MAPS}?limit=2"), "");
    done(&state, "DELETE", &format!("{CONFIG_MAPS}/c"), "");
    create(&state, "e", "web");
    let next = first.text_at("metadata.continue");
    let rest = done(&state, "GET", &format!("{CONFIG_MAPS}?limit=2&continue={next}"), "");
    let names: Vec<_> = rest.get("items").unwrap().items().iter().map(|item| item.text_at("metadata.name")).collect();
    assert_eq!((names, rest.text_at("metadata.resourceVersion")), (vec!["c", "d"], "104"));
    state.compact();
    let (code, gone) = send(&state, "GET", &format!("{CONFIG_MAPS}?limit=2&continue={next}"), "");
    assert_eq!((code, gone.text_at("reason")), (410, "Expired"));
    let next = gone.text_at("metadata.continue");
    let rest = done(&state, "GET", &format!("{CONFIG_MAPS}?continue={next}"), "");
    let names: Vec<_> = rest.get("items").unwrap().items().iter().map(|item| item.text_at("metadata.name")).collect();
    assert_eq!(names, ["d", "e"]);
}

#[test]
fn deleting_a_collection_deletes_what_is_selected() {
    let state = server();
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        create(&state, name, app);
    }
    done(&state, "DELETE", &format!("{CONFIG_MAPS}?labelSelector=app=web"), "");
    let left = done(&state, "GET", CONFIG_MAPS, "");
    let names: Vec<_> = left.get("items").unwrap().items().iter().map(|item| item.text_at("metadata.name")).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_receiver_that_compaction_overtakes_is_ended_and_one_that_keeps_up_is_not() {
    let state = server();
    let (mut slow, mut quick) = (
        watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=100")),
        watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=100")),
    );
    create(&state, "a", "web");
    assert_eq!(told(quick.as_mut()), ["ADDED a@101"]);
    state.compact();
    create(&state, "b", "web");
    assert_eq!(told(slow.as_mut()), ["END"]);
    assert_eq!(told(quick.as_mut()), ["ADDED b@102"]);
    let mut late = watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=100"));
    assert_eq!(told(late.as_mut()), ["ERROR Expired@", "END"]);
}

#[test]
fn a_restart_ends_watches_and_keeps_objects() {
    let state = server();
    create(&state, "a", "web");
    let mut lines = watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=101"));
    state.restart();
    assert_eq!(told(lines.as_mut()), ["END"]);
    assert_eq!(send(&state, "GET", &format!("{CONFIG_MAPS}/a"), "").0, 200);
    let mut lines = watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=100"));
    assert_eq!(told(lines.as_mut()), ["ADDED a@101"]);
}

#[test]
fn after_a_restore_versions_go_back_and_only_the_probe_tells() {
    let state = server();
    create(&state, "a", "web");
    let backup = state.snapshot();
    create(&state, "b", "web");
    create(&state, "c", "web");
    state.restore(&backup);
    let mut lines = watch(&state, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=103&allowWatchBookmarks=true"));
    create(&state, "d", "web");
    state.advance(Duration::from_secs(120));
    assert!(told(lines.as_mut()).is_empty(), "a watch from the future is silent");
    let probe = format!("{CONFIG_MAPS}?limit=1&resourceVersion=103&resourceVersionMatch=NotOlderThan");
    assert_eq!(send(&state, "GET", &probe, "").0, 504);
    let names = done(&state, "GET", CONFIG_MAPS, "");
    let names: Vec<_> = names.get("items").unwrap().items().iter().map(|item| item.text_at("metadata.name")).collect();
    assert_eq!(names, ["a", "d"]);
}

#[test]
fn a_definition_serves_the_versions_it_says_and_takes_its_objects_along() {
    let state = server();
    let versions = |second: bool| {
        format!(
            r#"{{"metadata":{{"name":"ws.x.io"}},"spec":{{"group":"x.io","scope":"Cluster","names":{{"plural":"ws","kind":"W"}},"versions":[{{"name":"v1","served":true,"storage":true}},{{"name":"v2","served":{second}}}]}}}}"#
        )
    };
    done(&state, "POST", DEFINITIONS, &versions(true));
    done(&state, "POST", "/apis/x.io/v1/ws", r#"{"metadata":{"name":"a"},"spec":{"z":1,"a":2}}"#);
    let again = done(&state, "GET", "/apis/x.io/v2/ws/a", "");
    assert_eq!((again.text_at("apiVersion"), again.text_at("kind")), ("x.io/v2", "W"));
    let changed = done(&state, "PATCH", "/apis/x.io/v2/ws/a", r#"{"spec":{"z":3}}"#);
    assert_eq!(changed.at("metadata.generation"), Some(&Json::Number(2.into())));
    done(&state, "PUT", &format!("{DEFINITIONS}/ws.x.io"), &versions(false));
    assert_eq!(send(&state, "GET", "/apis/x.io/v2/ws", "").0, 404);
    let mut lines = watch(&state, "/apis/x.io/v1/ws?watch=1&resourceVersion=0");
    done(&state, "DELETE", &format!("{DEFINITIONS}/ws.x.io"), "");
    done(&state, "POST", DEFINITIONS, &versions(true));
    assert_eq!(told(lines.as_mut()), ["ADDED a@103", "DELETED a@106", "END"]);
    let mut lines = watch(&state, "/apis/x.io/v1/ws?watch=1");
    done(&state, "POST", "/apis/x.io/v1/ws", r#"{"metadata":{"name":"b"}}"#);
    assert_eq!(told(lines.as_mut()), ["ADDED b@108"]);
}

#[test]
fn an_event_has_one_identity_in_both_of_its_groups() {
    let state = server();
    let (old, new) = ("/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events");
    let mut lines = [watch(&state, &format!("{old}?watch=1")), watch(&state, &format!("{new}?watch=1"))];
    done(&state, "POST", old, r#"{"metadata":{"name":"e"},"reason":"R"}"#);
    let uids = [old, new].map(|path| done(&state, "GET", &format!("{path}/e"), "").text_at("metadata.uid").to_owned());
    assert_eq!(uids[0], uids[1]);
    assert_eq!(told(lines[0].as_mut()), told(lines[1].as_mut()));
}

#[test]
fn every_release_serves_what_its_discovery_names() {
    for release in [Release::V1_20, Release::V1_33, Release::V1_36] {
        let state = State::new(1);
        state.set(|settings| settings.release = release);
        let resources = state.lock().catalog.resources.clone();
        let listed = resources.iter().filter(|resource| resource.verbs.iter().any(|verb| verb == "list"));
        let mut count = 0;
        for resource in listed {
            let root = if resource.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", resource.api_version()) };
            let (code, list) = send(&state, "GET", &format!("{root}/{}", resource.name), "");
            assert_eq!((code, list.text_at("kind")), (200, resource.list_kind.as_str()), "{release:?} {root}/{}", resource.name);
            count += 1;
        }
        assert!(count > 55, "{release:?} serves {count}");
    }
}
