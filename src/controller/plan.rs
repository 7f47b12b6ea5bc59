//! From what is configured, and what the server serves, to the watches that are started.
//!
//! Takes [`ConfiguredWatch`]es and a [`Discovery`]; gives targets with their scopes, or every mistake at once.

use crate::api::{Scope, WatchTarget};
use crate::client::{ApiResource, Discovery, Lookup};
use crate::config::ConfiguredWatch;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The namespaces that were asked for, also where the kind has none; all where there are none.
    pub(super) namespaces: BTreeSet<String>,
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
                let mut namespaces = BTreeSet::new();
                namespaces.extend(asked.target.namespace.clone());
                plan.insert(asked.target.clone(), Planned { asked, target, scope, namespaces });
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (plan, if mistakes.is_empty() { Ok(()) } else { Err(PlanError { mistakes }) })
}

/// Each target once, with one of those that asked for it and the namespaces of all of them.
pub(super) fn distinct(plan: &Plan) -> BTreeMap<WatchTarget, Planned> {
    let mut distinct: BTreeMap<WatchTarget, Planned> = BTreeMap::new();
    for planned in plan.values() {
        match distinct.entry(planned.target.clone()) {
            Entry::Vacant(vacant) => _ = vacant.insert(planned.clone()),
            Entry::Occupied(mut occupied) => {
                let namespaces = &mut occupied.get_mut().namespaces;
                // Who asks for all namespaces asks for those of the others, too.
                if namespaces.is_empty() || planned.namespaces.is_empty() {
                    namespaces.clear();
                } else {
                    namespaces.extend(planned.namespaces.iter().cloned());
                }
            }
        }
    }
    distinct
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_kind_without_namespaces_is_watched_once_and_the_namespaces_asked_for_are_remembered() {
        for (asked, expected) in [("[a, b]", &["a", "b"][..]), ("[]", &[]), ("[a]", &["a"])] {
            let yaml = format!("output_dir: x\nresources: [{{gvr: v1/nodes, namespace_names: {asked}}}]");
            let planned = Config::from_yaml(&yaml, "c").unwrap().watches().into_iter().map(|asked| {
                let target = WatchTarget { namespace: None, ..asked.target.clone() };
                let namespaces = asked.target.namespace.iter().cloned().collect();
                (asked.target.clone(), Planned { asked, target, scope: Some(Scope::Cluster), namespaces })
            });
            let distinct = distinct(&planned.collect());
            let found: Vec<Vec<&str>> =
                distinct.values().map(|planned| planned.namespaces.iter().map(String::as_str).collect()).collect();
            assert_eq!(found, [expected.to_vec()], "{asked}");
        }
    }
}
