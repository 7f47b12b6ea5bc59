//! From what is configured, and what the server serves, to the watches that are started.
//!
//! Takes [`ConfiguredWatch`]es and a [`Discovery`]; gives distinct targets with their scopes, or every mistake at once.

use crate::api::{Scope, WatchTarget};
use crate::client::{ApiResource, Discovery, Lookup};
use crate::config::ConfiguredWatch;
use std::collections::BTreeMap;
use std::fmt;

/// What is started: each target once, with its scope where the server already serves it.
pub(super) type Plan = BTreeMap<WatchTarget, Option<Scope>>;

/// Configured watches that the server can never serve: every one, each with its place and its cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    mistakes: Vec<String>,
}

/// Checks every configured watch against what the server serves.
pub(super) fn plan(configured: Vec<ConfiguredWatch>, discovery: &Discovery) -> Result<Plan, PlanError> {
    let mut plan = Plan::new();
    let mut mistakes = Vec::new();
    for watch in configured {
        match resolve(watch, discovery) {
            Ok((target, scope)) => {
                plan.insert(target, scope);
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(plan) } else { Err(PlanError { mistakes }) }
}

fn resolve(watch: ConfiguredWatch, discovery: &Discovery) -> Result<(WatchTarget, Option<Scope>), String> {
    let gvr = &watch.target.gvr;
    match discovery.find(gvr) {
        Lookup::Served(resource) => served(&watch, resource).map(|target| (target, Some(resource.scope))),
        Lookup::Unknown(reason) => {
            log::warn!(reason; "{gvr}: its API group does not answer; tried again until it does");
            Ok((watch.target, watch.scope))
        }
        Lookup::OtherVersions(_) | Lookup::Absent if gvr.is_built_in_group() => Err(not_served(&watch, discovery)),
        Lookup::OtherVersions(others) => {
            let others: Vec<String> = others.iter().map(|other| other.gvr.to_string()).collect();
            log::warn!("{gvr}: not served, only {} is; waiting for this version", others.join(", "));
            Ok((watch.target, watch.scope))
        }
        Lookup::Absent => {
            log::warn!("{gvr}: not served yet; waiting for its definition");
            Ok((watch.target, watch.scope))
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
