//! What a watch told, and what a receiver makes of it.

use faro::api::{Anchor, HISTORY_FIRST, Identity, ObjectRef, ResourceVersion};
use faro::event::{Credit, EventType, Kept, Mark, MatchedEvent, Outlet};
use faro::informer::Resume;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Each object's uid and version, by namespace and name.
pub(super) type Objects = BTreeMap<String, (String, String)>;

/// Everything that one watch told, and how far it came.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// In order.
    entries: Vec<Entry>,
    /// An object was taken for an initial one after the first list had ended.
    thrown_away: Option<String>,
    place: Place,
}

/// One thing that a watch told or kept to itself.
#[derive(Clone)]
enum Entry {
    Event(MatchedEvent),
    /// An object that was there before, which nobody is told: its key, uid and version.
    Known(String, (String, String)),
}

/// Where the next informer goes on, as a state keeps it of which every event was accepted at once.
struct Place {
    known: BTreeMap<Box<str>, Identity>,
    version: Option<ResourceVersion>,
    anchor: Option<Anchor>,
    history: u32,
    /// A list is under way.
    listing: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self { known: BTreeMap::new(), version: None, anchor: None, history: HISTORY_FIRST, listing: false }
    }
}

impl Place {
    fn event(&mut self, event: &MatchedEvent) {
        let metadata = event.metadata();
        match event.event_type {
            EventType::Added | EventType::Updated => self.known.insert(Identity::key_of(&metadata), Identity::of(&metadata)),
            EventType::Deleted => self.known.remove(&Identity::key_of(&metadata)),
        };
        self.reach(event.anchor());
    }

    fn reach(&mut self, anchor: Option<&Anchor>) {
        if let (Some(anchor), false) = (anchor, self.listing) {
            self.version = Some(anchor.version().clone());
            self.anchor = Some(anchor.clone());
        }
    }

    fn kept(&mut self, kept: Kept) {
        match kept {
            Kept::Known(identity) => {
                self.known.insert(identity.key().into(), identity);
            }
            Kept::Replayed(_, anchor) => (self.version, self.anchor) = (Some(anchor.version().clone()), Some(anchor)),
        }
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Listing => self.listing = true,
            Mark::OtherHistory(history) => (self.listing, self.history) = (true, history),
            Mark::Listed(version, anchor) => {
                (self.version, self.anchor, self.listing) = (Some(version), anchor, false);
            }
            Mark::FirstListed(version) => (self.version, self.listing) = (Some(version), true),
            Mark::Bookmark(version) if !self.listing => self.version = Some(version),
            Mark::Bookmark(_) => {}
        }
    }

    fn resume(&self) -> Resume {
        let (listed_before, known) = (self.version.is_some(), self.known.values().cloned().collect());
        let (version, anchor) = if self.listing { (None, None) } else { (self.version.clone(), self.anchor.clone()) };
        Resume { known, version, anchor, history: self.history, listed_before, ..Resume::default() }
    }
}

/// Where a watch tells. Now and then it has no room.
pub(super) struct Receiver {
    told: Told,
    random: fastrand::Rng,
    /// Events that nobody goes on from before the last of them is hashed.
    unsealed: Vec<MatchedEvent>,
    may_hash_later: bool,
}

impl Told {
    pub(super) fn receiver(&self, seed: u64) -> Receiver {
        let mut random = fastrand::Rng::with_seed(seed);
        Receiver { told: self.clone(), may_hash_later: random.bool(), random, unsealed: Vec::new() }
    }

    pub(super) fn events(&self) -> Vec<MatchedEvent> {
        let entries = self.entries().into_iter().filter_map(|entry| match entry {
            Entry::Event(event) => Some(event),
            Entry::Known(..) => None,
        });
        entries.collect()
    }

    fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().entries.clone()
    }

    /// Whether a list has ended.
    pub(super) fn has_listed(&self) -> bool {
        self.0.lock().unwrap().place.version.is_some()
    }

    /// Where the next informer goes on.
    pub(super) fn resume(&self) -> Resume {
        self.0.lock().unwrap().place.resume()
    }

    /// The objects that a receiver knows now.
    pub(super) fn objects(&self) -> Objects {
        let mut known = Objects::new();
        for entry in self.entries() {
            let event = match entry {
                Entry::Event(event) => event,
                Entry::Known(key, state) => {
                    known.insert(key, state);
                    continue;
                }
            };
            let metadata = event.metadata();
            match event.event_type {
                EventType::Added | EventType::Updated => known.insert(key(&metadata), state(&metadata)),
                EventType::Deleted => known.remove(&key(&metadata)),
            };
        }
        known
    }

    /// Fails on the first event that no receiver could make sense of. Versions grow but where the server `went_back`: another
    /// history may even have written the same object at the same number. Where it `skips` what was there before, nothing was told
    /// of that when it changes.
    pub(super) fn check_order(&self, went_back: bool, skips: bool, whose: &str) {
        assert_eq!(self.0.lock().unwrap().thrown_away, None, "{whose}: an object that was made meanwhile is not told");
        let (mut known, mut newest, mut histories) = (Objects::new(), HashMap::<String, u64>::new(), HashMap::new());
        for entry in self.entries() {
            let event = match entry {
                Entry::Event(event) => event,
                Entry::Known(key, state) => {
                    assert!(skips, "{whose}: {key} is not told");
                    known.insert(key, state);
                    continue;
                }
            };
            let metadata = event.metadata();
            let (key, (uid, version)) = (key(&metadata), state(&metadata));
            assert!(!(skips && event.initial), "{whose}: {} was there before\n{}", words(&event), self.history(&key));
            let before = known.get(&key);
            let told_in = histories.insert(uid.clone(), event.history).unwrap_or(HISTORY_FIRST);
            let is_rewritten = went_back && event.inferred && event.history > told_in;
            let makes_sense = match event.event_type {
                EventType::Added => before.is_none(),
                EventType::Updated => before.map_or(skips, |before| before.0 == uid && (before.1 != version || is_rewritten)),
                EventType::Deleted => before.map_or(skips, |before| before.0 == uid),
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

    /// All that was told of one object, or is known of it untold, a line each.
    pub(super) fn history(&self, wanted: &str) -> String {
        let lines = self.entries().into_iter().filter_map(|entry| match entry {
            Entry::Event(event) => (key(&event.metadata()) == wanted).then(|| format!("  {}\n", words(&event))),
            Entry::Known(key, (uid, version)) => (key == wanted).then(|| format!("  known untold {key}@{version} {uid}\n")),
        });
        lines.collect()
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
    let flag = match (event.initial, event.inferred) {
        (true, true) => "(initial, inferred)",
        (true, false) => "(initial)",
        (false, true) => "(inferred)",
        (false, false) => "",
    };
    let metadata = event.metadata();
    format!("{}{flag} {}@{} {}", event.event_type, key(&metadata), metadata.resource_version(), metadata.uid())
}

impl Outlet for Receiver {
    fn wait_for_credit(&mut self, _: Duration) -> Credit {
        if self.random.u8(0..NO_ROOM_ONE_IN) == 0 { Credit::Exhausted } else { Credit::Granted }
    }

    fn send(&mut self, event: MatchedEvent) {
        let mut book = self.told.0.lock().unwrap();
        if event.is_unhashed() {
            self.unsealed.push(event.clone());
        } else {
            assert!(self.unsealed.is_empty(), "{} comes before the newest event was hashed", words(&event));
            book.place.event(&event);
        }
        book.entries.push(Entry::Event(event));
    }

    fn may_hash_later(&self) -> bool {
        self.may_hash_later
    }

    fn seal(&mut self) -> Option<Anchor> {
        let newest = self.unsealed.last()?.to_anchor();
        let mut book = self.told.0.lock().unwrap();
        self.unsealed.drain(..).for_each(|event| book.place.event(&event));
        book.place.reach(newest.as_ref());
        newest
    }

    fn flush(&mut self) {
        assert!(self.unsealed.is_empty(), "nothing is waited for before the newest event was hashed");
    }

    fn keep(&mut self, kept: Kept) {
        let mut book = self.told.0.lock().unwrap();
        if let Kept::Known(identity) = &kept {
            let object = identity.to_object();
            let (key, state) = (key(&object.as_ref()), state(&object.as_ref()));
            if book.place.version.is_some() {
                book.thrown_away = Some(key.clone());
            }
            book.entries.push(Entry::Known(key, state));
        }
        book.place.kept(kept);
    }

    fn mark(&mut self, mark: Mark) {
        assert!(self.unsealed.is_empty(), "{mark:?} comes before the newest event was hashed");
        self.told.0.lock().unwrap().place.mark(mark);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.seal();
    }
}

const NO_ROOM_ONE_IN: u8 = 60;
