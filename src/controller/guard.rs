//! Looks whether the server is still that of the cluster which is watched, and ends the run when it is not.
//!
//! Takes the cluster's uid as it was at the start; answers informers that have lost the server for a while, each question of many
//! at once only one time.

use super::memory::OtherCluster;
use super::turn::Turn;
use crate::client::{self, Interrupt, Transport};
use crate::informer::ClusterCheck;
use crate::lifecycle::Stop;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// One cluster, by the uid of its namespace `kube-system`.
pub(super) struct Guard {
    known: String,
    transport: Transport,
    /// One asks, the others wait for its answer.
    asking: Turn,
    /// When the question was asked that was answered last.
    confirmed: Mutex<Option<Instant>>,
    found: OnceLock<OtherCluster>,
    /// Of the run.
    stop: Stop,
}

impl Guard {
    pub(super) fn new(known: String, transport: Transport, stop: Stop) -> Self {
        let (asking, confirmed, found) = (Turn::default(), Mutex::default(), OnceLock::new());
        Self { known, transport, asking, confirmed, found, stop }
    }

    /// The other cluster that has taken the place of this one.
    pub(super) fn found(&self) -> Option<&OtherCluster> {
        self.found.get()
    }

    /// Ends the question under way.
    pub(super) fn interrupt(&self) -> Interrupt {
        self.transport.interrupt()
    }

    fn is_confirmed(&self, since: Instant) -> bool {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|confirmed| confirmed >= since)
    }
}

impl ClusterCheck for Guard {
    fn is_same(&self, since: Instant) -> Result<bool, client::Error> {
        let _turn = self.asking.take();
        if self.found.get().is_some() {
            return Ok(false);
        }
        if self.is_confirmed(since) {
            return Ok(true);
        }
        let asked = Instant::now();
        match self.transport.cluster_uid_again()? {
            Some(found) if found != self.known => {
                let server = self.transport.server().to_owned();
                let other = OtherCluster { server, known: self.known.clone(), found };
                self.found.get_or_init(|| other);
                self.stop.request();
                Ok(false)
            }
            // It may no longer be readable, which says nothing.
            Some(_) | None => {
                *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
                Ok(true)
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("known", &self.known).finish_non_exhaustive()
    }
}
