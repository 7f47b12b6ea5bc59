//! Makes many changes quickly and keeps what the server answered to each: the truth that lines are compared with.
//!
//! Speaks plain HTTP to `kubectl proxy`, one request at a time, and tries again while the server is away.

use crate::wait::eventually_some;
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;

/// Writes objects. Clones have connections of their own.
#[derive(Debug)]
pub(crate) struct Writer {
    base: String,
    kind: Kind,
    agent: Agent,
}

/// What kind of objects it writes. These kinds need nothing but metadata, and no controller touches them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    api_version: &'static str,
    name: &'static str,
    resource: &'static str,
    api: &'static str,
}

/// What it writes where nothing else is said.
pub(crate) const CONFIG_MAPS: Kind = Kind { api_version: "v1", name: "ConfigMap", resource: "configmaps", api: "/api/v1" };
/// Of which the server keeps few events waiting.
pub(crate) const LEASES: Kind =
    Kind { api_version: "coordination.k8s.io/v1", name: "Lease", resource: "leases", api: "/apis/coordination.k8s.io/v1" };
/// A custom resource, defined by [`widgets_definition`].
pub(crate) const WIDGETS: Kind =
    Kind { api_version: "chaos.faro.test/v1", name: "Widget", resource: "widgets", api: "/apis/chaos.faro.test/v1" };

/// What has to be created, once in a cluster, before [`WIDGETS`] are.
pub(crate) fn widgets_definition() -> String {
    let (group, version) = WIDGETS.api_version.split_once('/').expect("the constant has both");
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let versions = json!([{"name": version, "served": true, "storage": true, "schema": schema}]);
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    let spec = json!({"group": group, "scope": "Namespaced", "names": names, "versions": versions});
    let metadata = json!({"name": format!("widgets.{group}")});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec})
        .to_string()
}

/// One change, as the server answered to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// `ADDED`, `UPDATED` or `DELETED`.
    pub(crate) event_type: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// `None` for a delete: 1.20 does not answer with the version of it.
    pub(crate) version: Option<String>,
}

/// An HTTP answer: its code, and its body where that is JSON.
type Answer = (u16, Value);

impl Clone for Writer {
    fn clone(&self) -> Self {
        Self::at(self.base.clone(), self.kind)
    }
}

impl Writer {
    /// Talks to the `kubectl proxy` at `address`; writes `ConfigMaps`.
    pub(crate) fn new(address: &str) -> Self {
        Self::at(format!("http://{address}"), CONFIG_MAPS)
    }

    /// One that writes objects of `kind`.
    pub(crate) fn of(&self, kind: Kind) -> Self {
        Self::at(self.base.clone(), kind)
    }

    fn at(base: String, kind: Kind) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_LIMIT))
            .max_idle_connections_per_host(1);
        Self { base, kind, agent: config.build().into() }
    }

    /// Creates an object annotated with `data`; where it is there already, by an earlier try, takes that.
    pub(crate) fn create_object(&self, namespace: &str, name: &str, labels: &Value, data: &str) -> Change {
        let body = self.kind.object(namespace, name, labels, data);
        let object = self.until_done(&format!("create {namespace}/{name}"), || {
            match self.send("POST", &self.kind.collection(namespace), &body)? {
                (201, object) => Some(object),
                (409, _) => self.get(&self.kind.path(namespace, name)),
                answer => refused(answer),
            }
        });
        Change::told("ADDED", &object)
    }

    /// Changes an object. Writing the same again changes nothing, so a try whose answer was lost does no harm.
    pub(crate) fn update_object(&self, namespace: &str, name: &str, labels: &Value, data: &str) -> Change {
        let body = self.kind.object(namespace, name, labels, data);
        let path = self.kind.path(namespace, name);
        let object = self.until_done(&format!("update {namespace}/{name}"), || match self.send("PATCH", &path, &body)? {
            (200, object) => Some(object),
            answer => refused(answer),
        });
        Change::told("UPDATED", &object)
    }

    /// Deletes an object that is there.
    pub(crate) fn delete_object(&self, namespace: &str, name: &str) -> Change {
        let path = self.kind.path(namespace, name);
        let what = format!("delete {namespace}/{name}");
        let object = self.until_done(&what, || self.get(&path));
        self.until_done(&what, || match self.send("DELETE", &path, "")? {
            (200 | 404, _) => Some(()),
            answer => refused(answer),
        });
        Change { version: None, ..Change::told("DELETED", &object) }
    }

    /// Creates an object of any kind in the collection `path`; the server must accept it at once.
    pub(crate) fn create(&self, path: &str, body: &str) -> Value {
        let answer = self.send("POST", path, body).expect("the server answers");
        assert_eq!(answer.0, 201, "POST {path}: {}", answer.1);
        answer.1
    }

    /// Every object of the collection `path`, as the server has it now.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut list = self.until_done(&format!("list {path}"), || self.get(path));
        let Value::Array(items) = list["items"].take() else { panic!("{path}: a list has items, found {list}") };
        items
    }

    /// The objects of a namespace, as the server has them now.
    pub(crate) fn list_objects(&self, namespace: &str) -> Vec<Value> {
        self.list(&self.kind.collection(namespace))
    }

    fn get(&self, path: &str) -> Option<Value> {
        match self.send("GET", path, "")? {
            (200, object) => Some(object),
            answer => refused(answer),
        }
    }

    fn until_done<T>(&self, what: &str, attempt: impl FnMut() -> Option<T>) -> T {
        eventually_some(RETRY_LIMIT, what, attempt)
    }

    /// `None` when no answer came.
    fn send(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Content-Type", content)
            .body(body.to_owned())
            .expect("these are valid requests");
        let mut response = self.agent.run(request).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        Some((response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default()))
    }
}

impl Change {
    fn told(event_type: &'static str, object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let version = Some(text("resourceVersion"));
        Self { event_type, namespace: text("namespace"), name: text("name"), uid: text("uid"), version }
    }
}

/// `None`, to try again, for a server that is away or just coming; anything else is a fault of the test.
fn refused<T>((code, body): Answer) -> Option<T> {
    assert!(matches!(code, 403 | 404 | 429 | 500..), "the server refused with {code}: {body}");
    None
}

impl Kind {
    /// As configurations and lines name it.
    pub(crate) fn gvr(self) -> String {
        format!("{}/{}", self.api_version, self.resource)
    }

    /// What changes is an annotation: metadata is all that the daemon asks for.
    pub(crate) fn object(self, namespace: &str, name: &str, labels: &Value, data: &str) -> String {
        let metadata = json!({"name": name, "namespace": namespace, "labels": labels, "annotations": {"e2e": data}});
        json!({"apiVersion": self.api_version, "kind": self.name, "metadata": metadata}).to_string()
    }

    fn collection(self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.api, self.resource)
    }

    fn path(self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }
}

/// A server that is killed may leave a request without an answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// Longer than any server in these tests is away.
const RETRY_LIMIT: Duration = Duration::from_secs(90);
