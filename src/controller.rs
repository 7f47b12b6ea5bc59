//! Joins the stations: builds them right to left, so that nothing is read before it can be written, and stops them
//! left to right, so that what was read is still written.
//!
//! Holds no logic of its own: its plan says what is watched, an informer how.

mod fold;
mod ids;
mod keeper;
mod memory;
mod namespaces;
mod plan;
mod reload;
mod run;
mod spawned;
mod survey;
mod turn;
mod watches;

use crate::checkpoint::StateError;
use crate::client::{self, Client};
use crate::config::{self, Config, ConfigError, ConfiguredWatch, ResourceConfig};
use crate::dispatch::{self, EventHandler, Registered, Subscription};
use crate::health::{Liveness, Readiness};
use crate::http::HttpError;
use crate::lifecycle::{Joined, Stop};
use crate::sink::{JsonMiddleware, SinkError};
use memory::Memory;
use run::Run;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use survey::{Survey, Surveys};
use turn::Turn;

pub use ids::SharedId;
pub use memory::OtherCluster;
pub use plan::PlanError;
pub use reload::Reloaded;
pub use spawned::Spawned;
pub use watches::ActiveInformers;

/// Runs Faro against one API server. Cheap to clone; all clones are one controller, which runs once.
///
/// A handler may hold a clone, to add resources or to stop; when the run has ended, the controller holds no handler any more.
///
/// ```no_run
/// use faro::client::Client;
/// use faro::config::{Config, ResourceConfig};
/// use faro::controller::Controller;
/// use faro::event::MatchedEvent;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::builder("faro-events").resource(ResourceConfig::new("v1/namespaces")).build()?;
/// let controller = Controller::new(Client::try_default()?, config);
/// let watching = controller.clone();
/// controller.add_event_handler(move |event: &MatchedEvent| {
///     let namespace_names = vec![event.name().into_owned()];
///     watching.add_resources(&[ResourceConfig { namespace_names, ..ResourceConfig::new("v1/pods") }])?;
///     watching.start_informers()?;
///     Ok(())
/// });
/// controller.start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Controller(Arc<Inner>);

struct Inner {
    client: Client,
    config: Config,
    registered: Mutex<Registrations>,
    /// Watches that were added and not started yet. Locked before the run's watches, where both are.
    added: Mutex<Vec<ConfiguredWatch>>,
    /// Of whoever starts them: who finds nothing to start then knows that everything was.
    starting: Turn,
    stop: Stop,
    surveys: Surveys,
    started: Mutex<bool>,
    /// While it is at work.
    run: Mutex<Option<Arc<Run>>>,
}

/// What the embedding program brings.
#[derive(Default)]
struct Registrations {
    settings: dispatch::Settings,
    handlers: Vec<Registered>,
    middleware: Vec<Arc<dyn JsonMiddleware>>,
    ready: Option<Box<dyn FnOnce() + Send>>,
}

/// How a run ended that was stopped as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Events that were received, but not accepted by every handler and the file when the grace ended.
    pub unfinished: u64,
}

/// Why a run could not start, or ended by itself, or why a watch could not be added to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// What is configured does not fit the server.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What is to be added is no resource to be watched.
    #[error(transparent)]
    Resources(#[from] ConfigError),
    /// The configuration that is to be taken cannot be read, or something in it is wrong.
    #[error(transparent)]
    Config(ConfigError),
    /// The configuration that is to be taken differs in what is read at the start alone.
    #[error("{} cannot change while running; restart for that, or take the change back: nothing of it was taken", keys.join(", "))]
    FixedKeys {
        /// The keys, as in `metrics.port`.
        keys: Vec<&'static str>,
    },
    /// The configured watches are not at work: not yet, or not any more.
    #[error("nothing runs that could take another configuration")]
    NotRunning,
    /// The controller was started before.
    #[error("this controller was started before; make another for another run")]
    StartedBefore,
    /// The events' file cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// What earlier runs have told cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state's disk takes nothing, or the watch was removed and its last events are still being dealt with.
    #[error("cannot read what is stored of a watch while its state is being written; add it again later")]
    StateBusy,
    /// The state is of another cluster at the same URL.
    #[error(transparent)]
    OtherCluster(#[from] OtherCluster),
    /// Two things to be watched have one id.
    #[error(transparent)]
    SharedId(#[from] SharedId),
    /// Metrics and health cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server cannot be reached, or refuses.
    #[error("cannot start on {server}")]
    Server {
        /// Its URL.
        server: String,
        /// What happened.
        source: Box<client::Error>,
    },
    /// The operating system refused a thread.
    #[error("cannot start thread {name}: raise the limit of processes (ulimit -u, pids.max) or watch fewer resources")]
    Thread {
        /// The thread's name.
        name: String,
        /// What happened.
        source: io::Error,
    },
}

impl Controller {
    /// Opens nothing yet.
    pub fn new(client: Client, config: Config) -> Self {
        Self(Arc::new(Inner {
            client,
            config,
            registered: Mutex::default(),
            added: Mutex::default(),
            starting: Turn::default(),
            stop: Stop::new(),
            surveys: Surveys::default(),
            started: Mutex::new(false),
            run: Mutex::default(),
        }))
    }

    /// Registers a handler for every event. Handlers that are registered after [`start`](Self::start) are never called.
    ///
    /// What is asked of the server is what the handlers [need](EventHandler::interest); without any, metadata only.
    pub fn add_event_handler(&self, handler: impl EventHandler + 'static) {
        self.subscribe(Subscription::new(), handler);
    }

    /// Registers a handler for what `subscription` says. As [`add_event_handler`](Self::add_event_handler) otherwise.
    pub fn subscribe(&self, subscription: Subscription, handler: impl EventHandler + 'static) {
        self.0.registered().handlers.push(Registered::new(subscription, handler));
    }

    /// How events are handed to handlers: threads, attempts, pauses, and when a slow call is told. The last ones set before
    /// [`start`](Self::start) hold. Defaults to [`Settings::default`](dispatch::Settings::default).
    pub fn set_handler_settings(&self, settings: dispatch::Settings) {
        self.0.registered().settings = settings;
    }

    /// Registers middleware: it sees each record before it is written, after those that were registered before it. What is
    /// registered after [`start`](Self::start) is never called.
    pub fn add_json_middleware(&self, middleware: impl JsonMiddleware + 'static) {
        self.0.registered().middleware.push(Arc::new(middleware));
    }

    /// Calls `callback` once, on a thread of its own, when the first list of every configured watch has ended. The last one
    /// set before [`start`](Self::start) holds.
    pub fn set_ready_callback(&self, callback: impl FnOnce() + Send + 'static) {
        self.0.registered().ready = Some(Box::new(callback));
    }

    /// Whether it runs, the first list of every watch has ended, also of those that were added since, and what is told can be
    /// written.
    pub fn is_ready(&self) -> bool {
        self.readiness().is_some_and(|readiness| readiness.ready)
    }

    /// Whether it is [ready](Self::is_ready), and what is missing, as `/ready` tells it; `None` while nothing runs.
    pub fn readiness(&self) -> Option<Readiness> {
        self.0.at_work().map(|run| run.health().readiness())
    }

    /// Whether every thread lives and moves, as `/health` tells it; `None` while nothing runs.
    pub fn liveness(&self) -> Option<Liveness> {
        self.0.at_work().map(|run| run.health().liveness())
    }

    /// How many events this run has told; zero while nothing runs. Needs the feature `metrics`.
    #[cfg(feature = "metrics")]
    pub fn events_told(&self) -> u64 {
        self.0.at_work().map_or(0, |run| run.metrics().events_told())
    }

    /// How many watches are at work.
    pub fn active_informers(&self) -> ActiveInformers {
        self.0.at_work().map(|run| run.watches().count()).unwrap_or_default()
    }

    /// Notes resources to watch, from the next [`start_informers`](Self::start_informers) on, or from [`start`](Self::start).
    /// Those that are watched already are left as they are.
    ///
    /// # Errors
    ///
    /// Every mistake in them; then none is noted.
    pub fn add_resources(&self, resources: &[ResourceConfig]) -> Result<(), ControllerError> {
        let watches = config::added_watches(resources)?;
        self.0.added().extend(watches);
        Ok(())
    }

    /// Starts what was [added](Self::add_resources), by whomever, and says how many watches that are; zero before
    /// [`start`](Self::start) has started the configured ones, after which it starts them itself, and after a stop. When it returns
    /// without an error, everything that was added before the call is watched, but for what another call has named as a mistake.
    /// May be called from a handler.
    ///
    /// # Errors
    ///
    /// What the server does not serve and never will (in a group that only API servers define), or does not let anyone watch, is
    /// named and forgotten; everything else is started all the same. When the server cannot say what it serves, when no thread can
    /// be started, or when one of them is just being removed, what is not started stays added, for the next call.
    ///
    /// # Blocking
    ///
    /// Asks the server what it serves, after whoever asks already; ended by [`stop`](Self::stop).
    pub fn start_informers(&self) -> Result<usize, ControllerError> {
        let _turn = self.0.starting.take();
        // Whoever is too early has added before the run takes what was added.
        let Some(run) = self.0.at_work().filter(|run| run.has_begun() && !self.0.stop.is_requested()) else { return Ok(0) };
        let (reserved, are_all_free) = {
            // Held until they have their places, so that a removal finds them in either.
            let mut added = self.0.added();
            let reserved = run.watches().reserve(&mut added);
            (reserved, added.is_empty())
        };
        let started = if reserved.is_empty() { Ok(0) } else { run.add(&self.0, reserved) };
        if are_all_free { started } else { started.and(Err(ControllerError::StateBusy)) }
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
            return Ok(run.remove(&self.0, &watches));
        }
        self.0.added().retain(|added| !watches.iter().any(|watch| watch.target == added.target));
        Ok(0)
    }

    /// Asks the run to end, from any thread, also from a handler, as often as one likes. Returns at once;
    /// [`start`](Self::start) returns when all is drained.
    pub fn stop(&self) {
        self.0.stop.request();
        self.0.surveys.interrupt();
    }

    /// Runs until stopped, then drains.
    ///
    /// # Errors
    ///
    /// When the run cannot start, or its output ends for good.
    ///
    /// # Blocking
    ///
    /// Until [`stop`](Self::stop), or the end of `auto_shutdown_sec`; then for `shutdown_grace_sec` at most.
    pub fn start(&self) -> Result<Summary, ControllerError> {
        if std::mem::replace(&mut *self.0.started.lock().unwrap_or_else(PoisonError::into_inner), true) {
            return Err(ControllerError::StartedBefore);
        }
        let _timer = self.0.config.auto_shutdown.map(|limit| self.stop_after(limit)).transpose()?;
        let ended = self.run();
        // Ends the timer, whatever ended the run.
        self.stop();
        ended
    }

    /// The same on a thread of its own.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn spawn(&self) -> Result<Spawned, ControllerError> {
        Spawned::start(self.clone())
    }

    fn stop_after(&self, limit: Duration) -> Result<Joined, ControllerError> {
        let controller = self.clone();
        thread("auto-shutdown", move || {
            controller.0.stop.wait(limit);
            controller.stop();
        })
    }

    fn run(&self) -> Result<Summary, ControllerError> {
        let inner = &*self.0;
        let (run, memory) = Run::open(inner)?;
        let run = Arc::new(run);
        *inner.run() = Some(Arc::clone(&run));
        let ended = self.work(&run, memory);
        // A handler may hold this controller, which must not hold the handler any longer.
        *inner.run() = None;
        ended
    }

    fn work(&self, run: &Run, memory: Option<Memory>) -> Result<Summary, ControllerError> {
        let inner = &*self.0;
        let begun = run.start(inner, memory).and_then(|()| {
            self.start_informers()?;
            self.tell_when_ready()
        });
        match begun {
            Ok(telling) => {
                inner.stop.wait_until_requested();
                drop(telling);
                run.shut_down(&inner.config)
            }
            Err(error) => {
                self.stop();
                let ended = run.shut_down(&inner.config);
                // What ended the start says more than what came of it.
                if error.is_stop() { ended } else { Err(error) }
            }
        }
    }

    fn tell_when_ready(&self) -> Result<Option<Joined>, ControllerError> {
        let Some(callback) = self.0.registered().ready.take() else { return Ok(None) };
        let controller = self.clone();
        let watch = move || {
            while !controller.is_ready() {
                if controller.0.stop.wait(READY_CHECK) {
                    return;
                }
            }
            callback();
        };
        thread("ready", watch).map(Some)
    }
}

impl ControllerError {
    /// Whether it only says that the run was stopped before it began.
    fn is_stop(&self) -> bool {
        matches!(self, Self::Server { source, .. } if matches!(**source, client::Error::Stopped { .. }))
    }
}

/// How often a program that waits for it has the readiness looked at, until it is there.
const READY_CHECK: Duration = Duration::from_millis(20);

impl Inner {
    fn registered(&self) -> MutexGuard<'_, Registrations> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> MutexGuard<'_, Option<Arc<Run>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_work(&self) -> Option<Arc<Run>> {
        self.run().clone()
    }

    fn added(&self) -> MutexGuard<'_, Vec<ConfiguredWatch>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_failed(&self, error: client::Error) -> ControllerError {
        ControllerError::Server { server: self.client.server().to_owned(), source: Box::new(error) }
    }

    fn survey(&self) -> Survey {
        self.surveys.begin(&self.client, &self.stop)
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Joined, ControllerError> {
    Joined::spawn(name, body).map_err(|source| ControllerError::Thread { name: name.to_owned(), source })
}
