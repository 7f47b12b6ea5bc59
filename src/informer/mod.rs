//! Lists and watches one target, and tells every difference.
//!
//! An [`Informer`] runs on one thread of its own. It takes pages and lines from a [`ListWatch`], compares them with what it
//! told before, and hands [`MatchedEvent`](crate::event::MatchedEvent)s to an [`Outlet`] without knowing who is behind it.
//! Whatever the server or the network do, the last state of every object and the delete of every object that was told are
//! told, each object's events in order.
//!
//! Inside, a pure state machine decides, the teller compares, and the driver does the I/O between them.

mod backoff;
mod dirt;
mod driver;
#[cfg(test)]
mod driver_tests;
mod gate;
#[cfg(test)]
mod golden;
mod handover;
mod machine;
mod report;
#[cfg(test)]
mod simulation;
mod store;
mod stream;
mod teller;
#[cfg(test)]
mod testing;
mod timing;

pub use gate::{ListGate, MAX_CONCURRENT_LISTS, Permit};
pub use timing::Limits;

use crate::api::{Object, ResourceVersion, Watch};
use crate::client::ListWatch;
use crate::event::Outlet;
use crate::health::{Pulse, WatchStatus};
use crate::lifecycle::Stop;
use crate::metrics::WatchMetrics;
use driver::Driver;
use std::sync::Arc;
use store::Store;

/// What an informer shares with the rest of Faro.
#[derive(Debug)]
pub struct Context {
    /// Ends the informer.
    pub stop: Stop,
    /// Kept up to date with how the watch is doing.
    pub status: Arc<WatchStatus>,
    /// Counts what the watch does.
    pub metrics: WatchMetrics,
    /// Shared by all informers of one server.
    pub gate: ListGate,
    /// The sign of life of the informer's thread.
    pub pulse: Pulse,
    /// How long to wait for what.
    pub limits: Limits,
    /// The source asks for metadata only: whole objects are dropped unread.
    pub content_is_metadata: bool,
}

/// Lists and watches one target until it is stopped.
pub struct Informer {
    watch: Arc<Watch>,
    source: Box<dyn ListWatch>,
    outlet: Box<dyn Outlet>,
    context: Context,
    store: Store,
    resume: Option<ResourceVersion>,
    listed_before: bool,
    random: fastrand::Rng,
}

impl Informer {
    /// An informer that knows nothing yet: it tells every object there is as `ADDED` and initial.
    pub fn new(watch: Arc<Watch>, source: Box<dyn ListWatch>, outlet: Box<dyn Outlet>, mut context: Context) -> Self {
        context.content_is_metadata |= watch.target.gvr.is_secrets();
        let store = Store::default();
        Self { watch, source, outlet, context, store, resume: None, listed_before: false, random: fastrand::Rng::new() }
    }

    /// Goes on from an earlier run, which told `known` (and no delete of it since) and everything up to `version`.
    ///
    /// Without a version, as when the earlier run ended during a list, everything is listed and compared with `known`.
    #[must_use]
    pub fn resume_from(mut self, known: impl IntoIterator<Item = Object>, version: Option<ResourceVersion>) -> Self {
        for object in known {
            self.store.put(&object.as_ref());
        }
        self.resume = version;
        self.listed_before = true;
        self
    }

    /// Lists and watches until the context's [`Stop`] is requested, the source is interrupted, or the outlet is closed. Nothing is sent after that.
    ///
    /// # Blocking
    ///
    /// Until then. A request under way ends only when the source is interrupted.
    pub fn run(self) {
        Driver::new(self).run();
    }
}
