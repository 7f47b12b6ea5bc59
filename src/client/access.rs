//! What the server lets this client do, asked before it is done.
//!
//! Takes a verb and a [`WatchTarget`]; gives the server's own verdict, by a `SelfSubjectAccessReview`
//! (`k8s.io/api/authorization/v1`), which every authenticated user may ask for (`system:basic-user`).

use super::http::{answer, undecodable};
use super::{Error, Transport};
use crate::api::{FieldSelector, Scope, WatchTarget};
use serde::{Deserialize, Serialize};

/// What the server says about one verb.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in the server's words; often empty.
    pub reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: QuestionSpec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuestionSpec<'a> {
    resource_attributes: Attributes<'a>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    /// Empty for all namespaces, and for kinds without.
    namespace: &'a str,
    verb: &'a str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    /// Empty for all names.
    name: &'a str,
}

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    allowed: bool,
    reason: String,
}

impl Transport {
    /// Whether this client may use `verb`, as in `list` and `watch`, on what `target` selects. `scope` is what discovery said,
    /// `None` where it was not asked.
    ///
    /// # Errors
    ///
    /// When the server does not answer, or refuses to say.
    pub fn access(&self, verb: &str, target: &WatchTarget, scope: Option<Scope>) -> Result<Access, Error> {
        let request = format!("ask whether {verb} is allowed for {target}");
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let body = answer(self, &request, path, &question(verb, target, scope))?;
        let review: Review = serde_json::from_slice(&body).map_err(|error| undecodable(&request, &error))?;
        Ok(Access { allowed: review.status.allowed, reason: review.status.reason })
    }
}

fn question(verb: &str, target: &WatchTarget, scope: Option<Scope>) -> Vec<u8> {
    let namespace = target.namespace.as_deref().filter(|_| scope != Some(Scope::Cluster));
    let name = target.field_selector.as_ref().and_then(FieldSelector::exact_name);
    let resource_attributes = Attributes {
        namespace: namespace.unwrap_or_default(),
        verb,
        group: target.gvr.group(),
        version: target.gvr.version(),
        resource: target.gvr.resource(),
        name: name.as_deref().unwrap_or_default(),
    };
    let spec = QuestionSpec { resource_attributes };
    let question = Question { api_version: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec };
    serde_json::to_vec(&question).expect("texts are JSON")
}
