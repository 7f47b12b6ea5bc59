//! Every metric of Faro, declared in one folder. Labels come from closed sets, never from names, uids or error texts.
//!
//! Stations count through [`WatchMetrics`], whose labels are looked up once; [`Metrics::text`] gives what Prometheus
//! scrapes. What [`Health`] and `/proc` know already is not counted twice: it is read when scraped.

mod derived;
mod families;
mod process;
mod reasons;
mod watch;

pub use reasons::{RelistReason, RestartReason};
pub use watch::WatchMetrics;

use crate::api::Watch;
use crate::event::EventType;
use crate::health::Health;
use families::Families;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// All metrics of one Faro, shared by clones.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    families: Families,
    registry: Registry,
    cluster_name: Option<String>,
    bookmarks: Mutex<Vec<Bookmark>>,
    /// When nothing was left to commit, in milliseconds of Unix time; zero where no state is kept.
    checkpointed: AtomicU64,
}

/// When the last bookmark of one watch came, in milliseconds of Unix time; zero before the first. Gone with its watch.
#[derive(Debug)]
struct Bookmark {
    gvr: String,
    millis: Weak<AtomicU64>,
}

/// Which kind of change was found by comparison.
pub type InferredKind = EventType;

impl Default for Metrics {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Metrics {
    /// Metrics at zero; each series carries `cluster` when `cluster_name` is given and not empty.
    pub fn new(cluster_name: Option<&str>) -> Self {
        let cluster_name = cluster_name.filter(|name| !name.is_empty()).map(str::to_owned);
        let registry = registry(cluster_name.as_deref());
        let families = Families::register(&registry);
        Self(Arc::new(Inner { families, registry, cluster_name, bookmarks: Mutex::default(), checkpointed: AtomicU64::new(0) }))
    }

    /// The handles for one watch. All its series exist from now on, at zero.
    pub fn watch(&self, watch: &Watch) -> WatchMetrics {
        self.watch_of(&watch.gvr)
    }

    /// Lines were written, of so many bytes in all.
    pub fn written(&self, lines: u64, bytes: u64) {
        self.0.families.lines_written.inc_by(lines);
        self.0.families.bytes_written.inc_by(bytes);
    }

    /// The state now holds all that was accepted; `committed`: by a commit.
    pub fn checkpointed(&self, committed: bool) {
        self.0.checkpointed.store(watch::unix_millis(), Ordering::Relaxed);
        self.0.families.checkpoints.inc_by(u64::from(committed));
    }

    /// What Prometheus scrapes, in its text format. `health` gives the state of each watch.
    pub fn text(&self, health: &Health) -> String {
        encode(&self.gather(health))
    }

    fn gather(&self, health: &Health) -> Vec<MetricFamily> {
        let mut families = self.0.registry.gather();
        let derived = registry(self.0.cluster_name.as_deref());
        derived::register(&derived, health, &self.bookmarks(), self.0.checkpointed.load(Ordering::Relaxed));
        process::register(&derived);
        families.extend(derived.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }

    fn watch_of(&self, gvr: &str) -> WatchMetrics {
        let bookmark = Arc::new(AtomicU64::new(0));
        let mut bookmarks = self.0.bookmarks.lock().unwrap_or_else(PoisonError::into_inner);
        bookmarks.retain(|known| known.millis.strong_count() > 0);
        bookmarks.push(Bookmark { gvr: gvr.to_owned(), millis: Arc::downgrade(&bookmark) });
        WatchMetrics::new(&self.0.families, gvr, bookmark)
    }

    /// For each watch that had a bookmark, its gvr and when the last one came.
    fn bookmarks(&self) -> Vec<(String, u64)> {
        let bookmarks = self.0.bookmarks.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = bookmarks.iter().filter_map(|known| Some((known.gvr.clone(), watch::load(&*known.millis.upgrade()?)?)));
        seen.collect()
    }
}

fn encode(families: &[MetricFamily]) -> String {
    TextEncoder::new().encode_to_string(families).expect("every family gathered holds a metric and a name")
}

fn registry(cluster_name: Option<&str>) -> Registry {
    let labels = cluster_name.map(|name| HashMap::from([("cluster".to_owned(), name.to_owned())]));
    Registry::new_custom(None, labels).expect("only an empty prefix is refused, and there is none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::watch;
    use crate::health::{Condition, SILENT_AFTER};
    use std::time::{Duration, SystemTime};

    /// Every metric that is promised, with its type.
    const PROMISED: [(&str, &str); 33] = [
        ("faro_bookmark_age_seconds", "gauge"),
        ("faro_build_info", "gauge"),
        ("faro_checkpoint_age_seconds", "gauge"),
        ("faro_checkpoints_total", "counter"),
        ("faro_credit_wait_seconds", "histogram"),
        ("faro_decode_errors_total", "counter"),
        ("faro_events_in_flight", "gauge"),
        ("faro_events_total", "counter"),
        ("faro_gvr_per_informer", "gauge"),
        ("faro_handler_duration_seconds", "histogram"),
        ("faro_handler_failures_total", "counter"),
        ("faro_handler_given_up_total", "counter"),
        ("faro_inferred_events_total", "counter"),
        ("faro_informer_health", "gauge"),
        ("faro_informer_last_event_timestamp", "gauge"),
        ("faro_informer_sync_duration_seconds", "histogram"),
        ("faro_informers_total", "gauge"),
        ("faro_middleware_panics_total", "counter"),
        ("faro_received_bytes_total", "counter"),
        ("faro_records_dropped_total", "counter"),
        ("faro_relists_total", "counter"),
        ("faro_tracked_resources_total", "gauge"),
        ("faro_watch_lag_seconds", "histogram"),
        ("faro_watch_restarts_total", "counter"),
        ("faro_written_bytes_total", "counter"),
        ("faro_written_lines_total", "counter"),
        ("process_cpu_seconds_total", "counter"),
        ("process_max_fds", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("process_threads", "gauge"),
        ("process_virtual_memory_bytes", "gauge"),
    ];

    #[test]
    fn every_promised_metric_is_told_with_help_and_type_and_no_other() {
        let (metrics, health) = (Metrics::default(), Health::default());
        health.add_watch(watch("v1/pods"));
        let pods = metrics.watch(&watch("v1/pods"));
        pods.bookmark();
        metrics.checkpointed(true);
        let text = metrics.text(&health);
        let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let expected: Vec<String> = PROMISED.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        assert_eq!(types, expected);
        for (name, _) in PROMISED {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        }
    }

    fn check(text: &str, line: &str) {
        let family = line.split(['{', ' ']).next().unwrap();
        let found: Vec<&str> = text.lines().filter(|found| found.starts_with(family)).collect();
        assert!(found.contains(&line), "no line {line:?} in {found:#?}");
    }

    #[test]
    fn what_is_counted_is_told_under_its_labels() {
        let metrics = Metrics::new(None);
        let pods = metrics.watch(&watch("v1/pods"));
        EventType::ALL
            .into_iter()
            .zip(1..)
            .for_each(|(kind, times)| (0..times).for_each(|_| pods.event(kind, times == 3, SystemTime::now())));
        RestartReason::ALL.into_iter().zip(1..).for_each(|(reason, times)| (0..times).for_each(|_| pods.restart(reason)));
        RelistReason::ALL.into_iter().zip(1..).for_each(|(reason, times)| (0..times).for_each(|_| pods.relist(reason)));
        pods.bytes_received(1_000_000_000_000);
        pods.decode_error();
        metrics.watch(&watch("v1/pods")).tracked_changed(5);
        pods.tracked_changed(-2);
        pods.in_flight_changed(3);
        pods.synced_after(Duration::from_millis(700));
        pods.accepted(Duration::from_secs(90));
        pods.waited_for_credit(Duration::from_secs(2));
        pods.handled(Duration::from_millis(5), false);
        pods.handled(Duration::from_millis(5), true);
        metrics.written(7, 4096);

        let text = metrics.text(&Health::default());
        check(&text, r#"faro_events_total{event_type="ADDED",gvr="v1/pods"} 1"#);
        check(&text, r#"faro_events_total{event_type="UPDATED",gvr="v1/pods"} 2"#);
        check(&text, r#"faro_events_total{event_type="DELETED",gvr="v1/pods"} 3"#);
        check(&text, r#"faro_inferred_events_total{event_type="UPDATED",gvr="v1/pods"} 0"#);
        check(&text, r#"faro_inferred_events_total{event_type="DELETED",gvr="v1/pods"} 3"#);
        for (times, reason) in ["ended", "connection", "silent", "slow", "error"].into_iter().enumerate() {
            check(&text, &format!(r#"faro_watch_restarts_total{{gvr="v1/pods",reason="{reason}"}} {}"#, times + 1));
        }
        let relists = ["expired", "unknown_version", "stuck", "dirty", "interrupted", "returned"];
        for (times, reason) in relists.into_iter().enumerate() {
            check(&text, &format!(r#"faro_relists_total{{gvr="v1/pods",reason="{reason}"}} {}"#, times + 1));
        }
        check(&text, r#"faro_received_bytes_total{gvr="v1/pods"} 1000000000000"#);
        check(&text, r#"faro_decode_errors_total{gvr="v1/pods"} 1"#);
        check(&text, r#"faro_tracked_resources_total{gvr="v1/pods"} 3"#);
        check(&text, r#"faro_events_in_flight{gvr="v1/pods"} 3"#);
        check(&text, r#"faro_informer_sync_duration_seconds_bucket{gvr="v1/pods",le="0.5"} 0"#);
        check(&text, r#"faro_informer_sync_duration_seconds_bucket{gvr="v1/pods",le="1"} 1"#);
        check(&text, r#"faro_informer_sync_duration_seconds_bucket{gvr="v1/pods",le="60"} 1"#);
        check(&text, r#"faro_watch_lag_seconds_sum{gvr="v1/pods"} 90"#);
        check(&text, r#"faro_credit_wait_seconds_count{gvr="v1/pods"} 1"#);
        check(&text, r#"faro_handler_duration_seconds_count{gvr="v1/pods"} 2"#);
        check(&text, r#"faro_handler_failures_total{gvr="v1/pods"} 1"#);
        check(&text, "faro_written_lines_total 7");
        check(&text, "faro_written_bytes_total 4096");
    }

    #[test]
    fn the_worst_watch_of_a_gvr_decides_its_health() {
        let health = Health::default();
        let (good, bad) = (health.add_watch(watch("v1/pods")), health.add_watch(watch("v1/pods")));
        let told = |status: &str| {
            let text = Metrics::default().text(&health);
            let line = |status: &str, value: u8| format!(r#"faro_informer_health{{gvr="v1/pods",status="{status}"}} {value}"#);
            for other in ["healthy", "sync_failed", "stale_events"] {
                check(&text, &line(other, u8::from(other == status)));
            }
            check(&text, r#"faro_gvr_per_informer{gvr="v1/pods",namespace_scoped="false"} 2"#);
        };
        good.set(Condition::Synced, "");
        told("none: the first list of one is under way");
        bad.set(Condition::Forbidden, "pods is forbidden");
        told("sync_failed");
        bad.set(Condition::Synced, "");
        told("healthy");
        bad.set(Condition::Retrying, "connection refused");
        told("stale_events");
        check(&Metrics::default().text(&health), r#"faro_informers_total{status="active"} 1"#);
        check(&Metrics::default().text(&health), r#"faro_informers_total{status="failed"} 1"#);
        check(&Metrics::default().text(&health), r#"faro_informers_total{status="syncing"} 0"#);
        assert!(SILENT_AFTER > Duration::from_secs(240), "a calm watch is heard at least when the server ends it");
    }

    #[test]
    fn a_named_cluster_is_a_label_of_every_series() {
        let (metrics, health) = (Metrics::new(Some("prod-eu")), Health::default());
        health.add_watch(watch("v1/pods"));
        let pods = metrics.watch(&watch("v1/pods"));
        pods.bookmark();
        let text = metrics.text(&health);
        let without = text.lines().find(|line| !line.starts_with('#') && !line.contains(r#"cluster="prod-eu""#));
        assert_eq!(without, None);
        assert!(!Metrics::new(Some("")).text(&health).contains("cluster="), "an empty name is none");
    }

    #[test]
    fn a_bookmark_is_forgotten_with_its_watch() {
        let (metrics, health) = (Metrics::default(), Health::default());
        let pods = metrics.watch(&watch("v1/pods"));
        let age = r#"faro_bookmark_age_seconds{gvr="v1/pods"}"#;
        assert!(!metrics.text(&health).contains(age), "no bookmark came yet");
        pods.bookmark();
        assert!(metrics.text(&health).contains(age));
        drop(pods);
        assert!(!metrics.text(&health).contains(age));
    }
}
