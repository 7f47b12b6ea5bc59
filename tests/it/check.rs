//! `faro check`: what a configuration would come to, told before anything is started.

use crate::support::daemon::{Ended, Setup};
use faro::sim::{Cluster, Rule};
use std::path::Path;

fn cluster() -> Cluster {
    Cluster::builder().tls(false).start().unwrap()
}

/// Lets `user` use `verbs` on `resource` in `namespace`.
fn may(user: &str, verbs: &[&str], resource: &str, namespace: &str) -> Rule {
    Rule {
        user: user.to_owned(),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resources: vec![resource.to_owned()],
        namespaces: vec![namespace.to_owned()],
        reason: String::new(),
    }
}

/// Checks, and demands this exit code and that no file was written.
fn check(kubeconfig: &Path, config: &str, arguments: &str, code: i32) -> Ended {
    let setup = Setup::with_config(config).subcommand("check").kubeconfig(kubeconfig).arguments(arguments);
    let ended = setup.clone().run_to_end();
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.stdout, ended.log);
    assert!(!setup.output().exists(), "a check writes nothing");
    ended
}

/// The row of a resource, its blanks as one each.
fn row(ended: &Ended, resource: &str) -> String {
    let row = ended.stdout.lines().find(|line| line.starts_with(resource)).unwrap_or_else(|| panic!("{}", ended.stdout));
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn last_line(ended: &Ended) -> &str {
    ended.stdout.lines().last().unwrap_or_default()
}

#[test]
fn what_would_work_is_told_row_by_row() {
    let cluster = cluster();
    let config = "resources:
- {gvr: v1/pods, label_selector: app=web, name_selector: web-0}
- {gvr: v1/nodes, namespace_names: [default]}
- {gvr: apps/v1/deployments, namespace_names: [default]}";
    let ended = check(cluster.kubeconfig(), config, "", 0);
    assert!(ended.stdout.contains(&format!("\n{} (context \"sim\"", cluster.url())), "{}", ended.stdout);
    assert_eq!(row(&ended, "RESOURCE"), "RESOURCE NAMESPACE SELECTORS SERVED LIST WATCH VERDICT");
    assert_eq!(row(&ended, "v1/pods"), "v1/pods - app=web metadata.name=web-0 yes yes yes good");
    assert_eq!(row(&ended, "v1/nodes"), "v1/nodes - - yes yes yes good");
    assert_eq!(row(&ended, "apps/v1/deployments"), "apps/v1/deployments default - yes yes yes good");
    assert_eq!(last_line(&ended), "good: 3 of 3 watches would work");
    assert_eq!(ended.log, "", "stderr is for what goes wrong");
}

#[test]
fn what_is_forbidden_is_told_with_its_verbs_and_in_its_namespace() {
    let cluster = cluster();
    let rules = [
        may("ada", &["list", "watch"], "configmaps", "default"),
        may("ada", &["list"], "deployments.apps", "*"),
        may("ada", &["*"], "namespaces", "*"),
    ];
    let kubeconfig = cluster.add_user("ada", &[], rules).unwrap();
    let config = "resources:
- {gvr: v1/configmaps, namespace_names: [default]}
- {gvr: apps/v1/deployments}
- {gvr: v1/pods}";
    let ended = check(&kubeconfig, config, "", 1);
    assert_eq!(row(&ended, "v1/configmaps"), "v1/configmaps default - yes yes yes good");
    assert!(row(&ended, "apps/v1/deployments").starts_with("apps/v1/deployments - - yes yes no forbidden: watch not allowed; "));
    assert!(row(&ended, "v1/pods").starts_with("v1/pods - - yes no no forbidden: list and watch not allowed; "));
    assert_eq!(last_line(&ended), "not good: 2 of 3 watches would not work");
    check(&kubeconfig, "resources: [{gvr: v1/configmaps}]", "", 1);
}

#[test]
fn what_is_not_served_fails_and_what_may_be_defined_later_waits() {
    let cluster = cluster();
    let config = "resources:
- {gvr: v1/podz}
- {gvr: v1/nodes, scope: Namespaced}
- {gvr: x.example.com/v1/widgets}
- {gvr: v1/pods, namespace_names: [shop]}";
    let ended = check(cluster.kubeconfig(), config, "", 1);
    assert!(row(&ended, "v1/podz").ends_with("resources[0]: not served; did you mean \"v1/pods\"?"), "{}", ended.stdout);
    assert!(row(&ended, "v1/nodes").ends_with("resources[1].scope: it is Cluster; correct the scope or leave it out"));
    assert!(row(&ended, "x.example.com/v1/widgets").ends_with("no yes yes waits: waited for until it is defined"));
    assert!(row(&ended, "v1/pods").contains("waits: the namespace shop is not there"), "{}", ended.stdout);
    let waiting = "resources: [{gvr: x.example.com/v1/widgets}, {gvr: gateway.networking.k8s.io/v1/gateways}, {gvr: v1/pods}]";
    let ended = check(cluster.kubeconfig(), waiting, "", 0);
    assert_eq!(last_line(&ended), "good: 1 of 3 watches would work, 2 would wait");
}

#[test]
fn a_wrong_configuration_is_2_and_a_cluster_that_is_away_is_1() {
    let cluster = cluster();
    let ended = check(cluster.kubeconfig(), "resources: [{gvr: pods}]", "", 2);
    assert!(ended.log.contains("resources[0].gvr"), "{}", ended.log);
    check(cluster.kubeconfig(), "resources: [{gvr: v1/pods}]", "--service-account a/b", 2);
    cluster.down();
    let ended = check(cluster.kubeconfig(), "resources: [{gvr: v1/pods}]", "", 1);
    assert!(ended.log.contains(cluster.url()), "{}", ended.log);
}

#[test]
fn printed_rights_are_manifests_and_nothing_else() {
    let cluster = cluster();
    let kubeconfig = cluster.add_user("ada", &[], []).unwrap();
    let config = "resources:
- {gvr: v1/configmaps, namespace_names: [shop]}
- {gvr: v1/pods, namespace_names: [shop]}
- {gvr: v1/nodes, namespace_names: [shop]}";
    let ended = check(&kubeconfig, config, "--print-rbac --service-account ops/faro", 0);
    let kinds: Vec<&str> = ended.stdout.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"], "who asks needs none of these rights");
    assert!(ended.stdout.contains(r#"{apiGroups: [""], resources: ["configmaps", "pods"], verbs: [list, watch]}"#));
    assert_eq!(check(&kubeconfig, config, "--print-rbac --service-account ops/faro", 0).stdout, ended.stdout);
    let ended = check(&kubeconfig, "resources: [{gvr: v1/podz}]", "--print-rbac", 1);
    assert_eq!(ended.stdout, "");
    assert!(ended.log.contains("did you mean \"v1/pods\"?"), "{}", ended.log);
}
