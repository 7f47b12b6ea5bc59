//! Where to serve, under which path, and for whom.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Where to serve, under which path, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// The address to listen on, of either family. Defaults to `127.0.0.1`: this machine alone.
    pub bind_addr: IpAddr,
    /// The port; 0 lets the system choose one, see [`HttpServer::local_addr`](super::HttpServer::local_addr). Defaults to 8080.
    pub port: u16,
    /// The path of the metrics. Defaults to `/metrics`.
    pub metrics_path: String,
    /// Serves over TLS. Defaults to `None`: in plain text.
    pub tls: Option<TlsFiles>,
    /// The file with the token that is asked for, but by the probes. Defaults to `None`: no token is asked for.
    pub bearer_token_file: Option<PathBuf>,
}

/// The PEM files of a server. They are read again as they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, and those that vouch for it.
    pub cert_file: PathBuf,
    /// The key of the certificate.
    pub key_file: PathBuf,
    /// Who vouches for clients: their certificates are then asked for, but by the probes. `None`: none is asked for.
    pub client_ca_file: Option<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let (tls, bearer_token_file) = (None, None);
        Self { bind_addr: Ipv4Addr::LOCALHOST.into(), port: 8080, metrics_path: "/metrics".to_owned(), tls, bearer_token_file }
    }
}
