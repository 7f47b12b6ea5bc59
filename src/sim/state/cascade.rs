//! Changes that one change brings with it: namespaces delete their contents, definitions their objects.

use super::Inner;
use super::catalog::{Resource, StorageName};
use super::change::{Deleted, Preconditions, mark, namespaces};
use super::definition;
use super::json::Json;
use super::object::Object;
use super::refusal::Refusal;
use std::sync::Arc;

impl Inner {
    /// Marks the namespace, deletes what is in it, and then the namespace itself unless finalizers hold something.
    pub(super) fn delete_namespace(&mut self, resource: &Resource, before: Arc<Object>, mut json: Json) -> Deleted {
        let name = before.name.clone();
        if json.text_at("status.phase") == "Terminating" {
            return Deleted::Marked(before);
        }
        mark(&mut json, &self.time());
        json.entry("metadata").remove("deletionGracePeriodSeconds");
        json.set("status", Json::object([("phase", Json::text("Terminating"))]));
        let marked = self.store(resource, Some(before), json);
        for (storage, object) in self.contents(&name) {
            let Some(resource) = self.catalog.stored_as(&storage).map(Arc::clone) else { continue };
            // It may be gone already, with another object of the namespace.
            let _ = self.delete(&resource, &name, &object, &Preconditions::default());
        }
        self.finish_namespace(&name);
        Deleted::Marked(marked)
    }

    /// Takes a namespace out that is being deleted and has become empty.
    pub(super) fn finish_namespace(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        let storage = self.storages.get(&namespaces());
        let Some(namespace) = storage.and_then(|storage| storage.objects.get(name)).map(Arc::clone) else { return };
        if !is_terminating(&namespace) || !self.contents(name).is_empty() {
            return;
        }
        let resource = self.catalog.stored_as(&namespaces()).map(Arc::clone).expect("every release serves namespaces");
        self.remove(&resource, &namespace);
    }

    /// Refuses a new object where its namespace is missing or being deleted.
    pub(super) fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), Refusal> {
        let namespaces = self.catalog.stored_as(&namespaces()).map(Arc::clone).expect("every release serves namespaces");
        let found = self.find(&namespaces, "", namespace)?;
        if is_terminating(&found) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
            return Err(Refusal::new(403, "Forbidden", message));
        }
        Ok(())
    }

    /// Serves what the definition says, from now on.
    pub(super) fn define(&mut self, object: &Object) {
        let storage = storage_of(&object.json());
        self.rebuild_catalog();
        let refusals = self.settings.new_definition_refusals;
        if refusals > 0 && !self.storages.contains_key(&storage) {
            self.initializing.insert(storage.clone(), refusals);
        }
        self.storage(&storage);
    }

    /// Deletes the definition's objects, tells their watches, ends them, and serves the resource no longer.
    pub(super) fn undefine(&mut self, json: &Json) {
        let storage = storage_of(json);
        let served = self.catalog.stored_as(&storage).map(Arc::clone);
        let resource = served.or_else(|| definition::resources(json).into_iter().next().map(Arc::new));
        let objects: Vec<_> = self.storages.get(&storage).map(|it| it.objects.values().cloned().collect()).unwrap_or_default();
        if let Some(resource) = resource {
            objects.iter().for_each(|object| {
                self.remove(&resource, object);
            });
        }
        let version = self.version;
        let ended = self.storage(&storage);
        ended.objects.clear();
        ended.ended = version;
        ended.stir();
        self.initializing.remove(&storage);
        self.rebuild_catalog();
    }

    /// What is in a namespace.
    fn contents(&self, namespace: &str) -> Vec<(StorageName, String)> {
        let prefix = format!("{namespace}/");
        let mut found: Vec<_> = self
            .storages
            .iter()
            .flat_map(|(name, storage)| {
                let inside = storage.objects.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
                inside.map(|(_, object)| (name.clone(), object.name.clone()))
            })
            .collect();
        found.sort_unstable();
        found
    }
}

fn is_terminating(namespace: &Object) -> bool {
    namespace.fields.iter().any(|(field, value)| *field == "status.phase" && value == "Terminating")
}

fn storage_of(definition: &Json) -> StorageName {
    (definition.text_at("spec.group").to_owned(), definition.text_at("spec.names.plural").to_owned())
}
