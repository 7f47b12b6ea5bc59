//! Certificates and keys to one `rustls` configuration, checked before anything is sent.
//!
//! Takes PEM text; gives a [`ClientConfig`] that all transports of a client share, or an error that names the file and the cure.
//! The crypto provider is passed along: the process default is the embedding program's.

mod explain;
mod verify;

pub(crate) use explain::explain;

use super::SetupError;
use super::endpoint::Trust;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::{Arc, OnceLock};
use verify::{AnyCertificate, Verifier};

/// The PEM texts that make one configuration; equal texts make equal configurations.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Material {
    pub(crate) authority: Option<Named>,
    pub(crate) certificate: Option<Named>,
    pub(crate) key: Option<Named>,
}

/// PEM text, and what it is and where it was named.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) what: String,
    pub(crate) text: Vec<u8>,
}

/// Builds the configuration for the API server.
pub(crate) fn client_config(trust: &Trust, material: &Material) -> Result<ClientConfig, SetupError> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = if trust.insecure {
        Arc::new(AnyCertificate::new(provider.clone()))
    } else {
        Arc::new(Verifier::new(roots(material.authority.as_ref())?, provider.clone()).map_err(|problem| no_roots(&problem))?)
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&material.certificate, &material.key) {
        (Some(certificate), Some(key)) => {
            let (chain, parsed) = (certificates(certificate)?, private_key(key)?);
            builder.with_client_auth_cert(chain, parsed).map_err(|error| unfit(certificate, key, &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) | (None, Some(_)) => unreachable!("the kubeconfig and exec readers accept only pairs"),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Builds the configuration for a proxy that is itself reached by TLS. As with kubectl, the cluster's authority may vouch for it too.
pub(crate) fn proxy_config(material: &Material) -> Result<ClientConfig, SetupError> {
    let mut anchors = material.authority.as_ref().map(certificates).transpose()?.unwrap_or_default();
    anchors.extend(rustls_native_certs::load_native_certs().certs);
    let provider = provider();
    let verifier = Verifier::new(anchors, provider.clone()).map_err(|problem| no_roots(&problem))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The name that a server's certificate must be for.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, SetupError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| SetupError::certificate(format!("server name {name:?}"), "it is neither a DNS name nor an IP address"))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

fn roots(authority: Option<&Named>) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    if let Some(authority) = authority {
        let anchors = certificates(authority)?;
        let mut store = RootCertStore::empty();
        for anchor in &anchors {
            store
                .add(anchor.clone())
                .map_err(|error| SetupError::certificate(&authority.what, format!("not usable: {error}")))?;
        }
        return Ok(anchors);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let problem = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
        return Err(no_roots(&problem));
    }
    Ok(found.certs)
}

fn no_roots(problem: &str) -> SetupError {
    SetupError::certificate("the system's root certificates", format!("{problem}; name the cluster's certificate-authority"))
}

fn certificates(pem: &Named) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.text).collect();
    let chain = chain.map_err(|_| SetupError::certificate(&pem.what, "its PEM text is damaged"))?;
    if chain.is_empty() {
        return Err(SetupError::certificate(&pem.what, "it holds no certificate (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(chain)
}

/// The first key of the text; blocks of other kinds before it, as `EC PARAMETERS`, are passed over.
fn private_key(pem: &Named) -> Result<PrivateKeyDer<'static>, SetupError> {
    if find(&pem.text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || find(&pem.text, b"Proc-Type: 4,ENCRYPTED") {
        return Err(SetupError::certificate(&pem.what, "the key is encrypted; store it without a passphrase"));
    }
    PrivateKeyDer::from_pem_slice(&pem.text).map_err(|error| {
        let nothing = matches!(error, rustls_pki_types::pem::Error::NoItemsFound);
        let problem = if nothing { "it holds no private key (-----BEGIN PRIVATE KEY-----)" } else { "its PEM text is damaged" };
        SetupError::certificate(&pem.what, problem)
    })
}

fn find(text: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(text, words).is_some()
}

/// Why a certificate and a key make no pair. Texts of the TLS library about keys are not passed on.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; whatever else is wrong, the key is not usable")]
fn unfit(certificate: &Named, key: &Named, error: &rustls::Error) -> SetupError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            SetupError::certificate(&key.what, format!("it is not the key of the certificate ({})", certificate.what))
        }
        rustls::Error::InvalidCertificate(_) => SetupError::certificate(&certificate.what, "it is not a valid X.509 certificate"),
        _ => SetupError::certificate(
            &key.what,
            "a key of this kind or size is not supported; use RSA of 2048 to 8192 bits, EC P-256 or P-384, or Ed25519",
        ),
    }
}

#[cfg(test)]
mod tests;
