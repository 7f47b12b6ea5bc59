//! What several tests of the informer need: objects as a server sends them, and an outlet that remembers.

use super::{Context, Histories, Limits, ListGate, Server};
use crate::api::{Anchor, Watch, WatchTarget};
use crate::change::{DigestKey, Redaction};
use crate::event::{Credit, EventType, Kept, Mark, MatchedEvent, Outlet};
use crate::health::Health;
use crate::lifecycle::Stop;
use crate::metrics::Metrics;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What left an informer, in order.
#[derive(Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    told: Vec<Told>,
    kept: Vec<String>,
    /// How many more events are taken; `None` for any number.
    credit: Option<usize>,
    closed: bool,
    /// How often credit is still refused before there is some without end.
    refusals: usize,
    /// Nobody wants some of the events.
    is_choosy: bool,
    /// The newest event, where it came unhashed and nobody has said that it is the newest.
    unsealed: Option<MatchedEvent>,
    /// How many were hashed for being the newest.
    sealed: usize,
}

/// One thing that left.
#[derive(Clone)]
pub(super) enum Told {
    Event(MatchedEvent),
    Mark(Mark),
}

impl Outbox {
    pub(super) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap().told)
    }

    pub(super) fn events(&self) -> Vec<MatchedEvent> {
        let inside = self.0.lock().unwrap();
        let events = inside.told.iter().filter_map(|told| match told {
            Told::Event(event) => Some(event.clone()),
            Told::Mark(_) => None,
        });
        events.collect()
    }

    /// What nobody was told, in words.
    pub(super) fn kept(&self) -> Vec<String> {
        self.0.lock().unwrap().kept.clone()
    }

    /// How many events were hashed for being the newest of those that came together.
    pub(super) fn sealed(&self) -> usize {
        self.0.lock().unwrap().sealed
    }

    /// From now on there are events that nobody wants.
    pub(super) fn be_choosy(&self) {
        self.0.lock().unwrap().is_choosy = true;
    }

    /// From now on so many events are taken.
    pub(super) fn give_credit(&self, credit: Option<usize>) {
        self.refuse_after(credit, usize::MAX);
    }

    /// So many events are taken, then credit is refused so many times, then any number is taken.
    pub(super) fn refuse_after(&self, credit: Option<usize>, refusals: usize) {
        let mut inside = self.0.lock().unwrap();
        (inside.credit, inside.refusals) = (credit, refusals);
    }

    pub(super) fn close(&self) {
        self.0.lock().unwrap().closed = true;
    }
}

impl Outlet for Outbox {
    fn wait_for_credit(&mut self, _: Duration) -> Credit {
        let mut inside = self.0.lock().unwrap();
        if inside.closed {
            return Credit::Closed;
        }
        if inside.credit != Some(0) {
            return Credit::Granted;
        }
        if inside.refusals == 0 {
            inside.credit = None;
            return Credit::Granted;
        }
        inside.refusals -= 1;
        Credit::Exhausted
    }

    fn send(&mut self, event: MatchedEvent) {
        let mut inside = self.0.lock().unwrap();
        assert_ne!(inside.credit, Some(0), "an event was sent without credit");
        inside.credit = inside.credit.map(|credit| credit - 1);
        assert!(event.is_unhashed() || inside.unsealed.is_none(), "what came before was the newest of its kind");
        inside.unsealed = event.is_unhashed().then(|| event.clone());
        inside.told.push(Told::Event(event));
    }

    fn takes_all(&self) -> bool {
        !self.0.lock().unwrap().is_choosy
    }

    fn keep(&mut self, kept: Kept) {
        let words = match kept {
            Kept::Known(identity) => {
                let object = identity.to_object();
                format!("known {}@{}", object.as_ref().name(), object.as_ref().resource_version())
            }
            Kept::Replayed(id, anchor) => format!("replayed {} at {}", id.as_text(), anchor.version()),
        };
        let mut inside = self.0.lock().unwrap();
        assert!(inside.unsealed.is_none(), "the newest event was not hashed before {words}");
        inside.kept.push(words);
    }

    fn mark(&mut self, mark: Mark) {
        let mut inside = self.0.lock().unwrap();
        assert!(inside.unsealed.is_none(), "the newest event was not hashed before {mark:?}");
        inside.told.push(Told::Mark(mark));
    }

    fn flush(&mut self) {
        assert!(self.0.lock().unwrap().unsealed.is_none(), "the newest event was not hashed before a wait");
    }

    fn may_hash_later(&self) -> bool {
        true
    }

    fn seal(&mut self) -> Option<Anchor> {
        let mut inside = self.0.lock().unwrap();
        inside.sealed += 1;
        let newest = inside.unsealed.take().expect("there is an event to be hashed");
        newest.to_anchor()
    }
}

impl Told {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Event(event) => words(event),
            Self::Mark(Mark::Listing) => "mark listing".to_owned(),
            Self::Mark(Mark::OtherHistory(number)) => format!("mark history {number}"),
            Self::Mark(Mark::Listed(version, _)) => format!("mark listed {version}"),
            Self::Mark(Mark::FirstListed(version)) => format!("mark first listed {version}"),
            Self::Mark(Mark::Bookmark(version)) => format!("mark bookmark {version}"),
        }
    }
}

/// `DELETED(inferred) a@7`, with the uid where it is not the usual one.
pub(super) fn words(event: &MatchedEvent) -> String {
    let flag = match (event.initial, event.inferred) {
        (false, false) => "",
        (true, false) => "(initial)",
        (false, true) => "(inferred)",
        (true, true) => "(initial, inferred)",
    };
    let metadata = event.metadata();
    let usual = format!("u-{}", metadata.name());
    let uid = if metadata.uid() == usual { String::new() } else { format!("/{}", metadata.uid()) };
    format!("{}{flag} {}{uid}@{}", event.event_type, metadata.name(), metadata.resource_version())
}

/// The object `name@version` or `name/uid@version`, as in a list, in the namespace `demo` or in that before a colon; `?` cannot be read, and `name?` but for its name.
pub(super) fn object(text: &str) -> String {
    if text == "?" {
        return r#"{"metadata":{"broken":true}}"#.to_owned();
    }
    if let Some(name) = text.strip_suffix('?') {
        return format!(r#"{{"metadata":{{"name":"{name}","namespace":"demo","labels":{{"app":7}}}}}}"#);
    }
    let (namespace, text) = text.split_once(':').unwrap_or(("demo", text));
    let (name, version) = text.split_once('@').expect("name@version");
    let (name, uid) = name.split_once('/').map_or((name, format!("u-{name}")), |(name, uid)| (name, uid.to_owned()));
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}","resourceVersion":"{version}","labels":{{"app":"{name}"}}}},"data":{{"key":"value"}}}}"#
    )
}

/// A line of a watch.
pub(super) fn line(kind: &str, text: &str) -> Vec<u8> {
    format!(r#"{{"type":"{kind}","object":{}}}"#, object(text)).into_bytes()
}

pub(super) fn bookmark(version: &str, initial_events_end: bool) -> Vec<u8> {
    let annotations = if initial_events_end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}"{annotations}}}}}}}"#).into_bytes()
}

pub(super) fn page(kind: &str, objects: &[String], version: &str, next: Option<&str>) -> Vec<u8> {
    let next = next.map(|token| format!(r#","continue":"{token}""#)).unwrap_or_default();
    let items = objects.join(",");
    format!(r#"{{"kind":"{kind}","apiVersion":"v1","metadata":{{"resourceVersion":"{version}"{next}}},"items":[{items}]}}"#)
        .into_bytes()
}

pub(super) fn watch(gvr: &str) -> Arc<Watch> {
    let target = WatchTarget { namespace: Some("demo".to_owned()), ..WatchTarget::all(gvr.parse().unwrap()) };
    Arc::new(Watch::new(target, "test", None))
}

/// A context in which nothing waits.
pub(super) fn context(watch: &Arc<Watch>, stop: &Stop) -> Context {
    let health = Health::default();
    Context {
        stop: stop.clone(),
        status: health.add_watch(Arc::clone(watch)),
        metrics: Metrics::default().watch(watch),
        gate: ListGate::default(),
        server: Server::new("the test's server"),
        histories: Histories::default(),
        cluster: None,
        pulse: health.add_thread("test"),
        limits: hasty(),
        content_is_metadata: false,
        redaction: Arc::new(Redaction::new(DigestKey::new(b"the key of a test"))),
        skip_initial: false,
    }
}

/// The protocol's limits, but no pause lasts.
pub(super) fn hasty() -> Limits {
    let zero = Duration::ZERO;
    Limits {
        // However slow a test is, what takes no time in it is brief, and comes soon.
        brief: Duration::MAX,
        unchecked: Duration::from_secs(3600),
        slow: zero,
        backoff_first: zero,
        backoff_max: zero,
        forbidden_max: zero,
        retry_after_max: zero,
        second_look: zero,
        absent_check: zero,
        reconnect_spread: zero,
        dirty_delay: zero,
        dirty_interval: zero,
        ..Limits::default()
    }
}

/// What a receiver knows after `events`, each object by name. Fails on what no server could have meant.
pub(super) fn replay(events: &[MatchedEvent], known: &mut std::collections::BTreeMap<String, (String, String)>) {
    for event in events {
        let metadata = event.metadata();
        let (name, uid, version) =
            (metadata.name().into_owned(), metadata.uid().into_owned(), metadata.resource_version().to_string());
        let before = known.get(&name);
        match event.event_type {
            EventType::Added => assert!(before.is_none(), "{} of a known object", words(event)),
            EventType::Updated => {
                let before = before.unwrap_or_else(|| panic!("{} of an unknown object", words(event)));
                assert!(before.0 == uid && before.1 != version, "{} after {before:?}", words(event));
            }
            EventType::Deleted => {
                let before = before.unwrap_or_else(|| panic!("{} of an unknown object", words(event)));
                assert_eq!(before.0, uid, "{} of another uid", words(event));
            }
        }
        match event.event_type {
            EventType::Added | EventType::Updated => known.insert(name, (uid, version)),
            EventType::Deleted => known.remove(&name),
        };
    }
}
