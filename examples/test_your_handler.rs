//! How to test a handler without a cluster: `cargo run --example test_your_handler`.
//!
//! The handler counts the pods that crash. The test lets a pod crash in a simulated cluster, takes the API server away while
//! it crashes again, and finds that the handler has seen it all the same.

use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::{EventHandler, HandlerError};
use faro::event::MatchedEvent;
use faro::sim::Cluster;
use std::error::Error;

/// The handler under test: tells each state in which a pod is crashing.
struct CrashAlarm(crossbeam_channel::Sender<String>);

impl EventHandler for CrashAlarm {
    fn on_matched(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        let pod = event.value()?;
        let container = &pod["status"]["containerStatuses"][0];
        if container["state"]["waiting"]["reason"] == "CrashLoopBackOff" {
            self.0.send(format!("{} crashed {} times", event.name(), container["restartCount"]))?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::start()?;
    cluster.create("{apiVersion: v1, kind: Pod, metadata: {name: web}, status: {phase: Running}}")?;

    let config = Config::builder("unused").resource(ResourceConfig::new("v1/pods"));
    let config = config.json_export(false).state(false).without_metrics().build()?;
    let controller = Controller::new(cluster.client(), config);
    let (alarm, alarms) = crossbeam_channel::bounded(10);
    _ = controller.add_event_handler(CrashAlarm(alarm))?;
    let running = controller.spawn()?;

    let crash = |count: u32| {
        let container = format!("{{restartCount: {count}, state: {{waiting: {{reason: CrashLoopBackOff}}}}}}");
        cluster.patch("v1/pods", "default/web", &format!("{{status: {{containerStatuses: [{container}]}}}}"))
    };
    crash(1)?;
    assert_eq!(alarms.recv()?, "web crashed 1 times");

    cluster.down();
    crash(2)?;
    cluster.up()?;
    assert_eq!(alarms.recv()?, "web crashed 2 times");

    running.stop();
    running.join()?;
    Ok(())
}
