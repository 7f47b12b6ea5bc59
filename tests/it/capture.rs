//! The main job: what a server tells becomes JSON lines, however its bytes arrive.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, bookmark, line, page, watch};
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
            [
                Answer::recorded("server-1.20/watch-list-streaming"),
                Answer::recorded("watch-metadata-only").in_pieces(piece_bytes),
            ],
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
    for cut in (0..length).step_by(37).chain([length - 1]) {
        let api = Api::new(Release::V1_20);
        api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[])]);
        api.server.on(&format!("probe {CONFIGMAPS}"), [page(20, &[])]);
        let refused = Answer::recorded("server-1.20/watch-list-streaming");
        api.server.on(&format!("watch {CONFIGMAPS}"), [refused, changes().cut_after(cut)]);
        // The rest is told from where the client says it is.
        let all = [("ADDED", "a", 11), ("MODIFIED", "a", 12), ("ADDED", "b", 16), ("DELETED", "a", 17)];
        let daemon = start(&api, WATCH_CONFIGMAPS);
        let requests = api.server.wait_for("a second watch", |requests| Api::resumed_from(requests, CONFIGMAPS).len() >= 2);
        let resumed: u64 = Api::resumed_from(&requests, CONFIGMAPS)[1].parse().unwrap();
        let told = daemon.wait_for_lines("what came before the cut", |lines| {
            lines.len() == all.iter().filter(|(_, _, version)| *version <= resumed).count()
        });
        let versions: Vec<u64> = told.iter().map(|line| line.resource_version.parse().unwrap()).collect();
        let expected: Vec<u64> = all.iter().map(|(_, _, version)| *version).filter(|version| *version <= resumed).collect();
        assert_eq!(versions, expected, "cut after {cut} of {length} bytes");
        assert!([10, 11, 12, 15, 16, 17].contains(&resumed), "resumed from {resumed}");
        daemon.stop();
    }
}
