//! Why metrics and health cannot be served, and the way out.

use std::io;
use std::net::SocketAddr;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address or port cannot be had.
    #[error(
        "cannot serve metrics and probes on {address}; choose another `metrics.port` or `metrics.bind_addr`, \
         or switch it off with `metrics: {{enabled: false}}`"
    )]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The path of the metrics is no path, or is taken.
    #[error("metrics.path: expected a path such as /metrics, other than /health and /ready, found {found:?}")]
    Path {
        /// What was asked for.
        found: String,
    },
    /// A certificate, key, authority or token cannot be used.
    #[error("cannot serve metrics and probes as metrics.tls and metrics.bearer_token_file say")]
    Files {
        /// Which file, and why.
        source: io::Error,
    },
    /// The system refuses a thread or a descriptor.
    #[error("cannot start serving metrics and probes on {address}")]
    Start {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// This build has no server.
    #[error("{}", crate::config::lacks("metrics", "say `metrics: {enabled: false}`"))]
    Absent,
}
