//! What both test binaries need: the real program as a black box, its lines, certificates, ports, waiting.

#![allow(dead_code, reason = "each of the two test binaries uses its own part")]

pub(crate) mod daemon;
pub(crate) mod example;
pub(crate) mod lines;
pub(crate) mod manifests;
pub(crate) mod pki;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod wait;
