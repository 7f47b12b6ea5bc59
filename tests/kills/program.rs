//! The embedding program: one slow receiver that fails at random, and refuses one object until it is released.

use super::load::STUCK;
use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::{HandlerError, Settings, Subscription};
use faro::event::MatchedEvent;
use faro::lifecycle::Stop;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long each call takes.
const CALL: Duration = Duration::from_millis(50);
/// One call in so many fails.
const FAILS_ONE_IN: u32 = 10;
const LANES: usize = 16;
/// Sooner than by default, so that the story need not wait for a minute.
const OWED_AFTER: Duration = Duration::from_secs(2);
/// Less than by default, so that some seconds of changes are more.
pub(crate) const OWED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where the receiver notes what it accepts.
pub(crate) fn book_path(folder: &Path) -> PathBuf {
    folder.join("book")
}

/// Whether the state knows what the receiver is owed, so that nothing else waits for it.
pub(crate) fn is_owed(folder: &Path) -> bool {
    let files = fs::read_dir(folder.join("faro").join("state")).into_iter().flatten().flatten();
    files.map(|file| file.file_name()).any(|name| name.to_string_lossy().starts_with("owed-"))
}

/// Lets the receiver accept the object that is stuck.
pub(crate) fn release(folder: &Path) {
    File::create(folder.join("released")).unwrap();
}

/// Runs until it is killed.
pub(crate) fn run(kubeconfig: &Path, folder: &Path) {
    let config = Config::builder(folder.join("faro")).json_export(false).without_metrics();
    let config = config.resource(ResourceConfig::new("v1/configmaps")).build().unwrap();
    let controller = Controller::new(Client::from_kubeconfig(kubeconfig, None).unwrap(), config);
    controller
        .set_handler_settings(Settings { owed_after: OWED_AFTER, parked_max_bytes: OWED_BYTES_MAX, ..Settings::default() })
        .unwrap();
    let book = OpenOptions::new().create(true).append(true).open(book_path(folder)).unwrap();
    let released = folder.join("released");
    let receive = move |event: &MatchedEvent| receive(event, &book, &released);
    _ = controller.subscribe(Subscription::new().name("receiver").lanes(LANES), receive).unwrap();
    let summary = controller.start();
    panic!("it ended by itself: {summary:?}");
}

fn receive(event: &MatchedEvent, mut book: &File, released: &Path) -> Result<(), HandlerError> {
    Stop::new().wait(CALL);
    if event.name() == STUCK && !released.exists() {
        return Err("stuck".into());
    }
    if fastrand::u32(0..FAILS_ONE_IN) == 0 {
        return Err("failed at random".into());
    }
    let (name, uid, version) = (event.name(), event.uid(), event.resource_version());
    // One write: whole in the file, or not there, whenever the process is killed.
    Ok(book.write_all(format!("{} {name} {uid} {version} {}\n", event.event_type, event.inferred).as_bytes())?)
}
