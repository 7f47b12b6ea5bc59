//! What leaves an informer: one change of one object, and the outlet it leaves by.
//!
//! An informer makes [`MatchedEvent`]s and hands them to an [`Outlet`], without knowing who is behind it.

use crate::api::{Identity, Object, ObjectRef, ResourceVersion, ToldId, Watch};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One change of one object, as one watch tells it.
#[derive(Clone, Debug)]
pub struct MatchedEvent {
    /// What happened.
    pub event_type: EventType,
    /// The watch that tells it.
    pub watch: Arc<Watch>,
    /// When Faro received the change.
    pub received: SystemTime,
    /// The object was there when the watch first listed.
    pub initial: bool,
    /// Found by comparing a list with the store: states in between may have been missed.
    pub inferred: bool,
    object: Object,
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
    /// An event that was told by the server, now.
    pub fn new(event_type: EventType, watch: Arc<Watch>, object: Object) -> Self {
        Self { event_type, watch, received: SystemTime::now(), initial: false, inferred: false, object }
    }

    /// The object's metadata: name, namespace, uid, version, labels, annotations. For `DELETED` the last state known.
    pub fn metadata(&self) -> ObjectRef<'_> {
        self.object.as_ref()
    }

    /// The object as the server sent it: JSON, of metadata alone where nobody asked for more.
    pub fn raw(&self) -> &[u8] {
        self.object.as_ref().bytes()
    }

    /// The stable id of this event: `watch/uid/resourceVersion/eventType`.
    pub fn id(&self) -> String {
        let metadata = self.metadata();
        format!("{}/{}/{}/{}", self.watch.id, metadata.uid(), metadata.resource_version(), self.event_type)
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
    /// An event that an earlier run has told, with the version it reaches.
    Replayed(ToldId, ResourceVersion),
}

/// A point in a watch's stream of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A list begins: until its end the version to resume from does not advance.
    Listing,
    /// Every object of a list has been told; the watch goes on from this version.
    Listed(ResourceVersion),
    /// Everything up to this version has been told.
    Bookmark(ResourceVersion),
}
