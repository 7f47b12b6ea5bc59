//! Changes from inside the process, without HTTP: what a test or a demo does to its cluster.

use super::catalog::Resource;
use super::change::{Deleted, Part, Preconditions};
use super::json::Json;
use super::object::{Form, Object};
use super::refusal::Refusal;
use super::{Inner, State};
use crate::api::GroupVersionResource;
use serde_json::Value;
use std::sync::Arc;

/// Who owns the fields that are written from inside.
const MANAGER: &str = "faro-sim";

impl State {
    /// Stores a new object; its namespace must be there. Gives back what was stored.
    ///
    /// # Errors
    ///
    /// What the server would answer.
    pub(crate) fn create(&self, gvr: &GroupVersionResource, object: &Value) -> Result<Vec<u8>, Refusal> {
        let mut inner = self.lock();
        let resource = inner.resource(gvr)?;
        let json = Json::from(object);
        let namespace = json.text_at("metadata.namespace").to_owned();
        inner.create(&resource, &namespace, json, MANAGER).map(|object| text(&object, &resource))
    }

    /// Replaces an object, with its status. A `resourceVersion` in it must be the current one.
    ///
    /// # Errors
    ///
    /// What the server would answer.
    pub(crate) fn update(&self, gvr: &GroupVersionResource, object: &Value) -> Result<Vec<u8>, Refusal> {
        let mut inner = self.lock();
        let resource = inner.resource(gvr)?;
        let json = Json::from(object);
        let (namespace, name) = (json.text_at("metadata.namespace").to_owned(), json.text_at("metadata.name").to_owned());
        inner.update(&resource, &namespace, &name, json, Part::All, MANAGER).map(|object| text(&object, &resource))
    }

    /// Merges `patch` into an object, with its status; `null` takes a key out.
    ///
    /// # Errors
    ///
    /// What the server would answer.
    pub(crate) fn patch(
        &self,
        gvr: &GroupVersionResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Vec<u8>, Refusal> {
        let mut inner = self.lock();
        let resource = inner.resource(gvr)?;
        let mut json = inner.find(&resource, namespace, name)?.json();
        crate::sim::api::patch::merge(&mut json, &Json::from(patch));
        inner.update(&resource, namespace, name, json, Part::All, MANAGER).map(|object| text(&object, &resource))
    }

    /// Deletes an object, or marks it when finalizers hold it. An empty `namespace` is that of resources without.
    ///
    /// # Errors
    ///
    /// What the server would answer.
    pub(crate) fn delete(&self, gvr: &GroupVersionResource, namespace: &str, name: &str) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let resource = inner.resource(gvr)?;
        match inner.delete(&resource, namespace, name, &Preconditions::default())? {
            Deleted::Gone(_) | Deleted::Marked(_) => Ok(()),
        }
    }
}

impl Inner {
    fn resource(&self, gvr: &GroupVersionResource) -> Result<Arc<Resource>, Refusal> {
        self.catalog.find(gvr.group(), gvr.version(), gvr.resource()).map(Arc::clone).ok_or_else(Refusal::no_resource)
    }
}

fn text(object: &Object, resource: &Resource) -> Vec<u8> {
    let mut text = Vec::new();
    object.write(resource, Form::Full, &mut text);
    text
}
