//! The objects of one resource, and the events that led to them.

use super::catalog::Resource;
use super::object::{Form, METADATA_HEAD, Object};
use super::place::Place;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

/// One resource's objects and history, whatever version they are asked for in.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    /// By `namespace/name`, in the order of lists.
    pub(crate) objects: BTreeMap<String, Arc<Object>>,
    /// What happened, oldest first.
    pub(crate) events: VecDeque<Arc<Event>>,
    /// The version of the newest event that was forgotten.
    pub(crate) forgotten: u64,
    /// The version at which the definition of this resource was last deleted.
    pub(crate) ended: u64,
    /// Where watches wait, by the namespace that they are about: each looks at its own events only.
    places: HashMap<String, Arc<Place>>,
}

/// One change of one object. All watches share its lines.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) version: u64,
    /// What is there now; none after a delete.
    pub(crate) now: Option<Arc<Object>>,
    /// What was there before; none before a create.
    pub(crate) before: Option<Arc<Object>>,
    lines: [OnceLock<Bytes>; 6],
}

/// What a watch calls an event; it depends on what its selectors see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It starts to match.
    Added,
    /// It matched and matches.
    Modified,
    /// It matched and does so no longer.
    Deleted,
}

/// One page of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    /// The key of the last object, and the number of objects after it, when there are more.
    pub(crate) rest: Option<(String, usize)>,
}

impl Storage {
    /// The same objects and history, where no watch waits.
    pub(crate) fn unwatched(&self) -> Self {
        let (objects, events) = (self.objects.clone(), self.events.clone());
        Self { objects, events, forgotten: self.forgotten, ended: self.ended, places: HashMap::new() }
    }

    /// The objects under `prefix` and after `after` that match, as they were at `version`; `limit` 0 takes all.
    pub(crate) fn page(&self, version: u64, prefix: &str, after: &str, limit: usize, matches: impl Fn(&Object) -> bool) -> Page {
        let from = if after.is_empty() { prefix } else { after };
        let changed = self.changed_since(version);
        let mut all: Vec<(&str, &Arc<Object>)> = self
            .objects
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| !changed.contains_key(key.as_str()))
            .map(|(key, object)| (key.as_str(), object))
            .collect();
        if !changed.is_empty() {
            let then = changed.iter().filter(|(key, _)| **key >= from && key.starts_with(prefix));
            all.extend(then.filter_map(|(key, object)| object.map(|object| (*key, object))));
            all.sort_unstable_by_key(|(key, _)| *key);
        }
        let mut matching = all.into_iter().filter(|(key, object)| *key != after && matches(object));
        let objects: Vec<_> = matching.by_ref().take(if limit == 0 { usize::MAX } else { limit }).collect();
        let left = matching.count();
        let rest = objects.last().filter(|_| left > 0).map(|(key, _)| ((*key).to_owned(), left));
        Page { objects: objects.into_iter().map(|(_, object)| Arc::clone(object)).collect(), rest }
    }

    /// The objects that changed after `version`, as they were then.
    fn changed_since(&self, version: u64) -> BTreeMap<&str, Option<&Arc<Object>>> {
        let newer = self.events.iter().rev().take_while(|event| event.version > version);
        // From the newest to the oldest: the oldest has the last word.
        newer.map(|event| (event.key(), event.before.as_ref())).collect()
    }

    /// Where watches of `namespace` wait; empty for all.
    pub(crate) fn place(&mut self, namespace: &str) -> Arc<Place> {
        let place = self.places.entry(namespace.to_owned()).or_insert_with(|| {
            let events = self.events.iter().filter(|event| namespace.is_empty() || event.namespace() == namespace);
            Arc::new(Place::new(events.cloned().collect(), self.forgotten))
        });
        Arc::clone(place)
    }

    /// Adds what happened, and wakes the watches that it may concern and no others.
    pub(crate) fn record(&mut self, event: Event) {
        let event = Arc::new(event);
        concerned(&event).filter_map(|namespace| self.places.get(namespace)).for_each(|place| place.record(&event));
        self.events.push_back(event);
    }

    /// Makes every watch look again.
    pub(crate) fn stir(&self) {
        self.places.values().for_each(|place| place.stir());
    }

    /// Forgets the oldest events until `most` are left.
    pub(crate) fn forget(&mut self, most: usize) {
        while self.events.len() > most {
            let Some(event) = self.events.pop_front() else { return };
            self.forgotten = event.version;
            concerned(&event).filter_map(|namespace| self.places.get(namespace)).for_each(|place| place.forget_one());
        }
    }
}

/// The places that an event concerns: those of its namespace, and of all.
fn concerned(event: &Event) -> impl Iterator<Item = &str> {
    let namespace = event.namespace();
    [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())].into_iter().flatten()
}

impl Event {
    pub(crate) fn new(version: u64, before: Option<Arc<Object>>, now: Option<Arc<Object>>) -> Self {
        assert!(before.is_some() || now.is_some(), "an event is about an object");
        Self { version, now, before, lines: Default::default() }
    }

    /// What a watch that selects with `matches` sees of this event.
    pub(crate) fn seen(&self, matches: impl Fn(&Object) -> bool) -> Option<Seen> {
        let matched = self.before.as_deref().is_some_and(&matches);
        let does = self.now.as_deref().is_some_and(&matches);
        match (matched, does) {
            (false, true) => Some(Seen::Added),
            (true, true) => Some(Seen::Modified),
            (true, false) => Some(Seen::Deleted),
            (false, false) => None,
        }
    }

    /// The line of a watch. It is written once for the resource's own group and shared; other groups write their own.
    pub(crate) fn line(&self, seen: Seen, resource: &Resource, form: Form) -> Bytes {
        let write = || match seen {
            Seen::Added | Seen::Modified => line(seen, self.now.as_deref().expect("it matches now"), resource, form),
            // A delete shows the last content that matched, with the version of the change that made it leave.
            Seen::Deleted => line(seen, &self.before.as_ref().expect("it matched").with_version(self.version), resource, form),
        };
        if resource.group != resource.stored_in || (form == Form::Full && resource.version != "v1") {
            return write();
        }
        let place = seen as usize * 2 + usize::from(form == Form::Metadata);
        self.lines[place].get_or_init(write).clone()
    }

    fn namespace(&self) -> &str {
        self.object().map_or("", |object| object.namespace.as_str())
    }

    fn key(&self) -> &str {
        self.object().map_or("", |object| object.key.as_str())
    }

    fn object(&self) -> Option<&Arc<Object>> {
        self.now.as_ref().or(self.before.as_ref())
    }
}

/// Room for what stands around an object in a line: type, kind and `apiVersion`.
const LINE_BYTES_AROUND: usize = 160;

/// `{"type":…,"object":…}` and a newline.
pub(crate) fn line(seen: Seen, object: &Object, resource: &Resource, form: Form) -> Bytes {
    let name = match seen {
        Seen::Added => "ADDED",
        Seen::Modified => "MODIFIED",
        Seen::Deleted => "DELETED",
    };
    let mut line = Vec::with_capacity(object.size(form) + LINE_BYTES_AROUND);
    line.extend_from_slice(br#"{"type":""#);
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(br#"","object":"#);
    object.write(resource, form, &mut line);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// A bookmark, or the one that ends the initial events.
pub(crate) fn bookmark(version: u64, ends_initial: bool, resource: &Resource, form: Form, with_null_time: bool) -> Bytes {
    let annotation = if ends_initial { r#""annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    let version = format!(r#""resourceVersion":"{version}""#);
    let time = if with_null_time { r#""creationTimestamp":null"# } else { "" };
    let parts = if resource.custom && form == Form::Full { [annotation, time, &version] } else { [&version, time, annotation] };
    let metadata = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
    let head = match form {
        Form::Full => format!(r#"{}"metadata":"#, resource.head),
        Form::Metadata => METADATA_HEAD.to_owned(),
    };
    format!("{{\"type\":\"BOOKMARK\",\"object\":{head}{{{metadata}}}}}}}\n").into()
}
