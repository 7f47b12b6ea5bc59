//! Every recorded discovery document, whole and with parts that fail.

use super::*;
use crate::api::Fault;
use crate::client::transcript::{Script, Transcript};

fn recorded(server: &str, names: &[&str]) -> Script {
    Script::new(names.iter().map(|name| Transcript::golden(&format!("{server}{name}"))))
}

/// What a lookup says, in short.
fn found(discovery: &Discovery, gvr: &str) -> String {
    match discovery.find(&gvr.parse().unwrap()) {
        Lookup::Served(resource) => format!("{} {:?}", resource.kind, resource.scope),
        Lookup::OtherVersions(others) => others.iter().map(|resource| resource.gvr.to_string()).collect::<Vec<_>>().join(" "),
        Lookup::Absent => "absent".to_owned(),
        Lookup::Unknown(reason) => format!("unknown: {reason}"),
    }
}

fn check(discovery: &Discovery, expected: &[(&str, &str)]) {
    for (gvr, expected) in expected {
        assert_eq!(found(discovery, gvr), *expected, "{gvr}");
    }
}

#[test]
fn two_requests_are_enough_for_a_server_with_aggregated_discovery() {
    let script = recorded("", &["discovery-api-aggregated", "discovery-apis-aggregated"]);
    let discovery = fetch::discover(&script).unwrap();
    let asked: Vec<String> = script.asked().into_iter().map(|(path, accept, _)| format!("{path} {accept}")).collect();
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
        application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    assert_eq!(asked, [format!("/api {accept}"), format!("/apis {accept}")]);
    check(
        &discovery,
        &[
            ("v1/pods", "Pod Namespaced"),
            ("v1/nodes", "Node Cluster"),
            ("apps/v1/deployments", "Deployment Namespaced"),
            ("rbac.authorization.k8s.io/v1/clusterroles", "ClusterRole Cluster"),
            ("autoscaling/v2beta2/horizontalpodautoscalers", AUTOSCALERS),
            ("v1/podz", "absent"),
            ("example.com/v1/widgets", "absent"),
        ],
    );
    assert_eq!(discovery.unavailable().count(), 0);
    let Lookup::Served(bindings) = discovery.find(&"v1/bindings".parse().unwrap()) else { panic!("bindings are served") };
    assert!(!bindings.is_watchable());
    assert!(discovery.resources().filter(|resource| resource.is_watchable()).count() > 40);
}

const AUTOSCALERS: &str = "autoscaling/v1/horizontalpodautoscalers autoscaling/v2/horizontalpodautoscalers";

#[test]
fn one_broken_group_hides_no_other_on_a_server_without_aggregated_discovery() {
    for (server, roots) in [
        ("server-1.20/", ["discovery-api-aggregated", "discovery-apis-aggregated"]),
        ("server-1.20/", ["discovery-api-legacy", "discovery-apis-legacy"]),
        ("", ["discovery-api-legacy", "discovery-apis-legacy"]),
    ] {
        let script = recorded(server, &[roots[0], roots[1], "discovery-core-v1", "discovery-apps-v1"]);
        let discovery = fetch::discover(&script.broken("/apis/batch/v1")).unwrap();
        check(
            &discovery,
            &[
                ("v1/pods", "Pod Namespaced"),
                ("v1/nodes", "Node Cluster"),
                ("apps/v1/deployments", "Deployment Namespaced"),
                ("apps/v1/deploymentz", "absent"),
                ("policy/v1/poddisruptionbudgets", "unknown: discover /apis/policy/v1: 404 404 page not found"),
                ("batch/v1/jobs", "unknown: discover /apis/batch/v1: no answer from https://script.test:6443: connection reset"),
                ("example.com/v1/widgets", "absent"),
            ]
            .map(|(gvr, expected)| match gvr {
                // 1.20 has no policy/v1 yet, and its v1beta1 was not recorded.
                "policy/v1/poddisruptionbudgets" if !server.is_empty() => {
                    (gvr, "unknown: discover /apis/policy/v1beta1: 404 404 page not found")
                }
                _ => (gvr, expected),
            }),
        );
        assert!(discovery.unavailable().any(|(name, _)| name == "batch/v1"));
    }
}

#[test]
fn a_server_that_stops_answering_is_an_error_and_not_many_broken_groups() {
    let script = recorded("", &["discovery-api-legacy", "discovery-apis-legacy", "discovery-core-v1"]);
    let script = script.broken("/apis/apps/v1").broken("/apis/batch/v1").broken("/apis/policy/v1");
    assert_eq!(fetch::discover(&script).unwrap_err().fault(), Fault::Connection);
    assert_eq!(fetch::discover(&Script::default().broken("/api")).unwrap_err().fault(), Fault::Connection);
}

#[test]
fn an_answer_that_is_no_discovery_is_an_error() {
    for body in ["", "<html>", "{}", r#"{"kind":"Status"}"#, r#"{"kind":"APIGroupDiscoveryList","items":[{"versions":7}]}"#] {
        let script = Script::new([Transcript::made("/api", 200, body)]);
        assert_eq!(fetch::discover(&script).unwrap_err().fault(), Fault::Undecodable, "{body}");
    }
    let script = Script::new([Transcript::golden("unauthorized"), Transcript::made("/api", 401, "{}")]);
    assert_eq!(fetch::discover(&script).unwrap_err().fault(), Fault::Unauthorized);
}

#[test]
fn a_stale_group_is_unknown_and_never_absent() {
    let core = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"creationTimestamp":null},"versions":null}]}"#;
    let named = r#"{"kind":"APIGroupDiscoveryList","items":[
        {"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]},
        {"metadata":{"name":"example.com"},"versions":[
            {"version":"v2","resources":[{"resource":"widgets","responseKind":null,"scope":"Cluster","verbs":["list","watch"]}],
             "freshness":"Current"},
            {"version":"v1","resources":[],"freshness":"Stale"}]}]}"#;
    let script = Script::new([Transcript::made("/api", 200, core), Transcript::made("/apis", 200, named)]);
    let discovery = fetch::discover(&script).unwrap();
    let stale = "unknown: the server marks it as stale: the API server behind it does not answer";
    check(
        &discovery,
        &[
            ("metrics.k8s.io/v1beta1/pods", stale),
            ("metrics.k8s.io/v1/pods", stale),
            ("example.com/v1/widgets", stale),
            ("example.com/v2/widgets", " Cluster"),
            ("example.com/v3/widgets", "example.com/v2/widgets"),
            ("example.com/v3/gadgets", stale),
        ],
    );
    let unavailable: Vec<String> = discovery.unavailable().map(|(name, _)| name).collect();
    assert_eq!(unavailable, ["example.com/v1", "metrics.k8s.io/v1beta1"]);
}

#[test]
fn near_matches_name_what_was_meant() {
    let discovery = fetch::discover(&recorded("", &["discovery-api-aggregated", "discovery-apis-aggregated"])).unwrap();
    for (asked, expected) in [
        ("v1/podz", "v1/pods"),
        ("v1/pod", "v1/pods"),
        ("v1/po", "v1/pods"),
        ("v1/deployments", "apps/v1/deployments"),
        ("v1/deploy", "apps/v1/deployments"),
        ("apps/v1/deploments", "apps/v1/deployments"),
        ("aps/v1/deployment", "apps/v1/deployments"),
        ("apps/v1beta1/deployments", "apps/v1/deployments"),
        ("extensions/v1beta1/ingresses", "networking.k8s.io/v1/ingresses"),
        ("v1/event", "v1/events events.k8s.io/v1/events"),
        ("events/v1/events", "events.k8s.io/v1/events v1/events"),
        ("autoscaling/v2beta2/hpa", AUTOSCALERS),
        ("v1/zzzzzzz", ""),
        ("v1/binding", ""),
    ] {
        assert_eq!(discovery.near_matches(&asked.parse().unwrap()).join(" "), expected, "{asked}");
    }
}

#[test]
fn the_built_in_groups_are_those_that_recorded_servers_serve() {
    let aggregated = fetch::discover(&recorded("", &["discovery-api-aggregated", "discovery-apis-aggregated"])).unwrap();
    let legacy = fetch::discover(&recorded("server-1.20/", &["discovery-api-legacy", "discovery-apis-legacy"])).unwrap();
    let mut served: Vec<&String> = aggregated.groups.keys().chain(legacy.groups.keys()).collect();
    served.sort();
    served.dedup();
    for group in &served {
        let gvr = GroupVersionResource::new(group, "v1", "things").unwrap();
        assert!(gvr.is_built_in_group(), "{group}");
    }
    assert_eq!(served.len(), GroupVersionResource::built_in_groups().len(), "no group but theirs is built in");
}
