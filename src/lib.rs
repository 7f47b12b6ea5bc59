//! Change data capture for Kubernetes: lists and watches any resource and hands on every change, in order, none lost.
//!
//! Faro is a library first, blocking and thread-based, and a daemon on top of it. A [`Controller`](controller::Controller)
//! takes a [`Client`](client::Client) and a [`Config`](config::Config), runs one informer thread for each watch, and hands
//! every change to your [`EventHandler`](dispatch::EventHandler)s and to JSON-lines files:
//!
//! ```no_run
//! use faro::client::Client;
//! use faro::config::Config;
//! use faro::controller::Controller;
//! use faro::event::MatchedEvent;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load("examples/minimal.yaml".as_ref())?;
//! let controller = Controller::new(Client::try_default()?, config);
//! controller.add_event_handler(|event: &MatchedEvent| {
//!     let object = event.metadata();
//!     log::info!("{} {} {}/{}", event.event_type, event.watch.gvr, object.namespace(), object.name());
//!     Ok(())
//! });
//! controller.start()?; // until `controller.stop()`, from any thread
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **Nothing is lost**: whatever the server or the network do, the last state of every object is told, and the delete of
//!   every object that was told. What had to be found by comparing a list with what was known is marked `inferred`.
//! - **Order**: the events of one object in one watch arrive in order and never at once.
//! - **Isolation**: a watch that is forbidden, absent, slow or broken stops no other; neither does a slow handler of one gvr.
//! - **Bounds**: every queue, line, page, retry and wait has a named limit. Full queues push back on their own watch.
//! - **Secrets stay secret**: credentials are never logged; of `v1/secrets` nothing but metadata is asked, kept or told.
//!
//! # How it is built
//!
//! Data goes one way, and no station knows the next but by a trait that the one before it owns:
//!
//! ```text
//! config ──► controller ──builds──►  client ──► informer ──► dispatch ──► sink
//!                                    (HTTP)    (list+watch   (lanes,      (JSON lines)
//!                                               one thread    workers,
//!                                               each)         handlers)
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
//! | [`files`] | how files are named, compressed and removed | writes a line |
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
//! of its watch. Whoever is last with an event completes its ticket, in any order; the tracker knows up to which version
//! everything before is complete. An event in flight holds one of its watch's credits: without credit only that watch waits.
//!
//! **Handlers have lanes.** A gvr with handlers has lanes of its own, so that a slow handler holds up its gvr alone, and an
//! object always takes the same one. Without handlers there is nothing to wait for: an informer hands straight to the sink.
//!
//! **Stopping is dropping.** The controller ends the reading, the informers drop their outlets, closed lanes end their
//! workers when they are empty, and the writer ends when its last batch is on the disk.
//!
//! # Features
//!
//! `cli` (default) adds the module `cli` and builds the program `faro`; `sim` (default) adds the simulated API server; a program that embeds the library says `default-features = false`.

pub mod api;
mod chain;
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod config;
pub mod controller;
pub mod dispatch;
pub mod event;
pub mod files;
pub mod health;
pub mod http;
pub mod informer;
pub mod lifecycle;
pub mod metrics;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sink;

/// Holds the README's programs to the library as it is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
