//! What the log says, and what it leaves out: each trouble once, with its cure, and no other crate's steps.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, page};
use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::{SOON, eventually};
use rustix::process::Signal;

fn api_without_streaming_lists() -> Api {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [Answer::recorded("server-1.20/watch-list-streaming")]);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)])]);
    api
}

fn start(api: &Api, config: &str, level: &str) -> Daemon {
    Setup::with_config(config).kubeconfig(&api.kubeconfig()).arguments(&format!("--log-level {level}")).start()
}

fn lines<'a>(log: &'a str, word: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(word)).collect()
}

#[test]
fn list_that_the_server_refuses_is_told_once_with_its_cure_and_is_never_ready() {
    let api = Api::new(Release::V1_20);
    let refusal = r#"{"kind":"Status","status":"Failure","message":"field label not supported: spec.foo","reason":"BadRequest","code":400}"#;
    api.server.on(&format!("watch {CONFIGMAPS}"), [Answer::recorded("server-1.20/watch-list-streaming")]);
    api.server.on(&format!("list {CONFIGMAPS}"), [Answer::json(400, refusal)]);
    api.server.on("get /api/v1/namespaces/demo", [Answer::json(200, "{}")]);
    let config = r#"resources: [{gvr: v1/configmaps, namespace_names: [demo], field_selector: "spec.foo=1"}]"#;
    let daemon = start(&api, config, "info");
    api.server.wait_for("a third list", |requests| requests.iter().filter(|r| r.what().starts_with("list ")).count() >= 3);
    let (code, body) = daemon.http("/ready").unwrap();
    assert_eq!(code, 503, "{body}");
    assert!(body.contains(r#""condition":"retrying","reason":"refused""#), "{body}");
    let ended = daemon.stop();
    let told = lines(&ended.log, "spec.foo");
    assert_eq!(told.len(), 1, "{}", ended.log);
    assert!(
        told[0].contains("warn") && told[0].contains(": refused cause=") && told[0].contains("correct its field_selector"),
        "{}",
        told[0]
    );
}

#[test]
fn namespace_that_is_not_there_is_named() {
    let api = api_without_streaming_lists();
    api.server.on("get /api/v1/namespaces/demo", [Answer::json(404, "{}")]);
    let mut daemon = start(&api, WATCH_CONFIGMAPS, "info");
    daemon.wait_until_ready();
    let ended = daemon.stop();
    assert_eq!(lines(&ended.log, "namespace demo: not there").len(), 1, "{}", ended.log);
}

#[test]
fn first_lines_say_where_events_go_what_is_served_and_which_cluster_was_taken() {
    let api = api_without_streaming_lists();
    let mut daemon = start(&api, WATCH_CONFIGMAPS, "info");
    daemon.wait_until_ready();
    let ended = daemon.stop();
    let head: Vec<&str> = ended.log.lines().take(8).collect();
    for words in [
        "/out/events-20",
        "/metrics, /health and /ready on http://127.0.0.1:",
        "named by --kubeconfig",
        "listed, watching objects=1",
    ] {
        assert!(head.iter().any(|line| line.contains(words)), "{words:?} is missing in {head:#?}");
    }
}

#[test]
fn debug_tells_what_faro_decides_and_no_other_crate_s_steps() {
    let api = api_without_streaming_lists();
    let mut daemon = start(&api, WATCH_CONFIGMAPS, "debug");
    daemon.wait_until_ready();
    let ended = daemon.stop();
    assert_eq!(lines(&ended.log, "listing by pages").len(), 1, "{}", ended.log);
    for foreign in ["GET ", "Request {", "http1.1", "TLS", "DNS"] {
        assert!(lines(&ended.log, foreign).is_empty(), "{foreign:?} in:\n{}", ended.log);
    }
}

#[test]
fn termination_while_the_server_keeps_silent_at_the_start_ends_at_once() {
    let api = Api::empty();
    api.server.on("get /version", [Answer::stalled()]);
    let mut daemon = start(&api, WATCH_CONFIGMAPS, "info");
    api.server.wait_for("the first question", |requests| !requests.is_empty());
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_for_end(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("received SIGTERM"), "{}", ended.log);
}

#[test]
fn termination_while_a_plugin_keeps_silent_at_the_start_ends_at_once() {
    let api = Api::new(Release::V1_20);
    let started = api.folder().join("started");
    let plugin = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'touch {}; sleep 300']}}",
        started.display()
    );
    api.write_kubeconfig_with_user("", &plugin);
    let mut daemon = start(&api, WATCH_CONFIGMAPS, "info");
    eventually(SOON, "the plugin runs", || started.exists());
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_for_end(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn one_wish_that_comes_as_two_signals_still_drains() {
    let api = api_without_streaming_lists();
    let mut daemon = start(&api, WATCH_CONFIGMAPS, "info");
    daemon.wait_until_ready();
    // As coreutils' timeout does it: once to the process, once to its group.
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::INT);
    let ended = daemon.wait_for_end(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("everything is drained"), "{}", ended.log);
}
