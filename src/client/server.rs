//! Which server, and which cluster, this is.

use super::http::{ACCEPT_METADATA, Http, document, undecodable};
use super::version::git_version;
use super::{Client, Error, Transport};
use crate::api::Fault;
use serde::Deserialize;

impl Client {
    /// The uid of the namespace `kube-system`, by which a cluster is known whatever its URL; `None` where that may not
    /// be read or is not there.
    ///
    /// # Errors
    ///
    /// When the server does not answer, or refuses for another reason.
    pub fn cluster_uid(&self) -> Result<Option<String>, Error> {
        self.transport().cluster_uid()
    }

    /// The server's version for people, as in `v1.36.0`; `None` where it may not be read.
    ///
    /// # Errors
    ///
    /// When the server does not answer, or refuses for another reason than a lack of rights.
    pub fn version(&self) -> Result<Option<String>, Error> {
        self.transport().version()
    }
}

impl Transport {
    /// As [`Client::cluster_uid`], and can be interrupted.
    ///
    /// # Errors
    ///
    /// As for [`Client::cluster_uid`]; [`Error::Stopped`] once interrupted.
    pub fn cluster_uid(&self) -> Result<Option<String>, Error> {
        cluster_uid(self)
    }

    /// As [`cluster_uid`](Self::cluster_uid), of a cluster that had a uid when it was asked before: `None` only where it may not be
    /// read any more.
    ///
    /// # Errors
    ///
    /// As there, and where the namespace is not found: any proxy can say that, and so may another cluster's.
    pub fn cluster_uid_again(&self) -> Result<Option<String>, Error> {
        cluster_uid_again(self)
    }

    /// As [`Client::version`], and can be interrupted.
    ///
    /// # Errors
    ///
    /// As for [`Client::version`]; [`Error::Stopped`] once interrupted.
    pub fn version(&self) -> Result<Option<String>, Error> {
        version(self)
    }

    /// Whether the namespace is there; `None` where that may not be read.
    ///
    /// # Errors
    ///
    /// When the server does not answer, or refuses for another reason than a lack of rights.
    pub fn has_namespace(&self, name: &str) -> Result<Option<bool>, Error> {
        has_namespace(self, name)
    }
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

fn cluster_uid(http: &dyn Http) -> Result<Option<String>, Error> {
    match cluster_uid_again(http) {
        Err(error) if error.fault() == Fault::NotFound => Ok(None),
        answer => answer,
    }
}

fn cluster_uid_again(http: &dyn Http) -> Result<Option<String>, Error> {
    match kube_system_uid(http) {
        Ok(uid) => Ok(Some(uid).filter(|uid| !uid.is_empty())),
        Err(error) if error.fault() == Fault::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this is the cluster whose `kube-system` has this uid. Where that may not be read, nothing speaks against it.
pub(super) fn is_cluster(http: &dyn Http, uid: &str) -> Result<bool, Error> {
    match kube_system_uid(http) {
        Ok(found) => Ok(found == uid),
        Err(error) if error.fault() == Fault::Forbidden => Ok(true),
        Err(error) if error.fault() == Fault::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn kube_system_uid(http: &dyn Http) -> Result<String, Error> {
    let request = "read the uid of namespace kube-system";
    let body = document(http, request, "/api/v1/namespaces/kube-system", ACCEPT_METADATA)?;
    let namespace: Namespace = serde_json::from_slice(&body).map_err(|error| undecodable(request, &error))?;
    Ok(namespace.metadata.uid)
}

fn has_namespace(http: &dyn Http, name: &str) -> Result<Option<bool>, Error> {
    match document(http, &format!("read namespace {name}"), &format!("/api/v1/namespaces/{name}"), ACCEPT_METADATA) {
        Ok(_) => Ok(Some(true)),
        Err(error) if error.fault() == Fault::NotFound => Ok(Some(false)),
        Err(error) if error.fault() == Fault::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

fn version(http: &dyn Http) -> Result<Option<String>, Error> {
    match git_version(http) {
        Ok(version) => Ok(Some(version)),
        Err(error) if matches!(error.fault(), Fault::Forbidden | Fault::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::transcript::{Script, Transcript};

    fn uid(code: u16, body: &str) -> Result<Option<String>, Fault> {
        let script = Script::new([Transcript::made("/api/v1/namespaces/kube-system", code, body)]);
        cluster_uid(&script).map_err(|error| error.fault())
    }

    #[test]
    fn a_cluster_is_known_by_the_uid_of_kube_system_where_that_is_readable() {
        let namespace = r#"{"kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":"3a57d2a5"}}"#;
        assert_eq!(uid(200, namespace), Ok(Some("3a57d2a5".to_owned())));
        assert_eq!(uid(403, "{}"), Ok(None));
        assert_eq!(uid(404, "{}"), Ok(None));
        assert_eq!(uid(401, "{}"), Err(Fault::Unauthorized));
        assert_eq!(uid(500, "{}"), Err(Fault::Server));
        assert_eq!(uid(200, "<html>"), Err(Fault::Undecodable));
    }

    #[test]
    fn a_cluster_that_had_a_uid_is_not_known_again_by_a_404() {
        for (code, expected) in [(403, Ok(None)), (404, Err(Fault::NotFound)), (503, Err(Fault::Busy { retry_after: None }))] {
            let script = Script::new([Transcript::made("/api/v1/namespaces/kube-system", code, "{}")]);
            assert_eq!(cluster_uid_again(&script).map_err(|error| error.fault()), expected, "{code}");
        }
    }

    #[test]
    fn a_version_that_may_not_be_read_stops_nothing() {
        let refused = Script::new([Transcript::made("/version", 403, "{}")]);
        assert_eq!(version(&refused).unwrap(), None);
    }

    #[test]
    fn a_namespace_is_missing_only_when_the_server_says_so() {
        for (code, expected) in [(200, Some(Some(true))), (404, Some(Some(false))), (403, Some(None)), (500, None)] {
            let script = Script::new([Transcript::made("/api/v1/namespaces/demo", code, "{}")]);
            assert_eq!(has_namespace(&script, "demo").ok(), expected, "{code}");
        }
    }
}
