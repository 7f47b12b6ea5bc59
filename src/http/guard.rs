//! The one thread that holds every socket: it polls the listener and a bounded number of connections.
//!
//! Takes clients from the listener, gives each the answer that [`Site`] makes. Promises that no client, and no number of
//! clients, ends it, makes it grow, or keeps a newer client from its answer. Ends when the other end of `stopped` is
//! closed.

use super::answer::Site;
use super::connection::Connection;
use super::files::Made;
use super::wire::Wire;
use crate::health::Pulse;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Guard {
    listener: TcpListener,
    stopped: UnixStream,
    site: Site,
    tls: Option<Made<Arc<ServerConfig>>>,
    connections: Vec<Connection>,
    /// A descriptor to give up when the process has no other left: one client at a time is then still served.
    spare: Option<TcpListener>,
    /// When it was last said that descriptors or memory ran out.
    shortage_told: Option<Instant>,
    /// Nobody is accepted before.
    accept_after: Option<Instant>,
}

/// What has something to do.
struct Ready {
    stopped: bool,
    listener: bool,
    connections: Vec<bool>,
}

/// Most connections at a time. Probes and scrapers need two or three; what is more is a mistake or an attack.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// Most clients accepted before the others are looked at again. Half of the above: so every client is looked at at least
/// once between its acceptance and giving way to newer ones.
const ACCEPTS_PER_TURN: usize = CONNECTIONS_MAX / 2;

/// Most memory for answers that clients are slow to take. Metrics of 1,000 resources are about 6 MB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long nobody is accepted after the system refused and nothing could be given up for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whoever opens and closes connections all the time must not fill the log.
const SHORTAGE_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Clients that the kernel holds while this thread is busy; the standard library's 128 overflow in a burst, and who
/// overflows waits a second for the retry.
const BACKLOG: i32 = 1024;

impl Guard {
    pub(super) fn new(
        listener: TcpListener,
        stopped: UnixStream,
        site: Site,
        tls: Option<Made<Arc<ServerConfig>>>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let spare = Some(listener.try_clone()?);
        Ok(Self { listener, stopped, site, tls, connections: Vec::new(), spare, shortage_told: None, accept_after: None })
    }

    pub(super) fn run(mut self, pulse: Pulse) {
        loop {
            pulse.waiting();
            let ready = self.wait(Instant::now());
            pulse.working();
            match ready {
                Ok(ready) if ready.stopped => return pulse.ended(),
                Ok(ready) => self.turn(&ready, Instant::now()),
                Err(error) if self.connections.is_empty() => {
                    // Without an end said, the thread counts as dead from here on, as it must.
                    log::error!(cause:% = error; "metrics and probes are no longer served: cannot wait for clients");
                    return;
                }
                Err(_) => self.connections.clear(),
            }
        }
    }

    /// Waits until something has something to do, or a deadline has passed.
    fn wait(&self, now: Instant) -> io::Result<Ready> {
        let accepting = if self.accept_after.is_none() { PollFlags::IN } else { PollFlags::empty() };
        let mut polled = vec![PollFd::new(&self.stopped, PollFlags::IN), PollFd::new(&self.listener, accepting)];
        polled.extend(self.connections.iter().map(|connection| PollFd::new(connection, connection.interest())));
        match poll(&mut polled, self.timeout(now).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = polled.iter().map(|polled| !polled.revents().is_empty());
        let (stopped, listener) = (ready.next() == Some(true), ready.next() == Some(true));
        Ok(Ready { stopped, listener, connections: ready.collect() })
    }

    /// Until the earliest deadline; `None` when there is none.
    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let deadlines = self.connections.iter().map(Connection::deadline).chain(self.accept_after);
        deadlines.min().and_then(|deadline| Timespec::try_from(deadline.saturating_duration_since(now)).ok())
    }

    fn turn(&mut self, ready: &Ready, now: Instant) {
        for (connection, is_ready) in self.connections.iter_mut().zip(&ready.connections) {
            if *is_ready {
                connection.advance(now, &mut self.site);
            }
            connection.expire(now);
        }
        self.connections.retain(|connection| !connection.is_closed());
        self.accept_after = self.accept_after.filter(|pause_end| now < *pause_end);
        if ready.listener {
            self.accept_some(now);
        }
        self.bound_answers();
        self.restore_spare();
    }

    /// The poll said that a client is there.
    fn accept_some(&mut self, now: Instant) {
        for attempt in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_clients_fault(&error) => {}
                // Without a descriptor the kernel does not look whether a client is there, so only the first is sure to be.
                Err(error) if is_shortage(&error) && attempt > 0 => return,
                Err(error) if is_shortage(&error) && self.make_room(&error) => {}
                Err(_) => {
                    self.accept_after = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Most requests are there when their client is accepted: those are answered at once.
    fn admit(&mut self, stream: TcpStream, now: Instant) {
        let Ok(wire) = self.wire_of(stream, now) else { return };
        let mut connection = Connection::new(wire, now);
        connection.advance(now, &mut self.site);
        if connection.is_closed() {
            return;
        }
        if self.connections.len() == CONNECTIONS_MAX {
            self.drop_longest_idle(|_| true);
        }
        self.connections.push(connection);
    }

    fn wire_of(&mut self, stream: TcpStream, now: Instant) -> io::Result<Wire> {
        let tls = self.tls.as_mut().map(|made| ServerConnection::new(Arc::clone(made.get(now)))).transpose();
        Wire::new(stream, tls.map_err(io::Error::other)?)
    }

    /// Gives up a descriptor for a new client's. Returns whether there was one to give up.
    fn make_room(&mut self, cause: &io::Error) -> bool {
        if self.shortage_told.is_none_or(|told| told.elapsed() >= SHORTAGE_TOLD_EVERY) {
            log::warn!(cause:%; "metrics and probes: one client at a time until there is room for more");
            self.shortage_told = Some(Instant::now());
        }
        self.spare.take().is_some() || self.drop_longest_idle(|_| true)
    }

    fn restore_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = self.listener.try_clone().ok();
        }
    }

    fn bound_answers(&mut self) {
        while self.connections.iter().map(Connection::answer_bytes).sum::<usize>() > ANSWER_BYTES_MAX
            && self.connections.iter().filter(|connection| connection.answer_bytes() > 0).count() > 1
        {
            self.drop_longest_idle(|connection| connection.answer_bytes() > 0);
        }
    }

    /// Closes the connection, among those `chosen`, whose bytes have not moved for longest. Returns whether there was one.
    fn drop_longest_idle(&mut self, chosen: impl Fn(&Connection) -> bool) -> bool {
        let candidates = self.connections.iter().enumerate().filter(|(_, connection)| chosen(connection));
        let Some((index, _)) = candidates.min_by_key(|(_, connection)| connection.active()) else { return false };
        self.connections.remove(index);
        true
    }
}

/// Whether the client was gone before it was looked at.
fn is_clients_fault(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

/// Whether giving something up may help.
fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
