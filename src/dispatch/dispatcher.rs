//! Owns the lanes of every gvr, their workers and the tickets of every watch; ends them in order.

use super::backlog::Backlog;
use super::credit::{CREDITS_PER_WATCH, Gate, WAKE_WATCH};
use super::handler::{Export, Interest};
use super::lane::{LaneOutlet, Lanes, Way};
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How events are handed to handlers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads for each gvr where handlers are registered, 1 to 64; where there are none, there is no need of any. Defaults to 4.
    pub lanes_per_gvr: usize,
    /// What happens to events that a handler refuses.
    pub retry: Retry,
}

/// How often and when a handler is asked again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in all, the first included. Defaults to 5.
    pub attempts_max: u32,
    /// The pause after the first failure; it doubles with each. Defaults to 200 ms.
    pub pause_first: Duration,
    /// The longest pause. Defaults to 10 s.
    pub pause_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lanes_per_gvr: 4, retry: Retry::default() }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 5, pause_first: Duration::from_millis(200), pause_max: Duration::from_secs(10) }
    }
}

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
    /// Disconnected when workers must end at once.
    pub(super) halt: Receiver<Infallible>,
    halted: AtomicBool,
    given_up: AtomicU64,
    health: Health,
}

impl Shared {
    pub(super) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    pub(super) fn count_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

struct State {
    routes: HashMap<String, Route>,
    workers: Vec<Joined>,
    ledgers: Vec<Arc<Ledger>>,
    /// `None` once workers must end at once.
    halt: Option<Sender<Infallible>>,
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
        let (halt_sender, halt) = bounded(0);
        let (running_sender, running) = bounded(0);
        let (halted, given_up) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { settings, handlers, export, halt, halted, given_up, health });
        let (routes, workers, ledgers) = (HashMap::new(), Vec::new(), Vec::new());
        let state = State { routes, workers, ledgers, halt: Some(halt_sender), running: (Some(running_sender), running) };
        Self { shared, state: Mutex::new(state) }
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
        state.ledgers.retain(|ledger| !ledger.is_closed() || ledger.unfinished() > 0);
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
        let count = self.shared.settings.lanes_per_gvr.clamp(1, LANES_MAX);
        let (lanes, receivers) = Lanes::new(count);
        for (index, lane) in receivers.into_iter().enumerate() {
            let name = format!("lane-{gvr}-{index}");
            let pulse = self.shared.health.add_thread(&name);
            let worker = Worker::new(Arc::clone(&self.shared), Arc::clone(handlers), lane, PARKED_PER_GVR / count, pulse);
            let running = running.clone();
            state.workers.push(Joined::spawn(name, move || {
                worker.run();
                drop(running);
            })?);
        }
        Ok(Arc::new(lanes))
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
        let (workers, ledgers, running) = {
            let mut state = self.state();
            state.routes.clear();
            (std::mem::take(&mut state.workers), state.ledgers.clone(), state.running.1.clone())
        };
        let ended = running.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected);
        if ended {
            // What workers handed to the export is accepted there.
            ledgers.iter().for_each(|ledger| ledger.wait_until_settled(deadline));
        }
        self.halt();
        let deadline = Instant::now() + HALT_LIMIT;
        for worker in workers {
            let name = worker.name().to_owned();
            if !worker.join_until(deadline) {
                log::warn!("{name}: still in a handler, left alone");
            }
        }
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

    fn halt(&self) {
        self.shared.halted.store(true, Ordering::Relaxed);
        self.state().halt = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dispatcher {
    /// Ends the workers at once; one that sits in a handler is waited for.
    fn drop(&mut self) {
        self.close();
        self.halt();
    }
}
