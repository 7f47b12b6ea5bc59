//! Another configuration while a run goes on: what has changed is started and stopped, everything else goes on untouched.
//!
//! Takes the plan in force and the one that is to replace it; gives what to start and what to stop. Promises that everything
//! is checked, and every new watch started, before the first one is stopped: a configuration is taken whole or not at all.

use super::plan::{self, Plan, Planned};
use super::run::{self, Run};
use super::{Controller, ControllerError, Inner, namespaces};
use crate::api::WatchTarget;
use crate::config::{Config, ConfigError};
use std::collections::{BTreeMap, BTreeSet};

/// What became of the watches when another configuration was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// How many were started.
    pub started: usize,
    /// How many were stopped. Nothing of them is told as deleted, and what they have come to stays in the state.
    pub stopped: usize,
    /// How many that the configuration asks for go on as they were, on their connections.
    pub kept: usize,
}

impl Controller {
    /// Takes another configuration while running: starts and stops only the watches that differ. A watch with other selectors is
    /// another watch. What was [added](Self::add_resources) at run time stays.
    ///
    /// Only what is watched may change; `log_level` may, too, and is for the program's logger to follow. Everything is checked
    /// before anything is changed, and counted in the metrics, whatever comes of it. Reloads come one after the other.
    ///
    /// # Errors
    ///
    /// [`ControllerError::NotRunning`] before the configured watches have started, and after a stop;
    /// [`ControllerError::FixedKeys`] when another setting differs; [`ControllerError::Plan`] when the server does not serve what
    /// is asked for; and as for [`start_informers`](Self::start_informers). Nothing is changed then.
    ///
    /// # Blocking
    ///
    /// Asks the server what it serves; then for handler calls of what is stopped, `shutdown_grace_sec` at most.
    pub fn reload(&self, config: Config) -> Result<Reloaded, ControllerError> {
        self.reload_from(|| Ok(config))
    }

    /// As [`reload`](Self::reload), of a configuration that is read when it is its turn. When it cannot be read, that counts as
    /// a reload that failed.
    ///
    /// # Errors
    ///
    /// As for [`reload`](Self::reload), and what `read` gives.
    ///
    /// # Blocking
    ///
    /// As for [`reload`](Self::reload), and while `read` reads.
    pub fn reload_from(&self, read: impl FnOnce() -> Result<Config, ConfigError>) -> Result<Reloaded, ControllerError> {
        let inner = &*self.0;
        let Some(run) = inner.at_work().filter(|run| run.has_begun()) else { return Err(ControllerError::NotRunning) };
        let mut plan = run.plan();
        if inner.stop.is_requested() {
            return Err(ControllerError::NotRunning);
        }
        let reloaded = read().map_err(ControllerError::Config).and_then(|config| take(inner, &run, &mut plan, &config));
        if reloaded.is_err() && inner.stop.is_requested() {
            // What ended it is the stop, and no mistake.
            return Err(ControllerError::NotRunning);
        }
        run.metrics().reloaded(reloaded.is_ok());
        reloaded
    }
}

fn take(inner: &Inner, run: &Run, plan: &mut Plan, config: &Config) -> Result<Reloaded, ControllerError> {
    let keys = inner.config.changed_fixed_keys(config);
    if !keys.is_empty() {
        return Err(ControllerError::FixedKeys { keys });
    }
    let (mut next, mistakes) = run::plan_of(inner, &inner.survey().transport, config.watches())?;
    mistakes?;
    keep_decided(plan, &mut next);
    let Difference { start, stop } = difference(&run.watches().configured(), &next);
    let old_names = namespaces::of(plan);
    run.look_up(inner, namespaces::of(&next).difference(&old_names).cloned().collect())?;
    tell_changed_selectors(&start, &stop);
    let started = run.start_configured(inner, start)?;
    let stopped = run.stop_configured(inner, &stop);
    let kept = plan::distinct(&next).len() - started;
    *plan = next;
    Ok(Reloaded { started, stopped, kept })
}

/// What was decided about a target holds as long as it is asked for, also when its group does not answer just now.
fn keep_decided(plan: &Plan, next: &mut Plan) {
    for (asked, planned) in next {
        if let Some(known) = plan.get(asked) {
            planned.target.clone_from(&known.target);
        }
    }
}

/// What to do so that the next plan is at work.
#[derive(Debug)]
struct Difference {
    start: BTreeMap<WatchTarget, Planned>,
    stop: BTreeSet<WatchTarget>,
}

fn difference(running: &BTreeSet<WatchTarget>, next: &Plan) -> Difference {
    let wanted = plan::distinct(next);
    let stop = running.iter().filter(|target| !wanted.contains_key(target)).cloned().collect();
    let new = wanted.into_iter().filter(|(target, _)| !running.contains(target));
    let start = new.collect();
    Difference { start, stop }
}

fn tell_changed_selectors(start: &BTreeMap<WatchTarget, Planned>, stop: &BTreeSet<WatchTarget>) {
    for target in start.keys() {
        let place = target.place();
        if let Some(before) = stop.iter().find(|before| before.place() == place) {
            log::info!(before:% = before; "{target}: its selectors have changed, so it starts anew");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Scope;
    use crate::config::ConfiguredWatch;

    /// The plan of a configuration of these resources.
    fn plan(yaml: &str) -> Plan {
        let config = Config::from_yaml(&format!("output_dir: x\nresources: [{yaml}]"), "c").unwrap();
        let planned = |asked: ConfiguredWatch| {
            let target = asked.target.clone();
            let namespaces = target.namespace.iter().cloned().collect();
            (target.clone(), Planned { asked, target, scope: Some(Scope::Namespaced), namespaces })
        };
        config.watches().into_iter().map(planned).collect()
    }

    fn check(running: &str, next: &str, start: &[&str], stop: &[&str]) {
        let running = plan(running).into_keys().collect();
        let difference = difference(&running, &plan(next));
        let told = |targets: Vec<&WatchTarget>| targets.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told(difference.start.keys().collect()), start, "started by {next}");
        assert_eq!(told(difference.stop.iter().collect()), stop, "stopped by {next}");
    }

    #[test]
    fn only_what_differs_is_started_and_stopped() {
        let pods = "{gvr: v1/pods, namespace_names: [a, b]}";
        check(pods, pods, &[], &[]);
        check(pods, "{gvr: v1/pods, namespace_names: [b]}, {gvr: v1/pods, namespace_names: [a]}", &[], &[]);
        check(pods, "{gvr: v1/pods, namespace_names: [b, c]}", &["v1/pods in c"], &["v1/pods in a"]);
        check(pods, "{gvr: v1/pods}", &["v1/pods"], &["v1/pods in a", "v1/pods in b"]);
        let labelled = "{gvr: v1/pods, namespace_names: [a], label_selector: app=web}";
        let both = format!("{labelled}, {{gvr: v1/pods, namespace_names: [b]}}");
        check(pods, &both, &["v1/pods in a with labels app=web"], &["v1/pods in a"]);
    }

    #[test]
    fn what_was_decided_about_a_target_holds_while_its_group_does_not_answer() {
        let mut decided = plan("{gvr: x.test/v1/globals, namespace_names: [a]}");
        decided.values_mut().for_each(|planned| planned.target.namespace = None);
        let mut next = plan("{gvr: x.test/v1/globals, namespace_names: [a]}, {gvr: x.test/v1/others, namespace_names: [a]}");
        keep_decided(&decided, &mut next);
        let told: Vec<String> = next.values().map(|planned| planned.target.to_string()).collect();
        assert_eq!(told, ["x.test/v1/globals", "x.test/v1/others in a"]);
    }
}
