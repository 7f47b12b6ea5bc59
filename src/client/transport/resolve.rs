//! Names to addresses, with a limit.
//!
//! `getaddrinfo` can neither be bounded nor ended, so it runs on a thread of its own: one at a time for a whole client, whose answer
//! serves all transports for a few seconds. An IP address, as pods have it, needs none.

use crate::client::interrupt::{Ending, Turn};
use crate::lifecycle::Joined;
use crossbeam_channel::bounded;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Looks names up for all transports of a client.
#[derive(Debug)]
pub(crate) struct Resolver {
    turn: Turn,
    known: Mutex<Option<Known>>,
    /// Which address a connection was last made to. Of all names: who has it has few.
    answered: Mutex<Option<SocketAddr>>,
    thread: Mutex<Option<Joined>>,
}

#[derive(Debug)]
struct Known {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
    until: Instant,
}

impl Resolver {
    pub(crate) fn new() -> Self {
        Self { turn: Turn::new(), known: Mutex::new(None), answered: Mutex::new(None), thread: Mutex::new(None) }
    }

    /// At least one address of `host`, or what stands in the way.
    pub(super) fn resolve(&self, host: &str, port: u16, ending: &Ending) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let deadline = Instant::now() + RESOLVE_LIMIT;
        let late = || format!("host {host}: its name was not resolved within {RESOLVE_LIMIT:?}");
        if let Some(addresses) = self.known(host, port) {
            return Ok(addresses);
        }
        let turn = self.turn.wait(ending, deadline).ok_or_else(late)?;
        if let Some(addresses) = self.known(host, port) {
            return Ok(addresses);
        }
        let (give, take) = bounded(1);
        let asked = host.to_owned();
        let thread = Joined::spawn("resolve", move || {
            // Nobody may wait any more; then the answer is of no use.
            let _ = give.try_send((asked.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
            drop(turn);
        });
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(thread.map_err(|error| format!("host {host}: cannot be looked up: {error}"))?);
        let answer: io::Result<Vec<SocketAddr>> = crossbeam_channel::select! {
            recv(take) -> answer => answer.unwrap_or_else(|_| Err(io::Error::other("the look-up broke off"))),
            recv(ending.signal()) -> _ => Err(io::Error::other("interrupted")),
            default(deadline.saturating_duration_since(Instant::now())) => return Err(late()),
        };
        let mut addresses = answer.map_err(|error| format!("host {host} is not found: {error}"))?;
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(format!("host {host} has no address"));
        }
        let until = Instant::now() + ANSWER_AGE_MAX;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Known { host: host.to_owned(), port, addresses: addresses.clone(), until });
        Ok(addresses)
    }

    /// Puts the address that answered last first: an address that is dead costs seconds each time it is tried.
    pub(super) fn prefer(&self, addresses: &mut [SocketAddr]) {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = answered.and_then(|answered| addresses.iter().position(|address| *address == answered)) {
            addresses[..=at].rotate_right(1);
        }
    }

    /// Notes that a connection to `address` was made.
    pub(super) fn answered(&self, address: SocketAddr) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn known(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|k| k.host == host && k.port == port && Instant::now() < k.until).map(|k| k.addresses.clone())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // A look-up that hangs must not hold up the end of the client; it ends by itself.
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            thread.join_until(Instant::now());
        }
    }
}

/// How long a look-up may take before the request fails.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer serves: long enough for all watches that reconnect at once, too short to miss a change.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(5);
/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 8;
