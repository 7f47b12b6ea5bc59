//! What is told keeps to Prometheus's conventions, and to `docs/metrics.md`, `deploy/prometheus` and `deploy/grafana`.
//!
//! The rules are those of promlint, which `promtool check metrics` applies, and the project's own: every label is known, and
//! its values are a closed set or come from the configuration.

use super::*;
use crate::api::WatchTarget;
use crate::health::tests::watch;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// One family as it is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    kind: String,
    help: String,
    /// The values of each label, in what [`everything`] tells.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// Labels whose values come from the configuration or the build, and are as many as that says.
const OPEN_LABELS: [&str; 5] = ["arch", "cluster", "gvr", "os", "version"];

/// Labels whose values the code lists; the documentation names them all.
const CLOSED_LABELS: [&str; 7] = ["condition", "event_type", "le", "namespace_scoped", "reason", "result", "status"];

/// Of a Faro that has had everything happen once, and watches one namespace as well as all of them.
fn everything(cluster_name: Option<&str>) -> String {
    let (metrics, health) = (Metrics::new(cluster_name), Health::default());
    let pods = watch("v1/pods");
    let one_namespace = WatchTarget { namespace: Some("shop".to_owned()), ..pods.target.clone() };
    health.add_watch(Arc::clone(&pods));
    health.add_watch(Arc::new(Watch::new(one_namespace, "test", None)));
    let counted = metrics.watch(&pods);
    counted.bookmark();
    metrics.checkpointed(true);
    metrics.state_bytes(4096);
    metrics.text(&health)
}

fn families(text: &str) -> BTreeMap<String, Told> {
    let mut families: BTreeMap<String, Told> = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            family = name.to_owned();
            families.entry(family.clone()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(name, family, "type and help stand together");
            families.entry(family.clone()).or_default().kind = kind.to_owned();
        } else {
            assert!(line.starts_with(&family), "{line} is not of {family}");
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let told = families.get_mut(&family).unwrap();
            for label in labels.split_terminator("\",") {
                let (name, value) = label.split_once("=\"").unwrap();
                told.labels.entry(name.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
            }
        }
    }
    families
}

#[test]
fn names_types_and_labels_keep_the_conventions() {
    const ABBREVIATED: [&str; 10] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "m"];
    const NO_BASE_UNIT: [&str; 8] =
        ["milliseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "gigabytes", "percent"];
    const TYPES: [&str; 4] = ["counter", "gauge", "histogram", "summary"];
    let is_snake = |word: &str| word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    for (name, told) in families(&everything(Some("prod-eu"))) {
        assert!(told.help.ends_with('.') && told.help.len() > 10, "{name}: {:?} is no help", told.help);
        assert!(is_snake(&name), "{name} is not in lower snake case");
        let is_total = name.ends_with("_total");
        match told.kind.as_str() {
            "counter" => assert!(is_total, "{name}: a counter ends in _total"),
            "untyped" => assert!(UNTYPED.contains(&name.as_str()), "{name} has a type"),
            "gauge" | "histogram" => assert!(!is_total, "{name}: only a counter ends in _total"),
            other => panic!("{name} is a {other}"),
        }
        for reserved in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(reserved), "{name} ends as the series of a histogram");
        }
        for word in name.split('_') {
            assert!(!ABBREVIATED.contains(&word) && !NO_BASE_UNIT.contains(&word), "{name}: {word} is no base unit");
            assert!(!TYPES.contains(&word), "{name} has its type in its name");
        }
        for (label, values) in &told.labels {
            assert!(is_snake(label), "{name}: label {label} is not in lower snake case");
            assert!(label != "le" || told.kind == "histogram", "{name}: `le` belongs to histograms");
            let is_known = [&OPEN_LABELS[..], &CLOSED_LABELS].concat().contains(&label.as_str());
            assert!(is_known, "{name}: label {label} with {values:?} has neither a closed set of values nor a bound");
        }
        let has_cluster = told.labels.get("cluster").is_some_and(|clusters| clusters.iter().eq(["prod-eu"]));
        assert!(has_cluster, "{name} does not say of which cluster it is");
    }
}

/// What the Go original told, and still is told under the same names and labels. Its `faro_uid_resolution_total` and
/// `faro_cache_hit_rate` measured a cache that there is none of here.
#[test]
fn the_series_of_the_go_original_are_there() {
    let told = families(&everything(None));
    let check = |name: &str, labels: &[&str]| {
        let family = told.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert!(family.labels.keys().filter(|label| *label != "le").eq(labels), "{name} has {:?}", family.labels);
    };
    check("faro_events_total", &["event_type", "gvr"]);
    check("faro_gvr_per_informer", &["gvr", "namespace_scoped"]);
    check("faro_informer_health", &["gvr", "status"]);
    check("faro_informer_last_event_timestamp", &["gvr"]);
    check("faro_informer_sync_duration_seconds", &["gvr"]);
    check("faro_informers_total", &["status"]);
    check("faro_tracked_resources_total", &["gvr"]);
}

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// As a row of `docs/metrics.md` begins: the series, its type, its labels with their values, its unit, its help.
fn documented(name: &str, told: &Told) -> String {
    let closed = |label: &str, values: &BTreeSet<String>| {
        let values = values.iter().map(|value| format!(" `{value}`")).collect::<String>();
        if OPEN_LABELS.contains(&label) { format!("`{label}`") } else { format!("`{label}`:{values}") }
    };
    let labels = told.labels.iter().filter(|(label, _)| *label != "le").map(|(label, values)| closed(label, values));
    let base = name.trim_end_matches("_total");
    // A pure number is 1, as in UCUM.
    let unit = [("_seconds", "seconds"), ("_timestamp", "seconds"), ("_bytes", "bytes"), ("_bytes_written", "bytes")];
    let unit = unit.into_iter().find(|(end, _)| base.ends_with(end)).map_or("1", |(_, unit)| unit);
    let labels: Vec<String> = labels.collect();
    let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    format!("| `{name}` | {} | {labels} | {unit} | {} |", told.kind, told.help)
}

#[test]
fn the_documentation_tells_every_series_as_it_is() {
    let text = read("docs/metrics.md");
    let rows: Vec<&str> =
        text.lines().filter(|line| ["| `faro_", "| `process_"].iter().any(|row| line.starts_with(row))).collect();
    let (mut undocumented, mut missing) = (rows.clone(), Vec::new());
    for (name, told) in families(&everything(None)) {
        let expected = documented(&name, &told);
        match rows.iter().find(|row| row.starts_with(&expected)) {
            Some(row) => {
                assert!(row.len() > expected.len() + 5, "{name}: nothing says when to worry");
                undocumented.retain(|known| known != row);
            }
            None => missing.push(expected),
        }
    }
    assert!(missing.is_empty(), "docs/metrics.md has no rows that begin with\n{}", missing.join("\n"));
    assert!(undocumented.is_empty(), "docs/metrics.md tells of what is not there:\n{}", undocumented.join("\n"));
}

/// Labels that Prometheus adds, and those of its alerts.
const LABELS_OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// Where a text names a series.
struct Reference<'a> {
    name: &'a str,
    /// Such as `reason!="ended"`.
    matchers: Vec<&'a str>,
    /// It is asked for, and not only spoken of.
    is_query: bool,
}

fn references(text: &str) -> Vec<Reference<'_>> {
    let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let begins = ["faro_", "process_"].into_iter().flat_map(|prefix| text.match_indices(prefix)).map(|(at, _)| at);
    let begins = begins.filter(|at| *at == 0 || !is_word(text.as_bytes()[at - 1]));
    let reference = |at: usize| {
        let length = text[at..].bytes().take_while(|byte| is_word(*byte)).count();
        let (name, rest) = text[at..].split_at(length);
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(matchers, _)| matchers);
        let matchers = matchers.split(',').map(str::trim).filter(|matcher| !matcher.is_empty()).collect();
        Reference { name, matchers, is_query: rest.starts_with(['{', '[']) }
    };
    begins.map(reference).collect()
}

/// Every series asked for exists, with the labels that are asked for and the values that they are compared with.
fn check_references(place: &str, text: &str, told: &BTreeMap<String, Told>) {
    let found = references(text);
    assert!(!found.is_empty(), "{place} names no series");
    for Reference { name, matchers, is_query } in found {
        let base = ["_bucket", "_count", "_sum"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let of_histogram = told.get(base).filter(|family| base == name || family.kind == "histogram");
        let family = of_histogram.unwrap_or_else(|| panic!("{place}: there is no {name}"));
        assert!(!is_query || base != name || family.kind != "histogram", "{place}: {name} is a histogram, and no series");
        for matcher in matchers {
            let (label, value) = matcher.split_once('=').unwrap();
            let (label, value) = (label.trim_end_matches('!'), value.trim_start_matches('~').trim_matches('"'));
            if label == "cluster" || LABELS_OF_PROMETHEUS.contains(&label) {
                continue;
            }
            let known = family.labels.get(label).unwrap_or_else(|| panic!("{place}: {name} has no label {label}"));
            let is_open = OPEN_LABELS.contains(&label) || value.contains('$');
            assert!(is_open || value.split('|').all(|value| known.contains(value)), "{place}: {name} never has {matcher}");
        }
    }
}

/// All texts in it, whatever they are for.
fn texts(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        serde_json::Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[test]
fn alerts_dashboard_and_queries_ask_for_what_is_told() {
    let told = families(&everything(None));
    for place in ["deploy/prometheus/rules.yaml", "deploy/prometheus/rules_test.yaml"] {
        check_references(place, &read(place), &told);
    }
    let documentation = read("docs/metrics.md");
    check_references("docs/metrics.md", documentation.split_once("```promql\n").unwrap().1, &told);
    let place = "deploy/grafana/faro.json";
    let mut found = Vec::new();
    texts(&serde_json::from_str(&read(place)).unwrap(), &mut found);
    check_references(place, &found.join("\n"), &told);
}

#[test]
fn every_alert_has_a_severity_and_says_what_to_do_and_has_a_test() {
    let (rules, tests) = (read("deploy/prometheus/rules.yaml"), read("deploy/prometheus/rules_test.yaml"));
    let mut alerts = 0;
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let severities = ["labels: {severity: critical}", "labels: {severity: warning}"];
        assert!(severities.iter().any(|severity| alert.contains(severity)), "{name} has no severity");
        assert!(alert.contains("summary: ") && alert.contains("description: "), "{name} does not say what to do");
        assert!(tests.contains(name), "no test makes {name} fire");
        alerts += 1;
    }
    assert!(alerts > 10, "{alerts} alerts are not all of them");
}

#[test]
fn a_query_for_what_is_not_told_is_found_out() {
    let told = families(&everything(None));
    let check = |query: &str, complaint: &str| {
        let failure = std::panic::catch_unwind(|| check_references("here", query, &told)).unwrap_err();
        assert_eq!(failure.downcast_ref::<String>().map(String::as_str), Some(complaint), "{query}");
    };
    check_references("here", r#"rate(faro_relists_total{gvr="a",reason=~"stuck|dirty",cluster=~"$cluster"}[5m])"#, &told);
    check_references("here", "faro_watch_lag_seconds_bucket{le=\"+Inf\"}", &told);
    check("faro_relist_total > 0", "here: there is no faro_relist_total");
    check("faro_ready_count > 0", "here: there is no faro_ready_count");
    check("rate(faro_watch_lag_seconds[5m])", "here: faro_watch_lag_seconds is a histogram, and no series");
    check(r#"faro_watches{condition="mute"}"#, r#"here: faro_watches never has condition="mute""#);
    check(r#"faro_watches{condition=~"silent|mute"}"#, r#"here: faro_watches never has condition=~"silent|mute""#);
    check(r#"faro_watches{namespace="a"}"#, "here: faro_watches has no label namespace");
}
