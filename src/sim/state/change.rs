//! Every change of an object: what a server checks, fills in, keeps and counts.

use super::Inner;
use super::catalog::{Resource, StorageName};
use super::definition;
use super::json::Json;
use super::managed::{self, Manager};
use super::object::{Object, key};
use super::refusal::Refusal;
use super::storage::Event;
use std::sync::Arc;

/// What a delete demands of the object that it finds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
}

/// What became of a delete.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone.
    Gone(Arc<Object>),
    /// Finalizers hold it, or it is a namespace that empties itself.
    Marked(Arc<Object>),
}

/// Which part of an object an update writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything, whatever a server would keep: for changes from inside the process.
    All,
    /// Everything but the status, where the resource has one of its own.
    Main,
    /// The status alone.
    Status,
}

/// The letters of generated names (`k8s.io/apimachinery/pkg/util/rand`).
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them there are in one.
const NAME_LETTERS_COUNT: usize = 5;
/// What metadata keeps when an object is replaced.
const KEPT: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"];

/// Where definitions are stored.
pub(crate) fn definitions() -> StorageName {
    ("apiextensions.k8s.io".to_owned(), "customresourcedefinitions".to_owned())
}

/// Where namespaces are stored.
pub(crate) fn namespaces() -> StorageName {
    (String::new(), "namespaces".to_owned())
}

impl Inner {
    /// Stores a new object.
    pub(crate) fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut json: Json,
        manager: &str,
    ) -> Result<Arc<Object>, Refusal> {
        let name = self.new_name(resource, namespace, &mut json)?;
        let uid = self.uid();
        let now = self.time();
        let metadata = json.entry("metadata");
        metadata.set("uid", Json::text(uid));
        metadata.set("creationTimestamp", Json::text(&now));
        for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"] {
            metadata.remove(key);
        }
        if resource.counts_generations() {
            metadata.set("generation", Json::Number(1.into()));
        }
        if metadata.get("managedFields").is_none_or(|fields| fields.items().is_empty()) {
            let manager = Manager { name: manager, api_version: &resource.api_version(), custom: resource.custom, now: &now };
            managed::note(None, &mut json, manager);
        }
        self.fill_in(resource, &mut json, &now);
        let object = self.store(resource, None, json);
        if resource.storage() == definitions() {
            self.define(&object);
        }
        debug_assert_eq!(object.name, name, "the name is settled before the object is stored");
        Ok(object)
    }

    /// Replaces an object.
    pub(crate) fn update(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        mut json: Json,
        part: Part,
        manager: &str,
    ) -> Result<Arc<Object>, Refusal> {
        let before = self.find(resource, namespace, name)?;
        let old = before.json();
        self.check_update(resource, &before, &json)?;
        let has_status = resource.has_status();
        if part == Part::Status {
            let status = json.remove("status");
            json = old.clone();
            json.remove("status");
            if let Some(status) = status {
                json.set("status", status);
            }
        } else if part == Part::Main && has_status {
            json.remove("status");
            if let Some(status) = old.get("status") {
                json.set("status", status.clone());
            }
        }
        keep_metadata(&old, &mut json, namespace, name);
        if is_same(&old, &json) {
            return Ok(before);
        }
        if resource.counts_generations() && old.get("spec") != json.get("spec") {
            let generation =
                old.at("metadata.generation").and_then(|it| if let Json::Number(n) = it { n.as_u64() } else { None });
            json.entry("metadata").set("generation", Json::Number((generation.unwrap_or(0) + 1).into()));
        }
        let now = self.time();
        let manager = Manager { name: manager, api_version: &resource.api_version(), custom: resource.custom, now: &now };
        managed::note(Some(&old), &mut json, manager);
        let is_dying = json.at("metadata.deletionTimestamp").is_some();
        if is_dying && !is_held(&json) {
            return Ok(self.remove(resource, &before));
        }
        let object = self.store(resource, Some(before), json);
        if resource.storage() == definitions() {
            self.define(&object);
        }
        Ok(object)
    }

    /// Deletes an object, or marks it when something holds it.
    pub(crate) fn delete(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        demands: &Preconditions,
    ) -> Result<Deleted, Refusal> {
        let before = self.find(resource, namespace, name)?;
        if demands.uid.as_ref().is_some_and(|uid| *uid != before.uid) {
            let uid = demands.uid.as_deref().unwrap_or_default();
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", before.uid);
            return Err(Refusal::conflict(resource, name, &why));
        }
        if demands.version.as_ref().is_some_and(|version| *version != before.version.to_string()) {
            let version = demands.version.as_deref().unwrap_or_default();
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                before.version
            );
            return Err(Refusal::conflict(resource, name, &why));
        }
        let mut json = before.json();
        if resource.storage() == namespaces() {
            return Ok(self.delete_namespace(resource, before, json));
        }
        if !is_held(&json) {
            return Ok(Deleted::Gone(self.remove(resource, &before)));
        }
        if json.at("metadata.deletionTimestamp").is_some() {
            return Ok(Deleted::Marked(before));
        }
        mark(&mut json, &self.time());
        Ok(Deleted::Marked(self.store(resource, Some(before), json)))
    }

    /// The object, or 404.
    pub(crate) fn find(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>, Refusal> {
        let storage = self.storages.get(&resource.storage());
        let object = storage.and_then(|storage| storage.objects.get(&key(namespace, name)));
        object.cloned().ok_or_else(|| Refusal::not_found(resource, name))
    }

    /// Makes a namespace, as every server makes its own.
    pub(crate) fn create_namespace(&mut self, name: &str) -> Result<Arc<Object>, Refusal> {
        let resource = self.catalog.stored_as(&namespaces()).map(Arc::clone).expect("every release serves namespaces");
        let json = Json::object([("metadata", Json::object([("name", Json::text(name))]))]);
        self.create(&resource, "", json, "kube-apiserver")
    }

    fn new_name(&mut self, resource: &Resource, namespace: &str, json: &mut Json) -> Result<String, Refusal> {
        let metadata = json.entry("metadata");
        if !metadata.text_at("resourceVersion").is_empty() {
            return Err(Refusal::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let told = metadata.text_at("namespace");
        if !told.is_empty() && told != namespace {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if resource.namespaced {
            metadata.set("namespace", Json::text(namespace));
        }
        let prefix = metadata.text_at("generateName");
        if metadata.text_at("name").is_empty() && !prefix.is_empty() {
            let letters = (0..NAME_LETTERS_COUNT).map(|_| char::from(NAME_LETTERS[self.random.usize(..NAME_LETTERS.len())]));
            let name = format!("{prefix}{}", letters.collect::<String>());
            metadata.set("name", Json::text(name));
        }
        let name = metadata.text_at("name").to_owned();
        if name.is_empty() {
            return Err(Refusal::invalid_object(resource, "", "metadata.name: Required value: name or generateName is required"));
        }
        if resource.namespaced {
            self.check_namespace(resource, namespace, &name)?;
        }
        match self.find(resource, namespace, &name) {
            Ok(_) => Err(Refusal::already_exists(resource, &name)),
            Err(_) => Ok(name),
        }
    }

    fn check_update(&self, resource: &Resource, before: &Object, json: &Json) -> Result<(), Refusal> {
        let version = json.text_at("metadata.resourceVersion");
        if !version.is_empty() && version != before.version.to_string() {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(resource, &before.name, why));
        }
        let uid = json.text_at("metadata.uid");
        if !uid.is_empty() && uid != before.uid {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", before.uid);
            return Err(Refusal::conflict(resource, &before.name, &why));
        }
        let told = json.text_at("metadata.name");
        if !told.is_empty() && told != before.name {
            let why = format!("the name of the object ({told}) does not match the name on the URL ({})", before.name);
            return Err(Refusal::bad_request(why));
        }
        Ok(())
    }

    /// Gives out the next version and tells everybody.
    pub(crate) fn store(&mut self, resource: &Resource, before: Option<Arc<Object>>, json: Json) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::new(json, resource, self.version));
        self.record(resource, Event::new(self.version, before, Some(Arc::clone(&object))));
        object
    }

    /// Takes the object out; what is given back is its last content with the version of the delete.
    pub(crate) fn remove(&mut self, resource: &Resource, before: &Arc<Object>) -> Arc<Object> {
        self.version += 1;
        self.record(resource, Event::new(self.version, Some(Arc::clone(before)), None));
        if resource.storage() == definitions() {
            self.undefine(&before.json());
        }
        self.finish_namespace(&before.namespace);
        Arc::new(before.with_version(self.version))
    }

    fn record(&mut self, resource: &Resource, event: Event) {
        let most = self.settings.history_events_max;
        let storage = self.storage(&resource.storage());
        match &event.now {
            Some(object) => storage.objects.insert(object.key.clone(), Arc::clone(object)),
            None => event.before.as_ref().and_then(|before| storage.objects.remove(&before.key)),
        };
        storage.record(event);
        storage.forget(most);
    }

    /// What the server itself writes into objects of some kinds.
    fn fill_in(&self, resource: &Resource, json: &mut Json, now: &str) {
        if resource.storage() == definitions() {
            definition::establish(json, now);
        } else if resource.storage() == namespaces() {
            let name = json.text_at("metadata.name").to_owned();
            json.entry("metadata").entry("labels").set("kubernetes.io/metadata.name", Json::text(name));
            json.entry("spec").set("finalizers", Json::Array(vec![Json::text("kubernetes")]));
            json.set("status", Json::object([("phase", Json::text("Active"))]));
        } else if resource.stored_in.is_empty() && resource.name == "pods" && json.at("status.phase").is_none() {
            json.entry("status").set("phase", Json::text("Pending"));
        } else if resource.group.is_empty() && resource.name == "events" {
            // Fields that Go writes even when they are empty (`k8s.io/api/core/v1`, no `omitempty`).
            for (key, empty) in
                [("eventTime", Json::Null), ("reportingComponent", Json::text("")), ("reportingInstance", Json::text(""))]
            {
                if json.get(key).is_none() {
                    json.set(key, empty);
                }
            }
        }
    }
}

/// Whether a finalizer holds the object.
fn is_held(json: &Json) -> bool {
    json.at("metadata.finalizers").is_some_and(|finalizers| !finalizers.items().is_empty())
}

/// Marks the object as being deleted.
pub(crate) fn mark(json: &mut Json, now: &str) {
    let metadata = json.entry("metadata");
    metadata.set("deletionTimestamp", Json::text(now));
    metadata.set("deletionGracePeriodSeconds", Json::Number(0.into()));
}

/// Carries over what a caller cannot change.
fn keep_metadata(old: &Json, json: &mut Json, namespace: &str, name: &str) {
    let metadata = json.entry("metadata");
    metadata.set("name", Json::text(name));
    metadata.remove("resourceVersion");
    metadata.remove("namespace");
    if !namespace.is_empty() {
        metadata.set("namespace", Json::text(namespace));
    }
    for key in KEPT {
        metadata.remove(key);
        if let Some(value) = old.at("metadata").and_then(|metadata| metadata.get(key)) {
            metadata.set(key, value.clone());
        }
    }
}

/// Whether nothing changed but what the server writes itself.
fn is_same(old: &Json, new: &Json) -> bool {
    let [old_metadata, new_metadata] = [old, new].map(|json| json.get("metadata").unwrap_or(&Json::Null));
    let is_written = |key: &str, value: &Json| match key {
        "resourceVersion" | "managedFields" => true,
        "labels" | "annotations" => value.entries().is_empty(),
        _ => false,
    };
    is_alike(old, new, |key, _| matches!(key, "kind" | "apiVersion" | "metadata"))
        && is_alike(old_metadata, new_metadata, is_written)
}

/// Whether two objects have the same entries in any order, but for some.
fn is_alike(old: &Json, new: &Json, but: impl Fn(&str, &Json) -> bool) -> bool {
    let rest = |json: &Json| json.entries().iter().filter(|(key, value)| !but(key, value)).count();
    let mut minded = old.entries().iter().filter(|(key, value)| !but(key, value));
    rest(old) == rest(new) && minded.all(|(key, value)| new.get(key).is_some_and(|new| value.is_like(new)))
}
