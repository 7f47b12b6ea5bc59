//! The two sample configurations of the README run as they stand.
//!
//! They name `production`, `default` and `kube-system`, so the cluster has to be ours. Only the port differs, so that scenarios can
//! run side by side, and `--output-dir` keeps the lines out of `/var`.

use crate::daemon::Setup;
use crate::runner::Stage;

pub(super) fn the_namespace_centric_sample(stage: &Stage) {
    let cluster = stage.shared();
    cluster.kubectl.succeeds("create namespace production");
    let daemon = sample(stage, include_str!("../../../examples/namespace-centric.yaml")).start_ready();
    let manifest = |api: &str, kind: &str, rest: &str| {
        let metadata = r#""metadata": {"name": "web", "namespace": "production", "labels": {"app": "nginx"}}"#;
        cluster.kubectl.create(&format!(r#"{{"apiVersion": "{api}", "kind": "{kind}", {metadata}, "spec": {{{rest}}}}}"#));
    };
    let template = r#""template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {"restartPolicy": "RESTART",
        "containers": [{"name": "c", "image": "none.test/none"}]}}"#;
    manifest("v1", "Pod", r#""containers": [{"name": "c", "image": "none.test/none"}]"#);
    manifest("v1", "Service", r#""ports": [{"port": 80}]"#);
    let deployment = template.replace("RESTART", "Always");
    manifest(
        "apps/v1",
        "Deployment",
        &format!(r#""replicas": 0, "selector": {{"matchLabels": {{"app": "nginx"}}}}, {deployment}"#),
    );
    manifest("batch/v1", "Job", &format!(r#""parallelism": 0, {}"#, template.replace("RESTART", "Never")));
    cluster.kubectl.run("run other -n production --image=none.test/none");
    cluster.kubectl.run("delete pod web -n production --grace-period=0 --force");
    for gvr in ["v1/pods", "v1/services", "apps/v1/deployments", "batch/v1/jobs"] {
        daemon.wait_for_lines(gvr, |lines| lines.iter().any(|line| line.gvr == gvr && line.brief() == "ADDED production/web"));
    }
    daemon.wait_for("DELETED production/web");
    let ended = daemon.stop();
    assert!(ended.lines.iter().all(|line| line.name == "web"), "the selector lets through what it should not");
}

/// Before 1.21 `CronJobs` are served under `v1beta1` only: there the sample is refused, and the message names the cure.
pub(super) fn the_resource_centric_sample(stage: &Stage) {
    let cluster = stage.shared();
    let text = include_str!("../../../examples/resource-centric.yaml");
    let mut setup = sample(stage, text);
    let version = if cluster.kubectl.succeeds("get --raw /apis/batch/v1/namespaces/default/cronjobs") { "v1" } else { "v1beta1" };
    if version == "v1beta1" {
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(2), "{}", ended.log);
        assert!(ended.log.contains("batch/v1/cronjobs") && ended.log.contains("batch/v1beta1/cronjobs"), "{}", ended.log);
        setup = sample(stage, &text.replace("batch/v1/cronjobs", "batch/v1beta1/cronjobs"));
    }
    let daemon = setup.start_ready();
    for (namespace, name, labels) in
        [("default", "web", "app=web"), ("kube-system", "web", "app=web"), ("default", "db", "app=db")]
    {
        cluster.kubectl.run(&format!("create configmap {name} -n {namespace}"));
        cluster.kubectl.run(&format!("label configmap {name} -n {namespace} {labels}"));
    }
    cluster.kubectl.succeeds("create namespace production");
    for name in ["other-job", "backup-job"] {
        let job = r#""jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none.test/none"}]}}}}"#;
        let metadata = format!(r#""metadata": {{"name": "{name}", "namespace": "production"}}"#);
        let spec = format!(r#""spec": {{"suspend": true, "schedule": "0 0 1 1 *", {job}}}"#);
        cluster.kubectl.create(&format!(r#"{{"apiVersion": "batch/{version}", "kind": "CronJob", {metadata}, {spec}}}"#));
    }
    let expected = ["ADDED default/web", "ADDED kube-system/web", "ADDED production/backup-job"];
    expected.iter().for_each(|brief| daemon.wait_for(brief));
    let mut told: Vec<String> = daemon.stop().lines.iter().map(crate::lines::Line::brief).collect();
    told.sort();
    assert_eq!(told, expected);
}

fn sample(stage: &Stage, text: &str) -> Setup {
    let setup = Setup::bare().kubeconfig(&stage.shared().admin()).secrets(stage.shared());
    let config = text.replace("port: 8080", &format!("port: {}", setup.port()));
    let output = format!("--output-dir {}", setup.output().display());
    setup.config(&config).arguments(&output)
}
