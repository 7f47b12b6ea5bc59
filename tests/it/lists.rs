//! Lists: in pages, in a stream, late, cut, expired. Each object is told once, and what went meanwhile is noticed.

use crate::answer::{Answer, Gate};
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, bookmark, line, page, page_before, refused_streaming_list, watch};
use crate::capture::{briefs, start};
use crate::server::Request;
use crate::support::daemon::Daemon;

/// The tokens with which pages were asked for; `None` for a first page.
fn tokens(requests: &[Request]) -> Vec<Option<String>> {
    let pages = requests.iter().filter(|request| request.what() == format!("list {CONFIGMAPS}"));
    pages.map(|request| request.parameter("continue")).collect()
}

fn pages() -> Api {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    api
}

fn not_ready(daemon: &Daemon, word: &str) {
    let (code, body) = daemon.http("/ready").unwrap();
    assert_eq!(code, 503, "{body}");
    assert!(body.contains(word), "{body}");
    assert_eq!(daemon.http("/health").unwrap().0, 200);
}

#[test]
fn list_in_pages_is_told_whole_and_watched_from_its_version() {
    let api = pages();
    api.server.on(&format!("list {CONFIGMAPS}"), [page_before(10, &[("a", 7), ("b", 8)], "one+/=")]);
    api.server.on(&format!("list {CONFIGMAPS}?continue=one%2B%2F%3D"), [page_before(10, &[("c", 9)], "two")]);
    api.server.on(&format!("list {CONFIGMAPS}?continue=two"), [page(10, &[("d", 6)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let requests = api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    assert_eq!(Api::resumed_from(&requests, CONFIGMAPS), ["10"]);
    let ended = daemon.stop();
    let expected: Vec<String> = ["a", "b", "c", "d"].map(|name| format!("ADDED demo/{name} initial")).into();
    assert_eq!(briefs(&ended.lines), expected);
}

#[test]
fn expired_page_begins_the_list_again_without_the_inconsistent_rest() {
    let api = pages();
    let first = page_before(10, &[("a", 7), ("b", 8)], "old");
    api.server.on(&format!("list {CONFIGMAPS}"), [first, page_before(30, &[("a", 7)], "new")]);
    api.server.on(&format!("list {CONFIGMAPS}?continue=old"), [Answer::recorded("list-expired-continue-410")]);
    api.server.on(&format!("list {CONFIGMAPS}?continue=new"), [page(30, &[("c", 21)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let requests = api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    assert_eq!(tokens(&requests), [None, Some("old".to_owned()), None, Some("new".to_owned())]);
    assert_eq!(Api::resumed_from(&requests, CONFIGMAPS), ["30"]);
    let lines = daemon.wait_for_lines("four lines", |lines| lines.len() >= 4);
    let expected = ["ADDED demo/a initial", "ADDED demo/b initial", "ADDED demo/c initial", "DELETED demo/b inferred"];
    assert_eq!(briefs(&lines), expected);
    assert_eq!(lines[3].resource_version, "8", "an inferred delete carries the last known version");
    daemon.stop();
}

#[test]
fn streaming_list_that_is_cut_twice_goes_on_by_pages() {
    let api = Api::new(Release::V1_36);
    let streamed = Answer::recorded("watch-list-streaming-metadata-only");
    let cuts = [r#""name":"cm-1""#, r#""name":"cm-4""#].map(|words| streamed.clone().cut_behind(words));
    api.server.on(&format!("watch {CONFIGMAPS}"), cuts);
    // Its uids are others than the recorded ones, so two objects were replaced meanwhile.
    api.server.on(&format!("list {CONFIGMAPS}"), [page(300, &[("cm-0", 290), ("cm-6", 291)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let requests = api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    assert_eq!(tokens(&requests), [None]);
    let lines = daemon.wait_for_lines("ten lines", |lines| lines.len() >= 10);
    let told = briefs(&lines);
    let streamed: Vec<String> = (0..4).map(|n| format!("ADDED demo/cm-{n} initial")).collect();
    assert_eq!(told[..4], streamed, "what both cuts had told is told once");
    assert_eq!(told[4..7], ["DELETED demo/cm-0 inferred", "ADDED demo/cm-0 initial", "ADDED demo/cm-6 initial"]);
    let mut gone = told[7..].to_vec();
    gone.sort();
    assert_eq!(gone, ["DELETED demo/cm-1 inferred", "DELETED demo/cm-2 inferred", "DELETED demo/cm-3 inferred"]);
    daemon.stop();
}

#[test]
fn streaming_list_turns_into_a_watch_on_the_same_connection() {
    let api = Api::new(Release::V1_36);
    let lines = [line("ADDED", "a", 7), bookmark(10, true), line("MODIFIED", "a", 11), line("DELETED", "a", 12)];
    let (list, watch_again) = (watch(&lines), watch(&[line("ADDED", "a", 13)]).left_open());
    api.server.on(&format!("watch {CONFIGMAPS}"), [list, watch_again]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let lines = daemon.wait_for_lines("four lines", |lines| lines.len() >= 4);
    assert_eq!(briefs(&lines), ["ADDED demo/a initial", "UPDATED demo/a", "DELETED demo/a", "ADDED demo/a"]);
    let requests = api.server.requests();
    assert_eq!(Api::resumed_from(&requests, CONFIGMAPS), ["12"], "resumed at once after a clean end with events");
    assert_eq!(api.server.asked(&format!("past {CONFIGMAPS}")), 0);
    daemon.stop();
}

#[test]
fn list_whose_head_comes_late_is_waited_for() {
    for release in [Release::V1_20, Release::V1_36] {
        let (api, gate) = (Api::new(release), Gate::default());
        match release {
            Release::V1_20 => {
                api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
                api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)]).held_by(&gate)]);
            }
            Release::V1_36 => {
                let list = watch(&[line("ADDED", "a", 7), bookmark(10, true)]).left_open();
                api.server.on(&format!("watch {CONFIGMAPS}"), [list.held_by(&gate)]);
                // Where even this test machine stood still for the ten seconds after which pages are asked for.
                api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)])]);
            }
        }
        let mut daemon = start(&api, WATCH_CONFIGMAPS);
        let kind = if matches!(release, Release::V1_20) { "list" } else { "watch" };
        api.server.wait_for("the list", |requests| requests.iter().any(|r| r.what() == format!("{kind} {CONFIGMAPS}")));
        not_ready(&daemon, "v1/configmaps");
        gate.open();
        daemon.wait_until_ready();
        assert_eq!(briefs(&daemon.stop().lines), ["ADDED demo/a initial"], "{release:?}");
    }
}

/// The config maps of a namespace of its own.
fn in_namespace(name: &str) -> String {
    format!("/api/v1/namespaces/{name}/configmaps")
}

fn watching_all(namespaces: &[String]) -> String {
    format!("resources: [{{gvr: v1/configmaps, namespace_names: [{}]}}]", namespaces.join(", "))
}

#[test]
fn lists_that_hang_or_stream_without_end_do_not_stop_others() {
    for release in [Release::V1_20, Release::V1_36] {
        let (api, gate) = (Api::new(release), Gate::default());
        let names = |kind: &str, count| (0..count).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
        let (hung, sound) = (names("hung", 4), names("sound", 6));
        for name in &hung {
            let streamed = || watch(&[line("ADDED", "late", 7), bookmark(10, true)]).left_open().held_at("BOOKMARK", &gate);
            let answers = match release {
                Release::V1_20 => {
                    api.server.on(&format!("list {}", in_namespace(name)), [page(10, &[("late", 7)]).held_by(&gate)]);
                    vec![refused_streaming_list()]
                }
                // One of them may be withdrawn for the sake of the others, and comes back.
                Release::V1_36 => vec![streamed(), streamed()],
            };
            api.server.on(&format!("watch {}", in_namespace(name)), answers);
        }
        for (n, name) in sound.iter().enumerate() {
            let object = format!("o{n}");
            let answers = match release {
                Release::V1_20 => {
                    api.server.on(&format!("list {}", in_namespace(name)), [page(10, &[(&object, 7)])]);
                    refused_streaming_list()
                }
                Release::V1_36 => watch(&[line("ADDED", &object, 7), bookmark(10, true)]).left_open(),
            };
            api.server.on(&format!("watch {}", in_namespace(name)), [answers]);
        }
        let all: Vec<String> = hung.iter().chain(&sound).cloned().collect();
        let mut daemon = start(&api, &watching_all(&all));
        for n in 0..sound.len() {
            daemon.wait_for(&format!("ADDED demo/o{n} initial"));
        }
        gate.open();
        daemon.wait_until_ready();
        assert_eq!(daemon.stop().lines.len(), all.len(), "{release:?}");
    }
}

#[test]
fn a_kind_behind_forty_whose_lists_hang_is_listed_while_they_do() {
    let (api, gate) = (Api::new(Release::V1_20), Gate::default());
    api.server.instead("get /version", [Answer::json(200, r#"{"gitVersion":"v1.20.2"}"#)]);
    let hung: Vec<String> = (0..40).map(|n| format!("hung-{n}")).collect();
    for name in &hung {
        api.server.on(&format!("list {}", in_namespace(name)), [page(10, &[("late", 7)]).held_by(&gate)]);
    }
    api.server.on(&format!("list {}", in_namespace("sound")), [page(10, &[("prompt", 7)])]);
    let all: Vec<String> = hung.iter().cloned().chain(["sound".to_owned()]).collect();
    let mut daemon = start(&api, &watching_all(&all));
    daemon.wait_for("ADDED demo/prompt initial");
    not_ready(&daemon, "v1/configmaps");
    gate.open();
    daemon.wait_until_ready();
    assert_eq!(daemon.stop().lines.len(), all.len());
}

#[test]
fn stream_without_its_end_word_is_no_list_yet() {
    let (api, gate) = (Api::new(Release::V1_36), Gate::default());
    let list = watch(&[line("ADDED", "a", 7), line("ADDED", "b", 8), bookmark(10, true)]).left_open();
    api.server.on(&format!("watch {CONFIGMAPS}"), [list.held_at("k8s.io/initial-events-end", &gate)]);
    let mut daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/b initial");
    not_ready(&daemon, "v1/configmaps");
    gate.open();
    daemon.wait_until_ready();
    daemon.stop();
}
