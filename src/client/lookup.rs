//! Fresh discovery of one resource: is it served, is it gone, or can nobody say just now?
//!
//! Takes a transport and a name; gives [`Served`] and, where it is served, the scope. Promises that "absent" is an answer
//! of a living API server: any proxy can say 404, so a [`Proof`] asks for every document that could say otherwise, and one
//! that fails, is stale or disagrees leaves the question open. Groups that are compiled into API servers are never absent.

use super::address::{group_path, group_version_path};
use super::discovery::{ACCEPT_AGGREGATED, ApiResource, GroupVersions, Resources, Root, Version};
use super::http::{ACCEPT_JSON, ACCEPT_METADATA_LIST, Http, document, undecodable};
use super::server::is_cluster;
use super::version::git_version;
use super::{Error, Served};
use crate::api::{Fault, GroupVersionResource, Scope};
use std::collections::BTreeSet;

/// What a server must show before a 404 of it is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof<'a> {
    /// The uid of `kube-system` by which the cluster is known, where it could be read.
    pub(super) cluster_uid: Option<&'a str>,
    /// Path and query that were not found; they are asked for again.
    pub(super) path_and_query: &'a str,
}

/// Why nothing can be concluded.
enum Doubt {
    /// The server answers, but not so that it can be believed: why.
    Unknown(String),
    /// The server does not answer.
    Failed(Error),
}

type Certain<T> = Result<T, Doubt>;

/// Asks for the version first, which settles most cases; then for the group, and for its other versions. Without a
/// `proof` that is all: enough where nothing depends on the answer.
pub(super) fn lookup(
    http: &dyn Http,
    gvr: &GroupVersionResource,
    proof: Option<Proof<'_>>,
) -> Result<(Served, Option<Scope>), Error> {
    match look(http, gvr, proof) {
        Ok(found) => Ok(found),
        Err(Doubt::Unknown(reason)) => Ok((Served::Unknown(reason), None)),
        Err(Doubt::Failed(error)) => Err(error),
    }
}

fn look(http: &dyn Http, gvr: &GroupVersionResource, proof: Option<Proof<'_>>) -> Certain<(Served, Option<Scope>)> {
    let mut documents = Documents::default();
    if let Some(resource) = documents.find(http, gvr, gvr.version())? {
        return Ok((Served::Yes, Some(resource.scope)));
    }
    let others = documents.other_versions(http, gvr)?;
    if let Some(proof) = proof {
        let listed = living_server(http, gvr, &proof)?;
        if let Some(scope) = documents.scope_in(&listed, gvr)? {
            return Ok((Served::Yes, Some(scope)));
        }
        if is_found_again(http, &proof)? {
            return Ok((Served::Yes, None));
        }
    }
    match others {
        others if !others.is_empty() => Ok((Served::OtherVersions(others), None)),
        _ if gvr.is_built_in_group() => Err(Doubt::Unknown(BUILT_IN.to_owned())),
        _ => Ok((Served::Absent, None)),
    }
}

/// The documents of one group that were read.
#[derive(Default)]
struct Documents {
    /// The versions whose documents the server gave.
    versions: BTreeSet<String>,
}

impl Documents {
    /// The resource in this version; `None` when the version is not served, or does not hold it.
    fn find(&mut self, http: &dyn Http, gvr: &GroupVersionResource, version: &str) -> Certain<Option<ApiResource>> {
        let path = group_version_path(gvr.group(), version);
        let request = format!("discover {path}");
        let parsed = document(http, &request, &path, ACCEPT_JSON)
            .and_then(|body| Resources::parse(gvr.group(), version, &body).map_err(|error| undecodable(&request, &error)));
        let Some(resources) = unless_not_found(parsed)? else { return Ok(None) };
        self.versions.insert(version.to_owned());
        Ok(resources.into_iter().find(|resource| resource.gvr.resource() == gvr.resource()))
    }

    /// The other versions that hold the resource. One that cannot be read hides no other.
    fn other_versions(&mut self, http: &dyn Http, gvr: &GroupVersionResource) -> Certain<Vec<String>> {
        let path = group_path(gvr.group());
        let request = format!("discover {path}");
        let parsed = document(http, &request, &path, ACCEPT_JSON)
            .and_then(|body| GroupVersions::parse(&body).map_err(|error| undecodable(&request, &error)));
        let versions = unless_not_found(parsed)?.unwrap_or_default();
        let (mut others, mut unknown) = (Vec::new(), None);
        for version in versions.into_iter().filter(|version| version != gvr.version()) {
            match self.find(http, gvr, &version) {
                Ok(Some(_)) => others.push(version),
                Ok(None) => {}
                Err(Doubt::Unknown(reason)) => unknown = Some(reason),
                Err(failed @ Doubt::Failed(_)) => return Err(failed),
            }
        }
        match unknown {
            Some(reason) if others.is_empty() => Err(Doubt::Unknown(reason)),
            Some(_) | None => Ok(others),
        }
    }

    /// The scope of the resource where the list of all groups holds it after all. That list must agree with the documents.
    fn scope_in(&self, listed: &[Listed], gvr: &GroupVersionResource) -> Certain<Option<Scope>> {
        for Listed { version, state } in listed {
            if let Some(Version::Unavailable(reason)) = state {
                return Err(Doubt::Unknown(reason.clone()));
            }
            let Some(Version::Served(resources)) = state else { continue };
            if version == gvr.version()
                && let Some(resource) = resources.iter().find(|resource| resource.gvr == *gvr)
            {
                return Ok(Some(resource.scope));
            }
        }
        match listed.iter().find(|listed| !self.versions.contains(&listed.version)) {
            Some(Listed { version, .. }) => {
                let path = group_version_path(gvr.group(), version);
                Err(Doubt::Unknown(format!("the server lists {path}, and does not find it")))
            }
            None => Ok(None),
        }
    }
}

/// A version of the group in the list of all groups.
struct Listed {
    version: String,
    /// What is in it; `None` where the list holds names only.
    state: Option<Version>,
}

/// The versions of the group in the list of all groups of a server that shows itself to be one, and the one that is meant.
fn living_server(http: &dyn Http, gvr: &GroupVersionResource, proof: &Proof<'_>) -> Certain<Vec<Listed>> {
    if git_version(http).map_err(doubt)?.is_empty() {
        return Err(Doubt::Unknown("what answers gives no version, as an API server does".to_owned()));
    }
    let core = root(http, "/api")?;
    if !core.has_group("") {
        return Err(Doubt::Unknown("what answers has no core API, as an API server has".to_owned()));
    }
    let groups = root(http, "/apis")?;
    if let Some(uid) = proof.cluster_uid
        && !is_cluster(http, uid).map_err(doubt)?
    {
        return Err(Doubt::Unknown("what answers is not known to be the same cluster".to_owned()));
    }
    let listing = if gvr.group().is_empty() { core } else { groups };
    let versions = listing.into_versions_of(gvr.group()).into_iter();
    Ok(versions.map(|(version, state)| Listed { version, state }).collect())
}

/// Whether what was not found answers now. Rights are checked before paths, so a refusal says nothing.
fn is_found_again(http: &dyn Http, proof: &Proof<'_>) -> Certain<bool> {
    match document(http, "ask again for what was not found", proof.path_and_query, ACCEPT_METADATA_LIST) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.fault(), Fault::NotFound | Fault::Forbidden) => Ok(false),
        Err(error) => Err(doubt(error)),
    }
}

fn root(http: &dyn Http, path: &str) -> Certain<Root> {
    let request = format!("discover {path}");
    document(http, &request, path, ACCEPT_AGGREGATED)
        .and_then(|body| Root::parse(&body).map_err(|error| undecodable(&request, &error)))
        .map_err(doubt)
}

/// `None` when the server does not find the document.
fn unless_not_found<T>(read: Result<T, Error>) -> Certain<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.fault() == Fault::NotFound => Ok(None),
        Err(error) => Err(doubt(error)),
    }
}

/// An answer that cannot be used leaves the question open; a server that gave no answer at all is the caller's error.
fn doubt(error: Error) -> Doubt {
    if !matches!(error, Error::Status { .. } | Error::Page { .. } | Error::Undecodable { .. } | Error::TooLong { .. }) {
        return Doubt::Failed(error);
    }
    let mut reason = error.to_string();
    if error.fault() == Fault::Forbidden && !reason.contains(DISCOVERY_ROLE) {
        reason.push_str("; bind the ClusterRole ");
        reason.push_str(DISCOVERY_ROLE);
        reason.push_str(", by which clients learn what is served");
    }
    Doubt::Unknown(reason)
}

/// The role that every API server binds to authenticated users, unless someone took it away (`bootstrappolicy` of
/// kube-apiserver): it allows `/version`, `/api` and `/apis`.
const DISCOVERY_ROLE: &str = "system:discovery";

const BUILT_IN: &str = "its group is compiled into API servers, so it is not believed to be gone";

#[cfg(test)]
mod tests;
