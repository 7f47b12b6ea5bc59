//! The threads of one subscription's lanes, and the two ways in which they end: when their lanes are closed, or at once.

use super::lane::Lanes;
use crate::lifecycle::Joined;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

/// The workers of one subscription. Dropping it ends them at once; one that sits in a handler is waited for.
pub(super) struct Crew {
    lanes: Arc<Lanes>,
    workers: Vec<Joined>,
}

impl Crew {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: Arc::new(Lanes::new(lanes)), workers: Vec::new() }
    }

    pub(super) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    pub(super) fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.workers.push(Joined::spawn(name, body)?);
        Ok(())
    }

    /// The workers end when they have dealt with everything.
    pub(super) fn close(&self) {
        self.lanes.close();
    }

    /// The workers end at once; one that sits in a handler, when that returns.
    pub(super) fn stop(&self) {
        self.lanes.halt();
    }

    /// Waits for the workers' ends until `deadline`. Gives the one that is the calling thread, which ends later.
    pub(super) fn join_until(mut self, deadline: Instant) -> Option<Joined> {
        let (own, others): (Vec<_>, Vec<_>) = mem::take(&mut self.workers).into_iter().partition(Joined::is_current);
        for worker in others {
            let name = worker.name().to_owned();
            if !worker.join_until(deadline) {
                log::warn!("{name}: still in a handler, left alone");
            }
        }
        own.into_iter().next()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop();
    }
}
