//! The events that an earlier run has told although their versions come after the one it had stored: a server sends them
//! again, and they are passed over once.

use crate::api::{ObjectRef, ToldId, WatchKind};
use std::collections::HashSet;

/// What is still to come again.
#[derive(Debug, Default)]
pub(super) struct Replay {
    told: HashSet<ToldId>,
    /// Reused for looking up.
    id: String,
}

impl Replay {
    pub(super) fn new(told: impl IntoIterator<Item = ToldId>) -> Self {
        Self { told: told.into_iter().collect(), id: String::new() }
    }

    /// Whether this event was told already.
    pub(super) fn holds(&mut self, kind: WatchKind, object: &ObjectRef<'_>) -> bool {
        if self.told.is_empty() {
            return false;
        }
        let deleted = match kind {
            WatchKind::Deleted => true,
            WatchKind::Added | WatchKind::Modified => false,
        };
        ToldId::write(&mut self.id, object.uid_json(), object.resource_version().as_str(), deleted);
        self.told.contains(self.id.as_str())
    }

    /// Takes the event that [`holds`](Self::holds) has just found: it comes no third time.
    pub(super) fn take(&mut self) -> ToldId {
        let id = self.told.take(self.id.as_str()).expect("it was just found");
        if self.told.is_empty() {
            self.told = HashSet::new();
        }
        id
    }

    /// Everything is listed and compared: nothing is replayed any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
