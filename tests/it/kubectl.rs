//! `kubectl` against the simulated cluster, as whoever joins a demo uses it. Without `kubectl` on the machine there is
//! nothing to hold.

use crate::support::wait::{SOON, eventually};
use faro::sim::Cluster;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

struct Kubectl<'a> {
    cluster: &'a Cluster,
    cache: tempfile::TempDir,
}

impl Kubectl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig()).arg("--cache-dir").arg(self.cache.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it says when all is well.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let (said, failed) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments:?} said {said} and failed: {failed}");
        said
    }

    fn check(&self, arguments: &[&str], expected: &str) {
        let said = self.says(arguments);
        assert!(said.contains(expected), "kubectl {arguments:?} said {said}\nnot {expected}");
    }
}

#[test]
fn kubectl_finds_the_simulated_cluster_as_it_finds_any_other() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        report_absent();
        return;
    }
    let cluster = Cluster::start().unwrap();
    let kubectl = Kubectl { cluster: &cluster, cache: tempfile::tempdir().unwrap() };
    discovers(&kubectl);
    changes(&kubectl);
    creates(&kubectl);
    watches(&kubectl);
}

fn discovers(kubectl: &Kubectl<'_>) {
    kubectl.check(&["api-resources"], "deployments");
    kubectl.check(&["api-resources", "--api-group=apps", "-o", "name"], "deployments.apps\n");
    kubectl.check(&["auth", "can-i", "delete", "pods"], "yes\n");
    let kubeconfig = kubectl.cluster.add_user("guest", &[], []).unwrap();
    let refused = kubectl.output(&["--kubeconfig", &kubeconfig.to_string_lossy(), "auth", "can-i", "delete", "pods"]);
    assert_eq!((String::from_utf8_lossy(&refused.stdout).trim(), refused.status.code()), ("no", Some(1)), "{refused:?}");
}

fn changes(kubectl: &Kubectl<'_>) {
    let path = kubectl.cache.path().join("map.yaml");
    let map = |sky: &str| fs::write(&path, config_map("colours", sky)).unwrap();
    let file = path.to_str().unwrap();
    map("blue");
    kubectl.check(&["apply", "-f", file], "configmap/colours created");
    kubectl.check(&["apply", "-f", file], "configmap/colours unchanged");
    map("grey");
    kubectl.check(&["apply", "-f", file], "configmap/colours configured");
    kubectl.check(&["get", "configmap", "colours", "-o", "jsonpath={.data.sky}"], "grey");
    kubectl.check(&["label", "configmap", "colours", "kind=mood"], "configmap/colours labeled");
    kubectl.check(&["get", "configmaps", "-l", "kind=mood", "-o", "name"], "configmap/colours");
    kubectl.check(&["get", "configmaps", "-A"], "colours");
    kubectl.check(&["delete", "configmap", "colours"], "configmap \"colours\" deleted");
    let gone = kubectl.output(&["get", "configmap", "colours"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("NotFound"), "{gone:?}");
}

/// Files go as JSON. `kubectl create configmap` and its like, which take no file, go as protobuf, and are refused in so many words.
fn creates(kubectl: &Kubectl<'_>) {
    let path = kubectl.cache.path().join("pod.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web}]}\n";
    fs::write(&path, pod).unwrap();
    let file = path.to_str().unwrap();
    kubectl.check(&["create", "-f", file], "pod/web created");
    kubectl.check(&["replace", "-f", file], "pod/web replaced");
    kubectl.check(&["annotate", "pod", "web", "owner=me"], "pod/web annotated");
    kubectl.check(&["patch", "pod", "web", "-p", r#"{"metadata":{"labels":{"tier":"front"}}}"#], "pod/web patched");
    kubectl.check(&["run", "shell", "--image=shell"], "pod/shell created");
    let told = kubectl.says(&["get", "pods", "-L", "tier"]);
    let words: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "AGE", "TIER"], "{told}");
    assert_eq!((words[1][0], words[2][0], words[2][2]), ("shell", "web", "front"), "{told}");
    kubectl.check(&["describe", "pod", "web"], "owner: me");
    kubectl.check(&["delete", "-f", file], "pod \"web\" deleted");
    let refused = kubectl.output(&["create", "configmap", "colours", "--from-literal=sky=blue"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("accepted media types include: application/json"), "{refused:?}");
}

fn watches(kubectl: &Kubectl<'_>) {
    let arguments = ["get", "configmaps", "-w", "-o", "name"];
    let mut watching = kubectl.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // Its list may come before or after: what was created is told either way, once.
    eventually(SOON, "kubectl connects", || kubectl.cluster.connections() > 0);
    for name in ["first", "second"] {
        let path = kubectl.cache.path().join(name);
        fs::write(&path, config_map(name, "blue")).unwrap();
        kubectl.says(&["apply", "-f", path.to_str().unwrap()]);
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.ends_with(name)));
        assert!(line.is_some(), "kubectl {arguments:?} ended without {name}");
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
}

fn config_map(name: &str, sky: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{sky: {sky}}}\n")
}

#[expect(clippy::print_stderr, reason = "a test that holds nothing says so")]
fn report_absent() {
    eprintln!("kubectl is not on this machine, so nothing was held");
}
