//! What is asked of the server beside the watches: each question ends with the run.

use crate::client::{Client, Interrupt, Transport};
use crate::lifecycle::Stop;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The surveys under way.
#[derive(Default)]
pub(super) struct Surveys(Mutex<Vec<Weak<Interrupt>>>);

/// A transport that ends when the controller stops.
pub(super) struct Survey {
    pub(super) transport: Transport,
    // Known to the surveys for as long as this lives.
    _interrupt: Arc<Interrupt>,
}

impl Surveys {
    /// One more; when `stop` was requested already it is ended from the start.
    pub(super) fn begin(&self, client: &Client, stop: &Stop) -> Survey {
        let transport = client.transport();
        let interrupt = Arc::new(transport.interrupt());
        {
            let mut surveys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            surveys.retain(|survey| survey.strong_count() > 0);
            surveys.push(Arc::downgrade(&interrupt));
        }
        // Whoever stops may have looked through them before this one was there.
        if stop.is_requested() {
            interrupt.interrupt();
        }
        Survey { transport, _interrupt: interrupt }
    }

    /// Ends all of them.
    pub(super) fn interrupt(&self) {
        let surveys = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        surveys.iter().filter_map(Weak::upgrade).for_each(|interrupt| interrupt.interrupt());
    }
}
