//! What a path asks for.

use super::Request;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    Version,
    /// `/openapi/v2` or `/openapi/v3`.
    OpenApi(u8),
    Discovery(Document),
    Objects(Target),
    Unknown,
}

/// A document of discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Resources(String, String),
}

/// A resource, or one object of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) resource: String,
    /// Empty for the whole collection.
    pub(super) name: String,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// The verb, as rules and discovery name it.
    pub(super) fn verb(&self, request: &Request) -> &'static str {
        match (request.method.as_str(), self.name.is_empty()) {
            ("GET" | "HEAD", true) if request.flag("watch") => "watch",
            ("GET" | "HEAD", true) => "list",
            ("GET" | "HEAD", false) => "get",
            ("POST", true) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "",
        }
    }

    /// `pods` or `deployments.apps`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// Reads a path.
pub(super) fn parse(path: &str) -> Place {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Place::Health,
        ["version"] => Place::Version,
        ["openapi", "v2"] => Place::OpenApi(2),
        ["openapi", "v3"] => Place::OpenApi(3),
        ["api"] => Place::Discovery(Document::Core),
        ["api", version] => Place::Discovery(Document::Resources(String::new(), (*version).to_owned())),
        ["api", version, rest @ ..] => target("", version, rest),
        ["apis"] => Place::Discovery(Document::Groups),
        ["apis", group] => Place::Discovery(Document::Group((*group).to_owned())),
        ["apis", group, version] => Place::Discovery(Document::Resources((*group).to_owned(), (*version).to_owned())),
        ["apis", group, version, rest @ ..] => target(group, version, rest),
        _ => Place::Unknown,
    }
}

fn target(group: &str, version: &str, rest: &[&str]) -> Place {
    let (namespace, rest) = match rest {
        // A namespace and its own subresources are objects of the core group.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
        rest => (None, rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (resource, "", None),
        [resource, name] => (resource, *name, None),
        [resource, name, subresource] => (resource, *name, Some((*subresource).to_owned())),
        _ => return Place::Unknown,
    };
    Place::Objects(Target {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace,
        resource: (*resource).to_owned(),
        name: name.to_owned(),
        subresource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_collections_objects_and_their_parts() {
        let check = |path: &str, expected: [&str; 6]| {
            let Place::Objects(target) = parse(path) else { panic!("{path}") };
            let found = [
                &target.group,
                &target.version,
                target.namespace.as_deref().unwrap_or("-"),
                &target.resource,
                &target.name,
                target.subresource.as_deref().unwrap_or("-"),
            ];
            assert_eq!(found, expected, "{path}");
        };
        check("/api/v1/namespaces", ["", "v1", "-", "namespaces", "", "-"]);
        check("/api/v1/namespaces/demo", ["", "v1", "-", "namespaces", "demo", "-"]);
        check("/api/v1/namespaces/demo/finalize", ["", "v1", "-", "namespaces", "demo", "finalize"]);
        check("/api/v1/namespaces/demo/pods/p/status", ["", "v1", "demo", "pods", "p", "status"]);
        check("/apis/apps/v1/deployments", ["apps", "v1", "-", "deployments", "", "-"]);
        assert_eq!(parse("/apis/apps/v1"), Place::Discovery(Document::Resources("apps".to_owned(), "v1".to_owned())));
        assert_eq!(parse("/nosuch"), Place::Unknown);
    }
}
