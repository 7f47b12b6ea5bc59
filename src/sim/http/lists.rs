//! How many lists are under way, as a server sees it: from the arrival of a request until its answer is about to go out.

use crate::lifecycle::Stop;
use crate::sim::api::Request;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The lists of one server.
#[derive(Debug, Default)]
pub(in crate::sim) struct Lists {
    /// How long each takes.
    time: Duration,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Lists {
    pub(in crate::sim) fn taking(time: Duration) -> Self {
        Self { time, ..Self::default() }
    }

    /// So many were under way at once, at most.
    pub(in crate::sim) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// Lets the time of a list pass, if `request` is one.
    pub(super) fn pass(&self, request: &Request, stop: &Stop) {
        if !is_list(request) {
            return;
        }
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        stop.wait(self.time);
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A page or a streaming list, and no probe of a version.
fn is_list(request: &Request) -> bool {
    let has = |name: &str| request.query.iter().any(|(key, value)| key == name && !value.is_empty());
    request.method == "GET" && (has("sendInitialEvents") || has("limit") && !has("watch") && !has("resourceVersion"))
}
