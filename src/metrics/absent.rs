//! What stands here in a build without the feature `metrics`: the same handles, which count nothing and cost nothing.
//!
//! Stations count in every build, so that none of them asks which one it is.

mod reasons;

pub use reasons::{RelistReason, RestartReason};

use crate::api::Watch;
use crate::event::EventType;
use std::time::{Duration, SystemTime};

/// All metrics of one Faro: none.
#[derive(Clone, Debug, Default)]
pub struct Metrics(());

/// The metrics of one watch: none.
#[derive(Clone, Debug, Default)]
pub struct WatchMetrics(());

impl Metrics {
    /// Metrics that count nothing.
    pub fn new(_cluster_name: Option<&str>) -> Self {
        Self::default()
    }

    /// The handles for one watch.
    pub fn watch(&self, _watch: &Watch) -> WatchMetrics {
        WatchMetrics::default()
    }

    /// Lines were written, of so many bytes in all.
    pub fn written(&self, _lines: u64, _bytes: u64) {}

    /// The state now holds all that was accepted; `committed`: by a commit.
    pub fn checkpointed(&self, _committed: bool) {}

    /// The state takes so many bytes on its disk.
    pub fn state_bytes(&self, _bytes: u64) {}

    /// The configuration was read again; `is_ok`: and taken.
    pub fn reloaded(&self, _is_ok: bool) {}
}

impl WatchMetrics {
    /// An event that was `received` then was sent on; `inferred` when found by comparison.
    pub fn event(&self, _event_type: EventType, _inferred: bool, _received: SystemTime) {}

    /// The watch was opened again.
    pub fn restart(&self, _reason: RestartReason) {}

    /// Everything is listed again.
    pub fn relist(&self, _reason: RelistReason) {}

    /// Bytes were received.
    pub fn bytes_received(&self, _bytes: u64) {}

    /// A line of so many bytes is written.
    pub fn bytes_written(&self, _bytes: u64) {}

    /// A line or an object could not be read.
    pub fn decode_error(&self) {}

    /// A bookmark came.
    pub fn bookmark(&self) {}

    /// The store holds so many objects more (or fewer) than when last told.
    pub fn tracked_changed(&self, _delta: i64) {}

    /// The first list took this long.
    pub fn synced_after(&self, _duration: Duration) {}

    /// So long was waited for credit.
    pub fn waited_for_credit(&self, _duration: Duration) {}

    /// An event was accepted this long after it was received.
    pub fn accepted(&self, _lag: Duration) {}

    /// So many events more (or fewer) are in flight.
    pub fn in_flight_changed(&self, _delta: i64) {}

    /// A handler took this long, and whether it failed.
    pub fn handled(&self, _duration: Duration, _failed: bool) {}

    /// A handler refused an event at every attempt.
    pub fn handler_given_up(&self) {}

    /// So many events more (or fewer) are parked.
    pub fn parked_changed(&self, _delta: i64) {}

    /// So many events more (or fewer) are owed.
    pub fn owed_changed(&self, _delta: i64) {}

    /// States in between will not be delivered.
    pub fn skipped(&self, _events: u64) {}

    /// A JSON middleware panicked.
    pub fn middleware_panicked(&self) {}

    /// A JSON middleware dropped the line of an event.
    pub fn record_dropped(&self) {}
}
