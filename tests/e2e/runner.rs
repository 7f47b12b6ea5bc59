//! Runs scenarios side by side and reports in the words of Rust's own test harness.
//!
//! The harness is our own because the control plane that most scenarios share has to end when they have.

use crate::cluster::Cluster;
use crate::control_plane::Options;
use std::collections::VecDeque;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::Instant;

/// One thing that is to be shown.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// What it shows: the name of its function, in its module.
    pub(crate) name: &'static str,
    /// What it needs.
    pub(crate) needs: Needs,
    /// Shows it, or panics.
    pub(crate) run: fn(&Stage),
}

/// What a scenario needs of the cluster and of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Any cluster.
    Cluster,
    /// Any cluster, and the machine for itself, because it measures time.
    Quiet,
    /// A control plane of ours, whose credentials it knows; one of its own where it does harm.
    OwnControlPlane,
    /// The same, and the machine for itself.
    Alone,
}

/// Where scenarios get their cluster from.
pub(crate) struct Stage {
    source: Source,
    shared: OnceLock<Cluster>,
}

/// Where a cluster comes from.
pub(crate) enum Source {
    /// Binaries from which a control plane can be started: `$KUBEBUILDER_ASSETS`.
    Assets(PathBuf),
    /// Someone's cluster: `$KUBECONFIG`.
    Kubeconfig(PathBuf),
}

impl Source {
    /// What the environment names.
    ///
    /// # Errors
    ///
    /// When it names nothing; the text says what to do.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        match (assets, kubeconfig) {
            (Some(assets), _) if assets.join("etcd").is_file() && assets.join("kube-apiserver").is_file() => {
                Ok(Self::Assets(assets))
            }
            (Some(assets), _) => Err(format!(
                "$KUBEBUILDER_ASSETS is {}, where etcd and kube-apiserver are not both to be found",
                assets.display()
            )),
            (None, Some(kubeconfig)) => Ok(Self::Kubeconfig(kubeconfig)),
            (None, None) => Err(MISSING.to_owned()),
        }
    }
}

const MISSING: &str = "these tests need a real API server: set KUBEBUILDER_ASSETS to a folder that holds etcd and \
    kube-apiserver, or KUBECONFIG to the configuration of a cluster in which they may create and delete";

impl Stage {
    /// Starts nothing yet.
    pub(crate) fn new(source: Source) -> Self {
        Self { source, shared: OnceLock::new() }
    }

    /// The cluster that all scenarios share.
    pub(crate) fn shared(&self) -> &Cluster {
        self.shared.get_or_init(|| match &self.source {
            Source::Assets(assets) => Cluster::start(assets, Options::default()),
            Source::Kubeconfig(path) => Cluster::external(path),
        })
    }

    /// A control plane for this scenario alone.
    ///
    /// # Panics
    ///
    /// When there are no binaries to start one from; such scenarios say so in [`Needs`].
    pub(crate) fn own(&self, options: Options) -> Cluster {
        match &self.source {
            Source::Assets(assets) => Cluster::start(assets, options),
            Source::Kubeconfig(_) => panic!("a scenario that needs a control plane of its own must say so"),
        }
    }
}

/// Runs `scenarios`, `filtered` others having been left out by name; whether all of them passed.
pub(crate) fn run(scenarios: &[Scenario], filtered: usize, stage: &Stage) -> bool {
    let began = Instant::now();
    let external = matches!(stage.source, Source::Kubeconfig(_));
    let can_run = |scenario: &&Scenario| !(external && matches!(scenario.needs, Needs::OwnControlPlane | Needs::Alone));
    let runnable: Vec<Scenario> = scenarios.iter().filter(can_run).copied().collect();
    let (quiet, loud): (Vec<_>, Vec<_>) =
        runnable.iter().copied().partition(|scenario| matches!(scenario.needs, Needs::Quiet | Needs::Alone));
    say(&format!("\nrunning {} tests\n", runnable.len()));
    let mut failed = side_by_side(&loud, SIDE_BY_SIDE, stage);
    failed.extend(side_by_side(&quiet, 1, stage));
    if !failed.is_empty() {
        say(&format!("\nfailures:\n    {}\n", failed.join("\n    ")));
    }
    say(&format!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        runnable.len() - failed.len(),
        failed.len(),
        filtered + scenarios.len() - runnable.len(),
        began.elapsed().as_secs_f64()
    ));
    failed.is_empty()
}

/// Runs `scenarios`, `width` at a time; the names of those that failed.
fn side_by_side(scenarios: &[Scenario], width: usize, stage: &Stage) -> Vec<&'static str> {
    let queue = Mutex::new(VecDeque::from(scenarios.to_vec()));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width.min(scenarios.len()) {
            scope.spawn(|| {
                while let Some(scenario) = next(&queue) {
                    if !run_one(scenario, stage) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(scenario.name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn next(queue: &Mutex<VecDeque<Scenario>>) -> Option<Scenario> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Runs one on a thread with its name, which panic messages then show.
fn run_one(scenario: Scenario, stage: &Stage) -> bool {
    let began = Instant::now();
    let passed = std::thread::scope(|scope| {
        let body = move || catch_unwind(AssertUnwindSafe(|| (scenario.run)(stage))).is_ok();
        let thread = Builder::new().name(scenario.name.to_owned()).spawn_scoped(scope, body).expect("a thread for a scenario");
        thread.join().unwrap_or(false)
    });
    let word = if passed { "ok" } else { "FAILED" };
    say(&format!("test {} ... {word} ({:.1}s)\n", scenario.name, began.elapsed().as_secs_f64()));
    passed
}

/// One call a line, so that lines of scenarios side by side stay whole.
pub(crate) fn say(text: &str) {
    // Nobody is left to tell when stdout is closed.
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// Most scenarios wait for most of their time: more of them than cores.
const SIDE_BY_SIDE: usize = 6;
