//! What leaves an informer: one change of one object, and the outlet it leaves by.
//!
//! An informer makes [`MatchedEvent`]s and hands them to an [`Outlet`], without knowing who is behind it.

use crate::api::{
    Anchor, Change, GroupVersionResource, HISTORY_FIRST, Identity, Object, ObjectRef, ResourceVersion, StringMap, ToldId,
    Unhashed, Watch, WatchTarget,
};
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One change of one object, as one watch tells it.
///
/// Holds the object's bytes as the server sent them; only what stands in its metadata was looked at. Everything else is
/// parsed when it is asked for, each time anew:
///
/// ```
/// # use faro::api::{ObjectRef, Watch, WatchTarget};
/// # use faro::event::{EventType, MatchedEvent};
/// # use std::sync::Arc;
/// # let json = br#"{"metadata":{"name":"web-0","namespace":"shop","uid":"u","resourceVersion":"7"},"status":{"phase":"Running"}}"#;
/// # let watch = Arc::new(Watch::new(WatchTarget::all("v1/pods".parse()?), "cluster", None));
/// # let event = MatchedEvent::new(EventType::Updated, watch, ObjectRef::scan(json)?.to_object());
/// #[derive(serde::Deserialize)]
/// struct Pod {
///     status: Status,
/// }
/// #[derive(serde::Deserialize)]
/// struct Status {
///     phase: String,
/// }
///
/// assert_eq!(format!("{} {} {}", event.event_type, event.gvr(), event.key()), "UPDATED v1/pods shop/web-0");
/// assert_eq!(event.value()?["status"]["phase"], "Running");
/// assert_eq!(event.object::<Pod>()?.status.phase, "Running");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MatchedEvent {
    /// What happened.
    pub event_type: EventType,
    /// The watch that tells it; its [`target`](Watch::target) is the configuration entry that matched, see [`target`](Self::target).
    pub watch: Arc<Watch>,
    /// When Faro received the change.
    pub received: SystemTime,
    /// The object was there when the watch first listed.
    pub initial: bool,
    /// Found by comparing a list with the store: states in between may have been missed.
    pub inferred: bool,
    /// Only the object's metadata came: nobody asked for more, or it is one of `v1/secrets`, or a `DELETED` that was found by
    /// comparison. [`raw`](Self::raw) then holds metadata and no spec, status or data.
    pub metadata_only: bool,
    /// Which history of the cluster the event is of: 1, and one more for each that a server turned out to have instead of the one
    /// that was told, as after a restore from a backup.
    pub history: u32,
    pub(crate) origin: Origin,
    /// The annotations as they are written, where that is not as the server sent them.
    written_annotations: Option<Arc<str>>,
    /// Labels and annotations as they are remembered, where that is not as they are written.
    stored_maps: Option<Arc<[String; 2]>>,
    object: Object,
}

/// Why an event's object cannot be read as the type that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {gvr} {key} as {type_name}{hint}")]
pub struct ObjectError {
    gvr: String,
    key: String,
    type_name: &'static str,
    hint: &'static str,
    /// Says the place, as line and column of [`MatchedEvent::raw`].
    source: serde_json::Error,
}

/// What happened to the object, as seen by one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It came into this watch.
    Added,
    /// It changed.
    Updated,
    /// It left this watch: deleted, or no longer matching.
    Deleted,
}

impl EventType {
    /// All of them, for tables.
    pub const ALL: [Self; 3] = [Self::Added, Self::Updated, Self::Deleted];

    /// `ADDED`, `UPDATED` or `DELETED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl MatchedEvent {
    /// An event that was told by the server, now, with the whole object.
    pub fn new(event_type: EventType, watch: Arc<Watch>, object: Object) -> Self {
        let received = SystemTime::now();
        let (initial, inferred, metadata_only, history) = (false, false, false, HISTORY_FIRST);
        let (origin, written_annotations, stored_maps) = (Origin::List, None, None);
        Self {
            event_type,
            watch,
            received,
            initial,
            inferred,
            metadata_only,
            history,
            origin,
            written_annotations,
            stored_maps,
            object,
        }
    }

    /// The same; of its annotations these are written, which are JSON, where they are given.
    pub(crate) fn writing(self, annotations: Option<String>) -> Self {
        Self { written_annotations: annotations.map(Arc::from), ..self }
    }

    /// The same; of its labels and annotations these are remembered, which are JSON, where they are given.
    pub(crate) fn storing(self, maps: Option<[String; 2]>) -> Self {
        Self { stored_maps: maps.map(Arc::new), ..self }
    }

    /// The stable id of this event: `watch/uid/resourceVersion/eventType`, and in a [history](Self::history) after the first its
    /// number, as versions come again there: `watch/uid/resourceVersion/eventType/2`.
    pub fn id(&self) -> String {
        let metadata = self.metadata();
        let id = format!("{}/{}/{}/{}", self.watch.id, metadata.uid(), metadata.resource_version(), self.event_type);
        if self.history == HISTORY_FIRST { id } else { format!("{id}/{}", self.history) }
    }

    /// The resource as text, as in `apps/v1/deployments`.
    pub fn gvr(&self) -> &str {
        &self.watch.gvr
    }

    /// The resource in its parts.
    pub fn group_version_resource(&self) -> &GroupVersionResource {
        &self.watch.target.gvr
    }

    /// The configuration entry that matched: resource, namespace and selectors of the watch that tells this event. Entries
    /// that ask for the same are one watch; where several that differ match an object, each tells it in an event of its own.
    pub fn target(&self) -> &WatchTarget {
        &self.watch.target
    }

    /// The event as the server sent it, known well enough to be found again; `None` where a list found it, and before it was
    /// [hashed](Self::to_anchor).
    #[doc(hidden)]
    pub fn anchor(&self) -> Option<&Anchor> {
        match &self.origin {
            Origin::Watch(anchor) => Some(anchor),
            Origin::List | Origin::Unhashed(_) => None,
        }
    }

    /// The same, and hashed where that was left for later.
    #[doc(hidden)]
    pub fn to_anchor(&self) -> Option<Anchor> {
        match &self.origin {
            Origin::List => None,
            Origin::Watch(anchor) => Some(anchor.clone()),
            Origin::Unhashed(unhashed) => Some(unhashed.clone().hashed(&self.metadata())),
        }
    }

    /// Whether its hash was left for later.
    #[doc(hidden)]
    pub fn is_unhashed(&self) -> bool {
        matches!(self.origin, Origin::Unhashed(_))
    }

    /// `namespace/name`, or `name` for cluster-scoped objects.
    pub fn key(&self) -> String {
        let (namespace, name) = (self.namespace(), self.name());
        if namespace.is_empty() { name.into_owned() } else { format!("{namespace}/{name}") }
    }

    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub fn namespace(&self) -> Cow<'_, str> {
        self.metadata().namespace()
    }

    /// `metadata.name`.
    pub fn name(&self) -> Cow<'_, str> {
        self.metadata().name()
    }

    /// `metadata.uid`; empty for the few virtual kinds that have none.
    pub fn uid(&self) -> Cow<'_, str> {
        self.metadata().uid()
    }

    /// `metadata.resourceVersion`. For an inferred `DELETED` that of the last state known.
    pub fn resource_version(&self) -> ResourceVersion {
        self.metadata().resource_version()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> StringMap<'_> {
        self.metadata().labels()
    }

    /// `metadata.annotations`, as the server sent them; every value of one of `v1/secrets` is a digest. Lines and state have digests
    /// in the place of copies of objects, and so has an event that waited on disk for its handler, or a `DELETED` that was found by
    /// comparison.
    pub fn annotations(&self) -> StringMap<'_> {
        self.metadata().annotations()
    }

    /// The annotations as they are written into a line.
    pub(crate) fn written_annotations(&self) -> StringMap<'_> {
        self.written_annotations.as_deref().map_or_else(|| self.annotations(), StringMap::from_json)
    }

    /// The same for copying, which needs no second check.
    pub(crate) fn written_annotations_bytes(&self) -> &[u8] {
        self.written_annotations.as_deref().map_or_else(|| self.metadata().annotations_bytes(), str::as_bytes)
    }

    /// The object's bytes as they are written to a disk.
    pub(crate) fn written_bytes(&self) -> Cow<'_, [u8]> {
        match &self.written_annotations {
            None => self.raw().into(),
            Some(annotations) => self.metadata().bytes_with_annotations(annotations).into(),
        }
    }

    /// What is remembered of the object.
    pub(crate) fn identity(&self) -> Identity {
        let object = self.metadata();
        match self.stored_maps.as_deref() {
            Some([labels, annotations]) => Identity::with_maps(&object, labels.as_bytes(), annotations.as_bytes()),
            None => Identity::with_maps(&object, object.labels_bytes(), self.written_annotations_bytes()),
        }
    }

    /// All that was read of the object's metadata. For `DELETED` the last state known.
    pub fn metadata(&self) -> ObjectRef<'_> {
        self.object.as_ref()
    }

    /// The object's bytes as the server sent them: JSON, and only its metadata where [`metadata_only`](Self::metadata_only)
    /// says so. For `DELETED` the last state that the server sent. Objects from a list may come without `kind` and `apiVersion`.
    pub fn raw(&self) -> &[u8] {
        self.object.as_ref().bytes()
    }

    /// Parses the object into a JSON value, now.
    ///
    /// # Errors
    ///
    /// When what follows the metadata is no JSON, which no API server sends.
    pub fn value(&self) -> Result<serde_json::Value, ObjectError> {
        self.object()
    }

    /// Parses the object, now, into a type of `k8s_openapi` or one of your own, which may leave out what it does not need.
    ///
    /// # Errors
    ///
    /// When the object does not fit the type. The text names the object and the type; its source says what, and where in
    /// [`raw`](Self::raw).
    pub fn object<T: DeserializeOwned>(&self) -> Result<T, ObjectError> {
        serde_json::from_slice(self.raw()).map_err(|source| ObjectError {
            gvr: self.watch.gvr.clone(),
            key: self.key(),
            type_name: type_name::<T>(),
            hint: if self.metadata_only { ", of which only metadata came" } else { "" },
            source,
        })
    }
}

/// How an event came.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A list found it.
    List,
    /// A watch brought it: as the server sent it, known well enough to be found again.
    Watch(Anchor),
    /// The same, but for the hash.
    Unhashed(Unhashed),
}

/// An event that an earlier run has handed out, and that its watch's checkpoint does not hold.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Its number in its watch.
    pub sequence: u64,
    /// What happened.
    pub event_type: EventType,
    /// What is remembered of its object; of a deleted one without labels and annotations.
    pub identity: Identity,
    /// It was found by a list, so that no server sends it again.
    pub is_listed: bool,
    /// Those of its receivers that have not accepted it, a bit each.
    pub lacking: u64,
    /// The hash of its object's metadata, where a watch has brought it: two histories may have two events of one name.
    pub metadata_hash: Option<u64>,
}

impl Emission {
    /// What the event is known by when a server sends it again.
    pub fn told(&self) -> ToldId {
        ToldId::new(self.identity.uid_json(), self.identity.version(), self.event_type == EventType::Deleted)
    }

    /// What it changes in the inventory.
    pub fn change(&self) -> Change {
        match self.event_type {
            EventType::Added | EventType::Updated => Change::Known(self.identity.clone()),
            EventType::Deleted => Change::Gone(self.identity.key().into()),
        }
    }
}

/// Where an informer's events go. One outlet serves one watch, from one thread.
///
/// Whatever is handed over gets the next ticket of its watch; the other side completes tickets in any order and keeps
/// the ordered prefix of completed ones.
pub trait Outlet: Send {
    /// Waits until one more event may be in flight, `limit` at most.
    ///
    /// # Blocking
    ///
    /// For as long as the receivers are busy, `limit` at most.
    fn wait_for_credit(&mut self, limit: Duration) -> Credit;

    /// Hands over an event. The caller has credit.
    fn send(&mut self, event: MatchedEvent);

    /// Hands over what nobody is told, but the watch's state keeps. The caller has credit. Defaults to nothing, for outlets
    /// without state.
    fn keep(&mut self, kept: Kept) {
        drop(kept);
    }

    /// Whether every event has a receiver, so that each that came was remembered. Defaults to yes.
    fn takes_all(&self) -> bool {
        true
    }

    /// Whether events may come [unhashed](MatchedEvent::is_unhashed): the outlet does not ask for the hash of each. Defaults to no.
    fn may_hash_later(&self) -> bool {
        false
    }

    /// Says that the unhashed event that was sent last is the newest for now: hashes it, and lets those before it count with it.
    /// Until then none of them may be gone on from. Comes before anything else that is handed over, and before any wait. Gives
    /// its anchor; defaults to `None`, for outlets that take no such events.
    fn seal(&mut self) -> Option<Anchor> {
        None
    }

    /// Hands over once more the event that an earlier run has numbered so, to those receivers alone that have not accepted it. The
    /// caller has credit. Defaults to nothing, for outlets without state.
    fn send_again(&mut self, event: MatchedEvent, sequence: u64) {
        drop((event, sequence));
    }

    /// Says that every object of a list was handed over: whatever of earlier runs was not handed over again is out of date. Defaults
    /// to nothing, for outlets without state.
    fn supersede(&mut self) {}

    /// Hands over a point in the stream that carries no object.
    fn mark(&mut self, mark: Mark);

    /// Says that nothing more comes for now: what was gathered, to be dealt with together, waits no longer. Defaults to
    /// nothing, for outlets that gather nothing.
    fn flush(&mut self) {}
}

/// Whether an event may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// One may.
    Granted,
    /// As many as allowed are still in flight.
    Exhausted,
    /// The receivers have ended; nothing more will be accepted.
    Closed,
}

/// What nobody is told, but the state of a watch keeps.
#[derive(Clone, Debug)]
pub enum Kept {
    /// An object that was there at the very first start, where such are not told.
    Known(Identity),
    /// An event that an earlier run has told, and its place in the server's history.
    Replayed(ToldId, Anchor),
}

/// A point in a watch's stream of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A list begins: until its end the version to resume from does not advance.
    Listing,
    /// The server's history is another one from here on, and has this number; all is listed and compared.
    OtherHistory(u32),
    /// Every object of a list has been told; the watch goes on from this version. With the newest of them, where one is known.
    Listed(ResourceVersion, Option<Anchor>),
    /// The first list has ended at this version, but nothing goes on from there yet, as after [`Listing`](Self::Listing): what appears
    /// from here on was not there before, also to a later run.
    FirstListed(ResourceVersion),
    /// Everything up to this version has been told.
    Bookmark(ResourceVersion),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::chain;
    use k8s_openapi::api::core::v1::Pod;

    fn event(gvr: &str, json: &str) -> MatchedEvent {
        let watch = Arc::new(Watch::new(WatchTarget::all(gvr.parse().unwrap()), "test", None));
        MatchedEvent::new(EventType::Updated, watch, ObjectRef::scan(json.as_bytes()).unwrap().to_object())
    }

    const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0","namespace":"shop","uid":"u","resourceVersion":"7","labels":{"app":"web"},"annotations":{"a":"b"}},"spec":{"containers":[{"name":"c"}]}}"#;

    #[test]
    fn what_an_event_says_of_its_object_is_what_the_server_sent() {
        let event = event("v1/pods", POD);
        assert_eq!((event.gvr(), event.group_version_resource().resource()), ("v1/pods", "pods"));
        assert_eq!((&*event.key(), &*event.namespace(), &*event.name(), &*event.uid()), ("shop/web-0", "shop", "web-0", "u"));
        assert_eq!(event.resource_version().as_str(), "7");
        assert_eq!((event.labels().get("app").as_deref(), event.annotations().get("a").as_deref()), (Some("web"), Some("b")));
        assert_eq!((event.raw(), event.target()), (POD.as_bytes(), &WatchTarget::all("v1/pods".parse().unwrap())));
        assert_eq!(event.id(), format!("{}/u/7/UPDATED", event.watch.id));
        let restored = MatchedEvent { history: 2, ..event.clone() };
        assert_eq!(restored.id(), format!("{}/u/7/UPDATED/2", event.watch.id));
        assert_eq!(event.value().unwrap()["spec"]["containers"][0]["name"], "c");
        assert_eq!(event.object::<Pod>().unwrap().spec.unwrap().containers[0].name, "c");
    }

    #[test]
    fn a_cluster_scoped_object_is_known_by_its_name_alone() {
        assert_eq!(event("v1/nodes", r#"{"metadata":{"name":"n1","resourceVersion":"7"}}"#).key(), "n1");
    }

    #[test]
    fn an_object_that_does_not_fit_is_named_with_the_place() {
        #[derive(Debug, serde::Deserialize)]
        struct Wrong {
            #[expect(dead_code, reason = "only the failure to read it counts")]
            spec: u32,
        }
        let type_name = type_name::<Wrong>();
        let mut event = event("v1/pods", POD);
        let error = chain(&event.object::<Wrong>().unwrap_err());
        let place = POD.find(r#"{"containers"#).unwrap();
        assert_eq!(
            error,
            format!("cannot read v1/pods shop/web-0 as {type_name}: invalid type: map, expected u32 at line 1 column {place}")
        );
        event.metadata_only = true;
        let error = event.object::<Wrong>().unwrap_err().to_string();
        assert_eq!(error, format!("cannot read v1/pods shop/web-0 as {type_name}, of which only metadata came"));
    }
}
