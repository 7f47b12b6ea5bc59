//! Whatever is wrong is said: what, where, and what to do; nothing panics and no credential is told.

use crate::cluster::{Cluster, kubeconfig};
use crate::daemon::{Ended, Setup};
use crate::pki;
use crate::ports::free_port;
use crate::runner::{Stage, say};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use std::fs;
use std::net::TcpListener;

/// The daemon ends by itself with `code`, and one line of its log has all of `words`.
fn check(setup: Setup, code: i32, words: &[&str]) {
    let Ended { code: found, log, .. } = setup.run_to_end();
    let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
    let line = line.unwrap_or_else(|| panic!("no line has {words:?}:\n{log}"));
    assert_eq!(found, Some(code), "{log}");
    say(&format!("    exit {code}: {line}\n"));
    assert!(log.lines().count() <= LINES_MAX, "one mistake, too many words:\n{log}");
}

/// A mistake is told once, not lost among other lines.
const LINES_MAX: usize = 12;

const PODS: &str = "resources: [{gvr: v1/pods}]";

/// A setup that is right but for what the scenario changes; without debug lines.
fn info(cluster: &Cluster, config: &str) -> Setup {
    Setup::new(cluster, config).arguments("--log-level info")
}

pub(super) fn no_configuration(_: &Stage) {
    check(Setup::bare(), 2, &["--config"]);
    check(Setup::bare().arguments("--config none.yaml"), 2, &["none.yaml"]);
}

pub(super) fn an_unknown_key(stage: &Stage) {
    check(info(stage.shared(), "resorces: []"), 2, &["config.yaml:", "resorces", "did you mean", "resources"]);
}

pub(super) fn a_gvr_without_version(stage: &Stage) {
    let words = ["config.yaml:", "resources[0].gvr", r#"found "pods""#, r#"did you mean "v1/pods"?"#];
    check(info(stage.shared(), "resources: [{gvr: pods}]"), 2, &words);
}

pub(super) fn a_resource_that_is_not_served(stage: &Stage) {
    check(info(stage.shared(), "resources: [{gvr: v1/podz}]"), 2, &["v1/podz", "v1/pods"]);
}

pub(super) fn a_label_selector_that_is_none(stage: &Stage) {
    check(info(stage.shared(), "resources: [{gvr: v1/pods, label_selector: 'a=='}]"), 2, &["resources[0].label_selector", "a=="]);
}

pub(super) fn a_kubeconfig_that_is_missing(stage: &Stage) {
    let setup = info(stage.shared(), PODS);
    let path = setup.folder().join("no.kubeconfig");
    check(setup.kubeconfig(&path), 2, &["no.kubeconfig"]);
}

pub(super) fn a_context_that_is_missing(stage: &Stage) {
    check(info(stage.shared(), PODS).arguments("--context staging"), 2, &["staging", "e2e"]);
}

pub(super) fn a_server_that_cannot_be_reached(stage: &Stage) {
    let cluster = stage.shared();
    let server = format!("https://127.0.0.1:{}", free_port());
    let kubeconfig = cluster.kubeconfig_at(&server, &json!({"token": "t"}));
    check(info(cluster, PODS).kubeconfig(&kubeconfig), 1, &["cannot", &server, "refused"]);
}

pub(super) fn an_authority_that_did_not_sign_the_server(stage: &Stage) {
    let cluster = stage.shared();
    let text = kubeconfig(&cluster.server, &BASE64_STANDARD.encode(pki::stranger()), &json!({"token": "t"}));
    check(info(cluster, PODS).kubeconfig(&cluster.write_kubeconfig(&text)), 1, &[&cluster.server, "certificate"]);
}

/// To the server an expired token is an unknown one; both are answered with 401.
pub(super) fn a_token_that_the_server_refuses(stage: &Stage) {
    let cluster = stage.shared();
    let token = "expired-token-0123456789";
    cluster.keep_secret(token);
    let kubeconfig = cluster.kubeconfig(&json!({"token": token}));
    check(info(cluster, PODS).kubeconfig(&kubeconfig), 1, &["401"]);
}

/// Rights do not stop root, so the folder is to be made below a file.
pub(super) fn an_output_dir_that_cannot_be_written(stage: &Stage) {
    let setup = info(stage.shared(), PODS);
    let file = setup.folder().join("file");
    fs::write(&file, "").expect("the daemon's folder is ours");
    let output = format!("--output-dir {}", file.join("out").display());
    check(setup.arguments(&output), 1, &["output_dir", "file/out"]);
}

pub(super) fn a_port_that_is_in_use(stage: &Stage) {
    let setup = info(stage.shared(), PODS);
    let port = setup.port().to_string();
    let taken = TcpListener::bind(("127.0.0.1", setup.port())).expect("the port was free just now");
    check(setup, 1, &[&port, "in use"]);
    drop(taken);
}
