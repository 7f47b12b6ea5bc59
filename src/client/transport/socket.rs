//! One TCP connection: made within a limit, watched by the kernel for a dead peer, ended from another thread.

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connected socket. Every wait on it ends at `deadline` or after `idle_limit`, whichever is set.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// When a handshake or the wait for a head must have ended.
    pub(super) deadline: Option<Instant>,
    /// How long one read may wait.
    pub(super) idle_limit: Option<Duration>,
    /// What the kernel knows already; setting it again would cost a call for each read.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Socket {
    /// Connects to `address` by `deadline`. `register` gets the socket before it connects, so that a shutdown ends that wait too.
    pub(super) fn connect<E: From<io::Error>>(
        address: SocketAddr,
        deadline: Instant,
        register: impl FnOnce(&Arc<TcpStream>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let stream = Arc::new(open(address)?);
        register(&stream)?;
        connect(&stream, address, deadline)?;
        let write_timeout = None;
        stream.set_write_timeout(write_timeout)?;
        Ok(Self { stream, deadline: Some(deadline), idle_limit: None, read_timeout: None, write_timeout })
    }

    /// Whether the peer neither closed the connection nor sent anything. `probe` reads, and finds nothing when all is well.
    pub(super) fn is_quiet(stream: &TcpStream, probe: impl FnOnce() -> io::Result<usize>) -> bool {
        let heard = stream.set_nonblocking(true).and_then(|()| probe());
        stream.set_nonblocking(false).is_ok() && heard.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The time that one wait may take now.
    fn patience(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(self.idle_limit) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let patience = self.patience()?;
            if patience != self.read_timeout {
                self.stream.set_read_timeout(patience)?;
                self.read_timeout = patience;
            }
            match (&*self.stream).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(timed_out),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let patience = self.patience()?;
            if patience != self.write_timeout {
                self.stream.set_write_timeout(patience)?;
                self.write_timeout = patience;
            }
            match (&*self.stream).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(timed_out),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Linux says `WouldBlock` when a socket's timeout passes.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(&socket, USER_TIMEOUT.as_millis() as u32)?;
    Ok(TcpStream::from(socket))
}

/// Linux bounds a blocking connect by the socket's send timeout, and ends it when the socket is shut down from another thread.
fn connect(stream: &TcpStream, address: SocketAddr, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match rustix::net::connect(stream, &address) {
            Ok(()) => return Ok(()),
            // A signal came; the connection goes on being made.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::ALREADY) => {}
            Err(rustix::io::Errno::ISCONN) => return Ok(()),
            Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A silent peer is asked whether it lives after this long...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
/// ...and then this often...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ...and is given up after so many questions without an answer: 50 s in all, within the minute that Faro promises.
const KEEPALIVE_PROBES: u32 = 3;
/// Sent bytes that are not acknowledged for this long end the connection. It also overrides the number of keepalive probes.
const USER_TIMEOUT: Duration = Duration::from_secs(45);

#[cfg(test)]
mod tests;
