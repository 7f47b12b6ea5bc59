//! What [`Health`] and the bookmarks tell when scraped: nothing here is counted.

use super::watch::unix_millis;
use crate::health::{CONDITIONS, Health, Readiness, Standing, WatchStatus};
use prometheus::core::Collector;
use prometheus::{GaugeVec, Opts, Registry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Adds to `registry`, which serves one scrape, what holds now.
pub(super) fn register(registry: &Registry, health: &Health, bookmarks: &[(String, u64)], state: State) {
    let now = Instant::now();
    let watches: Vec<_> = health.watches().into_iter().map(|status| (status.standing(now), status)).collect();
    add(registry, build_info());
    add_verdicts(registry, health.liveness().alive, &health.readiness());
    add(registry, watches_by_condition(&watches, now));
    add(registry, informers(&watches));
    add(registry, informer_health(&watches));
    add(registry, informers_by_gvr(&watches));
    add(registry, unreadable_objects(&watches));
    add(registry, bookmark_age(bookmarks));
    if state.checkpointed_millis > 0 {
        add(registry, checkpoint_age(state.checkpointed_millis));
    }
    if state.bytes > 0 {
        add(registry, state_bytes(state.bytes));
    }
}

/// What is known of the state; zeros where none is kept.
#[derive(Clone, Copy)]
pub(super) struct State {
    /// When nothing was left to commit, in milliseconds of Unix time.
    pub(super) checkpointed_millis: u64,
    /// What it takes on its disk.
    pub(super) bytes: u64,
}

type Standings = [(Standing, Arc<WatchStatus>)];

fn build_info() -> GaugeVec {
    let info = gauges("faro_build_info", "Always 1; its labels say what is running.", &["version", "os", "arch"]);
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH]).set(1.0);
    info
}

/// What the probes answer, and the two outputs that readiness asks for.
fn add_verdicts(registry: &Registry, alive: bool, readiness: &Readiness) {
    let told = [
        ("faro_alive", "1 while /health answers 200: no thread is dead or stuck.", alive),
        ("faro_ready", "1 while /ready answers 200: every first list has ended, file and state can be written.", readiness.ready),
        ("faro_sink_writable", "0 while the events' file or stdout cannot be written.", readiness.sink_failure.is_none()),
        ("faro_state_writable", "0 while the state cannot be written.", readiness.state_failure.is_none()),
    ];
    for (name, help, holds) in told {
        let verdict = gauges(name, help, &[]);
        verdict.with_label_values::<&str>(&[]).set(f64::from(u8::from(holds)));
        add(registry, verdict);
    }
}

fn watches_by_condition(watches: &Standings, now: Instant) -> GaugeVec {
    let help = "Watches of a gvr by what /ready?verbose=1 says of them.";
    let by_condition = gauges("faro_watches", help, &["gvr", "condition"]);
    let gvrs: BTreeSet<&str> = watches.iter().map(|(_, status)| status.watch().gvr.as_str()).collect();
    for gvr in gvrs {
        // At zero too: a graph then shows the change, and a query that names one finds it.
        CONDITIONS.iter().for_each(|condition| drop(by_condition.with_label_values(&[gvr, condition])));
    }
    for (_, status) in watches {
        by_condition.with_label_values(&[status.watch().gvr.as_str(), status.told(now).0]).inc();
    }
    by_condition
}

fn informers(watches: &Standings) -> GaugeVec {
    let informers = gauges("faro_informers_total", "Watches by what they are doing; goes up and down.", &["status"]);
    for status in ["active", "syncing", "failed"] {
        let count = watches.iter().filter(|(standing, _)| informer_status(*standing) == status).count();
        informers.with_label_values(&[status]).set(count as f64);
    }
    informers
}

fn informer_status(standing: Standing) -> &'static str {
    match standing {
        Standing::Healthy => "active",
        Standing::Syncing => "syncing",
        Standing::Stale | Standing::Failed => "failed",
    }
}

/// The worst of a gvr's watches decides; while one is still at its first list, no status holds yet.
fn informer_health(watches: &Standings) -> GaugeVec {
    let help = "1 for the status that holds, 0 for the others; the worst of the gvr's watches decides.";
    let health = gauges("faro_informer_health", help, &["gvr", "status"]);
    let mut worst: BTreeMap<&str, Standing> = BTreeMap::new();
    for (standing, status) in watches {
        let known = worst.entry(&status.watch().gvr).or_insert(*standing);
        *known = (*known).max(*standing);
    }
    for (gvr, worst) in worst {
        for (status, standing) in
            [("healthy", Standing::Healthy), ("sync_failed", Standing::Failed), ("stale_events", Standing::Stale)]
        {
            health.with_label_values(&[gvr, status]).set(f64::from(u8::from(worst == standing)));
        }
    }
    health
}

fn informers_by_gvr(watches: &Standings) -> GaugeVec {
    let help = "Watches of a gvr, by whether they are of one namespace.";
    let informers = gauges("faro_gvr_per_informer", help, &["gvr", "namespace_scoped"]);
    for (_, status) in watches {
        let namespace_scoped = status.watch().target.namespace.is_some().to_string();
        informers.with_label_values(&[status.watch().gvr.as_str(), &namespace_scoped]).inc();
    }
    informers
}

fn unreadable_objects(watches: &Standings) -> GaugeVec {
    let help = "Objects that are on the server and cannot be read; /ready?verbose=1 names them.";
    let objects = gauges("faro_unreadable_objects", help, &["gvr"]);
    for (_, status) in watches {
        objects.with_label_values(&[status.watch().gvr.as_str()]).add(status.unreadable().count as f64);
    }
    objects
}

fn bookmark_age(bookmarks: &[(String, u64)]) -> GaugeVec {
    let help = "Time since the last bookmark of the gvr's watch that has waited for one longest; absent before the first.";
    let ages = gauges("faro_bookmark_age_seconds", help, &["gvr"]);
    let now = unix_millis();
    for (gvr, millis) in bookmarks {
        let age = ages.with_label_values(&[gvr]);
        age.set(age.get().max(now.saturating_sub(*millis) as f64 / 1000.0));
    }
    ages
}

fn checkpoint_age(checkpointed: u64) -> GaugeVec {
    let help = "Time since the state last held everything that was accepted; absent where no state is kept.";
    let age = gauges("faro_checkpoint_age_seconds", help, &[]);
    age.with_label_values::<&str>(&[]).set(unix_millis().saturating_sub(checkpointed) as f64 / 1000.0);
    age
}

fn state_bytes(bytes: u64) -> GaugeVec {
    let help = "Bytes that the files in state.dir take; absent where no state is kept.";
    let size = gauges("faro_state_bytes", help, &[]);
    size.with_label_values::<&str>(&[]).set(bytes as f64);
    size
}

pub(super) fn gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    GaugeVec::new(Opts::new(name, help), labels).expect("names and labels of this folder are valid")
}

pub(super) fn add(registry: &Registry, metric: impl Collector + 'static) {
    registry.register(Box::new(metric)).expect("names of this folder are distinct");
}
