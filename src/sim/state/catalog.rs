//! Which resources a server of some release serves, from recorded discovery documents and from the definitions made at run time.

use super::json::Json;
use std::sync::Arc;

/// Which Kubernetes the server pretends to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Release {
    /// The oldest that matters: no aggregated discovery, and streaming lists are ignored or refused as unknown.
    V1_20,
    /// Knows streaming lists but refuses them: the feature is switched off.
    V1_33,
    /// Streams lists.
    #[default]
    V1_36,
}

/// Everything that is served.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// In the order of discovery; the core group is empty and comes first.
    pub(crate) groups: Vec<Group>,
    /// In the order of discovery.
    pub(crate) resources: Vec<Arc<Resource>>,
}

/// An API group and its versions, in the order of discovery.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
    pub(crate) preferred: String,
}

/// One resource in one version of its group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) storage_version_hash: String,
    pub(crate) subresources: Vec<Subresource>,
    /// Whether a definition made at run time serves it.
    pub(crate) custom: bool,
    /// The group that its objects are stored under: one object may be served in several groups.
    pub(crate) stored_in: String,
    /// How an object begins, up to its metadata.
    pub(crate) head: String,
}

/// `status`, `scale` and the like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) verbs: Vec<String>,
}

/// Where the objects of a resource are kept, whatever version they are asked for in.
pub(crate) type StorageName = (String, String);

/// What Kubernetes 1.36 answered to aggregated discovery.
const CORE_1_36: &str = include_str!("../documents/core-1.36.json");
const GROUPS_1_36: &str = include_str!("../documents/groups-1.36.json");
/// The same release's legacy documents, which alone tell the storage version hashes.
const LEGACY_1_36: [&str; 2] =
    [include_str!("../documents/core-legacy-1.36.json"), include_str!("../documents/apps-legacy-1.36.json")];
/// What Kubernetes 1.20 answered; the resources of its other groups are taken from 1.36.
const CORE_1_20: &str = include_str!("../documents/core-1.20.json");
const APPS_1_20: &str = include_str!("../documents/apps-1.20.json");
const GROUPS_1_20: &str = include_str!("../documents/groups-1.20.json");

impl Catalog {
    /// What a server of this release serves when no definition was made.
    pub(crate) fn built_in(release: Release) -> Self {
        let newest = Self::newest();
        match release {
            Release::V1_20 => Self::oldest(&newest),
            Release::V1_33 | Release::V1_36 => newest,
        }
    }

    /// The resource, if it is served.
    pub(crate) fn find(&self, group: &str, version: &str, name: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.group == group && resource.version == version && resource.name == name)
    }

    /// Any version of the resource that is stored under this name.
    pub(crate) fn stored_as(&self, storage: &StorageName) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.stored_in == storage.0 && resource.name == storage.1)
    }

    /// The resources of one version of a group.
    pub(crate) fn of<'a>(&'a self, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources.iter().filter(move |resource| resource.group == group && resource.version == version)
    }

    /// Whether the group serves this version.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        self.groups.iter().any(|known| known.name == group && known.versions.iter().any(|served| served == version))
    }

    /// Adds a resource, and its group and version if they are new.
    pub(crate) fn add(&mut self, resource: Resource) {
        match self.groups.iter_mut().find(|group| group.name == resource.group) {
            Some(group) if group.versions.contains(&resource.version) => {}
            Some(group) => group.versions.push(resource.version.clone()),
            None => self.groups.push(Group {
                name: resource.group.clone(),
                versions: vec![resource.version.clone()],
                preferred: resource.version.clone(),
            }),
        }
        self.resources.push(Arc::new(resource));
    }

    fn newest() -> Self {
        let hashes: Vec<Resource> = LEGACY_1_36.iter().flat_map(|text| legacy(&document(text))).collect();
        let mut catalog = Self::default();
        for text in [CORE_1_36, GROUPS_1_36] {
            for group in document(text).get("items").map(Json::items).unwrap_or_default() {
                for resource in aggregated(group) {
                    let hash = hashes.iter().find(|known| (&known.group, &known.name) == (&resource.group, &resource.name));
                    let storage_version_hash = hash.map(|known| known.storage_version_hash.clone()).unwrap_or_default();
                    catalog.add(Resource { storage_version_hash, ..resource });
                }
            }
        }
        catalog
    }

    fn oldest(newest: &Self) -> Self {
        let mut catalog = Self::default();
        legacy(&document(CORE_1_20)).into_iter().for_each(|resource| catalog.add(resource));
        for group in document(GROUPS_1_20).get("groups").map(Json::items).unwrap_or_default() {
            let name = group.text_at("name");
            let versions: Vec<String> = texts_of(group, "versions").iter().map(|it| it.text_at("version").to_owned()).collect();
            let preferred = group.text_at("preferredVersion.version").to_owned();
            catalog.groups.push(Group { name: name.to_owned(), versions: versions.clone(), preferred });
            for version in versions {
                let resources = if name == "apps" { legacy(&document(APPS_1_20)) } else { older(newest, name, &version) };
                resources.into_iter().for_each(|resource| catalog.add(resource));
            }
        }
        catalog
    }
}

impl Resource {
    pub(crate) fn storage(&self) -> StorageName {
        (self.stored_in.clone(), self.name.clone())
    }

    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `deployments.apps`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.name.clone() } else { format!("{}.{}", self.name, self.group) }
    }

    pub(crate) fn has_status(&self) -> bool {
        self.subresources.iter().any(|subresource| subresource.name == "status")
    }

    /// Whether `generation` counts the changes of its objects: custom resources, and the built-in types with a controller.
    pub(crate) fn counts_generations(&self) -> bool {
        self.custom
            || matches!(self.group.as_str(), "apps" | "batch" | "networking.k8s.io" | "policy" | "apiextensions.k8s.io")
                && self.name != "controllerrevisions"
    }

    /// What field selectors may name besides name and namespace (the `ConvertFieldLabel` functions of `k8s.io/kubernetes`).
    pub(crate) fn selectable_fields(&self) -> &'static [&'static str] {
        match (self.stored_in.as_str(), self.name.as_str()) {
            ("", "pods") => &POD_FIELDS,
            ("", "events") => &EVENT_FIELDS,
            ("", "nodes") => &["spec.unschedulable"],
            ("", "namespaces") => &["status.phase"],
            ("", "secrets") => &["type"],
            ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
            ("batch", "jobs") => &["status.successful"],
            ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
            _ => &[],
        }
    }

    /// Fills in what follows from the names.
    pub(crate) fn complete(mut self) -> Self {
        let stored_in = match (self.group.as_str(), self.name.as_str()) {
            ("events.k8s.io", "events") => "",
            ("extensions", "ingresses") => "networking.k8s.io",
            (group, _) => group,
        };
        self.stored_in = stored_in.to_owned();
        if self.list_kind.is_empty() {
            self.list_kind = format!("{}List", self.kind);
        }
        let (kind, version) = (&self.kind, self.api_version());
        self.head = if self.custom {
            format!(r#"{{"apiVersion":"{version}","kind":"{kind}","#)
        } else {
            format!(r#"{{"kind":"{kind}","apiVersion":"{version}","#)
        };
        self
    }
}

const POD_FIELDS: [&str; 8] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];
const EVENT_FIELDS: [&str; 11] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

fn document(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("recorded documents are JSON")
}

/// The resources of one group of an aggregated document.
fn aggregated(group: &Json) -> Vec<Resource> {
    let mut resources = Vec::new();
    for version in texts_of(group, "versions") {
        for resource in texts_of(version, "resources") {
            let subresources = texts_of(resource, "subresources").iter().map(|subresource| Subresource {
                name: subresource.text_at("subresource").to_owned(),
                group: subresource.text_at("responseKind.group").to_owned(),
                version: subresource.text_at("responseKind.version").to_owned(),
                kind: subresource.text_at("responseKind.kind").to_owned(),
                verbs: strings(subresource, "verbs"),
            });
            let found = Resource {
                group: group.text_at("metadata.name").to_owned(),
                version: version.text_at("version").to_owned(),
                name: resource.text_at("resource").to_owned(),
                singular: resource.text_at("singularResource").to_owned(),
                kind: resource.text_at("responseKind.kind").to_owned(),
                namespaced: resource.text_at("scope") == "Namespaced",
                verbs: strings(resource, "verbs"),
                short_names: strings(resource, "shortNames"),
                categories: strings(resource, "categories"),
                subresources: subresources.collect(),
                ..Resource::default()
            };
            resources.push(found.complete());
        }
    }
    resources
}

/// The resources of a legacy document.
fn legacy(document: &Json) -> Vec<Resource> {
    let (group, version) = document.text_at("groupVersion").split_once('/').unwrap_or(("", document.text_at("groupVersion")));
    let mut resources: Vec<Resource> = Vec::new();
    for entry in texts_of(document, "resources") {
        let kind = entry.text_at("kind").to_owned();
        if let Some((parent, name)) = entry.text_at("name").split_once('/') {
            let parent = resources.iter_mut().find(|resource| resource.name == parent);
            let (group, version) = (entry.text_at("group").to_owned(), entry.text_at("version").to_owned());
            let subresource = Subresource { name: name.to_owned(), group, version, kind, verbs: strings(entry, "verbs") };
            parent.expect("a resource comes before its subresources").subresources.push(subresource);
            continue;
        }
        let found = Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            name: entry.text_at("name").to_owned(),
            singular: entry.text_at("singularName").to_owned(),
            kind,
            namespaced: entry.get("namespaced") == Some(&Json::Bool(true)),
            verbs: strings(entry, "verbs"),
            short_names: strings(entry, "shortNames"),
            categories: strings(entry, "categories"),
            storage_version_hash: entry.text_at("storageVersionHash").to_owned(),
            ..Resource::default()
        };
        resources.push(found.complete());
    }
    resources
}

/// What 1.20 serves in a version of a group, as far as 1.36 has the group too.
fn older(newest: &Catalog, group: &str, version: &str) -> Vec<Resource> {
    let source = if group == "extensions" { "networking.k8s.io" } else { group };
    let known = newest.groups.iter().find(|known| known.name == source);
    let Some(source_version) = known.and_then(|known| known.versions.iter().find(|v| *v == version).or(known.versions.first()))
    else {
        return Vec::new();
    };
    let served = newest.of(source, source_version).filter(|resource| match (group, version) {
        ("extensions", _) => resource.name == "ingresses",
        // Cron jobs became `v1` in 1.21.
        ("batch", "v1") => resource.name != "cronjobs",
        ("batch", _) => resource.name == "cronjobs",
        _ => true,
    });
    let renamed = served.map(|resource| Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        singular: String::new(),
        ..Resource::clone(resource)
    });
    renamed.map(Resource::complete).collect()
}

fn texts_of<'a>(json: &'a Json, key: &str) -> &'a [Json] {
    json.get(key).map(Json::items).unwrap_or_default()
}

/// An array of texts.
pub(crate) fn strings(json: &Json, key: &str) -> Vec<String> {
    texts_of(json, key).iter().filter_map(Json::as_text).map(str::to_owned).collect()
}
