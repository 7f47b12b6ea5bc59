//! Change data capture for Kubernetes: lists and watches any resource and hands on every change, in order, none lost.
//!
//! Data goes one way:
//!
//! ```text
//! config ──► controller ──builds──►  client ──► informer ──► dispatch ──► sink
//!                                    (HTTP)    (list+watch   (lanes,      (JSON lines)
//!                                               one thread    workers,
//!                                               each)         handlers)
//! ```
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`api`] | the words: resources, versions, metadata, statuses, watch targets; no I/O |
//! | [`event`] | [`MatchedEvent`](event::MatchedEvent): what leaves an informer, and the outlet it leaves by |
//! | [`config`] | both YAML formats, checked, to sorted and distinct watch targets |
//! | [`client`] | one API server, blocking: kubeconfig, TLS, credentials, discovery, list, watch |
//! | [`informer`] | a pure state machine, its store, and the driver with the I/O |
//! | [`dispatch`] | lanes, handlers, and the tracker of what was accepted |
//! | [`sink`] | the JSON record and its writer |
//! | [`http`] | metrics, health and readiness over HTTP |
//! | [`metrics`], [`health`] | what Faro tells about itself |
//! | [`controller`] | joins the stations: builds right to left, stops left to right |
//! | [`lifecycle`] | stopping, and threads with one owner |

pub mod api;
pub mod client;
pub mod config;
pub mod controller;
pub mod dispatch;
pub mod event;
pub mod health;
pub mod http;
pub mod informer;
pub mod lifecycle;
pub mod metrics;
pub mod sink;
