//! What the program does with Faro.

use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::HandlerError;
use faro::event::MatchedEvent;
use std::error::Error;

/// Watches until it is ended.
#[cfg_attr(feature = "check", expect(dead_code, reason = "a check watches canned answers, and ends"))]
pub fn run() -> Result<(), Box<dyn Error>> {
    let controller = controller(Client::try_default()?, |told| {
        println!("{told}");
        Ok(())
    })?;
    controller.start()?;
    Ok(())
}

/// Tells of each change to a config map what it is and what the map says.
pub fn controller(
    client: Client,
    tell: impl Fn(String) -> Result<(), HandlerError> + Send + Sync + 'static,
) -> Result<Controller, Box<dyn Error>> {
    let config = Config::builder("unused").resource(ResourceConfig::new("v1/configmaps")).build()?;
    let controller = Controller::new(client, config);
    _ = controller.add_event_handler(move |event: &MatchedEvent| -> Result<(), HandlerError> {
        let value = event.value()?;
        let key = value["data"]["key"].as_str().unwrap_or_default();
        tell(format!("{} {}/{} {key}", event.event_type, event.namespace(), event.name()))
    })?;
    Ok(controller)
}
