//! Whole configurations: what each wrong one is told, and what a right one means.

use super::{Compression, Config, InitialEvents, LogLevel, Overrides};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The smallest right configuration, in one line, so that what follows begins in line 2.
const MINIMAL: &str = "{output_dir: x, resources: [{gvr: v1/pods}]}";

fn mistakes(yaml: &str) -> String {
    match Config::from_yaml(yaml, "c.yaml") {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(yaml: &str, expected: &str) {
    assert_eq!(mistakes(yaml), expected, "{yaml}");
}

/// Checks settings that follow the two that must be there.
#[track_caller]
fn check_setting(yaml: &str, expected: &str) {
    check(&format!("output_dir: x\nresources: [{{gvr: v1/pods}}]\n{yaml}\n"), expected);
}

/// Checks one resource, given in flow style.
#[track_caller]
fn check_resource(flow: &str, expected: &str) {
    check(&format!("output_dir: x\nresources:\n  - {{{flow}}}\n"), expected);
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = Config::from_yaml(MINIMAL, "c").unwrap();
    assert_eq!(config.output_dir, PathBuf::from("x"));
    assert_eq!((config.log_level, config.log_file), (LogLevel::Info, true));
    assert_eq!((config.auto_shutdown, config.shutdown_grace), (None, Duration::from_secs(10)));
    assert_eq!((config.json_export, config.json_stdout, config.cluster_name), (true, false, None));
    assert_eq!((config.initial_events, config.max_concurrent_lists), (InitialEvents::Emit, 4));
    assert_eq!((config.state.enabled, config.state.dir), (true, PathBuf::from("x/state")));
    assert_eq!((config.rotate.max_bytes, config.rotate.max_age), (104_857_600, Some(Duration::from_secs(86_400))));
    assert_eq!((config.compress, config.retain.total_bytes, config.retain.max_age), (Compression::None, Some(1 << 30), None));
    let metrics = config.metrics;
    assert_eq!((metrics.enabled, metrics.port, metrics.path.as_str()), (true, 8080, "/metrics"));
    assert_eq!(metrics.bind_addr.to_string(), "127.0.0.1");
}

#[test]
fn every_setting_of_the_file_is_taken() {
    let yaml = "
output_dir: /var/faro/events
log_level: debug
log_file: false
auto_shutdown_sec: 90
shutdown_grace_sec: 3
json_export: false
json_stdout: true
cluster_name: prod-eu
initial_events: skip
state: {enabled: false, dir: /var/faro/state}
rotate: {max_bytes: 65536, max_age_sec: 60}
compress: zstd
retain: {total_bytes: 131072, max_age_sec: 3600}
max_concurrent_lists: 64
metrics: {enabled: false, port: 0, path: /m, bind_addr: '::1'}
resources: [{gvr: v1/pods}]
";
    let config = Config::from_yaml(yaml, "c").unwrap();
    assert_eq!(config.output_dir, PathBuf::from("/var/faro/events"));
    assert_eq!((config.log_level, config.log_file), (LogLevel::Debug, false));
    assert_eq!((config.auto_shutdown, config.shutdown_grace), (Some(Duration::from_secs(90)), Duration::from_secs(3)));
    assert_eq!((config.json_export, config.json_stdout, config.cluster_name.as_deref()), (false, true, Some("prod-eu")));
    assert_eq!((config.initial_events, config.max_concurrent_lists), (InitialEvents::Skip, 64));
    assert_eq!((config.state.enabled, config.state.dir), (false, PathBuf::from("/var/faro/state")));
    assert_eq!((config.rotate.max_bytes, config.rotate.max_age), (65_536, Some(Duration::from_secs(60))));
    assert_eq!(config.compress, Compression::Zstd);
    assert_eq!((config.retain.total_bytes, config.retain.max_age), (Some(131_072), Some(Duration::from_secs(3600))));
    let metrics = config.metrics;
    assert_eq!((metrics.enabled, metrics.port, metrics.path.as_str()), (false, 0, "/m"));
    assert_eq!(metrics.bind_addr.to_string(), "::1");
}

#[test]
fn flags_override_the_file_and_may_give_what_it_lacks() {
    let overrides = Overrides {
        output_dir: Some("flag".into()),
        log_level: Some(LogLevel::Fatal),
        auto_shutdown: Some(Duration::ZERO),
        json_stdout: true,
        metrics_address: Some("[::]:9".parse().unwrap()),
    };
    for head in [
        "",
        "output_dir: file\nlog_level: debug\nauto_shutdown_sec: 5\njson_stdout: false\nmetrics: {enabled: false, port: 7, bind_addr: 10.0.0.1, path: /m}\n",
    ] {
        let config = Config::from_yaml_with(&format!("{head}resources: [{{gvr: v1/pods}}]"), "c", &overrides).unwrap();
        assert_eq!((config.output_dir, config.log_level), (PathBuf::from("flag"), LogLevel::Fatal));
        assert_eq!((config.auto_shutdown, config.json_stdout), (None, true));
        let metrics = config.metrics;
        assert_eq!((metrics.enabled, metrics.bind_addr.to_string(), metrics.port), (true, "::".to_owned(), 9));
    }
    let wrong = Config::from_yaml_with("output_dir: 1\nresources: [{gvr: v1/pods}]", "c", &overrides);
    assert_eq!(wrong.unwrap_err().to_string(), "c:1: output_dir: expected a folder, found 1; put it in quotes");
}

#[test]
fn every_example_loads_as_it_stands() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert!(!config.watches().is_empty(), "{}", path.display());
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["minimal.yaml", "namespace-centric.yaml", "resource-centric.yaml"]);
}

#[test]
fn an_empty_configuration_says_what_to_add() {
    let both = "2 mistakes in the configuration
c.yaml: output_dir: missing; name the folder that events and logs are written to
c.yaml: resources: nothing to watch; add what to watch, as in `resources: [{gvr: v1/pods}]`";
    check("", both);
    check("# nothing yet\n", both);
    check("---\n", both);
    check("{}", both);
    check(
        "output_dir: x\nresources: []\nnamespaces: []\n",
        "c.yaml: resources: nothing to watch; add what to watch, as in `resources: [{gvr: v1/pods}]`",
    );
    check("[]", "c.yaml:1: expected a mapping of settings, found a list");
    check("output_dir\n", "c.yaml:1: expected a mapping of settings, found \"output_dir\"");
}

#[test]
fn unknown_keys_are_mistakes_with_the_nearest_known_one() {
    check_setting("outputdir: y", "c.yaml:3: outputdir: unknown key; did you mean \"output_dir\"?");
    check_setting("Log_Level: info", "c.yaml:3: Log_Level: unknown key; did you mean \"log_level\"?");
    check_setting("metrics: {prot: 1}", "c.yaml:3: metrics.prot: unknown key; did you mean \"port\"?");
    check_setting("metrics: {tls: 1}", "c.yaml:3: metrics.tls: expected a mapping of files, found 1");
    check_setting(
        "metrics: {tls: {cert_file: a}}",
        "c.yaml:3: metrics.tls.key_file: missing; name the PEM file with the certificate's key",
    );
    check_setting(
        "metrics: {host: 1}",
        "c.yaml:3: metrics.host: unknown key; allowed here: enabled, port, path, bind_addr, tls, bearer_token_file",
    );
    check_setting(
        "kubernetes: {}",
        "c.yaml:3: kubernetes: unknown key; allowed here: output_dir, log_level, log_file, auto_shutdown_sec, shutdown_grace_sec, \
         json_export, json_stdout, cluster_name, initial_events, state, rotate, compress, retain, max_concurrent_lists, \
         watch_config, redact_last_applied, annotation_value_max_bytes, redact_key_file, metrics, namespaces, resources",
    );
    check_setting(
        "\"a b\": 1",
        &format!("c.yaml:3: [\"a b\"]: unknown key; allowed here: {}", super::schema::ROOT_KEYS.join(", ")),
    );
    check_resource("grv: v1/pods, gvr: v1/pods", "c.yaml:3: resources[0].grv: unknown key; did you mean \"gvr\"?");
    check(
        "output_dir: x\nnamespaces:\n- name_selector: a\n  resources:\n    v1/pods:\n      labels: a=b\n",
        "c.yaml:6: namespaces[0].resources[\"v1/pods\"].labels: unknown key; allowed here: label_selector, field_selector, name_selector",
    );
}

#[test]
fn keys_of_older_samples_name_todays_key() {
    check_resource(
        "gvr: v1/pods, namespace_patterns: [prod-.*]",
        "c.yaml:3: resources[0].namespace_patterns: this key of older samples is called \"namespace_names\" today and takes exact names, not patterns",
    );
    check_resource(
        "gvr: v1/pods, label_pattern: app=web",
        "c.yaml:3: resources[0].label_pattern: this key of older samples is called \"label_selector\" today and takes a label selector as `kubectl -l` does",
    );
    check(
        "output_dir: x\nnamespaces:\n  - name_pattern: prod\n    resources: {v1/pods: {}}\n",
        "2 mistakes in the configuration
c.yaml:3: namespaces[0].name_selector: missing; name the namespace, or move its resources to `resources` for all namespaces
c.yaml:3: namespaces[0].name_pattern: this key of older samples is called \"name_selector\" today and takes an exact name, not a pattern",
    );
}

#[test]
fn wrong_types_say_what_is_expected_and_what_was_found() {
    check_setting("json_export: \"yes\"", "c.yaml:3: json_export: expected true or false, found \"yes\"; did you mean true?");
    check_setting("json_export: off", "c.yaml:3: json_export: expected true or false, found \"off\"; did you mean false?");
    check_setting("json_export: 1", "c.yaml:3: json_export: expected true or false, found 1");
    check_setting("json_export:", "c.yaml:3: json_export: expected true or false, found nothing");
    check_setting("log_file: []", "c.yaml:3: log_file: expected true or false, found a list");
    let seconds = "expected a whole number of seconds from 0 to 315360000, found";
    check_setting("auto_shutdown_sec: -1", &format!("c.yaml:3: auto_shutdown_sec: {seconds} -1"));
    check_setting("auto_shutdown_sec: 1.5", &format!("c.yaml:3: auto_shutdown_sec: {seconds} 1.5"));
    check_setting("auto_shutdown_sec: 5m", &format!("c.yaml:3: auto_shutdown_sec: {seconds} \"5m\""));
    check_setting("shutdown_grace_sec: '5'", &format!("c.yaml:3: shutdown_grace_sec: {seconds} \"5\"; leave the quotes out"));
    check_setting("shutdown_grace_sec: {}", &format!("c.yaml:3: shutdown_grace_sec: {seconds} a mapping"));
    check_setting(
        "shutdown_grace_sec: 99999999999999999999999999999999999999999",
        &format!("c.yaml:3: shutdown_grace_sec: {seconds} 100000000000000000000000000000000000000000"),
    );
    check_setting("metrics: 8080", "c.yaml:3: metrics: expected a mapping of settings, found 8080");
    check_setting("metrics:", "c.yaml:3: metrics: expected a mapping of settings, found nothing");
    check_setting("metrics: {port: 65536}", "c.yaml:3: metrics.port: expected a port from 0 to 65535, found 65536");
    check_setting("metrics: {port: http}", "c.yaml:3: metrics.port: expected a port from 0 to 65535, found \"http\"");
    check_setting("cluster_name: 7", "c.yaml:3: cluster_name: expected a name, found 7; put it in quotes");
    check_setting(
        "namespaces: {a: b}",
        "c.yaml:3: namespaces: expected a list of namespaces, each with `name_selector` and `resources`, found a mapping",
    );
    check(
        "output_dir: x\nresources:\n  v1/pods: {}\n",
        "c.yaml:3: resources: expected a list of resources, each with `gvr`, found a mapping",
    );
    check(
        "output_dir: x\nresources: [v1/pods]\n",
        "c.yaml:2: resources[0]: expected a resource with `gvr`, as in {gvr: v1/pods}, found \"v1/pods\"",
    );
    check_setting("7: x", "c.yaml:3: expected a key that is text, found 7; put it in quotes");
}

#[test]
fn wrong_values_say_what_is_allowed() {
    check("output_dir: ''\nresources: [{gvr: v1/pods}]", "c.yaml:1: output_dir: expected a folder, found \"\"");
    check(
        "output_dir: ~/events\nresources: [{gvr: v1/pods}]",
        "c.yaml:1: output_dir: expected a folder, found \"~/events\"; neither ~ nor variables are replaced here",
    );
    check("output_dir: ~\nresources: [{gvr: v1/pods}]", "c.yaml:1: output_dir: expected a folder, found nothing");
    let levels = "expected debug, info, warning, error or fatal, found";
    check_setting("log_level: warn", &format!("c.yaml:3: log_level: {levels} \"warn\"; did you mean \"warning\"?"));
    check_setting("log_level: INFO", &format!("c.yaml:3: log_level: {levels} \"INFO\"; did you mean \"info\"?"));
    check_setting("log_level: loud", &format!("c.yaml:3: log_level: {levels} \"loud\""));
    check_setting(
        "cluster_name: \"a\\nb\"",
        "c.yaml:3: cluster_name: expected a name of at most 253 bytes without control characters, found \"a\\nb\"",
    );
    check_setting(
        "metrics: {bind_addr: localhost}",
        "c.yaml:3: metrics.bind_addr: expected an IP address as in \"0.0.0.0\" or \"::\", found \"localhost\"; did you mean \"127.0.0.1\"?",
    );
    check_setting(
        "metrics: {bind_addr: '0.0.0.0:8080'}",
        "c.yaml:3: metrics.bind_addr: expected an IP address as in \"0.0.0.0\" or \"::\", found \"0.0.0.0:8080\"",
    );
    check_setting("metrics: {path: metrics}", "c.yaml:3: metrics.path: expected a path as in \"/metrics\", found \"metrics\"");
    check_setting("metrics: {path: '/m?x'}", "c.yaml:3: metrics.path: expected a path as in \"/metrics\", found \"/m?x\"");
    check_setting(
        "metrics: {path: /ready}",
        "c.yaml:3: metrics.path: \"/ready\" is taken by Faro's own answers; choose another path",
    );
}

#[test]
fn wrong_resources_are_told_with_their_cure() {
    let gvr = "expected `version/resource` or `group/version/resource`, found";
    check_resource("gvr: pods", &format!("c.yaml:3: resources[0].gvr: {gvr} \"pods\"; did you mean \"v1/pods\"?"));
    check_resource("gvr: a/b/c/d", &format!("c.yaml:3: resources[0].gvr: {gvr} \"a/b/c/d\""));
    check_resource("gvr: ~", &format!("c.yaml:3: resources[0].gvr: {gvr} nothing"));
    check_resource("scope: Cluster", "c.yaml:3: resources[0].gvr: missing; name the resource, as in \"v1/pods\"");
    check_resource(
        "gvr: v1/pods, scope: Namespace",
        "c.yaml:3: resources[0].scope: expected Namespaced or Cluster, found \"Namespace\"; did you mean \"Namespaced\"?",
    );
    check_resource(
        "gvr: v1/pods, scope: cluster-scoped",
        "c.yaml:3: resources[0].scope: expected Namespaced or Cluster, found \"cluster-scoped\"",
    );
    check(
        "output_dir: x\nresources:\n- {gvr: v1/pods, scope: namespaced}\n- {gvr: v1/nodes, scope: Cluster}\n- {gvr: v1/pods, scope: CLUSTER}\n",
        "c.yaml:5: resources[2]: scope Cluster contradicts scope Namespaced of the same resource at c.yaml:3: resources[0]",
    );
    check_resource(
        "gvr: v1/pods, name_selector: ''",
        "c.yaml:3: resources[0].name_selector: expected an exact name, found \"\"; leave the key out for all names",
    );
    check_resource(
        "gvr: v1/pods, name_selector: web-*",
        "c.yaml:3: resources[0].name_selector: expected an exact name, found \"web-*\"; patterns are not supported, list the names or use a label selector",
    );
    check_resource(
        "gvr: v1/pods, name_selector: a/b",
        "c.yaml:3: resources[0].name_selector: expected an exact name, found \"a/b\"",
    );
    check_resource("gvr: rbac.authorization.k8s.io/v1/roles, name_selector: 'system:node'", "ok");
    check_resource(
        "gvr: v1/pods, label_selector: 5",
        "c.yaml:3: resources[0].label_selector: expected a label selector as in \"app=web\", found 5; put it in quotes",
    );
    check_resource(
        "gvr: v1/pods, label_selector: a==",
        "c.yaml:3: resources[0].label_selector: in \"a==\": expected a value after `==`, found the end at column 4; for the empty value write `a in ()`",
    );
    check_resource(
        "gvr: v1/pods, label_selector: 'app in web'",
        "c.yaml:3: resources[0].label_selector: in \"app in web\": expected `(` and a list of values, found \"web\" at column 8",
    );
    check_resource(
        "gvr: v1/pods, label_selector: ''",
        "c.yaml:3: resources[0].label_selector: the selector is empty; leave the key out to select everything",
    );
    check_resource(
        "gvr: v1/pods, field_selector: spec.nodeName",
        "c.yaml:3: resources[0].field_selector: in \"spec.nodeName\": expected one of =, ==, != and a value, found nothing at column 14; fields can only be compared for equality",
    );
}

#[test]
fn wrong_namespaces_are_told_with_their_cure() {
    let name = "expected the exact name of a namespace (a-z, 0-9 and -, at most 63), found";
    let at = "c.yaml:3: resources[0].namespace_names";
    check_resource("gvr: v1/pods, namespace_names: [Prod]", &format!("{at}[0]: {name} \"Prod\"; did you mean \"prod\"?"));
    check_resource(
        "gvr: v1/pods, namespace_names: [a, 'b*']",
        &format!("{at}[1]: {name} \"b*\"; patterns are not supported, list the names or use a label selector"),
    );
    check_resource("gvr: v1/pods, namespace_names: [a.b]", &format!("{at}[0]: {name} \"a.b\""));
    check_resource("gvr: v1/pods, namespace_names: [1]", &format!("{at}[0]: {name} 1; put it in quotes"));
    check_resource("gvr: v1/pods, namespace_names: [~]", &format!("{at}[0]: {name} nothing"));
    check_resource(
        "gvr: v1/pods, namespace_names: prod",
        &format!("{at}: expected a list of namespaces, found \"prod\"; did you mean [\"prod\"]?"),
    );
    check_resource(
        "gvr: v1/pods, namespace_names: ['', a]",
        &format!("{at}: \"\" means all namespaces; leave it or the others out"),
    );
    let missing = "name the namespace, or move its resources to `resources` for all namespaces";
    let at = "c.yaml:2: namespaces[0]";
    check("output_dir: x\nnamespaces: [{resources: {v1/pods: {}}}]", &format!("{at}.name_selector: missing; {missing}"));
    check(
        "output_dir: x\nnamespaces: [{name_selector: '', resources: {v1/pods: {}}}]",
        &format!("{at}.name_selector: {name} \"\""),
    );
    check(
        "output_dir: x\nnamespaces: [{name_selector: a}]",
        &format!("{at}.resources: missing; add what to watch there, as in `\"v1/pods\": {{}}`"),
    );
    check(
        "output_dir: x\nnamespaces: [{name_selector: a, resources: {}}]",
        &format!("{at}.resources: empty; add what to watch there, as in `\"v1/pods\": {{}}`"),
    );
    check(
        "output_dir: x\nnamespaces: [{name_selector: a, resources: [{gvr: v1/pods}]}]",
        &format!(
            "{at}.resources: expected a mapping from each resource to its selectors, as in `\"v1/pods\": {{}}`, found a list"
        ),
    );
    check(
        "output_dir: x\nnamespaces: [{name_selector: a, resources: {v1/pods: }}]",
        &format!("{at}.resources[\"v1/pods\"]: expected a mapping of selectors ({{}} selects everything), found nothing"),
    );
    check(
        "output_dir: x\nnamespaces:\n- name_selector: a\n  resources:\n    v1/pods: {}\n    services: {}\n",
        "c.yaml:6: namespaces[0].resources.services: expected `version/resource` or `group/version/resource`, found \"services\"; did you mean \"v1/services\"?",
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    check(
        "output_dir: x
resources:
  - gvr: pods
    colour: red
log_level: loud
metrics:
  port: -1
",
        "4 mistakes in the configuration
c.yaml:3: resources[0].gvr: expected `version/resource` or `group/version/resource`, found \"pods\"; did you mean \"v1/pods\"?
c.yaml:4: resources[0].colour: unknown key; allowed here: gvr, scope, namespace_names, name_selector, label_selector, field_selector
c.yaml:5: log_level: expected debug, info, warning, error or fatal, found \"loud\"
c.yaml:7: metrics.port: expected a port from 0 to 65535, found -1",
    );
    let many = mistakes(&format!("output_dir: x\nresources:\n{}", "  - gvr: 1\n".repeat(50)));
    assert_eq!(many.lines().count(), 22, "{many}");
    assert!(many.starts_with("50 mistakes in the configuration\nc.yaml:3: resources[0].gvr: "), "{many}");
    assert!(many.ends_with("\n… and 30 more"), "{many}");
}

#[test]
fn keys_are_given_once_and_merges_are_resolved() {
    check_setting("log_level: info\nlog_level: debug", "c.yaml:4: log_level: given twice, first in line 3");
    check_setting("metrics: {port: 1,\n port: 1}", "c.yaml:4: metrics.port: given twice, first in line 3");
    let merged = "output_dir: x\nresources:\n  - &base\n    gvr: v1/pods\n    namespace_names: [a]\n  - <<: *base\n    label_selector: app=web\n";
    let config = Config::from_yaml(merged, "c").unwrap();
    assert_eq!(config.watches().len(), 2);
    assert_eq!(config.watches()[1].target.to_string(), "v1/pods in a with labels app=web");
    check(
        "output_dir: x\nresources:\n  - &base\n    gvr: pods\n  - <<: [*base, {scope: Cluster}]\n    gvr: v1/nodes\n    <<: 5\n",
        "2 mistakes in the configuration
c.yaml:4: resources[0].gvr: expected `version/resource` or `group/version/resource`, found \"pods\"; did you mean \"v1/pods\"?
c.yaml:7: resources[1].<<: expected a mapping, or a list of mappings, found 5",
    );
}

#[test]
fn selectors_are_as_long_as_a_url_takes() {
    let load = |names: usize, fields: usize| {
        let label = format!("name notin ({})", vec!["n".repeat(60); names].join(","));
        let field = vec!["metadata.namespace!=kube-system"; fields].join(",");
        let yaml =
            format!("output_dir: x\nresources:\n- gvr: v1/pods\n  label_selector: \"{label}\"\n  field_selector: {field}\n");
        Config::from_yaml(&yaml, "c").map(|config| config.watches().len()).map_err(|error| error.to_string())
    };
    assert_eq!(load(400, 500), Ok(1));
    assert_eq!(
        load(700, 500),
        Err("c:3: resources[0]: its selectors take 63115 bytes of a URL; 61440 are allowed, so split it into several entries"
            .to_owned())
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let message = Config::load(&path).map(|_| "ok".to_owned()).unwrap_or_else(|error| error.to_string());
        message.replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(load(format!("\u{feff}{MINIMAL}").as_bytes()), "ok");
    assert_eq!(load(b"output_dir: x\nname: \xff\n"), "c.yaml:2: not UTF-8 text");
    assert_eq!(load("#".repeat(2_000_000).as_bytes()), "c.yaml: longer than 1048576 bytes");
    assert_eq!(load(b"a: 1\n---\nb: 1\n"), "c.yaml:3: a second YAML document begins; only one is allowed");
    let missing = Config::load(&folder.path().join("none.yaml")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read the configuration "), "{missing}");
    assert!(std::error::Error::source(&missing).is_some());
}

#[test]
fn no_mutation_of_a_configuration_panics() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let samples = [include_str!("../../examples/namespace-centric.yaml"), include_str!("../../examples/resource-centric.yaml")];
    let pieces = [
        "{", "}", "[", "]", ": ", "- ", "\n", "  ", "\t", "&a ", "*a", "<<", "!x ", "|", "\"", "'", "#", "~", "-1", "é", "\0",
        "---\n", "? ",
    ];
    for round in 0..2_000 {
        let mut text: Vec<char> = random.choice(samples).unwrap_or(MINIMAL).chars().collect();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..text.len());
            let end = (at + random.usize(..8)).min(text.len());
            let piece = random.choice(pieces).unwrap_or("");
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        let told = std::panic::catch_unwind(|| mistakes(&text));
        assert!(told.is_ok_and(|told| !told.is_empty()), "seed {seed}, round {round}: {text}");
    }
}
