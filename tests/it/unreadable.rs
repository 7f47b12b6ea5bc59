//! Objects that cannot be read, and servers that give more than they were asked for.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, bookmark, object, page, refused_streaming_list, watch};
use crate::capture::{briefs, start};
use crate::support::daemon::Daemon;
use crate::support::wait::{SOON, eventually};

/// An object of which only the name can be read.
const NAMED: &str = r#"{"metadata":{"name":"b","namespace":"demo","uid":"uid-b","resourceVersion":"8","labels":{"app":7}}}"#;

/// An object of which nothing can be read.
const NAMELESS: &str = r#"{"metadata":{"labels":{"app":7}}}"#;

/// A server whose first list holds `a` and this, and whose second one is this.
fn server(item: &str, second: Answer) -> Api {
    let api = Api::new(Release::V1_20);
    let list = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"10"}},"items":[{},{item}]}}"#,
        object("a", 7)
    );
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list(), watch(&[]).left_open()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [Answer::json(200, list), second]);
    api
}

fn ready(daemon: &Daemon, query: &str) -> (u16, String) {
    daemon.http(&format!("/ready{query}")).unwrap_or_default()
}

#[test]
fn object_of_which_only_the_name_can_be_read_is_named_until_it_can_be() {
    let api = server(NAMED, page(20, &[("a", 7), ("b", 18)]));
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    eventually(SOON, "it is named", || {
        ready(&daemon, "?verbose=1").1.contains(r#""unreadable_objects":1,"unreadable":["demo/b"]"#)
    });
    assert_eq!((ready(&daemon, "").0, ready(&daemon, "?strict=1").0), (200, 503));
    let metrics = daemon.http("/metrics").unwrap().1;
    assert!(metrics.contains("faro_unreadable_objects{gvr=\"v1/configmaps\"} 1"), "{metrics}");
    daemon.wait_for("ADDED demo/b inferred");
    eventually(SOON, "all is well", || ready(&daemon, "?strict=1").0 == 200);
    assert_eq!(daemon.stop().lines.len(), 2);
}

#[test]
fn list_of_an_object_without_a_name_is_no_list_that_makes_ready() {
    let api = server(NAMELESS, page(20, &[("a", 7), ("b", 18)]));
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    eventually(SOON, "it says why", || ready(&daemon, "").1.contains(r#""reason":"unreadable_objects""#));
    assert_eq!(ready(&daemon, "").0, 503);
    daemon.wait_for("ADDED demo/b inferred");
    eventually(SOON, "all is well", || ready(&daemon, "?strict=1").0 == 200);
    assert_eq!(daemon.stop().lines.len(), 2);
}

#[test]
fn null_labels_and_lone_surrogates_are_written_as_go_reads_them() {
    let odd = |name: &str, version: u64| {
        format!(
            r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"name":"{name}","namespace":"demo","uid":"uid-{name}","resourceVersion":"{version}","labels":{{"null":null}},"annotations":{{"half":"\ud800!"}}}}}}"#
        )
    };
    let api = Api::new(Release::V1_36);
    let lines = [("a", 7), ("b", 11)].map(|(name, version)| format!(r#"{{"type":"ADDED","object":{}}}"#, odd(name, version)));
    let [listed, live] = lines;
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&[listed, bookmark(10, true), live]).left_open()]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let lines = daemon.wait_for_lines("two lines", |lines| lines.len() >= 2);
    assert_eq!(briefs(&lines), ["ADDED demo/a initial", "ADDED demo/b"]);
    for line in &lines {
        assert_eq!((line.labels["null"].as_str(), line.annotations["half"].as_str()), ("", "\u{fffd}!"));
    }
    assert_eq!(ready(&daemon, "?strict=1").0, 200);
    daemon.stop();
}

#[test]
fn server_that_gives_whole_objects_is_read_and_that_is_said_once() {
    let whole = |name: &str, version: u64| {
        format!(
            r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"demo","uid":"uid-{name}","resourceVersion":"{version}"}},"data":{{"k":"v"}}}}"#
        )
    };
    let api = Api::new(Release::V1_20);
    let list = format!(
        r#"{{"kind":"ConfigMapList","apiVersion":"v1","metadata":{{"resourceVersion":"10"}},"items":[{}]}}"#,
        whole("a", 7)
    );
    let change = |kind: &str, version| format!(r#"{{"type":"{kind}","object":{}}}"#, whole("a", version));
    let changes = watch(&[change("MODIFIED", 11), change("DELETED", 12)]).left_open();
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list(), changes]);
    api.server.on(&format!("list {CONFIGMAPS}"), [Answer::json(200, list)]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("DELETED demo/a");
    let ended = daemon.stop();
    assert_eq!(briefs(&ended.lines), ["ADDED demo/a initial", "UPDATED demo/a", "DELETED demo/a"]);
    assert_eq!(ended.log.matches("whole objects").count(), 1, "{}", ended.log);
}
