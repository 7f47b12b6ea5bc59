//! The programs of `examples/`, as they are built, against a simulated cluster in which known things happen.

use crate::support::example::{Example, binary, lines};
use faro::sim::Cluster;
use serde_json::Value;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

fn scene() -> (Cluster, TempDir) {
    (Cluster::start().unwrap(), tempfile::tempdir().unwrap())
}

fn config_map(namespace: &str, name: &str, data: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: {namespace}}}, data: {{{data}}}}}")
}

#[test]
fn library_usage_tells_each_change_once_also_when_it_is_run_again() {
    let (cluster, folder) = scene();
    let map = |version: &str| {
        let annotations = "kubectl.kubernetes.io/last-applied-configuration: long, team: a";
        let metadata = format!("{{name: settings, namespace: default, annotations: {{{annotations}}}}}");
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}, data: {{version: '{version}'}}}}")
    };
    cluster.create(&map("1")).unwrap();
    let mut example = Example::start("library_usage", cluster.kubeconfig(), folder.path(), &[]);
    example.wait_for(&["ready: 2 informers"]);
    example.wait_for(&["ADDED v1/configmaps default/settings"]);
    cluster.update(&map("2")).unwrap();
    example.wait_for(&["UPDATED v1/configmaps default/settings"]);
    let told = example.stop("default/settings");
    assert_eq!(told, ["ADDED v1/configmaps default/settings", "UPDATED v1/configmaps default/settings"]);

    cluster.delete("v1/configmaps", "default/settings").unwrap();
    cluster.create("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").unwrap();
    let mut example = Example::start("library_usage", cluster.kubeconfig(), folder.path(), &[]);
    example.wait_for(&["DELETED v1/configmaps default/settings"]);
    example.wait_for(&["ADDED v1/namespaces shop"]);
    let mut told = example.stop("v1/");
    told.sort();
    assert_eq!(told, ["ADDED v1/namespaces shop", "DELETED v1/configmaps default/settings"]);

    let lines = lines(&folder.path().join("faro-events"));
    let of_map: Vec<_> = lines.iter().filter(|line| line["name"] == "settings").collect();
    let types: Vec<_> = of_map.iter().map(|line| line["eventType"].as_str().unwrap()).collect();
    assert_eq!(types, ["ADDED", "UPDATED", "DELETED"]);
    assert!(of_map.iter().all(|line| line["annotations"] == serde_json::json!({"team": "a"})), "{of_map:?}");
}

#[test]
fn worker_dispatcher_gives_each_kind_to_its_worker_and_tells_what_a_worker_gave_up() {
    let (cluster, folder) = scene();
    let mut example = Example::start("worker_dispatcher", cluster.kubeconfig(), folder.path(), &[]);
    example.wait_for(&["ready"]);
    cluster.create(&config_map("default", "sick", "broken: 'true'")).unwrap();
    cluster.create(&config_map("default", "well", "a: x, b: y")).unwrap();
    cluster.create("{apiVersion: v1, kind: Namespace, metadata: {name: shop}, status: {phase: Active}}").unwrap();
    cluster.create(&config_map("shop", "elsewhere", "a: x")).unwrap();
    example.wait_for(&["[config maps] default/well has"]);
    example.wait_for(&["[namespaces] ADDED shop"]);
    cluster.delete("v1/configmaps", "default/well").unwrap();
    example.wait_for(&["[config maps] default/well is gone"]);
    example.wait_for(&["[gave up] v1/configmaps default/sick"]);
    let (namespaces, mut told): (Vec<_>, Vec<_>) =
        example.stop("[").into_iter().partition(|line| line.starts_with("[namespaces]"));
    let expected = [
        r#"[config maps] default/well has ["a", "b"]"#,
        "[config maps] default/well is gone",
        "[gave up] v1/configmaps default/sick: says of itself that it is broken",
    ];
    // Two objects of one kind may overtake each other.
    told.sort();
    assert_eq!(told, expected);
    assert!(namespaces.contains(&"[namespaces] ADDED default is Active".to_owned()), "{namespaces:?}");
    assert!(namespaces.contains(&"[namespaces] ADDED shop is Active".to_owned()), "{namespaces:?}");
}

#[test]
fn dynamic_discovery_watches_what_is_defined_before_it_starts_and_while_it_runs() {
    let (cluster, folder) = scene();
    let define = |plural: &str, kind: &str| {
        let names = format!("{{plural: {plural}, kind: {kind}}}");
        let versions = "[{name: v1beta1, served: true, storage: false}, {name: v1, served: true, storage: true}]";
        let spec = format!("{{group: example.com, scope: Namespaced, names: {names}, versions: {versions}}}");
        let head = "apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition";
        cluster.create(&format!("{{{head}, metadata: {{name: {plural}.example.com}}, spec: {spec}}}")).unwrap();
    };
    let create = |kind: &str, name: &str| {
        cluster.create(&format!("{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: {name}}}}}")).unwrap();
    };
    define("widgets", "Widget");
    create("Widget", "early");
    let mut example = Example::start("dynamic_discovery", cluster.kubeconfig(), folder.path(), &[]);
    example.wait_for(&["ADDED example.com/v1/widgets default/early"]);
    define("gadgets", "Gadget");
    create("Gadget", "late");
    example.wait_for(&["ADDED example.com/v1/gadgets default/late"]);
    cluster.delete("example.com/v1/gadgets", "default/late").unwrap();
    example.wait_for(&["DELETED example.com/v1/gadgets default/late"]);
    let mut told = example.stop("example.com");
    told.sort();
    let expected = [
        "ADDED example.com/v1/gadgets default/late",
        "ADDED example.com/v1/widgets default/early",
        "DELETED example.com/v1/gadgets default/late",
        "watching example.com/v1/gadgets",
        "watching example.com/v1/widgets",
    ];
    assert_eq!(told, expected);
}

#[test]
fn workload_monitor_writes_what_happens_in_namespaces_that_come_and_go() {
    let (cluster, folder) = scene();
    let namespace = |name: &str, labels: &str| {
        cluster
            .create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{labels}}}}}}}"))
            .unwrap();
    };
    let arguments = [
        "--discover-namespaces",
        "app.kubernetes.io/name~^shop",
        "--extract-from-namespace",
        "env-staging-(.+)",
        "--namespace-resources",
        "v1/configmaps, batch/v1/jobs",
    ];
    let start = || Example::start("workload_monitor", cluster.kubeconfig(), folder.path(), &arguments);
    namespace("other", "app.kubernetes.io/name: billing");
    namespace("env-staging-7", "app.kubernetes.io/name: shop-api");
    cluster.create(&config_map("other", "foreign", "a: x")).unwrap();
    cluster.create(&config_map("env-staging-7", "one", "a: x")).unwrap();
    let mut example = start();
    example.wait_for(&[r#""name":"one""#, "ADDED", "v1/configmaps"]);
    namespace("plain", "app.kubernetes.io/name: shop-web");
    cluster.create(&config_map("plain", "two", "a: x")).unwrap();
    example.wait_for(&[r#""name":"two""#, "ADDED", "v1/configmaps"]);
    cluster.patch("v1/configmaps", "plain/two", "{data: {a: z}}").unwrap();
    example.wait_for(&[r#""name":"two""#, "UPDATED", "v1/configmaps"]);
    let told = example.stop("v1/configmaps");
    assert_eq!(told.len(), 3, "{told:?}");

    // Found again, but nothing of it is written again.
    cluster.delete("v1/configmaps", "plain/two").unwrap();
    let mut example = start();
    example.wait_for(&[r#""name":"two""#, "DELETED", "v1/configmaps"]);
    cluster.label("v1/namespaces", "plain", &[("app.kubernetes.io/name", None)]).unwrap();
    example.wait_for(&["plain: belongs to no workload any more"]);
    cluster.create(&config_map("plain", "untold", "a: x")).unwrap();
    cluster.create(&config_map("env-staging-7", "last", "a: x")).unwrap();
    example.wait_for(&[r#""name":"last""#]);
    drop(example.stop(""));
    let lines = lines(&folder.path().join("workload-events"));
    let brief = |line: &Value| ["eventType", "namespace", "name", "workload_id", "workload_name"].map(|key| line[key].clone());
    let told: Vec<_> = lines.iter().filter(|line| line["gvr"] == "v1/configmaps").map(brief).collect();
    let expected = [
        ["ADDED", "env-staging-7", "one", "7", "shop-api"],
        ["ADDED", "plain", "two", "shop-web", "shop-web"],
        ["UPDATED", "plain", "two", "shop-web", "shop-web"],
        ["DELETED", "plain", "two", "shop-web", "shop-web"],
        ["ADDED", "env-staging-7", "last", "7", "shop-api"],
    ];
    assert_eq!(told, expected);
}

#[test]
fn test_your_handler_needs_nothing_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Command::new(binary("test_your_handler")).env_clear().current_dir(folder.path()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
}
