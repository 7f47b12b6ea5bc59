//! A network between daemon and API server that can be cut.

use faro::lifecycle::{Joined, Stop};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Forwards loopback connections to another loopback port, while it is not cut.
#[derive(Debug)]
pub(crate) struct TcpProxy {
    // Dropped first: its end is what joins the thread.
    guard: StopOnDrop,
    wire: Arc<Wire>,
    port: u16,
    _acceptor: Joined,
}

#[derive(Debug)]
struct StopOnDrop(Stop);

#[derive(Debug)]
struct Wire {
    targets: Vec<u16>,
    /// Whose turn it is.
    turn: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

impl TcpProxy {
    /// Listens on a free port and forwards to `target`.
    pub(crate) fn to(target: u16) -> Self {
        Self::to_any(vec![target])
    }

    /// Listens on a free port and forwards to `targets` in turn, passing over those that do not listen.
    pub(crate) fn to_any(targets: Vec<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let wire = Arc::new(Wire { targets, turn: AtomicUsize::new(0), state: Mutex::default() });
        let (stop, shared) = (Stop::new(), Arc::clone(&wire));
        let stopped = stop.clone();
        let acceptor = Joined::spawn("proxy-accept", move || shared.accept(&listener, &stopped)).expect("a thread for the proxy");
        Self { guard: StopOnDrop(stop), wire, port, _acceptor: acceptor }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Breaks every connection and takes no new one.
    pub(crate) fn cut(&self) {
        self.wire.set_cut(true);
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        self.wire.set_cut(false);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.guard.0.request();
        self.wire.set_cut(true);
    }
}

impl Wire {
    fn accept(&self, listener: &TcpListener, stop: &Stop) {
        let mut pumps = Vec::new();
        while !stop.wait(ACCEPT_POLL) {
            pumps.retain(|pump: &Joined| !pump.is_finished());
            while let Ok((client, _)) = listener.accept() {
                // A connection that is refused here is closed by being dropped.
                pumps.extend(self.connect(client).unwrap_or_default());
            }
        }
        self.set_cut(true);
    }

    fn connect(&self, client: TcpStream) -> io::Result<Vec<Joined>> {
        let mut state = self.lock();
        if state.cut {
            return Ok(Vec::new());
        }
        client.set_nonblocking(false)?;
        let server = self.next_server()?;
        state.open.extend([client.try_clone()?, server.try_clone()?]);
        let back = (server.try_clone()?, client.try_clone()?);
        Ok(vec![
            Joined::spawn("proxy-up", move || pump(client, server))?,
            Joined::spawn("proxy-down", move || pump(back.0, back.1))?,
        ])
    }

    fn next_server(&self) -> io::Result<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = self.targets.iter().cycle().skip(turn % self.targets.len()).take(self.targets.len());
        let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
        for port in in_turn {
            match TcpStream::connect(("127.0.0.1", *port)) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn set_cut(&self, cut: bool) {
        let mut state = self.lock();
        state.cut = cut;
        if cut {
            for stream in state.open.drain(..) {
                // An error means that it is closed already.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    // An error is the end of the connection, as its end is.
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}

/// How long a new connection may wait to be taken.
const ACCEPT_POLL: Duration = Duration::from_millis(5);
