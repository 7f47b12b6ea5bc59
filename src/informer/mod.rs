//! Lists and watches one target, and tells every difference.
//!
//! An [`Informer`] runs on one thread of its own. It takes pages and lines from a [`ListWatch`], compares them with what it
//! told before, and hands [`MatchedEvent`](crate::event::MatchedEvent)s to an [`Outlet`] without knowing who is behind it.
//! Whatever the server or the network do, the last state of every object and the delete of every object that was told are
//! told, each object's events in order.
//!
//! Inside, a pure state machine decides, the teller compares, and the driver does the I/O between them.

mod backoff;
mod cluster_check;
mod dirt;
mod driver;
#[cfg(test)]
mod driver_tests;
mod gate;
#[cfg(test)]
mod golden;
mod handover;
mod held;
mod history;
mod machine;
mod outage;
mod page_trail;
mod paging;
mod replay;
mod report;
mod server;
#[cfg(test)]
mod simulation;
mod store;
mod stream;
mod streaming;
mod teller;
#[cfg(test)]
mod testing;
mod texts;
mod timing;
mod unreadable;

pub use cluster_check::ClusterCheck;
pub use gate::{Entrant, ListGate, MAX_CONCURRENT_LISTS, Permit, Turn, Wide};
pub use history::Histories;
pub use server::Server;
pub use texts::{Recall, TEXT_BYTES_MAX, TextBudget};
pub use timing::Limits;

use crate::api::{Anchor, HISTORY_FIRST, Identity, Known, ResourceVersion, ToldId, Watch};
use crate::change::Redaction;
use crate::client::ListWatch;
use crate::event::{Emission, Outlet};
use crate::health::{Pulse, WatchStatus};
use crate::lifecycle::Stop;
use crate::metrics::WatchMetrics;
use driver::Driver;
use std::fmt;
use std::sync::Arc;

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
    /// What the informers of one server know together.
    pub server: Server,
    /// Shared by all informers of one cluster.
    pub histories: Histories,
    /// Looks whose server it is; `None` where the cluster cannot be known.
    pub cluster: Option<Arc<dyn ClusterCheck>>,
    /// The sign of life of the informer's thread.
    pub pulse: Pulse,
    /// How long to wait for what.
    pub limits: Limits,
    /// The source asks for metadata only. Of whole objects that come all the same only the metadata is read, and of secrets nothing.
    pub content_is_metadata: bool,
    /// What is written of an object's annotations.
    pub redaction: Arc<Redaction>,
    /// The objects that are there when the watch lists for the very first time are remembered, not told.
    pub skip_initial: bool,
}

/// What is known of the objects of a watch, and where the rest of it is remembered.
pub enum Knowledge {
    /// In memory, all of it.
    Here(Vec<Identity>),
    /// In memory who they are and their versions; names, labels and annotations with another.
    There {
        /// By the keys that the other knows, too.
        known: Known,
        /// The other.
        recall: Arc<dyn Recall>,
    },
}

impl FromIterator<Identity> for Knowledge {
    fn from_iter<I: IntoIterator<Item = Identity>>(identities: I) -> Self {
        Self::Here(identities.into_iter().collect())
    }
}

impl Default for Knowledge {
    fn default() -> Self {
        Self::Here(Vec::new())
    }
}

impl fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(identities) => f.debug_tuple("Here").field(&identities.len()).finish(),
            Self::There { known, .. } => f.debug_tuple("There").field(&known.len()).finish(),
        }
    }
}

/// Where an earlier run of a watch has come to. The default is that of a watch that never ran.
#[derive(Debug)]
pub struct Resume {
    /// Every object that was told and not told as deleted since.
    pub known: Knowledge,
    /// Everything up to this version was told; `None` where a list was under way, so that all is listed and compared with
    /// `known`.
    pub version: Option<ResourceVersion>,
    /// The newest event up to `version`.
    pub anchor: Option<Anchor>,
    /// Which history of the cluster all this is of.
    pub history: u32,
    /// What was told beyond `version`.
    pub told: Vec<ToldId>,
    /// What was handed out beyond `version` and not accepted by all of its receivers.
    pub lacking: Vec<Emission>,
    /// Of what was handed out beyond `version`, the hashes of the objects' metadata, where they are known.
    pub hashes: Vec<(ToldId, u64)>,
    /// A first list has ended: what is new since then is no longer initial.
    pub listed_before: bool,
}

impl Default for Resume {
    fn default() -> Self {
        let (known, version, anchor, told, lacking, hashes) = Default::default();
        Self { known, version, anchor, history: HISTORY_FIRST, told, lacking, hashes, listed_before: false }
    }
}

/// Lists and watches one target until it is stopped.
pub struct Informer {
    watch: Arc<Watch>,
    source: Box<dyn ListWatch>,
    outlet: Box<dyn Outlet>,
    context: Context,
    resume: Resume,
    random: fastrand::Rng,
}

impl Informer {
    /// An informer that knows nothing yet: it tells every object there is as `ADDED` and initial.
    pub fn new(watch: Arc<Watch>, source: Box<dyn ListWatch>, outlet: Box<dyn Outlet>, mut context: Context) -> Self {
        context.content_is_metadata |= watch.target.gvr.is_secrets();
        Self { watch, source, outlet, context, resume: Resume::default(), random: fastrand::Rng::new() }
    }

    /// Goes on from where an earlier run has come to.
    #[must_use]
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
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
