//! Reads every discovery document of a server.
//!
//! Takes a transport; gives a [`Discovery`]. Asks for aggregated documents and takes legacy ones where the server
//! answers with those. Promises that one version that fails hides no other.

use super::document::{Resources, Root};
use super::{Discovery, Version};
use crate::client::Error;
use crate::client::address::group_version_path;
use crate::client::http::{ACCEPT_JSON, Http, document, undecodable};

/// Everything that the server behind `http` serves.
pub(super) fn discover(http: &dyn Http) -> Result<Discovery, Error> {
    let mut discovery = Discovery::default();
    let mut failures = 0;
    for path in ["/api", "/apis"] {
        match root(http, path)? {
            Root::Aggregated(versions) => {
                for (group, version, state) in versions {
                    discovery.put(&group, &version, state);
                }
            }
            Root::Names(names) => {
                for (group, version) in names {
                    let state = legacy_version(http, &group, &version, &mut failures)?;
                    discovery.put(&group, &version, state);
                }
            }
        }
    }
    Ok(discovery)
}

fn root(http: &dyn Http, path: &str) -> Result<Root, Error> {
    let request = format!("discover {path}");
    let body = document(http, &request, path, ACCEPT_AGGREGATED)?;
    Root::parse(&body).map_err(|error| undecodable(&request, &error))
}

/// What one version holds. Counts broken connections in `failures`: one may be that version's, many are the server's.
fn legacy_version(http: &dyn Http, group: &str, version: &str, failures: &mut u32) -> Result<Version, Error> {
    let path = group_version_path(group, version);
    let request = format!("discover {path}");
    let parsed = document(http, &request, &path, ACCEPT_JSON)
        .and_then(|body| Resources::parse(group, version, &body).map_err(|error| undecodable(&request, &error)));
    match parsed {
        Ok(resources) => Ok(Version::Served(resources)),
        Err(error @ (Error::Status { .. } | Error::Page { .. } | Error::Undecodable { .. } | Error::TooLong { .. })) => {
            Ok(Version::Unavailable(error.to_string()))
        }
        Err(Error::Connection { request, server, source }) if *failures < CONNECTION_FAILURES_MAX => {
            *failures += 1;
            Ok(Version::Unavailable(format!("{request}: no answer from {server}: {source}")))
        }
        Err(error) => Err(error),
    }
}

/// As client-go asks; 1.26 answers v2beta1, 1.30 v2, older ones plain JSON.
pub(in crate::client) const ACCEPT_AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// So many versions may fail for want of an answer before the server itself counts as unreachable.
const CONNECTION_FAILURES_MAX: u32 = 2;
