//! A connection's bytes, plain or inside TLS, and the faults that strike between any two of them.

use crate::lifecycle::Stop;
use crate::sim::faults::{Fault, Injector, Plan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What HTTP is spoken over.
pub(super) enum Wire {
    Plain(Socket),
    Tls(Box<StreamOwned<ServerConnection, Socket>>),
}

impl Wire {
    pub(super) fn plain(socket: Socket) -> Self {
        Self::Plain(socket)
    }

    /// After the handshake.
    ///
    /// # Errors
    ///
    /// When client and server do not agree, or the client leaves.
    pub(super) fn tls(mut socket: Socket, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    /// The certificate that the client showed.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.conn.peer_certificates().and_then(|chain| chain.first()).map(AsRef::as_ref),
        }
    }

    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Says goodbye, as a server that ends a connection on purpose.
    pub(super) fn close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            // A client that is gone needs no goodbye.
            let _ = stream.flush();
        }
        let _ = self.socket().stream.shutdown(Shutdown::Write);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The TCP connection. With TLS, faults strike inside its records.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    injector: Arc<Injector>,
    armed: Option<Armed>,
    /// A fault ended it: rustls writes on after an error.
    is_broken: bool,
    /// A client that does not read is waited for.
    is_patient: bool,
    is_slow: bool,
}

/// A fault that waits for its byte.
struct Armed {
    fault: Fault,
    /// So many bytes still go through as they should; for a drip, one by one.
    left: usize,
    pause: Duration,
    over: Stop,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, injector: Arc<Injector>) -> Self {
        Self { stream, injector, armed: None, is_broken: false, is_patient: false, is_slow: false }
    }

    /// What the plan does to bytes happens to those that are written from here on.
    pub(super) fn arm(&mut self, plan: &Plan) {
        self.armed = plan.fault.and_then(|(fault, left)| {
            let pause = match fault {
                Fault::Cut | Fault::Reset | Fault::Drip => Duration::ZERO,
                Fault::Stall => plan.pause,
                Fault::HalfOpen => plan.half_open_limit,
                Fault::CutInChunk
                | Fault::CutInLine
                | Fault::Refuse
                | Fault::Gone
                | Fault::TooManyRequests
                | Fault::InternalError
                | Fault::Unavailable
                | Fault::GatewayTimeout
                | Fault::Unauthorized
                | Fault::NoBookmarks
                | Fault::NoInitialEventsEnd
                | Fault::ExpiredContinue
                | Fault::Garbage
                | Fault::LongLine
                | Fault::HeldHead
                | Fault::Heartbeats
                | Fault::EndlessList
                | Fault::GluedEvents
                | Fault::OldBookmark
                | Fault::WholeObjects
                | Fault::UnreadableObject
                | Fault::NewerPage
                | Fault::SamePage
                | Fault::ProxyNotFound => return None,
            };
            Some(Armed { fault, left, pause, over: plan.over.clone() })
        });
    }

    /// The next answer is let alone.
    pub(super) fn disarm(&mut self) {
        self.armed = None;
        self.is_patient = false;
    }

    /// From here on a client that does not read is waited for, and [`is_slow`](Self::is_slow) after the time that a write has.
    pub(super) fn be_patient(&mut self) {
        (self.is_patient, self.is_slow) = (true, false);
    }

    /// Whether the client left a full connection unread for too long.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether bytes came, or the end did. During an answer both mean that the client has no more use for it.
    pub(super) fn has_input(&self) -> bool {
        let mut fds = [PollFd::new(&*self.stream, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Makes the end of this connection a reset.
    pub(super) fn reset_on_close(&self) {
        // Only a socket that is broken already refuses this.
        let _ = rustix::net::sockopt::set_socket_linger(&*self.stream, Some(Duration::ZERO));
    }

    fn put(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match (&*self.stream).write(buffer) {
                Err(error) if self.is_patient && error.kind() == io::ErrorKind::WouldBlock => self.is_slow = true,
                written => return written,
            }
        }
    }

    /// Its moment has come. Goes on only after a stall.
    fn strike(&mut self, armed: &Armed) -> io::Result<()> {
        self.injector.struck(armed.fault);
        armed.over.wait(armed.pause);
        if armed.fault == Fault::Stall {
            return Ok(());
        }
        self.is_broken = true;
        if armed.fault == Fault::Reset {
            self.reset_on_close();
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.stream).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let Some(mut armed) = self.armed.take_if(|armed| !armed.over.is_requested()) else {
            return self.put(buffer);
        };
        if armed.left == 0 && armed.fault != Fault::Drip {
            self.strike(&armed)?;
            return self.put(buffer);
        }
        if armed.left == 0 {
            self.injector.struck(Fault::Drip);
            return self.put(buffer);
        }
        let piece = if armed.fault == Fault::Drip { 1 } else { armed.left };
        let written = self.put(&buffer[..piece.min(buffer.len())])?;
        armed.left -= written;
        self.armed = Some(armed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}
