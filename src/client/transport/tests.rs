//! The transport against scripted servers on loopback.

mod faults;
mod proxies;
mod requests;
mod stopping;
