//! Basic integration: config maps and namespaces, to a handler and to JSON lines in `./faro-events`.
//!
//! `cargo run --example library_usage` takes the cluster of your kubeconfig; Ctrl-C ends it. What it has told is remembered in
//! `faro-events/state`: run again, it tells what has changed since.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::{EventHandler, HandlerError, Interest};
use faro::event::MatchedEvent;
use faro::lifecycle::Joined;
use faro::sink::{JsonRecord, Verdict};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;

struct Printer;

impl EventHandler for Printer {
    fn on_matched(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        println!("{} {} {}", event.event_type, event.gvr(), event.key());
        Ok(())
    }

    /// Only metadata is looked at, so only metadata comes over the wire.
    fn interest(&self) -> Interest {
        Interest::Metadata
    }
}

/// JSON middleware: nobody reads this annotation in a line, and it is as long as its object.
fn without_last_applied(_event: &MatchedEvent, record: &mut JsonRecord) -> Verdict {
    record.remove_annotation("kubectl.kubernetes.io/last-applied-configuration");
    Verdict::Write
}

fn main() -> Result<(), Box<dyn Error>> {
    // Log lines go to stderr: RUST_LOG=info shows the life cycle.
    env_logger::init();

    let config = Config::builder("faro-events")
        .resource(ResourceConfig { namespace_names: vec!["default".to_owned()], ..ResourceConfig::new("v1/configmaps") })
        .resource(ResourceConfig::new("v1/namespaces"))
        .without_metrics()
        .build()?;
    let controller = Controller::new(Client::try_default()?, config);

    _ = controller.add_event_handler(Printer)?;
    controller.add_json_middleware(without_last_applied)?;
    let watching = controller.clone();
    controller.set_ready_callback(move || println!("ready: {} informers", watching.active_informers().configured))?;

    // The first Ctrl-C stops the controller, which drains and lets `start` return.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (listening, stopping) = (signals.handle(), controller.clone());
    let _signals = Joined::spawn("signals", move || signals.forever().take(1).for_each(|_| stopping.stop()))?;
    let ended = controller.start();
    listening.close();
    println!("stopped with {} events unfinished", ended?.unfinished);
    Ok(())
}
