//! The programs of `examples/`, unchanged, against a real API server: what they print and write of known changes.

use crate::cluster::Cluster;
use crate::example::{Example, lines};
use crate::runner::Stage;
use serde_json::{Value, json};
use tempfile::TempDir;

fn scene(stage: &Stage) -> (&Cluster, TempDir) {
    (stage.shared(), tempfile::tempdir().expect("a folder for what an example writes"))
}

fn start(name: &str, cluster: &Cluster, folder: &TempDir, arguments: &[&str]) -> Example {
    Example::start(name, &cluster.admin(), folder.path(), arguments)
}

/// What a handler prints and what is written, over two runs: each change once.
pub(super) fn library_usage_tells_each_change_once_also_when_it_is_run_again(stage: &Stage) {
    let (cluster, folder) = scene(stage);
    let name = cluster.name("settings");
    let mut example = start("library_usage", cluster, &folder, &[]);
    example.wait_for(&["ready: 2 informers"]);
    cluster.kubectl.run(&format!("create configmap {name} -n default --from-literal=version=1"));
    example.wait_for(&[&format!("ADDED v1/configmaps default/{name}")]);
    cluster.kubectl.run(&format!("annotate configmap {name} -n default team=a"));
    example.wait_for(&[&format!("UPDATED v1/configmaps default/{name}")]);
    let told = ["ADDED", "UPDATED"].map(|event_type| format!("{event_type} v1/configmaps default/{name}"));
    assert_eq!(example.stop(&name), told);

    cluster.kubectl.run(&format!("delete configmap {name} -n default"));
    let mut example = start("library_usage", cluster, &folder, &[]);
    example.wait_for(&[&format!("DELETED v1/configmaps default/{name}")]);
    assert_eq!(example.stop(&name), [format!("DELETED v1/configmaps default/{name}")]);

    let lines = lines(&folder.path().join("faro-events"));
    let of_map: Vec<_> = lines.iter().filter(|line| line["name"] == name.as_str()).collect();
    let types: Vec<_> = of_map.iter().map(|line| line["eventType"].as_str().unwrap_or_default()).collect();
    assert_eq!(types, ["ADDED", "UPDATED", "DELETED"]);
    assert_eq!(of_map[1]["annotations"], json!({"team": "a"}));
}

/// Each kind goes to its worker, and what a worker refuses at every attempt is told.
pub(super) fn worker_dispatcher_gives_each_kind_to_its_worker_and_tells_what_a_worker_gave_up(stage: &Stage) {
    let (cluster, folder) = scene(stage);
    let (sick, well) = (cluster.name("sick"), cluster.name("well"));
    let mut example = start("worker_dispatcher", cluster, &folder, &[]);
    example.wait_for(&["ready"]);
    cluster.kubectl.run(&format!("create configmap {sick} -n default --from-literal=broken=true"));
    cluster.kubectl.run(&format!("create configmap {well} -n default --from-literal=a=x --from-literal=b=y"));
    let namespace = cluster.namespace("dispatched");
    example.wait_for(&[&format!("[config maps] default/{well} has")]);
    example.wait_for(&[&format!("[namespaces] ADDED {namespace}")]);
    cluster.kubectl.run(&format!("delete configmap {well} -n default"));
    example.wait_for(&[&format!("[config maps] default/{well} is gone")]);
    example.wait_for(&[&format!("[gave up] v1/configmaps default/{sick}")]);
    let mut told = example.stop("[");
    told.retain(|line| [&sick, &well, &namespace].iter().any(|name| line.contains(name.as_str())));
    // Two objects of one kind may overtake each other.
    told.sort();
    let expected = [
        format!(r#"[config maps] default/{well} has ["a", "b"]"#),
        format!("[config maps] default/{well} is gone"),
        format!("[gave up] v1/configmaps default/{sick}: says of itself that it is broken"),
        format!("[namespaces] ADDED {namespace} is Active"),
    ];
    assert_eq!(told, expected);
    cluster.kubectl.run(&format!("delete configmap {sick} -n default"));
}

/// What is defined while it runs is watched.
pub(super) fn dynamic_discovery_watches_what_is_defined_while_it_runs(stage: &Stage) {
    let (cluster, folder) = scene(stage);
    let (group, namespace) = (format!("{}.test", cluster.name("example")), cluster.namespace("example"));
    let mut example = start("dynamic_discovery", cluster, &folder, &[]);
    cluster.kubectl.create(&super::library::definition_of(&group));
    cluster.kubectl.run(&format!("wait --for=condition=established --timeout=30s crd gadgets.{group}"));
    example.wait_for(&[&format!("watching {group}/v1/gadgets")]);
    let metadata = json!({"name": "late", "namespace": namespace});
    let gadget = json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": metadata}).to_string();
    cluster.writer.create(&format!("/apis/{group}/v1/namespaces/{namespace}/gadgets"), &gadget);
    example.wait_for(&[&format!("ADDED {group}/v1/gadgets {namespace}/late")]);
    cluster.kubectl.run(&format!("delete gadgets.{group} late -n {namespace}"));
    example.wait_for(&[&format!("DELETED {group}/v1/gadgets {namespace}/late")]);
    let told = example.stop(&format!("{group}/v1/gadgets {namespace}/"));
    assert_eq!(told, ["ADDED", "DELETED"].map(|event_type| format!("{event_type} {group}/v1/gadgets {namespace}/late")));
    cluster.kubectl.run(&format!("delete crd gadgets.{group}"));
}

/// Namespaces that carry a workload's name are found at run time, and what is in them is written with the workload's fields.
pub(super) fn workload_monitor_writes_what_happens_in_namespaces_that_come_and_go(stage: &Stage) {
    let (cluster, folder) = scene(stage);
    let workload = cluster.name("shop");
    let (early, late, other) = (cluster.namespace("early"), cluster.namespace("late"), cluster.namespace("other"));
    let label = |namespace: &str, change: &str| cluster.kubectl.run(&format!("label namespace {namespace} {LABEL}{change}"));
    let create = |name: &str, namespace: &str| {
        cluster.kubectl.run(&format!("create configmap {name} -n {namespace} --from-literal=a=x"));
    };
    label(&early, &format!("={workload}"));
    create("one", &early);
    create("foreign", &other);
    let pattern = format!("{LABEL}~^{workload}$");
    let arguments =
        ["--discover-namespaces", &pattern, "--extract-from-namespace", "e2e-(early)-", "--namespace-resources", "v1/configmaps"];
    let mut example = start("workload_monitor", cluster, &folder, &arguments);
    example.wait_for(&[r#""name":"one""#, "ADDED"]);
    label(&late, &format!("={workload}"));
    create("two", &late);
    example.wait_for(&[r#""name":"two""#, "ADDED"]);
    label(&late, "-");
    example.wait_for(&[&format!("{late}: belongs to no workload any more")]);
    create("untold", &late);
    create("last", &early);
    example.wait_for(&[r#""name":"last""#]);
    drop(example.stop(""));
    let lines = lines(&folder.path().join("workload-events"));
    let is_ours = |line: &&Value| line["gvr"] == "v1/configmaps" && line["name"] != "kube-root-ca.crt";
    let brief = |line: &Value| ["eventType", "namespace", "name", "workload_id", "workload_name"].map(|key| line[key].clone());
    let told: Vec<_> = lines.iter().filter(is_ours).map(brief).collect();
    let expected = [
        ["ADDED", &early, "one", "early", &workload],
        ["ADDED", &late, "two", &workload, &workload],
        ["ADDED", &early, "last", "early", &workload],
    ];
    assert_eq!(told, expected);
}

const LABEL: &str = "app.kubernetes.io/name";
