//! The library in a program that adds, removes and stops while events flow, against a simulated API server.

mod adding;
mod churn;
mod ending;
mod handing;
mod misuse;
mod removing;
mod scope;
mod syncing;

use crate::support::lines::{self, Line};
use crate::support::wait::{SOON, eventually};
use faro::config::{Config, ConfigBuilder, ResourceConfig};
use faro::controller::{Controller, Spawned, Summary};
use faro::dispatch::HandlerError;
use faro::event::MatchedEvent;
use faro::sim::Cluster;
use std::fs;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A simulated cluster, and a folder for what controllers write and remember, one after the other.
struct Stage {
    cluster: Cluster,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { cluster: Cluster::builder().tls(false).start().unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    /// So patient that what waits for the end of the grace by mistake fails its test.
    fn config(&self) -> ConfigBuilder {
        Config::builder(self.folder.path()).without_metrics().shutdown_grace(10 * SOON)
    }

    /// Watches `gvrs` and what is added later.
    fn controller(&self, gvrs: &[&str]) -> Controller {
        self.controller_of(gvrs.iter().fold(self.config(), |config, gvr| config.resource(ResourceConfig::new(*gvr))))
    }

    fn controller_of(&self, config: ConfigBuilder) -> Controller {
        Controller::new(self.cluster.client(), config.build().unwrap())
    }

    /// Defines `widgets` of `group`, in its version `v1`.
    fn define(&self, group: &str) {
        let versions = "[{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]";
        let names = "{plural: widgets, singular: widget, kind: Widget}";
        let spec = format!("{{group: {group}, scope: Namespaced, names: {names}, versions: {versions}}}");
        let head = "apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition";
        self.cluster.create(&format!("{{{head}, metadata: {{name: widgets.{group}}}, spec: {spec}}}")).unwrap();
    }

    fn create_widget(&self, group: &str, name: &str) {
        self.cluster.create(&format!("{{apiVersion: {group}/v1, kind: Widget, metadata: {{name: {name}}}}}")).unwrap();
    }

    fn create_map(&self, name: &str) {
        self.cluster.create(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}")).unwrap();
    }

    fn touch(&self, gvr: &str, name: &str, value: &str) {
        self.cluster.label(gvr, &format!("default/{name}"), &[("touched", Some(value))]).unwrap();
    }

    fn lines(&self) -> Vec<Line> {
        lines::read(self.folder.path())
    }

    /// The lines of one gvr, in order.
    fn briefs_of(&self, gvr: &str) -> Vec<String> {
        self.lines().iter().filter(|line| line.gvr == gvr).map(Line::brief).collect()
    }
}

/// What a handler was told, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, event: &MatchedEvent) {
        self.0.lock().unwrap().push(brief(event));
    }

    /// A handler that notes everything.
    fn handler(&self) -> impl Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync + 'static {
        let heard = self.clone();
        move |event: &MatchedEvent| {
            heard.note(event);
            Ok(())
        }
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn wait_for(&self, brief: &str) {
        self.wait_for_times(brief, 1);
    }

    fn wait_for_times(&self, brief: &str, times: usize) {
        let count = || self.0.lock().unwrap().iter().filter(|told| *told == brief).count();
        eventually(SOON, &format!("{brief}, {times} times"), || count() >= times);
    }
}

/// `ADDED v1/configmaps default/a`.
fn brief(event: &MatchedEvent) -> String {
    format!("{} {} {}/{}", event.event_type, event.gvr(), event.namespace(), event.name())
}

fn resource(gvr: &str) -> [ResourceConfig; 1] {
    [ResourceConfig::new(gvr)]
}

fn wait_until_ready(controller: &Controller) {
    eventually(SOON, "it is ready", || controller.is_ready());
}

fn stop(running: Spawned) -> Summary {
    running.stop();
    running.join().unwrap()
}

/// The names of this program's threads that begin with `inf-` or `lane-` and what follows: those of one gvr, as far as 15 bytes
/// tell it from others.
fn threads_of(group: &str) -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while it is looked at.
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    let is_of_group = |name: &String| ["inf-", "lane-"].iter().any(|kind| name.starts_with(&format!("{kind}{group}")));
    names.map(|name| name.trim_end().to_owned()).filter(is_of_group).collect()
}
