//! What comes again, and what was there before: against what was told.

use super::{Phase, Standing, Teller};
use crate::api::{Anchor, DecodeError, ObjectRef, ResourceVersion, TextKey, WatchKind, WatchLine};
use std::collections::HashSet;

/// A page of the past, and what is known of that.
#[derive(Clone, Copy)]
pub(in crate::informer) struct Past<'a> {
    /// The newest event up to there.
    pub(in crate::informer) newest: Option<&'a Anchor>,
    /// Its objects came as metadata alone.
    pub(in crate::informer) is_metadata: bool,
    /// What the uids of the objects are known by about which it says nothing.
    pub(in crate::informer) beyond: &'a HashSet<u64>,
}

impl Teller {
    /// The newest event came again, and then comes all that came after it.
    pub(in crate::informer) fn replayed(&mut self) {
        self.told_up_to = self.reached.as_ref().and_then(ResourceVersion::number);
    }

    /// This line came in the place of the newest event: in the list that follows its object may be another one of the same version.
    pub(in crate::informer) fn not_replayed(&mut self, newest: &Anchor, line: &[u8]) {
        // The metadata in a whole object is in another order than by itself.
        if !matches!(WatchLine::parse(line), Ok(WatchLine::Object { object, .. }) if self.is_unasked_whole(&object)) {
            self.replay.suspect(newest);
        }
    }

    /// How an object stands to what was told of it. One of the same version may be of another history.
    pub(super) fn standing(&mut self, kind: WatchKind, key: TextKey, object: &ObjectRef<'_>) -> Standing {
        let standing = self.store.see(key, object);
        // Not where whole objects come as well: their metadata is in another order.
        let may_differ = standing == Standing::Same && kind != WatchKind::Deleted && !self.is_whole_said;
        if may_differ && self.replay.differs(kind, object, self.is_metadata()) {
            return Standing::Changed;
        }
        standing
    }

    /// Whether something comes after a replay from before what was reached. Either the history has parted from the one that was
    /// told between its newest event and there; or a list has told what became of objects, and their events come now.
    pub(super) fn is_doubtful(&mut self, version: &ResourceVersion) -> bool {
        let Some(told) = self.told_up_to else { return false };
        let Some(number) = version.number() else { return false };
        if number > told {
            self.told_up_to = None;
        }
        number <= told
    }

    /// Whether events that an earlier run has handed out must come again on this watch, before anything newer.
    pub(in crate::informer) fn is_replay_due(&self) -> bool {
        self.replay.is_due()
    }

    /// Whether something of this version proves that what must come again does not.
    pub(super) fn is_live_and_due_before(&self, version: &ResourceVersion) -> bool {
        self.phase == Phase::Live && self.replay.is_due_before(version)
    }

    /// Whether an event comes in the place of those that must come again: after them, or between them as one that the earlier
    /// run would have handed out, too.
    pub(super) fn replaces_due(&mut self, kind: WatchKind, object: &ObjectRef<'_>) -> bool {
        if !self.replay.is_due() || self.replay.holds(kind, object) {
            return false;
        }
        if self.replay.is_due_before(&object.resource_version()) {
            return true;
        }
        let key = self.store.key_of(object);
        // Of one that nobody wanted nothing was remembered; and what a list has brought already is no change.
        self.out.takes_all()
            && self.out.watch.covers(&object.namespace())
            && match (kind, self.store.see(key, object)) {
                (WatchKind::Added | WatchKind::Modified, Standing::Same) | (WatchKind::Deleted, Standing::Unknown) => false,
                (WatchKind::Added | WatchKind::Modified, Standing::Unknown | Standing::OtherUid | Standing::Changed)
                | (WatchKind::Deleted, Standing::OtherUid | Standing::Same | Standing::Changed) => true,
            }
    }

    /// Whether a version lies before the one that was reached. No server that agrees with itself sends such a bookmark.
    pub(super) fn is_past(&self, version: &ResourceVersion) -> bool {
        let reached = self.reached.as_ref().filter(|_| self.phase == Phase::Live).and_then(ResourceVersion::number);
        version.number().zip(reached).is_some_and(|(version, reached)| version < reached)
    }

    /// Begins a comparison of the past with what was told. Gives what the uids are known by of the objects about which that past says nothing, as
    /// something was told of them beyond it.
    pub(in crate::informer) fn begin_comparison(&mut self) -> HashSet<u64> {
        self.store.begin_list();
        self.replay.uids().iter().map(|uid| self.store.uid_of(uid)).collect()
    }

    /// How an object of the past differs from what was told. One of which only the name can be read says nothing.
    pub(in crate::informer) fn difference(
        &mut self,
        object: &Result<ObjectRef<'_>, DecodeError>,
        past: Past<'_>,
    ) -> Option<String> {
        let object = match object {
            Ok(object) => object,
            Err(error) => match error.object_key() {
                Some(key) => {
                    self.store.spare(key);
                    return None;
                }
                None => return Some(format!("an object that cannot be read: {error}")),
            },
        };
        let version = object.resource_version();
        let key = self.store.key_of(object);
        let is_same = self.store.see(key, object) == Standing::Same;
        if past.beyond.contains(&self.store.uid_of(object.uid_json())) {
            return None;
        }
        if !is_same {
            return Some(format!("{} at version {version}, which was not told", object.name()));
        }
        // Two histories may have written the same object at the same number.
        let newest = past.newest.filter(|newest| *newest.version() == version)?;
        if !Anchor::is_other(object, past.is_metadata, newest.metadata_hash()) {
            return None;
        }
        self.replay.suspect(newest);
        Some(format!("{} at version {version} with other metadata than was told", object.name()))
    }

    /// How many objects were told and were not in the past.
    pub(in crate::informer) fn missing_from_comparison(&self, beyond: &HashSet<u64>) -> usize {
        self.store.missing_uids().filter(|uid| !beyond.contains(uid)).count()
    }
}
