//! What is logged of a server that goes and comes back: two lines, and little more, however many watches it has.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, line, page, refused_streaming_list, watch};
use crate::capture::start;
use crate::support::daemon::Setup;
use faro::sim::Cluster;

const WATCHES: usize = 60;

/// However many watches: the server goes, the server is back, and a few say for all that they list again.
const LINES_MAX: usize = 10;

#[test]
fn an_outage_under_many_watches_is_ten_lines_at_most() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let namespaces: Vec<_> = (0..WATCHES).map(|n| format!("n-{n}")).collect();
    for namespace in &namespaces {
        cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).unwrap();
        cluster.create(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{namespace: {namespace}, name: o}}}}")).unwrap();
    }
    let config = format!("resources: [{{gvr: v1/configmaps, namespace_names: [{}]}}]", namespaces.join(", "));
    let mut daemon = Setup::with_config(&config).kubeconfig(cluster.kubeconfig()).start();
    daemon.wait_until_ready();
    let before = daemon.log().lines().count();
    cluster.down();
    daemon.wait_for_log(&["warn", "fails for", &format!("of {WATCHES} watches")]);
    // Everything is listed again, which is the most that there can be to say.
    for namespace in &namespaces {
        cluster.label("v1/configmaps", &format!("{namespace}/o"), &[("turn", Some("1"))]).unwrap();
    }
    cluster.compact();
    cluster.up().unwrap();
    daemon.wait_for_lines("every object's change", |lines| lines.len() == 2 * WATCHES);
    daemon.wait_for_log(&["info", "answers again", "watches go on"]);
    let log = daemon.log();
    let said: Vec<_> = log.lines().skip(before).filter(|line| !line.contains(" debug ")).collect();
    assert!(said.len() <= LINES_MAX, "{} lines:\n{}", said.len(), said.join("\n"));
    daemon.stop();
}

#[test]
fn a_page_with_an_id_of_its_own_each_time_is_the_same_failure() {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    let failed = |id: u8| Answer::json(502, format!("bad gateway, request id {id}"));
    api.server.on(&format!("list {CONFIGMAPS}"), [failed(1), failed(2), failed(3), page(10, &[("a", 7)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    daemon.wait_for_log(&["info", "listed, watching"]);
    let log = daemon.log();
    let said = |words: &str| log.lines().filter(|line| line.contains(words) && !line.contains(" debug ")).count();
    assert_eq!((said("bad gateway"), said("request id 1")), (2, 2), "when it begins and when it is over: {log}");
    daemon.stop();
}

#[test]
fn a_proxy_that_cuts_watches_now_and_then_is_no_word() {
    let api = Api::with_a_and_b();
    let change = |version| watch(&[line("MODIFIED", "a", version)]).left_open();
    api.server.on(&format!("watch {CONFIGMAPS}"), [change(11), change(12), change(13)]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    for changes in 1..=3 {
        daemon.wait_for_lines("the next change", |lines| lines.len() == 2 + changes);
        api.server.cut_all();
    }
    daemon.wait_for_log(&["watch lost, watching again"]);
    let log = daemon.log();
    assert!(!log.lines().any(|line| line.contains(" warn ") && !line.contains("namespace demo: not there")), "{log}");
    assert!(daemon.metric("faro_watch_restarts_total", r#"reason="cut""#) >= 2.0);
    daemon.stop();
}

#[test]
fn a_refusal_that_is_over_is_said_too() {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    let refused = Answer::json(403, r#"{"message":"cannot list resource \"configmaps\""}"#);
    api.server.on(&format!("list {CONFIGMAPS}"), [refused, page(10, &[("a", 7)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for_log(&["warn", "forbidden"]);
    daemon.wait_for_log(&["info", "the server answers again"]);
    daemon.stop();
}
