//! `faro check` against a real API server, with its real rights.

use crate::cluster::Cluster;
use crate::daemon::{Ended, Setup};
use crate::runner::Stage;
use crate::wait::{SOON, eventually};
use serde_json::json;
use std::path::Path;

/// An account without rights fails the check; with the rights that are printed it passes, and a run with it hears every watch.
pub(super) fn the_printed_rights_are_all_that_is_needed(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("check");
    cluster.kubectl.run(&format!("create serviceaccount watcher -n {namespace}"));
    let token = cluster.kubectl.run(&format!("create token watcher -n {namespace}")).trim().to_owned();
    cluster.keep_secret(&token);
    let kubeconfig = cluster.kubeconfig(&json!({"token": token}));
    let config = format!(
        "resources: [{{gvr: v1/configmaps, namespace_names: [{namespace}], name_selector: a}}, \
         {{gvr: v1/secrets, namespace_names: [{namespace}]}}, {{gvr: apps/v1/deployments}}, {{gvr: v1/nodes}}]"
    );
    let ended = check(cluster, &config, &kubeconfig, "");
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.stdout, ended.log);
    assert!(ended.stdout.ends_with("not good: 4 of 4 watches would not work\n"), "{}", ended.stdout);
    let printed = check(cluster, &config, &kubeconfig, &format!("--print-rbac --service-account {namespace}/watcher"));
    assert_eq!(printed.code, Some(0), "{}", printed.log);
    cluster.kubectl.dry_run(&printed.stdout);
    cluster.kubectl.apply(&printed.stdout);
    // The server learns of new roles by watching them itself.
    eventually(SOON, "the check passes", || check(cluster, &config, &kubeconfig, "").code == Some(0));
    let daemon = Setup::new(cluster, &config).kubeconfig(&kubeconfig).start_ready();
    assert_eq!(daemon.http("/ready?strict=1").map(|(code, _)| code), Some(200));
    cluster.kubectl.run(&format!("create configmap a -n {namespace}"));
    daemon.wait_for(&format!("ADDED {namespace}/a"));
    daemon.stop();
    let other = config.replace("name_selector: a", "name_selector: b");
    assert_eq!(check(cluster, &other, &kubeconfig, "").code, Some(1), "another name is not in the rights");
}

fn check(cluster: &Cluster, config: &str, kubeconfig: &Path, arguments: &str) -> Ended {
    Setup::new(cluster, config).subcommand("check").kubeconfig(kubeconfig).arguments(arguments).run_to_end()
}
