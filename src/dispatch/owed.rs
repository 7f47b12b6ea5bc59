//! The events that one object's receiver has yet to accept, once nothing else waits for them any more.
//!
//! They hold no ticket and no place in a queue. Their bytes are bounded over all objects of a subscription: beyond, states in
//! between are skipped and counted; what is never skipped is what a receiver needs to know where the object came to.

use super::recorder;
use super::settings::PARKED_EVENTS_MAX;
use super::tracker::Ledger;
use crate::api::{Identity, ObjectRef, Watch};
use crate::chain::chain;
use crate::checkpoint::{Owed as Spilled, OwedEvent};
use crate::event::{EventType, MatchedEvent};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of all owed events of one subscription, and how many they may be.
#[derive(Debug)]
pub(super) struct OwedBytes {
    now: AtomicU64,
    max: u64,
}

/// What one object's receiver is owed, oldest first.
#[derive(Debug)]
pub(super) struct Owed {
    ledger: Arc<Ledger>,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// Without a state: gone with the process.
    Memory { events: VecDeque<MatchedEvent>, bytes: Arc<OwedBytes> },
    /// In the state's folder, also for the next run.
    Disk(Disk),
}

/// One object's events in the file of its subscription.
#[derive(Debug)]
struct Disk {
    spill: Arc<Spilled>,
    bytes: Arc<OwedBytes>,
    key: Arc<str>,
    /// How many events there are, as the metrics have it.
    counted: usize,
    /// The run has ended before an event could be written: none behind it is, so that the next run gets them in order.
    is_over: bool,
}

impl OwedBytes {
    pub(super) fn new(max: u64) -> Self {
        Self { now: AtomicU64::new(0), max }
    }

    fn is_full(&self) -> bool {
        self.now.load(Ordering::Relaxed) > self.max
    }
}

impl Owed {
    /// Of the object of `first`, kept in `spill`, where there is one.
    pub(super) fn new(ledger: Arc<Ledger>, first: &MatchedEvent, bytes: Arc<OwedBytes>, spill: Option<Arc<Spilled>>) -> Self {
        let store = match spill {
            None => Store::Memory { events: VecDeque::new(), bytes },
            Some(spill) => {
                let key = Identity::key_of(&first.metadata()).into();
                Store::Disk(Disk { spill, bytes, key, counted: 0, is_over: false })
            }
        };
        Self { ledger, store }
    }

    /// What an earlier run owes of the object with this key.
    pub(super) fn restored(ledger: Arc<Ledger>, key: Arc<str>, bytes: Arc<OwedBytes>, spill: Arc<Spilled>) -> Self {
        let mut disk = Disk { spill, bytes, key, counted: 0, is_over: false };
        disk.count(&ledger);
        Self { ledger, store: Store::Disk(disk) }
    }

    /// Takes one more event, once the disk does. Returns how many others were skipped; `None` when the run ends before.
    pub(super) fn push(&mut self, event: &MatchedEvent) -> Option<u64> {
        let skipped = match &mut self.store {
            Store::Disk(disk) => disk.push(event, &self.ledger)?,
            Store::Memory { events, bytes } => {
                bytes.now.fetch_add(size_of(event), Ordering::Relaxed);
                self.ledger.metrics().owed_changed(1);
                events.push_back(event.clone());
                if events.len() > PARKED_EVENTS_MAX || bytes.is_full() { skip(events, bytes, &self.ledger) } else { 0 }
            }
        };
        self.ledger.metrics().skipped(skipped);
        Some(skipped)
    }

    /// The oldest event; `None` when there is none, or when the disk does not give it now.
    pub(super) fn front(&self) -> Option<MatchedEvent> {
        match &self.store {
            Store::Memory { events, .. } => events.front().cloned(),
            Store::Disk(disk) => disk.front(&self.ledger),
        }
    }

    pub(super) fn pop(&mut self) {
        match &mut self.store {
            Store::Memory { events, bytes } => {
                if let Some(event) = events.pop_front() {
                    forget(&event, bytes, &self.ledger);
                }
            }
            Store::Disk(disk) => disk.pop(&self.ledger),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.store {
            Store::Memory { events, .. } => events.is_empty(),
            Store::Disk(disk) => disk.counted == 0,
        }
    }

    /// How many events go with the process.
    pub(super) fn in_memory(&self) -> usize {
        match &self.store {
            Store::Memory { events, .. } => events.len(),
            Store::Disk(_) => 0,
        }
    }

    /// Whether the next run finds it.
    pub(super) fn is_on_disk(&self) -> bool {
        matches!(self.store, Store::Disk(_))
    }
}

impl Disk {
    fn push(&mut self, event: &MatchedEvent, ledger: &Ledger) -> Option<u64> {
        if self.is_over {
            return None;
        }
        let (uid, raw) = (event.uid(), event.written_bytes());
        let owed = OwedEvent {
            watch: event.watch.id,
            key: &self.key,
            uid: &uid,
            is_deleted: event.event_type == EventType::Deleted,
            flags: flags_of(event),
            received: event.received,
            raw: &raw,
        };
        let mut skipped = 0;
        let pushed = recorder::insist(
            "events wait until what is owed can be written",
            || {
                let pushed = self.spill.push(&owed, self.bytes.max)?;
                skipped = pushed.iter().map(|skipped| skipped.events).sum();
                Ok(())
            },
            || ledger.is_closed(),
        );
        self.is_over = !pushed;
        self.count(ledger);
        pushed.then_some(skipped)
    }

    fn front(&self, ledger: &Ledger) -> Option<MatchedEvent> {
        let mut buffer = Vec::new();
        let owed = match self.spill.front(ledger.watch().id, &self.key, &mut buffer) {
            Ok(owed) => owed?,
            Err(error) => {
                log::error!("{}; what it owes is read later", chain(&error));
                return None;
            }
        };
        event_of(&owed, ledger.watch())
    }

    fn pop(&mut self, ledger: &Ledger) {
        if let Err(error) = self.spill.pop(ledger.watch().id, &self.key) {
            log::warn!("{}; an event that was accepted may come again after a restart", chain(&error));
        }
        self.count(ledger);
    }

    fn count(&mut self, ledger: &Ledger) {
        let now = self.spill.events_of(ledger.watch().id, &self.key);
        ledger.metrics().owed_changed(now as i64 - self.counted as i64);
        self.counted = now;
    }
}

/// Leaves the first and the last event of the object that came first, and of the one that has its name now.
fn skip(events: &mut VecDeque<MatchedEvent>, bytes: &OwedBytes, ledger: &Ledger) -> u64 {
    let (before, kept) = (events.len(), kept_of(events));
    for (index, event) in std::mem::take(events).into_iter().enumerate() {
        if kept[index] {
            events.push_back(event);
        } else {
            forget(&event, bytes, ledger);
        }
    }
    (before - events.len()) as u64
}

fn forget(event: &MatchedEvent, bytes: &OwedBytes, ledger: &Ledger) {
    bytes.now.fetch_sub(size_of(event), Ordering::Relaxed);
    ledger.metrics().owed_changed(-1);
}

/// The numbers are in the files.
const TYPES: [EventType; 3] = [EventType::Added, EventType::Updated, EventType::Deleted];
const TYPE_BITS: u8 = 0b11;
const INITIAL: u8 = 1 << 2;
const INFERRED: u8 = 1 << 3;
const METADATA_ONLY: u8 = 1 << 4;

fn flags_of(event: &MatchedEvent) -> u8 {
    let event_type = match event.event_type {
        EventType::Added => 0,
        EventType::Updated => 1,
        EventType::Deleted => 2,
    };
    let flags = [(event.initial, INITIAL), (event.inferred, INFERRED), (event.metadata_only, METADATA_ONLY)];
    flags.into_iter().filter(|(is_set, _)| *is_set).fold(event_type, |flags, (_, flag)| flags | flag)
}

fn event_of(owed: &OwedEvent<'_>, watch: &Arc<Watch>) -> Option<MatchedEvent> {
    let event_type = *TYPES.get(usize::from(owed.flags & TYPE_BITS))?;
    let object = ObjectRef::scan(owed.raw).ok()?.to_object();
    let mut event = MatchedEvent::new(event_type, Arc::clone(watch), object);
    event.received = owed.received;
    event.initial = owed.flags & INITIAL != 0;
    event.inferred = owed.flags & INFERRED != 0;
    event.metadata_only = owed.flags & METADATA_ONLY != 0;
    Some(event)
}

impl Drop for Owed {
    fn drop(&mut self) {
        match &mut self.store {
            Store::Memory { events, bytes } => events.iter().for_each(|event| forget(event, bytes, &self.ledger)),
            Store::Disk(disk) => self.ledger.metrics().owed_changed(-(disk.counted as i64)),
        }
    }
}

/// Which events stay when states in between are skipped: of the first incarnation its ADDED and its end, be that its DELETED or
/// its latest state; of the last one its ADDED and its latest state. Incarnations in between were never given to the receiver.
fn kept_of(events: &VecDeque<MatchedEvent>) -> Vec<bool> {
    let uid_of = |event: &MatchedEvent| event.uid().into_owned();
    let (Some(first), Some(last)) = (events.front().map(uid_of), events.back().map(uid_of)) else { return Vec::new() };
    let mut kept = vec![false; events.len()];
    for uid in [first, last] {
        let mut last_of_it = None;
        let of_it = events.iter().enumerate().filter(|(_, event)| event.uid() == uid.as_str());
        for (index, event) in of_it {
            match event.event_type {
                EventType::Added => kept[index] = last_of_it.is_none(),
                EventType::Updated | EventType::Deleted => {}
            }
            last_of_it = Some(index);
        }
        if let Some(index) = last_of_it {
            kept[index] = true;
        }
    }
    kept
}

fn size_of(event: &MatchedEvent) -> u64 {
    event.raw().len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::{ledger, watch};

    fn event(event_type: EventType, uid: &str, version: usize) -> MatchedEvent {
        let json = format!(r#"{{"metadata":{{"name":"web-0","uid":"{uid}","resourceVersion":"{version}"}}}}"#);
        MatchedEvent::new(event_type, watch("v1/pods"), ObjectRef::scan(json.as_bytes()).unwrap().to_object())
    }

    fn pushed(max: u64, events: &[(EventType, &str)]) -> (Vec<String>, u64) {
        let bytes = Arc::new(OwedBytes::new(max));
        let first = event(EventType::Added, "u", 1);
        let mut owed = Owed::new(ledger(), &first, Arc::clone(&bytes), None);
        let pushed = events.iter().enumerate().map(|(version, (kind, uid))| owed.push(&event(*kind, uid, version + 1)).unwrap());
        let skipped = pushed.sum();
        let Store::Memory { events, .. } = &owed.store else { panic!("{:?}", owed.store) };
        let left = events.iter().map(|event| format!("{} {} {}", event.event_type, event.uid(), event.resource_version()));
        let left = left.collect();
        drop(owed);
        assert_eq!(bytes.now.load(Ordering::Relaxed), 0);
        (left, skipped)
    }

    #[test]
    fn beyond_the_bound_states_in_between_are_skipped_and_the_latest_state_and_the_delete_stay() {
        use EventType::{Added, Deleted, Updated};
        let story = [(Updated, "u"), (Updated, "u"), (Updated, "u"), (Deleted, "u"), (Added, "v"), (Updated, "v")];
        assert_eq!(pushed(1 << 20, &story).0.len(), 6);
        assert_eq!(pushed(0, &story[..3]), (vec!["UPDATED u 3".to_owned()], 2));
        assert_eq!(pushed(0, &story[..4]), (vec!["DELETED u 4".to_owned()], 3));
        let (left, skipped) = pushed(0, &story);
        assert_eq!((left.join(", ").as_str(), skipped), ("DELETED u 4, ADDED v 5, UPDATED v 6", 3));
        let again =
            [&story[..], &[(Updated, "v"), (Deleted, "v"), (Added, "w"), (Deleted, "w"), (Added, "x"), (Updated, "x")]].concat();
        assert_eq!(pushed(0, &again).0.join(", "), "DELETED u 4, ADDED x 11, UPDATED x 12");
        let many = vec![(Updated, "u"); PARKED_EVENTS_MAX + 10];
        let (left, skipped) = pushed(u64::MAX, &many);
        assert_eq!(left.last().unwrap(), &format!("UPDATED u {}", many.len()));
        assert!(left.len() <= PARKED_EVENTS_MAX && skipped > 0);
    }
}
