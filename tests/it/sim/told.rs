//! What a watch told, and what a receiver makes of it.

use faro::api::ObjectRef;
use faro::event::{Credit, EventType, Mark, MatchedEvent, Outlet};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Each object's uid and version, by namespace and name.
pub(super) type Objects = BTreeMap<String, (String, String)>;

/// Everything that one watch told, in order.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<MatchedEvent>>>);

/// Where a watch tells. Now and then it has no room.
pub(super) struct Receiver {
    told: Told,
    random: fastrand::Rng,
}

impl Told {
    pub(super) fn receiver(&self, seed: u64) -> Receiver {
        Receiver { told: self.clone(), random: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn events(&self) -> Vec<MatchedEvent> {
        self.0.lock().unwrap().clone()
    }

    /// The objects that a receiver knows now.
    pub(super) fn objects(&self) -> Objects {
        let mut known = Objects::new();
        for event in self.0.lock().unwrap().iter() {
            let metadata = event.metadata();
            match event.event_type {
                EventType::Added | EventType::Updated => known.insert(key(&metadata), state(&metadata)),
                EventType::Deleted => known.remove(&key(&metadata)),
            };
        }
        known
    }

    /// Fails on the first event that no receiver could make sense of. Versions grow but where the server `went_back`.
    pub(super) fn check_order(&self, went_back: bool, whose: &str) {
        let (mut known, mut newest) = (Objects::new(), HashMap::<String, u64>::new());
        for event in self.events() {
            let metadata = event.metadata();
            let (key, (uid, version)) = (key(&metadata), state(&metadata));
            let before = known.get(&key);
            let makes_sense = match event.event_type {
                EventType::Added => before.is_none(),
                EventType::Updated => before.is_some_and(|before| before.0 == uid && before.1 != version),
                EventType::Deleted => before.is_some_and(|before| before.0 == uid),
            };
            assert!(makes_sense, "{whose}: {} after {before:?}\n{}", words(&event), self.history(&key));
            match event.event_type {
                EventType::Added | EventType::Updated => known.insert(key.clone(), (uid.clone(), version.clone())),
                EventType::Deleted => known.remove(&key),
            };
            let version: u64 = version.parse().unwrap();
            let newest = newest.entry(uid).or_default();
            let repeats = event.event_type == EventType::Deleted && event.inferred && version == *newest;
            assert!(
                went_back || version > *newest || repeats,
                "{whose}: {} after version {newest}\n{}",
                words(&event),
                self.history(&key)
            );
            *newest = version;
        }
    }

    /// All that was told of one object, a line each.
    pub(super) fn history(&self, wanted: &str) -> String {
        let events = self.events().into_iter().filter(|event| key(&event.metadata()) == wanted);
        events.map(|event| format!("  {}\n", words(&event))).collect()
    }
}

pub(super) fn key(object: &ObjectRef<'_>) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

pub(super) fn state(object: &ObjectRef<'_>) -> (String, String) {
    (object.uid().into_owned(), object.resource_version().to_string())
}

/// `DELETED(inferred) demo/a@7`.
pub(super) fn words(event: &MatchedEvent) -> String {
    let flag = if event.inferred { "(inferred)" } else { "" };
    let metadata = event.metadata();
    format!("{}{flag} {}@{} {}", event.event_type, key(&metadata), metadata.resource_version(), metadata.uid())
}

impl Outlet for Receiver {
    fn wait_for_credit(&mut self, _: Duration) -> Credit {
        if self.random.u8(0..NO_ROOM_ONE_IN) == 0 { Credit::Exhausted } else { Credit::Granted }
    }

    fn send(&mut self, event: MatchedEvent) {
        self.told.0.lock().unwrap().push(event);
    }

    fn mark(&mut self, _: Mark) {}
}

const NO_ROOM_ONE_IN: u8 = 60;
