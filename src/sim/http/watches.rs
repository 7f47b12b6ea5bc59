//! How often each collection was watched: what shows whether a watch was left alone or begun again.

use crate::sim::api::Request;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The watch requests of one server, by the path of what they watch.
#[derive(Debug, Default)]
pub(in crate::sim) struct Watches(Mutex<BTreeMap<String, u64>>);

impl Watches {
    /// Counts a request whose answer is a stream.
    pub(super) fn note(&self, request: &Request) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(request.path.clone()).or_default() += 1;
    }

    /// How many came so far for this path, whatever their selectors.
    pub(in crate::sim) fn count(&self, path: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or_default()
    }
}
