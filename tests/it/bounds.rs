//! Limits that hold: of a line, of memory, of what is known; and the figures by which people see what happens.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, EXPIRED, WATCH_CONFIGMAPS, line, page, watch};
use crate::capture::{briefs, start};
use crate::support::daemon::Daemon;
use crate::support::wait::{SOON, eventually};

const MIB: usize = 1024 * 1024;

/// A line of about so many bytes, which belong to none of the fields that are kept.
fn long_line(name: &str, version: u64, bytes: usize) -> String {
    let short = line("ADDED", name, version);
    let filler = format!(r#"}},"filler":"{}"}}}}"#, "x".repeat(bytes));
    format!("{}{filler}", short.strip_suffix("}}}").unwrap())
}

/// The most memory that it ever had, in MiB.
pub fn peak_mib(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn line_over_the_limit_is_passed_over_in_bounded_memory_and_found_by_a_list() {
    let api = Api::with_a_and_b();
    let lines = [long_line("large", 11, 15 * MIB), long_line("endless", 12, 64 * MIB), line("ADDED", "c", 13)];
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&lines).left_open()]);
    let found = page(14, &[("a", 7), ("b", 8), ("large", 11), ("endless", 12), ("c", 13)]);
    api.server.on(&format!("list {CONFIGMAPS}"), [found]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let lines = daemon.wait_for_lines("five lines", |lines| lines.len() >= 5);
    assert_eq!(briefs(&lines[2..]), ["ADDED demo/large", "ADDED demo/c", "ADDED demo/endless inferred"]);
    daemon.wait_for_log(&["warn", "v1/configmaps", "over the limit"]);
    let peak = peak_mib(&daemon);
    assert!(peak < 64, "a line of 64 MiB took {peak} MiB");
    daemon.stop();
}

/// Every series that the README's table names.
fn documented() -> Vec<&'static str> {
    let rows = include_str!("../../README.md").lines().filter_map(|line| line.strip_prefix("| `faro_"));
    rows.map(|row| &row[..row.find(['{', '`']).unwrap()]).collect()
}

#[test]
fn documented_figures_are_served_and_move_with_what_happens() {
    let api = Api::with_a_and_b();
    let garbage = r#"{"type":"DELETED","object":{"metadata":{"name":"#.to_owned();
    let changes = [line("MODIFIED", "a", 11), line("DELETED", "b", 12), line("ADDED", "c", 13)];
    let expired = || watch(&[EXPIRED.to_owned()]);
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&changes), expired(), expired(), watch(&[garbage]).left_open()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(20, &[("a", 11), ("d", 18)])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("DELETED demo/c inferred");
    let (_, text) = daemon.http("/metrics").unwrap();
    assert!(documented().len() >= 5);
    for name in documented() {
        let help = format!("# HELP faro_{name} ");
        assert!(text.contains(&help) && text.contains(&format!("\nfaro_{name}")), "faro_{name} is missing:\n{text}");
    }
    let check = |name: &str, labels: &str, expected: f64| {
        let labels = format!(r#"gvr="v1/configmaps"{labels}"#);
        eventually(SOON, &format!("{name}{{{labels}}} is {expected}"), || daemon.metric(name, &labels) == expected);
    };
    // Two listed, one changed, one gone, one new; by the second list one new and one gone.
    check("faro_events_total", "", 7.0);
    check("faro_inferred_events_total", "", 2.0);
    check("faro_tracked_resources_total", "", 2.0);
    check("faro_decode_errors_total", "", 1.0);
    check("faro_events_in_flight", "", 0.0);
    check("faro_relists_total", r#",reason="expired""#, 1.0);
    check("faro_watch_restarts_total", r#",reason="ended""#, 1.0);
    check("faro_watch_lag_seconds_count", "", 7.0);
    check("faro_informer_sync_duration_seconds_count", "", 1.0);
    let received = daemon.metric("faro_received_bytes_total", "v1/configmaps");
    let sent = changes.iter().map(|line| line.len() + 1).sum::<usize>() as f64;
    assert!(received > sent && received < 10.0 * sent, "{received} of about {sent}");
    assert_eq!(daemon.metric("faro_written_lines_total", ""), 7.0);
    let ended = daemon.stop();
    assert_eq!(ended.lines.len(), 7);
}

#[test]
fn figures_of_health_follow_the_worst_watch_of_a_kind() {
    let api = Api::with_a_and_b();
    let other = "/api/v1/namespaces/other/configmaps";
    api.server.on(&format!("watch {other}"), [Answer::recorded("forbidden-secrets-watch")]);
    api.server.on(&format!("list {other}"), [Answer::recorded("forbidden-secrets-list")]);
    let mut daemon = start(&api, "resources: [{gvr: v1/configmaps, namespace_names: [demo, other]}]");
    daemon.wait_until_ready();
    let is = |name: &str, labels: &str, expected: f64| {
        eventually(SOON, &format!("{name} {labels}"), || daemon.metric(name, labels) == expected);
    };
    is("faro_informers_total", r#"status="active""#, 1.0);
    is("faro_informers_total", r#"status="failed""#, 1.0);
    is("faro_informer_health", r#"status="sync_failed""#, 1.0);
    is("faro_informer_health", r#"status="healthy""#, 0.0);
    daemon.stop();
}
