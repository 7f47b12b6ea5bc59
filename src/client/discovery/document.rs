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
                let mut versions = Vec::new();
                list.items.into_iter().for_each(|group| group.add_versions(&mut versions));
                return Ok(Self::Aggregated(versions));
            }
            "APIVersions" | "APIGroupList" => serde_json::from_slice(body)?,
            other => return Err(serde_json::Error::custom(format!("expected a discovery document, found kind {other:?}"))),
        };
        let mut names = Vec::new();
        for version in list.versions {
            names.push((String::new(), version.into_owned()));
        }
        for group in list.groups {
            for version in group.versions {
                names.push((group.name.to_string(), version.version.into_owned()));
            }
        }
        Ok(Self::Names(names))
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
        let kind: Kind = serde_json::from_slice(body)?;
        let mut names = Vec::new();
        match kind.kind.as_ref() {
            "APIVersions" => {
                let core: GroupList = serde_json::from_slice(body)?;
                core.versions.into_iter().for_each(|version| names.push(version.into_owned()));
            }
            "APIGroup" => {
                let group: Group = serde_json::from_slice(body)?;
                group.versions.into_iter().for_each(|version| names.push(version.version.into_owned()));
            }
            other => return Err(serde_json::Error::custom(format!("expected the versions of a group, found kind {other:?}"))),
        }
        if names.is_empty() {
            return Err(serde_json::Error::custom("the group names no version"));
        }
        Ok(names)
    }
}

/// The answer to `/api/VERSION` or `/apis/GROUP/VERSION`: what one version holds.
pub(in crate::client) struct Resources;

impl Resources {
    /// The resources, without subresources.
    pub(in crate::client) fn parse(group: &str, version: &str, body: &[u8]) -> Result<Vec<ApiResource>, serde_json::Error> {
        let list: ResourceList = serde_json::from_slice(body)?;
        if list.resources.iter().any(|resource| resource.namespaced.is_none()) {
            return Err(serde_json::Error::custom("a resource says not whether it is `namespaced`"));
        }
        Ok(named(list.resources, group, version))
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
    resources: Vec<Resource<'a>>,
    #[serde(borrow, default)]
    freshness: Cow<'a, str>,
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
struct ResourceList<'a> {
    #[serde(borrow, deserialize_with = "null_as_empty")]
    resources: Vec<Resource<'a>>,
}

/// As both forms write it: each has names of its own for some of the fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    #[serde(borrow, alias = "resource")]
    name: Cow<'a, str>,
    /// Of the legacy form.
    namespaced: Option<bool>,
    /// Of the aggregated form.
    #[serde(borrow, default)]
    scope: Cow<'a, str>,
    /// Of the legacy form.
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    /// Of the aggregated form.
    #[serde(borrow, default)]
    response_kind: Option<Kind<'a>>,
    #[serde(borrow, default, alias = "singularResource")]
    singular_name: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_as_empty")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    short_names: Vec<String>,
}

impl AggregatedGroup<'_> {
    fn add_versions(self, versions: &mut Vec<(String, String, Version)>) {
        let group = self.metadata.name.into_owned();
        for version in self.versions {
            let name = version.version.into_owned();
            let state = if version.freshness == "Stale" {
                Version::Unavailable(STALE.to_owned())
            } else {
                Version::Served(named(version.resources, &group, &name))
            };
            versions.push((group.clone(), name, state));
        }
    }
}

/// The aggregator could not refresh what it knows of that version, mostly because its API server is down.
const STALE: &str = "the server marks it as stale: the API server behind it does not answer";

/// Without subresources, whose names have a slash, and names that no configuration could spell.
fn named(resources: Vec<Resource<'_>>, group: &str, version: &str) -> Vec<ApiResource> {
    let mut named = Vec::new();
    for resource in resources {
        if resource.name.contains('/') {
            continue;
        }
        let Ok(gvr) = GroupVersionResource::new(group, version, &resource.name) else { continue };
        let is_namespaced = resource.namespaced.unwrap_or(resource.scope != "Cluster");
        named.push(ApiResource {
            gvr,
            kind: resource.response_kind.map_or(resource.kind, |kind| kind.kind).into_owned(),
            scope: if is_namespaced { Scope::Namespaced } else { Scope::Cluster },
            verbs: resource.verbs,
            singular: resource.singular_name.into_owned(),
            short_names: resource.short_names,
        });
    }
    named
}

fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
