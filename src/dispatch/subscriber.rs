//! One subscription at work: its handler, its queue, and what the log says of objects that wait for it.

use super::owed::OwedBytes;
use super::parking::Row;
use super::queue::Queue;
use super::receivers::Receivers;
use super::recorder::Recorder;
use super::settings::{Retry, Settings};
use super::subscription::Registered;
use crate::checkpoint::Owed as Spilled;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What all workers of one subscription share.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) registered: Registered,
    /// What it is known by, also to the next run.
    pub(super) name: String,
    pub(super) receiver: Receivers,
    pub(super) queue: Arc<Queue>,
    pub(super) lanes: usize,
    pub(super) retry: Retry,
    pub(super) owed_after: Duration,
    pub(super) owed_bytes: Arc<OwedBytes>,
    /// Where it is kept what it is owed, also for the next run.
    pub(super) spill: Option<Arc<Spilled>>,
    given_up: AtomicU64,
    /// Events that were still owed when their workers ended.
    unheard: AtomicU64,
    notices: Mutex<Notices>,
}

/// How many objects the log has named lately.
#[derive(Debug, Default)]
struct Notices {
    since: Option<Instant>,
    named: u32,
    unnamed: u64,
}

/// So many waiting objects of one subscription are named a minute; the next line says how many were not.
const NAMED_A_MINUTE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

impl Subscriber {
    pub(super) fn new(registered: Registered, number: usize, settings: &Settings, recorder: Option<&Recorder>) -> Self {
        let (events, bytes) = registered.queue();
        let name = registered.name_at(number);
        Self {
            spill: recorder.map(|recorder| recorder.owed(&name)),
            name,
            receiver: Receivers::of(number),
            queue: Arc::new(Queue::new(events, bytes)),
            lanes: registered.lanes().unwrap_or(settings.lanes),
            retry: registered.retry().unwrap_or(&settings.retry).clone(),
            owed_after: settings.owed_after,
            owed_bytes: Arc::new(OwedBytes::new(settings.parked_max_bytes)),
            given_up: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            notices: Mutex::default(),
            registered,
        }
    }

    pub(super) fn count_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn count_unheard(&self, events: usize) {
        self.unheard.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn unheard(&self) -> u64 {
        self.unheard.load(Ordering::Relaxed)
    }

    /// Says that an object begins to wait, and why.
    pub(super) fn name_waiting(&self, row: &mut Row, cause: &str) {
        let Some(event) = row.front() else { return };
        let Some(others) = self.may_name() else { return };
        let (gvr, key, name, others) = (event.gvr(), event.key(), &self.name, others_of(others));
        log::warn!(
            "{gvr} {key}: subscription {name} refuses an event; it is given again until it is accepted, the object's later events wait, \
             and others go on{others}: {cause}"
        );
        row.named = Some(key);
    }

    /// Says that nothing of an object waits any more.
    pub(super) fn name_end(&self, row: &Row) {
        let Some(key) = &row.named else { return };
        let (gvr, name, lasted) = (&row.ledger().watch().gvr, &self.name, row.since.elapsed());
        log::info!("{gvr} {key}: subscription {name} has accepted all that waited, after {lasted:.1?}");
    }

    /// Says that states of an object are skipped.
    pub(super) fn name_skipped(&self, row: &mut Row) {
        if std::mem::replace(&mut row.is_skip_named, true) {
            return;
        }
        let Some((event, others)) = row.front().zip(self.may_name()) else { return };
        let (gvr, key, name, others) = (event.gvr(), event.key(), &self.name, others_of(others));
        log::warn!(
            "{gvr} {key}: too much waits for subscription {name}: states in between are skipped, the latest state and the delete are \
             kept{others}"
        );
    }

    /// Whether one more object may be named now, and if so, how many were not before.
    fn may_name(&self) -> Option<u64> {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if notices.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            (notices.since, notices.named) = (Some(now), 0);
        }
        if notices.named >= NAMED_A_MINUTE {
            notices.unnamed += 1;
            return None;
        }
        notices.named += 1;
        Some(std::mem::take(&mut notices.unnamed))
    }
}

fn others_of(unnamed: u64) -> String {
    if unnamed == 0 { String::new() } else { format!(" (and so for {unnamed} others since the last such line)") }
}
