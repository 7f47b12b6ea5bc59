//! Owns the lanes of every gvr, their workers and the tickets of every watch; ends them in order.

use super::backlog::Backlog;
use super::credit::{CREDITS_PER_WATCH, Gate, WAKE_WATCH};
use super::crew::Crew;
use super::handler::{Export, Interest};
use super::lane::{LaneOutlet, Lanes, Way};
use super::parking::Parking;
use super::settings::Settings;
use super::slow::{self, Desk, SlowWatch};
use super::subscription::Registered;
use super::tracker::{Accepted, Ledger};
use super::worker::Worker;
use crate::api::{GroupVersionResource, Watch};
use crate::health::Health;
use crate::lifecycle::Joined;
use crate::metrics::WatchMetrics;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Hands events to handlers and to the export.
pub struct Dispatcher {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What a drain left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Events that were handed over and not accepted. They stay unacknowledged.
    pub unfinished: u64,
}

/// What all workers share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    handlers: Vec<Registered>,
    pub(super) export: Option<Arc<dyn Export>>,
    given_up: AtomicU64,
    health: Health,
}

impl Shared {
    pub(super) fn count_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

struct State {
    routes: HashMap<String, Route>,
    /// The workers of each gvr with handlers.
    crews: HashMap<String, Crew>,
    /// There as long as there is a crew.
    slow_watch: Option<SlowWatch>,
    /// Workers that end when the handler returns which has removed their last watch.
    leaving: Vec<Joined>,
    ledgers: Vec<Arc<Ledger>>,
    /// Each worker holds a clone of the sender: disconnected when all have ended. The sender is `None` once no more may start.
    running: (Option<Sender<Infallible>>, Receiver<Infallible>),
}

/// What the watches of one gvr share.
#[derive(Clone)]
struct Route {
    way: Way,
    gate: Arc<Gate>,
}

/// Most lanes of one gvr: more threads than that only wait for each other.
const LANES_MAX: usize = 64;

/// Parked events of one gvr, over all its lanes. So few that a watch whose parked events never move still comes down to the
/// number of events in flight at which it goes on.
const PARKED_PER_GVR: usize = CREDITS_PER_WATCH / 2;
const _: () = assert!(PARKED_PER_GVR < WAKE_WATCH && PARKED_PER_GVR >= LANES_MAX);

/// How long halted workers that sit in no handler get to end.
const HALT_LIMIT: Duration = Duration::from_millis(100);

impl Dispatcher {
    /// Hands every event to each of `handlers` that is registered for it, in this order, and then to `export`; without one, to
    /// nobody else.
    pub fn new(settings: Settings, handlers: Vec<Registered>, export: Option<Arc<dyn Export>>, health: Health) -> Self {
        let (running_sender, running) = bounded(0);
        let shared = Shared { settings, handlers, export, given_up: AtomicU64::new(0), health };
        let state = State {
            routes: HashMap::new(),
            crews: HashMap::new(),
            slow_watch: None,
            leaving: Vec::new(),
            ledgers: Vec::new(),
            running: (Some(running_sender), running),
        };
        Self { shared: Arc::new(shared), state: Mutex::new(state) }
    }

    /// What the handlers need of the objects of `gvr`; `None` where none is called for any of them, so that it has no lanes and
    /// the export, which needs metadata, is all there is. Of `v1/secrets` nothing but metadata is ever needed.
    pub fn interest_in(&self, gvr: &GroupVersionResource) -> Option<Interest> {
        let interest = self.shared.handlers.iter().filter_map(|handler| handler.interest_in(gvr)).max();
        interest.map(|interest| if gvr.is_secrets() { Interest::Metadata } else { interest })
    }

    /// Makes the outlet of `watch`. The first one of a gvr starts its lanes; watches of one gvr share them.
    ///
    /// # Errors
    ///
    /// When no thread can be started, or the dispatcher is closed.
    pub fn outlet(&self, watch: Arc<Watch>, metrics: WatchMetrics) -> io::Result<LaneOutlet> {
        self.open_outlet(watch, metrics, |ledger| ledger)
    }

    /// The same for a watch whose progress is stored: it goes on from `accepted`, and what changes is counted in `backlog`
    /// until [`Ledger::progress`] takes it.
    ///
    /// # Errors
    ///
    /// When no thread can be started, or the dispatcher is closed.
    pub fn resumed_outlet(
        &self,
        watch: Arc<Watch>,
        metrics: WatchMetrics,
        accepted: Accepted,
        backlog: Arc<Backlog>,
    ) -> io::Result<LaneOutlet> {
        self.open_outlet(watch, metrics, |ledger| ledger.resumed(accepted, backlog))
    }

    fn open_outlet(
        &self,
        watch: Arc<Watch>,
        metrics: WatchMetrics,
        begin: impl FnOnce(Ledger) -> Ledger,
    ) -> io::Result<LaneOutlet> {
        let mut state = self.state();
        let Some(running) = state.running.0.clone() else {
            return Err(io::Error::other(format!("cannot watch {}: faro is stopping", watch.gvr)));
        };
        let Route { way, gate } = match state.routes.get(&watch.gvr) {
            Some(route) => route.clone(),
            None => self.open_route(&mut state, &watch, &running)?,
        };
        let ledger = Arc::new(begin(Ledger::new(watch, metrics, gate)));
        state.ledgers.retain(|ledger| !is_over(ledger));
        state.ledgers.push(Arc::clone(&ledger));
        Ok(LaneOutlet::new(ledger, way))
    }

    fn open_route(&self, state: &mut State, watch: &Watch, running: &Sender<Infallible>) -> io::Result<Route> {
        let handlers = self.shared.handlers.iter().filter(|handler| handler.interest_in(&watch.target.gvr).is_some());
        let handlers: Arc<[Registered]> = handlers.cloned().collect();
        let way = if handlers.is_empty() {
            Way::Direct(self.shared.export.clone())
        } else {
            Way::Lanes(self.start_lanes(state, &watch.gvr, &handlers, running)?)
        };
        let route = Route { way, gate: Arc::default() };
        state.routes.insert(watch.gvr.clone(), route.clone());
        Ok(route)
    }

    /// Each worker keeps a clone of `running` until it ends.
    fn start_lanes(
        &self,
        state: &mut State,
        gvr: &str,
        handlers: &Arc<[Registered]>,
        running: &Sender<Infallible>,
    ) -> io::Result<Arc<Lanes>> {
        let Settings { lanes_per_gvr, handler_warn_after, .. } = self.shared.settings;
        let slow_watch = match &mut state.slow_watch {
            Some(slow_watch) => slow_watch,
            none @ None => none.insert(self.start_slow_watch()?),
        };
        let count = lanes_per_gvr.clamp(1, LANES_MAX);
        let (lanes, exits) = Lanes::new(count);
        let mut crew = Crew::new();
        for (index, lane) in exits.into_iter().enumerate() {
            let name = format!("lane-{gvr}-{index}");
            let desk = Arc::new(Desk::new(gvr, handler_warn_after));
            slow_watch.add(&desk);
            let worker = Worker {
                shared: Arc::clone(&self.shared),
                halt: crew.halt(),
                handlers: Arc::clone(handlers),
                lane,
                closed: false,
                parking: Parking::new(PARKED_PER_GVR / count),
                desk,
                pulse: self.shared.health.add_thread(&name),
            };
            let running = running.clone();
            crew.spawn(name, move || {
                worker.run();
                drop(running);
            })?;
        }
        state.crews.insert(gvr.to_owned(), crew);
        Ok(Arc::new(lanes))
    }

    fn start_slow_watch(&self) -> io::Result<SlowWatch> {
        SlowWatch::start(self.shared.settings.handler_warn_after, self.shared.health.add_thread(slow::THREAD_NAME))
    }

    /// Ends a watch at run time: from now on no handler is called for an event of it, nor the export; what is on its way is
    /// dropped, unacknowledged, and no longer counted as [`unfinished`](Self::unfinished). With the last watch of a gvr its lanes
    /// and their threads end. Returns whether every call that was under way has returned; where one has not, a warning says so,
    /// and what it is given next is nothing of this watch. A watch of the same that is added later is another one: it does not
    /// wait for that call.
    ///
    /// May be called from inside a handler, also of this watch: its own call is not waited for, and its event not accepted. A
    /// handler must not hold what another one needs to return, as that is waited for.
    ///
    /// # Blocking
    ///
    /// Until handlers on other threads have returned that were called before, `limit` at most, and a moment for threads to end.
    pub fn remove(&self, ledger: &Arc<Ledger>, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        ledger.retire();
        let (crew, slow_watch) = self.forget(ledger);
        let has_returned = ledger.wait_for_calls(deadline);
        if !has_returned {
            log::warn!("{}: removed, and a handler that has an event of it does not return", ledger.watch().target);
        }
        if let Some(mut crew) = crew {
            crew.stop();
            let own = crew.join_until(deadline.max(Instant::now() + HALT_LIMIT));
            let mut state = self.state();
            state.leaving.retain(|worker| !worker.is_finished());
            state.leaving.extend(own);
        }
        drop(slow_watch);
        has_returned
    }

    /// Takes `ledger` out of the books, and gives the threads that nobody else needs.
    fn forget(&self, ledger: &Arc<Ledger>) -> (Option<Crew>, Option<SlowWatch>) {
        let gvr = &ledger.watch().gvr;
        let mut state = self.state();
        state.ledgers.retain(|known| !Arc::ptr_eq(known, ledger));
        if state.ledgers.iter().any(|other| other.watch().gvr == *gvr && !is_over(other)) {
            if let Some(route) = state.routes.get(gvr) {
                route.way.sweep();
            }
            return (None, None);
        }
        state.routes.remove(gvr);
        let crew = state.crews.remove(gvr);
        let slow_watch = if state.crews.is_empty() { state.slow_watch.take() } else { None };
        (crew, slow_watch)
    }

    /// Grants no more credit to any watch, and wakes informers that wait for it. Call it before joining them.
    pub fn close(&self) {
        let mut state = self.state();
        state.running.0 = None;
        state.ledgers.iter().for_each(|ledger| ledger.close());
    }

    /// Finishes what was handed over. Call it when the informers have ended and dropped their outlets.
    ///
    /// After `grace`, whatever is left is dropped, pauses between attempts are cut short, and a handler that does not return
    /// is left alone.
    ///
    /// # Blocking
    ///
    /// Until everything is accepted, `grace` at most, and a moment for threads to end.
    pub fn drain(&self, grace: Duration) -> Drained {
        let deadline = Instant::now() + grace;
        self.close();
        let (mut crews, leaving, ledgers, running) = {
            let mut state = self.state();
            state.routes.clear();
            (mem::take(&mut state.crews), mem::take(&mut state.leaving), state.ledgers.clone(), state.running.1.clone())
        };
        let ended = running.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected);
        if ended {
            // What workers handed to the export is accepted there.
            for ledger in &ledgers {
                ledger.wait_until_settled(deadline);
            }
        }
        crews.values_mut().for_each(Crew::stop);
        let deadline = Instant::now() + HALT_LIMIT;
        for crew in crews.into_values() {
            crew.join_until(deadline);
        }
        for worker in leaving {
            worker.join_until(deadline);
        }
        let slow_watch = self.state().slow_watch.take();
        drop(slow_watch);
        Drained { unfinished: self.unfinished() }
    }

    /// How many events were handed over and not accepted, by now.
    pub fn unfinished(&self) -> u64 {
        self.state().ledgers.iter().map(|ledger| ledger.unfinished()).sum()
    }

    /// How many times a handler was given up on.
    pub fn given_up(&self) -> u64 {
        self.shared.given_up.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing more comes from the watch of `ledger`, and nothing of it is on its way.
fn is_over(ledger: &Ledger) -> bool {
    ledger.is_closed() && ledger.unfinished() == 0
}

impl Drop for Dispatcher {
    /// Ends the workers at once; one that sits in a handler is waited for.
    fn drop(&mut self) {
        self.close();
        self.state().crews.values_mut().for_each(Crew::stop);
    }
}
