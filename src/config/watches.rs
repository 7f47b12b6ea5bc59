//! From what is asked for to what is watched: sorted, distinct targets.

use super::{ConfiguredWatch, ResourceEntry, Selectors};
use crate::api::{FieldSelector, WatchTarget};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Most watches of one Faro: each is a thread and a connection.
pub(super) const WATCHES_MAX: usize = 10_000;

/// Each target once, in the order of [`WatchTarget`].
pub(super) fn of(entries: &[ResourceEntry]) -> Vec<ConfiguredWatch> {
    let mut watches: BTreeMap<WatchTarget, ConfiguredWatch> = BTreeMap::new();
    for entry in entries {
        for target in targets(entry) {
            match watches.entry(target.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(ConfiguredWatch { target, scope: entry.scope, place: entry.place.clone() });
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.scope = known.scope.or(entry.scope);
                }
            }
        }
    }
    watches.into_values().collect()
}

fn targets(entry: &ResourceEntry) -> Vec<WatchTarget> {
    let everywhere = WatchTarget {
        gvr: entry.gvr.clone(),
        namespace: None,
        label_selector: entry.selectors.label.clone(),
        field_selector: fields(&entry.selectors),
    };
    if entry.namespaces.is_empty() {
        return vec![everywhere];
    }
    entry.namespaces.iter().map(|name| WatchTarget { namespace: Some(name.clone()), ..everywhere.clone() }).collect()
}

/// The name and the field selector as one: objects must match both.
fn fields(selectors: &Selectors) -> Option<FieldSelector> {
    let name = selectors.name.as_deref().map(FieldSelector::name);
    match (name, &selectors.field) {
        (Some(name), Some(field)) => Some(name.and(field)),
        (name, field) => name.or_else(|| field.clone()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn check(yaml: &str, expected: &[&str]) {
        let config = Config::from_yaml(&format!("output_dir: x\n{yaml}"), "c").unwrap();
        let watches: Vec<String> = config.watches().iter().map(|watch| watch.target.to_string()).collect();
        assert_eq!(watches, expected, "{yaml}");
    }

    #[test]
    fn each_namespace_is_a_watch_and_none_means_all() {
        check("resources: [{gvr: v1/pods, namespace_names: [b, a, b]}]", &["v1/pods in a", "v1/pods in b"]);
        for all in ["", ", namespace_names: []", ", namespace_names: ['']"] {
            check(&format!("resources: [{{gvr: v1/pods{all}}}]"), &["v1/pods"]);
        }
    }

    #[test]
    fn watches_are_sorted_and_distinct_across_both_formats() {
        check(
            r"
resources:
  - {gvr: v1/pods, namespace_names: [prod]}
  - {gvr: apps/v1/deployments}
  - {gvr: v1/pods, namespace_names: [prod, dev], label_selector: app=web}
namespaces:
  - {name_selector: prod, resources: {v1/pods: {}, v1/services: {label_selector: app=web}}}
  - {name_selector: dev, resources: {v1/pods: {label_selector: app=web}}}
",
            &[
                "v1/pods in dev with labels app=web",
                "v1/pods in prod",
                "v1/pods in prod with labels app=web",
                "v1/services in prod with labels app=web",
                "apps/v1/deployments",
            ],
        );
    }

    #[test]
    fn a_name_is_sent_as_a_field_selector_and_joins_another() {
        check("resources: [{gvr: v1/pods, name_selector: web-0}]", &["v1/pods with fields metadata.name=web-0"]);
        check(
            "resources: [{gvr: v1/pods, name_selector: web-0, field_selector: spec.nodeName=n1}]",
            &["v1/pods with fields metadata.name=web-0,spec.nodeName=n1"],
        );
        check("resources: [{gvr: v1/pods, name_selector: 'a,b=c'}]", &[r"v1/pods with fields metadata.name=a\,b\=c"]);
    }

    #[test]
    fn a_watch_knows_its_scope_and_the_place_that_asked_for_it() {
        let yaml = "output_dir: x\nresources:\n  - gvr: v1/nodes\n  - gvr: v1/nodes\n    scope: CLUSTER\n";
        let watches = Config::from_yaml(yaml, "c.yaml").unwrap().watches();
        assert_eq!(watches.len(), 1);
        assert_eq!(watches[0].scope, Some(crate::api::Scope::Cluster));
        assert_eq!(watches[0].place.to_string(), "c.yaml:3: resources[0]");
    }
}
