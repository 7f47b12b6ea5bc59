//! The configuration: both YAML formats, checked as a whole, to sorted and distinct watch targets.
//!
//! Takes a file and the flags that override it; gives a [`Config`] in which every value has its type and is within its bounds,
//! or every mistake at once, each with its place, what was found and what is allowed. Nothing is ever replaced by a silent
//! default. Opens no socket and creates nothing.
//!
//! ```
//! let config = faro::config::Config::from_yaml("output_dir: events\nresources: [{gvr: v1/pods}]", "example")?;
//! assert_eq!(config.watches()[0].target.to_string(), "v1/pods");
//! # Ok::<(), faro::config::ConfigError>(())
//! ```

mod builder;
mod changes;
mod error;
mod read;
mod redact;
mod schema;
mod storage;
mod suggest;
mod values;
mod watches;

#[cfg(test)]
mod lacking_tests;
#[cfg(test)]
#[cfg(feature = "daemon")]
mod tests;

pub use builder::{ConfigBuilder, ResourceConfig};
pub(crate) use error::lacks;
pub use error::{ConfigError, Place, Problem};
pub use redact::RedactConfig;
pub use storage::{Compression, InitialEvents, RetainConfig, RotateConfig, StateConfig};
pub use suggest::nearest;

use crate::api::{FieldSelector, GroupVersionResource, LabelSelector, Scope, WatchTarget};
use crate::reading::{Apart, Contents, FIRST_LIMIT, Which, no_end};
use crate::yaml;
use error::{Source, Spot};
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What Faro is told to do. Made by [`Config::load`] from a file, [`Config::from_yaml`] from a text, [`Config::builder`] by a program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where event files are written; log files go to `logs/` in it. Required.
    pub output_dir: PathBuf,
    /// The least important level that is logged. Defaults to [`LogLevel::Info`].
    pub log_level: LogLevel,
    /// Whether log lines also go to a file. Defaults to true.
    pub log_file: bool,
    /// Stop by itself after this long (`auto_shutdown_sec`). Defaults to `None`: run until stopped.
    pub auto_shutdown: Option<Duration>,
    /// How long a stop waits for queues to drain (`shutdown_grace_sec`). Defaults to 10 seconds.
    pub shutdown_grace: Duration,
    /// Whether events are written to files. Defaults to true, in a build without the feature `export` to false.
    pub json_export: bool,
    /// Whether the same lines go to stdout. Defaults to false.
    pub json_stdout: bool,
    /// A name that every line and metric carries. Defaults to `None`.
    pub cluster_name: Option<String>,
    /// What becomes of the objects that are there at the very first start. Defaults to [`InitialEvents::Emit`].
    pub initial_events: InitialEvents,
    /// Where Faro remembers what it has told.
    pub state: StateConfig,
    /// When a file is closed and the next one begun.
    pub rotate: RotateConfig,
    /// How closed files are compressed. Defaults to [`Compression::None`].
    pub compress: Compression,
    /// Which closed files are removed.
    pub retain: RetainConfig,
    /// How many watches may list at once, 1 to 64. Defaults to 4.
    pub max_concurrent_lists: usize,
    /// Whether the program reads the file again by itself when it changes, as it does on SIGHUP. The library reads no file again.
    /// Defaults to false.
    pub watch_config: bool,
    /// Which values of annotations are not written as they are.
    pub redact: RedactConfig,
    /// The HTTP endpoints.
    pub metrics: MetricsConfig,
    /// What is watched, from both formats, in the order of the file.
    pub resources: Vec<ResourceEntry>,
}

/// Where metrics, health and readiness are served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsConfig {
    /// Whether they are. Defaults to true, in a build without the feature `metrics` to false.
    pub enabled: bool,
    /// The TCP port; 0 takes one that is free. Defaults to 8080.
    pub port: u16,
    /// The path of the metrics. Defaults to `/metrics`.
    pub path: String,
    /// The address to listen on. Defaults to `127.0.0.1`: this machine alone.
    pub bind_addr: IpAddr,
    /// Serves over TLS. Defaults to `None`: in plain text.
    pub tls: Option<MetricsTlsConfig>,
    /// The file with the token that is asked for, but by probes. Defaults to `None`: none is asked for.
    pub bearer_token_file: Option<PathBuf>,
}

/// The PEM files that metrics are served with. They are read again as they change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsTlsConfig {
    /// The server's certificate, and those that vouch for it. Required.
    pub cert_file: PathBuf,
    /// Its key. Required.
    pub key_file: PathBuf,
    /// Who vouches for clients, whose certificates are then asked for, but by probes. Defaults to `None`: none is asked for.
    pub client_ca_file: Option<PathBuf>,
}

/// One resource that is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResourceEntry {
    /// Which.
    pub gvr: GroupVersionResource,
    /// What the configuration says about its scope, to be checked against discovery. Defaults to `None`.
    pub scope: Option<Scope>,
    /// In which namespaces, sorted; empty means all.
    pub namespaces: Vec<String>,
    /// Which of its objects.
    pub selectors: Selectors,
    /// Where this was asked for.
    pub place: Place,
}

/// Which objects of a resource; all conditions must hold. The server applies them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selectors {
    /// Exactly this name. Defaults to `None`: any.
    pub name: Option<String>,
    /// These labels. Defaults to `None`: any.
    pub label: Option<LabelSelector>,
    /// These fields. Defaults to `None`: any.
    pub field: Option<FieldSelector>,
}

/// A target with what the configuration says about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfiguredWatch {
    /// What to watch.
    pub target: WatchTarget,
    /// The scope that the configuration claims.
    pub scope: Option<Scope>,
    /// Where it was asked for (first), for errors and warnings.
    pub place: Place,
}

impl ConfiguredWatch {
    /// What an earlier run has watched.
    pub(crate) fn remembered(target: WatchTarget) -> Self {
        Self { target, scope: None, place: Place::remembered() }
    }
}

/// What flags say instead of the file. Defaults to nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `output_dir`.
    pub output_dir: Option<PathBuf>,
    /// Instead of `log_level`.
    pub log_level: Option<LogLevel>,
    /// Instead of `auto_shutdown_sec`; zero means: run until stopped.
    pub auto_shutdown: Option<Duration>,
    /// Turns `json_stdout` on.
    pub json_stdout: bool,
    /// Instead of `metrics.bind_addr` and `metrics.port`; turns `metrics.enabled` on. What probes are asked for is then there,
    /// whatever the file says.
    pub metrics_address: Option<SocketAddr>,
}

/// How important a log line must be to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Every request.
    Debug,
    /// Life cycle.
    Info,
    /// Degraded and retrying.
    Warning,
    /// Someone must act.
    Error,
    /// Only what ends the process.
    Fatal,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or anything in it is wrong.
    ///
    /// # Blocking
    ///
    /// While the file is read, at most 10 seconds.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &Overrides::default())
    }

    /// Reads a file, lays `overrides` over it and checks the whole.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or anything in it is wrong.
    ///
    /// # Blocking
    ///
    /// While the file is read, at most 10 seconds.
    pub fn load_with(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::load_file(path, overrides, &Apart::new(FIRST_LIMIT), Which::Any)
    }

    /// As [`load_with`](Self::load_with), in the way that `apart` and `which` say.
    pub(crate) fn load_file(
        path: &Path,
        overrides: &Overrides,
        apart: &Apart<Contents>,
        which: Which,
    ) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let bytes = match apart.read(path, yaml::TEXT_BYTES_MAX as u64, which, &no_end()) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(invalid(
                    &Arc::new(Source { name, text: String::new() }),
                    Spot::Whole,
                    &yaml::too_long(yaml::TEXT_BYTES_MAX),
                ));
            }
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        match String::from_utf8(bytes) {
            Ok(text) => Self::from_yaml_with(&text, &name, overrides),
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + memchr::memchr_iter(b'\n', valid).count();
                Err(invalid(&Arc::new(Source { name, text: String::new() }), Spot::Line(line), "not UTF-8 text"))
            }
        }
    }

    /// Checks a text. `origin` is what errors call it, as in `config.yaml`.
    ///
    /// # Errors
    ///
    /// When anything in it is wrong.
    pub fn from_yaml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::from_yaml_with(text, origin, &Overrides::default())
    }

    /// Lays `overrides` over a text and checks the whole. `origin` is what errors call it.
    ///
    /// # Errors
    ///
    /// When anything in it is wrong.
    pub fn from_yaml_with(text: &str, origin: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let source = Arc::new(Source { name: origin.to_owned(), text: text.to_owned() });
        let root = yaml::parse(text, &yaml::STRICT)
            .map_err(|error| invalid(&source, error.line.map_or(Spot::Whole, Spot::Line), &error.message))?;
        schema::read(source, &root, overrides, schema::Origin::File).map_err(ConfigError::Invalid)
    }

    /// Every watch that is asked for: sorted, each once.
    ///
    /// A namespace stands where the configuration names one, also for kinds that turn out to be cluster-scoped.
    pub fn watches(&self) -> Vec<ConfiguredWatch> {
        watches::of(&self.resources)
    }
}

/// Every watch that is asked for by resources that are added at run time: sorted, each once.
///
/// # Errors
///
/// Every mistake, each with its place in the list.
pub(crate) fn added_watches(resources: &[ResourceConfig]) -> Result<Vec<ConfiguredWatch>, ConfigError> {
    let entries = builder::read_resources(resources).map_err(ConfigError::Invalid)?;
    Ok(watches::of(&entries))
}

fn invalid(source: &Arc<Source>, spot: Spot, message: &str) -> ConfigError {
    let place = Place { source: Arc::clone(source), spot, path: String::new() };
    ConfigError::Invalid(vec![Problem { place, message: message.to_owned() }])
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            enabled: cfg!(feature = "metrics"),
            port: 8080,
            path: "/metrics".to_owned(),
            bind_addr: Ipv4Addr::LOCALHOST.into(),
            tls: None,
            bearer_token_file: None,
        }
    }
}

impl LogLevel {
    /// All of them, from the most to the least talkative.
    pub const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Fatal];

    const EXPECTED: &str = "debug, info, warning, error or fatal";

    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(level) = Self::ALL.into_iter().find(|level| level.as_str() == text) {
            return Ok(level);
        }
        let near = if text.eq_ignore_ascii_case("warn") { Some("warning") } else { nearest(text, Self::ALL.map(Self::as_str)) };
        let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        let text: String = text.chars().take(100).collect();
        Err(format!("expected {}, found {text:?}{hint}", Self::EXPECTED))
    }
}
