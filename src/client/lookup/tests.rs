//! What is believed of which answers: recorded servers, load balancers, and servers that are half there.

use super::*;
use crate::client::transcript::{Script, Transcript};

const GROUP: &str = r#"{"kind":"APIGroup","name":"example.com","versions":[
    {"groupVersion":"example.com/v2","version":"v2"},{"groupVersion":"example.com/v1","version":"v1"}]}"#;
const WIDGETS: &str = r#"{"kind":"APIResourceList","resources":[
    {"name":"widgets","namespaced":false,"kind":"Widget","verbs":["list","watch"]},
    {"name":"widgets/status","namespaced":false,"kind":"Widget","verbs":["get"]}]}"#;
const NOTHING: &str = r#"{"kind":"APIResourceList","resources":null}"#;
const DOWN: &str = r#"{"kind":"Status","message":"service unavailable","code":503}"#;
const FORBIDDEN: &str =
    r#"{"kind":"Status","message":"forbidden: User \"u\" cannot get path \"/version\"","reason":"Forbidden","code":403}"#;
const HTML: &str = "<html><head><title>404 Not Found</title></head></html>";

const PATH: &str = "/apis/example.com/v1/widgets?limit=1";
const UID: &str = "3a57d2a5";
const KUBE_SYSTEM: &str = r#"{"kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":"3a57d2a5"}}"#;
const PROOF: Proof<'_> = Proof { cluster_uid: Some(UID), path_and_query: PATH };

type Answers<'a> = &'a [(&'a str, u16, &'a str)];

/// A 1.36 that serves only what is compiled into it, but for these answers.
fn bare(answers: Answers<'_>) -> Script {
    let living = ["version", "discovery-api-aggregated", "discovery-apis-aggregated"].map(Transcript::golden);
    let uid = Transcript::made("/api/v1/namespaces/kube-system", 200, KUBE_SYSTEM);
    let answers = answers.iter().map(|(path, code, body)| Transcript::made(path, *code, body));
    Script::new(living.into_iter().chain([uid]).chain(answers))
}

/// The list of all groups of a 1.36, with the group `example.com` as these versions.
fn groups(versions: &str) -> String {
    format!(
        r#"{{"kind":"APIGroupDiscoveryList","items":[{{"metadata":{{"name":"example.com"}},"versions":[{versions}]}},
        {{"metadata":{{"name":"other.example.com"}},"versions":[{{"version":"v1","freshness":"Stale"}}]}}]}}"#
    )
}

fn found(script: &Script, gvr: &str, proof: Option<Proof<'_>>) -> (Served, Option<Scope>) {
    lookup(script, &gvr.parse().unwrap(), proof).unwrap()
}

fn check(gvr: &str, answers: Answers<'_>, expected: &(Served, Option<Scope>)) {
    assert_eq!(found(&bare(answers), gvr, Some(PROOF)), *expected, "{gvr} {answers:?}");
}

/// The answers leave the question open, for a reason that names `why`.
fn check_unknown(answers: Answers<'_>, why: &str) {
    match found(&bare(answers), "example.com/v1/widgets", Some(PROOF)) {
        (Served::Unknown(reason), None) => assert!(reason.contains(why), "{answers:?}: {reason}"),
        other => panic!("{answers:?}: {other:?}"),
    }
}

#[test]
fn knows_served_from_absent_from_unknown() {
    let (group, one, two) = ("/apis/example.com", "/apis/example.com/v1", "/apis/example.com/v2");
    let unknown = |path: &str| (Served::Unknown(format!("discover {path}: 503 service unavailable")), None);
    let (gvr, both) = ("example.com/v1/widgets", groups(r#"{"version":"v2"},{"version":"v1"}"#));
    let listed = ("/apis", 200, both.as_str());
    check(gvr, &[(one, 200, WIDGETS)], &(Served::Yes, Some(Scope::Cluster)));
    check(gvr, &[], &(Served::Absent, None));
    check(gvr, &[listed, (group, 200, GROUP), (one, 200, NOTHING), (two, 200, NOTHING)], &(Served::Absent, None));
    let second = (Served::OtherVersions(vec!["v2".to_owned()]), None);
    check(gvr, &[listed, (group, 200, GROUP), (one, 200, NOTHING), (two, 200, WIDGETS)], &second);
    check(gvr, &[(group, 200, GROUP), (one, 503, DOWN)], &unknown(one));
    check(gvr, &[(group, 503, DOWN)], &unknown(group));
    check(gvr, &[(group, 200, GROUP), (one, 200, NOTHING), (two, 503, DOWN)], &unknown(two));
}

#[test]
fn a_load_balancer_that_answers_404_to_everything_is_no_server_that_could_say_absent() {
    let everything = ["/version", "/api", "/apis", "/apis/example.com", "/apis/example.com/v1", PATH];
    for is_html in [true, false] {
        let body = if is_html { HTML } else { "404 page not found\n" };
        for first in 0..3 {
            check_unknown(&everything[first..].iter().map(|path| (*path, 404, body)).collect::<Vec<_>>(), "404");
        }
    }
    // A page for people, or what another program serves.
    for (path, body) in [
        ("/version", HTML),
        ("/version", r#"{"gitVersion":""}"#),
        ("/version", "{}"),
        ("/api", HTML),
        ("/api", r#"{"kind":"APIGroupList","groups":[]}"#),
        ("/api", r#"{"kind":"Status"}"#),
        ("/apis", HTML),
        ("/apis", "[]"),
    ] {
        check_unknown(&[(path, 200, body)], "");
    }
}

#[test]
fn a_404_of_the_groups_own_documents_alone_is_not_believed() {
    let served = r#"{"version":"v1","resources":[{"resource":"widgets","scope":"Namespaced","verbs":["list"]}]}"#;
    check("example.com/v1/widgets", &[("/apis", 200, &groups(served))], &(Served::Yes, Some(Scope::Namespaced)));
    check_unknown(
        &[("/apis", 200, &groups(r#"{"version":"v1"}"#))],
        "the server lists /apis/example.com/v1, and does not find it",
    );
    // Servers before aggregated discovery list names only.
    let names = r#"{"kind":"APIGroupList","groups":[{"name":"example.com","versions":[{"version":"v1"}]}]}"#;
    check_unknown(&[("/apis", 200, names)], "the server lists /apis/example.com/v1, and does not find it");
    check("example.com/v1/widgets", &[("/apis", 200, names), ("/apis/example.com/v1", 200, NOTHING)], &(Served::Absent, None));
}

#[test]
fn a_server_error_of_any_document_that_counts_leaves_the_question_open() {
    for path in ["/version", "/api", "/apis", "/apis/example.com", "/apis/example.com/v1", PATH] {
        for code in [500, 502, 503, 504, 429, 401] {
            check_unknown(&[(path, code, DOWN)], "service unavailable");
        }
    }
}

#[test]
fn a_stale_group_leaves_the_question_open_and_another_one_says_nothing() {
    check_unknown(&[("/apis", 200, &groups(r#"{"version":"v1","freshness":"Stale"}"#))], "stale");
    check_unknown(&[("/apis", 200, &groups(r#"{"version":"v2","freshness":"Stale"}"#))], "stale");
    // The other group of this list is stale.
    check("example.com/v1/widgets", &[("/apis", 200, &groups(""))], &(Served::Absent, None));
}

#[test]
fn discovery_that_is_forbidden_leaves_the_question_open_and_names_the_missing_role() {
    for path in ["/version", "/api", "/apis", "/apis/example.com", "/apis/example.com/v1"] {
        for body in [FORBIDDEN, "no\n"] {
            let script = bare(&[(path, 403, body)]);
            let (Served::Unknown(reason), None) = found(&script, "example.com/v1/widgets", Some(PROOF)) else { panic!("{path}") };
            assert_eq!(reason.matches("ClusterRole system:discovery").count(), 1, "{path}: {reason}");
        }
    }
}

#[test]
fn what_is_asked_for_again_and_found_is_served() {
    check("example.com/v1/widgets", &[(PATH, 200, "{}")], &(Served::Yes, None));
    // Rights are checked before paths are looked for.
    check("example.com/v1/widgets", &[(PATH, 403, "{}")], &(Served::Absent, None));
}

#[test]
fn another_cluster_says_nothing_about_this_one() {
    let of_other = KUBE_SYSTEM.replace(UID, "b0b");
    let kube_system = "/api/v1/namespaces/kube-system";
    check_unknown(&[(kube_system, 200, &of_other)], "same cluster");
    check_unknown(&[(kube_system, 404, "{}")], "same cluster");
    check_unknown(&[(kube_system, 503, DOWN)], "503");
    check("example.com/v1/widgets", &[(kube_system, 403, "{}")], &(Served::Absent, None));
    let unread = Proof { cluster_uid: None, ..PROOF };
    assert_eq!(found(&bare(&[(kube_system, 200, &of_other)]), "example.com/v1/widgets", Some(unread)).0, Served::Absent);
}

#[test]
fn what_is_compiled_into_api_servers_is_never_absent() {
    for gvr in ["v1/podz", "apps/v1/gadgets", "networking.k8s.io/v1/gadgets"] {
        let (group, version) =
            gvr.rsplit_once('/').map_or(("", ""), |(before, _)| before.rsplit_once('/').unwrap_or(("", before)));
        let path = group_version_path(group, version);
        let documents = [(group_path(group), GROUP.replace("v2", version).replace("v1", version)), (path, NOTHING.to_owned())];
        for proof in [None, Some(PROOF)] {
            let answers: Vec<_> = documents.iter().map(|(path, body)| (path.as_str(), 200, body.as_str())).collect();
            let (served, _) = found(&bare(&answers), gvr, proof);
            assert!(matches!(served, Served::Unknown(_)), "{gvr}: {served:?}");
        }
    }
    check("gateway.networking.k8s.io/v1/gateways", &[], &(Served::Absent, None));
    check("metrics.k8s.io/v1beta1/pods", &[], &(Served::Absent, None));
}

#[test]
fn without_a_proof_only_the_groups_own_documents_are_asked() {
    let script = Script::default();
    assert_eq!(found(&script, "example.com/v1/widgets", None), (Served::Absent, None));
    let asked: Vec<String> = script.asked().into_iter().map(|(path, _, _)| path).collect();
    assert_eq!(asked, ["/apis/example.com/v1", "/apis/example.com"]);
}

#[test]
fn an_answer_that_is_no_discovery_concludes_nothing() {
    for body in ["", "<html>", "{}", r#"{"resources":7}"#] {
        check_unknown(&[("/apis/example.com/v1", 200, body)], "cannot read the answer");
        check_unknown(&[("/apis/example.com", 200, body)], "cannot read the answer");
    }
}

#[test]
fn a_broken_connection_is_an_error_and_no_conclusion() {
    for path in ["/apis/example.com/v1", "/apis/example.com", "/version", "/api", "/apis", PATH] {
        let script = bare(&[]).broken(path);
        let gvr = "example.com/v1/widgets".parse().unwrap();
        assert_eq!(lookup(&script, &gvr, Some(PROOF)).unwrap_err().fault(), Fault::Connection, "{path}");
    }
}

#[test]
fn reads_the_recorded_documents_of_both_servers() {
    let names = ["version", "discovery-core-v1", "discovery-apps-v1", "discovery-api-legacy", "discovery-apis-legacy"];
    for server in ["", "server-1.20/"] {
        let missing = [Transcript::golden(&format!("{server}discovery-group-missing"))];
        let script = Script::new(names.map(|name| Transcript::golden(&format!("{server}{name}"))).into_iter().chain(missing));
        for (gvr, expected) in [
            ("v1/pods", (Served::Yes, Some(Scope::Namespaced))),
            ("v1/nodes", (Served::Yes, Some(Scope::Cluster))),
            ("apps/v1/deployments", (Served::Yes, Some(Scope::Namespaced))),
            ("v1/podz", (Served::Unknown(BUILT_IN.to_owned()), None)),
            ("v2/pods", (Served::OtherVersions(vec!["v1".to_owned()]), None)),
            ("nosuch.example.com/v1/things", (Served::Absent, None)),
        ] {
            let proof = Proof { cluster_uid: None, path_and_query: "/not/there" };
            assert_eq!(found(&script, gvr, Some(proof)), expected, "{server}{gvr}");
        }
    }
}
