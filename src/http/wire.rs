//! The bytes of a connection, in plain text or over TLS, without ever waiting.

use rustix::event::PollFlags;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

/// A client's socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

/// So often a read goes on to the next record: one that brings nothing for the reader is rare but for an enemy's.
const RECORDS_A_READ: usize = 8;

impl Wire {
    pub(super) fn new(stream: TcpStream, tls: Option<ServerConnection>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, tls: tls.map(Box::new) })
    }

    /// Reads what has come; 0 at the end. Fails with [`ErrorKind::WouldBlock`] when nothing has.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        for _ in 0..RECORDS_A_READ {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            let taken = tls.process_new_packets();
            // An answer of the handshake, or the alert that says why there is none.
            flush(tls, &mut self.stream)?;
            taken.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Whether bytes were read from the socket and not yet given out: no poll tells of these.
    pub(super) fn has_read_ahead(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0))
    }

    /// Writes some of `bytes`. Fails with [`ErrorKind::WouldBlock`] when there is no room.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write(bytes) };
        let written = tls.writer().write(bytes)?;
        flush(tls, &mut self.stream)?;
        if written == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    /// Says that nothing more comes, once all that was written is with the system. Fails with [`ErrorKind::WouldBlock`] before.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            flush(tls, &mut self.stream)?;
            if !tls.wants_write() {
                tls.send_close_notify();
                flush(tls, &mut self.stream)?;
            }
            if tls.wants_write() {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads what a client still sends, to be dropped.
    pub(super) fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// What a read waits for.
    pub(super) fn interest_in_reading(&self) -> PollFlags {
        let is_owed = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        if is_owed { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
    }

    /// Whether an answer can be read by the client yet.
    pub(super) fn can_answer(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// Whether the client has shown a certificate, which was checked in the handshake.
    pub(super) fn has_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.peer_certificates().is_some())
    }
}

/// Writes what TLS has to write, as far as there is room.
fn flush(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
