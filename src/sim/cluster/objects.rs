//! Objects that come, change and go, in one call each.

use super::Cluster;
use crate::api::{GroupVersionResource, ListPage, Object, ObjectRef, Status, WatchTarget};
use crate::sim::state::refusal::Refusal;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::sync::Arc;

/// Why the cluster refused: the code and message of a real server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated cluster refuses: {code}: {message}")]
#[non_exhaustive]
pub struct Refused {
    /// The HTTP code; 400 also where the text is no object.
    pub code: u16,
    /// What the server says.
    pub message: String,
}

impl Refused {
    pub(super) fn new(code: u16, body: &[u8]) -> Self {
        Self { code, message: Status::from_body(code, body).message }
    }

    fn unreadable(why: &dyn Display) -> Self {
        Self { code: 400, message: why.to_string() }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message }
    }
}

impl Cluster {
    /// Creates the object of this YAML or JSON, status included, in namespace `default` where it names none.
    ///
    /// # Errors
    ///
    /// As a server refuses it: no such kind, no such namespace, a name that is taken.
    pub fn create(&self, object: &str) -> Result<Object, Refused> {
        let (gvr, object) = self.place(object)?;
        read(&self.state.create(&gvr, &object)?)
    }

    /// Replaces the object of this YAML or JSON, status included. It names no version or the one that is stored.
    ///
    /// # Errors
    ///
    /// As a server refuses it: no such object, or another version of it.
    pub fn update(&self, object: &str) -> Result<Object, Refused> {
        let (gvr, object) = self.place(object)?;
        read(&self.state.update(&gvr, &object)?)
    }

    /// Changes an object, status included, by a merge patch in YAML or JSON. `name` is `namespace/name`, or the name alone where there are no
    /// namespaces.
    ///
    /// # Errors
    ///
    /// As a server refuses it. Also when `gvr` is none.
    pub fn patch(&self, gvr: &str, name: &str, patch: &str) -> Result<Object, Refused> {
        let (namespace, name) = split(name);
        read(&self.state.patch(&resource(gvr)?, namespace.unwrap_or_default(), name, &parse(patch)?)?)
    }

    /// Sets labels of an object; `None` takes one away.
    ///
    /// # Errors
    ///
    /// As [`patch`](Self::patch).
    pub fn label(&self, gvr: &str, name: &str, labels: &[(&str, Option<&str>)]) -> Result<Object, Refused> {
        let labels: Map<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.patch(gvr, name, &json!({ "metadata": { "labels": labels } }).to_string())
    }

    /// Deletes an object, or marks it as being deleted where finalizers hold it.
    ///
    /// # Errors
    ///
    /// As a server refuses it. Also when `gvr` is none.
    pub fn delete(&self, gvr: &str, name: &str) -> Result<(), Refused> {
        let (namespace, name) = split(name);
        Ok(self.state.delete(&resource(gvr)?, namespace.unwrap_or_default(), name)?)
    }

    /// One object, as it is now.
    ///
    /// # Errors
    ///
    /// As a server refuses it. Also when `gvr` is none.
    pub fn get(&self, gvr: &str, name: &str) -> Result<Object, Refused> {
        let (namespace, name) = split(name);
        read(&self.ask(&format!("{}/{name}", collection(&resource(gvr)?, namespace)), Vec::new())?)
    }

    /// All objects that match `target` now.
    ///
    /// # Errors
    ///
    /// As a server refuses it.
    pub fn objects(&self, target: &WatchTarget) -> Result<Vec<Object>, Refused> {
        let labels = target.label_selector.iter().map(|selector| ("labelSelector".to_owned(), selector.as_str().to_owned()));
        let fields = target.field_selector.iter().map(|selector| ("fieldSelector".to_owned(), selector.as_str().to_owned()));
        let query = labels.chain(fields).collect();
        let body = self.ask(&collection(&target.gvr, target.namespace.as_deref()), query)?;
        let page = ListPage::parse(&body).map_err(|error| Refused::unreadable(&error))?;
        let objects =
            page.objects().map(|object| object.map(|object| object.to_object()).map_err(|error| Refused::unreadable(&error)));
        objects.collect()
    }

    /// How many watches of these objects began so far, streaming lists among them, whatever their selectors; those of all
    /// namespaces where none is named.
    ///
    /// # Errors
    ///
    /// When `gvr` is none.
    pub fn watch_requests(&self, gvr: &str, namespace: Option<&str>) -> Result<u64, Refused> {
        Ok(self.server.site().watches.count(&collection(&resource(gvr)?, namespace)))
    }

    /// The resource that the object belongs to, and the object in its namespace.
    fn place(&self, object: &str) -> Result<(GroupVersionResource, Value), Refused> {
        let mut object = parse(object)?;
        let (Some(api_version), Some(kind)) = (object["apiVersion"].as_str(), object["kind"].as_str()) else {
            return Err(Refused::unreadable(&"the object names no apiVersion or no kind"));
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let catalog = Arc::clone(&self.state.lock().catalog);
        let Some(found) = catalog.of(group, version).find(|resource| resource.kind == kind) else {
            return Err(Refused::unreadable(&format!("{api_version} has no kind {kind}")));
        };
        let gvr = resource(&format!("{api_version}/{}", found.name))?;
        if found.namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        Ok((gvr, object))
    }
}

fn parse(text: &str) -> Result<Value, Refused> {
    // What programs write is JSON, which YAML reads ten times as slowly.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    serde_yaml::from_str(text).map_err(|error| Refused::unreadable(&error))
}

fn resource(gvr: &str) -> Result<GroupVersionResource, Refused> {
    gvr.parse().map_err(|error| Refused::unreadable(&error))
}

fn read(body: &[u8]) -> Result<Object, Refused> {
    ObjectRef::scan(body).map(|object| object.to_object()).map_err(|error| Refused::unreadable(&error))
}

fn collection(gvr: &GroupVersionResource, namespace: Option<&str>) -> String {
    let root = if gvr.group().is_empty() { "/api" } else { "/apis" };
    let namespace = namespace.map(|namespace| format!("namespaces/{namespace}/")).unwrap_or_default();
    format!("{root}/{}/{namespace}{}", gvr.api_version(), gvr.resource())
}

/// `namespace/name`, or the name alone.
fn split(name: &str) -> (Option<&str>, &str) {
    name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name))
}
