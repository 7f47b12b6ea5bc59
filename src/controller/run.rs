//! One run: the stations, built right to left so that nothing is read before it can be written, and stopped left to right so
//! that what was read is still written.

use super::adding::Remembered;
use super::files::http_settings;
use super::guard::Guard;
use super::ids::Ids;
use super::memory::{Memory, Remembering};
use super::plan::{self, Plan, PlanError, Planned};
use super::watches::{AskedBy, Maker, Start, Watches};
use super::{ControllerError, Inner, Summary, namespaces, redacting};
use crate::api::{Watch, WatchTarget};
use crate::change::Redaction;
use crate::client::{self, Interrupt, Transport};
use crate::config::{Config, ConfiguredWatch, InitialEvents};
use crate::controller::keeper::{Keeper, Surroundings};
use crate::dispatch::{Dispatcher, Export, Registered};
use crate::files::Keeping;
use crate::health::Health;
use crate::http::{HttpError, HttpServer};
use crate::informer::{Histories, ListGate, Server};
use crate::lifecycle::Joined;
use crate::metrics::Metrics;
use crate::sink::{SinkError, SinkSettings, Writer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// What runs, in the order in which it stops.
pub(super) struct Run {
    watches: Watches,
    /// What the configuration in force came to. Locked while another one takes its place.
    plan: Mutex<Plan>,
    /// Looks for namespaces that are not there.
    looking: Mutex<Option<(Interrupt, Joined)>>,
    dispatcher: Dispatcher,
    /// The names of the subscriptions, in the order of their registration.
    subscriptions: Vec<String>,
    keeper: OnceLock<Keeper>,
    writer: Option<Arc<Writer>>,
    metrics: Metrics,
    health: Health,
    redaction: Arc<Redaction>,
    gate: ListGate,
    server: Server,
    histories: Histories,
    /// Set where the cluster is known by its uid.
    guard: OnceLock<Arc<Guard>>,
    /// By what the cluster is known; set once it was asked.
    cluster: OnceLock<String>,
    /// Whose each watch id is.
    ids: Ids,
    /// The uid of its `kube-system`, where that could be read.
    cluster_uid: OnceLock<Option<String>>,
    /// What earlier runs have watched; set with the cluster.
    remembered: OnceLock<Vec<Remembered>>,
    /// Whether all configured watches were started: before, there is no state yet that an added one could go on from.
    has_begun: AtomicBool,
    /// Last, so that probes are answered while the rest stops.
    http: Mutex<Option<HttpServer>>,
}

impl Run {
    /// Opens the outputs and asks the server nothing yet.
    pub(super) fn open(inner: &Inner) -> Result<(Self, Option<Memory>), ControllerError> {
        let config = &inner.config;
        let (health, metrics) = (Health::default(), Metrics::new(config.cluster_name.as_deref()));
        let (settings, handlers) = {
            let mut registered = inner.registered();
            (registered.settings.clone(), std::mem::take(&mut registered.handlers))
        };
        let memory = Memory::open(config, &Registered::names(&handlers))?;
        let redaction = Arc::new(redacting::redaction(config)?);
        // Where no writer can be opened, nothing that only a writer needs is linked.
        let writer = if cfg!(feature = "export") {
            open_writer(inner, &metrics, &health)?
        } else {
            refuse_export(config)?;
            None
        };
        let http = serve(config, &metrics, &health)?;
        let export = writer.clone().map(|writer| writer as Arc<dyn Export>);
        let (subscriptions, recorder) =
            (Registered::names(&handlers), memory.as_ref().map(|memory| Arc::clone(memory.recorder())));
        let dispatcher = Dispatcher::recording(&settings, handlers, export, health.clone(), recorder)?;
        let run = Self {
            watches: Watches::default(),
            plan: Mutex::default(),
            looking: Mutex::default(),
            dispatcher,
            subscriptions,
            keeper: OnceLock::new(),
            writer,
            metrics,
            health,
            redaction,
            gate: ListGate::new(config.max_concurrent_lists),
            server: Server::new(inner.client.server()),
            histories: Histories::default(),
            guard: OnceLock::new(),
            cluster: OnceLock::new(),
            ids: Ids::default(),
            cluster_uid: OnceLock::new(),
            remembered: OnceLock::new(),
            has_begun: AtomicBool::new(false),
            http: Mutex::new(http),
        };
        Ok((run, memory))
    }

    /// Starts every configured watch.
    pub(super) fn start(&self, inner: &Inner, memory: Option<Memory>) -> Result<(), ControllerError> {
        let survey = inner.survey();
        let transport = &survey.transport;
        let failed = |error| inner.server_failed(error);
        let version = transport.version().map_err(failed)?;
        let (server, origin) = (inner.client.server(), inner.client.origin());
        log::info!(version = version.as_deref().unwrap_or("unknown"); "connected to {server} ({origin})");
        inner.client.warnings().iter().for_each(|warning| log::warn!("{warning}"));
        let (plan, mistakes) = plan_of(inner, transport, inner.config.watches())?;
        mistakes?;
        let uid = transport.cluster_uid().map_err(failed)?;
        self.start_all(inner, memory, uid, &plan)?;
        log::info!(watches = self.watches.count().configured; "watching");
        self.look_up(inner, namespaces::of(&plan))?;
        *self.plan() = plan;
        self.has_begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Says which of these namespaces are not there; ends whatever else was being looked up.
    pub(super) fn look_up(&self, inner: &Inner, names: BTreeSet<String>) -> Result<(), ControllerError> {
        if names.is_empty() {
            return Ok(());
        }
        let looking = namespaces::look_up(inner.client.transport(), names)?;
        let before = std::mem::replace(&mut *self.looking.lock().unwrap_or_else(PoisonError::into_inner), looking);
        if let Some((interrupt, _thread)) = before {
            interrupt.interrupt();
        }
        Ok(())
    }

    /// Whether watches may be added.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// What earlier runs have watched on this cluster.
    pub(super) fn remembered(&self) -> &[Remembered] {
        self.remembered.get().map_or(&[], Vec::as_slice)
    }

    fn start_all(
        &self,
        inner: &Inner,
        mut memory: Option<Memory>,
        uid: Option<String>,
        plan: &Plan,
    ) -> Result<(), ControllerError> {
        let server = inner.client.server();
        self.cluster_uid.get_or_init(|| uid.clone());
        if let Some(uid) = &uid {
            let guard = Guard::new(uid.clone(), inner.client.transport(), inner.stop.clone());
            self.guard.get_or_init(|| Arc::new(guard));
        }
        let cluster = match &mut memory {
            Some(memory) => memory.identify(uid, server)?,
            // Where kube-system cannot be read, the URL stands for the cluster.
            None => uid.unwrap_or_else(|| server.to_owned()),
        };
        let cluster = self.cluster.get_or_init(|| cluster);
        // All are known before the first is synced: ready means all of them.
        let known: Vec<_> = plan::distinct(plan)
            .into_values()
            .map(|planned| {
                let watch = watch_of(&planned, cluster, &inner.config);
                (self.health.add_watch(Arc::clone(&watch)), watch, planned.scope)
            })
            .collect();
        self.remembered.get_or_init(|| memory.as_ref().map_or_else(Vec::new, |memory| memory.remembered(cluster)));
        self.ids.stored(memory.iter().flat_map(Memory::stored));
        self.ids.take(known.iter().map(|(_, watch, _)| &**watch))?;
        let mut progress = HashMap::new();
        if let Some(memory) = memory {
            self.histories.come_to(memory.newest_history());
            let recorder = Arc::clone(memory.recorder());
            let Remembering { store, progress: stored, emissions } =
                memory.resume(known.iter().map(|(_, watch, _)| Arc::clone(watch)))?;
            let surroundings = Surroundings {
                writer: self.writer.clone(),
                metrics: self.metrics.clone(),
                health: self.health.clone(),
                stop: inner.stop.clone(),
                recorder,
                subscriptions: self.subscriptions.clone(),
                emissions,
            };
            let refused = |source| ControllerError::Thread { name: "checkpoint".to_owned(), source };
            let keeper = Keeper::start(store, surroundings).map_err(refused)?;
            self.keeper.get_or_init(|| keeper);
            progress = stored;
        }
        for (status, watch, scope) in known {
            let stored = progress.remove(&watch.id);
            self.watches.start(&self.maker(inner), Start { watch, status, scope, stored, asked_by: AskedBy::Configuration })?;
        }
        Ok(())
    }

    /// Starts watches that have their [reserved](Watches::reserve) places, and says how many. Those that could be started and
    /// were not go back to what was added.
    pub(super) fn add(&self, inner: &Inner, added: Vec<ConfiguredWatch>) -> Result<usize, ControllerError> {
        let mut reserved = BTreeSet::new();
        reserved.extend(added.iter().map(|watch| watch.target.clone()));
        let mut waiting = added;
        let started = self.start_reserved(inner, &mut waiting, &mut reserved);
        // Held until they have given their places up, so that a removal finds them in either.
        let mut added = inner.added();
        added.waiting.append(&mut waiting);
        self.watches.give_up(&reserved);
        started
    }

    /// Leaves in `waiting` what the next call may start, and in `reserved` every place that was taken.
    fn start_reserved(
        &self,
        inner: &Inner,
        waiting: &mut Vec<ConfiguredWatch>,
        reserved: &mut BTreeSet<WatchTarget>,
    ) -> Result<usize, ControllerError> {
        let (plan, mistakes) = plan_of(inner, &inner.survey().transport, waiting.clone())?;
        let starting = self.in_their_places(&plan, reserved);
        *waiting = starting.iter().map(|planned| planned.asked.clone()).collect();
        let (started, outcome) = self.start_more(inner, starting.into_iter(), AskedBy::Program);
        drop(waiting.drain(..started));
        outcome?;
        mistakes?;
        Ok(started)
    }

    /// Those of a plan that are not watched yet. In a plan a cluster-scoped resource has lost its namespace, and has another place.
    fn in_their_places(&self, plan: &Plan, reserved: &mut BTreeSet<WatchTarget>) -> Vec<Planned> {
        let mut starting = Vec::new();
        for (target, planned) in plan::distinct(plan) {
            if !reserved.contains(&target) {
                if !self.watches.reserve_one(&target) {
                    continue;
                }
                reserved.insert(target);
            }
            starting.push(planned);
        }
        starting
    }

    /// Starts watches that the configuration did not ask for before, and says how many: none for those that were added before.
    /// On an error none is left.
    pub(super) fn start_configured(
        &self,
        inner: &Inner,
        mut start: BTreeMap<WatchTarget, Planned>,
    ) -> Result<usize, ControllerError> {
        let deadline = Instant::now() + inner.config.shutdown_grace;
        let reserved = self.watches.claim(start.keys(), deadline)?;
        start.retain(|target, _| reserved.contains(target));
        let (started, outcome) = self.start_more(inner, start.into_values(), AskedBy::Configuration);
        self.watches.give_up(&reserved);
        if outcome.is_err() {
            self.watches.remove(reserved.iter(), None, &self.maker(inner), deadline);
        }
        outcome.map(|()| started)
    }

    /// Stops watches that the configuration no longer asks for, but those that were added as well. Returns how many.
    pub(super) fn stop_configured(&self, inner: &Inner, targets: &BTreeSet<WatchTarget>) -> usize {
        let deadline = Instant::now() + inner.config.shutdown_grace;
        let unwanted = self.watches.disclaim(targets);
        self.watches.remove(unwanted.into_iter(), None, &self.maker(inner), deadline)
    }

    /// Starts one after the other. Returns how many of them were, and what kept it from the next one.
    fn start_more(
        &self,
        inner: &Inner,
        starting: impl Iterator<Item = Planned>,
        asked_by: AskedBy,
    ) -> (usize, Result<(), ControllerError>) {
        let cluster = self.cluster.get().expect("watches are added once the cluster was asked");
        let starting: Vec<_> = starting.map(|planned| (watch_of(&planned, cluster, &inner.config), planned.scope)).collect();
        if let Err(error) = self.ids.take(starting.iter().map(|(watch, _)| &**watch)) {
            return (0, Err(error.into()));
        }
        let ids = starting.iter().map(|(watch, _)| watch.id).collect();
        let mut progress = match self.keeper.get().map_or_else(|| Ok(HashMap::new()), |keeper| keeper.load(ids)) {
            Ok(progress) => progress,
            Err(error) => return (0, Err(error)),
        };
        for (started, (watch, scope)) in (0..).zip(&starting) {
            let (status, stored) = (self.health.add_watch(Arc::clone(watch)), progress.remove(&watch.id));
            let start = Start { watch: Arc::clone(watch), status: Arc::clone(&status), scope: *scope, stored, asked_by };
            if let Err(error) = self.watches.start(&self.maker(inner), start) {
                self.health.remove_watch(&status);
                return (started, Err(error));
            }
        }
        (starting.len(), Ok(()))
    }

    /// Stops watches, and tells nothing as deleted. Returns how many there were.
    pub(super) fn remove(&self, inner: &Inner, removed: &[ConfiguredWatch]) -> usize {
        let deadline = Instant::now() + inner.config.shutdown_grace;
        let targets = removed.iter().map(|watch| &watch.target);
        self.watches.remove(targets, Some(&inner.added), &self.maker(inner), deadline)
    }

    fn maker<'a>(&'a self, inner: &'a Inner) -> Maker<'a> {
        Maker {
            client: &inner.client,
            cluster_uid: self.cluster_uid.get().and_then(Option::as_deref),
            stop: &inner.stop,
            dispatcher: &self.dispatcher,
            keeper: self.keeper.get(),
            metrics: &self.metrics,
            health: &self.health,
            gate: &self.gate,
            server: &self.server,
            histories: &self.histories,
            guard: self.guard.get(),
            wants_objects: self.writer.as_ref().is_some_and(|writer| writer.wants_objects()),
            redaction: &self.redaction,
            skip_initial: inner.config.initial_events == InitialEvents::Skip,
        }
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Ends reading first, then waits for what was read.
    pub(super) fn shut_down(&self, config: &Config) -> Result<Summary, ControllerError> {
        let grace = config.shutdown_grace;
        let deadline = Instant::now() + grace;
        self.health.stopping();
        self.dispatcher.close();
        if let Some(guard) = self.guard.get() {
            guard.interrupt().interrupt();
        }
        let looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((interrupt, _)) = &looking {
            interrupt.interrupt();
        }
        // An informer that does not end must not cost the others what they have read.
        self.watches.stop(Instant::now() + grace / 2);
        drop(looking);
        self.dispatcher.drain(deadline.saturating_duration_since(Instant::now()));
        let keeper = self.keeper.get();
        if let Some(keeper) = keeper {
            keeper.stop(deadline);
        }
        if let Some(writer) = &self.writer {
            writer.stop(deadline);
        }
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(other) = self.guard.get().and_then(|guard| guard.found()) {
            return Err(other.clone().into());
        }
        if let Some(error) = keeper.and_then(Keeper::failure) {
            return Err(error.into());
        }
        if let Some(error) = self.writer.as_ref().and_then(|writer| writer.failure()) {
            return Err(error.into());
        }
        Ok(Summary { unfinished: self.dispatcher.unfinished() })
    }
}

/// What is planned, with the names that its events carry.
fn watch_of(planned: &Planned, cluster: &str, config: &Config) -> Arc<Watch> {
    let watch = Watch::new(planned.target.clone(), cluster, config.cluster_name.clone());
    Arc::new(watch.confined_to(planned.namespaces.iter().cloned().collect()))
}

/// What the server makes of these watches, and what it can never serve of them.
pub(super) fn plan_of(
    inner: &Inner,
    transport: &Transport,
    watches: Vec<ConfiguredWatch>,
) -> Result<(Plan, Result<(), PlanError>), ControllerError> {
    let discovery = transport.discover().map_err(|error: client::Error| inner.server_failed(error))?;
    Ok(plan::plan(watches, &discovery))
}

fn refuse_export(config: &Config) -> Result<(), SinkError> {
    if config.json_export || config.json_stdout { Err(SinkError::Absent) } else { Ok(()) }
}

fn open_writer(inner: &Inner, metrics: &Metrics, health: &Health) -> Result<Option<Arc<Writer>>, ControllerError> {
    let config = &inner.config;
    if !config.json_export && !config.json_stdout {
        return Ok(None);
    }
    let settings = SinkSettings {
        folder: config.json_export.then(|| config.output_dir.clone()),
        stdout: config.json_stdout,
        rotate: config.rotate,
        keep: Keeping { compress: config.compress, retain: config.retain },
        hold_until_committed: config.state.enabled,
        middleware: std::mem::take(&mut inner.registered().middleware),
    };
    let writer = Writer::open(settings, metrics.clone(), health.clone(), inner.stop.clone())?;
    if let Some(path) = writer.path() {
        log::info!("writing events to {}", path.display());
    }
    Ok(Some(writer))
}

fn serve(config: &Config, metrics: &Metrics, health: &Health) -> Result<Option<HttpServer>, ControllerError> {
    let Some(settings) = http_settings(config) else { return Ok(None) };
    // So that nothing of what follows is linked.
    if !cfg!(feature = "metrics") {
        return Err(HttpError::Absent.into());
    }
    let (scheme, path) = (if settings.tls.is_some() { "https" } else { "http" }, &settings.metrics_path);
    let server = HttpServer::start(&settings, metrics, health)?;
    log::info!("serving {path}, /health and /ready on {scheme}://{}", server.local_addr());
    Ok(Some(server))
}
