//! Certificates and keys to one `rustls` configuration, checked before anything is sent.
//!
//! Takes PEM text; gives a [`ClientConfig`] that all transports of a client share, or an error that names the file and the cure.
//! The crypto provider is passed along: the process default is the embedding program's.

mod der;
mod explain;
mod keys;
mod pem;
#[cfg_attr(not(feature = "every-key"), path = "rare_absent.rs")]
mod rare;
mod verify;

pub(crate) use explain::explain;

use super::SetupError;
use super::endpoint::Trust;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, ServerName};
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
        Arc::new(AnyCertificate)
    } else {
        {
            let what = material.authority.as_ref().map_or(SYSTEM_ROOTS, |authority| &authority.what);
            let verifier = Verifier::new(roots(material.authority.as_ref())?, provider.clone());
            Arc::new(verifier.map_err(|problem| SetupError::certificate(what, problem))?)
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&material.certificate, &material.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let not_valid = || SetupError::certificate(&certificate.what, "it is not a valid X.509 certificate");
            let leaf = der::certificate(chain.first().ok_or_else(not_valid)?).ok_or_else(not_valid)?;
            let signing = keys::signing_key(&key.text, &leaf).map_err(|problem| unfit(certificate, key, &problem))?;
            // Not checked again, because rustls reads no certificate of X.509 version 1; that the two fit is known.
            let both = CertifiedKey::new(chain, signing);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(both)))
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
    let verifier = Verifier::new(anchors, provider.clone()).map_err(no_roots)?;
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

/// ring's cryptography, with what this build adds to it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rare::provider())).clone()
}

fn roots(authority: Option<&Named>) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    if let Some(authority) = authority {
        return certificates(authority);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let problem = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
        return Err(no_roots(&problem));
    }
    Ok(found.certs)
}

const SYSTEM_ROOTS: &str = "the system's root certificates";

fn no_roots(problem: &str) -> SetupError {
    SetupError::certificate(SYSTEM_ROOTS, format!("{problem}; name the cluster's certificate-authority"))
}

/// Every certificate that can be unpacked; as in Go, one that cannot be is passed over beside others.
fn certificates(named: &Named) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let blocks: Vec<_> = pem::blocks(&named.text).into_iter().filter(|block| block.label == "CERTIFICATE").collect();
    let has_blocks = !blocks.is_empty();
    let chain: Vec<_> = blocks.into_iter().filter_map(|block| block.der.map(CertificateDer::from)).collect();
    match (has_blocks, chain.is_empty()) {
        (_, false) => Ok(chain),
        (true, true) => Err(SetupError::certificate(&named.what, "its PEM text is damaged")),
        (false, true) => Err(SetupError::certificate(&named.what, "it holds no certificate (-----BEGIN CERTIFICATE-----)")),
    }
}

/// Why a certificate and a key make no pair.
fn unfit(certificate: &Named, key: &Named, problem: &str) -> SetupError {
    let whose = if problem == keys::MISMATCH { format!(" ({})", certificate.what) } else { String::new() };
    SetupError::certificate(&key.what, format!("{problem}{whose}"))
}

/// The public key of a certificate of whatever version.
#[cfg(test)]
pub(crate) fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    der::certificate(certificate).map(|certificate| certificate.public_key.bytes)
}

/// A test server's certificate, with every kind of key that this build knows.
#[cfg(test)]
pub(crate) fn server_certificate(leaf: &super::testing::Leaf) -> Arc<SingleCertAndKey> {
    let named = |text: &str| Named { what: "a test".to_owned(), text: text.as_bytes().to_vec() };
    let chain = certificates(&named(&leaf.certificate)).unwrap();
    let key = keys::signing_key(leaf.key.as_bytes(), &der::certificate(&chain[0]).unwrap()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

#[cfg(test)]
mod tests;
