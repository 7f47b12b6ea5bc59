//! One API server, blocking: where it is, how to log in, and what to ask it.
//!
//! [`Client`] is built from a kubeconfig or from inside a cluster. Each watch has a [`Transport`] of its own, so that
//! ending one never disturbs another; all share one TLS configuration. [`ListWatch`] is what an informer needs of a
//! server, and all it knows of one.

mod address;
mod discovery;
mod error;
mod http;
mod lines;
mod list_watch;
mod lookup;
mod metadata_only;
mod rest;
mod server;
#[cfg(test)]
mod transcript;
mod transport;

pub use discovery::{ApiResource, Discovery, Lookup};
pub use error::Error;
pub use lines::{LINE_BYTES_MAX, Lines};
pub use list_watch::{Content, Line, ListWatch, PageRequest, READ_TICK, Served, WatchLines, WatchStart};
pub use rest::RestListWatch;
pub use transport::{Client, Get, Interrupt, Response, Transport};
