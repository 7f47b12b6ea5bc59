//! What a login is made of, read from where an [`Endpoint`] says: headers, certificates, TLS configurations.

use crate::client::SetupError;
use crate::client::endpoint::{Endpoint, LoginSource, Pem, token};
use crate::client::files::Files;
use crate::client::proxy::ProxyKind;
use crate::client::secret::Secret;
use crate::client::tls::{self, Material, Named};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::Arc;

/// How to open TLS connections.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// For a proxy that is reached by TLS.
    pub(crate) proxy: Option<Arc<ClientConfig>>,
}

/// The header `Authorization` of a login that needs no plugin.
pub(super) fn authorization(login: &LoginSource, files: &Files) -> Result<Option<Secret>, SetupError> {
    Ok(match login {
        LoginSource::Nothing | LoginSource::Exec(_) => None,
        LoginSource::Token(token) => Some(bearer(token)),
        LoginSource::TokenFile { path, .. } => Some(bearer(&token(path, &files.read("the token", path)?)?)),
        LoginSource::Basic { user, password } => {
            let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
            Some(Secret::new(format!("Basic {pair}")))
        }
    })
}

pub(super) fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}

/// All PEM texts. `identity` is what a plugin gave: files of a client certificate may be stale where that is not.
pub(super) fn material(endpoint: &Endpoint, identity: Option<&(Secret, Secret)>, files: &Files) -> Result<Material, SetupError> {
    let load = |pem: &Pem| Ok::<_, SetupError>(Named { what: pem.what.clone(), text: pem.load(files)? });
    let (certificate, key) = match (identity, &endpoint.identity) {
        (Some((certificate, key)), _) => {
            let named = |what: &str, text: &Secret| Named { what: what.to_owned(), text: text.reveal().as_bytes().to_vec() };
            (
                Some(named("clientCertificateData of the credential plugin", certificate)),
                Some(named("clientKeyData of the credential plugin", key)),
            )
        }
        (None, Some(identity)) => (Some(load(&identity.certificate)?), Some(load(&identity.key)?)),
        (None, None) => (None, None),
    };
    Ok(Material { authority: endpoint.trust.authority.as_ref().map(load).transpose()?, certificate, key })
}

pub(super) fn tls(endpoint: &Endpoint, material: &Material) -> Result<Option<Arc<Tls>>, SetupError> {
    let through_tls = endpoint.proxy.as_ref().is_some_and(|proxy| proxy.kind == ProxyKind::Https);
    if !endpoint.is_https() && !through_tls {
        return Ok(None);
    }
    let trust = &endpoint.trust;
    let server_name = tls::server_name(trust.server_name.as_deref().unwrap_or(&endpoint.server.host))?;
    let proxy = if through_tls { Some(Arc::new(tls::proxy_config(material)?)) } else { None };
    Ok(Some(Arc::new(Tls { server: Arc::new(tls::client_config(trust, material)?), server_name, proxy })))
}
