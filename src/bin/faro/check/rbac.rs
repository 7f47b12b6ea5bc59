//! The smallest rights that watches need, as `kubectl apply` takes them.
//!
//! Takes targets with their scopes; gives Roles for those in a namespace, a `ClusterRole` for the others, and bindings where a
//! service account is named. The same targets give the same text.

use super::flags::ServiceAccount;
use faro::api::{FieldSelector, Scope, WatchTarget};
use std::collections::{BTreeMap, BTreeSet};

/// A group and a resource of it.
type Resource = (String, String);

/// What may be listed and watched in one place: all objects, or those of these names.
type Rights = BTreeMap<Resource, BTreeSet<String>>;

/// What roles and bindings are called.
const NAME: &str = "faro";

pub(super) fn manifests(needs: &[(&WatchTarget, Option<Scope>)], account: Option<&ServiceAccount>) -> String {
    let mut everywhere = Rights::new();
    let mut by_namespace: BTreeMap<&str, Rights> = BTreeMap::new();
    for (target, scope) in needs {
        let namespace = target.namespace.as_deref().filter(|_| *scope != Some(Scope::Cluster));
        add(namespace.map_or(&mut everywhere, |name| by_namespace.entry(name).or_default()), target);
    }
    for rights in by_namespace.values_mut() {
        rights.retain(|resource, names| {
            !everywhere.get(resource).is_some_and(|all| all.is_empty() || all.is_superset(names) && !names.is_empty())
        });
    }
    by_namespace.retain(|_, rights| !rights.is_empty());
    let mut documents = Vec::new();
    if !everywhere.is_empty() {
        documents.push(role(None, &everywhere));
        documents.extend(account.map(|account| binding(None, account)));
    }
    for (namespace, rights) in &by_namespace {
        documents.push(role(Some(namespace), rights));
        documents.extend(account.map(|account| binding(Some(namespace), account)));
    }
    documents.join("---\n")
}

/// No name stands for all of them.
fn add(rights: &mut Rights, target: &WatchTarget) {
    let resource = (target.gvr.group().to_owned(), target.gvr.resource().to_owned());
    let name = target.field_selector.as_ref().and_then(FieldSelector::exact_name);
    match (rights.get_mut(&resource), name) {
        (None, name) => drop(rights.insert(resource, name.into_iter().collect())),
        (Some(names), None) => names.clear(),
        (Some(names), Some(name)) if !names.is_empty() => drop(names.insert(name)),
        (Some(_), Some(_)) => {}
    }
}

fn role(namespace: Option<&str>, rights: &Rights) -> String {
    let mut text = head("Role", namespace) + "rules:\n";
    let mut unnamed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((group, resource), _) in rights.iter().filter(|(_, names)| names.is_empty()) {
        unnamed.entry(group).or_default().push(quoted(resource));
    }
    for (group, resources) in unnamed {
        text += &format!("  - {{apiGroups: [{}], resources: [{}], verbs: [list, watch]}}\n", quoted(group), resources.join(", "));
    }
    for ((group, resource), names) in rights.iter().filter(|(_, names)| !names.is_empty()) {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        let (group, resource, names) = (quoted(group), quoted(resource), names.join(", "));
        text += &format!(
            "  - apiGroups: [{group}]\n    resources: [{resource}]\n    resourceNames: [{names}]\n    verbs: [list, watch]\n"
        );
    }
    if namespace.is_some() {
        text += "  # Optional: with it, the log says so when the namespace is not there.\n";
        text += "  # - {apiGroups: [\"\"], resources: [namespaces], verbs: [get]}\n";
    }
    text
}

fn binding(namespace: Option<&str>, account: &ServiceAccount) -> String {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let ServiceAccount { namespace: home, name } = account;
    format!(
        "{}roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {NAME}}}\n\
         subjects:\n  - {{kind: ServiceAccount, namespace: {}, name: {}}}\n",
        head("RoleBinding", namespace),
        quoted(home),
        quoted(name)
    )
}

/// Of `kind` in a namespace, or of its counterpart of the cluster.
fn head(kind: &str, namespace: Option<&str>) -> String {
    let (cluster, metadata) = match namespace {
        Some(namespace) => ("", format!("{{name: {NAME}, namespace: {}}}", quoted(namespace))),
        None => ("Cluster", format!("{{name: {NAME}}}")),
    };
    format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {cluster}{kind}\nmetadata: {metadata}\n")
}

/// As a JSON string, which is YAML whatever it holds.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use faro::config::Config;

    /// Cluster-scoped is what is called nodes.
    #[track_caller]
    fn check(resources: &str, account: Option<&ServiceAccount>, expected: &str) {
        let config = Config::from_yaml(&format!("output_dir: x\nresources: [{resources}]"), "c").unwrap();
        let targets: Vec<WatchTarget> = config.watches().into_iter().map(|watch| watch.target).collect();
        let scope = |target: &WatchTarget| if target.gvr.resource() == "nodes" { Scope::Cluster } else { Scope::Namespaced };
        let needs: Vec<_> = targets.iter().map(|target| (target, Some(scope(target)))).collect();
        let told = manifests(&needs, account);
        let kept: Vec<&str> = told.lines().filter(|line| !line.contains('#') && !line.starts_with("apiVersion")).collect();
        assert_eq!(kept.join("\n"), expected, "{resources}");
    }

    #[test]
    fn all_namespaces_and_cluster_scoped_kinds_are_one_cluster_role() {
        check(
            "{gvr: v1/pods}, {gvr: v1/nodes, namespace_names: [a]}, {gvr: apps/v1/deployments, label_selector: app=web}",
            None,
            "kind: ClusterRole
metadata: {name: faro}
rules:
  - {apiGroups: [\"\"], resources: [\"nodes\", \"pods\"], verbs: [list, watch]}
  - {apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [list, watch]}",
        );
    }

    #[test]
    fn one_namespace_is_a_role_in_it_bound_to_whom_is_named() {
        let account = ServiceAccount { namespace: "ops".to_owned(), name: "watcher".to_owned() };
        check(
            "{gvr: v1/pods, namespace_names: [a]}",
            Some(&account),
            "kind: Role
metadata: {name: faro, namespace: \"a\"}
rules:
  - {apiGroups: [\"\"], resources: [\"pods\"], verbs: [list, watch]}
---
kind: RoleBinding
metadata: {name: faro, namespace: \"a\"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: faro}
subjects:
  - {kind: ServiceAccount, namespace: \"ops\", name: \"watcher\"}",
        );
    }

    #[test]
    fn a_name_alone_needs_no_right_to_the_others() {
        let [one, two] = ["a", "b"].map(|name| format!("{{gvr: v1/pods, namespace_names: [n], name_selector: {name}}}"));
        let names = |names: &str| {
            format!(
                "kind: Role\nmetadata: {{name: faro, namespace: \"n\"}}\nrules:\n  - apiGroups: [\"\"]\n    resources: [\"pods\"]\n    \
                 resourceNames: [{names}]\n    verbs: [list, watch]"
            )
        };
        check(&one, None, &names("\"a\""));
        check(&format!("{two}, {one}"), None, &names("\"a\", \"b\""));
        let all = "kind: Role\nmetadata: {name: faro, namespace: \"n\"}\nrules:\n  - {apiGroups: [\"\"], resources: [\"pods\"], verbs: [list, watch]}";
        let everything = "{gvr: v1/pods, namespace_names: [n]}";
        check(&format!("{one}, {everything}, {two}"), None, all);
    }

    #[test]
    fn what_is_granted_everywhere_is_not_granted_again() {
        let all = "kind: ClusterRole\nmetadata: {name: faro}\nrules:\n  - {apiGroups: [\"\"], resources: [\"pods\"], verbs: [list, watch]}";
        check("{gvr: v1/pods}, {gvr: v1/pods, namespace_names: [n], name_selector: a}", None, all);
    }
}
