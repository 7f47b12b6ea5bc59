//! Joins the stations: builds them right to left, so that nothing is read before it can be written, and stops them
//! left to right, so that what was read is still written.
//!
//! Holds no logic of its own: its plan says what is watched, an informer how.

mod adding;
mod files;
mod fold;
mod guard;
mod ids;
mod keeper;
mod memory;
mod namespaces;
mod plan;
mod recovery;
mod redacting;
mod registering;
mod reload;
mod run;
mod spawned;
mod survey;
mod synced;
mod turn;
mod watches;

use crate::checkpoint::StateError;
use crate::client::{self, Client};
use crate::config::{Config, ConfigError};
use crate::dispatch::SubscriptionError;
use crate::http::HttpError;
use crate::lifecycle::{Joined, Stop};
use crate::sink::SinkError;
use adding::Added;
use memory::Memory;
use registering::Registrations;
use run::Run;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use survey::{Survey, Surveys};
use turn::Turn;

pub use adding::Remembered;
pub use files::check_files;
pub use ids::SharedId;
pub use memory::OtherCluster;
pub use plan::PlanError;
pub use registering::Registration;
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
/// _ = controller.add_event_handler(move |event: &MatchedEvent| {
///     let namespace_names = vec![event.name().into_owned()];
///     watching.add_resources(&[ResourceConfig { namespace_names, ..ResourceConfig::new("v1/pods") }])?;
///     Ok(())
/// })?;
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
    /// Locked before the run's watches, where both are.
    added: Mutex<Added>,
    /// Of whoever starts them: who finds nothing to start then knows that everything was.
    starting: Turn,
    stop: Stop,
    surveys: Surveys,
    started: Mutex<bool>,
    /// While it is at work.
    run: Mutex<Option<Arc<Run>>>,
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
    /// What was registered after the start would never be used.
    #[error("{what} after the controller was started, and would never be used; do so before the start")]
    AfterStart {
        /// What happened.
        what: &'static str,
    },
    /// Nothing is added to what was stopped.
    #[error("this controller was stopped and watches nothing any more; make another for another run")]
    Stopped,
    /// A subscription asks for what cannot be.
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    /// The events' file cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The key of what is redacted cannot be read.
    #[error("cannot read redact_key_file {}", path.display())]
    RedactKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No key for what is redacted can be made.
    #[error("the system gives no random bytes, of which a key is made; name one with redact_key_file")]
    NoRandom,
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

    /// How many events this run has told; zero while nothing runs. Needs the feature `metrics`.
    #[cfg(feature = "metrics")]
    pub fn events_told(&self) -> u64 {
        self.0.at_work().map_or(0, |run| run.metrics().events_told())
    }

    /// How many watches are at work.
    pub fn active_informers(&self) -> ActiveInformers {
        self.0.at_work().map(|run| run.watches().count()).unwrap_or_default()
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
        self.0.registered().close();
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
            self.start_added_before()?;
            let watched = run.health().watches().iter().map(|status| status.watch().target.gvr.clone()).collect();
            inner.registered().warn_of_unwatched(&watched);
            run.health().begun();
            self.call_when_ready()
        });
        match begun {
            Ok(waiting) => {
                inner.stop.wait_until_requested();
                drop(waiting);
                let ended = run.shut_down(&inner.config);
                inner.end_adding();
                ended
            }
            Err(error) => {
                self.stop();
                let ended = run.shut_down(&inner.config);
                inner.end_adding();
                // What ended the start says more than what came of it.
                if error.is_stop() { ended } else { Err(error) }
            }
        }
    }
}

impl ControllerError {
    /// Whether it only says that the run was stopped before it began.
    fn is_stop(&self) -> bool {
        matches!(self, Self::Server { source, .. } if matches!(**source, client::Error::Stopped { .. }))
    }
}

impl Inner {
    fn run(&self) -> MutexGuard<'_, Option<Arc<Run>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_work(&self) -> Option<Arc<Run>> {
        self.run().clone()
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
