//! Every watch id that a run or its state uses, and of which target it is.
//!
//! Takes watches before they are started, and what the state has stored; gives an error for two targets that have one id. Sharing one,
//! each would take the other's objects for its own, and emit deletes of objects that live. Promises that an id stays with its target
//! for as long as the run lasts, since what is stored of a watch stays after it was removed.

use crate::api::{Watch, WatchId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

/// Whose each id is.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<HashMap<WatchId, String>>);

/// Two targets have one id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot watch {target}: its id {id} is that of {other}, and each would take the other's objects for its own; write a selector of \
     one of them otherwise, as with one more term, so that it gets another id"
)]
#[non_exhaustive]
pub struct SharedId {
    /// The id that both have.
    pub id: WatchId,
    /// What was to be watched.
    pub target: String,
    /// What has the id already: it is watched, or was and is still in the state.
    pub other: String,
}

impl Ids {
    /// Notes what the state has stored: ids, and targets as text; an empty text says nothing.
    pub(super) fn stored<'a>(&self, watches: impl Iterator<Item = (WatchId, &'a str)>) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.extend(watches.filter(|(_, target)| !target.is_empty()).map(|(id, target)| (id, target.to_owned())));
    }

    /// Takes the ids of `watches`.
    ///
    /// # Errors
    ///
    /// When one of them is another target's.
    pub(super) fn take<'a>(&self, watches: impl Iterator<Item = &'a Watch>) -> Result<(), SharedId> {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in watches {
            let target = watch.target.to_string();
            match ids.entry(watch.id) {
                Entry::Vacant(vacant) => _ = vacant.insert(target),
                Entry::Occupied(taken) if *taken.get() == target => {}
                Entry::Occupied(taken) => return Err(SharedId { id: watch.id, target, other: taken.get().clone() }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WatchTarget;

    fn watch(gvr: &str, id: u64) -> Watch {
        let target = WatchTarget::all(gvr.parse().unwrap());
        Watch { id: WatchId::from_bits(id), ..Watch::new(target, "cluster", None) }
    }

    #[test]
    fn two_targets_with_one_id_are_an_error_wherever_they_meet_and_one_target_may_come_back() {
        let (pods, nodes, clash) = (watch("v1/pods", 1), watch("v1/nodes", 2), watch("v1/secrets", 1));
        let error = SharedId { id: pods.id, target: "v1/secrets".to_owned(), other: "v1/pods".to_owned() };
        // In one start.
        assert_eq!(Ids::default().take([&pods, &nodes, &clash].into_iter()), Err(error.clone()));
        // One after the other, also when the first was removed meanwhile.
        let ids = Ids::default();
        assert_eq!(ids.take([&pods, &nodes].into_iter()), Ok(()));
        assert_eq!(ids.take([&clash].into_iter()), Err(error.clone()));
        assert_eq!(ids.take([&nodes, &pods].into_iter()), Ok(()));
        // With what an earlier run has stored.
        let ids = Ids::default();
        ids.stored([(pods.id, "v1/pods"), (nodes.id, "")].into_iter());
        assert_eq!(ids.take([&clash].into_iter()), Err(error.clone()));
        assert_eq!(ids.take([&pods, &nodes].into_iter()), Ok(()));
        assert!(error.to_string().starts_with("cannot watch v1/secrets: its id 0000000000000001 is that of v1/pods, and each"));
    }
}
