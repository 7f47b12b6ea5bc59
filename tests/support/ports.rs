//! Loopback ports for servers that are killed and come back on the same one.

use std::net::TcpListener;

/// A loopback port that nobody listens on, outside the range from which the system gives ports to outgoing
/// connections: what listened there can come back to it after a pause.
///
/// # Panics
///
/// When a hundred ports in turn are taken.
pub(crate) fn free_port() -> u16 {
    (0..TRIES_MAX)
        .map(|_| fastrand::u16(PORTS))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("most ports of a test machine are free")
}

/// Below 32768, where Linux begins to hand out ports by itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

const TRIES_MAX: usize = 100;
