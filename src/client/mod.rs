//! One API server, blocking: where it is, how to log in, and what to ask it.
//!
//! [`Client`] is built from a kubeconfig or from inside a cluster. Each watch has a [`Transport`] of its own, so that
//! ending one never disturbs another; all share one TLS configuration. [`ListWatch`] is what an informer needs of a
//! server, and all it knows of one.

mod access;
mod address;
mod blot;
mod connect;
mod credentials;
mod discovery;
mod endpoint;
mod error;
mod exec;
mod files;
mod framing;
mod http;
mod in_cluster;
mod interrupt;
mod kubeconfig;
mod lines;
mod list_watch;
mod lookup;
mod metadata_only;
mod page_reader;
mod proxy;
mod rest;
mod secret;
mod server;
mod setup_error;
#[cfg(test)]
mod testing;
mod tls;
#[cfg(test)]
pub(crate) mod transcript;
mod transport;
mod url;
mod version;

pub use access::Access;
pub use blot::Blotter;
pub use connect::{Client, ClientOptions};
pub use discovery::{ApiResource, Discovery, Lookup};
pub use error::Error;
#[cfg(test)]
pub(crate) use error::NoHead;
pub use lines::{LINE_BYTES_MAX, Lines};
pub use list_watch::{Content, Line, ListWatch, PageRequest, PastPage, Proof, READ_TICK, Served, WatchLines, WatchStart};
pub use page_reader::{OBJECT_BYTES_MAX, PageItem, PageReader, WINDOW_BYTES};
pub use rest::RestListWatch;
pub use setup_error::SetupError;
pub use transport::{Get, Interrupt, Response, Transport};
pub use version::ServerVersion;
