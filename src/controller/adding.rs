//! Watches that are added and removed while a run goes on.
//!
//! Takes [`ResourceConfig`]s, and what the state remembers of earlier runs; starts what is not watched yet, on a thread that is there
//! while something waits to be started, and tries again until it can. Promises that what was added without an error is watched
//! sooner or later, but for what the server can never serve, which is logged and forgotten.

use super::{Controller, ControllerError, Inner, thread};
use crate::api::{WatchId, WatchTarget};
use crate::chain::chain;
use crate::config::{self, ConfiguredWatch, ResourceConfig};
use crate::lifecycle::Joined;
use std::mem;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What was added to a controller.
#[derive(Default)]
pub(super) struct Added {
    /// Not started yet.
    pub(super) waiting: Vec<ConfiguredWatch>,
    /// How many are just being started.
    starting: usize,
    /// A thread starts what waits, and looks here once more before it ends.
    is_starting: bool,
    /// The last one of those threads.
    thread: Option<Joined>,
    /// What became of what was added, until somebody asks.
    outcome: Outcome,
    /// What earlier runs watched is to be watched too, once there is a run.
    with_remembered: bool,
}

/// What became of what was added.
#[derive(Default)]
struct Outcome {
    started: usize,
    mistake: Option<ControllerError>,
}

/// A watch that the state knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remembered {
    /// How its lines and ids name it.
    pub id: WatchId,
    /// What was watched.
    pub target: WatchTarget,
    /// When that was stored last, in whole seconds. After a week in which nobody watches it, it is forgotten.
    pub last_watched: SystemTime,
}

/// The pause after a start that failed; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest one: with a server that is away, one connection in so long, whatever was added.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a thread that starts watches gets to end, when everything it waits for has been ended.
const END_LIMIT: Duration = Duration::from_millis(500);
const THREAD_NAME: &str = "adding";

impl Controller {
    /// Watches more resources: before [`start`](Self::start), with the configured ones; while it runs, from now on. Returns at once:
    /// they are started on another thread, which tries again until the server can be asked. Until they have listed, the controller
    /// [is not ready](Self::is_ready). Those that are watched already are left as they are. May be called from a handler.
    ///
    /// What the server does not serve and never will (in a group that only API servers define), or does not let anyone watch, is
    /// logged as an error and forgotten; [`start_informers`](Self::start_informers) gives it to a program that wants to know.
    ///
    /// # Errors
    ///
    /// Every mistake in them, and [`ControllerError::Stopped`] after a stop; then none is added. When no thread can be started they
    /// stay added, for the next call.
    pub fn add_resources(&self, resources: &[ResourceConfig]) -> Result<(), ControllerError> {
        self.add(config::added_watches(resources)?)
    }

    fn add(&self, watches: Vec<ConfiguredWatch>) -> Result<(), ControllerError> {
        if self.0.stop.is_requested() {
            return Err(ControllerError::Stopped);
        }
        let mut added = self.0.added();
        added.waiting.extend(watches);
        self.0.note_waiting(&added);
        // Whoever is too early has added before the run takes what was added.
        let has_begun = self.0.at_work().is_some_and(|run| run.has_begun());
        if !has_begun || added.is_starting || added.waiting.is_empty() {
            return Ok(());
        }
        let controller = self.clone();
        added.thread = Some(thread(THREAD_NAME, move || controller.start_until_done())?);
        added.is_starting = true;
        Ok(())
    }

    /// Starts what waits, until nothing does.
    fn start_until_done(&self) {
        let (mut pause, mut is_failing) = (RETRY_FIRST, false);
        while let Err(error) = self.start_waiting() {
            if !is_failing {
                log::warn!("{}; trying again until what was added is watched", chain(&error));
                is_failing = true;
            }
            if self.0.stop.wait(pause) {
                break;
            }
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// Starts what waits, once. An error says that something still does.
    fn start_waiting(&self) -> Result<(), ControllerError> {
        let _turn = self.0.starting.take();
        let tried = self.0.start_added();
        let mut added = self.0.added();
        let is_done = added.waiting.is_empty() || self.0.stop.is_requested();
        let outcome = match tried {
            Err(error) if is_done || matches!(error, ControllerError::Plan(_)) => {
                // Nothing that could be tried again, though something else may have been added meanwhile.
                if !error.is_stop() {
                    log::error!("{}", chain(&error));
                }
                added.outcome.mistake = Some(error);
                if is_done { Ok(()) } else { Err(ControllerError::StateBusy) }
            }
            tried if is_done => tried.map(drop),
            tried => tried.and(Err(ControllerError::StateBusy)),
        };
        // Whoever adds from here on starts another thread.
        added.is_starting = !is_done;
        outcome
    }

    /// Waits until what was [added](Self::add_resources) was started or tried, and says how many watches were started since this was
    /// last asked; zero before [`start`](Self::start) has started the configured ones, after which it starts them itself, and after a
    /// stop. Nobody needs to call it: what was added is started anyway. May be called from a handler.
    ///
    /// # Errors
    ///
    /// What the server can never serve of what was added, by whomever; everything else is started all the same. When the server
    /// cannot say what it serves, when no thread can be started, or when one of them is just being removed, what is not started is
    /// tried again.
    ///
    /// # Blocking
    ///
    /// Asks the server what it serves, after whoever asks already; ended by [`stop`](Self::stop).
    pub fn start_informers(&self) -> Result<usize, ControllerError> {
        let _turn = self.0.starting.take();
        let tried = self.0.start_added();
        let mut added = self.0.added();
        let outcome = mem::take(&mut added.outcome);
        match (tried, outcome.mistake) {
            (Err(error), _) | (Ok(()), Some(error)) => Err(error),
            (Ok(()), None) => Ok(outcome.started),
        }
    }

    /// What earlier runs have watched on this cluster, as far as the state still knows it, sorted by what is watched; nothing where
    /// no state is kept.
    ///
    /// # Errors
    ///
    /// [`ControllerError::NotRunning`] before the configured watches have started, and after the end.
    pub fn remembered(&self) -> Result<Vec<Remembered>, ControllerError> {
        let run = self.0.at_work().filter(|run| run.has_begun()).ok_or(ControllerError::NotRunning)?;
        Ok(run.remembered().to_vec())
    }

    /// Watches again what earlier runs have watched and this one does not, as if it was [added](Self::add_resources): a program whose
    /// watches come from events so gets the deletes of what went while it was down, also of objects whose definition is gone. Before
    /// [`start`](Self::start) it is noted, and done as soon as the configured watches have started.
    ///
    /// # Errors
    ///
    /// As for [`add_resources`](Self::add_resources).
    pub fn resume_remembered(&self) -> Result<(), ControllerError> {
        let run = {
            let mut added = self.0.added();
            let run = self.0.at_work().filter(|run| run.has_begun());
            added.with_remembered |= run.is_none();
            run
        };
        match run {
            None if self.0.stop.is_requested() => Err(ControllerError::Stopped),
            None => Ok(()),
            Some(run) => self.add(run.remembered().iter().map(Remembered::to_watch).collect()),
        }
    }

    /// Starts what was added before the run had begun.
    pub(super) fn start_added_before(&self) -> Result<(), ControllerError> {
        self.start_informers()?;
        // Apart from these: what an earlier run has watched, and no server has any more, ends no start.
        if mem::take(&mut self.0.added().with_remembered) { self.resume_remembered() } else { Ok(()) }
    }

    /// Stops watching resources, and says how many watches that were. Nothing is told as deleted, and no handler is called for
    /// an event of theirs when this returns. What they have come to stays in the state: added again, they go on from there. A
    /// namespace means nothing for a resource that turned out to be cluster-scoped: it is removed all the same.
    ///
    /// # Errors
    ///
    /// Every mistake in `resources`; then none is removed.
    ///
    /// # Blocking
    ///
    /// For handler calls that are under way, and for another thread that is just starting one of them, `shutdown_grace_sec` at
    /// most; not for the call it is made from.
    pub fn remove_resources(&self, resources: &[ResourceConfig]) -> Result<usize, ControllerError> {
        let watches = config::added_watches(resources)?;
        if let Some(run) = self.0.at_work() {
            let removed = run.remove(&self.0, &watches);
            self.0.note_waiting(&self.0.added());
            return Ok(removed);
        }
        self.0.added().waiting.retain(|added| !watches.iter().any(|watch| watch.target == added.target));
        Ok(0)
    }
}

impl Inner {
    pub(super) fn added(&self) -> MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what waits, in the caller's turn. An error other than of what is forgotten leaves what was not started.
    fn start_added(&self) -> Result<(), ControllerError> {
        let run = self.at_work().filter(|run| run.has_begun() && !self.stop.is_requested());
        let Some(run) = run else { return Ok(()) };
        let (reserved, are_all_free) = {
            // Held until they have their places, so that a removal finds them in either.
            let mut added = self.added();
            let reserved = run.watches().reserve(&mut added.waiting);
            added.starting = reserved.len();
            (reserved, added.waiting.is_empty())
        };
        let started = if reserved.is_empty() { Ok(0) } else { run.add(self, reserved) };
        let mut added = self.added();
        added.starting = 0;
        self.note_waiting(&added);
        added.outcome.started += *started.as_ref().unwrap_or(&0);
        started.and(if are_all_free { Ok(()) } else { Err(ControllerError::StateBusy) })
    }

    /// What waits to be started has not listed.
    fn note_waiting(&self, added: &Added) {
        if let Some(run) = self.at_work() {
            run.health().waiting_to_start(added.waiting.len() + added.starting);
        }
    }

    /// Ends the thread that starts watches, if there is one. Call it after a stop.
    pub(super) fn end_adding(&self) {
        self.surveys.interrupt();
        let thread = self.added().thread.take();
        if let Some(thread) = thread
            && !thread.is_current()
            && !thread.join_until(Instant::now() + END_LIMIT)
        {
            log::warn!("{THREAD_NAME}: does not end, left alone");
        }
    }
}

impl Remembered {
    fn to_watch(&self) -> ConfiguredWatch {
        ConfiguredWatch::remembered(self.target.clone())
    }
}
