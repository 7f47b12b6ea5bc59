//! The same program against canned answers.

use crate::canned;
use crate::watching;
use faro::client::Client;
use faro::config::Config;
use std::error::Error;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Long enough for a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

/// Fails unless the handler is told what there is, and a build without features says what it lacks.
pub fn run() -> Result<(), Box<dyn Error>> {
    let server = canned::Server::start()?;
    let (telling, told) = sync_channel(100);
    let client = Client::from_kubeconfig(server.kubeconfig(), None)?;
    let controller = watching::controller(client, move |line| Ok(telling.send(line)?))?;
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
    if ended.unfinished > 0 {
        return Err(format!("{ended:?}").into());
    }
    for (feature, asking) in [
        ("compress", "compress: gzip"),
        ("export", "json_export: true"),
        ("metrics", "metrics: {port: 8080}"),
        ("state", "state: {enabled: true}"),
    ] {
        refuses(feature, asking)?;
    }
    Ok(())
}

/// What is asked for by name is never left out without a word.
fn refuses(feature: &str, asking: &str) -> Result<(), Box<dyn Error>> {
    let yaml = format!("output_dir: unused\nresources: [{{gvr: v1/pods}}]\n{asking}\n");
    match Config::from_yaml(&yaml, "config.yaml") {
        Err(error) if error.to_string().contains(&format!("feature `{feature}`")) => {
            println!("{error}");
            Ok(())
        }
        other => Err(format!("{feature}: {other:?}").into()),
    }
}
