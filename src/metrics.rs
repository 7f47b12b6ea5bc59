//! Every metric of Faro, declared in one file. Labels come from closed sets, never from names, uids or error texts.

use crate::api::Watch;
use crate::event::EventType;
use std::time::Duration;

/// All metrics of one Faro, shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Metrics;

/// The metrics of one watch, with their labels already looked up: counting costs a few nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct WatchMetrics;

/// Why a watch was opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// The server ended it, as it does after its timeout.
    Ended,
    /// The connection broke or could not be made.
    Connection,
    /// No byte and no end for longer than allowed.
    Silent,
    /// The receivers were busy for too long; Faro closed it.
    Slow,
    /// The server answered with an error.
    Error,
}

/// Why everything is listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelistReason {
    /// The server no longer has the version (410).
    Expired,
    /// The server does not know the version, as after a restore from a backup.
    UnknownVersion,
    /// The watch ended at once, or with an error, again and again from the same version.
    Stuck,
    /// An event could not be read, so a change may have been missed.
    Dirty,
    /// The list itself was interrupted.
    Interrupted,
    /// The kind was gone and came back, or was forbidden and is allowed again.
    Returned,
}

/// Which kind of change was found by comparison.
pub type InferredKind = EventType;

impl Metrics {
    /// The handles for one watch.
    pub fn watch(&self, watch: &Watch) -> WatchMetrics {
        let _ = watch;
        WatchMetrics
    }
}

impl WatchMetrics {
    /// An event was sent on; `inferred` when found by comparison.
    pub fn event(&self, event_type: EventType, inferred: bool) {
        let _ = (event_type, inferred);
    }

    /// The watch was opened again.
    pub fn restart(&self, reason: RestartReason) {
        let _ = reason;
    }

    /// Everything is listed again.
    pub fn relist(&self, reason: RelistReason) {
        let _ = reason;
    }

    /// Bytes were received.
    pub fn bytes_received(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A line or an object could not be read.
    pub fn decode_error(&self) {}

    /// A bookmark came.
    pub fn bookmark(&self) {}

    /// The store holds so many objects more (or fewer) than when last told.
    pub fn tracked_changed(&self, delta: i64) {
        let _ = delta;
    }

    /// The first list took this long.
    pub fn synced_after(&self, duration: Duration) {
        let _ = duration;
    }

    /// So long was waited for credit.
    pub fn waited_for_credit(&self, duration: Duration) {
        let _ = duration;
    }

    /// An event was accepted this long after it was received.
    pub fn accepted(&self, lag: Duration) {
        let _ = lag;
    }

    /// So many events more (or fewer) are in flight.
    pub fn in_flight_changed(&self, delta: i64) {
        let _ = delta;
    }

    /// A handler took this long, and whether it failed.
    pub fn handled(&self, duration: Duration, failed: bool) {
        let _ = (duration, failed);
    }
}

impl Metrics {
    /// Lines were written, of so many bytes in all.
    pub fn written(&self, lines: u64, bytes: u64) {
        let _ = (lines, bytes);
    }
}
