//! One API server, blocking: where it is, how to log in, and what to ask it.
//!
//! [`Client`] is built from a kubeconfig or from inside a cluster. Each watch has a [`Transport`] of its own, so that
//! ending one never disturbs another; all share one TLS configuration. [`ListWatch`] is what an informer needs of a
//! server, and all it knows of one.

mod connect;
mod credentials;
mod endpoint;
mod error;
mod exec;
mod files;
mod in_cluster;
mod interrupt;
mod kubeconfig;
mod list_watch;
mod proxy;
mod secret;
mod setup_error;
#[cfg(test)]
mod testing;
mod tls;
mod transport;
mod url;

pub use connect::{Client, ClientOptions};
pub use error::Error;
pub use list_watch::{Line, ListWatch, PageRequest, READ_TICK, Served, WatchLines, WatchStart};
pub use setup_error::SetupError;
pub use transport::{Get, Interrupt, Response, Transport};
