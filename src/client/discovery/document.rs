//! Discovery documents as servers write them, aggregated and legacy.
//!
//! Takes the bytes of one document; gives its groups, versions and resources. Every field may be absent or null, as Go
//! writes empty lists. Subresources are left out.

use super::{ApiResource, Version};
use crate::api::{GroupVersionResource, Scope};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// The answer to `/api` or `/apis`.
pub(in crate::client) enum Root {
    /// Everything at once: group, version, and what is in it.
    Aggregated(Vec<(String, String, Version)>),
    /// The names only: group and version.
    Names(Vec<(String, String)>),
}

impl Root {
    /// Reads either kind; which it is, the document says itself.
    pub(in crate::client) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let kind: Kind = serde_json::from_slice(body)?;
        let list: GroupList = match kind.kind.as_ref() {
            "APIGroupDiscoveryList" => {
                let list: AggregatedList = serde_json::from_slice(body)?;
                return Ok(Self::Aggregated(list.items.into_iter().flat_map(AggregatedGroup::versions).collect()));
            }
            "APIVersions" | "APIGroupList" => serde_json::from_slice(body)?,
            other => return Err(serde_json::Error::custom(format!("expected a discovery document, found kind {other:?}"))),
        };
        let core = list.versions.into_iter().map(|version| (String::new(), version.into_owned()));
        let named = list.groups.into_iter().flat_map(|group| {
            let name = group.name;
            group.versions.into_iter().map(move |version| (name.to_string(), version.version.into_owned()))
        });
        Ok(Self::Names(core.chain(named).collect()))
    }

    /// The versions of `group`, each with what is in it where the document says so.
    pub(in crate::client) fn into_versions_of(self, group: &str) -> Vec<(String, Option<Version>)> {
        match self {
            Self::Aggregated(versions) => {
                let of_group = versions.into_iter().filter(|(name, _, _)| name == group);
                of_group.map(|(_, version, state)| (version, Some(state))).collect()
            }
            Self::Names(names) => {
                names.into_iter().filter(|(name, _)| name == group).map(|(_, version)| (version, None)).collect()
            }
        }
    }

    /// Whether it lists any version of `group`.
    pub(in crate::client) fn has_group(&self, group: &str) -> bool {
        match self {
            Self::Aggregated(versions) => versions.iter().any(|(name, _, _)| name == group),
            Self::Names(names) => names.iter().any(|(name, _)| name == group),
        }
    }
}

/// The answer to `/api` or `/apis/GROUP`: the versions of one group.
pub(in crate::client) struct GroupVersions;

impl GroupVersions {
    /// The names of the versions.
    pub(in crate::client) fn parse(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
        let group: GroupDocument = serde_json::from_slice(body)?;
        let name = |version| match version {
            VersionName::Core(name) => name,
            VersionName::Named(version) => version.version.into_owned(),
        };
        Ok(group.versions.into_iter().map(name).collect())
    }
}

/// The answer to `/api/VERSION` or `/apis/GROUP/VERSION`: what one version holds.
pub(in crate::client) struct Resources;

impl Resources {
    /// The resources, without subresources.
    pub(in crate::client) fn parse(group: &str, version: &str, body: &[u8]) -> Result<Vec<ApiResource>, serde_json::Error> {
        let list: ResourceList = serde_json::from_slice(body)?;
        Ok(list.resources.into_iter().filter_map(|resource| resource.named(group, version)).collect())
    }
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct AggregatedList<'a> {
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    items: Vec<AggregatedGroup<'a>>,
}

#[derive(Deserialize)]
struct AggregatedGroup<'a> {
    #[serde(borrow, default)]
    metadata: Name<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    versions: Vec<AggregatedVersion<'a>>,
}

/// Empty for the core group.
#[derive(Default, Deserialize)]
struct Name<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct AggregatedVersion<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    resources: Vec<AggregatedResource<'a>>,
    #[serde(borrow, default)]
    freshness: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource<'a> {
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow, default)]
    response_kind: Option<Kind<'a>>,
    #[serde(borrow, default)]
    scope: Cow<'a, str>,
    #[serde(borrow, default)]
    singular_resource: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_as_empty")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    short_names: Vec<String>,
}

#[derive(Deserialize)]
struct GroupList<'a> {
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    versions: Vec<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    groups: Vec<Group<'a>>,
}

#[derive(Deserialize)]
struct Group<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    versions: Vec<GroupVersion<'a>>,
}

#[derive(Deserialize)]
struct GroupVersion<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
}

#[derive(Deserialize)]
struct GroupDocument<'a> {
    #[serde(borrow, deserialize_with = "null_as_empty")]
    versions: Vec<VersionName<'a>>,
}

/// `APIVersions` writes plain names, `APIGroup` objects.
#[derive(Deserialize)]
#[serde(untagged)]
enum VersionName<'a> {
    Core(String),
    Named(#[serde(borrow)] GroupVersion<'a>),
}

#[derive(Deserialize)]
struct ResourceList<'a> {
    #[serde(borrow, deserialize_with = "null_as_empty")]
    resources: Vec<Resource<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    namespaced: bool,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    singular_name: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_as_empty")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    short_names: Vec<String>,
}

impl AggregatedGroup<'_> {
    fn versions(self) -> impl Iterator<Item = (String, String, Version)> {
        let group = self.metadata.name.into_owned();
        self.versions.into_iter().map(move |version| {
            let name = version.version.into_owned();
            let state = if version.freshness == "Stale" {
                Version::Unavailable(STALE.to_owned())
            } else {
                Version::Served(version.resources.into_iter().filter_map(|resource| resource.named(&group, &name)).collect())
            };
            (group.clone(), name, state)
        })
    }
}

/// The aggregator could not refresh what it knows of that version, mostly because its API server is down.
const STALE: &str = "the server marks it as stale: the API server behind it does not answer";

impl AggregatedResource<'_> {
    fn named(self, group: &str, version: &str) -> Option<ApiResource> {
        Some(ApiResource {
            gvr: named(group, version, &self.resource)?,
            kind: self.response_kind.map(|kind| kind.kind.into_owned()).unwrap_or_default(),
            scope: if self.scope == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
            verbs: self.verbs,
            singular: self.singular_resource.into_owned(),
            short_names: self.short_names,
        })
    }
}

impl Resource<'_> {
    fn named(self, group: &str, version: &str) -> Option<ApiResource> {
        Some(ApiResource {
            gvr: named(group, version, &self.name)?,
            kind: self.kind.into_owned(),
            scope: if self.namespaced { Scope::Namespaced } else { Scope::Cluster },
            verbs: self.verbs,
            singular: self.singular_name.into_owned(),
            short_names: self.short_names,
        })
    }
}

/// `None` for subresources, whose names have a slash, and for names that no configuration could spell.
fn named(group: &str, version: &str, resource: &str) -> Option<GroupVersionResource> {
    if resource.contains('/') {
        return None;
    }
    GroupVersionResource::new(group, version, resource).ok()
}

fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
