//! Which form of an answer a request accepts.

use super::super::state::catalog::{Release, Resource};
use super::super::state::object::Form;
use super::super::state::refusal::Refusal;
use super::Request;

/// What an answer can be asked to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As it is stored.
    Full,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `PartialObjectMetadataList`.
    MetadataList,
}

/// The shape that a request asks for.
///
/// # Errors
///
/// 406 when nothing that is asked for can be given. Tables and protobuf never are.
pub(super) fn shape(request: &Request, release: Release) -> Result<Shape, Refusal> {
    let accept = request.header("accept");
    if accept.is_empty() {
        return Ok(Shape::Full);
    }
    accept.split(',').find_map(one).ok_or_else(|| {
        Refusal::not_acceptable(match release {
            Release::V1_20 => "406: Not Acceptable".to_owned(),
            Release::V1_33 | Release::V1_36 => format!("406: Not Acceptable\n\nAvailable representations: {REPRESENTATIONS}"),
        })
        .with(super::Json::object([]))
    })
}

/// The form of a single object.
pub(super) fn object_form(request: &Request, release: Release, resource: &Resource) -> Result<Form, Refusal> {
    match shape(request, release)? {
        Shape::Full => Ok(Form::Full),
        Shape::Metadata => Ok(Form::Metadata),
        Shape::MetadataList => Err(Refusal::not_acceptable(format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
            go_type(resource, &resource.kind)
        ))),
    }
}

/// The form of the items of a list.
pub(super) fn list_form(request: &Request, release: Release, resource: &Resource) -> Result<Form, Refusal> {
    match shape(request, release)? {
        Shape::Full => Ok(Form::Full),
        Shape::MetadataList => Ok(Form::Metadata),
        Shape::Metadata => Err(Refusal::not_acceptable(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{})",
            go_type(resource, &resource.list_kind)
        ))),
    }
}

const REPRESENTATIONS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, \
                               application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// The shape of one entry of `Accept`, if it can be given.
fn one(entry: &str) -> Option<Shape> {
    let mut parts = entry.split(';').map(str::trim);
    if !matches!(parts.next()?, "application/json" | "application/*" | "*/*") {
        return None;
    }
    match parts.find_map(|part| part.strip_prefix("as=")) {
        None => Some(Shape::Full),
        Some("PartialObjectMetadata") => Some(Shape::Metadata),
        Some("PartialObjectMetadataList") => Some(Shape::MetadataList),
        Some(_) => None,
    }
}

/// A kind as the server's Go code names its internal type.
fn go_type(resource: &Resource, kind: &str) -> String {
    if resource.custom {
        let list = if kind == resource.list_kind { "List" } else { "" };
        return format!("unstructured.Unstructured{list}");
    }
    let group = resource.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    format!("{group}.{kind}")
}
