//! What stands here in a build without the feature `metrics`: no server, and an error for whoever asks for one.

mod error;
mod settings;

pub use error::HttpError;
pub use settings::{HttpSettings, TlsFiles};

use crate::health::Health;
use crate::metrics::Metrics;
use std::convert::Infallible;
use std::net::SocketAddr;

/// The running server: there is none.
#[derive(Debug)]
pub struct HttpServer(Infallible);

impl HttpServer {
    /// Refuses to.
    ///
    /// # Errors
    ///
    /// Always: this build has no server.
    pub fn start(_settings: &HttpSettings, _metrics: &Metrics, _health: &Health) -> Result<Self, HttpError> {
        Err(HttpError::Absent)
    }

    /// Refuses to.
    ///
    /// # Errors
    ///
    /// Always: this build has no server.
    pub fn check(_settings: &HttpSettings) -> Result<(), HttpError> {
        Err(HttpError::Absent)
    }

    /// The address that is served.
    pub fn local_addr(&self) -> SocketAddr {
        match self.0 {}
    }
}
