//! The program as its users meet it: wrong input, stdout, signals, probes, exit codes.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, line, page, refused_streaming_list, watch};
use crate::capture::start;
use crate::support::daemon::{Ended, Setup};
use crate::support::lines::{self, Line};
use crate::support::wait::{RUN_SECONDS, SOON};
use rustix::process::Signal;
use std::net::TcpListener;

fn api_with_a() -> Api {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)])]);
    api
}

/// The program must end by itself with `code` and say each of `words`.
fn check(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.log);
    for word in words {
        assert!(ended.log.contains(word), "{word:?} is missing in:\n{}", ended.log);
    }
}

#[test]
fn wrong_flags_and_configurations_exit_2_and_say_the_cure() {
    check(&Setup::bare().run_to_end(), 2, &["--config"]);
    check(&Setup::bare().arguments("--confg x").run_to_end(), 2, &["--confg", "did you mean", "--config"]);
    check(&Setup::bare().arguments("--config nowhere.yaml").run_to_end(), 2, &["nowhere.yaml"]);
    check(&Setup::with_config("resourcs: []").run_to_end(), 2, &["config.yaml:4", "resourcs", "did you mean", "resources"]);
    check(&Setup::with_config("resources: [{gvr: pods}]").run_to_end(), 2, &["resources[0].gvr", r#"did you mean "v1/pods"?"#]);
    let selector = "resources: [{gvr: v1/pods, label_selector: \"a==\"}]";
    check(&Setup::with_config(selector).run_to_end(), 2, &["resources[0].label_selector", "a=="]);
    let config = Setup::with_config(WATCH_CONFIGMAPS).arguments("--kubeconfig missing/kubeconfig");
    check(&config.run_to_end(), 2, &["missing/kubeconfig"]);
    let api = api_with_a();
    let config = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&api.kubeconfig()).arguments("--context nowhere");
    check(&config.run_to_end(), 2, &["nowhere", "here"]);
}

#[test]
fn resource_that_is_not_served_is_an_error_with_near_matches() {
    let api = api_with_a();
    let config = Setup::with_config("resources: [{gvr: v1/podz}, {gvr: apps/v1beta1/deployments}]");
    let ended = config.kubeconfig(&api.kubeconfig()).run_to_end();
    check(&ended, 2, &["resources[0]", "v1/podz", r#""v1/pods""#, "resources[1]", r#""apps/v1/deployments""#]);
}

#[test]
fn wrong_scope_is_an_error() {
    let api = api_with_a();
    let config = Setup::with_config("resources: [{gvr: v1/configmaps, scope: Cluster}]");
    check(&config.kubeconfig(&api.kubeconfig()).run_to_end(), 2, &["resources[0].scope", "Namespaced"]);
}

#[test]
fn surroundings_that_fail_exit_1_and_say_the_cure() {
    let api = api_with_a();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let text = format!("output_dir: out\nmetrics: {{port: {port}, bind_addr: 127.0.0.1}}\n{WATCH_CONFIGMAPS}");
    let ended = Setup::bare().config(&text).kubeconfig(&api.kubeconfig()).run_to_end();
    check(&ended, 1, &[&port, "metrics.port"]);

    let text = format!("output_dir: /dev/null/events\nmetrics: {{enabled: false}}\n{WATCH_CONFIGMAPS}");
    let ended = Setup::bare().config(&text).kubeconfig(&api.kubeconfig()).run_to_end();
    check(&ended, 1, &["/dev/null/events", "output_dir"]);

    let gone = Api::new(Release::V1_20);
    let kubeconfig = gone.kubeconfig();
    let url = gone.server.url();
    let copy = std::fs::read(&kubeconfig).unwrap();
    drop(gone);
    let setup = Setup::with_config(WATCH_CONFIGMAPS);
    let kubeconfig = setup.folder().join("kubeconfig");
    std::fs::write(&kubeconfig, copy).unwrap();
    check(&setup.kubeconfig(&kubeconfig).run_to_end(), 1, &[&url]);
}

#[test]
fn refused_token_exits_1_and_is_not_printed() {
    let api = Api::empty();
    for path in ["/api", "/apis", "/version", "/api/v1/namespaces/kube-system"] {
        api.server.on(&format!("get {path}"), [Answer::recorded("unauthorized")]);
    }
    let ended = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&api.kubeconfig()).run_to_end();
    check(&ended, 1, &["401", "Unauthorized"]);
    assert!(!ended.log.contains("sesame-opens-this"), "the log holds a credential");
}

#[test]
fn stdout_carries_the_same_lines_as_the_file() {
    let api = api_with_a();
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&[line("ADDED", "b", 11)]).left_open()]);
    let daemon = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&api.kubeconfig()).arguments("--stdout").start();
    daemon.wait_for("ADDED demo/b");
    let ended = daemon.stop();
    let printed: Vec<Line> = ended.stdout.lines().map(lines::parse).collect();
    assert_eq!(printed, ended.lines);
    assert_eq!(printed.len(), 2);
}

#[test]
fn termination_drains_and_exits_0_with_many_idle_watches() {
    let api = Api::new(Release::V1_20);
    let mut config = "resources:\n".to_owned();
    for number in 0..20 {
        let path = format!("/api/v1/namespaces/n{number}/configmaps");
        api.server.on(&format!("watch {path}"), [refused_streaming_list()]);
        api.server.on(&format!("list {path}"), [page(10, &[("a", 7)])]);
        config.push_str(&format!("- {{gvr: v1/configmaps, namespace_names: [n{number}]}}\n"));
    }
    let mut daemon = start(&api, &config);
    daemon.wait_until_ready();
    api.server
        .wait_for("20 watches", |requests| requests.iter().filter(|r| r.query.contains("resourceVersion=10")).count() >= 20);
    let ended = daemon.stop();
    assert_eq!(ended.lines.len(), 20);
}

#[test]
fn interrupt_ends_as_termination_does() {
    let api = api_with_a();
    let mut daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait_for_end(SOON).code, Some(0));
}

#[test]
fn auto_shutdown_ends_with_everything_written() {
    let told = RUN_SECONDS.iter().find_map(|seconds| {
        let api = api_with_a();
        let setup = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&api.kubeconfig());
        let ended = setup.arguments(&format!("--auto-shutdown {seconds}")).run_to_end();
        check(&ended, 0, &[]);
        ended.log.contains("listed, watching").then_some(ended.lines.len())
    });
    assert_eq!(told, Some(1));
}

#[test]
fn readiness_waits_for_the_first_list_and_liveness_does_not() {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    // The head of the list comes, its end does not.
    api.server.on(&format!("list {CONFIGMAPS}"), [Answer::stalled(), page(10, &[("a", 7)])]);
    let mut daemon = start(&api, WATCH_CONFIGMAPS);
    api.server.wait_for("the list", |requests| requests.iter().any(|request| request.what().starts_with("list ")));
    assert_eq!(daemon.http("/health").unwrap().0, 200);
    let (code, body) = daemon.http("/ready").unwrap();
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("v1/configmaps"), "{body}");
    api.server.cut_all();
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn version_and_help_go_to_stdout_and_exit_0() {
    for (flag, word) in [("--version", env!("CARGO_PKG_VERSION")), ("--help", "--kubeconfig")] {
        let ended = Setup::bare().arguments(flag).run_to_end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.stdout.contains(word), "{flag}: {}", ended.stdout);
    }
}
