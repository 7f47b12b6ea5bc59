//! The metrics of one watch, with their labels looked up once.

use super::families::Families;
use super::{Metrics, RelistReason, RestartReason};
use crate::event::EventType;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The metrics of one watch, with their labels already looked up: counting costs a few nanoseconds.
///
/// Watches of one gvr share its series. The default one counts for nobody.
#[derive(Clone, Debug)]
pub struct WatchMetrics(Arc<Children>);

#[derive(Debug)]
struct Children {
    bookmark_millis: Arc<AtomicU64>,
    bytes_received: IntCounter,
    bytes_written: IntCounter,
    credit_wait_seconds: Histogram,
    decode_errors: IntCounter,
    events: [IntCounter; EventType::ALL.len()],
    events_in_flight: IntGauge,
    handler_failures: IntCounter,
    handler_given_up: IntCounter,
    handler_seconds: Histogram,
    inferred_events: [IntCounter; EventType::ALL.len()],
    last_event_timestamp: Gauge,
    middleware_panics: IntCounter,
    owed_events: IntGauge,
    parked_events: IntGauge,
    records_dropped: IntCounter,
    relists: [IntCounter; RelistReason::ALL.len()],
    skipped_events: IntCounter,
    sync_seconds: Histogram,
    tracked_resources: IntGauge,
    watch_lag_seconds: Histogram,
    watch_restarts: [IntCounter; RestartReason::ALL.len()],
}

impl Default for WatchMetrics {
    fn default() -> Self {
        Metrics::default().watch_of("")
    }
}

impl WatchMetrics {
    pub(super) fn new(families: &Families, gvr: &str, bookmark_millis: Arc<AtomicU64>) -> Self {
        let of_gvr = &[gvr];
        Self(Arc::new(Children {
            bookmark_millis,
            bytes_received: families.bytes_received.with_label_values(of_gvr),
            bytes_written: families.bytes_written_of_gvr.with_label_values(of_gvr),
            credit_wait_seconds: families.credit_wait_seconds.with_label_values(of_gvr),
            decode_errors: families.decode_errors.with_label_values(of_gvr),
            events: EventType::ALL.map(|kind| families.events.with_label_values(&[gvr, kind.as_str()])),
            events_in_flight: families.events_in_flight.with_label_values(of_gvr),
            handler_failures: families.handler_failures.with_label_values(of_gvr),
            handler_given_up: families.handler_given_up.with_label_values(of_gvr),
            handler_seconds: families.handler_seconds.with_label_values(of_gvr),
            inferred_events: EventType::ALL.map(|kind| families.inferred_events.with_label_values(&[gvr, kind.as_str()])),
            last_event_timestamp: families.last_event_timestamp.with_label_values(of_gvr),
            middleware_panics: families.middleware_panics.with_label_values(of_gvr),
            owed_events: families.owed_events.with_label_values(of_gvr),
            parked_events: families.parked_events.with_label_values(of_gvr),
            records_dropped: families.records_dropped.with_label_values(of_gvr),
            relists: RelistReason::ALL.map(|reason| families.relists.with_label_values(&[gvr, reason.as_str()])),
            skipped_events: families.skipped_events.with_label_values(of_gvr),
            sync_seconds: families.sync_seconds.with_label_values(of_gvr),
            tracked_resources: families.tracked_resources.with_label_values(of_gvr),
            watch_lag_seconds: families.watch_lag_seconds.with_label_values(of_gvr),
            watch_restarts: RestartReason::ALL.map(|reason| families.watch_restarts.with_label_values(&[gvr, reason.as_str()])),
        }))
    }

    /// An event that was `received` then was sent on; `inferred` when found by comparison.
    pub fn event(&self, event_type: EventType, inferred: bool, received: SystemTime) {
        self.0.events[event_type as usize].inc();
        if inferred {
            self.0.inferred_events[event_type as usize].inc();
        }
        self.0.last_event_timestamp.set(unix_millis_of(received) as f64 / 1000.0);
    }

    /// The watch was opened again.
    pub fn restart(&self, reason: RestartReason) {
        self.0.watch_restarts[reason as usize].inc();
    }

    /// Everything is listed again.
    pub fn relist(&self, reason: RelistReason) {
        self.0.relists[reason as usize].inc();
    }

    /// Bytes were received.
    pub fn bytes_received(&self, bytes: u64) {
        self.0.bytes_received.inc_by(bytes);
    }

    /// A line of so many bytes is written.
    pub fn bytes_written(&self, bytes: u64) {
        self.0.bytes_written.inc_by(bytes);
    }

    /// A line or an object could not be read.
    pub fn decode_error(&self) {
        self.0.decode_errors.inc();
    }

    /// A bookmark came.
    pub fn bookmark(&self) {
        self.0.bookmark_millis.store(unix_millis(), Ordering::Relaxed);
    }

    /// The store holds so many objects more (or fewer) than when last told.
    pub fn tracked_changed(&self, delta: i64) {
        self.0.tracked_resources.add(delta);
    }

    /// The first list took this long.
    pub fn synced_after(&self, duration: Duration) {
        self.0.sync_seconds.observe(duration.as_secs_f64());
    }

    /// So long was waited for credit.
    pub fn waited_for_credit(&self, duration: Duration) {
        self.0.credit_wait_seconds.observe(duration.as_secs_f64());
    }

    /// An event was accepted this long after it was received.
    pub fn accepted(&self, lag: Duration) {
        self.0.watch_lag_seconds.observe(lag.as_secs_f64());
    }

    /// So many events more (or fewer) are in flight.
    pub fn in_flight_changed(&self, delta: i64) {
        self.0.events_in_flight.add(delta);
    }

    /// A handler took this long, and whether it failed.
    pub fn handled(&self, duration: Duration, failed: bool) {
        self.0.handler_seconds.observe(duration.as_secs_f64());
        if failed {
            self.0.handler_failures.inc();
        }
    }

    /// A handler refused an event at every attempt.
    pub fn handler_given_up(&self) {
        self.0.handler_given_up.inc();
    }

    /// So many events more (or fewer) are parked.
    pub fn parked_changed(&self, delta: i64) {
        self.0.parked_events.add(delta);
    }

    /// So many events more (or fewer) are owed.
    pub fn owed_changed(&self, delta: i64) {
        self.0.owed_events.add(delta);
    }

    /// States in between will not be delivered.
    pub fn skipped(&self, events: u64) {
        self.0.skipped_events.inc_by(events);
    }

    /// A JSON middleware panicked.
    pub fn middleware_panicked(&self) {
        self.0.middleware_panics.inc();
    }

    /// A JSON middleware dropped the line of an event.
    pub fn record_dropped(&self) {
        self.0.records_dropped.inc();
    }
}

/// The moment kept in `millis`, when there is one.
pub(super) fn load(millis: &AtomicU64) -> Option<u64> {
    Some(millis.load(Ordering::Relaxed)).filter(|millis| *millis > 0)
}

/// Unix time in milliseconds; zero under a clock that stands before 1970.
pub(super) fn unix_millis() -> u64 {
    unix_millis_of(SystemTime::now())
}

fn unix_millis_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
