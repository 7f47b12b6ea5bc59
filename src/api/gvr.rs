//! Which kind of resource: `v1/pods`, `apps/v1/deployments`.

use std::fmt;
use std::str::FromStr;

/// A resource by group, version and plural name, as in `apps/v1/deployments`.
///
/// The core group is empty and its text form has no slash before the version: `v1/pods`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionResource {
    group: String,
    version: String,
    resource: String,
}

/// Why a text is no [`GroupVersionResource`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `version/resource` or `group/version/resource`, found \"{found}\"{hint}")]
pub struct GvrError {
    found: String,
    hint: String,
}

impl GroupVersionResource {
    /// Joins the parts as discovery names them; an empty `group` is the core group.
    ///
    /// # Errors
    ///
    /// When a part is not a name that an API server could serve.
    pub fn new(group: &str, version: &str, resource: &str) -> Result<Self, GvrError> {
        let text = if group.is_empty() { format!("{version}/{resource}") } else { format!("{group}/{version}/{resource}") };
        text.parse()
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version, as in `v1` or `v1beta1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The plural name, as in `pods`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// `v1` or `apps/v1`: what objects carry as `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether this group is compiled into API servers: it is always served, so that nothing of it is ever absent.
    ///
    /// The name alone does not say it: `gateway.networking.k8s.io` and `metrics.k8s.io` end in `.k8s.io` and are brought
    /// by definitions and by aggregated API servers.
    pub fn is_built_in_group(&self) -> bool {
        BUILT_IN_GROUPS.contains(&self.group.as_str())
    }

    /// Every built-in group, the core group first.
    #[cfg(test)]
    pub(crate) fn built_in_groups() -> &'static [&'static str] {
        &BUILT_IN_GROUPS
    }

    /// Whether a definition may still bring this resource. Where none can, a resource that is not served is a mistake.
    ///
    /// API servers refuse a definition whose group has no dot ("should be a domain with at least one dot", in
    /// `ValidateCustomResourceDefinition` of k8s.io/apiextensions-apiserver).
    pub fn may_be_defined_later(&self) -> bool {
        self.group.contains('.') && !self.is_built_in_group()
    }

    /// Whether these are `v1/secrets`, of which only metadata is ever requested, told or written.
    pub fn is_secrets(&self) -> bool {
        self.group.is_empty() && self.resource == "secrets"
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{}/{}", self.version, self.resource)
    }
}

impl FromStr for GroupVersionResource {
    type Err = GvrError;

    fn from_str(text: &str) -> Result<Self, GvrError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (group, version, resource) = match parts[..] {
            [version, resource] => ("", version, resource),
            [group, version, resource] if !group.is_empty() => (group, version, resource),
            _ => return Err(GvrError::new(text)),
        };
        if !is_group(group) || !is_version(version) || !is_label(resource) {
            return Err(GvrError::new(text));
        }
        Ok(Self { group: group.to_owned(), version: version.to_owned(), resource: resource.to_owned() })
    }
}

impl GvrError {
    fn new(found: &str) -> Self {
        let hint = nearest(found).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        Self { found: found.chars().take(FOUND_CHARS_MAX).collect(), hint }
    }
}

/// What bare API servers of 1.20 and 1.36 serve, as recorded in `discovery-apis-legacy.http` and
/// `discovery-apis-aggregated.http`, and the core group.
const BUILT_IN_GROUPS: [&str; 22] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// How much of a wrong text an error repeats.
const FOUND_CHARS_MAX: usize = 100;

/// What was probably meant: a kind instead of its plural, or a resource without its group and version.
fn nearest(found: &str) -> Option<String> {
    let lower = found.to_ascii_lowercase();
    if is_label(&lower) {
        return (!is_version(&lower)).then(|| guess(&lower));
    }
    let near = if lower.ends_with('s') { lower } else { format!("{lower}s") };
    (found != near && near.parse::<GroupVersionResource>().is_ok()).then_some(near)
}

/// The usual home of a resource whose group and version were left out.
fn guess(resource: &str) -> String {
    let plural = if resource.ends_with('s') { resource.to_owned() } else { format!("{resource}s") };
    let home = match plural.as_str() {
        "deployments" | "daemonsets" | "statefulsets" | "replicasets" => "apps/v1",
        "jobs" | "cronjobs" => "batch/v1",
        "ingresses" | "networkpolicies" => "networking.k8s.io/v1",
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => "rbac.authorization.k8s.io/v1",
        "customresourcedefinitions" => "apiextensions.k8s.io/v1",
        _ => "v1",
    };
    format!("{home}/{plural}")
}

fn is_version(text: &str) -> bool {
    is_label(text) && text.starts_with('v') && text[1..].starts_with(|c: char| c.is_ascii_digit())
}

fn is_group(text: &str) -> bool {
    text.is_empty() || (text.len() <= 253 && text.split('.').all(is_label))
}

/// An RFC 1123 label, the form that API servers demand of every part.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match text.parse::<GroupVersionResource>() {
            Ok(gvr) => format!("ok {gvr}"),
            Err(error) => format!("err {error}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn accepts_core_and_named_groups_only() {
        check("v1/pods", "ok v1/pods");
        check("apps/v1/deployments", "ok apps/v1/deployments");
        check("stable.example.com/v1alpha1/widgets", "ok stable.example.com/v1alpha1/widgets");
        check("/v1/pods", r#"err expected `version/resource` or `group/version/resource`, found "/v1/pods""#);
        check("pods", r#"err expected `version/resource` or `group/version/resource`, found "pods"; did you mean "v1/pods"?"#);
        check(
            "Deployment",
            r#"err expected `version/resource` or `group/version/resource`, found "Deployment"; did you mean "apps/v1/deployments"?"#,
        );
        check(
            "v1/Pods",
            r#"err expected `version/resource` or `group/version/resource`, found "v1/Pods"; did you mean "v1/pods"?"#,
        );
        check(
            "apps/v1/Deployment",
            r#"err expected `version/resource` or `group/version/resource`, found "apps/v1/Deployment"; did you mean "apps/v1/deployments"?"#,
        );
        check("v1", r#"err expected `version/resource` or `group/version/resource`, found "v1""#);
        check("a/b/c/d", r#"err expected `version/resource` or `group/version/resource`, found "a/b/c/d""#);
        check("v1/../secrets", r#"err expected `version/resource` or `group/version/resource`, found "v1/../secrets""#);
        check("", r#"err expected `version/resource` or `group/version/resource`, found """#);
    }

    #[test]
    fn only_groups_compiled_into_api_servers_are_built_in_whatever_their_names_end_in() {
        for (text, built_in, may_come) in [
            ("v1/pods", true, false),
            ("apps/v1/deployments", true, false),
            ("storage.k8s.io/v1/csinodes", true, false),
            ("flowcontrol.apiserver.k8s.io/v1/flowschemas", true, false),
            ("gateway.networking.k8s.io/v1/gateways", false, true),
            ("snapshot.storage.k8s.io/v1/volumesnapshots", false, true),
            ("policy.networking.k8s.io/v1alpha1/adminnetworkpolicies", false, true),
            ("autoscaling.k8s.io/v1/verticalpodautoscalers", false, true),
            ("metrics.k8s.io/v1beta1/pods", false, true),
            ("example.com/v1/widgets", false, true),
            ("aps/v1/deployments", false, false),
        ] {
            let gvr: GroupVersionResource = text.parse().unwrap();
            assert_eq!((gvr.is_built_in_group(), gvr.may_be_defined_later()), (built_in, may_come), "{text}");
        }
    }
}
