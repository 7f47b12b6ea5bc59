//! Where events wait while an earlier one of their object is tried again.
//!
//! Each object that waits has a row: first the event that was refused, then those that came later. A row begins *parked*: its
//! events keep their tickets and their places in the queue. It becomes *owed* when it lasts too long or takes too much: then its
//! events count as dealt with for everybody else, and only its own worker still knows of them.

use super::Completion;
use super::owed::{Owed, OwedBytes};
use super::settings::PARKED_EVENTS_MAX;
use super::tracker::Ledger;
use super::worker::Work;
use crate::checkpoint::Owed as Spilled;
use crate::event::MatchedEvent;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// The waiting objects of one lane.
#[derive(Default)]
pub(super) struct Parking {
    rows: HashMap<u64, Row>,
    /// When each row has something to do next, with its object.
    due: BTreeSet<(Instant, u64)>,
    /// How many rows are parked, and not owed.
    parked: usize,
}

/// One object that waits.
pub(super) struct Row {
    object: u64,
    ledger: Arc<Ledger>,
    stage: Stage,
    /// How often the first event was refused.
    pub(super) failures: u32,
    /// When the object began to wait.
    pub(super) since: Instant,
    /// When the first event is tried again.
    pub(super) next_try: Instant,
    /// When the row becomes owed at the latest.
    owed_at: Instant,
    /// The object's key, once the log has named it.
    pub(super) named: Option<String>,
    /// The log has said that states of it are skipped.
    pub(super) is_skip_named: bool,
}

enum Stage {
    /// With tickets and places in the queue. Never empty but while its worker has the row.
    Parked(VecDeque<Work>),
    Owed(Owed),
}

/// What became of an event that was put behind others.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// The row should become owed now.
    pub(super) is_too_much: bool,
    /// The event itself is owed, and accepted for everybody else.
    pub(super) completion: Option<Completion>,
    /// States in between were skipped for it.
    pub(super) skipped: u64,
}

impl Parking {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether any row is parked, and not owed.
    pub(super) fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// Begins a row with an event that was refused. Returns whether it should become owed now.
    pub(super) fn begin(mut work: Work, now: Instant, next_try: Instant, owed_at: Instant) -> (Row, bool) {
        let object = work.object;
        let has_room = work.slot.park();
        let ledger = Arc::clone(work.completion.ledger());
        ledger.metrics().parked_changed(1);
        let stage = Stage::Parked(VecDeque::from([work]));
        let (named, is_skip_named) = (None, false);
        (Row { object, ledger, stage, failures: 1, since: now, next_try, owed_at, named, is_skip_named }, !has_room)
    }

    /// Puts a row in its place, until it has something to do.
    pub(super) fn put(&mut self, row: Row) {
        self.due.insert((row.due(), row.object));
        self.parked += usize::from(row.is_parked());
        let before = self.rows.insert(row.object, row);
        assert!(before.is_none(), "a row is taken out before it is put back");
    }

    /// Takes a row out.
    pub(super) fn take(&mut self, object: u64) -> Option<Row> {
        if self.rows.is_empty() {
            return None;
        }
        let row = self.rows.remove(&object)?;
        self.due.remove(&(row.due(), object));
        self.parked -= usize::from(row.is_parked());
        Some(row)
    }

    /// When something is to be done, at the earliest.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The object that has been due for longest.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, object)| *object)
    }

    /// The objects of which `is_so` is true.
    pub(super) fn objects(&self, is_so: impl Fn(&Row) -> bool) -> Vec<u64> {
        self.rows.values().filter(|row| is_so(row)).map(|row| row.object).collect()
    }

    /// How many owed events go with the process, of watches that were not removed.
    pub(super) fn in_memory(&self) -> usize {
        self.rows.values().filter(|row| !row.ledger.is_retired()).map(Row::in_memory).sum()
    }

    /// Whether nothing waits but what the next run finds.
    pub(super) fn is_on_disk(&self) -> bool {
        self.rows.values().all(|row| matches!(&row.stage, Stage::Owed(owed) if owed.is_on_disk()))
    }

    /// Begins a row with what an earlier run owes.
    pub(super) fn restore(&mut self, object: u64, ledger: Arc<Ledger>, owed: Owed, now: Instant) {
        // Of the same watch before it was removed: it was not swept yet.
        if self.rows.get(&object).is_some_and(|row| row.ledger.is_retired()) {
            drop(self.take(object));
        }
        if !owed.is_empty() && !self.rows.contains_key(&object) {
            let (stage, named, is_skip_named) = (Stage::Owed(owed), None, false);
            self.put(Row { object, ledger, stage, failures: 0, since: now, next_try: now, owed_at: now, named, is_skip_named });
        }
    }
}

impl Row {
    /// When there is something to do: to try again, or to become owed.
    fn due(&self) -> Instant {
        if self.is_parked() { self.next_try.min(self.owed_at) } else { self.next_try }
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(self.stage, Stage::Parked(_))
    }

    /// Whether it has been parked for as long as it may.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.is_parked() && self.owed_at <= now
    }

    /// Whether its watch would soon wait for its first event.
    pub(super) fn presses(&self) -> bool {
        match &self.stage {
            Stage::Parked(works) => works.front().is_some_and(|work| work.completion.presses()),
            Stage::Owed(_) => false,
        }
    }

    /// Whose events these are.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Whether nothing waits any more.
    pub(super) fn is_empty(&self) -> bool {
        match &self.stage {
            Stage::Parked(works) => works.is_empty(),
            Stage::Owed(owed) => owed.is_empty(),
        }
    }

    /// The event whose turn it is; `None` when there is none, or none that can be read now.
    pub(super) fn front(&self) -> Option<MatchedEvent> {
        match &self.stage {
            Stage::Parked(works) => works.front().map(|work| work.event.clone()),
            Stage::Owed(owed) => owed.front(),
        }
    }

    /// The first event is dealt with. Gives what says so, where anybody waits for that.
    pub(super) fn pop(&mut self) -> Option<Completion> {
        self.failures = 0;
        match &mut self.stage {
            Stage::Parked(works) => works.pop_front().map(|work| {
                work.completion.metrics().parked_changed(-1);
                work.completion
            }),
            Stage::Owed(owed) => {
                owed.pop();
                None
            }
        }
    }

    /// Puts an event behind the earlier ones.
    pub(super) fn push(&mut self, mut work: Work) -> Behind {
        match &mut self.stage {
            Stage::Parked(works) => {
                let has_room = work.slot.park();
                work.completion.metrics().parked_changed(1);
                works.push_back(work);
                Behind { is_too_much: !has_room || works.len() >= PARKED_EVENTS_MAX, ..Behind::default() }
            }
            Stage::Owed(owed) => {
                let Work { event, completion, .. } = work;
                match owed.push(&event) {
                    Some(skipped) => Behind { is_too_much: false, completion: Some(completion), skipped },
                    // The run ends: it stays unacknowledged.
                    None => Behind::default(),
                }
            }
        }
    }

    /// Its events are owed from here on. Gives what says that they are dealt with for everybody else.
    pub(super) fn owe(&mut self, bytes: &Arc<OwedBytes>, spill: Option<&Arc<Spilled>>) -> Vec<Completion> {
        let Some(first) = self.front().filter(|_| self.is_parked()) else { return Vec::new() };
        let owed = Owed::new(Arc::clone(&self.ledger), &first, Arc::clone(bytes), spill.cloned());
        match std::mem::replace(&mut self.stage, Stage::Owed(owed)) {
            Stage::Parked(works) => {
                let parked = works.into_iter().map(|work| {
                    work.completion.metrics().parked_changed(-1);
                    self.push(work).completion
                });
                parked.flatten().collect()
            }
            owed @ Stage::Owed(_) => {
                self.stage = owed;
                Vec::new()
            }
        }
    }

    fn in_memory(&self) -> usize {
        match &self.stage {
            Stage::Parked(_) => 0,
            Stage::Owed(owed) => owed.in_memory(),
        }
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if let Stage::Parked(works) = &self.stage {
            works.iter().for_each(|work| work.completion.metrics().parked_changed(-1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::{Queue, Share};
    use super::super::receivers::Receivers;
    use super::*;
    use crate::dispatch::tests::{event, ledger, watch};
    use crate::event::Credit;
    use std::time::Duration;

    fn work(ledger: &Arc<Ledger>, share: &Arc<Share>, version: u64, object: u64) -> Work {
        let event = event(&watch("v1/pods"), "any", version);
        assert!(share.take() && ledger.take_credit(Duration::ZERO) == Credit::Granted);
        let sequence = ledger.register(&event, Receivers::of(0));
        let completion = ledger.completion(sequence, Receivers::of(0), 0, event.received);
        Work::new(event, completion, share.slot(1), object)
    }

    #[test]
    fn a_row_keeps_its_order_while_parked_and_when_it_is_owed_nobody_waits_for_it() {
        let (ledger, now) = (ledger(), Instant::now());
        let share = Arc::new(Share::new(&Arc::new(Queue::new(1000, 1 << 20))));
        let mut parking = Parking::default();
        let after = |seconds| now + Duration::from_secs(seconds);
        let (row, _) = Parking::begin(work(&ledger, &share, 1, 7), now, after(2), after(60));
        parking.put(row);
        let (row, _) = Parking::begin(work(&ledger, &share, 2, 8), now, after(1), after(60));
        parking.put(row);
        assert_eq!((parking.next_due(), parking.due(now), parking.due(after(3))), (Some(after(1)), None, Some(8)));
        let mut row = parking.take(7).unwrap();
        for version in 3..=5 {
            assert!(!row.push(work(&ledger, &share, version, 7)).is_too_much);
        }
        assert_eq!(ledger.unfinished(), 5);
        row.pop().unwrap().complete();
        Completion::complete_all(row.owe(&Arc::new(OwedBytes::new(1 << 20)), None), None);
        assert_eq!((ledger.unfinished(), row.is_parked()), (1, false));
        Completion::complete_all(row.push(work(&ledger, &share, 6, 7)).completion, None);
        parking.put(row);
        assert_eq!((ledger.unfinished(), parking.in_memory(), parking.has_parked()), (1, 4, true));
        let mut row = parking.take(7).unwrap();
        let left = std::iter::from_fn(|| {
            let version = row.front()?.resource_version().to_string();
            assert!(row.pop().is_none());
            Some(version)
        });
        assert_eq!(left.collect::<Vec<_>>(), ["3", "4", "5", "6"]);
        drop(parking.take(8));
        assert!(parking.is_empty() && parking.next_due().is_none());
    }

    #[cfg(feature = "state")]
    #[test]
    fn what_is_restored_takes_the_place_of_what_was_left_of_a_removed_watch() {
        use crate::checkpoint::{OwedEvent, Spill};
        let (before, after, now) = (ledger(), ledger(), Instant::now());
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::open(folder.path()).unwrap().of("audit");
        let (key, raw, received) = ("default\0web-0", b"{}".as_slice(), std::time::SystemTime::UNIX_EPOCH);
        let watch = after.watch().id;
        let owed = OwedEvent { watch, key, uid: "u", is_deleted: false, flags: 0, received, raw };
        spill.push(&owed, u64::MAX).unwrap();
        let share = Arc::new(Share::new(&Arc::new(Queue::new(1000, 1 << 20))));
        let mut parking = Parking::default();
        parking.put(Parking::begin(work(&before, &share, 1, 7), now, now, now).0);
        let restored = || Owed::restored(Arc::clone(&after), key.into(), Arc::new(OwedBytes::new(1 << 20)), Arc::clone(&spill));
        parking.restore(7, Arc::clone(&after), restored(), now);
        assert!(Arc::ptr_eq(parking.rows[&7].ledger(), &before), "it is still at work");
        before.retire();
        parking.restore(7, Arc::clone(&after), restored(), now);
        assert!(Arc::ptr_eq(parking.rows[&7].ledger(), &after));
    }

    #[test]
    fn an_object_with_too_many_events_or_too_long_a_wait_becomes_owed() {
        let (ledger, now) = (ledger(), Instant::now());
        let share = Arc::new(Share::new(&Arc::new(Queue::new(1000, 1 << 20))));
        let later = now + Duration::from_secs(60);
        let (mut row, is_too_much) = Parking::begin(work(&ledger, &share, 0, 7), now, later, later);
        assert!(!is_too_much && !row.is_overdue(now) && row.is_overdue(later));
        let pushed =
            (1..=PARKED_EVENTS_MAX as u64).take_while(|version| !row.push(work(&ledger, &share, *version, 7)).is_too_much);
        assert_eq!(pushed.count(), PARKED_EVENTS_MAX - 2);
    }
}
