//! The real binary and library over real sockets, against recorded and misbehaving servers.

#![expect(unreachable_pub, reason = "a test binary has no users")]

mod api;
mod capture;
mod faults;
mod server;
mod tls;
mod usage;

#[path = "../support/mod.rs"]
mod support;
