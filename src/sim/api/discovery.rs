//! What is served: legacy and aggregated discovery, the version, and an empty schema.

use super::super::state::State;
use super::super::state::catalog::{Catalog, Group, Release, Resource};
use super::super::state::json::Json;
use super::super::state::refusal::Refusal;
use super::path::Document;
use super::{Reply, Request, reply};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

pub(super) fn answer(state: &State, request: &Request, document: &Document) -> Result<Reply, Refusal> {
    let (catalog, release, address) = {
        let inner = state.lock();
        (Arc::clone(&inner.catalog), inner.settings.release, inner.settings.address.clone())
    };
    let aggregated = aggregated_version(request).filter(|_| release != Release::V1_20);
    let json = match (document, aggregated) {
        (Document::Core, Some(version)) => return Ok(aggregated_reply(&catalog, true, version)),
        (Document::Groups, Some(version)) => return Ok(aggregated_reply(&catalog, false, version)),
        (Document::Core, None) => core(&address),
        (Document::Groups, None) => groups(&catalog),
        (Document::Group(name), _) => {
            let mut found = catalog.groups.iter().filter(|group| !name.is_empty() && group.name == *name);
            group(found.next().ok_or_else(Refusal::no_page)?, true)
        }
        (Document::Resources(group, version), _) => resources(&catalog, group, version).ok_or_else(Refusal::no_page)?,
    };
    Ok(reply::json(200, json.to_vec()))
}

/// `/version`, as the recorded servers answer it; the newest was built without a version, which released ones have.
pub(super) fn version(release: Release) -> Json {
    let text = match release {
        Release::V1_20 => VERSION_1_20,
        Release::V1_33 | Release::V1_36 => VERSION_1_36,
    };
    let mut json = Json::parse(text.as_bytes()).expect("the text is JSON");
    if release == Release::V1_33 {
        json.set("minor", Json::text("33"));
        json.set("gitVersion", Json::text("v1.33.0"));
        json.set("emulationMinor", Json::text("33"));
        json.set("minCompatibilityMinor", Json::text("32"));
    }
    json
}

/// A schema that says nothing, so that clients have nothing to check against.
pub(super) fn open_api(version: u8) -> Reply {
    if version == 2 {
        // An empty message is a valid document in protobuf, which is what clients ask for.
        return reply::document(200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", Vec::new());
    }
    reply::json(200, br#"{"paths":{}}"#.to_vec())
}

const VERSION_1_20: &str = r#"{"major":"1","minor":"20","gitVersion":"v1.20.2","gitCommit":"faecb196815e248d3ecfb03c680a4507229c2a56","gitTreeState":"archive","buildDate":"2026-11-23T09:30:39Z","goVersion":"go1.19.8","compiler":"gc","platform":"linux/amd64"}"#;
const VERSION_1_36: &str = r#"{"major":"1","minor":"36","emulationMajor":"1","emulationMinor":"36","minCompatibilityMajor":"1","minCompatibilityMinor":"35","gitVersion":"v1.36.0","gitCommit":"$Format:%H$","gitTreeState":"","buildDate":"1970-01-01T00:00:00Z","goVersion":"go1.26.6","compiler":"gc","platform":"linux/amd64"}"#;

/// The version of aggregated discovery that is asked for first.
fn aggregated_version(request: &Request) -> Option<&'static str> {
    let entry = request.header("accept").split(',').next().unwrap_or_default();
    let parts: Vec<&str> = entry.split(';').map(str::trim).collect();
    let is_asked = parts.contains(&"as=APIGroupDiscoveryList") && parts.contains(&"g=apidiscovery.k8s.io");
    let versions = [("v=v2", "v2"), ("v=v2beta1", "v2beta1")];
    versions.into_iter().find(|(part, _)| is_asked && parts.contains(part)).map(|(_, version)| version)
}

fn aggregated_reply(catalog: &Catalog, is_core: bool, version: &str) -> Reply {
    let groups = catalog.groups.iter().filter(|group| group.name.is_empty() == is_core);
    let json = Json::object([
        ("kind", Json::text("APIGroupDiscoveryList")),
        ("apiVersion", Json::text(format!("apidiscovery.k8s.io/{version}"))),
        ("metadata", Json::object([])),
        ("items", Json::Array(groups.map(|group| aggregated_group(catalog, group)).collect())),
    ]);
    let body = [json.to_vec(), b"\n".to_vec()].concat();
    let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let headers = vec![
        ("Cache-Control", "public".to_owned()),
        ("Content-Type", content_type),
        ("Etag", format!("\"{}\"", etag(&body))),
        ("Vary", "Accept".to_owned()),
    ];
    Reply::Document { code: 200, headers, body: body.into() }
}

/// As long as a real one, and different when the body is.
fn etag(body: &[u8]) -> String {
    let part = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, body).hash(&mut hasher);
        format!("{:016X}", hasher.finish())
    };
    (0..8).map(part).collect()
}

fn aggregated_group(catalog: &Catalog, group: &Group) -> Json {
    let mut metadata = Json::object([]);
    if !group.name.is_empty() {
        metadata.set("name", Json::text(&group.name));
    }
    let versions = group.versions.iter().map(|version| {
        let resources = catalog.of(&group.name, version).map(|resource| aggregated_resource(resource));
        Json::object([
            ("version", Json::text(version)),
            ("resources", Json::Array(resources.collect())),
            ("freshness", Json::text("Current")),
        ])
    });
    Json::object([("metadata", metadata), ("versions", Json::Array(versions.collect()))])
}

fn aggregated_resource(resource: &Resource) -> Json {
    // Built-in types leave their own group and version out.
    let (group, version) = if resource.custom { (resource.group.as_str(), resource.version.as_str()) } else { ("", "") };
    let mut json = Json::object([
        ("resource", Json::text(&resource.name)),
        ("responseKind", response_kind(group, version, &resource.kind)),
        ("scope", Json::text(if resource.namespaced { "Namespaced" } else { "Cluster" })),
        ("singularResource", Json::text(&resource.singular)),
        ("verbs", texts(&resource.verbs)),
    ]);
    set_names(&mut json, resource);
    if !resource.subresources.is_empty() {
        let subresources = resource.subresources.iter().map(|subresource| {
            Json::object([
                ("subresource", Json::text(&subresource.name)),
                ("responseKind", response_kind(&subresource.group, &subresource.version, &subresource.kind)),
                ("verbs", texts(&subresource.verbs)),
            ])
        });
        json.set("subresources", Json::Array(subresources.collect()));
    }
    json
}

fn response_kind(group: &str, version: &str, kind: &str) -> Json {
    Json::object([("group", Json::text(group)), ("version", Json::text(version)), ("kind", Json::text(kind))])
}

fn set_names(json: &mut Json, resource: &Resource) {
    for (key, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            json.set(key, texts(names));
        }
    }
}

fn core(address: &str) -> Json {
    let range = Json::object([("clientCIDR", Json::text("0.0.0.0/0")), ("serverAddress", Json::text(address))]);
    Json::object([
        ("kind", Json::text("APIVersions")),
        ("versions", Json::Array(vec![Json::text("v1")])),
        ("serverAddressByClientCIDRs", Json::Array(vec![range])),
    ])
}

fn groups(catalog: &Catalog) -> Json {
    let groups = catalog.groups.iter().filter(|group| !group.name.is_empty()).map(|it| group(it, false));
    Json::object([
        ("kind", Json::text("APIGroupList")),
        ("apiVersion", Json::text("v1")),
        ("groups", Json::Array(groups.collect())),
    ])
}

fn group(group: &Group, is_document: bool) -> Json {
    let version = |version: &String| {
        let both = format!("{}/{version}", group.name);
        Json::object([("groupVersion", Json::text(both)), ("version", Json::text(version))])
    };
    let mut json = Json::object([]);
    if is_document {
        json.set("kind", Json::text("APIGroup"));
        json.set("apiVersion", Json::text("v1"));
    }
    json.set("name", Json::text(&group.name));
    json.set("versions", Json::Array(group.versions.iter().map(version).collect()));
    json.set("preferredVersion", version(&group.preferred));
    json
}

fn resources(catalog: &Catalog, group: &str, version: &str) -> Option<Json> {
    if !catalog.serves(group, version) {
        return None;
    }
    let mut json = Json::object([("kind", Json::text("APIResourceList"))]);
    // The core group was there before lists told their own version.
    if !group.is_empty() {
        json.set("apiVersion", Json::text("v1"));
    }
    let both = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json.set("groupVersion", Json::text(both));
    json.set("resources", Json::Array(catalog.of(group, version).flat_map(|resource| legacy_resource(resource)).collect()));
    Some(json)
}

/// A resource, then its subresources.
fn legacy_resource(resource: &Resource) -> Vec<Json> {
    let entry = |name: &str, singular: &str| {
        Json::object([
            ("name", Json::text(name)),
            ("singularName", Json::text(singular)),
            ("namespaced", Json::Bool(resource.namespaced)),
        ])
    };
    let mut json = entry(&resource.name, &resource.singular);
    json.set("kind", Json::text(&resource.kind));
    json.set("verbs", texts(&resource.verbs));
    set_names(&mut json, resource);
    if !resource.storage_version_hash.is_empty() {
        json.set("storageVersionHash", Json::text(&resource.storage_version_hash));
    }
    let mut entries = vec![json];
    for subresource in &resource.subresources {
        let mut json = entry(&format!("{}/{}", resource.name, subresource.name), "");
        if subresource.group != resource.group && !subresource.group.is_empty() {
            json.set("group", Json::text(&subresource.group));
        }
        if !subresource.version.is_empty() && !resource.custom {
            json.set("version", Json::text(&subresource.version));
        }
        json.set("kind", Json::text(&subresource.kind));
        json.set("verbs", texts(&subresource.verbs));
        entries.push(json);
    }
    entries
}

fn texts(texts: &[String]) -> Json {
    Json::Array(texts.iter().map(Json::text).collect())
}
