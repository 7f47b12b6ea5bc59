//! The real binary and library over real sockets, against recorded and misbehaving servers.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test binary has no users, and fails by panicking")]

mod agreeing;
mod answer;
mod api;
mod bounds;
mod capture;
mod check;
mod closed_files;
mod demo;
mod deploy;
mod embedding;
mod ending;
mod events;
mod examples;
mod faults;
mod flow;
mod history;
mod kinds;
mod kubectl;
mod library;
mod lists;
mod liveness;
mod login;
mod many;
mod memory;
mod messages;
mod middleware;
mod outage;
mod ownership;
mod promtool;
mod proxy;
mod quoting;
mod redaction;
mod reload;
mod restart;
mod rotation;
mod server;
mod serving;
mod sim;
mod supply;
mod systemd;
mod telling;
mod tls;
mod unreadable;
mod usage;
mod watches;

#[path = "../support/mod.rs"]
mod support;
