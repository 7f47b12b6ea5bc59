//! HTTP/1.1 on a loopback port, with faults on request.
//!
//! Takes a [`Site`] that answers; gives a port that speaks HTTP, plain or inside TLS, one named thread a connection. An idle
//! watch costs 25 KiB, inside TLS 85 KiB, and a look at its client five times a second: 500 of them take a twentieth of a
//! core, unoptimized. Promises that heads, bodies and connections are bounded, and that closing ends every connection at once.

mod connection;
mod distort;
mod lists;
mod reply;
mod request;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod watches;

pub(super) use lists::Lists;
pub(super) use watches::Watches;

use super::api::{Reply, Request};
use super::authority::Authority;
use super::faults::Injector;
use crate::lifecycle::{Joined, Stop};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is behind the port.
pub(super) struct Site {
    pub(super) answer: Box<dyn Fn(&Request) -> Reply + Send + Sync>,
    /// Ends every watch, so that whoever waits for its next line wakes.
    pub(super) end_streams: Box<dyn Fn() + Send + Sync>,
    pub(super) authority: Authority,
    pub(super) injector: Arc<Injector>,
    pub(super) lists: Lists,
    pub(super) watches: Watches,
    /// How long a client may leave a full connection unread. After that a document is cut off, and a watch ends without a
    /// word: cleanly, once there is room for the end.
    pub(super) slow_limit: Duration,
}

/// The port.
pub(super) struct Server {
    address: SocketAddr,
    site: Arc<Site>,
    /// Bound as long as the server lives, so that nobody else gets the port while it does not listen.
    listener: TcpListener,
    listening: Mutex<Option<Listening>>,
}

/// One stretch of listening.
struct Listening {
    stop: Stop,
    connections: Arc<Mutex<Connections>>,
    acceptor: Joined,
}

/// A connection, as its thread and whoever ends it see it.
struct Connection {
    stream: Arc<TcpStream>,
    stop: Stop,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    stream: Arc<TcpStream>,
    thread: Option<Joined>,
}

impl Server {
    /// Listens on a loopback port that nobody else uses.
    ///
    /// # Errors
    ///
    /// When there is none, or no more threads.
    pub(super) fn start(site: Site) -> io::Result<Self> {
        let listener = bind()?;
        let address = listener.local_addr()?;
        let server = Self { address, site: Arc::new(site), listener, listening: Mutex::new(None) };
        *server.lock() = Some(server.listen()?);
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// Breaks every connection, and refuses new ones until [`up`](Self::up).
    pub(super) fn down(&self) {
        let Some(listening) = self.lock().take() else { return };
        listening.stop.request();
        // Wakes the acceptor, which sees the stop.
        drop(TcpStream::connect(self.address));
        drop(listening.acceptor);
        // Linux stops listening and keeps the port (`inet_shutdown`, `tcp_disconnect`).
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let deadline = Instant::now() + CLOSE_LIMIT;
        let open: Vec<_> = lock(&listening.connections).open.drain().collect();
        for (_, open) in &open {
            let _ = open.stream.shutdown(Shutdown::Both);
        }
        (self.site.end_streams)();
        for thread in open.into_iter().filter_map(|(_, open)| open.thread) {
            thread.join_until(deadline);
        }
    }

    /// Listens again where it did before.
    ///
    /// # Errors
    ///
    /// When the system has no more threads or descriptors.
    pub(super) fn up(&self) -> io::Result<()> {
        let mut listening = self.lock();
        if listening.is_none() {
            rustix::net::listen(&self.listener, BACKLOG)?;
            *listening = Some(self.listen()?);
        }
        Ok(())
    }

    /// Breaks every connection that is open now; new ones are welcome.
    pub(super) fn cut(&self) {
        if let Some(listening) = &*self.lock() {
            for open in lock(&listening.connections).open.values() {
                let _ = open.stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// How many connections are open.
    pub(super) fn connections(&self) -> usize {
        self.lock().as_ref().map_or(0, |listening| lock(&listening.connections).open.len())
    }

    fn listen(&self) -> io::Result<Listening> {
        let listener = self.listener.try_clone()?;
        let (stop, connections) = (Stop::new(), Arc::default());
        let (site, stopped, accepted) = (Arc::clone(&self.site), stop.clone(), Arc::clone(&connections));
        let acceptor = Joined::spawn("sim-accept", move || accept(&listener, &site, &stopped, &accepted))?;
        Ok(Listening { stop, connections, acceptor })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Listening>> {
        lock(&self.listening)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.site.injector.end();
        self.down();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port below those that Linux gives to outgoing connections, so that it is still free after a restart.
fn bind() -> io::Result<TcpListener> {
    let tried = (0..PORT_TRIES).find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS))).ok());
    tried.map_or_else(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), Ok)
}

fn accept(listener: &TcpListener, site: &Arc<Site>, stop: &Stop, connections: &Arc<Mutex<Connections>>) {
    while !stop.is_requested() {
        let Ok((stream, _)) = listener.accept() else {
            // No descriptors are left, for one: they come back when connections end.
            stop.wait(ACCEPT_PAUSE);
            continue;
        };
        let is_full = lock(connections).open.len() >= CONNECTIONS_MAX;
        if stop.is_requested() || is_full {
            continue;
        }
        // A client that is gone already is noticed at its first read.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(site.slow_limit));
        begin(Arc::new(stream), site, stop, connections);
    }
}

/// Gives the connection a thread, which takes itself off the list at its end.
fn begin(stream: Arc<TcpStream>, site: &Arc<Site>, stop: &Stop, connections: &Arc<Mutex<Connections>>) {
    let mut list = lock(connections);
    let id = list.next;
    list.next += 1;
    let connection = Connection { stream: Arc::clone(&stream), stop: stop.clone() };
    let (site, connections) = (Arc::clone(site), Arc::downgrade(connections));
    let thread = Joined::spawn("sim-conn", move || {
        connection::serve(&site, &connection);
        let open = connections.upgrade().and_then(|connections| lock(&connections).open.remove(&id));
        // The thread is this one: it ends by itself, and nobody can wait for it here.
        if let Some(thread) = open.and_then(|open| open.thread) {
            thread.join_until(Instant::now());
        }
    });
    // Without a thread the connection is dropped, as by a server that is out of them. The thread takes itself off the list
    // only after this lock.
    if let Ok(thread) = thread {
        list.open.insert(id, Open { stream, thread: Some(thread) });
    }
}

/// More than any test opens, fewer than the descriptors that a process usually has.
const CONNECTIONS_MAX: usize = 4096;

/// How long closing waits for threads that still work on an answer.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// As the standard library has it.
const BACKLOG: i32 = 128;

const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Linux hands out ports from 32768 by itself.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

const PORT_TRIES: usize = 100;
