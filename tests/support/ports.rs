//! Loopback ports for servers that are killed and come back on the same one.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// A loopback port that nobody listens on, outside the range from which the system gives ports to outgoing
/// connections: what listened there can come back to it after a pause. No other test of this process gets it meanwhile.
///
/// # Panics
///
/// When a hundred ports in turn are taken.
pub(crate) fn free_port() -> u16 {
    (0..TRIES_MAX)
        .map(|_| next_port())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("most ports of a test machine are free")
}

/// Each port once, before any comes again.
fn next_port() -> u16 {
    // Another run of the tests, at the same time, begins somewhere else.
    static FIRST: OnceLock<u16> = OnceLock::new();
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = *FIRST.get_or_init(|| fastrand::u16(..PORTS));
    let given = GIVEN.fetch_add(1, Ordering::Relaxed) % PORTS;
    PORT_MIN + (first + given) % PORTS
}

const PORT_MIN: u16 = 20_000;

/// All stay below 32768, where Linux begins to hand out ports by itself.
const PORTS: u16 = 12_000;

const TRIES_MAX: usize = 100;
