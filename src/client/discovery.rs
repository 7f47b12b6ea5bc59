//! What one server serves: which resources, in which versions, with which scope.
//!
//! Takes the documents that [`fetch`] reads; gives an answer for each [`GroupVersionResource`]. Promises that a group
//! that does not answer is known as such and hides no other, and that "absent" is said only when it is certain.

mod document;
mod fetch;
mod near;

pub(super) use document::{GroupVersions, Resources, Root};
pub(super) use fetch::ACCEPT_AGGREGATED;

use super::{Client, Error, Transport};
use crate::api::{GroupVersionResource, Scope};
use std::collections::BTreeMap;

/// All that a server serves, at one time.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    groups: BTreeMap<String, BTreeMap<String, Version>>,
}

/// One version of a group.
#[derive(Clone, Debug)]
pub(super) enum Version {
    /// These resources are served.
    Served(Vec<ApiResource>),
    /// The server lists the version but cannot say what is in it now: why.
    Unavailable(String),
}

/// A resource that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResource {
    /// Its name.
    pub gvr: GroupVersionResource,
    /// What its objects are called, as in `Pod`.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// What can be done with it: `list`, `watch`, and others.
    pub verbs: Vec<String>,
    /// `pod`; empty where the server does not say.
    singular: String,
    /// `po`.
    short_names: Vec<String>,
}

/// What discovery says about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It is served.
    Served(&'a ApiResource),
    /// It is not, but these other versions of it are.
    OtherVersions(Vec<&'a ApiResource>),
    /// No version of it is served.
    Absent,
    /// Its group, or a version of it that counts, does not answer or is stale; nothing can be concluded. Says why.
    Unknown(&'a str),
}

impl Client {
    /// Asks the server for everything that it serves: two requests where it knows aggregated discovery (1.26 and
    /// newer), else one for each version of each group.
    ///
    /// # Errors
    ///
    /// When the server does not answer or refuses; a single group that fails is recorded as unavailable instead.
    ///
    /// # Blocking
    ///
    /// Until every document is there; each has limits of its own.
    pub fn discover(&self) -> Result<Discovery, Error> {
        self.transport().discover()
    }
}

impl Transport {
    /// As [`Client::discover`], and can be interrupted.
    ///
    /// # Errors
    ///
    /// As for [`Client::discover`]; [`Error::Stopped`] once interrupted.
    pub fn discover(&self) -> Result<Discovery, Error> {
        fetch::discover(self)
    }
}

impl Discovery {
    /// What is known about `gvr`.
    pub fn find(&self, gvr: &GroupVersionResource) -> Lookup<'_> {
        let Some(versions) = self.groups.get(gvr.group()) else { return Lookup::Absent };
        match versions.get(gvr.version()) {
            Some(Version::Unavailable(reason)) => return Lookup::Unknown(reason),
            Some(Version::Served(resources)) => {
                if let Some(resource) = resources.iter().find(|resource| resource.gvr == *gvr) {
                    return Lookup::Served(resource);
                }
            }
            None => {}
        }
        let mut others = Vec::new();
        let mut unavailable = None;
        for version in versions.values() {
            match version {
                Version::Served(resources) => {
                    others.extend(resources.iter().find(|resource| resource.gvr.resource() == gvr.resource()));
                }
                Version::Unavailable(reason) => unavailable = Some(reason.as_str()),
            }
        }
        match unavailable {
            _ if !others.is_empty() => Lookup::OtherVersions(others),
            Some(reason) => Lookup::Unknown(reason),
            None => Lookup::Absent,
        }
    }

    /// What might have been meant by a `gvr` that is not served: at most 3, the best first, each as `apps/v1/deployments`.
    pub fn near_matches(&self, gvr: &GroupVersionResource) -> Vec<String> {
        near::matches(gvr, self.resources())
    }

    /// Every resource that is served, by group and version.
    pub fn resources(&self) -> impl Iterator<Item = &ApiResource> {
        self.groups.values().flat_map(BTreeMap::values).flat_map(|version| match version {
            Version::Served(resources) => resources.as_slice(),
            Version::Unavailable(_) => &[],
        })
    }

    /// The versions that do not answer or are stale, each as `metrics.k8s.io/v1beta1`, and why.
    pub fn unavailable(&self) -> impl Iterator<Item = (String, &str)> {
        self.groups.iter().flat_map(|(group, versions)| {
            versions.iter().filter_map(move |(version, state)| match state {
                Version::Served(_) => None,
                Version::Unavailable(reason) if group.is_empty() => Some((version.clone(), reason.as_str())),
                Version::Unavailable(reason) => Some((format!("{group}/{version}"), reason.as_str())),
            })
        })
    }

    fn put(&mut self, group: &str, version: &str, state: Version) {
        self.groups.entry(group.to_owned()).or_default().insert(version.to_owned(), state);
    }
}

impl ApiResource {
    /// Whether it can be listed and watched, without which there is nothing to capture.
    pub fn is_watchable(&self) -> bool {
        ["list", "watch"].iter().all(|verb| self.verbs.iter().any(|known| known == verb))
    }
}

#[cfg(test)]
mod tests;
