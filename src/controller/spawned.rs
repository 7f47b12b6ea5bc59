//! A controller that runs on a thread of its own, for programs that have something else to do.

use super::{Controller, ControllerError, Summary, thread};
use crate::lifecycle::Joined;
use crossbeam_channel::{Receiver, bounded};

/// A run on a thread of its own. Dropping it stops the run and waits for its end.
#[must_use = "dropping it stops the run; keep it, or `join` it"]
pub struct Spawned {
    controller: Controller,
    ended: Receiver<Result<Summary, ControllerError>>,
    // Joined after the stop that dropping asks for.
    _thread: Joined,
}

impl Spawned {
    pub(super) fn start(controller: Controller) -> Result<Self, ControllerError> {
        let (sender, ended) = bounded(1);
        let running = controller.clone();
        let _thread = thread("faro", move || {
            // Whoever waited may have gone.
            _ = sender.send(running.start());
        })?;
        Ok(Self { controller, ended, _thread })
    }

    /// The controller that runs.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Asks the run to end. Returns at once.
    pub fn stop(&self) {
        self.controller.stop();
    }

    /// Waits for the end of the run, which somebody must have asked for.
    ///
    /// # Errors
    ///
    /// As for [`Controller::start`].
    ///
    /// # Panics
    ///
    /// When the run has panicked.
    ///
    /// # Blocking
    ///
    /// Until the run has ended.
    pub fn join(self) -> Result<Summary, ControllerError> {
        self.ended.recv().expect("a run that does not panic tells how it ended")
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.stop();
    }
}
