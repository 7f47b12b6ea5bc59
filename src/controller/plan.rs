//! From what is configured, and what the server serves, to the watches that are started.
//!
//! Takes [`ConfiguredWatch`]es and a [`Discovery`]; gives targets with their scopes, or every mistake at once.

use crate::api::{Scope, WatchTarget};
use crate::client::{ApiResource, Discovery, Lookup};
use crate::config::ConfiguredWatch;
use std::collections::BTreeMap;
use std::fmt;

/// What is to be watched, by what was asked for; two may turn out to be one, where a kind has no namespaces.
pub(super) type Plan = BTreeMap<WatchTarget, Planned>;

/// What is watched where something was asked for.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// As it was asked for.
    pub(super) asked: ConfiguredWatch,
    /// As asked, but for a namespace that its kind does not have.
    pub(super) target: WatchTarget,
    /// Known where the server serves it already.
    pub(super) scope: Option<Scope>,
}

/// Configured watches that the server can never serve: every one, each with its place and its cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    mistakes: Vec<String>,
}

/// Checks every configured watch against what the server serves; what it can never serve is no part of the plan.
pub(super) fn plan(configured: Vec<ConfiguredWatch>, discovery: &Discovery) -> (Plan, Result<(), PlanError>) {
    let mut plan = Plan::new();
    let mut mistakes = Vec::new();
    for asked in configured {
        match resolve(&asked, discovery) {
            Ok((target, scope)) => {
                plan.insert(asked.target.clone(), Planned { asked, target, scope });
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (plan, if mistakes.is_empty() { Ok(()) } else { Err(PlanError { mistakes }) })
}

/// Each target once, with one of those that asked for it.
pub(super) fn distinct(plan: &Plan) -> BTreeMap<WatchTarget, Planned> {
    plan.values().map(|planned| (planned.target.clone(), planned.clone())).collect()
}

fn resolve(watch: &ConfiguredWatch, discovery: &Discovery) -> Result<(WatchTarget, Option<Scope>), String> {
    let gvr = &watch.target.gvr;
    match discovery.find(gvr) {
        Lookup::Served(resource) => served(watch, resource).map(|target| (target, Some(resource.scope))),
        Lookup::Unknown(reason) => {
            log::warn!(reason; "{gvr}: its API group does not answer; tried again until it does");
            Ok((watch.target.clone(), watch.scope))
        }
        Lookup::OtherVersions(_) | Lookup::Absent if !gvr.may_be_defined_later() => Err(not_served(watch, discovery)),
        Lookup::OtherVersions(others) => {
            let others: Vec<String> = others.iter().map(|other| other.gvr.to_string()).collect();
            log::warn!("{gvr}: not served, only {} is; waiting for this version", others.join(", "));
            Ok((watch.target.clone(), watch.scope))
        }
        Lookup::Absent => {
            log::warn!("{gvr}: not served yet; waiting for its definition");
            Ok((watch.target.clone(), watch.scope))
        }
    }
}

fn served(watch: &ConfiguredWatch, resource: &ApiResource) -> Result<WatchTarget, String> {
    let ConfiguredWatch { target, scope, place } = watch;
    for verb in ["list", "watch"] {
        if !resource.verbs.iter().any(|served| served == verb) {
            return Err(format!("{place}: {} cannot be watched: the server does not offer the verb {verb} for it", target.gvr));
        }
    }
    if let Some(scope) = scope
        && *scope != resource.scope
    {
        return Err(format!(
            "{place}.scope: {} is {} on this server; correct the scope or leave it out",
            target.gvr, resource.scope
        ));
    }
    let mut target = target.clone();
    if resource.scope == Scope::Cluster
        && let Some(namespace) = target.namespace.take()
    {
        log::warn!("{}: its objects live in no namespace; the namespace {namespace} is ignored", target.gvr);
    }
    Ok(target)
}

fn not_served(watch: &ConfiguredWatch, discovery: &Discovery) -> String {
    let near = discovery.near_matches(&watch.target.gvr);
    let hint = match near.as_slice() {
        [] => "; `kubectl api-resources` lists what it serves".to_owned(),
        [one] => format!("; did you mean \"{one}\"?"),
        several => format!("; did you mean one of \"{}\"?", several.join("\", \"")),
    };
    format!("{}: the server does not serve \"{}\"{hint}", watch.place, watch.target.gvr)
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistakes.join("\n"))
    }
}

impl std::error::Error for PlanError {}
