//! Several watches: of one kind with different selectors, of both configuration formats, of every scope.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, line, page, refused_streaming_list, watch};
use crate::capture::{briefs, start};
use crate::support::daemon::Setup;
use crate::support::lines::Line;
use std::collections::BTreeSet;

/// What is told of `path` to the watch whose requests have `parameter` in their query; with "" to the one without.
fn serve(api: &Api, path: &str, parameter: &str, listed: Answer, changes: &[String]) {
    let suffix = if parameter.is_empty() { String::new() } else { format!("?{parameter}") };
    api.server.on(&format!("watch {path}{suffix}"), [refused_streaming_list(), watch(changes).left_open()]);
    api.server.on(&format!("list {path}{suffix}"), [listed]);
}

/// The briefs of each watch's lines, one watch after the other.
fn by_watch(lines: &[Line]) -> BTreeSet<Vec<String>> {
    let ids: BTreeSet<&String> = lines.iter().map(|line| &line.watch).collect();
    let of_id = |id: &String| {
        lines.iter().filter(|line| line.watch == *id).map(|line| format!("{} {}", line.gvr, line.brief())).collect()
    };
    ids.into_iter().map(of_id).collect()
}

#[test]
fn watches_of_one_kind_with_different_selectors_each_tell_their_own() {
    let api = Api::new(Release::V1_20);
    let crossing = [line("ADDED", "c", 11), line("DELETED", "c", 12)];
    serve(&api, CONFIGMAPS, "labelSelector=app%3Dweb", page(10, &[("a", 7)]), &crossing);
    serve(&api, CONFIGMAPS, "labelSelector=app%3Ddb", page(10, &[("b", 8)]), &[line("ADDED", "c", 12)]);
    serve(&api, CONFIGMAPS, "fieldSelector=metadata.name%3Da", page(10, &[("a", 7)]), &[]);
    serve(&api, CONFIGMAPS, "", page(10, &[("a", 7), ("b", 8)]), &[line("ADDED", "c", 11), line("MODIFIED", "c", 12)]);
    let config = "namespaces:
- name_selector: demo
  resources: {v1/configmaps: {label_selector: app=web}}
- name_selector: demo
  resources: {v1/configmaps: {name_selector: a}}
resources:
- {gvr: v1/configmaps, namespace_names: [demo], label_selector: app=db}
- {gvr: v1/configmaps, namespace_names: [demo]}
- {gvr: v1/configmaps, namespace_names: [demo], label_selector: app=web}";
    let daemon = start(&api, config);
    let lines = daemon.wait_for_lines("ten lines", |lines| lines.len() >= 10);
    let all = |briefs: &[&str]| briefs.iter().map(|brief| format!("v1/configmaps {brief}")).collect::<Vec<_>>();
    let expected = BTreeSet::from([
        all(&["ADDED demo/a initial", "ADDED demo/c", "DELETED demo/c"]),
        all(&["ADDED demo/b initial", "ADDED demo/c"]),
        all(&["ADDED demo/a initial"]),
        all(&["ADDED demo/a initial", "ADDED demo/b initial", "ADDED demo/c", "UPDATED demo/c"]),
    ]);
    assert_eq!(by_watch(&lines), expected);
    assert_eq!(daemon.metric("faro_gvr_per_informer", r#"gvr="v1/configmaps""#), 4.0, "equal entries are one watch");
    daemon.stop();
}

#[test]
fn both_formats_in_one_file_watch_every_scope() {
    let api = Api::new(Release::V1_20);
    let (apps, all, nodes) = ("/apis/apps/v1/namespaces/prod/deployments", "/api/v1/configmaps", "/api/v1/namespaces");
    serve(&api, "/api/v1/namespaces/prod/pods", "labelSelector=app%3Dnginx", page(10, &[("p", 1)]), &[]);
    serve(&api, apps, "", page(10, &[("d", 2)]), &[]);
    serve(&api, all, "", page(10, &[("c", 3)]), &[]);
    serve(&api, nodes, "", page(10, &[("n", 4)]), &[]);
    let config = "namespaces:
- name_selector: prod
  resources:
    v1/pods: {label_selector: app=nginx}
    apps/v1/deployments: {}
resources:
- {gvr: v1/configmaps, namespace_names: ['']}
- {gvr: v1/namespaces, scope: cluster}";
    let mut daemon = start(&api, config);
    let lines = daemon.wait_for_lines("four lines", |lines| lines.len() >= 4);
    daemon.wait_until_ready();
    let kinds: BTreeSet<&str> = lines.iter().map(|line| line.gvr.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["apps/v1/deployments", "v1/configmaps", "v1/namespaces", "v1/pods"]));
    assert_eq!(by_watch(&lines).len(), 4);
    daemon.stop();
}

#[test]
fn two_targets_whose_ids_are_the_same_are_refused_at_once_and_over_restarts() {
    // Searched for: in the cluster of these tests, configmaps of demo with either selector have one id.
    let [one, other] = ["akdukbukrxdhi", "iqoeok34t2y5b"];
    let with = |app: &str| format!("{{gvr: v1/configmaps, namespace_names: [demo], label_selector: app={app}}}");
    let api = Api::new(Release::V1_20);
    let suffixes = [one, other].map(|app| format!("labelSelector=app%3D{app}"));
    suffixes.iter().for_each(|suffix| serve(&api, CONFIGMAPS, suffix, page(10, &[("a", 7)]), &[]));
    let bare = Setup::bare().kubeconfig(&api.kubeconfig());
    let setup = |resources: &str| bare.clone().config(&bare.whole(&format!("resources: [{resources}]")));
    let check = |setup: Setup| {
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert!(ended.log.contains("cannot watch v1/configmaps in demo with labels app="), "{}", ended.log);
        assert!(ended.log.contains("and each would take the other's objects for its own"), "{}", ended.log);
    };
    check(setup(&format!("{}, {}", with(one), with(other))));
    let daemon = setup(&with(one)).start_ready();
    daemon.wait_for("ADDED demo/a initial");
    daemon.stop();
    check(setup(&with(other)));
    setup(&with(one)).start_ready().stop();
}

#[test]
fn cluster_name_and_watch_ids_stay_the_same_from_run_to_run() {
    let ids = [(), ()].map(|()| {
        let api = Api::with_a_and_b();
        let daemon = start(&api, "cluster_name: prod-eu\nresources: [{gvr: v1/configmaps, namespace_names: [demo]}]");
        let lines = daemon.wait_for_lines("two lines", |lines| lines.len() >= 2);
        assert_eq!(briefs(&lines), ["ADDED demo/a initial", "ADDED demo/b initial"]);
        assert!(lines.iter().all(|line| line.cluster.as_deref() == Some("prod-eu")));
        assert!(daemon.metric("faro_events_total", r#"cluster="prod-eu""#) >= 2.0);
        daemon.stop();
        lines.into_iter().map(|line| line.id()).collect::<Vec<_>>()
    });
    // The servers have two URLs and one uid of kube-system.
    assert_eq!(ids[0], ids[1]);
}
