//! Where events wait while an earlier one of their object is tried again.
//!
//! Each parked object has a row: first the event that failed, then those that came later. The number of events is bounded
//! by the room given; the worker takes nothing new while the parking list is full.

use super::worker::Work;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// The parked events of one lane.
pub(super) struct Parking {
    rows: HashMap<u64, Row>,
    events: usize,
    room: usize,
}

struct Row {
    /// When the first is tried again.
    due: Instant,
    works: VecDeque<Work>,
}

impl Parking {
    pub(super) fn new(room: usize) -> Self {
        Self { rows: HashMap::new(), events: 0, room }
    }

    pub(super) fn is_full(&self) -> bool {
        self.events >= self.room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Whether events of `object` wait here, so that a new one must wait behind them.
    pub(super) fn holds(&self, object: u64) -> bool {
        !self.rows.is_empty() && self.rows.contains_key(&object)
    }

    /// Parks the first of an object's events until `due`, ahead of those that wait already.
    pub(super) fn park(&mut self, work: Work, due: Instant) {
        let row = self.rows.entry(work.object).or_insert_with(|| Row { due, works: VecDeque::new() });
        row.due = due;
        row.works.push_front(work);
        self.events += 1;
    }

    /// Parks an event behind the earlier ones of its object.
    pub(super) fn park_behind(&mut self, work: Work) {
        let row = self.rows.get_mut(&work.object).expect("the caller saw that the object is held");
        row.works.push_back(work);
        self.events += 1;
    }

    /// Keeps only the events of which `keep` is true.
    pub(super) fn retain(&mut self, keep: impl Fn(&Work) -> bool) {
        self.rows.values_mut().for_each(|row| row.works.retain(&keep));
        self.rows.retain(|_, row| !row.works.is_empty());
        self.events = self.rows.values().map(|row| row.works.len()).sum();
    }

    /// When something is to be tried again, at the earliest.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.rows.values().map(|row| row.due).min()
    }

    /// An object whose first event is due.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        self.rows.iter().find(|(_, row)| row.due <= now).map(|(object, _)| *object)
    }

    /// Takes the first event of `object`; without any, the object is no longer held.
    pub(super) fn pop(&mut self, object: u64) -> Option<Work> {
        let work = self.rows.get_mut(&object)?.works.pop_front();
        match work {
            Some(_) => self.events -= 1,
            None => drop(self.rows.remove(&object)),
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::{event, ledger, watch};
    use std::time::Duration;

    #[test]
    fn rows_keep_their_order_and_all_together_fill_the_room() {
        let (watch, ledger, now) = (watch("v1/pods"), ledger(), Instant::now());
        let work = |version, object| {
            let event = event(&watch, "any", version);
            let completion = ledger.register(&event);
            Work::new(event, completion, object)
        };
        let mut parking = Parking::new(4);
        parking.park(work(1, 7), now + Duration::from_secs(2));
        parking.park_behind(work(2, 7));
        parking.park(work(3, 8), now + Duration::from_secs(1));
        assert!(!parking.is_full() && parking.holds(7) && parking.holds(8) && !parking.holds(9));
        parking.park_behind(work(4, 7));
        assert!(parking.is_full());
        assert_eq!((parking.next_due(), parking.due(now)), (Some(now + Duration::from_secs(1)), None));

        let first = parking.pop(7).unwrap();
        assert!(!parking.is_full());
        parking.park(first, now + Duration::from_secs(4));
        let row: Vec<String> = std::iter::from_fn(|| parking.pop(7)).map(|work| work.event.id()).collect();
        assert_eq!(row, [1, 2, 4].map(|version| format!("{}/u/{version}/UPDATED", watch.id)));
        assert!(!parking.holds(7) && parking.holds(8) && !parking.is_empty());
        assert_eq!(parking.pop(8).map(|work| work.object), Some(8));
        assert!(parking.pop(8).is_none() && parking.is_empty());
    }
}
