//! What Faro tells, the alerts, the queries and the dashboard, as Prometheus's own tool judges them. Without `promtool` on
//! the machine there is nothing to hold; the rules that matter most are held in `src/metrics/lint_tests.rs` as well.

use crate::support::daemon::Setup;
use faro::sim::Cluster;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Gives it `input` and demands that it has nothing to say against it.
fn check(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(repository().join("deploy/prometheus"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "promtool {arguments:?} fails:\n{said}");
}

/// Whether it is there. `FARO_NEEDS_PROMTOOL` demands it.
fn promtool_is_there() -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    let is_needed = std::env::var_os("FARO_NEEDS_PROMTOOL").is_some();
    assert!(found || !is_needed, "promtool is missing: install Debian's package prometheus, or Prometheus itself");
    if !found {
        report_absent();
    }
    found
}

#[expect(clippy::print_stderr, reason = "a test that holds nothing says so to whoever runs it")]
fn report_absent() {
    eprintln!("promtool is not on this machine: what it judges is not judged");
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    if !promtool_is_there() {
        return;
    }
    let cluster = Cluster::builder().tls(false).start().unwrap();
    cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    let setup = Setup::with_config("cluster_name: prod-eu\nresources: [{gvr: v1/configmaps}]\n").kubeconfig(cluster.kubeconfig());
    let daemon = setup.start_ready();
    let (code, text) = daemon.http("/metrics").unwrap();
    assert_eq!(code, 200);
    check(&["check", "metrics"], &text);
    daemon.stop();
}

#[test]
fn promtool_finds_nothing_wrong_with_the_alerts_and_they_fire_when_they_should() {
    if !promtool_is_there() {
        return;
    }
    check(&["check", "rules", "rules.yaml"], "");
    check(&["test", "rules", "rules_test.yaml"], "");
}

/// The expressions of the dashboard, with what Grafana puts in for its variables.
fn dashboard_queries(value: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(items) = value.as_array() {
        items.iter().for_each(|item| dashboard_queries(item, found));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match member.as_str().filter(|_| name == "expr") {
            Some(query) => found.push(query.replace("$__rate_interval", "5m")),
            None => dashboard_queries(member, found),
        }
    }
}

#[test]
fn promtool_reads_the_queries_of_dashboard_and_documentation() {
    if !promtool_is_there() {
        return;
    }
    let dashboard = fs::read_to_string(repository().join("deploy/grafana/faro.json")).unwrap();
    let documentation = fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let mut queries = Vec::new();
    dashboard_queries(&serde_json::from_str(&dashboard).unwrap(), &mut queries);
    let documented = documentation.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = documented.flat_map(str::lines).filter(|line| !line.is_empty() && !line.starts_with('#'));
    queries.extend(lines.map(str::to_owned));
    assert!(queries.len() > 50, "only {} queries were found", queries.len());
    let mut rules = "groups:\n- name: queries\n  rules:\n".to_owned();
    for (number, query) in queries.iter().enumerate() {
        writeln!(rules, "  - {{record: 'query_{number}', expr: '{}'}}", query.replace('\'', "''")).unwrap();
    }
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), rules).unwrap();
    check(&["check", "rules", &file.path().to_string_lossy()], "");
}
