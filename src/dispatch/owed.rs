//! The events that one object's receiver has yet to accept, once nothing else waits for them any more.
//!
//! They hold no ticket and no place in a queue. Their bytes are bounded over all objects of a subscription: beyond, states in
//! between are skipped and counted; what is never skipped is what a receiver needs to know where the object came to.

use super::settings::PARKED_EVENTS_MAX;
use super::tracker::Ledger;
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
    events: VecDeque<MatchedEvent>,
    bytes: Arc<OwedBytes>,
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
    pub(super) fn new(ledger: Arc<Ledger>, bytes: Arc<OwedBytes>) -> Self {
        Self { ledger, events: VecDeque::new(), bytes }
    }

    /// Takes one more event. Returns how many others were skipped for it.
    pub(super) fn push(&mut self, event: MatchedEvent) -> usize {
        self.bytes.now.fetch_add(size_of(&event), Ordering::Relaxed);
        self.ledger.metrics().owed_changed(1);
        self.events.push_back(event);
        if self.events.len() > PARKED_EVENTS_MAX || self.bytes.is_full() { self.skip() } else { 0 }
    }

    pub(super) fn front(&self) -> Option<&MatchedEvent> {
        self.events.front()
    }

    pub(super) fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.forget(&event);
        }
    }

    /// Leaves the first and the last event of the object that came first, and of the one that has its name now.
    fn skip(&mut self) -> usize {
        let before = self.events.len();
        let kept = kept_of(&self.events);
        let events = std::mem::take(&mut self.events);
        for (index, event) in events.into_iter().enumerate() {
            if kept[index] {
                self.events.push_back(event);
            } else {
                self.forget(&event);
            }
        }
        let skipped = before - self.events.len();
        self.ledger.metrics().skipped(skipped as u64);
        skipped
    }

    fn forget(&self, event: &MatchedEvent) {
        self.bytes.now.fetch_sub(size_of(event), Ordering::Relaxed);
        self.ledger.metrics().owed_changed(-1);
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        while !self.events.is_empty() {
            self.pop();
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
    use crate::api::ObjectRef;
    use crate::dispatch::tests::{ledger, watch};

    fn event(event_type: EventType, uid: &str, version: usize) -> MatchedEvent {
        let json = format!(r#"{{"metadata":{{"name":"web-0","uid":"{uid}","resourceVersion":"{version}"}}}}"#);
        MatchedEvent::new(event_type, watch("v1/pods"), ObjectRef::scan(json.as_bytes()).unwrap().to_object())
    }

    fn pushed(max: u64, events: &[(EventType, &str)]) -> (Vec<String>, usize) {
        let bytes = Arc::new(OwedBytes::new(max));
        let mut owed = Owed::new(ledger(), Arc::clone(&bytes));
        let skipped = events.iter().enumerate().map(|(version, (kind, uid))| owed.push(event(*kind, uid, version + 1))).sum();
        let left = owed.events.iter().map(|event| format!("{} {} {}", event.event_type, event.uid(), event.resource_version()));
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
