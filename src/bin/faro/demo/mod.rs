//! `faro demo`: a simulated cluster with a life of its own, and a real Faro that tells it.
//!
//! Three threads: the life changes the cluster and notes each change in the [`Book`]; Faro watches the cluster over HTTPS and
//! hands what it is told to the view, on the main thread, which strikes it off the book. The life ends first, then Faro, then
//! the view.

mod book;
mod flags;
mod life;
mod stories;
mod view;
mod words;
mod world;

pub(crate) use flags::{DemoFlags, help, parse};

use crate::{Failure, failed, signals};
use book::Book;
use crossbeam_channel::{Sender, bounded};
use faro::cli::Logger;
use faro::config::{Config, ConfigError};
use faro::controller::{Controller, ControllerError, Summary};
use faro::event::MatchedEvent;
use faro::lifecycle::{Joined, Stop};
use faro::sim::Cluster;
use life::{Life, Pace};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use view::{Change, Told, View};

/// Why the demo ends with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("cannot start the simulated cluster")]
    Cluster(#[source] io::Error),
    #[error("the simulated cluster has no room for the life")]
    Life(#[source] faro::sim::Refused),
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    #[error("{lost} changes were lost")]
    Lost { lost: u64 },
}

/// What is watched: one of everything that the life changes.
const CONFIG: &str = "
log_level: warning
log_file: false
metrics: {enabled: false}
resources:
  - gvr: v1/pods
  - gvr: v1/events
  - gvr: apps/v1/deployments
  - gvr: apps/v1/replicasets
  - gvr: batch/v1/jobs
  - gvr: demo.faro.dev/v1/backups
";

/// So many changes wait for the terminal; then Faro waits, too.
const UNSHOWN_MAX: usize = 1024;

/// Runs the demo to its end.
pub(crate) fn run(flags: &DemoFlags) -> Result<(), Failure> {
    let stop = Stop::new();
    let asked = stop.clone();
    let _listening = signals::listen(move || asked.request(), signals::Hangup::Stop).map_err(failed)?;

    let cluster = Cluster::builder().seed(flags.seed).start().map_err(DemoError::Cluster).map_err(failed)?;
    let config = config(&flags.output_dir, &cluster).map_err(failed)?;
    Logger::install(&config).map_err(failed)?;
    let cluster = Arc::new(cluster);
    let book = Arc::new(Book::default());
    let mut life = Life::new(Arc::clone(&cluster), Arc::clone(&book), flags.seed);
    life.settle(flags.objects).map_err(DemoError::Life).map_err(failed)?;

    let files = event_files(&flags.output_dir);
    let mut view = View::new(flags.plain, stop.clone());
    view.greet(flags, &cluster);
    let controller = Controller::new(cluster.client(), config);
    let (told, changes) = bounded(UNSHOWN_MAX);
    let over = Stop::new();
    let _faro = start_faro(&controller, told, &book, [stop.clone(), over.clone()]).map_err(failed)?;
    let pace = Pace { rate: flags.rate, limit: flags.limit };
    let ending = controller.clone();
    let life = Joined::spawn("life", move || {
        life.go_on(pace, &stop, &over);
        ending.stop();
    });
    let _life = life.inspect_err(|_| controller.stop()).map_err(failed)?;

    let ended = view.show(&changes, &book);
    let files: Vec<PathBuf> = event_files(&flags.output_dir).difference(&files).cloned().collect();
    finish(ended, view, &book, &files)
}

/// What Faro is asked for. Its state lies beside the cluster's kubeconfigs and goes with them: no other run sees this cluster again.
fn config(output_dir: &Path, cluster: &Cluster) -> Result<Config, ConfigError> {
    let state = cluster.kubeconfig().with_file_name("state");
    Config::from_yaml(&format!("output_dir: {output_dir:?}\nstate: {{dir: {state:?}}}{CONFIG}"), "the demo's configuration")
}

/// Runs Faro on a thread of its own, whose end requests `stops`; the last word it tells is how it ended.
fn start_faro(controller: &Controller, told: Sender<Told>, book: &Arc<Book>, stops: [Stop; 2]) -> io::Result<Joined> {
    let (handled, noted) = (told.clone(), Arc::clone(book));
    let handler = move |event: &MatchedEvent| {
        noted.told(event);
        // The view outlives Faro; without it nobody is left to be told.
        drop(handled.send(Told::Change(Change::of(event))));
        Ok(())
    };
    _ = controller.add_event_handler(handler).map_err(io::Error::other)?;
    let controller = controller.clone();
    Joined::spawn("faro", move || {
        let ended = controller.start();
        stops.iter().for_each(Stop::request);
        drop(told.send(Told::Ended(ended)));
    })
}

/// Sums up. A loss is a failure, as is an end that nobody asked for.
fn finish(ended: Result<Summary, ControllerError>, mut view: View, book: &Book, files: &[PathBuf]) -> Result<(), Failure> {
    ended.map_err(failed)?;
    let written = files.iter().map(|path| lines(path)).sum::<io::Result<u64>>().map_err(failed)?;
    let tally = book.tally();
    view.sum_up(&tally, files, written);
    view.into_result().map_err(DemoError::Stdout).map_err(failed)?;
    if tally.lost > 0 {
        return Err(failed(DemoError::Lost { lost: tally.lost }));
    }
    Ok(())
}

/// The files of events in `folder`; none while there is no folder.
fn event_files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

fn lines(path: &Path) -> io::Result<u64> {
    use io::BufRead;
    let mut file = io::BufReader::new(std::fs::File::open(path)?);
    let mut lines = 0;
    while file.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}
