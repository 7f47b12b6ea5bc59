//! Every metric of Faro, declared in one folder. Labels come from closed sets, never from names, uids or error texts.
//!
//! Stations count through [`WatchMetrics`], whose labels are looked up once; [`Metrics::text`] gives what Prometheus
//! scrapes. What [`Health`] and `/proc` know already is not counted twice: it is read when scraped.

mod derived;
mod families;
#[cfg(test)]
mod lint_tests;
mod process;
mod reasons;
#[cfg(test)]
mod tests;
mod watch;

pub use reasons::{RelistReason, RestartReason};
pub use watch::WatchMetrics;

use crate::api::Watch;
use crate::health::Health;
use families::Families;
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use std::collections::HashMap;
use std::slice;
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
    /// How many bytes the state takes; zero where none is kept.
    state_bytes: AtomicU64,
}

/// When the last bookmark of one watch came, in milliseconds of Unix time; zero before the first. Gone with its watch.
#[derive(Debug)]
struct Bookmark {
    gvr: String,
    millis: Weak<AtomicU64>,
}

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
        RELOAD_RESULTS.iter().for_each(|result| drop(families.config_reloads.with_label_values(&[result])));
        let (bookmarks, checkpointed, state_bytes) = Default::default();
        let metrics = Self(Arc::new(Inner { families, registry, cluster_name, bookmarks, checkpointed, state_bytes }));
        metrics.config_read(true);
        metrics
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

    /// The state takes so many bytes on its disk.
    pub fn state_bytes(&self, bytes: u64) {
        self.0.state_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The configuration was read again, and is in force or was refused.
    pub fn reloaded(&self, is_ok: bool) {
        self.0.families.config_reloads.with_label_values(&[RELOAD_RESULTS[usize::from(is_ok)]]).inc();
        self.config_read(is_ok);
    }

    /// How many events were told so far.
    pub fn events_told(&self) -> u64 {
        let events = self.0.families.events.collect();
        events.iter().flat_map(MetricFamily::get_metric).map(|series| series.get_counter().get_value() as u64).sum()
    }

    fn config_read(&self, is_ok: bool) {
        self.0.families.config_last_reload_success.set(is_ok.into());
        self.0.families.config_last_reload_timestamp.set(watch::unix_millis() as f64 / 1000.0);
    }

    /// What Prometheus scrapes, in its text format. `health` gives the state of each watch.
    pub fn text(&self, health: &Health) -> String {
        encode(&self.gather(health))
    }

    fn gather(&self, health: &Health) -> Vec<MetricFamily> {
        let mut families = self.0.registry.gather();
        let derived = registry(self.0.cluster_name.as_deref());
        derived::register(&derived, health, &self.bookmarks(), self.state());
        process::register(&derived);
        families.extend(derived.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }

    fn state(&self) -> derived::State {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        derived::State { checkpointed_millis: load(&self.0.checkpointed), bytes: load(&self.0.state_bytes) }
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

/// The label `result` of a reload that was refused, and of one that was not.
const RELOAD_RESULTS: [&str; 2] = ["failed", "ok"];

fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        let begin = text.len();
        TextEncoder::new()
            .encode_utf8(slice::from_ref(family), &mut text)
            .expect("every family gathered holds a metric and a name");
        if UNTYPED.contains(&family.name()) {
            leave_untyped(&mut text, begin, family.name());
        }
    }
    text
}

/// Gauges that keep the names which the Go original gave them. By Prometheus's convention `_total` ends the name of a
/// counter, and of nothing else that has a type (promlint); so no type is claimed for them, and their help says it.
const UNTYPED: [&str; 2] = ["faro_informers_total", "faro_tracked_resources_total"];

/// Takes the type back from the family `name`, which begins at `begin`.
fn leave_untyped(text: &mut String, begin: usize, name: &str) {
    let claim = format!("# TYPE {name} gauge\n");
    let at = begin + text[begin..].find(&claim).expect("the encoder writes the type of a gauge");
    text.replace_range(at..at + claim.len(), &format!("# TYPE {name} untyped\n"));
}

fn registry(cluster_name: Option<&str>) -> Registry {
    let labels = cluster_name.map(|name| HashMap::from([("cluster".to_owned(), name.to_owned())]));
    Registry::new_custom(None, labels).expect("only an empty prefix is refused, and there is none")
}
