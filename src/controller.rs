//! Joins the stations: builds them right to left, so that nothing is read before it can be written, and stops them
//! left to right, so that what was read is still written.
//!
//! Holds no logic of its own: its plan says what is watched, an informer how.

mod fold;
mod keeper;
mod memory;
mod namespaces;
mod plan;

use crate::api::{Scope, Watch};
use crate::checkpoint::{Progress, StateError, StateStore};
use crate::client::{self, Client, Content, Interrupt, RestListWatch, Transport};
use crate::config::{Config, InitialEvents, MetricsConfig};
use crate::dispatch::{self, Dispatcher, EventHandler, Export, Interest, Registered, Subscription};
use crate::files::Keeping;
use crate::health::{Health, WatchStatus};
use crate::http::{HttpError, HttpServer, HttpSettings};
use crate::informer::{Context, Informer, Limits, ListGate};
use crate::lifecycle::{Joined, Stop};
use crate::metrics::Metrics;
use crate::sink::{SinkError, SinkSettings, Writer};
use keeper::{Keeper, Surroundings};
use memory::Memory;
use plan::Plan;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use memory::OtherCluster;
pub use plan::PlanError;

/// Runs Faro against one API server. Cheap to clone; all clones are one controller.
#[derive(Clone)]
pub struct Controller(Arc<Inner>);

struct Inner {
    client: Client,
    config: Config,
    handlers: Mutex<Vec<Registered>>,
    stop: Stop,
    /// Ends what is asked of the server before anything runs.
    survey: Mutex<Option<Interrupt>>,
}

/// How a run ended that was stopped as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Events that were received, but not accepted by every handler and the file when the grace ended.
    pub unfinished: u64,
}

/// Why a run could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// What is configured does not fit the server.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The events' file cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// What earlier runs have told cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state is of another cluster at the same URL.
    #[error(transparent)]
    OtherCluster(#[from] OtherCluster),
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

/// What runs, in the order in which it stops.
struct Running {
    /// Every thread that asks the server.
    informers: Vec<(Interrupt, Joined)>,
    dispatcher: Dispatcher,
    keeper: Option<Keeper>,
    writer: Option<Arc<Writer>>,
    health: Health,
    // Last, so that probes are answered while the rest stops.
    _http: Option<HttpServer>,
}

/// What every informer is made with.
struct Shared {
    metrics: Metrics,
    health: Health,
    gate: ListGate,
}

impl Controller {
    /// Opens nothing yet.
    pub fn new(client: Client, config: Config) -> Self {
        Self(Arc::new(Inner { client, config, handlers: Mutex::default(), stop: Stop::new(), survey: Mutex::default() }))
    }

    /// Registers a handler, called for every event from the next [`start`](Self::start) on.
    ///
    /// Where a handler needs them, whole objects are asked of the server; elsewhere metadata only.
    pub fn add_event_handler(&self, handler: impl EventHandler + 'static) {
        self.subscribe(Subscription::new(), handler);
    }

    /// Registers a handler for the events that `subscription` names, from the next [`start`](Self::start) on.
    pub fn subscribe(&self, subscription: Subscription, handler: impl EventHandler + 'static) {
        let registered = Registered::new(subscription, handler);
        self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner).push(registered);
    }

    /// Asks the run to end, from any thread, as often as one likes. Returns at once; [`start`](Self::start) returns when all is drained.
    pub fn stop(&self) {
        self.0.stop.request();
        if let Some(interrupt) = self.0.survey.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            interrupt.interrupt();
        }
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
        let _timer = self.0.config.auto_shutdown.map(|limit| self.stop_after(limit)).transpose()?;
        let ended = self.run();
        // Ends the timer, whatever ended the run.
        self.stop();
        ended
    }

    fn stop_after(&self, limit: Duration) -> Result<Joined, ControllerError> {
        let (name, controller) = ("auto-shutdown", self.clone());
        let body = move || {
            controller.0.stop.wait(limit);
            controller.stop();
        };
        Joined::spawn(name, body).map_err(|source| ControllerError::Thread { name: name.to_owned(), source })
    }

    fn run(&self) -> Result<Summary, ControllerError> {
        let running = match self.build() {
            Err(ControllerError::Server { source, .. }) if matches!(*source, client::Error::Stopped { .. }) => {
                return Ok(Summary { unfinished: 0 });
            }
            built => built?,
        };
        self.0.stop.wait_until_requested();
        self.shut_down(running)
    }

    /// Everything from the file's writer to the informers' threads; on failure what was built is stopped again.
    fn build(&self) -> Result<Running, ControllerError> {
        let config = &self.0.config;
        let health = Health::default();
        let metrics = Metrics::new(config.cluster_name.as_deref());
        let memory = Memory::open(config)?;
        let writer = self.open_writer(&metrics, &health)?;
        let http = self.serve(&metrics, &health)?;
        let handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let export = writer.clone().map(|writer| writer as Arc<dyn Export>);
        let dispatcher = Dispatcher::new(dispatch::Settings::default(), handlers, export, health.clone());
        let (informers, keeper) = (Vec::new(), None);
        let mut running = Running { informers, dispatcher, keeper, writer, health: health.clone(), _http: http };
        let shared = Shared { metrics, health, gate: ListGate::new(config.max_concurrent_lists) };
        match self.start_informers(&mut running, memory, &shared) {
            Ok(()) => Ok(running),
            Err(error) => {
                self.stop();
                // What ended the start says more than what came of it.
                _ = self.shut_down(running);
                Err(error)
            }
        }
    }

    fn open_writer(&self, metrics: &Metrics, health: &Health) -> Result<Option<Arc<Writer>>, ControllerError> {
        let config = &self.0.config;
        if !config.json_export && !config.json_stdout {
            return Ok(None);
        }
        let folder = config.json_export.then(|| config.output_dir.clone());
        let settings = SinkSettings {
            folder,
            stdout: config.json_stdout,
            rotate: config.rotate,
            keep: Keeping { compress: config.compress, retain: config.retain },
            hold_until_committed: config.state.enabled,
            middleware: Vec::new(),
        };
        let writer = Writer::open(settings, metrics.clone(), health.clone(), self.0.stop.clone())?;
        if let Some(path) = writer.path() {
            log::info!("writing events to {}", path.display());
        }
        Ok(Some(writer))
    }

    fn serve(&self, metrics: &Metrics, health: &Health) -> Result<Option<HttpServer>, ControllerError> {
        let MetricsConfig { enabled, port, path, bind_addr, .. } = &self.0.config.metrics;
        if !enabled {
            return Ok(None);
        }
        let settings = HttpSettings { bind_addr: *bind_addr, port: *port, metrics_path: path.clone() };
        let server = HttpServer::start(&settings, metrics, health)?;
        log::info!("serving {path}, /health and /ready on http://{}", server.local_addr());
        Ok(Some(server))
    }

    fn start_informers(&self, running: &mut Running, mut memory: Option<Memory>, shared: &Shared) -> Result<(), ControllerError> {
        let (uid, plan) = self.survey()?;
        let server = self.0.client.server();
        let cluster = match &mut memory {
            Some(memory) => memory.identify(uid, server)?,
            // Where kube-system cannot be read, the URL stands for the cluster.
            None => uid.unwrap_or_else(|| server.to_owned()),
        };
        // All are known before the first is synced: ready means all of them.
        let names: BTreeSet<_> = plan.keys().filter_map(|target| target.namespace.clone()).collect();
        let known = plan.into_iter().map(|(target, scope)| {
            let watch = Arc::new(Watch::new(target, &cluster, self.0.config.cluster_name.clone()));
            (shared.health.add_watch(Arc::clone(&watch)), watch, scope)
        });
        let known: Vec<_> = known.collect();
        let mut progress = HashMap::new();
        if let Some(memory) = memory {
            let (store, stored) = memory.resume(known.iter().map(|(_, watch, _)| Arc::clone(watch)))?;
            (running.keeper, progress) = (Some(self.start_keeper(store, running.writer.clone(), shared)?), stored);
        }
        for (status, watch, scope) in known {
            let stored = progress.remove(&watch.id);
            running.informers.push(self.start_informer(status, watch, scope, stored, running, shared)?);
        }
        log::info!(watches = running.informers.len(); "watching");
        running.informers.extend(namespaces::look_up(self.0.client.transport(), names)?);
        Ok(())
    }

    /// Asks the server who it is and what it serves.
    fn survey(&self) -> Result<(Option<String>, Plan), ControllerError> {
        let client = &self.0.client;
        let transport = self.survey_transport();
        let failed = |error| ControllerError::Server { server: client.server().to_owned(), source: Box::new(error) };
        let version = transport.version().map_err(failed)?;
        log::info!(version = version.as_deref().unwrap_or("unknown"); "connected to {} ({})", client.server(), client.origin());
        let discovery = transport.discover().map_err(failed)?;
        let plan = plan::plan(self.0.config.watches(), &discovery)?;
        let cluster = transport.cluster_uid().map_err(failed)?;
        Ok((cluster, plan))
    }

    fn start_keeper(&self, store: StateStore, writer: Option<Arc<Writer>>, shared: &Shared) -> Result<Keeper, ControllerError> {
        let (metrics, health, stop) = (shared.metrics.clone(), shared.health.clone(), self.0.stop.clone());
        let keeper = Keeper::start(store, Surroundings { writer, metrics, health, stop });
        keeper.map_err(|source| ControllerError::Thread { name: "checkpoint".to_owned(), source })
    }

    /// A transport that ends when the controller stops, also when it has stopped already.
    fn survey_transport(&self) -> Transport {
        let transport = self.0.client.transport();
        *self.0.survey.lock().unwrap_or_else(PoisonError::into_inner) = Some(transport.interrupt());
        if self.0.stop.is_requested() {
            transport.interrupt().interrupt();
        }
        transport
    }

    fn start_informer(
        &self,
        status: Arc<WatchStatus>,
        watch: Arc<Watch>,
        scope: Option<Scope>,
        stored: Option<Progress>,
        running: &Running,
        shared: &Shared,
    ) -> Result<(Interrupt, Joined), ControllerError> {
        let name = format!("inf-{}", watch.gvr);
        let refused = |source| ControllerError::Thread { name: name.clone(), source };
        let metrics = shared.metrics.watch(&watch);
        let (resume, accepted) = memory::resume_of(stored);
        let outlet = match &running.keeper {
            Some(keeper) => keeper.outlet(&running.dispatcher, &watch, metrics.clone(), accepted),
            None => running.dispatcher.outlet(Arc::clone(&watch), metrics.clone()),
        };
        let outlet = outlet.map_err(refused)?;
        let content = match running.dispatcher.interest_in(&watch.target.gvr) {
            Some(Interest::Object) => Content::Object,
            Some(Interest::Metadata) | None => Content::Metadata,
        };
        let rest = RestListWatch::new(self.0.client.transport(), &watch.target, scope, content);
        let interrupt = rest.interrupt();
        let context = Context {
            stop: self.0.stop.clone(),
            status,
            pulse: shared.health.add_thread(&name),
            metrics,
            gate: shared.gate.clone(),
            limits: Limits::default(),
            content_is_metadata: rest.content() == Content::Metadata,
            skip_initial: self.0.config.initial_events == InitialEvents::Skip,
        };
        let informer = Informer::new(watch, Box::new(rest), Box::new(outlet), context).resume(resume);
        let thread = Joined::spawn(name.clone(), move || informer.run()).map_err(refused)?;
        Ok((interrupt, thread))
    }

    /// Ends reading first, then waits for what was read.
    fn shut_down(&self, running: Running) -> Result<Summary, ControllerError> {
        let grace = self.0.config.shutdown_grace;
        let deadline = Instant::now() + grace;
        // An informer that does not end must not cost the others what they have read.
        let reading_deadline = Instant::now() + grace / 2;
        let Running { informers, dispatcher, keeper, writer, health, _http } = running;
        health.stopping();
        dispatcher.close();
        for (interrupt, _) in &informers {
            interrupt.interrupt();
        }
        for (_, informer) in informers {
            let name = informer.name().to_owned();
            if !informer.join_until(reading_deadline) {
                log::warn!("{name}: does not end, left alone");
            }
        }
        dispatcher.drain(deadline.saturating_duration_since(Instant::now()));
        if let Some(keeper) = keeper {
            keeper.stop(deadline);
            if let Some(error) = keeper.failure() {
                return Err(error.into());
            }
        }
        if let Some(writer) = writer {
            writer.stop(deadline);
            if let Some(error) = writer.failure() {
                return Err(error.into());
            }
        }
        Ok(Summary { unfinished: dispatcher.unfinished() })
    }
}
