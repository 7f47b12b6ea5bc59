//! The names, help texts, labels and buckets of everything that is counted as it happens.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// One field a metric; all are registered and live as long as the registry.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) bytes_received: IntCounterVec,
    pub(super) bytes_written: IntCounter,
    pub(super) bytes_written_of_gvr: IntCounterVec,
    pub(super) checkpoints: IntCounter,
    pub(super) config_last_reload_success: IntGauge,
    pub(super) config_last_reload_timestamp: Gauge,
    pub(super) config_reloads: IntCounterVec,
    pub(super) credit_wait_seconds: HistogramVec,
    pub(super) decode_errors: IntCounterVec,
    pub(super) events: IntCounterVec,
    pub(super) events_in_flight: IntGaugeVec,
    pub(super) handler_failures: IntCounterVec,
    pub(super) handler_given_up: IntCounterVec,
    pub(super) handler_seconds: HistogramVec,
    pub(super) inferred_events: IntCounterVec,
    pub(super) last_event_timestamp: GaugeVec,
    pub(super) lines_written: IntCounter,
    pub(super) middleware_panics: IntCounterVec,
    pub(super) owed_events: IntGaugeVec,
    pub(super) parked_events: IntGaugeVec,
    pub(super) records_dropped: IntCounterVec,
    pub(super) relists: IntCounterVec,
    pub(super) skipped_events: IntCounterVec,
    pub(super) sync_seconds: HistogramVec,
    pub(super) tracked_resources: IntGaugeVec,
    pub(super) watch_lag_seconds: HistogramVec,
    pub(super) watch_restarts: IntCounterVec,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Self {
        let new = Registrar(registry);
        Self {
            bytes_received: new.counters("faro_received_bytes_total", "Bytes received of lists and watches.", &["gvr"]),
            bytes_written: new.counter("faro_written_bytes_total", "Bytes of JSON lines written."),
            bytes_written_of_gvr: new.counters("faro_bytes_written_total", "Bytes of JSON lines written, by gvr.", &["gvr"]),
            checkpoints: new.counter("faro_checkpoints_total", "Checkpoints committed to the state."),
            config_last_reload_success: new.add(IntGauge::new(
                "faro_config_last_reload_success",
                "1 when the configuration was last read without a mistake, 0 while a refused one waits to be corrected.",
            )),
            config_last_reload_timestamp: new.add(Gauge::new(
                "faro_config_last_reload_timestamp_seconds",
                "Unix time at which the configuration was last read, at the start or since, be it refused.",
            )),
            config_reloads: new.counters(
                "faro_config_reloads_total",
                "Times the configuration was read again while running, by result; a failed one changed nothing.",
                &["result"],
            ),
            credit_wait_seconds: new.histograms(
                "faro_credit_wait_seconds",
                "Time for which a watch waited because as many of its events as allowed were in flight.",
                CREDIT_WAIT_BUCKETS,
            ),
            decode_errors: new.counters("faro_decode_errors_total", "Lines and objects that could not be read.", &["gvr"]),
            events: new.counters("faro_events_total", "Events told, by type of change.", &["gvr", "event_type"]),
            events_in_flight: new.int_gauges("faro_events_in_flight", "Events told and not yet accepted by every receiver."),
            handler_failures: new.counters("faro_handler_failures_total", "Handler calls that failed or panicked.", &["gvr"]),
            handler_given_up: new.counters(
                "faro_handler_given_up_total",
                "Events that a handler refused at every attempt; each is named in the log.",
                &["gvr"],
            ),
            handler_seconds: new.histograms("faro_handler_duration_seconds", "Duration of handler calls.", HANDLER_BUCKETS),
            inferred_events: new.counters(
                "faro_inferred_events_total",
                "Events found by comparing a list with what was known, by type of change; counted in faro_events_total too.",
                &["gvr", "event_type"],
            ),
            last_event_timestamp: new
                .gauges("faro_informer_last_event_timestamp", "Unix time of the last event; 0 before the first."),
            lines_written: new.counter("faro_written_lines_total", "JSON lines written."),
            middleware_panics: new.counters(
                "faro_middleware_panics_total",
                "Calls of JSON middleware that panicked; their lines were dropped, unless it says otherwise.",
                &["gvr"],
            ),
            owed_events: new.int_gauges(
                "faro_owed_events",
                "Events that a handler has yet to accept, and that nothing else waits for any more.",
            ),
            parked_events: new.int_gauges(
                "faro_parked_events",
                "Events that wait because a handler has refused one of their object; others go on.",
            ),
            records_dropped: new.counters(
                "faro_records_dropped_total",
                "Events of which JSON middleware dropped the line.",
                &["gvr"],
            ),
            relists: new.counters("faro_relists_total", "Times everything was listed again, by reason.", &["gvr", "reason"]),
            skipped_events: new.counters(
                "faro_skipped_events_total",
                "States in between that a handler will not see, as too many of their object were owed to it; the latest never is.",
                &["gvr"],
            ),
            sync_seconds: new.histograms(
                "faro_informer_sync_duration_seconds",
                "Time from the start of a watch to the end of its first list.",
                SYNC_BUCKETS,
            ),
            tracked_resources: new.int_gauges("faro_tracked_resources_total", "Objects known at present; goes up and down."),
            watch_lag_seconds: new.histograms(
                "faro_watch_lag_seconds",
                "Time from receiving an event to its acceptance by every receiver.",
                LAG_BUCKETS,
            ),
            watch_restarts: new.counters(
                "faro_watch_restarts_total",
                "Times a watch was opened again, by reason; `ended` is the server's own timeout, `cut` a proxy's, and both are harmless.",
                &["gvr", "reason"],
            ),
        }
    }
}

/// The Go original's.
const SYNC_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// From a write that finds room at once to the five minutes of history that etcd keeps; an API server's watch cache
/// keeps about 75 s, so what lags by more than a minute is about to be lost to a relist.
const LAG_BUCKETS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0];

/// From a handler that counts to one that makes a slow request.
const HANDLER_BUCKETS: &[f64] = &[0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0];

/// A watch waits for five seconds at most before it closes its connection; longer waits happen during lists.
const CREDIT_WAIT_BUCKETS: &[f64] = &[0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Makes metrics and registers them. Names and labels are literals of this file, so a refusal is a mistake in it.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), &["gvr"]))
    }

    fn int_gauges(&self, name: &str, help: &str) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), &["gvr"]))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &["gvr"]))
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect("names, labels and buckets of this file are valid");
        self.0.register(Box::new(metric.clone())).expect("names of this file are distinct");
        metric
    }
}
