//! What changes or drops a line before it is written: the user's code, one after the other, each contained.
//!
//! Takes an event and its record on the thread that exports it, and no lock is held while it runs. Where nothing is
//! registered, nothing here runs.

use super::json_record::JsonRecord;
use super::writer::lock;
use crate::dispatch::{Interest, panic_text};
use crate::event::MatchedEvent;
use crate::metrics::WatchMetrics;
use crate::seldom::Seldom;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Changes or drops JSON lines before they are written. Handlers are not affected: they have had the event.
///
/// **Order.** Several run in the order in which they were registered; each sees what the one before it did, and the first
/// [`Verdict::Drop`] ends it. Records of one object come in order and never at once; those of two objects may come on two
/// threads.
///
/// **What it may change.** Labels, annotations, and fields of its own, which come after Faro's. Not what makes the event's
/// [`id`](MatchedEvent::id), nor what it is about: [`JsonRecord`] has no such thing.
///
/// **Panics** are contained: counted, logged with the event's id (once a minute for each middleware), and the record is dropped, as
/// the middleware may be what keeps a secret out of it. [`on_panic`](Self::on_panic) says otherwise.
///
/// **Time.** It runs on the thread of the watch, or of the lane where there are handlers: what it takes holds back that. Do not
/// wait in it for what waits for events to end, as removing a watch does: that is for handlers and other threads.
///
/// **Repetition.** A dropped event is complete without a line. After a crash what no line tells may be told again, to handlers
/// as well, and is asked again here: decide on the event alone, so that it is decided as before. What a crash left behind
/// the last checkpoint is known from its lines, so that a `DELETED` found by comparison may carry changed labels.
pub trait JsonMiddleware: Send + Sync {
    /// How much of an object it needs. Asked once, when lines begin to be written. Defaults to metadata: with
    /// [`Interest::Object`], whole objects are asked of the server. A `DELETED` that was found by comparison carries metadata
    /// alone all the same, and so does every event of `v1/secrets`.
    fn interest(&self) -> Interest {
        Interest::Metadata
    }

    /// What becomes of a record at which it panics: with [`Verdict::Write`] it goes on as it was before this middleware, unredacted
    /// where that redacts. Asked once, when lines begin to be written. Defaults to [`Verdict::Drop`].
    fn on_panic(&self) -> Verdict {
        Verdict::Drop
    }

    /// Looks at one event, changes its record, and says whether it is written.
    fn process(&self, event: &MatchedEvent, record: &mut JsonRecord) -> Verdict;
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Verdict {
    /// It is written, as it is now.
    Write,
    /// It is not written; no further middleware sees it.
    Drop,
}

impl<F> JsonMiddleware for F
where
    F: Fn(&MatchedEvent, &mut JsonRecord) -> Verdict + Send + Sync,
{
    fn process(&self, event: &MatchedEvent, record: &mut JsonRecord) -> Verdict {
        self(event, record)
    }
}

impl<M: JsonMiddleware + ?Sized> JsonMiddleware for Arc<M> {
    fn interest(&self) -> Interest {
        (**self).interest()
    }

    fn on_panic(&self) -> Verdict {
        (**self).on_panic()
    }

    fn process(&self, event: &MatchedEvent, record: &mut JsonRecord) -> Verdict {
        (**self).process(event, record)
    }
}

/// Makes middleware of a closure that needs [`Interest::Object`].
pub fn with_objects<F>(middleware: F) -> impl JsonMiddleware + use<F>
where
    F: Fn(&MatchedEvent, &mut JsonRecord) -> Verdict + Send + Sync,
{
    WithObjects(middleware)
}

struct WithObjects<F>(F);

impl<F> JsonMiddleware for WithObjects<F>
where
    F: Fn(&MatchedEvent, &mut JsonRecord) -> Verdict + Send + Sync,
{
    fn interest(&self) -> Interest {
        Interest::Object
    }

    fn process(&self, event: &MatchedEvent, record: &mut JsonRecord) -> Verdict {
        (self.0)(event, record)
    }
}

impl fmt::Debug for dyn JsonMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonMiddleware(..)")
    }
}

/// All middleware of a sink, and the records it works on.
#[derive(Debug, Default)]
pub(super) struct Chain {
    links: Vec<Link>,
    wants_objects: bool,
    /// Used again and again.
    records: Mutex<Vec<JsonRecord>>,
}

#[derive(Debug)]
struct Link {
    middleware: Arc<dyn JsonMiddleware>,
    on_panic: Verdict,
    panics: Mutex<Seldom>,
}

/// Records that are kept for use again: more than threads that export at once on most machines.
const RECORDS_KEPT: usize = 64;

/// A record grown beyond this is not kept.
const RECORD_BYTES_KEPT: usize = 64 * 1024;

impl Chain {
    pub(super) fn new(middleware: Vec<Arc<dyn JsonMiddleware>>) -> Self {
        let wants_objects = middleware.iter().any(|middleware| middleware.interest() == Interest::Object);
        let link =
            |middleware: Arc<dyn JsonMiddleware>| Link { on_panic: middleware.on_panic(), middleware, panics: Mutex::default() };
        let links = middleware.into_iter().map(link).collect();
        Self { links, wants_objects, records: Mutex::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn wants_objects(&self) -> bool {
        self.wants_objects
    }

    /// What is to be written of `event`; `None` when it was dropped. A record that was written is to be given
    /// [`back`](Self::give_back).
    pub(super) fn process(&self, event: &MatchedEvent, metrics: &WatchMetrics) -> Option<JsonRecord> {
        let mut record = lock(&self.records).pop().unwrap_or_default();
        record.fill(event);
        let is_dropped = self.links.iter().any(|link| link.process(event, &mut record, metrics) == Verdict::Drop);
        if is_dropped {
            metrics.record_dropped();
            self.give_back(record);
            return None;
        }
        Some(record)
    }

    pub(super) fn give_back(&self, record: JsonRecord) {
        if record.capacity() > RECORD_BYTES_KEPT {
            return;
        }
        let mut records = lock(&self.records);
        if records.len() < RECORDS_KEPT {
            records.push(record);
        }
    }
}

impl Link {
    fn process(&self, event: &MatchedEvent, record: &mut JsonRecord, metrics: &WatchMetrics) -> Verdict {
        match catch_unwind(AssertUnwindSafe(|| self.middleware.process(event, record))) {
            Ok(verdict) => {
                record.commit();
                verdict
            }
            Err(panic) => {
                record.undo();
                metrics.middleware_panicked();
                self.say(event, panic_text(panic.as_ref()));
                self.on_panic
            }
        }
    }

    fn say(&self, event: &MatchedEvent, cause: &str) {
        if let Some(unsaid) = lock(&self.panics).may_be_said(Instant::now()) {
            let outcome = match self.on_panic {
                Verdict::Write => "is written without it",
                Verdict::Drop => "is not written",
            };
            log::error!(unsaid; "{}: JSON middleware panicked ({cause}), event {} {outcome}", event.watch.gvr, event.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::{event, watch};

    fn touches(_event: &MatchedEvent, record: &mut JsonRecord) -> Verdict {
        record.insert_label("team", "a").unwrap();
        record.set_field("n", &serde_json::json!(7)).unwrap();
        Verdict::Write
    }

    #[test]
    fn one_record_serves_all_events_of_a_thread_and_grows_no_more_after_the_first() {
        let (chain, metrics, watch) = (Chain::new(vec![Arc::new(touches)]), WatchMetrics::default(), watch("v1/pods"));
        let mut capacities = Vec::new();
        for version in 100..200 {
            let record = chain.process(&event(&watch, "web-0", version), &metrics).unwrap();
            assert!(lock(&chain.records).is_empty());
            capacities.push(record.capacity());
            chain.give_back(record);
        }
        assert_eq!(lock(&chain.records).len(), 1);
        // Two buffers of the labels change places, so that the second event may fill one for the first time.
        assert!(capacities[0] > 0 && capacities[2..].iter().all(|capacity| *capacity == capacities[2]), "{capacities:?}");
    }

    #[test]
    fn a_large_record_is_not_kept() {
        let (chain, metrics, watch) = (Chain::new(vec![Arc::new(touches)]), WatchMetrics::default(), watch("v1/pods"));
        let mut record = chain.process(&event(&watch, "web-0", 1), &metrics).unwrap();
        record.insert_annotation("large", &"x".repeat(RECORD_BYTES_KEPT)).unwrap();
        chain.give_back(record);
        assert!(lock(&chain.records).is_empty());
    }
}
