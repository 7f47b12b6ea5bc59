//! By kind to its own worker: each worker says which resources are its own, gets typed objects, and may fail.
//!
//! `cargo run --example worker_dispatcher` takes the cluster of your kubeconfig; Ctrl-C ends it. The dispatcher is Faro: every
//! subscription has lanes of its own, so that workers neither wait for each other nor see two changes of one object at once.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::{HandlerError, Retry, Subscription};
use faro::event::{EventType, MatchedEvent};
use faro::lifecycle::Joined;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;

/// Deals with the events of one resource.
trait Worker: Send + Sync + 'static {
    const GVR: &'static str;

    /// What an error says is tried again, five times in all: see [`register`].
    fn work(&self, event: &MatchedEvent) -> Result<(), HandlerError>;
}

struct ConfigMapWorker;

impl Worker for ConfigMapWorker {
    const GVR: &'static str = "v1/configmaps";

    fn work(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        if event.event_type == EventType::Deleted {
            println!("[config maps] {} is gone", event.key());
            return Ok(());
        }
        let data = event.object::<ConfigMap>()?.data.unwrap_or_default();
        if data.get("broken").is_some_and(|value| value == "true") {
            return Err("says of itself that it is broken".into());
        }
        println!("[config maps] {} has {:?}", event.key(), data.keys().collect::<Vec<_>>());
        Ok(())
    }
}

struct NamespaceWorker;

impl Worker for NamespaceWorker {
    const GVR: &'static str = "v1/namespaces";

    fn work(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        let phase = event.object::<Namespace>()?.status.and_then(|status| status.phase);
        println!("[namespaces] {} {} is {}", event.event_type, event.name(), phase.unwrap_or_default());
        Ok(())
    }
}

fn register<W: Worker>(controller: &Controller, worker: W) -> Result<(), Box<dyn Error>> {
    let own = Subscription::new().gvrs([W::GVR.parse()?]).retry(Retry::give_up_after(5)).on_gave_up(|event, error| {
        println!("[gave up] {} {}: {error}", event.gvr(), event.key());
    });
    _ = controller.subscribe(own, move |event: &MatchedEvent| worker.work(event))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let namespaces = vec!["default".to_owned(), "kube-system".to_owned()];
    // Nothing is written, so nothing is remembered: each run begins with all objects there are.
    let config = Config::builder("unused")
        .resource(ResourceConfig { namespace_names: namespaces, ..ResourceConfig::new(ConfigMapWorker::GVR) })
        .resource(ResourceConfig::new(NamespaceWorker::GVR))
        .json_export(false)
        .state(false)
        .without_metrics()
        .build()?;
    let controller = Controller::new(Client::try_default()?, config);
    register(&controller, ConfigMapWorker)?;
    register(&controller, NamespaceWorker)?;
    controller.set_ready_callback(|| println!("ready"))?;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (listening, stopping) = (signals.handle(), controller.clone());
    let _signals = Joined::spawn("signals", move || signals.forever().take(1).for_each(|_| stopping.stop()))?;
    let ended = controller.start();
    listening.close();
    ended?;
    Ok(())
}
