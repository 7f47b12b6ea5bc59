//! Who may log in, and what happens to those who may not do everything.

use crate::cluster::Cluster;
use crate::control_plane::ADMIN_TOKEN;
use crate::daemon::Setup;
use crate::runner::Stage;
use crate::wait::{SOON, eventually};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Inline, as in the administrator's kubeconfig, and as files, relative to the kubeconfig that names them.
pub(super) fn a_client_certificate_logs_in(stage: &Stage) {
    let cluster = stage.shared();
    logs_in(cluster, None);
    let admin = &cluster.own().pki.admin;
    let [cert, key] = [&admin.cert, &admin.key].map(|pem| cluster.write_kubeconfig(pem).file_name().map(PathBuf::from));
    logs_in(cluster, Some(&json!({"client-certificate": cert, "client-key": key})));
}

pub(super) fn a_token_logs_in(stage: &Stage) {
    logs_in(stage.shared(), Some(&json!({"token": ADMIN_TOKEN})));
}

pub(super) fn a_service_account_token_logs_in(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("token");
    let token = cluster.service_account(&namespace, &json!([may(&["list", "watch"], "configmaps")]));
    hears_config_maps(cluster, &namespace, Some(&json!({"token": token})));
}

pub(super) fn a_token_file_logs_in(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("file");
    let token = cluster.service_account(&namespace, &json!([may(&["list", "watch"], "configmaps")]));
    let file = cluster.write_kubeconfig(&format!("{token}\n"));
    hears_config_maps(cluster, &namespace, Some(&json!({"tokenFile": file})));
}

/// The plugin is given its arguments and variables, and runs once for all watches while its token is good.
pub(super) fn an_exec_plugin_logs_in(stage: &Stage) {
    for version in ["v1", "v1beta1"] {
        let cluster = stage.shared();
        let namespace = cluster.namespace("exec");
        let token = cluster.service_account(&namespace, &json!([may(&["list", "watch"], "configmaps")]));
        let api = format!("client.authentication.k8s.io/{version}");
        let status = r#"{"token": "'"$1$SECOND_HALF"'", "expirationTimestamp": "2999-01-01T00:00:00Z"}"#;
        let credential = format!(r#"{{"apiVersion": "{api}", "kind": "ExecCredential", "status": {status}}}"#);
        let runs = cluster.write_kubeconfig("");
        let script = cluster.write_kubeconfig(&format!("#!/bin/sh\necho run >>{}\necho '{credential}'\n", runs.display()));
        fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("the script is ours");
        let (first, second) = token.split_at(token.len() / 2);
        let exec = json!({"apiVersion": api, "command": script, "args": [first], "interactiveMode": "Never",
            "env": [{"name": "SECOND_HALF", "value": second}]});
        hears_config_maps(cluster, &namespace, Some(&json!({"exec": exec})));
        assert_eq!(fs::read_to_string(&runs).expect("the plugin wrote it"), "run\n", "{version}");
    }
}

/// One watch is forbidden, the log says which verb on what is missing, the other watch works; and when the right is
/// given, the first works too.
pub(super) fn a_forbidden_watch_harms_no_other_and_says_what_it_lacks(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("forbidden");
    let token = cluster.service_account(&namespace, &json!([may(&["list", "watch"], "configmaps")]));
    let config = format!(
        "namespaces: [{{name_selector: {namespace}, resources: {{v1/configmaps: {{name_selector: a}}, v1/secrets: {{name_selector: b}}}}}}]"
    );
    let kubeconfig = cluster.kubeconfig(&json!({"token": token}));
    let daemon = Setup::new(cluster, &config).kubeconfig(&kubeconfig).start_ready();
    daemon.wait_for_log(&["v1/secrets", "forbidden", "list", &namespace]);
    let (strict, body) = daemon.http("/ready?strict=1").expect("the daemon answers");
    assert!(strict == 503 && body.contains("v1/secrets"), "{strict} {body}");
    cluster.kubectl.run(&format!("create configmap a -n {namespace}"));
    cluster.kubectl.run(&format!("create secret generic b -n {namespace}"));
    daemon.wait_for(&format!("ADDED {namespace}/a"));
    cluster.kubectl.run(&format!("create role reader -n {namespace} --verb=list,watch --resource=secrets"));
    let group = format!("--group=system:serviceaccounts:{namespace}");
    cluster.kubectl.run(&format!("create rolebinding reader -n {namespace} --role=reader {group}"));
    daemon.wait_for(&format!("ADDED {namespace}/b initial"));
    eventually(SOON, "every watch is synced", || daemon.http("/ready?strict=1").is_some_and(|(code, _)| code == 200));
    assert_eq!(daemon.stop().lines.len(), 2);
}

/// Where the server has streaming lists, such a role is enough; where it has not, the log names the verb `list`.
pub(super) fn a_role_with_watch_only_is_heard_or_told_that_list_is_missing(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("watch-only");
    let rules = json!([may(&["watch"], "configmaps"), may(&["list", "watch"], "services")]);
    let token = cluster.service_account(&namespace, &rules);
    let config = format!(
        "namespaces: [{{name_selector: {namespace}, resources: {{v1/configmaps: {{name_selector: a}}, v1/services: {{}}}}}}]"
    );
    let daemon = Setup::new(cluster, &config).kubeconfig(&cluster.kubeconfig(&json!({"token": token}))).start_ready();
    let streams = cluster.kubectl.succeeds(&format!(
        "get --raw /api/v1/namespaces/{namespace}/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    ));
    if streams {
        cluster.kubectl.run(&format!("create configmap a -n {namespace}"));
        daemon.wait_for(&format!("ADDED {namespace}/a"));
    } else {
        daemon.wait_for_log(&["v1/configmaps", "forbidden", "list", &namespace]);
    }
    cluster.kubectl.run(&format!("create service clusterip web --tcp=80 -n {namespace}"));
    daemon.wait_for(&format!("ADDED {namespace}/web"));
    daemon.stop();
}

fn logs_in(cluster: &Cluster, user: Option<&Value>) {
    let namespace = cluster.namespace("login");
    hears_config_maps(cluster, &namespace, user);
}

/// Two watches, one login; `None` is the administrator's own kubeconfig.
fn hears_config_maps(cluster: &Cluster, namespace: &str, user: Option<&Value>) {
    let kubeconfig = user.map_or_else(|| cluster.admin(), |user| cluster.kubeconfig(user));
    let config = format!(
        "resources: [{{gvr: v1/configmaps, namespace_names: [{namespace}], name_selector: a}}, \
         {{gvr: v1/configmaps, namespace_names: [{namespace}], name_selector: b}}]"
    );
    let daemon = Setup::new(cluster, &config).kubeconfig(&kubeconfig).start_ready();
    cluster.kubectl.run(&format!("create configmap a -n {namespace}"));
    cluster.kubectl.run(&format!("create configmap b -n {namespace}"));
    daemon.wait_for(&format!("ADDED {namespace}/a"));
    daemon.wait_for(&format!("ADDED {namespace}/b"));
    daemon.stop();
}

fn may(verbs: &[&str], resource: &str) -> Value {
    json!({"apiGroups": [""], "verbs": verbs, "resources": [resource]})
}
