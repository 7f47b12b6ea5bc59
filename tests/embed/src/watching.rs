//! What the program does with Faro.

use crate::canned;
use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::{Controller, Summary};
use faro::dispatch::HandlerError;
use faro::event::MatchedEvent;
use std::error::Error;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Long enough for a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

/// Watches until it is ended, or, as a `test`, until it was told what there is.
pub fn run(test: bool) -> Result<(), Box<dyn Error>> {
    if !test {
        let (controller, _told) = controller(Client::try_default()?)?;
        controller.start()?;
        return Ok(());
    }
    let server = canned::Server::start()?;
    let (controller, told) = controller(Client::from_kubeconfig(server.kubeconfig(), None)?)?;
    let running = controller.spawn()?;
    for expected in ["ADDED demo/a value-1", "UPDATED demo/a value-2", "DELETED demo/a value-2"] {
        let found = told.recv_timeout(SOON)?;
        if found != expected {
            return Err(format!("expected {expected}, was told {found}").into());
        }
        println!("{found}");
    }
    running.stop();
    let ended = running.join()?;
    if ended == (Summary { unfinished: 0 }) { Ok(()) } else { Err(format!("{ended:?}").into()) }
}

fn controller(client: Client) -> Result<(Controller, Receiver<String>), Box<dyn Error>> {
    let config = Config::builder("unused")
        .without_metrics()
        .json_export(false)
        .state(false)
        .resource(ResourceConfig::new("v1/configmaps"))
        .build()?;
    let controller = Controller::new(client, config);
    let (telling, told) = sync_channel(100);
    controller.add_event_handler(move |event: &MatchedEvent| -> Result<(), HandlerError> {
        let value = event.value()?;
        let key = value["data"]["key"].as_str().unwrap_or_default();
        Ok(telling.send(format!("{} {}/{} {key}", event.event_type, event.namespace(), event.name()))?)
    });
    Ok((controller, told))
}
