//! Metrics, health and readiness over HTTP, on one thread that no client can hold up.
//!
//! | path | answer |
//! | --- | --- |
//! | `metrics_path` | what Prometheus scrapes |
//! | `/health` | 200 while no thread is dead or stuck, else 503; which one, as JSON |
//! | `/ready` | 200 when the first list of every watch has ended and the sink can write, else 503; what is missing, as JSON |
//! | `/ready?strict=1` | 503 also while any watch is not synced |
//! | `/ready?verbose=1` | as `/ready`, and each watch, its state and the reason, the synced ones too |
//! | `/` | these paths |
//!
//! Of this thread itself no answer can tell: when it hangs a probe gets none in its time, when it is dead the connection is
//! refused, and a prober takes both for a failure.
//!
//! # Why `tiny_http` does not hold the sockets
//!
//! `tiny_http` writes the answers, and its `Server` is not used. Exposed to a network, that server can be killed by
//! whoever reaches it: a POST with an enormous `Content-Length` aborts the process, a reset panics a worker, an accept
//! error ends it without a word, a head may be of any size and a client costs a thread for as long as it likes. All five
//! are in how it accepts, reads and queues, none in how it answers. So a guard of ours (`guard.rs`) does the former: one
//! thread polls the listener and at most 64 connections, admits GET and HEAD without a body in a head of at most 8 KB
//! within 5 s, and lets the connection that is idle for longest give way to a new one. What it admits is four words of a
//! request line, answered from memory. Relaying them to a second server on loopback would add threads, descriptors, a
//! port open to every local user and a way to fail, and take nothing away.

mod access;
mod answer;
mod connection;
mod error;
mod files;
#[cfg(test)]
mod fuzz_tests;
mod guard;
mod head;
#[cfg(test)]
mod secured_tests;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub use error::HttpError;
pub use settings::{HttpSettings, TlsFiles};

use crate::health::Health;
use crate::lifecycle::Joined;
use crate::metrics::Metrics;
use access::Access;
use answer::Site;
use files::Made;
use guard::Guard;
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The running server. Dropping it closes the port and every connection, at once.
#[derive(Debug)]
pub struct HttpServer {
    local_addr: SocketAddr,
    // Dropped before `_thread`: closing this end is what ends the thread.
    _stop: UnixStream,
    _thread: Joined,
}

impl HttpServer {
    /// Serves what `metrics` and `health` tell until dropped.
    ///
    /// # Errors
    ///
    /// When the port is in use or not allowed, the address is not this host's, the path is none, a file cannot be used, or the system
    /// refuses one more thread.
    pub fn start(settings: &HttpSettings, metrics: &Metrics, health: &Health) -> Result<Self, HttpError> {
        let (access, tls) = files_of(settings)?;
        let site = Site::new(&settings.metrics_path, access, metrics.clone(), health.clone())
            .ok_or_else(|| HttpError::Path { found: settings.metrics_path.clone() })?;
        let address = SocketAddr::new(settings.bind_addr, settings.port);
        let listener = TcpListener::bind(address).map_err(|source| HttpError::Bind { address, source })?;
        Self::serve(listener, site, tls, health).map_err(|source| HttpError::Start { address, source })
    }

    /// Reads the files that it would be served with, and opens nothing.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used.
    pub fn check(settings: &HttpSettings) -> Result<(), HttpError> {
        files_of(settings).map(drop)
    }

    fn serve(listener: TcpListener, site: Site, tls: Option<Made<Arc<ServerConfig>>>, health: &Health) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = UnixStream::pair()?;
        let guard = Guard::new(listener, stopped, site, tls)?;
        let pulse = health.add_thread(THREAD_NAME);
        let thread = Joined::spawn(THREAD_NAME, move || guard.run(pulse))?;
        Ok(Self { local_addr, _stop: stop, _thread: thread })
    }

    /// The address that is served, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

type Files = (Access, Option<Made<Arc<ServerConfig>>>);

fn files_of(settings: &HttpSettings) -> Result<Files, HttpError> {
    let files = Access::of(settings).and_then(|access| Ok((access, settings.tls.as_ref().map(tls::config_of).transpose()?)));
    files.map_err(|source| HttpError::Files { source })
}

const THREAD_NAME: &str = "http";
