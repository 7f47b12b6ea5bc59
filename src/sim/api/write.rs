//! Creates, updates, patches and deletes over the API.

use super::super::state::catalog::Resource;
use super::super::state::change::{Deleted, Part, Preconditions};
use super::super::state::json::Json;
use super::super::state::object::{Form, Object};
use super::super::state::refusal::Refusal;
use super::super::state::{Inner, State};
use super::path::Target;
use super::{Reply, Request, accept, list, patch, protobuf, reply};

pub(super) fn answer(
    state: &State,
    request: &Request,
    resource: &Resource,
    target: &Target,
    verb: &str,
) -> Result<Reply, Refusal> {
    if !request.query("dryRun").is_empty() {
        return Err(Refusal::bad_request("the simulated server does not know dryRun"));
    }
    if verb == "deletecollection" {
        return delete_collection(state, request, resource, target);
    }
    let mut inner = state.lock();
    let form = accept::object_form(request, inner.settings.release, resource)?;
    let namespace = target.namespace.as_deref().unwrap_or_default();
    if resource.namespaced && namespace.is_empty() {
        return Err(Refusal::bad_request("an empty namespace may not be set during creation"));
    }
    match verb {
        "create" => {
            let json = body(request, resource)?;
            let object = inner.create(resource, namespace, json, &manager(request))?;
            Ok(reply::object(201, &object, resource, form))
        }
        "update" => {
            let json = body(request, resource)?;
            let part = part(target);
            let object = inner.update(resource, namespace, &target.name, json, part, &manager(request))?;
            Ok(reply::object(200, &object, resource, form))
        }
        "patch" => patched(&mut inner, request, resource, target, form),
        _ => delete(&mut inner, request, resource, target, form),
    }
}

fn patched(inner: &mut Inner, request: &Request, resource: &Resource, target: &Target, form: Form) -> Result<Reply, Refusal> {
    let kind = patch::kind(request.header("content-type"))?;
    let patch = protobuf::json(request)?;
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let before = inner.find(resource, namespace, &target.name)?;
    let mut json = before.json();
    patch::apply(&mut json, kind, &patch)?;
    let object = inner.update(resource, namespace, &target.name, json, part(target), &manager(request))?;
    Ok(reply::object(200, &object, resource, form))
}

fn delete(inner: &mut Inner, request: &Request, resource: &Resource, target: &Target, form: Form) -> Result<Reply, Refusal> {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    match inner.delete(resource, namespace, &target.name, &preconditions(request)?)? {
        Deleted::Gone(object) => Ok(reply::json(200, success(resource, &object).to_vec())),
        Deleted::Marked(object) => Ok(reply::object(200, &object, resource, form)),
    }
}

fn delete_collection(state: &State, request: &Request, resource: &Resource, target: &Target) -> Result<Reply, Refusal> {
    let demands = preconditions(request)?;
    let objects = list::selected(state, request, resource, target)?;
    for object in &objects {
        match state.lock().delete(resource, &object.namespace, &object.name, &demands) {
            Ok(_) => {}
            // Somebody else was faster.
            Err(refusal) if refusal.code == 404 => {}
            Err(refusal) => return Err(refusal),
        }
    }
    let mut body = format!(
        r#"{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}"}},"items":["#,
        resource.list_kind,
        resource.api_version(),
        state.version()
    )
    .into_bytes();
    for (place, object) in objects.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        object.write_item(resource, Form::Full, &mut body);
    }
    body.extend_from_slice(b"]}");
    Ok(reply::json(200, body))
}

/// What a delete answers when the object is gone at once.
fn success(resource: &Resource, object: &Object) -> Json {
    let mut details = Json::object([("name", Json::text(&object.name))]);
    if !resource.group.is_empty() {
        details.set("group", Json::text(&resource.group));
    }
    details.set("kind", Json::text(&resource.name));
    details.set("uid", Json::text(&object.uid));
    Json::object([
        ("kind", Json::text("Status")),
        ("apiVersion", Json::text("v1")),
        ("metadata", Json::object([])),
        ("status", Json::text("Success")),
        ("details", details),
    ])
}

/// Which part a request writes. Finalizing a namespace writes it as a whole.
fn part(target: &Target) -> Part {
    if target.subresource.as_deref() == Some("status") { Part::Status } else { Part::Main }
}

/// Who owns the fields that a request writes: what it says, else the first part of its user agent.
fn manager(request: &Request) -> String {
    let told = request.query("fieldManager");
    if !told.is_empty() {
        return told.to_owned();
    }
    let agent = request.header("user-agent").split('/').next().unwrap_or_default();
    if agent.is_empty() { "unknown".to_owned() } else { agent.to_owned() }
}

fn preconditions(request: &Request) -> Result<Preconditions, Refusal> {
    if request.body.is_empty() {
        return Ok(Preconditions::default());
    }
    let json = protobuf::json(request)?;
    let text = |path: &str| json.at(path).and_then(Json::as_text).map(str::to_owned);
    Ok(Preconditions { uid: text("preconditions.uid"), version: text("preconditions.resourceVersion") })
}

/// The object of a request, without `kind` and `apiVersion`, which must be the resource's.
fn body(request: &Request, resource: &Resource) -> Result<Json, Refusal> {
    let mut json = protobuf::json(request)?;
    for (key, expected) in [("kind", &resource.kind), ("apiVersion", &resource.api_version())] {
        let told = json.text_at(key).to_owned();
        if !told.is_empty() && told != *expected {
            let message = format!("the {key} in the data ({told}) does not match the expected {key} ({expected})");
            return Err(Refusal::bad_request(message));
        }
        json.remove(key);
    }
    Ok(json)
}
