//! What is counted comes out under its name and labels.

use super::*;
use crate::event::EventType;
use crate::health::tests::watch;
use crate::health::{Condition, Reason, SILENT_AFTER};
use std::time::{Duration, SystemTime};

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
    for (times, reason) in ["ended", "connection", "cut", "silent", "slow", "error", "old_bookmark"].into_iter().enumerate() {
        check(&text, &format!(r#"faro_watch_restarts_total{{gvr="v1/pods",reason="{reason}"}} {}"#, times + 1));
    }
    let relists = ["expired", "unproven", "other_history", "stuck", "dirty", "interrupted", "returned"];
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
    good.set(Condition::Synced, Reason::None, "");
    told("none: the first list of one is under way");
    bad.set(Condition::Forbidden, Reason::None, "pods is forbidden");
    told("sync_failed");
    bad.set(Condition::Synced, Reason::None, "");
    told("healthy");
    bad.set(Condition::Retrying, Reason::None, "connection refused");
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

#[test]
fn the_verdicts_of_the_probes_are_told() {
    let health = Health::default();
    let told = |name: &str, value: u8| check(&Metrics::default().text(&health), &format!("{name} {value}"));
    told("faro_ready", 0);
    health.begun();
    health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
    for name in ["faro_alive", "faro_ready", "faro_sink_writable", "faro_state_writable"] {
        told(name, 1);
    }
    health.sink_failed("no space left on device");
    told("faro_sink_writable", 0);
    told("faro_ready", 0);
    told("faro_alive", 1);
    health.sink_ok();
    health.state_failed("no space left on device");
    told("faro_sink_writable", 1);
    told("faro_state_writable", 0);
    told("faro_ready", 0);
    health.state_ok();
    told("faro_ready", 1);
    drop(health.add_thread("lane-3"));
    told("faro_alive", 0);
}

#[test]
fn a_watchs_condition_is_told_with_all_that_it_may_become() {
    let health = Health::default();
    let (pods, more_pods) = (health.add_watch(watch("v1/pods")), health.add_watch(watch("v1/pods")));
    let told = |condition: &str, count: u8| {
        let text = Metrics::default().text(&health);
        check(&text, &format!(r#"faro_watches{{condition="{condition}",gvr="v1/pods"}} {count}"#));
    };
    told("starting", 2);
    told("silent", 0);
    pods.set(Condition::Synced, Reason::None, "");
    more_pods.set(Condition::Synced, Reason::None, "");
    told("synced", 2);
    pods.fell_silent();
    more_pods.set(Condition::Forbidden, Reason::None, "needs \"watch\" on pods");
    told("synced", 0);
    told("silent", 1);
    told("forbidden", 1);
    health.remove_watch(&pods);
    told("silent", 0);
}

#[test]
fn a_refused_reload_shows_until_one_is_taken() {
    let (metrics, health) = (Metrics::default(), Health::default());
    let told = |ok: u64, failed: u64, success: u8| {
        let text = metrics.text(&health);
        check(&text, &format!(r#"faro_config_reloads_total{{result="ok"}} {ok}"#));
        check(&text, &format!(r#"faro_config_reloads_total{{result="failed"}} {failed}"#));
        check(&text, &format!("faro_config_last_reload_success {success}"));
        assert!(!text.contains("faro_config_last_reload_timestamp_seconds 0\n"), "{text}");
    };
    told(0, 0, 1);
    metrics.reloaded(false);
    told(0, 1, 0);
    metrics.reloaded(true);
    told(1, 1, 1);
}
