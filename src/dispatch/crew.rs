//! The threads of one gvr's lanes, and the two ways in which they end: with their lanes, or at once.

use crate::lifecycle::Joined;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The workers of one gvr. Dropping it ends them at once; one that sits in a handler is waited for.
pub(super) struct Crew {
    /// `None` once the workers must end at once.
    switch: Option<Sender<Infallible>>,
    halt: Halt,
    workers: Vec<Joined>,
}

/// How a worker learns that it must end at once.
#[derive(Clone)]
pub(super) struct Halt {
    halted: Arc<AtomicBool>,
    /// Disconnected when it must.
    pub(super) signal: Receiver<Infallible>,
}

impl Halt {
    pub(super) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }
}

impl Crew {
    pub(super) fn new() -> Self {
        let (switch, signal) = bounded(0);
        Self { switch: Some(switch), halt: Halt { halted: Arc::default(), signal }, workers: Vec::new() }
    }

    pub(super) fn halt(&self) -> Halt {
        self.halt.clone()
    }

    pub(super) fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.workers.push(Joined::spawn(name, body)?);
        Ok(())
    }

    /// The workers end at once; one that sits in a handler, when that returns.
    pub(super) fn stop(&mut self) {
        self.halt.halted.store(true, Ordering::Relaxed);
        self.switch = None;
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
