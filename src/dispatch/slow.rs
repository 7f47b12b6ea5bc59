//! Names handlers that take long, also while they have not returned.
//!
//! Each lane's worker notes at its [`Desk`] which event it has given to which handler; one thread, [`SlowWatch`], goes round
//! the desks. A call costs one lock that nobody else wants, and no allocation.

use crate::api::{ResourceVersion, Watch};
use crate::event::{EventType, MatchedEvent};
use crate::health::Pulse;
use crate::lifecycle::Joined;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What one lane's worker is at.
#[derive(Debug)]
pub(super) struct Desk {
    warn_after: Duration,
    call: Mutex<Call>,
}

/// The present call; what it leaves behind is written over by the next one.
#[derive(Debug, Default)]
struct Call {
    /// `None` between calls.
    since: Option<Instant>,
    is_named: bool,
    handler: &'static str,
    event: Option<(Arc<Watch>, ResourceVersion, EventType)>,
    uid: String,
}

impl Desk {
    pub(super) fn new(warn_after: Duration) -> Self {
        Self { warn_after, call: Mutex::default() }
    }

    /// The worker gives `event` to the handler of this name.
    pub(super) fn begin(&self, handler: &'static str, event: &MatchedEvent, now: Instant) {
        let mut call = self.call();
        (call.since, call.is_named, call.handler) = (Some(now), false, handler);
        call.event = Some((Arc::clone(&event.watch), event.resource_version(), event.event_type));
        call.uid.clear();
        call.uid.push_str(&event.uid());
    }

    /// The handler has returned, `took` after it was called.
    pub(super) fn end(&self, took: Duration) {
        let mut call = self.call();
        call.since = None;
        if took < self.warn_after {
            return;
        }
        let (is_named, handler, (gvr, id)) = (call.is_named, call.handler, call.gvr_and_id());
        drop(call);
        if is_named {
            log::info!("{gvr}: handler {handler} has returned after {took:.1?}, with event {id}");
        } else {
            log::warn!("{gvr}: handler {handler} took {took:.1?} for event {id}");
        }
    }

    /// Names the call if it is under way for too long and was not named before.
    pub(super) fn check(&self) {
        let mut call = self.call();
        let Some(lasting) = call.since.map(|since| since.elapsed()).filter(|lasting| *lasting >= self.warn_after) else { return };
        if call.is_named {
            return;
        }
        call.is_named = true;
        let (handler, (gvr, id)) = (call.handler, call.gvr_and_id());
        drop(call);
        log::warn!("{gvr}: handler {handler} has not returned for {lasting:.1?}, with event {id}");
    }

    fn call(&self) -> MutexGuard<'_, Call> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// As [`MatchedEvent::gvr`] and [`MatchedEvent::id`] have them.
    fn gvr_and_id(&self) -> (String, String) {
        let (watch, version, event_type) = self.event.as_ref().expect("a call is begun with its event");
        (watch.gvr.clone(), format!("{}/{}/{version}/{event_type}", watch.id, self.uid))
    }
}

/// The thread that goes round the desks. Ends when this is dropped.
pub(super) struct SlowWatch {
    desks: Arc<Mutex<Vec<Weak<Desk>>>>,
    // Dropped before `thread`: its end is what ends the thread.
    _stop: Sender<Infallible>,
    _thread: Joined,
}

/// How the thread that goes round the desks is called.
pub(super) const THREAD_NAME: &str = "handlers";

/// A call is named at most this share of its limit, and this long, after it has reached it.
const ROUNDS_PER_LIMIT: u32 = 4;
const ROUND_MAX: Duration = Duration::from_secs(1);

/// The pause between two rounds where the limit is next to nothing.
const ROUND_MIN: Duration = Duration::from_millis(10);

impl SlowWatch {
    pub(super) fn start(warn_after: Duration, pulse: Pulse) -> io::Result<Self> {
        let desks = Arc::<Mutex<Vec<Weak<Desk>>>>::default();
        let (stop, stopped) = bounded(0);
        let pause = (warn_after / ROUNDS_PER_LIMIT).clamp(ROUND_MIN, ROUND_MAX);
        let going_round = Arc::clone(&desks);
        let thread = Joined::spawn(THREAD_NAME, move || go_round(&going_round, &stopped, pause, pulse))?;
        Ok(Self { desks, _stop: stop, _thread: thread })
    }

    /// Watches over `desk` as long as its worker has it.
    pub(super) fn add(&self, desk: &Arc<Desk>) {
        lock(&self.desks).push(Arc::downgrade(desk));
    }
}

fn go_round(desks: &Mutex<Vec<Weak<Desk>>>, stopped: &Receiver<Infallible>, pause: Duration, pulse: Pulse) {
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        // Not under the lock: what checks a desk may log, and a logger may take its time.
        let present: Vec<Arc<Desk>> = {
            let mut desks = lock(desks);
            desks.retain(|desk| desk.strong_count() > 0);
            desks.iter().filter_map(Weak::upgrade).collect()
        };
        present.iter().for_each(|desk| desk.check());
    }
    pulse.ended();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
