//! The chart `deploy/helm/faro` against the kustomization `deploy/operator`: `make helm-check`. Needs helm and kubectl.

#![expect(clippy::unwrap_used, reason = "a test binary fails by panicking")]

#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../support/manifests.rs"]
mod manifests;

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::process::{Command, Output};

/// By kind and name.
type Objects = BTreeMap<String, Value>;

#[test]
fn the_defaults_are_the_objects_of_the_kustomization() {
    same(&template(&[]), &kustomize("deploy/operator"));
}

#[test]
fn the_optional_parts_are_the_objects_of_the_overlays() {
    let overlay = ["deploy/operator/overlay.sh", IMAGE, "emptydir", "networkpolicy", "servicemonitor"];
    said(Command::new(overlay[0]).args(&overlay[1..]));
    same(&template(&["--values", "deploy/helm/faro/ci/overlays-values.yaml"]), &kustomize("target/operator"));
}

#[test]
fn values_reach_the_objects_that_they_are_about() {
    let objects = template(&[
        "--set=image.repository=registry.test/faro,image.tag=dev,image.pullPolicy=Never,clusterName=prod-eu",
        "--set=persistence.existingClaim=mine,config.metrics.port=9090,config.output_dir=/data",
        "--set-json=rbac.extraRules=[{\"apiGroups\":[\"batch\"],\"resources\":[\"cronjobs\"],\"verbs\":[\"list\",\"watch\"]}]",
        "--set-json=tolerations=[{\"operator\":\"Exists\"}]",
        "--set=nodeSelector.disk=ssd,podAnnotations.a=b,podLabels.team=x,serviceAccount.create=false,serviceAccount.name=other",
        "--set=serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus",
    ]);
    let check = |object: &str, pointer: &str, expected: &str| {
        let found = objects.get(object).unwrap_or_else(|| panic!("no {object} in {:?}", objects.keys()));
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null).to_string(), expected, "{object}{pointer}");
    };
    let (deployment, pod) = ("Deployment/faro-operator", "/spec/template/spec");
    check(deployment, &format!("{pod}/containers/0/image"), r#""registry.test/faro:dev""#);
    check(deployment, &format!("{pod}/containers/0/imagePullPolicy"), r#""Never""#);
    check(deployment, &format!("{pod}/containers/0/ports/0/containerPort"), "9090");
    check(deployment, &format!("{pod}/containers/0/volumeMounts/1/mountPath"), r#""/data""#);
    check(deployment, &format!("{pod}/volumes/1/persistentVolumeClaim/claimName"), r#""mine""#);
    check(deployment, &format!("{pod}/nodeSelector"), r#"{"disk":"ssd"}"#);
    check(deployment, &format!("{pod}/tolerations"), r#"[{"operator":"Exists"}]"#);
    check(deployment, &format!("{pod}/serviceAccountName"), r#""other""#);
    check(deployment, "/spec/template/metadata/annotations/a", r#""b""#);
    check(deployment, "/spec/template/metadata/labels/team", r#""x""#);
    check("ClusterRole/faro-operator", "/rules/5/resources", r#"["cronjobs"]"#);
    check("ClusterRoleBinding/faro-operator", "/subjects/0/name", r#""other""#);
    check("ConfigMap/faro-operator-config", "/data/config.yaml/cluster_name", r#""prod-eu""#);
    check("Service/faro-operator-metrics", "/spec/ports/0/port", "9090");
    check("ServiceMonitor/faro-operator", "/metadata/labels/release", r#""prometheus""#);
    for absent in ["ServiceAccount/", "PersistentVolumeClaim/"] {
        assert!(!objects.keys().any(|key| key.starts_with(absent)), "{:?}", objects.keys());
    }
}

/// What is taken up by a running pod makes no new one; everything else does.
#[test]
fn a_new_configuration_makes_a_new_pod_only_where_it_must() {
    let pod = |flag: &str| raw_template(&[flag]).remove("Deployment/faro-operator").unwrap();
    let same = |flag: &str| pod(flag) == pod("--set=config.log_level=info");
    assert!(same("--set=config.log_level=debug") && same("--set-json=config.resources=[{\"gvr\":\"v1/pods\"}]"));
    assert!(!same("--set=clusterName=prod-eu") && !same("--set=config.compress=zstd"));
}

#[test]
fn values_that_are_none_are_refused() {
    for (flag, word) in [
        ("--set=imag.tag=x", "imag"),
        ("--set=persistence.sise=1Gi", "sise"),
        ("--set=config.metrics.port=70000", "port"),
        ("--set=config.output_dir=events", "output_dir"),
        ("--set=serviceAccount.create=false", "serviceAccount.name"),
    ] {
        let output = helm(&[flag]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(word), "{flag}: {error}");
    }
}

/// But for what Helm says about itself, and the namespace, which `helm install --create-namespace` makes.
fn same(chart: &Objects, kustomization: &Objects) {
    let mut kustomization = kustomization.clone();
    assert!(kustomization.remove("Namespace/faro-system").is_some());
    assert_eq!(chart.keys().collect::<Vec<_>>(), kustomization.keys().collect::<Vec<_>>());
    for (name, object) in chart {
        assert_eq!(pretty(object), pretty(&kustomization[name]), "left is the chart's {name}");
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn template(flags: &[&str]) -> Objects {
    raw_template(flags).into_iter().map(|(key, object)| (key, normal(object))).collect()
}

/// As Helm prints them.
fn raw_template(flags: &[&str]) -> Objects {
    let output = helm(flags);
    assert!(output.status.success(), "helm template {flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).unwrap())
}

fn helm(flags: &[&str]) -> Output {
    let mut command = Command::new("helm");
    command.args(["template", "faro", "deploy/helm/faro", "--namespace", "faro-system"]).args(flags);
    command.output().expect("helm is on PATH: this test needs it")
}

fn kustomize(folder: &str) -> Objects {
    let objects = objects(&said(Command::new("kubectl").args(["kustomize", folder])));
    objects.into_iter().map(|(key, object)| (key, normal(object))).collect()
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(text: &str) -> Objects {
    let key = |object: &Value| format!("{}/{}", text_at(object, "/kind"), text_at(object, "/metadata/name"));
    manifests::parse(text).into_iter().map(|object| (key(&object), object)).collect()
}

fn text_at(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {object}")).to_owned()
}

/// Without Helm's labels and annotations; lists of named things by name; the configuration as what it says and not as text.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !OF_HELM.contains(&key.as_str()));
            let value_of = |(key, value)| if key == "config.yaml" { configuration(&value) } else { normal(value) };
            let entries = kept.map(|(key, value)| (key.clone(), value_of((key, value))));
            // Annotations of which none is left are none.
            let is_kept = |(key, value): &(String, Value)| key != "annotations" || *value != Value::Object(Map::new());
            Value::Object(entries.filter(is_kept).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normal).collect();
            // A stable sort: what has no name stays where it is.
            items.sort_by_key(|item| item["name"].as_str().unwrap_or_default().to_owned());
            Value::Array(items)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn configuration(text: &Value) -> Value {
    let mut documents = manifests::parse(text.as_str().unwrap());
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

const OF_HELM: [&str; 5] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "checksum/config",
    "helm.sh/chart",
];

const IMAGE: &str = concat!("ghcr.io/t0masd/faro-operator:v", env!("CARGO_PKG_VERSION"));
