//! Whether everything that is watched was listed, handed to its receivers and accepted by them.

use super::{Controller, ControllerError, thread};
use crate::health::{Liveness, Readiness};
use crate::lifecycle::Joined;
use std::time::{Duration, Instant};

/// How often a program that waits for it has the readiness looked at, until it is there.
const READY_CHECK: Duration = Duration::from_millis(20);

impl Controller {
    /// Whether it runs, the first list of every watch was read and accepted by every handler and output that it is for, also of
    /// watches that were added since, and files and state can be written. It is what `/ready` says.
    ///
    /// A watch that is forbidden, or whose kind is not served, has nothing to list, so that it is ready all the same;
    /// [`is_strictly_ready`](Self::is_strictly_ready) is the stricter question.
    pub fn is_ready(&self) -> bool {
        self.readiness().is_some_and(|readiness| readiness.ready)
    }

    /// Whether it is [ready](Self::is_ready), and every watch is heard just now: none is forbidden, none's kind is absent, and
    /// none has lost its server. It is what `/ready?strict=1` says.
    pub fn is_strictly_ready(&self) -> bool {
        self.readiness().is_some_and(|readiness| readiness.strictly_ready())
    }

    /// Waits until it [is ready](Self::is_ready), also from before [`start`](Self::start) on. Returns false when that does not come
    /// within `timeout`, or the controller is stopped.
    ///
    /// # Blocking
    ///
    /// For `timeout` at most. In a handler that would wait for the handler's own event.
    pub fn wait_until_synced(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.is_ready() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.0.stop.wait(left.min(READY_CHECK)) {
                return false;
            }
        }
        true
    }

    /// Whether it is [ready](Self::is_ready), and what is missing, as `/ready` tells it; `None` while nothing runs.
    pub fn readiness(&self) -> Option<Readiness> {
        self.0.at_work().map(|run| run.health().readiness())
    }

    /// Whether every thread lives and moves, as `/health` tells it; `None` while nothing runs.
    pub fn liveness(&self) -> Option<Liveness> {
        self.0.at_work().map(|run| run.health().liveness())
    }

    pub(super) fn call_when_ready(&self) -> Result<Option<Joined>, ControllerError> {
        let Some(callback) = self.0.registered().ready.take() else { return Ok(None) };
        let controller = self.clone();
        let watch = move || {
            while !controller.is_ready() {
                if controller.0.stop.wait(READY_CHECK) {
                    return;
                }
            }
            callback();
        };
        thread("ready", watch).map(Some)
    }
}
