//! Makes connections: the name, TCP, the proxy, TLS, each step with a limit of its own and an error in plain words.

use super::buffers::LinkBuffers;
use super::link::{Below, Link, shake_hands};
use super::socket::Socket;
use super::tunnel;
use crate::client::connect::Shared;
use crate::client::credentials::Tls;
use crate::client::interrupt::Ending;
use crate::client::proxy::{Proxy, ProxyKind};
use crate::client::tls::{explain, server_name};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, NextTimeout, ShutdownHandle};

/// Connects one transport to its server.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) shared: Arc<Shared>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) ending: Ending,
    pub(super) output_bytes: Arc<AtomicUsize>,
    pub(super) connections: Arc<AtomicU64>,
}

/// What stood in the way of a connection, in words for people.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Trouble {
    words: String,
    /// Client and server did not agree on TLS, as when a certificate or an authority was replaced.
    pub(super) is_tls: bool,
}

impl Trouble {
    pub(super) fn tls(words: String) -> Self {
        Self { words, is_tls: true }
    }
}

impl ureq::unversioned::transport::Connector<()> for Connector {
    type Out = Link;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Link>, Error> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.shared.session.endpoint();
        let (host, port) = endpoint.host_and_port();
        let socket = match &endpoint.proxy {
            None => self.dial(host, port, "", details)?,
            Some(proxy) => self.dial(&proxy.host, proxy.port, "the proxy ", details)?,
        };
        let mut below = Below::Tcp(socket);
        if let Some(proxy) = &endpoint.proxy {
            below = self.through(proxy, below, host, port)?;
        }
        let tls = match self.tls.as_ref().filter(|_| endpoint.is_https()) {
            Some(tls) => {
                Some(Box::new(secured(&tls.server, tls.server_name.clone(), &mut below).map_err(|e| told(&e, "the server"))?))
            }
            None => None,
        };
        Ok(Some(Link::new(below, tls, LinkBuffers::new(self.output_bytes.clone()))))
    }
}

impl Connector {
    /// Connects to the first address that answers, beginning with the one that did so the last time.
    fn dial(&self, host: &str, port: u16, what: &str, details: &ConnectionDetails<'_>) -> Result<Socket, Error> {
        let resolver = &self.shared.resolver;
        let mut addresses = resolver.resolve(host, port, &self.ending).map_err(|problem| trouble(format!("{what}{problem}")))?;
        resolver.prefer(&mut addresses);
        let deadline = Instant::now() + CONNECT_LIMIT;
        let register = |stream: &Arc<TcpStream>| {
            let handle = Arc::downgrade(stream) as Weak<dyn ShutdownHandle>;
            (details.register_shutdown)(handle)
        };
        let mut failures = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            let share = share(deadline, addresses.len() - index);
            match Socket::connect::<Error>(*address, share, register) {
                Ok(socket) => {
                    resolver.answered(*address);
                    return Ok(socket);
                }
                Err(_) if self.ending.has_come() => break,
                Err(error) => failures.push(unreachable_address(*address, &error)),
            }
        }
        Err(trouble(format!("cannot connect to {what}{}", failures.join(", "))))
    }

    /// Opens a tunnel through `proxy`, also for a server without TLS, so that the proxy sees no credentials.
    fn through(&self, proxy: &Proxy, mut below: Below, host: &str, port: u16) -> Result<Below, Error> {
        let name = format!("the proxy {}", proxy.shown());
        if let (ProxyKind::Https, Some(config)) = (proxy.kind, self.tls.as_ref().and_then(|tls| tls.proxy.as_ref())) {
            let server = server_name(&proxy.host).map_err(|error| Error::Other(Box::new(error)))?;
            let connection = secured(config, server, &mut below).map_err(|error| told(&error, &name))?;
            let Below::Tcp(socket) = below else { unreachable!("a proxy is reached by TCP") };
            below = Below::Tls(Box::new(StreamOwned::new(connection, socket)));
        }
        below.socket().deadline = Some(Instant::now() + HANDSHAKE_LIMIT);
        let opened = match proxy.kind {
            ProxyKind::Http | ProxyKind::Https => tunnel::connect(&mut below, proxy, host, port),
            ProxyKind::Socks5 => tunnel::socks5(&mut below, proxy, host, port),
        };
        opened.map_err(|error| told(&error, &name))?;
        Ok(below)
    }
}

/// Shakes hands on a connection that carries nothing yet.
fn secured(config: &Arc<ClientConfig>, name: ServerName<'static>, below: &mut Below) -> io::Result<ClientConnection> {
    below.socket().deadline = Some(Instant::now() + HANDSHAKE_LIMIT);
    let mut tls = ClientConnection::new(config.clone(), name).map_err(super::link::tls_error)?;
    shake_hands(&mut tls, below)?;
    Ok(tls)
}

/// The part of the time that is left for the next of `addresses` addresses: half of it, all for the last.
fn share(deadline: Instant, addresses: usize) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    Instant::now() + if addresses > 1 { left / 2 } else { left }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
fn unreachable_address(address: SocketAddr, error: &Error) -> String {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => format!("{address}: no answer within {CONNECT_LIMIT:?}"),
        Error::Io(error) => format!("{address}: {error}"),
        other => format!("{address}: {other}"),
    }
}

/// A failed handshake with `peer` in plain words.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
fn told(error: &io::Error, peer: &str) -> Error {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Error::Other(Box::new(Trouble::tls(explain(tls).replacen("the server", peer, 1))));
    }
    trouble(match error.kind() {
        io::ErrorKind::TimedOut => format!("{peer} did not answer the handshake within {HANDSHAKE_LIMIT:?}"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            format!("{peer} closed the connection during the handshake")
        }
        _ => format!("{peer}: {error}"),
    })
}

fn trouble(words: String) -> Error {
    Error::Other(Box::new(Trouble { words, is_tls: false }))
}

/// Names are looked up by [`Connector`], which knows the proxy and asks nothing where a connection is kept.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// How long all addresses of a name together may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a TLS handshake, and a proxy's answer, may take. Same as client-go's TLS handshake timeout.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
