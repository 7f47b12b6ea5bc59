//! Reads the configuration again: when SIGHUP asks for it, and with `watch_config` when its file has changed.
//!
//! One thread does all of it, so that wishes which come together are one reload. What is wrong with a new configuration is
//! told in the log, every mistake on its line, and the one in force stays.

use crate::systemd::{Herald, News};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use faro::cli::{ConfigFile, Logger, chain};
use faro::controller::{Controller, ControllerError, Reloaded};
use faro::lifecycle::{Joined, Stop};
use std::io;
use std::time::{Duration, Instant};

/// Reloads until dropped.
pub(crate) struct Reloader {
    // Dropped before the thread: without anybody who asks, it ends.
    asked: Sender<()>,
    ended: Stop,
    _thread: Joined,
}

/// What a reload works on.
pub(crate) struct Reloading {
    pub(crate) controller: Controller,
    pub(crate) logger: Logger,
    pub(crate) file: ConfigFile,
    /// Whether to look at the file.
    pub(crate) is_watched: bool,
    pub(crate) herald: Herald,
}

/// How often the file is looked at. A kubelet brings a changed `ConfigMap` within a minute.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// After so long a reload is tried again that failed for want of a server or a disk.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How often it is tried until the start is over.
const START_CHECK: Duration = Duration::from_millis(50);

impl Reloader {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(reloading: Reloading) -> io::Result<Self> {
        // One wish that waits stands for all that come before it is fulfilled.
        let (asked, wishes) = bounded(1);
        let ended = Stop::new();
        let until = ended.clone();
        let thread = Joined::spawn("reload", move || reloading.run(&wishes, &until))?;
        Ok(Self { asked, ended, _thread: thread })
    }

    /// What asks for a reload, from any thread. It must be dropped before this.
    pub(crate) fn asker(&self) -> impl Fn() + Send + 'static {
        let asked = self.asked.clone();
        // Full means that a reload is about to begin, which will see what there is now.
        move || _ = asked.try_send(())
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.ended.request();
    }
}

impl Reloading {
    fn run(mut self, wishes: &Receiver<()>, ended: &Stop) {
        let mut again = None;
        loop {
            match wishes.recv_timeout(LOOK_INTERVAL) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) if self.is_watched && self.file.has_changed() => {
                    log::info!("{} has changed, reading it again", self.file.path().display());
                }
                Err(RecvTimeoutError::Timeout) if again.is_some_and(|at| Instant::now() >= at) => {}
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.herald.tell(News::Reloading);
            let outcome = self.reload(ended);
            self.herald.tell(News::Reloaded);
            again = match outcome {
                Outcome::Decided => None,
                Outcome::Again => Some(Instant::now() + RETRY_INTERVAL),
                Outcome::Ended => return,
            };
        }
    }

    fn reload(&self, ended: &Stop) -> Outcome {
        loop {
            if ended.is_requested() {
                return Outcome::Ended;
            }
            let mut level = None;
            let reloaded = self.controller.reload_from(|| {
                let config = self.file.load()?;
                level = Some(config.log_level);
                Ok(config)
            });
            match (reloaded, level) {
                // Not yet, or not any more.
                (Err(ControllerError::NotRunning), _) => drop(ended.wait(START_CHECK)),
                (Ok(Reloaded { started, stopped, kept, .. }), Some(level)) => {
                    self.logger.set_level(level);
                    log::info!(started, stopped, kept; "the configuration is in force");
                    return Outcome::Decided;
                }
                (Ok(_), None) => unreachable!("a configuration that was taken was read"),
                (Err(error), _) => return tell(&error),
            }
        }
    }
}

/// What came of a reload.
enum Outcome {
    /// The configuration was taken, or is wrong.
    Decided,
    /// It could not be checked for now.
    Again,
    /// The run is over.
    Ended,
}

/// Each mistake on a line of its own.
fn tell(error: &ControllerError) -> Outcome {
    let may_pass = matches!(error, ControllerError::Server { .. } | ControllerError::StateBusy);
    let next = if may_pass { ", and it will be tried again" } else { "" };
    log::error!("the configuration was not taken, nothing has changed{next}:");
    chain(error).lines().for_each(|line| log::error!("{line}"));
    if may_pass { Outcome::Again } else { Outcome::Decided }
}
