//! Configurations made by programs: checked by the same rules as a file, by being read as one.
//!
//! Takes settings one by one; gives a [`Config`], or every mistake at once, each with the path of its key.

use super::error::{Problem, Source};
use super::{Compression, Config, ConfigError, InitialEvents, LogLevel, Overrides, ResourceEntry, schema};
use crate::api::Scope;
use crate::yaml::{Node, Value};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One resource that is asked for, in the words of the file. Selectors are applied by the server.
///
/// ```
/// use faro::config::ResourceConfig;
///
/// let web = ResourceConfig { label_selector: Some("app=web".to_owned()), ..ResourceConfig::new("v1/pods") };
/// assert!(web.namespace_names.is_empty(), "all namespaces");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Which resource, as in `v1/pods` or `apps/v1/deployments`. Required.
    pub gvr: String,
    /// What its scope is expected to be; checked against the server. Defaults to `None`: as the server says.
    pub scope: Option<Scope>,
    /// In which namespaces, by their exact names. Defaults to none, which means all.
    pub namespace_names: Vec<String>,
    /// One object's exact name. Defaults to `None`: any.
    pub name_selector: Option<String>,
    /// Labels, as `kubectl -l` takes them. Defaults to `None`: any.
    pub label_selector: Option<String>,
    /// Fields, as `kubectl --field-selector` takes them. Defaults to `None`: any.
    pub field_selector: Option<String>,
}

/// Gathers settings; what is not set has the default of the file.
#[derive(Clone, Debug)]
pub struct ConfigBuilder {
    overrides: Overrides,
    settings: Vec<(&'static str, Tree)>,
    resources: Vec<ResourceConfig>,
}

#[derive(Clone, Debug)]
enum Tree {
    Leaf(Leaf),
    Map(Vec<(&'static str, Leaf)>),
}

#[derive(Clone, Debug)]
enum Leaf {
    Bool(bool),
    Number(u64),
    Duration(Duration),
    Text(String),
}

/// What mistakes call the source.
const ORIGIN: &str = "the configuration";

impl ResourceConfig {
    /// All objects of one resource.
    pub fn new(gvr: impl Into<String>) -> Self {
        Self { gvr: gvr.into(), ..Self::default() }
    }

    fn node(&self) -> Node {
        let texts = [
            ("gvr", Some(self.gvr.clone())),
            ("scope", self.scope.map(|scope| scope.to_string())),
            ("name_selector", self.name_selector.clone()),
            ("label_selector", self.label_selector.clone()),
            ("field_selector", self.field_selector.clone()),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?))));
        let names = self.namespace_names.iter().map(|name| node(Value::Text(name.clone()))).collect();
        map(texts.chain([("namespace_names", Value::List(names))]))
    }
}

impl Config {
    /// Begins a configuration that writes to `output_dir`.
    ///
    /// ```
    /// use faro::config::{Config, ResourceConfig};
    ///
    /// let config = Config::builder("/var/faro/events").resource(ResourceConfig::new("v1/pods")).json_export(false).build()?;
    /// assert_eq!(config.watches()[0].target.to_string(), "v1/pods");
    /// # Ok::<(), faro::config::ConfigError>(())
    /// ```
    pub fn builder(output_dir: impl Into<PathBuf>) -> ConfigBuilder {
        let overrides = Overrides { output_dir: Some(output_dir.into()), ..Overrides::default() };
        ConfigBuilder { overrides, settings: Vec::new(), resources: Vec::new() }
    }
}

impl ConfigBuilder {
    /// Watches one more resource. Without any, the controller watches what is added to it.
    #[must_use]
    pub fn resource(mut self, resource: ResourceConfig) -> Self {
        self.resources.push(resource);
        self
    }

    /// The least important level that is logged. Defaults to [`LogLevel::Info`].
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.overrides.log_level = Some(level);
        self
    }

    /// Whether log lines also go to a file. Defaults to true.
    #[must_use]
    pub fn log_file(self, is_wanted: bool) -> Self {
        self.leaf("log_file", Leaf::Bool(is_wanted))
    }

    /// Stop by itself after so long. Defaults to zero: run until stopped.
    #[must_use]
    pub fn auto_shutdown(self, after: Duration) -> Self {
        self.leaf("auto_shutdown_sec", Leaf::Duration(after))
    }

    /// How long a stop waits for queues to drain. Defaults to 10 s.
    #[must_use]
    pub fn shutdown_grace(self, grace: Duration) -> Self {
        self.leaf("shutdown_grace_sec", Leaf::Duration(grace))
    }

    /// Whether events are written to files. Defaults to true, in a build without the feature `export` to false.
    #[must_use]
    pub fn json_export(self, is_wanted: bool) -> Self {
        self.leaf("json_export", Leaf::Bool(is_wanted))
    }

    /// Whether the same lines go to stdout. Defaults to false.
    #[must_use]
    pub fn json_stdout(self, is_wanted: bool) -> Self {
        self.leaf("json_stdout", Leaf::Bool(is_wanted))
    }

    /// A name that every line and metric carries. Defaults to none.
    #[must_use]
    pub fn cluster_name(self, name: impl Into<String>) -> Self {
        self.leaf("cluster_name", Leaf::Text(name.into()))
    }

    /// What becomes of the objects that are there at the very first start. Defaults to [`InitialEvents::Emit`].
    #[must_use]
    pub fn initial_events(self, initial: InitialEvents) -> Self {
        let text = match initial {
            InitialEvents::Emit => "emit",
            InitialEvents::Skip => "skip",
        };
        self.leaf("initial_events", Leaf::Text(text.to_owned()))
    }

    /// Whether what was told is remembered for the next run. Defaults to true, in a build without the feature `state` to false.
    #[must_use]
    pub fn state(self, is_wanted: bool) -> Self {
        self.member("state", "enabled", Leaf::Bool(is_wanted))
    }

    /// When an events file is closed and the next one begun: at so many bytes, or at this age (zero: at any
    /// age). Defaults to 100 MiB or a day.
    #[must_use]
    pub fn rotate(self, max_bytes: u64, max_age: Duration) -> Self {
        self.member("rotate", "max_bytes", Leaf::Number(max_bytes)).member("rotate", "max_age_sec", Leaf::Duration(max_age))
    }

    /// How closed files are compressed. Defaults to [`Compression::None`].
    #[must_use]
    pub fn compress(self, compression: Compression) -> Self {
        let text = match compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        };
        self.leaf("compress", Leaf::Text(text.to_owned()))
    }

    /// Which closed files are removed: the oldest beyond so many bytes, and those older than this; zero is
    /// no limit. Defaults to 1 GiB and any age.
    #[must_use]
    pub fn retain(self, total_bytes: u64, max_age: Duration) -> Self {
        self.member("retain", "total_bytes", Leaf::Number(total_bytes)).member("retain", "max_age_sec", Leaf::Duration(max_age))
    }

    /// How many watches may list at once. Defaults to 4.
    #[must_use]
    pub fn max_concurrent_lists(self, lists: usize) -> Self {
        self.leaf("max_concurrent_lists", Leaf::Number(lists as u64))
    }

    /// Whether the well-known annotations that hold a copy of the object are written as digests. Defaults to true.
    #[must_use]
    pub fn redact_last_applied(self, is_wanted: bool) -> Self {
        self.leaf("redact_last_applied", Leaf::Bool(is_wanted))
    }

    /// Longest value of an annotation that is written; of a longer one its digest and its length are. Defaults to 16384.
    #[must_use]
    pub fn annotation_value_max_bytes(self, bytes: usize) -> Self {
        self.leaf("annotation_value_max_bytes", Leaf::Number(bytes as u64))
    }

    /// The file with the key of the digests, so that several programs write the same ones. Defaults to a key in the state's folder.
    #[must_use]
    pub fn redact_key_file(self, path: impl Into<String>) -> Self {
        self.leaf("redact_key_file", Leaf::Text(path.into()))
    }

    /// Serves metrics, `/health` and `/ready` here; port 0 takes one that is free. Defaults to port 8080 of this machine alone, in a
    /// build without the feature `metrics` to nowhere.
    #[must_use]
    pub fn metrics(self, address: IpAddr, port: u16) -> Self {
        self.member("metrics", "bind_addr", Leaf::Text(address.to_string())).member("metrics", "port", Leaf::Number(port.into()))
    }

    /// Serves nothing.
    #[must_use]
    pub fn without_metrics(self) -> Self {
        self.member("metrics", "enabled", Leaf::Bool(false))
    }

    /// Checks the whole.
    ///
    /// # Errors
    ///
    /// Every mistake, each with the path of its key.
    pub fn build(self) -> Result<Config, ConfigError> {
        let resources = self.resources.iter().map(ResourceConfig::node).collect();
        let settings = self.settings.into_iter().map(|(key, tree)| (key, value_of(tree)));
        let root = map(settings.chain([("resources", Value::List(resources))]));
        schema::read(source(), &root, &self.overrides, schema::Origin::Program).map_err(ConfigError::Invalid)
    }

    /// The last one set of a key holds.
    fn leaf(mut self, key: &'static str, leaf: Leaf) -> Self {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, Tree::Leaf(leaf)));
        self
    }

    fn member(mut self, key: &'static str, member: &'static str, leaf: Leaf) -> Self {
        match self.settings.iter_mut().find(|(known, _)| *known == key) {
            Some((_, Tree::Map(members))) => {
                members.retain(|(known, _)| *known != member);
                members.push((member, leaf));
            }
            Some((_, Tree::Leaf(_))) => unreachable!("a key is either a mapping or not"),
            None => self.settings.push((key, Tree::Map(vec![(member, leaf)]))),
        }
        self
    }
}

/// Checks resources that are added to a configuration at run time.
pub(crate) fn read_resources(resources: &[ResourceConfig]) -> Result<Vec<ResourceEntry>, Vec<Problem>> {
    let list = Value::List(resources.iter().map(ResourceConfig::node).collect());
    schema::read_added(source(), &map([("resources", list)]))
}

fn source() -> Arc<Source> {
    Arc::new(Source { name: ORIGIN.to_owned(), text: String::new() })
}

fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Node {
    let entries = entries.into_iter().map(|(key, value)| (node(Value::Text(key.to_owned())), node(value)));
    node(Value::Map(entries.collect()))
}

/// A node of no text, so that no line is told with its mistakes.
fn node(value: Value) -> Node {
    Node { number: 0, value }
}

fn value_of(tree: Tree) -> Value {
    match tree {
        Tree::Leaf(leaf) => leaf_value(leaf),
        Tree::Map(members) => map(members.into_iter().map(|(key, leaf)| (key, leaf_value(leaf)))).value,
    }
}

fn leaf_value(leaf: Leaf) -> Value {
    match leaf {
        Leaf::Bool(value) => Value::Bool(value),
        Leaf::Number(value) => Value::Integer(value.into()),
        Leaf::Duration(value) => Value::Duration(value),
        Leaf::Text(value) => Value::Text(value),
    }
}

#[cfg(test)]
#[cfg(feature = "daemon")]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_what_a_file_of_the_same_words_gives() {
        let yaml = "output_dir: out\nlog_level: error\nlog_file: false\nauto_shutdown_sec: 7\nshutdown_grace_sec: 3\n\
                    json_export: false\njson_stdout: true\ncluster_name: prod\ninitial_events: skip\nstate: {enabled: false}\n\
                    rotate: {max_bytes: 70000, max_age_sec: 0}\ncompress: gzip\nretain: {total_bytes: 0, max_age_sec: 60}\n\
                    max_concurrent_lists: 2\nredact_last_applied: false\nannotation_value_max_bytes: 7\nredact_key_file: key\nmetrics: {bind_addr: '::1', port: 0}\n\
                    resources: [{gvr: v1/pods, scope: Namespaced, namespace_names: [a], name_selector: n, label_selector: l, field_selector: f=1}]";
        let resource = ResourceConfig {
            gvr: "v1/pods".to_owned(),
            scope: Some(Scope::Namespaced),
            namespace_names: vec!["a".to_owned()],
            name_selector: Some("n".to_owned()),
            label_selector: Some("l".to_owned()),
            field_selector: Some("f=1".to_owned()),
        };
        let built = Config::builder("out")
            .log_level(LogLevel::Error)
            .log_file(false)
            .auto_shutdown(Duration::from_secs(7))
            .shutdown_grace(Duration::from_secs(3))
            .json_export(false)
            .json_stdout(true)
            .cluster_name("prod")
            .initial_events(InitialEvents::Skip)
            .state(true)
            .state(false)
            .rotate(70_000, Duration::ZERO)
            .compress(Compression::Gzip)
            .retain(0, Duration::from_secs(60))
            .max_concurrent_lists(2)
            .redact_last_applied(false)
            .annotation_value_max_bytes(7)
            .redact_key_file("key")
            .metrics("::1".parse().unwrap(), 0)
            .resource(resource)
            .build()
            .unwrap();
        // Only the places differ.
        let words = |config: &Config| {
            let text = format!("{config:?}");
            let (before, after) = text.split_once("place: Place(").unwrap();
            format!("{before}{}", after.split_once(')').unwrap().1)
        };
        assert_eq!(words(&built), words(&Config::from_yaml(yaml, "c").unwrap()));
    }

    #[test]
    fn mistakes_are_those_of_a_file_with_the_path_of_their_key() {
        let wrong = Config::builder("out").rotate(1, Duration::ZERO).resource(ResourceConfig::new("pods")).build().unwrap_err();
        let text = wrong.to_string();
        assert!(text.contains("the configuration: rotate.max_bytes: "), "{text}");
        assert!(text.contains("the configuration: resources[0].gvr: expected `version/resource`"), "{text}");
    }

    #[test]
    fn a_part_of_a_second_is_kept_as_it_is_and_a_time_beyond_ten_years_refused() {
        let part = Duration::from_nanos(900_000_001);
        let config = Config::builder("out").auto_shutdown(part).shutdown_grace(part).retain(0, part).rotate(70_000, part);
        let config = config.build().unwrap();
        assert_eq!((config.auto_shutdown, config.shutdown_grace), (Some(part), part));
        assert_eq!((config.retain.max_age, config.rotate.max_age), (Some(part), Some(part)));
        let text = Config::builder("out").auto_shutdown(Duration::MAX).build().unwrap_err().to_string();
        assert!(
            text.starts_with("the configuration: auto_shutdown_sec: expected a whole number of seconds from 0 to 3"),
            "{text}"
        );
    }

    #[test]
    fn a_program_may_begin_with_nothing_to_watch_and_add_to_it() {
        assert_eq!(Config::builder("out").build().unwrap().watches().len(), 0);
    }
}
