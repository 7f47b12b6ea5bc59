//! A simulated API server for tests, demos and users' own tests: real HTTP, no cluster.
//!
//! A [`Cluster`] speaks HTTP/1.1, plain or inside TLS, on a loopback port, and answers as API servers of three releases do:
//! discovery, lists, watches, streaming lists, writes, access rules. It writes a kubeconfig for whoever reads one, Faro or
//! `kubectl`. [`Faults`] make it misbehave by seed. Its documentation shows a test of a handler.
//!
//! Four layers, each of which knows only those below: `cluster` is what users see; `http` speaks HTTP and injects the faults
//! that `faults` plans, for users that `authority` knows; `api` answers one request as a real server does; `state` keeps
//! objects, their versions and their history.
//!
//! A watch costs a thread and, with TLS, rustls's buffers. Of time only [`Faults::pause`], [`Faults::half_open_limit`],
//! [`Builder::bookmark_interval`] and the timeouts that clients ask for are waited for, and each can be as short as a test
//! wants; [`Cluster::advance`] moves the clock.

mod api;
mod authority;
mod cluster;
mod faults;
mod http;
mod state;

pub use cluster::{Backup, Builder, Cluster, Refused, Release, Rule};
pub use faults::{Fault, Faults, Hidden};
