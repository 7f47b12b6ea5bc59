//! Kinds that come and go: their definitions are made before the start, after it, taken away, or lose a version.

use crate::cluster::Cluster;
use crate::daemon::{Daemon, Setup};
use crate::runner::Stage;
use crate::wait::pause;
use serde_json::json;
use std::time::Duration;

/// A custom resource of its own group.
struct Widgets<'a> {
    cluster: &'a Cluster,
    group: String,
    namespace: String,
}

pub(super) fn a_custom_resource_defined_before_the_start(stage: &Stage) {
    let widgets = Widgets::new(stage.shared());
    widgets.define();
    let daemon = widgets.watch("v1");
    widgets.create("a");
    widgets.kubectl("delete widgets.GROUP a -n NS");
    widgets.expect(daemon, &["ADDED NS/a", "DELETED NS/a"]);
}

pub(super) fn a_custom_resource_defined_5_s_after_the_start(stage: &Stage) {
    let widgets = Widgets::new(stage.shared());
    let daemon = widgets.watch("v1");
    daemon.wait_for_log(&["warn", &widgets.group]);
    pause(Duration::from_secs(5));
    widgets.define();
    widgets.create("a");
    widgets.wait_for(&daemon, "/a");
    widgets.kubectl("delete widgets.GROUP a -n NS");
    widgets.wait_for(&daemon, "DELETED NS/a");
    let told = widgets.told(daemon);
    assert!(told == ["ADDED NS/a", "DELETED NS/a"] || told == ["ADDED NS/a initial", "DELETED NS/a"], "{told:?}");
}

/// The objects go with their definition; when it comes back, the watch starts anew.
pub(super) fn a_custom_resource_whose_definition_is_deleted(stage: &Stage) {
    let widgets = Widgets::new(stage.shared());
    widgets.define();
    widgets.create("a");
    widgets.create("b");
    let daemon = widgets.watch("v1");
    widgets.wait_for(&daemon, "ADDED NS/b initial");
    widgets.kubectl("delete crd widgets.GROUP");
    widgets.wait_for(&daemon, "DELETED NS/a");
    widgets.wait_for(&daemon, "DELETED NS/b");
    widgets.define();
    widgets.create("c");
    widgets.wait_for(&daemon, "ADDED NS/c");
    let mut told: Vec<String> =
        widgets.told(daemon).iter().map(|brief| brief.replace(" initial", "").replace(" inferred", "")).collect();
    told.sort();
    assert_eq!(told, ["ADDED NS/a", "ADDED NS/b", "ADDED NS/c", "DELETED NS/a", "DELETED NS/b"]);
}

/// The objects are still there, under another version: nothing is told as deleted, and the log names that version.
pub(super) fn a_version_that_stops_being_served_deletes_nothing(stage: &Stage) {
    let widgets = Widgets::new(stage.shared());
    widgets.define();
    widgets.create("a");
    let daemon = widgets.watch("v1alpha1");
    widgets.wait_for(&daemon, "ADDED NS/a initial");
    widgets
        .kubectl(r#"patch crd widgets.GROUP --type=json -p [{"op":"replace","path":"/spec/versions/1/served","value":false}]"#);
    daemon.wait_for_log(&["warn", &widgets.group, "v1alpha1", &format!("{}/v1/widgets", widgets.group)]);
    widgets.kubectl(r#"patch crd widgets.GROUP --type=json -p [{"op":"replace","path":"/spec/versions/1/served","value":true}]"#);
    widgets.create("b");
    widgets.wait_for(&daemon, "NS/b");
    let told = widgets.told(daemon);
    assert!(!told.iter().any(|brief| brief.starts_with("DELETED")), "{told:?}");
    assert_eq!(told.iter().filter(|brief| brief.contains("NS/a")).count(), 1, "{told:?}");
}

impl<'a> Widgets<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, group: format!("{}.test", cluster.name("group")), namespace: cluster.namespace("widgets") }
    }

    /// Two versions, the first of them stored; done when the server says so.
    fn define(&self) {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
        let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
        let spec = json!({"group": self.group, "scope": "Namespaced", "names": names, "versions": [version("v1", true), version("v1alpha1", false)]});
        let metadata = json!({"name": format!("widgets.{}", self.group)});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec});
        self.cluster.kubectl.create(&crd.to_string());
        self.kubectl("wait --for=condition=established --timeout=30s crd widgets.GROUP");
    }

    fn create(&self, name: &str) {
        let path = format!("/apis/{}/v1/namespaces/{}/widgets", self.group, self.namespace);
        let metadata = json!({"name": name, "namespace": self.namespace});
        let body =
            json!({"apiVersion": format!("{}/v1", self.group), "kind": "Widget", "metadata": metadata, "spec": {"size": 1}});
        self.cluster.writer.create(&path, &body.to_string());
    }

    /// `GROUP` and `NS` stand for the group and the namespace.
    fn kubectl(&self, arguments: &str) {
        self.cluster.kubectl.run(&arguments.replace("GROUP", &self.group).replace("NS", &self.namespace));
    }

    fn watch(&self, version: &str) -> Daemon {
        let config =
            format!("namespaces: [{{name_selector: {}, resources: {{{}/{version}/widgets: {{}}}}}}]", self.namespace, self.group);
        Setup::new(self.cluster, &config).start_ready()
    }

    fn wait_for(&self, daemon: &Daemon, brief: &str) {
        let brief = brief.replace("NS", &self.namespace);
        daemon.wait_for_lines(&brief, |lines| lines.iter().any(|line| line.brief().contains(&brief)));
    }

    fn expect(&self, daemon: Daemon, expected: &[&str]) {
        expected.iter().for_each(|brief| self.wait_for(&daemon, brief));
        assert_eq!(self.told(daemon), expected);
    }

    fn told(&self, daemon: Daemon) -> Vec<String> {
        daemon.stop().lines.iter().map(|line| line.brief().replace(&self.namespace, "NS")).collect()
    }
}
