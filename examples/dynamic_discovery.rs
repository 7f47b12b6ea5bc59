//! Dynamic discovery: every custom resource of the cluster, also of definitions that come while this runs.
//!
//! `cargo run --example dynamic_discovery` takes the cluster of your kubeconfig; Ctrl-C ends it. A definition that goes needs
//! nothing: its watch tells what went with it, and waits in case it returns.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::{HandlerError, Subscription, metadata_only};
use faro::event::{EventType, MatchedEvent};
use faro::lifecycle::Joined;
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;

const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

/// Of a definition what says which resource it defines.
#[derive(Deserialize)]
struct Definition {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    names: Names,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Names {
    plural: String,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    storage: bool,
}

impl Definition {
    /// In the version that is stored, as in `example.com/v1/widgets`.
    fn gvr(&self) -> Option<String> {
        let Spec { group, names, versions } = &self.spec;
        let stored = versions.iter().find(|version| version.storage)?;
        Some(format!("{group}/{}/{}", stored.name, names.plural))
    }
}

/// Watches what a definition defines, as soon as the server serves it.
fn watch_defined(controller: &Controller, event: &MatchedEvent) -> Result<(), HandlerError> {
    let gvr = event.object::<Definition>()?.gvr().ok_or("no version of it is stored")?;
    controller.add_resources(&[ResourceConfig::new(&gvr)])?;
    println!("watching {gvr}");
    Ok(())
}

fn print(event: &MatchedEvent) -> Result<(), HandlerError> {
    if event.gvr() != DEFINITIONS {
        println!("{} {} {}", event.event_type, event.gvr(), event.key());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    // Without state: a definition that an earlier run was told of must be told to this one too.
    let config = Config::builder("unused")
        .resource(ResourceConfig::new(DEFINITIONS))
        .json_export(false)
        .state(false)
        .without_metrics()
        .build()?;
    let controller = Controller::new(Client::try_default()?, config);

    let adding = controller.clone();
    let definitions = Subscription::new().gvrs([DEFINITIONS.parse()?]).event_types([EventType::Added]);
    _ = controller.subscribe(definitions, move |event: &MatchedEvent| watch_defined(&adding, event))?;
    _ = controller.add_event_handler(metadata_only(print))?;
    controller.set_ready_callback(|| println!("ready"))?;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (listening, stopping) = (signals.handle(), controller.clone());
    let _signals = Joined::spawn("signals", move || signals.forever().take(1).for_each(|_| stopping.stop()))?;
    let ended = controller.start();
    listening.close();
    ended?;
    Ok(())
}
