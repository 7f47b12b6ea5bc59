//! Every change that was made and every one that was told: what is left over was lost, or made by somebody else.
//!
//! A change is known by the object's uid and the version that it led to; a delete by the uid alone, since only the server knows
//! its version. Bounded: what was made and told leaves the book.

use faro::event::{EventType, MatchedEvent};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kept by the life, which makes changes, and by Faro's handler, which is told them. They come in either order.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    /// What was made more often than told (positive), or told without having been made.
    open: HashMap<String, i64>,
    made: [u64; 3],
    told: [u64; 3],
}

/// The book, summed up. Counts are by event type, in the order of [`EventType::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// What the life changed.
    pub(crate) made: [u64; 3],
    /// What Faro told.
    pub(crate) told: [u64; 3],
    /// What was made and not told.
    pub(crate) lost: u64,
    /// What was told and not made here: by whoever joined with kubectl.
    pub(crate) foreign: u64,
}

impl Book {
    /// Notes a change that was made. `version` is what it led to; of a delete it does not count.
    pub(crate) fn made(&self, event_type: EventType, uid: &str, version: &str) {
        let mut pages = self.lock();
        pages.made[event_type as usize] += 1;
        pages.count(key(event_type, uid, version), 1);
    }

    /// Strikes off what Faro told.
    pub(crate) fn told(&self, event: &MatchedEvent) {
        let object = event.metadata();
        let key = key(event.event_type, &object.uid(), object.resource_version().as_str());
        let mut pages = self.lock();
        pages.told[event.event_type as usize] += 1;
        pages.count(key, -1);
    }

    /// Whether everything that was made was told.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().open.values().all(|&count| count < 0)
    }

    pub(crate) fn tally(&self) -> Tally {
        let pages = self.lock();
        let sum =
            |sign: i64| pages.open.values().map(|count| count * sign).filter(|&count| count > 0).sum::<i64>().unsigned_abs();
        Tally { made: pages.made, told: pages.told, lost: sum(1), foreign: sum(-1) }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn count(&mut self, key: String, by: i64) {
        match self.open.entry(key) {
            Entry::Occupied(known) if *known.get() == -by => drop(known.remove()),
            Entry::Occupied(mut known) => *known.get_mut() += by,
            Entry::Vacant(new) => drop(new.insert(by)),
        }
    }
}

fn key(event_type: EventType, uid: &str, version: &str) -> String {
    match event_type {
        EventType::Added | EventType::Updated => format!("{uid}/{version}"),
        EventType::Deleted => format!("{uid}/deleted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faro::api::{ObjectRef, Watch, WatchTarget};
    use std::sync::Arc;

    fn event(event_type: EventType, uid: &str, version: &str) -> MatchedEvent {
        let object = format!(r#"{{"metadata":{{"name":"a","uid":"{uid}","resourceVersion":"{version}"}}}}"#);
        let object = ObjectRef::scan(object.as_bytes()).unwrap().to_object();
        let watch = Watch::new(WatchTarget::all("v1/pods".parse().unwrap()), "cluster", None);
        MatchedEvent::new(event_type, Arc::new(watch), object)
    }

    #[test]
    fn what_was_made_and_told_in_either_order_is_settled() {
        let book = Book::default();
        book.made(EventType::Added, "a", "1");
        book.told(&event(EventType::Added, "a", "1"));
        book.told(&event(EventType::Updated, "a", "2"));
        book.made(EventType::Updated, "a", "2");
        book.made(EventType::Deleted, "a", "");
        assert!(!book.is_settled());
        book.told(&event(EventType::Deleted, "a", "3"));
        assert!(book.is_settled());
        assert_eq!(book.tally(), Tally { made: [1, 1, 1], told: [1, 1, 1], lost: 0, foreign: 0 });
    }

    #[test]
    fn what_was_not_told_is_lost_even_when_others_make_as_many() {
        let book = Book::default();
        book.made(EventType::Added, "a", "1");
        book.made(EventType::Deleted, "a", "");
        book.told(&event(EventType::Added, "b", "2"));
        book.told(&event(EventType::Deleted, "b", "3"));
        assert!(!book.is_settled());
        assert_eq!(book.tally(), Tally { made: [1, 0, 1], told: [1, 0, 1], lost: 2, foreign: 2 });
    }
}
