//! The manifests of `deploy/operator`, on a server: what it takes, what its account may do, and its pod at work.
//!
//! All of them are about one namespace, `faro-system`, so they run one after the other. Someone's cluster is left without it.

use crate::cluster::Cluster;
use crate::daemon::{Daemon, Setup};
use crate::kubectl::Kubectl;
use crate::pod::{self, Pod};
use crate::runner::{Stage, say};
use crate::wait::{SOON, eventually};
use faro::config::Config;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// First as a dry run, then for real; the base, each overlay, and all of them together.
pub(super) fn every_manifest_and_overlay_is_taken_by_the_server(stage: &Stage) {
    let cluster = stage.shared();
    let _installed = Installed::new(cluster);
    let mut overlays: Vec<&str> = vec!["emptydir", "networkpolicy"];
    if cluster.is_own() {
        cluster.kubectl.apply(&service_monitors().to_string());
        let served = || cluster.kubectl.succeeds("get servicemonitors.monitoring.coreos.com -A");
        eventually(SOON, "ServiceMonitors are served", served);
    }
    if cluster.kubectl.succeeds("get crd servicemonitors.monitoring.coreos.com") {
        overlays.push("servicemonitor");
    } else {
        say("    servicemonitor is left out: this cluster knows no ServiceMonitors\n");
    }
    let alone = overlays.iter().map(std::slice::from_ref);
    for chosen in [[].as_slice()].into_iter().chain(alone).chain([overlays.as_slice()]) {
        render("registry.test/faro-operator:dev", chosen);
        for how in ["--dry-run=server", ""] {
            let said = cluster.kubectl.run(&format!("apply -k target/operator {how}"));
            assert!(said.contains("deployment.apps/faro-operator "), "{chosen:?} {how}: {said}");
        }
        let image = "get deployment faro-operator -n faro-system -o jsonpath={.spec.template.spec.containers[0].image}";
        assert_eq!(cluster.kubectl.run(image), "registry.test/faro-operator:dev");
    }
}

pub(super) fn its_account_may_read_what_it_watches_and_no_secrets(stage: &Stage) {
    let cluster = stage.shared();
    let _installed = Installed::new(cluster);
    let pod = Pod::of(cluster, NAMESPACE, DEPLOYMENT);
    let can_i =
        |verb: &str, resource: &str| cluster.kubectl.succeeds(&format!("auth can-i {verb} {resource} -A --as={ACCOUNT} --quiet"));
    for watch in config(&pod.mounted_text(cluster, CONFIG_FOLDER, CONFIG_KEY)).watches() {
        let gvr = &watch.target.gvr;
        let resource = format!("{}.{}", gvr.resource(), gvr.group());
        for verb in ["list", "watch"] {
            assert!(can_i(verb, resource.trim_end_matches('.')), "{ACCOUNT} may not {verb} {gvr}");
        }
    }
    for verb in ["get", "list", "watch"] {
        assert!(!can_i(verb, "secrets"), "{ACCOUNT} may {verb} secrets");
    }
    for verb in ["create", "update", "patch", "delete"] {
        assert!(!can_i(verb, "configmaps") && !can_i(verb, "pods"), "{ACCOUNT} may {verb}");
    }
}

/// The command line, the paths and the login of the pod as the server has it: captures, serves what the probes ask for, takes up
/// an edited configuration as it runs, and hears nothing of secrets when that asks for them.
pub(super) fn its_pod_captures_and_answers_its_probes_and_is_denied_secrets(stage: &Stage) {
    let cluster = stage.shared();
    let installed = Installed::new(cluster);
    let pod = Pod::of(cluster, NAMESPACE, DEPLOYMENT);
    let token = cluster.kubectl.run(&format!("create token faro-operator -n {NAMESPACE}")).trim().to_owned();
    cluster.keep_secret(&token);
    let setup = setup(cluster, &pod, &token);
    let daemon = setup.clone().start_ready();
    say(&format!("    resident memory with the default configuration, idle: {} kB\n", resident_kb(daemon.id())));
    answers_its_probes(&daemon, &pod, cluster);
    let namespace = cluster.namespace("operator");
    cluster.kubectl.run(&format!("create configmap first -n {namespace}"));
    cluster.kubectl.run(&format!("delete configmap first -n {namespace}"));
    cluster.kubectl.run(&format!("create deployment web -n {namespace} --image=none.test/none --replicas=0"));
    for line in [format!("ADDED {namespace}/first"), format!("DELETED {namespace}/first"), format!("ADDED {namespace}/web")] {
        daemon.wait_for(&line);
    }
    if pod::is_possible() {
        let table = pod.exec(&setup, &["/faro", "events", "--tail", "20", "--namespace", &namespace]);
        assert!(table.contains(&format!("{namespace}/first")) && table.contains(&format!("{namespace}/web")), "{table}");
    }
    installed.replace_config("- gvr: v1/configmaps", "- gvr: v1/secrets\n  - gvr: v1/configmaps");
    let setup = update_config(cluster, &pod, setup);
    daemon.wait_for_log(&["v1/secrets", "forbidden", "list"]);
    cluster.kubectl.run(&format!("create secret generic hidden -n {namespace}"));
    let mine = Kubectl::new(&cluster.kubeconfig(&json!({"token": token})), &cluster.write_kubeconfig("").with_extension("d"));
    assert!(mine.succeeds("get pods -A") && !mine.succeeds("get secrets -A"), "the account's own token is denied secrets");
    daemon.stop_unread();

    cluster.kubectl.run(&format!("create configmap second -n {namespace}"));
    let daemon = setup.start_ready();
    daemon.wait_for(&format!("ADDED {namespace}/second"));
    let ended = daemon.stop();
    assert!(!ended.lines.iter().any(|line| line.gvr == "v1/secrets"), "a secret was told");
    let of_second = ended.lines.iter().filter(|line| line.name == "second").count();
    assert_eq!(of_second, 1, "what happened while there was no pod is told once");
}

/// The operator's objects on the server, for one scenario at a time.
struct Installed<'a> {
    cluster: &'a Cluster,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl<'a> Installed<'a> {
    /// Applies the base as it stands in the repository.
    fn new(cluster: &'a Cluster) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = cluster.kubectl.succeeds(&format!("get namespace {NAMESPACE}"));
        assert!(cluster.is_own() || !is_there, "this cluster has a namespace {NAMESPACE} already: run `make undeploy` first");
        cluster.kubectl.run("apply -f deploy/operator/namespace.yaml");
        let installed = Self { cluster, _turn: turn };
        cluster.kubectl.run("apply -k deploy/operator --dry-run=server");
        cluster.kubectl.run("apply -k deploy/operator");
        installed
    }

    /// Edits the configuration as `kubectl edit` does.
    fn replace_config(&self, from: &str, to: &str) {
        let text = self.cluster.kubectl.run(&format!("get configmap faro-operator-config -n {NAMESPACE} -o json"));
        let mut config_map: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        let config = config_map["data"][CONFIG_KEY].as_str().expect("it holds the configuration");
        assert!(config.contains(from), "{from:?} is not in {config}");
        config_map["data"][CONFIG_KEY] = Value::from(config.replace(from, to));
        self.cluster.kubectl.apply(&config_map.to_string());
    }
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        // Where nothing ends a namespace, as on a control plane alone, none could be made anew under its name.
        if !self.cluster.is_own() {
            self.cluster.kubectl.succeeds("delete -k deploy/operator --ignore-not-found --wait=false");
            let is_gone = || !self.cluster.kubectl.succeeds(&format!("get namespace {NAMESPACE}"));
            if !std::thread::panicking() {
                eventually(SOON * 2, "the namespace of the operator is gone", is_gone);
            }
        }
    }
}

/// A daemon that runs as the pod; where this process may not make one, it logs in with a kubeconfig.
fn setup(cluster: &Cluster, pod: &Pod, token: &str) -> Setup {
    if pod::is_possible() {
        return pod.setup(cluster, token);
    }
    say("    not root: paths, user and login of the pod are left out, a kubeconfig with its token stands in\n");
    let setup = Setup::bare().release().secrets(cluster).kubeconfig(&cluster.kubeconfig(&json!({"token": token})));
    let arguments = format!("--output-dir {}", setup.output().display());
    let setup = setup.arguments(&arguments);
    update_config(cluster, pod, setup)
}

/// Brings the file that the daemon reads up to date with the server's.
fn update_config(cluster: &Cluster, pod: &Pod, setup: Setup) -> Setup {
    if pod::is_possible() {
        pod.write_config_map(cluster, CONFIG_FOLDER, &setup);
        return setup;
    }
    let text = pod.mounted_text(cluster, CONFIG_FOLDER, CONFIG_KEY);
    let text = text.replace("port: 8080", &format!("port: {}", setup.port()));
    std::fs::write(setup.folder().join("config.yaml"), &text).expect("the daemon's folder is ours");
    setup.config(&text)
}

/// What the Deployment and the Service on the server say about ports and paths is what the configuration says and the daemon serves.
fn answers_its_probes(daemon: &Daemon, pod: &Pod, cluster: &Cluster) {
    let metrics = config(&pod.mounted_text(cluster, CONFIG_FOLDER, CONFIG_KEY)).metrics;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &pod.container()[probe]["httpGet"];
        assert_eq!(pod.port(&get["port"]), u64::from(metrics.port), "{probe}");
        let (code, body) = daemon.http(get["path"].as_str().expect("a probe has a path")).expect("the daemon answers");
        assert_eq!(code, 200, "{probe}: {body}");
    }
    let text = cluster.kubectl.run(&format!("get service faro-operator-metrics -n {NAMESPACE} -o json"));
    let service: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    assert_eq!(pod.port(&service["spec"]["ports"][0]["targetPort"]), u64::from(metrics.port));
    assert_eq!(service["metadata"]["annotations"]["prometheus.io/path"], metrics.path);
    let (code, body) = daemon.http(&metrics.path).expect("the daemon answers");
    assert!(code == 200 && body.contains("\nfaro_events_total{"), "{code} {body}");
}

fn config(text: &str) -> Config {
    Config::from_yaml(text, "the ConfigMap").expect("the configuration on the server is valid")
}

fn render(image: &str, overlays: &[&str]) {
    let done = Command::new("deploy/operator/overlay.sh").arg(image).args(overlays).status();
    assert!(done.is_ok_and(|status| status.success()), "overlay.sh {image} {overlays:?}");
}

fn resident_kb(id: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").to_owned()
}

/// The definition that the Prometheus operator brings, without its schema.
fn service_monitors() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

const NAMESPACE: &str = "faro-system";
const DEPLOYMENT: &str = "faro-operator";
const ACCOUNT: &str = "system:serviceaccount:faro-system:faro-operator";
const CONFIG_FOLDER: &str = "/etc/faro";
const CONFIG_KEY: &str = "config.yaml";
