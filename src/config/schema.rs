//! Both formats of the file: which keys there are, and what becomes of each.
//!
//! Takes the tree; gives a [`RawConfig`], in which nothing is required yet, so that flags can fill in what the file left out.

use super::error::{Place, Problem, Source, Spot, lacks};
use super::read::{Map, Reader};
use super::redact::{self, RedactConfig};
use super::storage::{self, RawStorage, StateConfig};
use super::values::{self, found};
use super::{Config, LogLevel, MetricsConfig, MetricsTlsConfig, Overrides, ResourceEntry, Selectors, watches};
use crate::api::{FieldSelector, LabelSelector, SELECTOR_BYTES_MAX};
use crate::api::{GroupVersionResource, Scope};
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ROOT_KEYS: [&str; 21] = [
    "output_dir",
    "log_level",
    "log_file",
    "auto_shutdown_sec",
    "shutdown_grace_sec",
    "json_export",
    "json_stdout",
    "cluster_name",
    "initial_events",
    "state",
    "rotate",
    "compress",
    "retain",
    "max_concurrent_lists",
    "watch_config",
    "redact_last_applied",
    "annotation_value_max_bytes",
    "redact_key_file",
    "metrics",
    "namespaces",
    "resources",
];
const METRICS_KEYS: [&str; 6] = ["enabled", "port", "path", "bind_addr", "tls", "bearer_token_file"];
const METRICS_TLS_KEYS: [&str; 3] = ["cert_file", "key_file", "client_ca_file"];
const NAMESPACE_KEYS: [&str; 2] = ["name_selector", "resources"];
const SELECTOR_KEYS: [&str; 3] = ["label_selector", "field_selector", "name_selector"];
const RESOURCE_KEYS: [&str; 6] = ["gvr", "scope", "namespace_names", "name_selector", "label_selector", "field_selector"];

/// What to add to a configuration that watches nothing.
const NOTHING_TO_WATCH: &str = "nothing to watch; add what to watch, as in `resources: [{gvr: v1/pods}]`";

/// What a file says, each value checked by itself.
#[derive(Default)]
struct RawConfig {
    output_dir: Option<PathBuf>,
    log_level: Option<LogLevel>,
    log_file: Option<bool>,
    auto_shutdown: Option<Duration>,
    shutdown_grace: Option<Duration>,
    json_export: Option<bool>,
    json_stdout: Option<bool>,
    cluster_name: Option<String>,
    storage: RawStorage,
    max_concurrent_lists: Option<usize>,
    watch_config: Option<bool>,
    redact: RedactConfig,
    metrics: MetricsConfig,
    resources: Vec<ResourceEntry>,
}

/// Who says what is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file alone: one that names nothing is a mistake.
    File,
    /// A program, which may add what it wants later.
    Program,
}

/// Reads the whole tree, lays `overrides` over it, and checks what is left.
pub(super) fn read(source: Arc<Source>, root: &Node, overrides: &Overrides, origin: Origin) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader::new(source);
    let mut raw = RawConfig::default();
    let empty = Node { number: 0, value: Value::Map(Vec::new()) };
    let root = if let Value::Null = root.value { &empty } else { root };
    let map = reader.map("", root, "a mapping of settings", &ROOT_KEYS);
    if let Some(map) = &map {
        raw = read_root(&mut reader, map);
        if overrides.output_dir.is_none() && map.get("output_dir").is_none() {
            let message = "missing; name the folder that events and logs are written to";
            reader.report(Spot::Whole, "output_dir", message);
        }
        let may_be_empty = origin == Origin::Program;
        if !may_be_empty && map.get("resources").is_none_or(is_empty_list) && map.get("namespaces").is_none_or(is_empty_list) {
            reader.report(Spot::Whole, "resources", NOTHING_TO_WATCH);
        }
    }
    check_scopes(&mut reader, &raw.resources);
    let watch_count: usize = raw.resources.iter().map(|entry| entry.namespaces.len().max(1)).sum();
    if watch_count > watches::WATCHES_MAX {
        let message = format!("{watch_count} watches are asked for; at most {} are accepted", watches::WATCHES_MAX);
        reader.report(Spot::Whole, "resources", message);
    }
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(finish(raw, overrides)) } else { Err(problems) }
}

fn read_resources(reader: &mut Reader, map: &Map<'_>) -> Vec<ResourceEntry> {
    let items = reader.list(map, "resources", "a list of resources, each with `gvr`");
    items.into_iter().filter_map(|(path, node)| read_resource(reader, &path, node)).collect()
}

/// Reads resources that are added at run time.
pub(super) fn read_added(source: Arc<Source>, root: &Node) -> Result<Vec<ResourceEntry>, Vec<Problem>> {
    let mut reader = Reader::new(source);
    let map = reader.map("", root, "resources", &["resources"]);
    let resources = map.map(|map| read_resources(&mut reader, &map)).unwrap_or_default();
    check_scopes(&mut reader, &resources);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(resources) } else { Err(problems) }
}

fn finish(raw: RawConfig, overrides: &Overrides) -> Config {
    let output_dir = overrides.output_dir.clone().or(raw.output_dir).expect("its absence is a mistake that was told");
    let auto_shutdown = overrides.auto_shutdown.or(raw.auto_shutdown).filter(|after| !after.is_zero());
    let storage = raw.storage;
    let mut metrics = raw.metrics;
    if let Some(address) = overrides.metrics_address {
        (metrics.enabled, metrics.bind_addr, metrics.port) = (true, address.ip(), address.port());
    }
    let state = StateConfig {
        enabled: storage.state_enabled.unwrap_or(cfg!(feature = "state")),
        dir: storage.state_dir.unwrap_or_else(|| output_dir.join("state")),
    };
    Config {
        output_dir,
        log_level: overrides.log_level.or(raw.log_level).unwrap_or(LogLevel::Info),
        log_file: raw.log_file.unwrap_or(true),
        auto_shutdown,
        shutdown_grace: raw.shutdown_grace.unwrap_or(SHUTDOWN_GRACE),
        json_export: raw.json_export.unwrap_or(cfg!(feature = "export")),
        json_stdout: overrides.json_stdout || raw.json_stdout.unwrap_or(false),
        cluster_name: raw.cluster_name,
        initial_events: storage.initial_events,
        state,
        rotate: storage.rotate,
        compress: storage.compress,
        retain: storage.retain,
        max_concurrent_lists: raw.max_concurrent_lists.unwrap_or(MAX_CONCURRENT_LISTS),
        watch_config: raw.watch_config.unwrap_or(false),
        redact: raw.redact,
        metrics,
        resources: raw.resources,
    }
}

const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Enough to keep a server busy, and few enough that hundreds of watches that begin anew do not fall upon it together.
const MAX_CONCURRENT_LISTS: usize = 4;

fn read_root(reader: &mut Reader, map: &Map<'_>) -> RawConfig {
    let mut raw = RawConfig {
        output_dir: reader.read(map, "output_dir", values::folder),
        log_level: reader.read(map, "log_level", values::log_level),
        log_file: reader.read(map, "log_file", values::boolean),
        auto_shutdown: reader.read(map, "auto_shutdown_sec", values::seconds),
        shutdown_grace: reader.read(map, "shutdown_grace_sec", values::seconds),
        json_export: reader.read(map, "json_export", exported),
        json_stdout: reader.read(map, "json_stdout", exported),
        cluster_name: reader.read(map, "cluster_name", values::cluster_name).flatten(),
        storage: storage::read(reader, map),
        max_concurrent_lists: reader.read(map, "max_concurrent_lists", values::concurrent_lists),
        watch_config: reader.read(map, "watch_config", values::boolean),
        redact: redact::read(reader, map),
        metrics: MetricsConfig::default(),
        resources: Vec::new(),
    };
    if let Some(node) = map.get("metrics") {
        read_metrics(reader, node, &mut raw.metrics);
    }
    for (path, node) in reader.list(map, "namespaces", "a list of namespaces, each with `name_selector` and `resources`") {
        read_namespace(reader, &path, node, &mut raw.resources);
    }
    raw.resources.extend(read_resources(reader, map));
    raw
}

fn exported(node: &Node) -> Result<bool, String> {
    let is_wanted = values::boolean(node)?;
    let is_lacking = is_wanted && !cfg!(feature = "export");
    if is_lacking { Err(lacks("export", "say `json_export: false` and leave `json_stdout` out")) } else { Ok(is_wanted) }
}

fn read_metrics(reader: &mut Reader, node: &Node, metrics: &mut MetricsConfig) {
    let Some(map) = reader.map("metrics", node, "a mapping of settings", &METRICS_KEYS) else { return };
    let enabled = reader.read(&map, "enabled", values::boolean);
    if !cfg!(feature = "metrics") && enabled != Some(false) {
        reader.report(map.spot(), map.path(), lacks("metrics", "say `metrics: {enabled: false}`"));
    }
    metrics.enabled = enabled.unwrap_or(metrics.enabled);
    metrics.port = reader.read(&map, "port", values::port).unwrap_or(metrics.port);
    metrics.bind_addr = reader.read(&map, "bind_addr", values::bind_addr).unwrap_or(metrics.bind_addr);
    if let Some(path) = reader.read(&map, "path", values::metrics_path) {
        metrics.path = path;
    }
    if cfg!(feature = "metrics") {
        metrics.bearer_token_file = reader.read(&map, "bearer_token_file", values::file);
        metrics.tls = map.get("tls").and_then(|node| read_metrics_tls(reader, node));
    }
}

fn read_metrics_tls(reader: &mut Reader, node: &Node) -> Option<MetricsTlsConfig> {
    let map = reader.map("metrics.tls", node, "a mapping of files", &METRICS_TLS_KEYS)?;
    let cert_file = reader.require(&map, "cert_file", "missing; name the PEM file with the server's certificate", values::file);
    let key_file = reader.require(&map, "key_file", "missing; name the PEM file with the certificate's key", values::file);
    let client_ca_file = reader.read(&map, "client_ca_file", values::file);
    Some(MetricsTlsConfig { cert_file: cert_file?, key_file: key_file?, client_ca_file })
}

fn read_namespace(reader: &mut Reader, path: &str, node: &Node, entries: &mut Vec<ResourceEntry>) {
    let what = "a namespace with `name_selector` and `resources`";
    let Some(map) = reader.map(path, node, what, &NAMESPACE_KEYS) else { return };
    let missing = "missing; name the namespace, or move its resources to `resources` for all namespaces";
    let name = reader.require(&map, "name_selector", missing, values::namespace_name);
    let example = "as in `\"v1/pods\": {}`";
    let resources_path = map.path_of("resources");
    let Some(resources) = map.get("resources") else {
        return reader.report(map.spot(), &resources_path, format!("missing; add what to watch there, {example}"));
    };
    let what = format!("a mapping from each resource to its selectors, {example}");
    let Some(resources) = reader.free_map(&resources_path, resources, &what) else { return };
    if resources.entries().is_empty() {
        reader.report(resources.spot(), &resources_path, format!("empty; add what to watch there, {example}"));
    }
    for entry in resources.entries() {
        let path = resources.path_of(entry.key);
        let gvr = entry.key.parse::<GroupVersionResource>().map_err(|e| reader.report(entry.spot(), &path, e.to_string())).ok();
        let selectors = read_namespaced_selectors(reader, &path, entry.value);
        if let (Some(gvr), Some(selectors), Some(name)) = (gvr, selectors, name.clone()) {
            let place = reader.place(entry.spot(), &path);
            entries.push(ResourceEntry { gvr, scope: None, namespaces: vec![name], selectors, place });
        }
    }
}

fn read_namespaced_selectors(reader: &mut Reader, path: &str, node: &Node) -> Option<Selectors> {
    let map = reader.map(path, node, "a mapping of selectors ({} selects everything)", &SELECTOR_KEYS)?;
    Some(read_selectors(reader, &map))
}

/// With its escapes: all but the unreserved characters of RFC 3986.
fn bytes_in_url(selector: &str) -> usize {
    selector.bytes().map(|byte| if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { 1 } else { 3 }).sum()
}

fn read_selectors(reader: &mut Reader, map: &Map<'_>) -> Selectors {
    let selectors = Selectors {
        name: reader.read(map, "name_selector", values::object_name),
        label: reader.read(map, "label_selector", values::label_selector),
        field: reader.read(map, "field_selector", values::field_selector),
    };
    let texts = [selectors.label.as_ref().map(LabelSelector::as_str), selectors.field.as_ref().map(FieldSelector::as_str)];
    let bytes: usize = texts.into_iter().flatten().map(bytes_in_url).sum();
    if bytes > SELECTOR_BYTES_MAX {
        let message = format!(
            "its selectors take {bytes} bytes of a URL; {SELECTOR_BYTES_MAX} are allowed, so split it into several entries"
        );
        reader.report(map.spot(), map.path(), message);
    }
    selectors
}

fn read_resource(reader: &mut Reader, path: &str, node: &Node) -> Option<ResourceEntry> {
    let map = reader.map(path, node, "a resource with `gvr`, as in {gvr: v1/pods}", &RESOURCE_KEYS)?;
    let gvr = reader.require(&map, "gvr", "missing; name the resource, as in \"v1/pods\"", values::gvr);
    let scope = reader.read(&map, "scope", values::scope);
    let namespaces = read_namespace_names(reader, &map);
    let selectors = read_selectors(reader, &map);
    let spot = map.get("gvr").map_or(map.spot(), |node| Spot::Node(node.number));
    Some(ResourceEntry { gvr: gvr?, scope, namespaces, selectors, place: reader.place(spot, map.path()) })
}

fn read_namespace_names(reader: &mut Reader, map: &Map<'_>) -> Vec<String> {
    let key = "namespace_names";
    if let Some(node) = map.get(key)
        && let Value::Text(_) = node.value
    {
        let message = format!("expected a list of namespaces, found {0}; did you mean [{0}]?", found(node));
        reader.report(Spot::Node(node.number), &map.path_of(key), message);
        return Vec::new();
    }
    let items = reader.list(map, key, "a list of namespaces, as in [default, kube-system]");
    let mut names: Vec<String> = Vec::new();
    for (path, node) in &items {
        if let Some(name) = reader.parse(path, node, values::namespace_name_or_all)
            && let Err(at) = names.binary_search(&name)
        {
            names.insert(at, name);
        }
    }
    if names.iter().any(String::is_empty) {
        if names.iter().any(|name| !name.is_empty()) {
            reader.report(
                Spot::Node(items[0].1.number),
                &map.path_of(key),
                "\"\" means all namespaces; leave it or the others out",
            );
        }
        names.clear();
    }
    names
}

/// One kind has one scope, wherever it is named.
fn check_scopes(reader: &mut Reader, entries: &[ResourceEntry]) {
    let mut known: BTreeMap<&GroupVersionResource, (Scope, &Place)> = BTreeMap::new();
    for entry in entries {
        let Some(scope) = entry.scope else { continue };
        let (first, place) = known.entry(&entry.gvr).or_insert((scope, &entry.place));
        if *first != scope {
            let message = format!("scope {scope:?} contradicts scope {first:?} of the same resource at {place}");
            reader.report(entry.place.spot, &entry.place.path, message);
        }
    }
}

fn is_empty_list(node: &Node) -> bool {
    if let Value::List(items) = &node.value { items.is_empty() } else { false }
}
