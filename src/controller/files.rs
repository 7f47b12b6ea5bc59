//! The files that a configuration names, and that a run reads before it asks the server.

use super::{ControllerError, redacting};
use crate::config::{Config, MetricsConfig, MetricsTlsConfig};
use crate::http::{HttpServer, HttpSettings, TlsFiles};

/// Reads the key of the digests and the files that metrics are served with, where the configuration names them. Writes nothing, and
/// opens no port.
///
/// # Errors
///
/// As a run ends with when one of them cannot be read, or is not what it is named as.
pub fn check_files(config: &Config) -> Result<(), ControllerError> {
    if config.redact.key_file.is_some() {
        redacting::redaction(config)?;
    }
    http_settings(config).map_or(Ok(()), |settings| HttpServer::check(&settings).map_err(Into::into))
}

/// Where metrics are served, and for whom; `None` where they are not.
pub(super) fn http_settings(config: &Config) -> Option<HttpSettings> {
    let MetricsConfig { enabled, port, path, bind_addr, tls, bearer_token_file } = config.metrics.clone();
    let tls =
        tls.map(|MetricsTlsConfig { cert_file, key_file, client_ca_file }| TlsFiles { cert_file, key_file, client_ca_file });
    enabled.then_some(HttpSettings { bind_addr, port, metrics_path: path, tls, bearer_token_file })
}
