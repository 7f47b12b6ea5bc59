//! Access reviews: may I?

use super::super::state::State;
use super::super::state::access::{Action, Caller};
use super::super::state::catalog::Release;
use super::super::state::json::Json;
use super::super::state::managed::{self, Manager};
use super::super::state::refusal::Refusal;
use super::path::Target;
use super::{Reply, Request, protobuf, reply};

/// The attributes of a review, in the order of Go's struct (`k8s.io/api/authorization/v1`).
const ATTRIBUTES: [&str; 7] = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];

pub(super) fn answer(state: &State, request: &Request, caller: &Caller, target: &Target) -> Result<Reply, Refusal> {
    let json = protobuf::review(request)?;
    let inner = state.lock();
    let mut attributes = Json::object([]);
    for key in ATTRIBUTES {
        if let Some(value) = json.at("spec.resourceAttributes").and_then(|attributes| attributes.get(key)) {
            attributes.set(key, value.clone());
        }
    }
    let reason = allowed(&inner.access, caller, &attributes);
    let mut spec = Json::object([]);
    if json.at("spec.resourceAttributes").is_some() {
        spec.set("resourceAttributes", attributes);
    }
    if let Some(attributes) = json.at("spec.nonResourceAttributes") {
        spec.set("nonResourceAttributes", attributes.clone());
    }
    let mut status = Json::object([("allowed", Json::Bool(reason.is_some()))]);
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        status.set("reason", Json::text(reason));
    }
    let mut fields = Json::object([("spec", spec.clone())]);
    let api_version = format!("{}/{}", target.group, target.version);
    let manager = Manager { name: "unknown", api_version: &api_version, custom: false, now: &inner.time() };
    managed::note(None, &mut fields, manager);
    let mut metadata = Json::object([]);
    if inner.settings.release == Release::V1_20 {
        metadata.set("creationTimestamp", Json::Null);
    }
    metadata.set("managedFields", fields.at("metadata.managedFields").cloned().unwrap_or(Json::Null));
    let review = Json::object([
        ("kind", Json::text("SelfSubjectAccessReview")),
        ("apiVersion", Json::text(&api_version)),
        ("metadata", metadata),
        ("spec", spec),
        ("status", status),
    ]);
    Ok(reply::json(201, review.to_vec()))
}

/// The reason why this is allowed, if so. Paths that are no resources are open to everybody.
fn allowed(access: &super::super::state::access::Access, caller: &Caller, attributes: &Json) -> Option<String> {
    let resource = attributes.text_at("resource");
    if resource.is_empty() {
        return Some(String::new());
    }
    let group = attributes.text_at("group");
    let resource = if group.is_empty() || group == "*" { resource.to_owned() } else { format!("{resource}.{group}") };
    let action = Action { verb: attributes.text_at("verb"), resource: &resource, namespace: attributes.text_at("namespace") };
    access.allows(caller, action).map(str::to_owned)
}
