//! What is wrong with a watch is said in the same words by `/ready`, the metrics and the log, and taken back when it is over.

use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::{SOON, eventually};
use faro::sim::{Cluster, Rule};

const CONFIG: &str = "resources: [{gvr: v1/configmaps}]\nstate: {enabled: false}\n";

/// Waits until the three probes, the metrics and the log agree on what holds.
fn wait_until_told(daemon: &Daemon, condition: &str, status: &str, ready: u16, strictly_ready: u16) {
    eventually(SOON, &format!("the watch is told as {condition}"), || {
        let (code, body) = daemon.http("/ready?verbose=1").unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let watch = &body["every_watch"][0];
        let named = body["not_synced"].as_array().unwrap().iter().any(|named| named["target"] == "v1/configmaps");
        watch["condition"] == condition
            && named == (condition != "synced")
            && watch["reason"].as_str().is_some_and(|reason| !reason.is_empty()) == (condition != "synced")
            && code == ready
            && daemon.http("/ready?strict=1").unwrap().0 == strictly_ready
            && daemon.http("/health").unwrap().0 == 200
    });
    let counted = [
        ("faro_watches", format!(r#"condition="{condition}""#), 1.0),
        ("faro_informer_health", format!(r#"status="{status}""#), 1.0),
        ("faro_ready", String::new(), f64::from(u8::from(ready == 200))),
    ];
    for (name, labels, value) in counted {
        eventually(SOON, &format!("{name}{{{labels}}} is {value}"), || daemon.metric(name, &labels) == value);
    }
    assert_eq!(daemon.metric("faro_watches", ""), 1.0, "a watch is in one condition");
}

#[test]
fn server_that_goes_away_is_told_and_so_is_its_return() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let daemon = Setup::with_config(CONFIG).kubeconfig(cluster.kubeconfig()).start_ready();
    wait_until_told(&daemon, "synced", "healthy", 200, 200);
    cluster.down();
    wait_until_told(&daemon, "retrying", "stale_events", 200, 503);
    daemon.wait_for_log(&["warn", "v1/configmaps"]);
    cluster.up().unwrap();
    wait_until_told(&daemon, "synced", "healthy", 200, 200);
    daemon.wait_for_log(&["info", "v1/configmaps: the server answers again"]);
    daemon.stop();
}

#[test]
fn missing_rights_are_told_and_so_is_their_return() {
    let cluster = Cluster::start().unwrap();
    let kubeconfig = cluster.add_user("faro", &[], []).unwrap();
    let daemon = Setup::with_config(CONFIG).kubeconfig(&kubeconfig).start_ready();
    wait_until_told(&daemon, "forbidden", "sync_failed", 200, 503);
    daemon.wait_for_log(&["warn", "v1/configmaps", "forbidden"]);
    cluster.add_user("other", &[], [may_list_and_watch("faro", "configmaps")]).unwrap();
    wait_until_told(&daemon, "synced", "healthy", 200, 200);
    cluster.clear_rules("faro");
    // Rights are looked at when a request begins.
    cluster.cut_connections();
    wait_until_told(&daemon, "forbidden", "sync_failed", 200, 503);
    daemon.stop();
}

fn may_list_and_watch(user: &str, resource: &str) -> Rule {
    let verbs = ["list", "watch"].map(str::to_owned).to_vec();
    let (resources, namespaces) = (vec![resource.to_owned()], vec!["*".to_owned()]);
    Rule { user: user.to_owned(), verbs, resources, namespaces, reason: String::new() }
}
