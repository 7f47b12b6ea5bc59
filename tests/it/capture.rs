//! The main job: what a server tells becomes JSON lines, however its bytes arrive.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, bookmark, line, page, refused_streaming_list, watch};
use crate::support::daemon::{Daemon, Setup};
use crate::support::lines::Line;

pub fn start(api: &Api, config: &str) -> Daemon {
    Setup::with_config(config).kubeconfig(&api.kubeconfig()).start()
}

pub fn briefs(lines: &[Line]) -> Vec<String> {
    lines.iter().map(Line::brief).collect()
}

/// What the recorded watch tells of the object `live`.
const LIVE: [&str; 4] = ["ADDED demo/live", "UPDATED demo/live", "UPDATED demo/live", "DELETED demo/live"];

#[test]
fn recorded_list_and_watch_become_lines() {
    for piece_bytes in [1, 7, 1000, usize::MAX] {
        let api = Api::new(Release::V1_20);
        api.server.on(
            &format!("watch {CONFIGMAPS}"),
            [refused_streaming_list(), Answer::recorded("watch-metadata-only").in_pieces(piece_bytes)],
        );
        api.server.on(&format!("list {CONFIGMAPS}"), [page(242, &[("cm-0", 212), ("cm-1", 214)]).in_pieces(piece_bytes)]);
        let daemon = start(&api, WATCH_CONFIGMAPS);
        let lines = daemon.wait_for_lines("six lines", |lines| lines.len() >= 6);
        let expected: Vec<&str> = ["ADDED demo/cm-0 initial", "ADDED demo/cm-1 initial"].into_iter().chain(LIVE).collect();
        assert_eq!(briefs(&lines), expected, "in pieces of {piece_bytes}");
        assert_eq!(lines[3].labels["app"], "web");
        assert_eq!(lines[5].resource_version, "246", "a delete carries the version that deleted");
        daemon.stop();
    }
}

#[test]
fn recorded_streaming_list_becomes_initial_lines() {
    let api = Api::new(Release::V1_36);
    api.server.on(&format!("watch {CONFIGMAPS}"), [Answer::recorded("watch-list-streaming-metadata-only")]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let lines = daemon.wait_for_lines("seven objects", |lines| lines.len() >= 7);
    let expected: Vec<String> = (0..7).map(|n| format!("ADDED demo/cm-{n} initial")).collect();
    assert_eq!(briefs(&lines), expected);
    let first = &api.server.requests().into_iter().find(|request| request.query.contains("watch=1")).unwrap();
    assert_eq!(first.header("Accept"), Some("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"));
    assert_eq!(first.header("Accept-Encoding"), Some("identity"));
    assert!(first.header("User-Agent").unwrap().starts_with("faro/"));
    daemon.stop();
}

/// A watch of three changes, each of two objects.
fn changes() -> Answer {
    watch(&[
        line("ADDED", "a", 11),
        line("MODIFIED", "a", 12),
        bookmark(15, false),
        line("ADDED", "b", 16),
        line("DELETED", "a", 17),
    ])
}

#[test]
fn watch_cut_anywhere_goes_on_without_loss_or_repetition() {
    let length = changes().len();
    // All at once, as each spends its time on waiting.
    std::thread::scope(|scope| {
        for cut in (0..length).step_by(37).chain([length - 1]) {
            scope.spawn(move || check_cut(cut));
        }
    });
}

/// Cuts the watch after so many bytes; the rest is told from where the client says it is.
fn check_cut(cut: usize) {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[])]);
    api.server.on(&format!("past {CONFIGMAPS}"), [page(10, &[])]);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list(), changes().cut_after(cut)]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let requests = api.server.wait_for("a second watch", |requests| Api::resumed_from(requests, CONFIGMAPS).len() >= 2);
    let resumed: u64 = Api::resumed_from(&requests, CONFIGMAPS)[1].parse().unwrap();
    assert!([10, 11, 12, 15, 16, 17].contains(&resumed), "resumed from {resumed}");
    let expected: Vec<u64> = [11, 12, 16, 17].into_iter().filter(|version| *version <= resumed).collect();
    let told = daemon.wait_for_lines("what came before the cut", |lines| lines.len() >= expected.len());
    let versions: Vec<u64> = told.iter().map(|line| line.resource_version.parse().unwrap()).collect();
    assert_eq!(versions, expected, "cut after {cut} bytes");
    daemon.stop();
}

#[test]
fn lists_cut_anywhere_tell_each_object_once() {
    let streamed = Answer::recorded("watch-list-streaming-metadata-only");
    let paged = page(10, &[("cm-0", 7), ("cm-1", 8), ("cm-2", 9)]);
    std::thread::scope(|scope| {
        for (release, list) in [(Release::V1_36, streamed), (Release::V1_20, paged)] {
            for cut in (0..list.len()).step_by(331).chain([list.len() - 1]) {
                let list = list.clone();
                scope.spawn(move || check_cut_list(release, &list, cut));
            }
        }
    });
}

/// Cuts the first answer to a list after so many bytes; the second one is whole.
fn check_cut_list(release: Release, list: &Answer, cut: usize) {
    let api = Api::new(release);
    let (watch, answers) = (format!("watch {CONFIGMAPS}"), [list.clone().cut_after(cut), list.clone()]);
    match release {
        Release::V1_20 => api.server.on(&watch, [refused_streaming_list()]).on(&format!("list {CONFIGMAPS}"), answers),
        Release::V1_36 => api.server.on(&watch, answers),
    };
    let mut daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_until_ready();
    let names: Vec<String> = daemon.stop().lines.iter().map(Line::brief).collect();
    let expected: Vec<String> = (0..objects(release)).map(|n| format!("ADDED demo/cm-{n} initial")).collect();
    assert_eq!(names, expected, "{release:?}: cut after {cut} bytes");
}

/// How many objects the list has.
fn objects(release: Release) -> usize {
    match release {
        Release::V1_20 => 3,
        Release::V1_36 => 7,
    }
}
