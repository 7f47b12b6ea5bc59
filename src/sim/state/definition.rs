//! Custom resource definitions: what a server fills into one, and the resources that follow from it.

use super::catalog::{Resource, Subresource, strings};
use super::json::Json;

/// The verbs of a custom resource, in the order in which real servers tell them.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// Fills in what a server fills in, and says that the definition is established.
pub(crate) fn establish(definition: &mut Json, now: &str) {
    let kind = definition.text_at("spec.names.kind").to_owned();
    let names = definition.entry("spec").entry("names");
    if names.text_at("singular").is_empty() {
        names.set("singular", Json::text(kind.to_lowercase()));
    }
    if names.text_at("listKind").is_empty() {
        names.set("listKind", Json::text(format!("{kind}List")));
    }
    let names = names.clone();
    let stored = versions(definition).iter().filter(|version| version.get("storage") == Some(&Json::Bool(true)));
    let stored: Vec<Json> = stored.map(|version| Json::text(version.text_at("name"))).collect();
    let condition = |kind: &str, reason: &str, message: &str| {
        Json::object([
            ("type", Json::text(kind)),
            ("status", Json::text("True")),
            ("lastTransitionTime", Json::text(now)),
            ("reason", Json::text(reason)),
            ("message", Json::text(message)),
        ])
    };
    let conditions = vec![
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ];
    let status = [("conditions", Json::Array(conditions)), ("acceptedNames", names), ("storedVersions", Json::Array(stored))];
    definition.set("status", Json::object(status));
}

/// The resources that this definition serves, one a version.
pub(crate) fn resources(definition: &Json) -> Vec<Resource> {
    let text = |path: &str| definition.text_at(path).to_owned();
    let served = versions(definition).iter().filter(|version| version.get("served") == Some(&Json::Bool(true)));
    let names = definition.at("spec.names").unwrap_or(&Json::Null);
    let resource = served.map(|version| Resource {
        group: text("spec.group"),
        version: version.text_at("name").to_owned(),
        name: text("spec.names.plural"),
        singular: text("spec.names.singular"),
        kind: text("spec.names.kind"),
        list_kind: text("spec.names.listKind"),
        namespaced: text("spec.scope") == "Namespaced",
        verbs: VERBS.map(str::to_owned).to_vec(),
        short_names: strings(names, "shortNames"),
        categories: strings(names, "categories"),
        subresources: subresources(definition, version),
        custom: true,
        ..Resource::default()
    });
    resource.map(Resource::complete).collect()
}

fn subresources(definition: &Json, version: &Json) -> Vec<Subresource> {
    let subresource = |name: &str, group: &str, version: &str, kind: &str| Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: ["get", "patch", "update"].map(str::to_owned).to_vec(),
    };
    let defined = version.get("subresources").map(Json::entries).unwrap_or_default();
    let known = defined.iter().filter_map(|(name, _)| match name.as_str() {
        "status" => {
            let (group, version) = (definition.text_at("spec.group"), version.text_at("name"));
            Some(subresource("status", group, version, definition.text_at("spec.names.kind")))
        }
        "scale" => Some(subresource("scale", "autoscaling", "v1", "Scale")),
        _ => None,
    });
    known.collect()
}

fn versions(definition: &Json) -> &[Json] {
    definition.at("spec.versions").map(Json::items).unwrap_or_default()
}
