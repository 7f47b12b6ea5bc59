//! What servers do wrong: expired versions, refusals, garbage. Nothing is lost, and other watches go on.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, EXPIRED, Release, WATCH_CONFIGMAPS, line, page, refused_streaming_list, watch};
use crate::capture::{briefs, start};
use crate::server::Server;
use std::time::Duration;

#[test]
fn expired_version_is_listed_again_and_only_differences_are_told() {
    let api = Api::with_a_and_b();
    api.server.on(&format!("list {CONFIGMAPS}"), [page(30, &[("a", 7), ("c", 11)])]);
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&[EXPIRED.to_owned()]), watch(&[EXPIRED.to_owned()])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let lines = daemon.wait_for_lines("the differences", |lines| lines.len() >= 4);
    let mut told = briefs(&lines[2..]);
    told.sort();
    assert_eq!(told, ["ADDED demo/c inferred", "DELETED demo/b inferred"]);
    daemon.stop();
}

#[test]
fn version_from_the_future_is_found_by_the_replay() {
    // The watch ends without a word; so does the one from before the newest object, as the server was set back.
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7), ("b", 8)]), page(9, &[("a", 7)])]);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list(), watch(&[]), watch(&[])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("DELETED demo/b inferred");
    daemon.stop();
}

#[test]
fn garbage_line_is_skipped_and_what_it_hid_is_found_by_comparison() {
    let api = Api::with_a_and_b();
    let garbage = r#"{"type":"DELETED","object":{"metadata":{"name":"#.to_owned();
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&[garbage, line("ADDED", "c", 12)]).left_open()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(12, &[("b", 8), ("c", 12)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/c");
    daemon.wait_for("DELETED demo/a inferred");
    let requests = api.server.requests();
    assert_eq!(requests.iter().filter(|request| request.what().starts_with("list ")).count(), 2, "listed once more, and no more");
    assert!(daemon.metric("faro_decode_errors_total", "v1/configmaps") >= 1.0);
    daemon.stop();
}

#[test]
fn forbidden_watch_stops_no_other_and_names_the_missing_verb() {
    let api = Api::with_a_and_b();
    let secrets = "/api/v1/namespaces/demo/secrets";
    api.server.on(
        &format!("watch {secrets}"),
        [Answer::recorded("forbidden-secrets-watch"), Answer::recorded("forbidden-secrets-watch")],
    );
    api.server.on(&format!("list {secrets}"), [Answer::recorded("forbidden-secrets-list")]);
    let config = "resources: [{gvr: v1/configmaps, namespace_names: [demo]}, {gvr: v1/secrets, namespace_names: [demo]}]";
    let mut daemon = start(&api, config);
    daemon.wait_until_ready();
    let log = daemon.wait_for_log(&["v1/secrets", "forbidden"]);
    assert!(log.contains("watch") || log.contains("list"), "{log}");
    assert_eq!(briefs(&daemon.lines()), ["ADDED demo/a initial", "ADDED demo/b initial"]);
    let (code, body) = daemon.http("/ready").unwrap();
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("v1/secrets") && body.contains("forbidden"), "{body}");
    assert_eq!(daemon.http("/ready?strict=1").unwrap().0, 503);
    daemon.stop();
}

#[test]
fn of_secrets_only_metadata_is_asked_taken_and_told() {
    let secrets = "/api/v1/namespaces/demo/secrets";
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {secrets}"), [refused_streaming_list()]);
    let whole = r#"{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"s","namespace":"demo","uid":"u","resourceVersion":"3"},"data":{"password":"aHVudGVyMg=="}}]}"#;
    let applied = r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"9"},"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"s","namespace":"demo","uid":"u","resourceVersion":"3","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"password\":\"aHVudGVyMg==\"}}","team":"a"}}}]}"#;
    api.server.on(&format!("list {secrets}"), [Answer::json(200, whole), Answer::json(200, applied)]);
    let daemon = start(&api, "resources: [{gvr: v1/secrets, namespace_names: [demo]}]");
    let lines = daemon.wait_for_lines("the secret's metadata", |lines| !lines.is_empty());
    let annotations: Vec<_> = lines[0].annotations.iter().collect();
    assert_eq!(annotations.len(), 2, "{annotations:?}");
    assert!(annotations.iter().all(|(_, value)| value.starts_with("redacted:") && value.len() == 25), "{annotations:?}");
    for request in api.server.requests().iter().filter(|request| request.path == secrets) {
        let accept = request.header("Accept").unwrap();
        assert!(accept.contains("as=PartialObjectMetadata") && !accept.contains(','), "{accept}");
    }
    let ended = daemon.stop();
    assert!(!ended.log.contains("aHVudGVyMg"), "the log holds a value of the secret");
}

#[test]
fn busy_server_is_left_alone_for_as_long_as_it_asks() {
    let api = Api::new(Release::V1_20);
    let busy = Answer::with_headers(429, &[("Retry-After", "1"), ("Content-Type", "application/json")], "{}");
    api.server.on(&format!("watch {CONFIGMAPS}"), [busy, refused_streaming_list()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    let requests = api.server.requests();
    let of_path: Vec<String> = requests.iter().filter(|r| r.path == CONFIGMAPS).map(crate::server::Request::what).collect();
    let (watch, list) = (format!("watch {CONFIGMAPS}"), format!("list {CONFIGMAPS}"));
    assert_eq!(of_path[..3], [watch.clone(), watch, list], "a 429 is answered with the same request, not a heavier one");
    daemon.stop();
}

#[test]
fn token_file_is_read_again_when_the_server_refuses_the_old_token() {
    let server = Server::http();
    let api = Api::on(server, Release::V1_20);
    let token = api.folder().join("token");
    std::fs::write(&token, "first-token-value").unwrap();
    api.write_kubeconfig_with_user("", "tokenFile: token");
    api.server.on(
        &format!("watch {CONFIGMAPS}"),
        [
            refused_streaming_list(),
            watch(&[line("ADDED", "a", 11)]).left_open(),
            Answer::recorded("unauthorized"),
            watch(&[line("ADDED", "b", 12)]).left_open(),
        ],
    );
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[])]);
    let rotated = token.clone();
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a");
    std::fs::write(rotated, "second-token-value").unwrap();
    api.server.cut_all();
    daemon.wait_for("ADDED demo/b");
    let requests = api.server.requests();
    assert_eq!(requests[0].header("Authorization"), Some("Bearer first-token-value"));
    assert_eq!(requests.last().unwrap().header("Authorization"), Some("Bearer second-token-value"));
    let ended = daemon.stop();
    assert!(!ended.log.contains("token-value"), "the log holds a credential");
}

#[test]
fn stop_does_not_wait_for_a_server_that_is_asked_what_it_serves() {
    for silent in ["get /version", "get /apis", "get /api/v1/namespaces/kube-system"] {
        let api = api_that_is_silent_on(silent);
        let daemon = start(&api, WATCH_CONFIGMAPS);
        api.server.wait_for(silent, |requests| requests.iter().any(|request| request.what() == silent));
        daemon.stop();
    }
}

#[test]
fn auto_shutdown_does_not_wait_for_a_server_that_is_asked_what_it_serves() {
    let api = api_that_is_silent_on("get /version");
    let daemon = start(&api, &format!("{WATCH_CONFIGMAPS}\nauto_shutdown_sec: 1"));
    assert_eq!(daemon.wait_for_end(LESS_THAN_A_SERVER_MAY_TAKE).code, Some(0));
}

fn api_that_is_silent_on(what: &str) -> Api {
    let api = Api::empty();
    for (path, answer) in [
        ("get /version", Answer::json(200, r#"{"gitVersion":"v1.36.0"}"#)),
        ("get /api", Answer::recorded("discovery-api-aggregated")),
        ("get /apis", Answer::recorded("discovery-apis-aggregated")),
        ("get /api/v1/namespaces/kube-system", Answer::json(404, "{}")),
    ] {
        api.server.on(path, [if path == what { Answer::stalled() } else { answer }]);
    }
    api
}

/// The head of a discovery document is waited for longer.
const LESS_THAN_A_SERVER_MAY_TAKE: Duration = Duration::from_secs(10);
