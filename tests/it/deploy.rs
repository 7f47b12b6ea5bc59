//! What is deployed agrees with what is built: the manifests, the chart and the workflows, without a cluster.

use crate::supply::workflows;
use crate::support::manifests::{parse, read};
use faro::config::Config;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn config_map() -> String {
    let config_map = read("deploy/operator/configmap.yaml");
    config_map["data"]["config.yaml"].as_str().unwrap().to_owned()
}

fn config() -> Config {
    Config::from_yaml(&config_map(), "deploy/operator/configmap.yaml").unwrap()
}

fn pod() -> Value {
    read("deploy/operator/deployment.yaml")["spec"]["template"]["spec"].take()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// `group/resource`, without `*` and without what a configuration could not name.
fn of_role(role: &Value) -> BTreeSet<String> {
    let mut resources = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(texts(&rule["verbs"]), ["get", "list", "watch"], "{rule}");
        assert_eq!(rule.as_object().unwrap().len(), 3, "{rule}");
        for group in texts(&rule["apiGroups"]) {
            resources.extend(texts(&rule["resources"]).iter().map(|resource| format!("{group}/{resource}")));
        }
    }
    resources
}

#[test]
fn the_operators_role_holds_what_its_configuration_watches_and_nothing_else() {
    let of_config = config().watches().into_iter().map(|watch| {
        assert_eq!(watch.target.namespace, None, "all namespaces at once");
        format!("{}/{}", watch.target.gvr.group(), watch.target.gvr.resource())
    });
    let of_role = of_role(&read("deploy/operator/clusterrole.yaml"));
    assert_eq!(of_role, of_config.collect());
    assert!(!of_role.iter().any(|resource| resource.contains('*') || resource.contains("secrets")), "{of_role:?}");
}

#[test]
fn ports_paths_and_times_of_the_manifests_are_those_of_the_configuration() {
    let (config, pod) = (config(), pod());
    let container = &pod["containers"][0];
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], config.metrics.port);
    assert!(config.metrics.enabled);
    for (probe, path) in [("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["path"], &get["port"]), (&Value::from(path), &port["name"]), "{probe}");
    }
    let service = read("deploy/operator/service.yaml");
    assert_eq!(service["spec"]["ports"][0]["port"], config.metrics.port);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    let annotations = &service["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], config.metrics.port.to_string());
    assert_eq!(annotations["prometheus.io/path"], config.metrics.path);
    let mounts: Vec<_> = container["volumeMounts"].as_array().unwrap().iter().map(|mount| &mount["mountPath"]).collect();
    assert_eq!(mounts, ["/etc/faro", config.output_dir.to_str().unwrap()]);
    let address = format!("0.0.0.0:{}", config.metrics.port);
    assert_eq!(texts(&container["args"]), ["--config", "/etc/faro/config.yaml", "--metrics-address", &address]);
    assert!(config.state.dir.starts_with(&config.output_dir), "the state lies on the volume too");
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > config.shutdown_grace.as_secs());
}

/// Plain files are counted against the limit, and what is being compressed is there twice for a moment.
#[test]
fn what_is_retained_fits_the_operators_volume() {
    let config = config();
    let size = read("deploy/operator/pvc.yaml")["spec"]["resources"]["requests"]["storage"].take();
    let gibibytes: u64 = size.as_str().unwrap().strip_suffix("Gi").unwrap().parse().unwrap();
    let used = config.retain.total_bytes.unwrap() + 2 * config.rotate.max_bytes;
    let state = 1 << 30;
    assert!(!config.log_file && used + state < gibibytes << 30, "{used} of {size}");
    let emptydir = fs::read_to_string("deploy/operator/overlays/emptydir/kustomization.yaml").unwrap();
    assert!(emptydir.contains(&format!("sizeLimit: {}\n", size.as_str().unwrap())), "{emptydir}");
}

#[test]
fn the_operators_pod_is_restricted() {
    let pod = pod();
    let (user, container) = (&pod["securityContext"], &pod["containers"][0]["securityContext"]);
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(user[id], 65532, "{id}");
    }
    assert_eq!((&user["runAsNonRoot"], &user["seccompProfile"]["type"]), (&Value::from(true), &Value::from("RuntimeDefault")));
    assert_eq!((&container["allowPrivilegeEscalation"], &container["readOnlyRootFilesystem"]), (&false.into(), &true.into()));
    assert_eq!(texts(&container["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(read("deploy/operator/deployment.yaml")["spec"]["strategy"]["type"], "Recreate");
    let labels = read("deploy/operator/namespace.yaml")["metadata"]["labels"].take();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn the_image_and_the_chart_have_the_version_of_the_crate() {
    let version = env!("CARGO_PKG_VERSION");
    let images = read("deploy/operator/kustomization.yaml")["images"].take();
    assert_eq!(images[0]["newTag"], format!("v{version}"));
    assert_eq!(images[0]["name"], pod()["containers"][0]["image"], "the tag is in one place");
    let chart = read("deploy/helm/faro/Chart.yaml");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&Value::from(version), &Value::from(version)));
    let changes = fs::read_to_string("CHANGELOG.md").unwrap();
    assert!(changes.contains(&format!("\n## [{version}]")), "CHANGELOG.md tells nothing of {version}");
}

#[test]
fn the_charts_default_configuration_is_the_operators() {
    let values = read("deploy/helm/faro/values.yaml");
    assert_eq!(vec![values["config"].clone()], parse(&config_map()));
    assert_eq!(values["image"]["repository"], pod()["containers"][0]["image"]);
}

/// Every digit of a version is a tag that moves with it, but not before the release.
#[test]
fn a_released_image_has_a_tag_for_each_part_of_its_version() {
    let tags = |version: &str| {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join("docker");
        fs::write(&docker, "#!/bin/sh\necho \"$@\"\n").unwrap();
        fs::set_permissions(&docker, Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("deploy/image/release.sh");
        let outputs = folder.path().join("outputs");
        command.args(["tag", "ghcr.io/T0MASD/faro-operator", version]).env("PATH", path).env("GITHUB_OUTPUT", &outputs);
        let output = command.output().unwrap();
        if !output.status.success() {
            return String::from_utf8(output.stderr).unwrap();
        }
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.ends_with(&fs::read_to_string(outputs).unwrap()), "later steps are given what is said: {said}");
        said
    };
    let image = "ghcr.io/t0masd/faro-operator";
    let expected = |version: &str, tags: &[&str]| {
        let tags: String = tags.iter().map(|tag| format!("--tag {image}:{tag} ")).collect();
        let digest = format!("buildx imagetools inspect --format {{{{.Manifest.Digest}}}} {image}:{version}");
        format!(
            "buildx imagetools create {tags}{image}:{version}-amd64 {image}:{version}-arm64\nimage={image}\ndigest={digest}\n"
        )
    };
    assert_eq!(tags("v1.2.3"), expected("v1.2.3", &["v1.2.3", "v1.2", "v1", "latest"]));
    assert_eq!(tags("v1.2.3-rc.1"), expected("v1.2.3-rc.1", &["v1.2.3-rc.1"]));
    assert_eq!(tags("main"), "release.sh: main is no version; expected one like v1.2.3\n");
}

#[test]
fn every_make_target_that_the_readme_names_is_there() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let readme = fs::read_to_string("README.md").unwrap();
    let command = regex_lite::Regex::new("(?m)(?:^|`|# or: )make ([a-z0-9 -]+)").unwrap();
    let words = command.captures_iter(&readme).flat_map(|found| found.extract::<1>().1[0].split(' '));
    let named: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    assert!(named.contains("demo") && named.contains("undeploy"), "{named:?}");
    for target in named {
        assert!(targets(&makefile).contains(target), "the README names `make {target}`, which is no target");
    }
}

/// Each step of the workflows is one `make` target that is there, so that what they do can be done anywhere.
#[test]
fn every_step_of_the_workflows_is_a_make_target() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let targets = targets(&makefile);
    for path in workflows() {
        let workflow = read(&path);
        let jobs = workflow["jobs"].as_object().unwrap();
        let steps = jobs.values().flat_map(|job| job["steps"].as_array().into_iter().flatten());
        let runs: Vec<&str> = steps.filter_map(|step| step["run"].as_str()).collect();
        assert!(!runs.is_empty(), "{path} runs nothing");
        for run in runs {
            let target = run.strip_prefix("make ").and_then(|words| words.split_whitespace().next());
            assert!(target.is_some_and(|target| targets.contains(target)), "{path}: `{run}` is no target of the Makefile");
            assert!(!run.contains(['\n', ';', '&', '|']), "{path}: `{run}` is more than a target");
        }
    }
}

fn targets(makefile: &str) -> BTreeSet<&str> {
    makefile.lines().filter_map(|line| line.split_once(':')).map(|(target, _)| target).collect()
}
