//! Change data capture for Kubernetes: lists and watches any resource and hands on every change, in order, none lost.
//!
//! Faro is a library first, blocking and thread-based, and a daemon on top of it that uses nothing an embedding program can't.
//!
//! # Quick start
//!
//! A [`Controller`](controller::Controller) takes a [`Client`](client::Client) and a [`Config`](config::Config), runs one informer
//! thread for each watch, and hands every change to your [`EventHandler`](dispatch::EventHandler)s and to JSON-lines files:
//!
//! ```no_run
//! use faro::client::Client;
//! use faro::config::{Config, ResourceConfig};
//! use faro::controller::Controller;
//! use faro::event::MatchedEvent;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::builder("faro-events").resource(ResourceConfig::new("v1/pods")).build()?;
//! let controller = Controller::new(Client::try_default()?, config);
//! _ = controller.add_event_handler(|event: &MatchedEvent| {
//!     log::info!("{} {} {}", event.event_type, event.gvr(), event.key());
//!     Ok(())
//! })?;
//! controller.start()?; // until `controller.stop()`, from any thread
//! # Ok(())
//! # }
//! ```
//!
//! The same settings come from a file with [`Config::load`](config::Config::load), or from the command line with
//! `cli::load_config`, which has a logger beside it. Whole programs, to run against your cluster
//! as they are, are in the repository's `examples/`.
//!
//! # What is promised
//!
//! - **Nothing is lost**: whatever the server, the network, the disk or a crash do, the last state of every object is told, and
//!   the delete of every object that was told. What had to be found by comparing a list with what was known is marked
//!   [`inferred`](event::MatchedEvent::inferred).
//! - **Order**: the events of one object in one watch arrive in order and never at once.
//! - **Delivery**: at least once to handlers, each event with a stable [`id`](event::MatchedEvent::id); exactly once for each watch
//!   into the files.
//! - **Isolation**: a watch that is forbidden, absent, slow or broken stops no other; neither does an object that is refused, or a
//!   slow handler, stop another handler, watch or the files.
//! - **Bounds**: every queue, line, page, retry and wait has a named limit. Full queues push back on the watches that feed them.
//! - **Secrets stay secret**: credentials are never logged; of `v1/secrets` nothing but metadata is asked, kept or told.
//!
//! # Recipes
//!
//! ## Trying again, and giving up
//!
//! A handler that returns `Err`, or panics, is given the event again after a pause that doubles, up to half a minute, until it
//! accepts. The object's later events wait, other objects and other handlers go on. Whoever would rather lose an event than have it
//! for ever says so; what is given up is counted, logged with its id, given to
//! [`on_gave_up`](dispatch::Subscription::on_gave_up), and taken as accepted:
//!
//! ```
//! # use faro::{controller::Controller, dispatch::{HandlerError, Retry, Subscription}, event::MatchedEvent};
//! # fn post(event: &MatchedEvent) -> Result<(), HandlerError> { Err("the receiver is away".into()) }
//! # fn keep_for_later(id: &str) {}
//! # fn register(controller: &Controller) -> Result<(), faro::controller::ControllerError> {
//! let subscription = Subscription::new().name("posts").retry(Retry::give_up_after(10)).on_gave_up(|event, error| {
//!     log::error!("{} was not posted: {error}", event.key());
//!     keep_for_later(&event.id());
//! });
//! _ = controller.subscribe(subscription, |event: &MatchedEvent| post(event))?;
//! # Ok(())
//! # }
//! ```
//!
//! With the state on, what is handed to a handler is journalled before it is called, and what it accepts afterwards: a restart, also
//! after `kill -9`, gives each subscription what it lacks and no other one anything again. It is known by its
//! [`name`](dispatch::Subscription::name). A loss of power can take the journal's last second.
//!
//! After a crash an event may come again: the [`id`](event::MatchedEvent::id) is what to know it by.
//!
//! ## Only some events
//!
//! Let the server filter where it can: selectors in a [`ResourceConfig`](config::ResourceConfig) keep what nobody wants off the
//! wire. A [`Subscription`](dispatch::Subscription) says which of the rest a handler is called for:
//!
//! ```
//! # use faro::{controller::Controller, dispatch::{Subscription, metadata_only}, event::{EventType, MatchedEvent}};
//! # fn register(controller: &Controller) -> Result<(), Box<dyn std::error::Error>> {
//! let deletes = Subscription::new().gvrs(["v1/pods".parse()?]).namespaces(["shop"]).event_types([EventType::Deleted]);
//! _ = controller.subscribe(deletes, metadata_only(|event: &MatchedEvent| {
//!     log::info!("{} is gone", event.key());
//!     Ok(())
//! }))?;
//! # Ok(())
//! # }
//! ```
//!
//! Where every handler of a gvr is [`metadata_only`](dispatch::metadata_only()), only metadata comes over the wire.
//!
//! ## Typed objects
//!
//! An event holds the bytes that the server sent, and parses them when asked: [`object`](event::MatchedEvent::object) into a
//! type of `k8s_openapi` or one of your own, [`value`](event::MatchedEvent::value) into a JSON value, [`raw`](event::MatchedEvent::raw)
//! not at all. A `DELETED` that was found by comparison carries metadata alone, so let fields be absent:
//!
//! ```
//! # use faro::{dispatch::HandlerError, event::MatchedEvent};
//! use k8s_openapi::api::core::v1::Pod;
//!
//! fn on_pod(event: &MatchedEvent) -> Result<(), HandlerError> {
//!     let pod: Pod = event.object()?;
//!     let phase = pod.status.and_then(|status| status.phase);
//!     log::info!("{} is {}", event.key(), phase.as_deref().unwrap_or("unknown"));
//!     Ok(())
//! }
//! ```
//!
//! ## Lines of your own
//!
//! [`JsonMiddleware`](sink::JsonMiddleware) changes a line before it is written, or drops it; handlers have had the event then:
//!
//! ```
//! # use faro::{controller::Controller, event::MatchedEvent, sink::{JsonRecord, Verdict}};
//! # fn register(controller: &Controller) -> Result<(), Box<dyn std::error::Error>> {
//! controller.add_json_middleware(|event: &MatchedEvent, record: &mut JsonRecord| {
//!     if event.namespace() == "kube-system" {
//!         return Verdict::Drop;
//!     }
//!     record.remove_annotation("kubectl.kubernetes.io/last-applied-configuration");
//!     Verdict::Write
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! ## Resources that come and go
//!
//! A `Controller` is a cheap clone: a handler may hold one, and [add](controller::Controller::add_resources) and
//! [remove](controller::Controller::remove_resources) resources while events flow. What an earlier run was told is not told again,
//! so a program whose watches come from events [resumes](controller::Controller::resume_remembered) what earlier runs have watched,
//! or finds it anew in each run with `state(false)`, on a controller of its own where the lines are to be remembered;
//! `examples/workload_monitor.rs` does so.
//!
//! ## Another configuration
//!
//! [`reload`](controller::Controller::reload) takes another [`Config`](config::Config) while events flow: it is checked whole, then
//! only the watches that differ are started and stopped. Whatever is not about what is watched needs another run.
//!
//! ## Testing
//!
//! `sim::Cluster`, of the feature `sim`, is an API server inside the test's process, with faults where you want them:
//!
#![cfg_attr(feature = "sim", doc = "```")]
#![cfg_attr(not(feature = "sim"), doc = "```ignore")]
//! use faro::config::{Config, ResourceConfig};
//! use faro::controller::Controller;
//! use faro::event::MatchedEvent;
//! use faro::sim::Cluster;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::start()?;
//! let config = Config::builder("unused").resource(ResourceConfig::new("v1/pods")).json_export(false).state(false);
//! let controller = Controller::new(cluster.client(), config.without_metrics().build()?);
//! let (told, events) = crossbeam_channel::bounded(10);
//! _ = controller.add_event_handler(move |event: &MatchedEvent| Ok(told.send(format!("{} {}", event.event_type, event.name()))?))?;
//! let running = controller.spawn()?;
//!
//! cluster.create("{apiVersion: v1, kind: Pod, metadata: {name: web-0}}")?;
//! assert_eq!(events.recv()?, "ADDED web-0");
//! cluster.down();
//! cluster.delete("v1/pods", "default/web-0")?;
//! cluster.up()?;
//! assert_eq!(events.recv()?, "DELETED web-0");
//!
//! running.stop();
//! assert_eq!(running.join()?.unfinished, 0);
//! # Ok(())
//! # }
//! ```
//!
//! ## Beside your own threads
//!
//! [`start`](controller::Controller::start) takes the thread that calls it; [`spawn`](controller::Controller::spawn) runs on one of
//! its own and gives a handle. Faro installs no signal handler, no logger and no panic hook, and never ends the process: what
//! happens is told through the crate `log`, and by what `start` and `join` return. A handler runs on Faro's threads: hand over
//! through a bounded channel, and a full one pushes back on that resource alone, up to the server.
//!
//! ## Shutting down
//!
//! [`stop`](controller::Controller::stop) returns at once, may be called from any thread, a handler's too, and as often as one likes.
//! `start` and `join` return when queues are drained and files are synced, or when `shutdown_grace` is over;
//! [`unfinished`](controller::Summary::unfinished) says how many events were not accepted by then: the next run tells them again.
//! Dropping a [`Spawned`](controller::Spawned) stops and waits. A controller runs once: make another for another run.
//!
//! # How it is built
//!
//! Data goes one way, and no station knows the next but by a trait that the one before it owns:
//!
//! ```text
//! config ──► controller ──builds──►  client ──► informer ──► dispatch ──► sink ──► files
//!                                    (HTTP)    (list+watch   (lanes,      (JSON lines)
//!                                               one thread    workers,       │
//!                                               each)         handlers)      │
//!                                                               tracker ◄────┘
//!                                                                  └──► checkpoint
//! ```
//!
//! | module | what lives there | never |
//! | --- | --- | --- |
//! | [`api`] | the words: resources, versions, metadata, statuses, watch targets | does I/O |
//! | [`event`] | [`MatchedEvent`](event::MatchedEvent): what leaves an informer, and the [`Outlet`](event::Outlet) it leaves by | knows who receives |
//! | [`config`] | both YAML formats, checked, to sorted and distinct watch targets | opens a socket |
//! | [`client`] | one API server: kubeconfig, TLS, credentials, discovery, list, watch | knows the configuration, metrics or threads |
//! | [`informer`] | a pure state machine, its store of identities, and the driver with the I/O | knows who receives its events |
//! | [`dispatch`] | lanes, workers, handlers, and the tracker of what was accepted | knows where events come from |
//! | [`sink`] | the JSON record, its writer, and reading back what an earlier run wrote | knows informer or client |
//! | [`files`] | how files are named, read back, compressed and removed | writes a line |
//! | [`checkpoint`] | what was accepted, on disk: versions, inventories, the place in the files | is asked by anyone but the controller |
//! | [`http`] | metrics, health and readiness over HTTP | knows the pipeline |
//! | [`metrics`], [`health`] | what Faro tells about itself | |
//! | `sim` | a simulated API server, for tests and demos | is part of an operator's image |
//! | [`controller`] | joins the stations: builds right to left, stops left to right | holds logic of its own |
//! | [`lifecycle`] | stopping, and threads with one owner | |
//! | `cli` | a program's command line and logger, for whoever wants them | is needed by the library |
//!
//! **The hot path.** A watch's bytes are cut into lines in a reused buffer; one pass finds `type` and `metadata` in a line and
//! reads no further; an event is one copy of the object's bytes, with places instead of parsed fields; the record is
//! assembled from those bytes straight into the writer's batch. Nothing in between builds a JSON value.
//!
//! **The ordered prefix.** Everything an informer hands over, an event, a bookmark, the end of a list, takes the next ticket
//! of its watch. Each receiver has its own part in it, to complete in any order; the tracker knows up to which version
//! everything before is complete. An event in flight holds a place in the queue of each of its receivers: without one only the
//! watches that feed that queue wait.
//!
//! **Subscriptions have lanes.** A watch hands an event to all its receivers at once: to the lanes of each subscription that wants it,
//! where an object always takes the same one, and to the sink. Threads are subscriptions times lanes, however many watches there are.
//! An object that a handler refuses waits by itself: *parked* with its tickets at first, *owed* without them after a while.
//!
//! **The checkpoint.** Once a second, and at a stop, what was accepted goes to the state in one transaction: each watch's version
//! and inventory, and the place in the files before which every line is in it. After a crash the lines past that place are read
//! back before the first request, so that none is told twice; files before it may be compressed and removed.
//!
//! **Stopping is dropping.** The controller ends the reading, the informers drop their outlets, closed lanes end their
//! workers when they are empty, and the writer ends when its last batch is on the disk.
//!
//! # Features
//!
//! | feature | without it | costs |
//! | --- | --- | --- |
//! | `daemon` (default) | no program `faro`; it is made of all the following but `sim` | |
//! | `cli` | no module `cli`: a command line and a logger | flags, signals, a logger |
//! | `compress` | closed files stay as they are; `compress: gzip` is refused | an encoder for gzip and one for zstd |
//! | `every-key` | neither client keys on P-521 nor RSA ones of other exponents than 65537 or of other sizes than 2048, 3072 and 4096 bits log in; no server's certificate on P-521 is believed | arithmetic for both, 154 KB |
//! | `exec` | a kubeconfig that names a credential plugin is refused; tokens and certificates log in | runs programs |
//! | `export` | no JSON lines: `json_export` and `json_stdout` are false, and refused when asked for; middleware is never called | the writer, its files |
//! | `gzip` | large lists come uncompressed | a decoder |
//! | `metrics` | nothing is counted and nothing served, neither metrics nor `/health` and `/ready`; `metrics.enabled` is false, and `metrics` is refused when asked for; [`is_ready`](controller::Controller::is_ready) tells all the same | prometheus, an HTTP server |
//! | `sim` (default) | no simulated API server, for tests and demos | makes certificates |
//! | `state` | **a restart knows nothing of the run before**: all objects are told again as `ADDED`, what was deleted meanwhile is not told, and lines are written again; `state.enabled` is false, and `state` is refused when asked for. Within a run every promise holds | a database |
//! | `tls12` | TLS 1.3 alone, which every API server of Kubernetes 1.20 and newer speaks; what stands before one may not | TLS 1.2 |
//!
//! A key that a configuration leaves out means what the build can do; a key that asks for what the build lacks is a mistake that
//! names the feature. `e2e` builds the tests that need a real API server.
//!
//! A program that embeds the library says `default-features = false` and the features it wants, and takes `sim` for its tests:
//! `features = ["sim"]` in its `dev-dependencies`.
//!
//! **Size.** A program that watches one resource with a handler, built for size (`opt-level = "z"`, fat LTO, one codegen unit,
//! stripped, panics unwind) without default features, is 2,488,944 bytes larger than the same program without Faro; built for
//! speed (`opt-level = 3`, the rest the same) it is 3,497,040 bytes larger. `make size` measures the first, and
//! `make size EMBED_PROFILE=fast` the second; the figures are of x86-64 Linux.
//!
//! # Versions
//!
//! Under semantic versioning stands what an embedding program says: [`controller`], [`config`], [`event`], the handlers' side of
//! [`dispatch`] ([`EventHandler`](dispatch::EventHandler), [`Subscription`](dispatch::Subscription),
//! [`Interest`](dispatch::Interest), [`metadata_only`](dispatch::metadata_only())), the middleware's side of [`sink`]
//! ([`JsonMiddleware`](sink::JsonMiddleware), [`JsonRecord`](sink::JsonRecord), [`Verdict`](sink::Verdict)),
//! [`Client`](client::Client) and its setup, [`lifecycle`], `cli`, `sim`, and the words of [`api`] that these use; further the JSON line,
//! the configuration file, the metrics' names, the flags and the exit codes, and the features. Errors, settings, summaries and
//! whatever else will grow are `#[non_exhaustive]`. What programs write out grows too, and is written with the rest left open:
//! `ResourceConfig { …, ..ResourceConfig::new(gvr) }`; [`dispatch::Settings`], [`dispatch::Retry`] and
//! [`config::Overrides`] with `..Settings::default()` alike. New fields in a line and new series are no break.
//!
//! The rest is public so that its documentation can be read and its parts be measured, and may change in any release: the
//! informer, the checkpoint, the files, the HTTP server, and the inner sides of the other stations. So may the format of the
//! state; a version that cannot read an older one says so.
//!
//! The oldest compiler is named in `Cargo.toml`; raising it is a minor release.

pub mod api;
mod chain;
pub mod change;
#[cfg_attr(not(feature = "state"), path = "checkpoint/absent.rs")]
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod config;
pub mod controller;
pub mod dispatch;
pub mod event;
pub mod files;
mod folders;
pub mod health;
#[cfg_attr(not(feature = "metrics"), path = "http/absent.rs")]
pub mod http;
pub mod informer;
pub mod lifecycle;
#[cfg_attr(not(feature = "metrics"), path = "metrics/absent.rs")]
pub mod metrics;
#[cfg(any(feature = "cli", feature = "state"))]
mod named;
mod ours;
mod reading;
mod seldom;
mod shown;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sink;
mod yaml;

/// Holds the README's programs to the library as it is.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
