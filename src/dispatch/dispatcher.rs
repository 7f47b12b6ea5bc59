//! Owns every subscription's queue, lanes and workers, and the tickets of every watch; ends them in order.

use super::backlog::Backlog;
use super::credit::Gate;
use super::crew::Crew;
use super::handler::{Export, Interest};
use super::outlet::{LaneOutlet, Way};
use super::queue::Share;
use super::recorder::Recorder;
use super::settings::Settings;
use super::slow::{self, Desk, SlowWatch};
use super::subscriber::Subscriber;
use super::subscription::{Registered, SubscriptionError};
use super::tracker::{Ledger, Resumed};
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Hands events to handlers and to the export.
pub struct Dispatcher {
    subscribers: Vec<Arc<Subscriber>>,
    export: Option<Arc<dyn Export>>,
    recorder: Option<Arc<Recorder>>,
    handler_warn_after: Duration,
    health: Health,
    state: Mutex<State>,
}

/// What a drain left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Events that were handed over and not accepted by every receiver. They stay unacknowledged.
    pub unfinished: u64,
}

struct State {
    /// What the watches of each gvr may have with the export.
    gates: HashMap<String, Arc<Gate>>,
    /// The workers of each subscription that wants anything of what is watched.
    crews: Vec<Option<Crew>>,
    /// There as long as there is a crew.
    slow_watch: Option<SlowWatch>,
    /// Workers that end when the handler returns which has removed their last watch.
    leaving: Vec<Joined>,
    ledgers: Vec<Arc<Ledger>>,
    /// Each worker holds a clone of the sender: disconnected when all have ended. The sender is `None` once no more may start.
    running: (Option<Sender<Infallible>>, Receiver<Infallible>),
}

/// How long halted workers that sit in no handler get to end.
const HALT_LIMIT: Duration = Duration::from_millis(100);

impl Dispatcher {
    /// Hands every event to each of `handlers` that is registered for it, and to `export`, where there is one. No receiver waits
    /// for another.
    ///
    /// # Errors
    ///
    /// When a subscription asks for what cannot be, when two have one name, or when there are too many.
    pub fn new(
        settings: &Settings,
        handlers: Vec<Registered>,
        export: Option<Arc<dyn Export>>,
        health: Health,
    ) -> Result<Self, SubscriptionError> {
        Self::recording(settings, handlers, export, health, None)
    }

    /// The same, and what is handed to handlers is journalled first, where there is a recorder, for watches whose progress is stored.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn recording(
        settings: &Settings,
        handlers: Vec<Registered>,
        export: Option<Arc<dyn Export>>,
        health: Health,
        recorder: Option<Arc<Recorder>>,
    ) -> Result<Self, SubscriptionError> {
        Registered::check_all(&handlers, settings.lanes)?;
        // With the export alone, its lines say all.
        let recorder = recorder.filter(|_| !handlers.is_empty());
        let (running_sender, running) = bounded(0);
        let new = |(number, registered)| Arc::new(Subscriber::new(registered, number, settings, recorder.as_deref()));
        let subscribers: Vec<_> = handlers.into_iter().enumerate().map(new).collect();
        let state = State {
            gates: HashMap::new(),
            crews: subscribers.iter().map(|_| None).collect(),
            slow_watch: None,
            leaving: Vec::new(),
            ledgers: Vec::new(),
            running: (Some(running_sender), running),
        };
        let handler_warn_after = settings.handler_warn_after;
        Ok(Self { subscribers, export, recorder, handler_warn_after, health, state: Mutex::new(state) })
    }

    /// What the handlers need of the objects of `gvr`; `None` where none is called for any of them, so that the export, which
    /// needs metadata, is all there is. Of `v1/secrets` nothing but metadata is ever needed.
    pub fn interest_in(&self, gvr: &GroupVersionResource) -> Option<Interest> {
        let interests = self.subscribers.iter().filter_map(|subscriber| subscriber.registered.interest_in(gvr));
        interests.max().map(|interest| if gvr.is_secrets() { Interest::Metadata } else { interest })
    }

    /// Makes the outlet of `watch`. The first one that a subscription wants anything of starts its lanes, and all others share them.
    ///
    /// # Errors
    ///
    /// When no thread can be started, or the dispatcher is closed.
    pub fn outlet(&self, watch: Arc<Watch>, metrics: WatchMetrics) -> io::Result<LaneOutlet> {
        self.open_outlet(watch, metrics, |ledger| ledger)
    }

    /// The same for a watch whose progress is stored: it goes on from `resumed`, and what changes is counted in `backlog`
    /// until [`Ledger::progress`] takes it.
    ///
    /// # Errors
    ///
    /// When no thread can be started, or the dispatcher is closed.
    pub fn resumed_outlet(
        &self,
        watch: Arc<Watch>,
        metrics: WatchMetrics,
        resumed: Resumed,
        backlog: Arc<Backlog>,
    ) -> io::Result<LaneOutlet> {
        let recorder = self.recorder.clone();
        self.open_outlet(watch, metrics, |ledger| ledger.resumed(resumed, backlog).recorded(recorder))
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
        let ways = match self.open_ways(&mut state, &watch, &running) {
            Ok(ways) => ways,
            Err(error) => {
                // Of those that were started nobody else may have need.
                let idle = self.take_idle(&mut state);
                drop(state);
                drop(idle);
                return Err(error);
            }
        };
        let gate = Arc::clone(state.gates.entry(watch.gvr.clone()).or_default());
        let ledger = Ledger::new(watch, metrics, gate).feeding(ways.iter().map(|way| Arc::clone(&way.share)));
        let ledger = Arc::new(begin(ledger));
        state.ledgers.retain(|ledger| !is_over(ledger));
        state.ledgers.push(Arc::clone(&ledger));
        let outlet = LaneOutlet::new(ledger, self.export.clone(), ways);
        outlet.restore_owed();
        Ok(outlet)
    }

    /// The ways to all subscriptions that want anything of `watch`.
    fn open_ways(&self, state: &mut State, watch: &Watch, running: &Sender<Infallible>) -> io::Result<Vec<Way>> {
        let mut ways = Vec::new();
        for (number, subscriber) in self.subscribers.iter().enumerate() {
            if subscriber.registered.interest_in(&watch.target.gvr).is_none() {
                continue;
            }
            if state.crews[number].is_none() {
                state.crews[number] = Some(self.start_crew(state, subscriber, number, running)?);
            }
            let lanes = state.crews[number].as_ref().map(|crew| Arc::clone(crew.lanes())).expect("it was just started");
            let (receiver, registered) = (subscriber.receiver, subscriber.registered.clone());
            ways.push(Way {
                receiver,
                name: subscriber.name.clone(),
                registered,
                share: Arc::new(Share::new(&subscriber.queue)),
                lanes,
            });
        }
        Ok(ways)
    }

    /// Each worker keeps a clone of `running` until it ends.
    fn start_crew(
        &self,
        state: &mut State,
        subscriber: &Arc<Subscriber>,
        number: usize,
        running: &Sender<Infallible>,
    ) -> io::Result<Crew> {
        let slow_watch = match &mut state.slow_watch {
            Some(slow_watch) => slow_watch,
            none @ None => none.insert(self.start_slow_watch()?),
        };
        let mut crew = Crew::new(subscriber.lanes);
        for lane in 0..subscriber.lanes {
            let name = format!("lane-{number}-{lane}");
            let desk = Arc::new(Desk::new(self.handler_warn_after));
            slow_watch.add(&desk);
            let pulse = self.health.add_thread(&name);
            let worker = Worker::new(Arc::clone(subscriber), Arc::clone(crew.lanes()), lane, desk, pulse);
            let running = running.clone();
            crew.spawn(name, move || {
                worker.run();
                drop(running);
            })?;
        }
        Ok(crew)
    }

    fn start_slow_watch(&self) -> io::Result<SlowWatch> {
        SlowWatch::start(self.handler_warn_after, self.health.add_thread(slow::THREAD_NAME))
    }

    /// Ends a watch at run time: from now on no handler is called for an event of it, nor the export; what is on its way is
    /// dropped, unacknowledged, and no longer counted as [`unfinished`](Self::unfinished). With the last watch that a subscription
    /// wants anything of its threads end. Returns whether every call that was under way has returned; where one has not, a warning says so,
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
        let (crews, slow_watch) = self.forget(ledger);
        let has_returned = ledger.wait_for_calls(deadline);
        if !has_returned {
            log::warn!("{}: removed, and a handler that has an event of it does not return", ledger.watch().target);
        }
        for crew in crews {
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
    fn forget(&self, ledger: &Arc<Ledger>) -> (Vec<Crew>, Option<SlowWatch>) {
        let mut state = self.state();
        state.ledgers.retain(|known| !Arc::ptr_eq(known, ledger));
        let gvr = &ledger.watch().gvr;
        if !state.ledgers.iter().any(|other| other.watch().gvr == *gvr && !is_over(other)) {
            state.gates.remove(gvr);
        }
        let (crews, slow_watch) = self.take_idle(&mut state);
        state.crews.iter().flatten().for_each(|crew| crew.lanes().sweep());
        (crews, slow_watch)
    }

    /// Takes the threads of subscriptions that want nothing of what is watched.
    fn take_idle(&self, state: &mut State) -> (Vec<Crew>, Option<SlowWatch>) {
        let mut idle = Vec::new();
        for (number, subscriber) in self.subscribers.iter().enumerate() {
            let wants = |ledger: &Arc<Ledger>| subscriber.registered.interest_in(&ledger.watch().target.gvr).is_some();
            if !state.ledgers.iter().any(|ledger| wants(ledger) && !is_over(ledger)) {
                idle.extend(state.crews[number].take());
            }
        }
        let slow_watch = if state.crews.iter().all(Option::is_none) { state.slow_watch.take() } else { None };
        (idle, slow_watch)
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
        let (crews, leaving, ledgers, running) = {
            let mut state = self.state();
            let crews: Vec<Crew> = state.crews.iter_mut().filter_map(Option::take).collect();
            (crews, mem::take(&mut state.leaving), state.ledgers.clone(), state.running.1.clone())
        };
        crews.iter().for_each(Crew::close);
        let ended = running.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected);
        if ended {
            // The export accepts at its own pace.
            for ledger in &ledgers {
                ledger.wait_until_settled(deadline);
            }
        }
        crews.iter().for_each(Crew::stop);
        let deadline = Instant::now() + HALT_LIMIT;
        for crew in crews {
            crew.join_until(deadline);
        }
        for worker in leaving {
            worker.join_until(deadline);
        }
        let slow_watch = self.state().slow_watch.take();
        drop(slow_watch);
        Drained { unfinished: self.unfinished() }
    }

    /// How many events were handed over and not accepted by every receiver, by now.
    pub fn unfinished(&self) -> u64 {
        let owed: u64 = self.subscribers.iter().map(|subscriber| subscriber.unheard()).sum();
        owed + self.state().ledgers.iter().map(|ledger| ledger.unfinished()).sum::<u64>()
    }

    /// How many times a handler was given up on.
    pub fn given_up(&self) -> u64 {
        self.subscribers.iter().map(|subscriber| subscriber.given_up()).sum()
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
        self.state().crews.iter().flatten().for_each(Crew::stop);
    }
}
