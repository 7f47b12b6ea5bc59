//! A simulated API server for tests, demos and users' own tests: real HTTP, no cluster.
//!
//! Three layers, each of which knows only the one below: [`http`] speaks HTTP/1.1 on a loopback port and injects faults into
//! bytes; [`api`] answers one request as a real server does; [`state`] keeps objects, their versions and their history.

mod api;
mod authority;
mod cluster;
mod faults;
mod http;
mod state;

pub use cluster::{Backup, Builder, Cluster, Refused, Release, Rule};
pub use faults::{Fault, Faults};
