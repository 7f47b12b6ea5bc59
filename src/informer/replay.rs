//! The events that an earlier run has handed out although their versions come after the one it had stored: a server sends them
//! again, and they are passed over once, or handed to those receivers that have not accepted them.
//!
//! All of them must come again before anything newer: a server on which one is missing has another history.

use crate::api::{Anchor, ObjectRef, ResourceVersion, ToldId, WatchKind};
use crate::event::{Emission, EventType};
use std::collections::{HashMap, HashSet};

/// What is still to come again.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// With what some receivers have not accepted; `None` where all have.
    told: HashMap<ToldId, Option<Emission>>,
    /// How many of them are deletes that some receivers lack.
    deletes: usize,
    /// How many of them must come before anything newer.
    awaited: usize,
    /// The version that was stored, and the newest of what is awaited, where they are numbers.
    range: (Option<u64>, Option<u64>),
    /// The hashes of the metadata of objects as they were handed out, where they are known: another history may have another event of
    /// the same uid, version and type.
    hashes: HashMap<ToldId, u64>,
    /// The newest event, which did not come again.
    suspect: Option<Anchor>,
    /// Reused for looking up.
    id: String,
}

impl Replay {
    /// `stored` is the version after which a watch goes on.
    pub(super) fn new(
        told: impl IntoIterator<Item = ToldId>,
        lacking: impl IntoIterator<Item = Emission>,
        stored: Option<&ResourceVersion>,
    ) -> Self {
        let told = told.into_iter().map(|id| (id, None));
        let lacking = lacking.into_iter().map(|emission| (emission.told(), Some(emission)));
        let told: HashMap<_, _> = told.chain(lacking).collect();
        let deletes = told.values().filter(|lacking| is_delete(lacking)).count();
        let mut replay = Self { told, deletes, ..Self::default() };
        replay.range.0 = stored.and_then(ResourceVersion::number);
        replay.awaited = replay.told.keys().filter(|id| replay.is_awaited(id)).count();
        replay.range.1 = replay.told.keys().filter_map(number).max();
        replay
    }

    /// By what the events of an earlier run are known more closely.
    pub(super) fn with_hashes(self, hashes: impl IntoIterator<Item = (ToldId, u64)>) -> Self {
        Self { hashes: hashes.into_iter().collect(), ..self }
    }

    /// The newest event did not come again: in the list that follows its object may be another one of the same version.
    pub(super) fn suspect(&mut self, newest: &Anchor) {
        self.suspect = Some(newest.clone());
    }

    /// Whether an object is not what was handed out of the same uid, version and type.
    /// `is_metadata`: it came as metadata alone.
    pub(super) fn differs(&mut self, kind: WatchKind, object: &ObjectRef<'_>, is_metadata: bool) -> bool {
        if self.suspect.is_none() && self.hashes.is_empty() {
            return false;
        }
        let version = object.resource_version();
        let is_other = |hash: u64| Anchor::is_other(object, is_metadata, hash);
        if self.suspect.as_ref().is_some_and(|newest| *newest.version() == version && is_other(newest.metadata_hash())) {
            return true;
        }
        if self.hashes.is_empty() {
            return false;
        }
        self.write_id(kind, object);
        self.hashes.get(self.id.as_str()).is_some_and(|hash| is_other(*hash))
    }

    /// An object that [differs](Self::differs) was emitted as it is.
    pub(super) fn emitted_anew(&mut self, object: &ObjectRef<'_>) {
        if !self.hashes.is_empty() {
            self.write_id(WatchKind::Modified, object);
            self.hashes.remove(self.id.as_str());
        }
        self.suspect = self.suspect.take().filter(|newest| *newest.version() != object.resource_version());
    }

    /// Whether a server must send this event again: it comes after the version that was stored.
    fn is_awaited(&self, id: &ToldId) -> bool {
        number(id).zip(self.range.0).is_none_or(|(number, stored)| number > stored)
    }

    /// Whether something must come again before anything newer.
    pub(super) fn is_due(&self) -> bool {
        self.awaited > 0
    }

    /// Whether all that is due would have come before anything of this version.
    pub(super) fn is_due_before(&self, version: &ResourceVersion) -> bool {
        self.is_due() && version.number().zip(self.range.1).is_some_and(|(number, newest)| number > newest)
    }

    /// Whether nothing comes again.
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Whether this event was handed out already.
    pub(super) fn holds(&mut self, kind: WatchKind, object: &ObjectRef<'_>) -> bool {
        if self.told.is_empty() {
            return false;
        }
        self.write_id(kind, object);
        self.told.contains_key(self.id.as_str())
    }

    fn write_id(&mut self, kind: WatchKind, object: &ObjectRef<'_>) {
        let deleted = match kind {
            WatchKind::Deleted => true,
            WatchKind::Added | WatchKind::Modified => false,
        };
        ToldId::write(&mut self.id, object.uid_json(), object.resource_version().as_str(), deleted);
    }

    /// Takes the event that [`holds`](Self::holds) has just found: it comes no third time. With what some receivers lack of it.
    pub(super) fn take(&mut self) -> (ToldId, Option<Emission>) {
        let taken = self.told.remove_entry(self.id.as_str()).expect("it was just found");
        self.deletes -= usize::from(is_delete(&taken.1));
        // None is counted since a list has begun.
        self.awaited = self.awaited.saturating_sub(usize::from(self.is_awaited(&taken.0)));
        if self.told.is_empty() {
            (self.told, self.hashes) = (HashMap::new(), HashMap::new());
        }
        taken
    }

    /// The uids of all objects of which an event is still to come again.
    pub(super) fn uids(&self) -> HashSet<Box<str>> {
        self.told.keys().map(|id| id.uid_json().into()).collect()
    }

    /// A list begins: what all have accepted is not replayed any more, and nothing must come.
    pub(super) fn begin_list(&mut self) {
        self.awaited = 0;
        self.told.retain(|_, lacking| lacking.is_some());
    }

    /// Takes a delete that some receivers lack: no list names it.
    pub(super) fn take_delete(&mut self) -> Option<Emission> {
        let deletes = self.told.iter().filter(|(_, lacking)| is_delete(lacking));
        let oldest = deletes.min_by_key(|(_, lacking)| lacking.as_ref().map(|one| one.sequence))?.0.clone();
        self.deletes -= 1;
        self.told.remove(&oldest).flatten()
    }

    /// Whether there is a delete that some receivers lack.
    pub(super) fn has_delete(&self) -> bool {
        self.deletes > 0
    }

    /// Everything was listed and compared: nothing is replayed any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn number(id: &ToldId) -> Option<u64> {
    ResourceVersion::new(id.version())?.number()
}

fn is_delete(lacking: &Option<Emission>) -> bool {
    lacking.as_ref().is_some_and(|emission| emission.event_type == EventType::Deleted)
}
