//! The library inside a program, against a real API server: what the integration tests of the Go original show.

use crate::cluster::Cluster;
use crate::lines::{self, Line};
use crate::runner::Stage;
use crate::wait::{SOON, eventually};
use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::{Controller, Spawned};
use faro::dispatch::{HandlerError, Subscription};
use faro::event::{EventType, MatchedEvent};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

const CONFIG_MAPS: &str = "v1/configmaps";
const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";
const NAMESPACES: &str = "v1/namespaces";

/// Created, updated, deleted: a handler sees it, and so does whoever reads the file.
pub(super) fn vanilla_use_tells_a_handler_and_the_file(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("vanilla");
    let program = Program::new(cluster, in_namespace(CONFIG_MAPS, &namespace));
    let running = program.start();
    cluster.kubectl.run(&format!("create configmap a -n {namespace} --from-literal=key=value"));
    program.wait_for(&format!("ADDED {namespace}/a"));
    cluster.kubectl.run(&format!("label configmap a -n {namespace} touched=1"));
    program.wait_for(&format!("UPDATED {namespace}/a"));
    cluster.kubectl.run(&format!("delete configmap a -n {namespace}"));
    program.wait_for(&format!("DELETED {namespace}/a"));
    let told = ["ADDED", "UPDATED", "DELETED"].map(|event_type| format!("{event_type} {namespace}/a"));
    assert_eq!(program.told_of("/a"), told);
    assert_eq!(program.stop(running).into_iter().filter(|brief| brief.contains("/a")).collect::<Vec<_>>(), told);
}

/// A handler sees a definition that is made while it runs, and has its objects watched.
pub(super) fn dynamic_discovery_watches_a_kind_that_was_just_defined(stage: &Stage) {
    let cluster = stage.shared();
    let (group, namespace) = (format!("{}.test", cluster.name("dynamic")), cluster.namespace("dynamic"));
    let definition = format!("gadgets.{group}");
    let found = ResourceConfig { name_selector: Some(definition.clone()), ..ResourceConfig::new(DEFINITIONS) };
    let program = Program::new(cluster, found);
    let adding = program.controller.clone();
    program.subscribe(DEFINITIONS, move |event| {
        let spec = event.object::<CustomResourceDefinition>()?.spec;
        adding
            .add_resources(&[ResourceConfig::new(format!("{}/{}/{}", spec.group, spec.versions[0].name, spec.names.plural))])?;
        adding.start_informers()?;
        Ok(())
    });
    let running = program.start();
    assert_eq!(program.controller.active_informers().dynamic, 0);
    cluster.kubectl.create(&definition_of(&group));
    cluster.kubectl.run(&format!("wait --for=condition=established --timeout=30s crd {definition}"));
    program.wait_for(&format!("ADDED /{definition}"));
    let metadata = json!({"name": "a", "namespace": namespace});
    let gadget = json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": metadata}).to_string();
    cluster.writer.create(&format!("/apis/{group}/v1/namespaces/{namespace}/gadgets"), &gadget);
    program.wait_for(&format!("ADDED {namespace}/a"));
    assert_eq!(program.controller.active_informers().dynamic, 1);
    eventually(SOON, "ready, with the new kind", || program.controller.is_ready());
    cluster.kubectl.run(&format!("delete gadgets.{group} a -n {namespace}"));
    program.wait_for(&format!("DELETED {namespace}/a"));
    let lines = program.stop(running);
    let of_gadget: Vec<_> =
        lines.iter().filter(|brief| brief.contains("/a")).map(|brief| brief.replace(" initial", "")).collect();
    assert_eq!(of_gadget, [format!("ADDED {namespace}/a"), format!("DELETED {namespace}/a")]);
    cluster.kubectl.run(&format!("delete crd {definition}"));
}

/// Namespaces that carry a label are a workload's: what is in them is watched as long as they do, and as long as they are.
pub(super) fn a_workload_controller_follows_namespaces_that_come_and_go(stage: &Stage) {
    let cluster = stage.shared();
    let label = cluster.name("workload");
    let names = ["first", "second", "third"].map(|stem| cluster.namespace(stem));
    let [first, second, third] = &names;
    let workloads = ResourceConfig { label_selector: Some(label.clone()), ..ResourceConfig::new(NAMESPACES) };
    let program = Program::new(cluster, workloads);
    let following = program.controller.clone();
    program.subscribe(NAMESPACES, move |event| {
        let inside = [in_namespace(CONFIG_MAPS, &event.name())];
        match event.event_type {
            EventType::Added => {
                following.add_resources(&inside)?;
                following.start_informers()?;
            }
            EventType::Deleted => _ = following.remove_resources(&inside)?,
            EventType::Updated => {}
        }
        Ok(())
    });
    let create = |name: &str, namespace: &str| cluster.kubectl.run(&format!("create configmap {name} -n {namespace}"));
    let set_label = |namespace: &str, change: &str| cluster.kubectl.run(&format!("label namespace {namespace} {label}{change}"));
    set_label(first, "=yes");
    let running = program.start();
    program.wait_until_active(1);
    create("a", first);
    program.wait_for(&format!("ADDED {first}/a"));
    set_label(second, "=yes");
    program.wait_until_active(2);
    create("b", second);
    program.wait_for(&format!("ADDED {second}/b"));
    // It has never been one of the workload's, so nothing in it is told.
    create("c", third);
    set_label(first, "-");
    program.wait_until_active(1);
    create("unseen", first);
    create("d", second);
    program.wait_for(&format!("ADDED {second}/d"));
    assert_eq!(program.told_of(&format!("{first}/")), [format!("ADDED {first}/a")]);
    // It is one again: what came meanwhile is told, and nothing twice.
    set_label(first, "=yes");
    program.wait_for(&format!("ADDED {first}/unseen"));
    delete_namespace(cluster, second);
    program.wait_until_active(1);
    create("e", first);
    program.wait_for(&format!("ADDED {first}/e"));
    assert_eq!(program.told_of(&format!("{first}/")), ["a", "unseen", "e"].map(|name| format!("ADDED {first}/{name}")));
    assert_eq!(program.told_of(&format!("{third}/")), Vec::<String>::new());
    let lines = program.stop(running);
    let in_first = lines.iter().filter(|brief| brief.contains(&format!("{first}/")) && !brief.contains("kube-root-ca"));
    assert_eq!(in_first.count(), 3, "{lines:?}");
}

/// A server without controllers waits for somebody to say that the namespace is empty.
fn delete_namespace(cluster: &Cluster, name: &str) {
    cluster.kubectl.run(&format!("delete namespace {name} --wait=false"));
    let finalized = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}});
    cluster.kubectl.replace_raw(&format!("/api/v1/namespaces/{name}/finalize"), &finalized.to_string());
}

pub(super) fn definition_of(group: &str) -> String {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let names = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"});
    let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]);
    let spec = json!({"group": group, "scope": "Namespaced", "names": names, "versions": versions});
    let metadata = json!({"name": format!("gadgets.{group}")});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec})
        .to_string()
}

fn in_namespace(gvr: &str, namespace: &str) -> ResourceConfig {
    ResourceConfig { namespace_names: vec![namespace.to_owned()], ..ResourceConfig::new(gvr) }
}

/// A program that embeds Faro and notes what its handler is told.
struct Program {
    controller: Controller,
    told: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Program {
    fn new(cluster: &Cluster, resource: ResourceConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder for events");
        let config = Config::builder(folder.path()).without_metrics().resource(resource).build().expect("it is well formed");
        let client = Client::from_kubeconfig(&cluster.admin(), None).expect("the kubeconfig is the harness's");
        let (controller, told) = (Controller::new(client, config), Arc::<Mutex<Vec<String>>>::default());
        let noting = Arc::clone(&told);
        let noted = controller.add_event_handler(move |event: &MatchedEvent| {
            noting.lock().unwrap_or_else(PoisonError::into_inner).push(format!(
                "{} {}/{}",
                event.event_type,
                event.namespace(),
                event.name()
            ));
            Ok(())
        });
        _ = noted.expect("it has not started");
        Self { controller, told, folder }
    }

    fn subscribe(&self, gvr: &str, handler: impl Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync + 'static) {
        let subscription = Subscription::new().gvrs([gvr.parse().expect("a constant")]);
        _ = self.controller.subscribe(subscription, handler).expect("it has not started");
    }

    fn start(&self) -> Spawned {
        let running = self.controller.spawn().expect("a thread more");
        eventually(SOON, "it is ready", || self.controller.is_ready());
        running
    }

    fn wait_for(&self, brief: &str) {
        eventually(SOON, brief, || self.told_of(brief).iter().any(|told| told == brief));
    }

    fn wait_until_active(&self, dynamic: usize) {
        eventually(SOON, &format!("{dynamic} dynamic watches"), || self.controller.active_informers().dynamic == dynamic);
    }

    /// What the handler was told of objects with this in their `namespace/name`; a real cluster puts its own into each namespace.
    fn told_of(&self, part: &str) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|brief| brief.contains(part) && !brief.contains("kube-root-ca")).cloned().collect()
    }

    /// Gives the briefs of all lines.
    fn stop(&self, running: Spawned) -> Vec<String> {
        running.stop();
        assert_eq!(running.join().expect("it ends as asked").unfinished, 0);
        lines::read(self.folder.path()).iter().map(Line::brief).collect()
    }
}
