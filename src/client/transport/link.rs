//! One connection as ureq sees it: TCP, TLS where asked, and buffers, in one layer.

use super::buffers::LinkBuffers;
use super::chunks::Chunks;
use super::connector::Trouble;
use super::socket::Socket;
use crate::client::tls::explain;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::unversioned::transport::time::Duration as Budget;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

/// A connection to the server, through whatever leads there.
#[derive(Debug)]
pub(super) struct Link {
    below: Below,
    tls: Option<Box<ClientConnection>>,
    buffers: LinkBuffers,
    /// The answer to the last request.
    chunks: Chunks,
}

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Below {
    Tcp(Socket),
    /// TLS to a proxy.
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Link {
    pub(super) fn new(below: Below, tls: Option<Box<ClientConnection>>, buffers: LinkBuffers) -> Self {
        Self { below, tls, buffers, chunks: Chunks::default() }
    }

    /// The wait for a head has a deadline; a read of a body has a limit of its own, which begins anew with each.
    fn limit_reads(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let (deadline, idle) = match timeout.after {
            Budget::Exact(left) if left.is_zero() => return Err(Error::Timeout(timeout.reason)),
            Budget::Exact(left) => (Some(Instant::now() + left), None),
            Budget::NotHappening => (None, timeout.per_read.map(|limit| *limit)),
        };
        self.set_limits(deadline, idle);
        Ok(())
    }

    fn limit_writes(&mut self, timeout: NextTimeout) {
        let deadline = match timeout.after {
            Budget::Exact(left) => Some(Instant::now() + left),
            Budget::NotHappening => None,
        };
        self.set_limits(deadline, None);
    }

    fn set_limits(&mut self, deadline: Option<Instant>, idle: Option<Duration>) {
        let socket = self.below.socket();
        (socket.deadline, socket.idle_limit) = (deadline, idle);
    }

    /// Reads until there is something for ureq. Gives 0 at the end of the connection.
    fn fill(&mut self) -> io::Result<usize> {
        let idle_limit = self.below.socket().idle_limit;
        let began = Instant::now();
        loop {
            let amount = self.read()?;
            let kept = self.buffers.append(amount, &mut self.chunks)?;
            if amount == 0 || kept > 0 {
                return Ok(kept);
            }
            // Nothing but a part of an extension, which is nothing to whoever reads.
            if idle_limit.is_some_and(|limit| began.elapsed() >= limit) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.below.read(self.buffers.input_append_buf()) };
        wait_for_plaintext(tls, &mut self.below)?;
        tls.reader().read(self.buffers.input_append_buf())
    }

    fn send(&mut self, output: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.below.write_all(output) };
        tls.writer().write_all(output)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.below)?;
        }
        Ok(())
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.limit_writes(timeout);
        let output = self.buffers.take_output(amount);
        self.chunks = Chunks::default();
        self.send(&output).map_err(|error| ureq_error(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.limit_reads(timeout)?;
        let reason = if timeout.after == Budget::NotHappening { Timeout::PerRead } else { timeout.reason };
        self.fill().map(|amount| amount > 0).map_err(|error| ureq_error(error, reason))
    }

    fn is_open(&mut self) -> bool {
        self.set_limits(None, None);
        let stream = Arc::clone(self.below.socket().stream());
        let (tls, below) = (&mut self.tls, &mut self.below);
        Socket::is_quiet(&stream, || match tls {
            None => below.read(&mut [0]),
            // A server may send session tickets at any time; anything else says that the connection is of no more use.
            Some(tls) => wait_for_plaintext(tls, below).map(|()| 1),
        })
    }

    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

impl Below {
    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Below {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Below {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Completes the handshake, within the deadline of the socket below.
pub(super) fn shake_hands(tls: &mut ClientConnection, below: &mut (impl Read + Write)) -> io::Result<()> {
    while tls.is_handshaking() || tls.wants_write() {
        while tls.wants_write() {
            tls.write_tls(below)?;
        }
        if tls.is_handshaking() && tls.wants_read() {
            take_in(tls, below)?;
        }
    }
    Ok(())
}

/// Returns when plaintext can be read, or the peer has closed its side. What a failed wait has read stays with `tls`.
fn wait_for_plaintext(tls: &mut ClientConnection, below: &mut (impl Read + Write)) -> io::Result<()> {
    loop {
        // An empty buffer reads nothing, but tells an end of the stream and its kind from a need to wait.
        let state = tls.process_new_packets().map_err(tls_error)?;
        while tls.wants_write() {
            tls.write_tls(below)?;
        }
        if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
            return Ok(());
        }
        take_in(tls, below)?;
    }
}

fn take_in(tls: &mut ClientConnection, below: &mut (impl Read + Write)) -> io::Result<()> {
    if tls.read_tls(below)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let result = tls.process_new_packets();
    if result.is_err() {
        // The peer should learn why; that it does not is no further harm.
        let _ = tls.write_tls(below);
    }
    result.map(|_| ()).map_err(tls_error)
}

/// Keeps the library's error below ours, so that callers can tell TLS from the network.
pub(super) fn tls_error(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn ureq_error(error: io::Error, reason: Timeout) -> Error {
    if error.kind() == io::ErrorKind::TimedOut && error.get_ref().is_none() && error.raw_os_error().is_none() {
        return Error::Timeout(reason);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Error::Other(Box::new(Trouble::tls(explain(tls)))),
        None => Error::Io(error),
    }
}
