//! Memory that stays bounded, whatever somebody puts into objects who may write them, and whatever a server sends.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release as Documents, WATCH_CONFIGMAPS, page, refused_streaming_list};
use crate::bounds::peak_mib;
use crate::capture::start;
use crate::support::daemon::{Daemon, Setup};
use crate::support::lines::{self, Line};
use crate::support::wait::{SOON, eventually};
use faro::sim::{Cluster, Release};
use std::fs;
use std::io::{Cursor, Read, repeat};

/// So many objects of so many annotations of so many bytes, each below `annotation_value_max_bytes`.
const OBJECTS: usize = 300;
const ANNOTATIONS: usize = 16;
const VALUE_BYTES: usize = 15_500;

/// What is stored of the labels and annotations of one object at most.
const STORED_BYTES_MAX: u64 = 16 * 1024;

const CONFIG: &str = "resources: [{gvr: v1/configmaps}, {gvr: v1/pods}, {gvr: v1/services}]";

fn configmap(name: &str, annotations: usize) -> String {
    let annotations: Vec<String> =
        (0..annotations).map(|n| format!(r#""note-{n}":"{name} {}""#, "x".repeat(VALUE_BYTES))).collect();
    let metadata = format!(
        r#""name":"{name}","namespace":"default","labels":{{"app":"{name}"}},"annotations":{{{}}}"#,
        annotations.join(",")
    );
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{{metadata}}}}}"#)
}

/// The last line of the newest events file, of which the lines before it may be long.
fn last_line(daemon_output: &std::path::Path) -> Option<Line> {
    let mut files: Vec<_> = fs::read_dir(daemon_output).ok()?.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "json"));
    files.sort();
    let text = fs::read(files.last()?).ok()?;
    let whole = &text[..memchr::memrchr(b'\n', &text)?];
    let begin = memchr::memrchr(b'\n', whole).map_or(0, |end| end + 1);
    Some(lines::parse(std::str::from_utf8(&whole[begin..]).unwrap()))
}

fn check_peak(daemon: &Daemon, what: &str) {
    let peak = peak_mib(daemon);
    assert!(peak < 96, "{what}: {peak} MiB");
}

/// Fills objects as far as a tenant may, and sees the daemon through a first list, a restart, and a list that is compared.
fn attack(release: Release) {
    let cluster = Cluster::builder().release(release).tls(false).start().unwrap();
    for n in 0..OBJECTS {
        cluster.create(&configmap(&format!("attack-{n}"), ANNOTATIONS)).unwrap();
    }
    cluster.create("{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: default}}").unwrap();
    let setup = Setup::with_config(CONFIG).kubeconfig(cluster.kubeconfig());
    let known = OBJECTS as f64;
    let is_known = |daemon: &Daemon, known: f64| daemon.metric("faro_tracked_resources_total", "v1/configmaps") == known;

    let daemon = setup.clone().start_ready();
    eventually(SOON, "every object is known", || is_known(&daemon, known));
    assert_eq!(daemon.metric("faro_tracked_resources_total", "v1/pods"), 1.0);
    check_peak(&daemon, "the first list");
    let state = daemon.metric("faro_state_bytes", "") as u64;
    let most = 4 * (OBJECTS as u64 * STORED_BYTES_MAX) + 4 * 1024 * 1024;
    assert!(state > 0 && state < most, "{state} of {most}");
    let written = daemon.metric("faro_bytes_written_total", "v1/configmaps");
    assert!(written > known * (ANNOTATIONS * VALUE_BYTES) as f64, "{written}");
    daemon.stop_unread();

    // What is listed anew is compared with what is known.
    cluster.delete("v1/configmaps", "default/attack-7").unwrap();
    cluster.create(&configmap("small", 0)).unwrap();
    cluster.compact();
    let daemon = setup.clone().start_ready();
    eventually(SOON, "the list was compared", || daemon.metric("faro_written_lines_total", "") == 2.0);
    check_peak(&daemon, "the list after a restart");
    let gone = last_line(&setup.output()).unwrap();
    assert_eq!((gone.brief().as_str(), gone.labels["app"].as_str()), ("DELETED default/attack-7 inferred", "attack-7"));
    let annotations = &gone.annotations;
    assert_eq!(annotations.len(), ANNOTATIONS);
    let redacted = annotations.values().filter(|value| value.starts_with("redacted:")).count();
    assert_eq!(redacted, ANNOTATIONS - 1, "the longest first, until the rest fits");
    daemon.stop_unread();
}

#[test]
fn objects_full_of_annotations_are_listed_by_pages_in_bounded_memory_and_their_deletes_are_found() {
    attack(Release::V1_20);
}

#[test]
fn objects_full_of_annotations_are_streamed_in_bounded_memory_and_their_deletes_are_found() {
    attack(Release::V1_36);
}

/// A page with one object, whose one annotation has so many bytes.
fn bomb(annotation_bytes: u64) -> Answer {
    let front = r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"10"},"items":[{"metadata":{"name":"bomb","namespace":"demo","uid":"u-bomb","resourceVersion":"9","annotations":{"a":""#;
    let end = r#""}}},{"metadata":{"name":"a","namespace":"demo","uid":"u-a","resourceVersion":"7"}}]}"#;
    Answer::gzipped(Cursor::new(front).chain(repeat(b'x').take(annotation_bytes)).chain(Cursor::new(end)))
}

#[test]
fn a_compressed_page_is_bounded_by_what_it_unpacks_to_and_so_is_one_object() {
    let api = Api::new(Documents::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    // More than any page may have, then more than any object may.
    let (endless, large) = (bomb(300 * 1024 * 1024), bomb(20 * 1024 * 1024));
    assert!(endless.len() < 4 * 1024 * 1024, "{}", endless.len());
    api.server.on(&format!("list {CONFIGMAPS}"), [endless, large, page(12, &[("a", 7), ("bomb", 11)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    daemon.wait_for_log(&["warn", "demo/bomb", "longer than 16777216 bytes"]);
    let limits: Vec<String> =
        api.server.requests().iter().filter_map(|request| request.query.split("limit=").nth(1)).map(str::to_owned).collect();
    assert_eq!(limits[..2], ["500", "100"], "a page that is too long is asked for with a smaller limit");
    daemon.wait_for("ADDED demo/bomb inferred");
    check_peak(&daemon, "300 MiB out of a small answer");
    daemon.stop();
}
