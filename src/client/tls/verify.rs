//! Judges server certificates.

use super::der;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Accepts what the given roots vouch for, and a root itself when a server shows it, as Go does.
///
/// Made of the parts of rustls's own verifier: that one brings the reading of revocation lists along, of which Faro has none.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: RootCertStore,
    anchors: Vec<Anchor>,
    provider: Arc<CryptoProvider>,
}

/// A certificate that vouches for others, or for itself, while it is valid.
#[derive(Debug)]
struct Anchor {
    certificate: CertificateDer<'static>,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

impl Anchor {
    fn is_valid(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.not_before <= now && now <= self.not_after
    }
}

/// What is wrong with a server's certificate, where the library has no words for it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Words(pub(super) &'static str);

impl Verifier {
    /// Of `certificates` those that can be read; an error when none can.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, &'static str> {
        let anchor = |certificate: CertificateDer<'static>| {
            let (not_before, not_after) = der::certificate(&certificate).map(|read| (read.not_before, read.not_after))?;
            Some(Anchor { certificate, not_before, not_after })
        };
        let anchors: Vec<_> = certificates.into_iter().filter_map(anchor).collect();
        let roots = store(anchors.iter());
        if roots.is_empty() {
            return Err("it holds no certificate that can be read");
        }
        Ok(Self { roots, anchors, provider })
    }
}

fn store<'a>(anchors: impl Iterator<Item = &'a Anchor>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors.map(|anchor| anchor.certificate.clone()));
    roots
}

impl Verifier {
    /// Whether this very certificate is one of the authorities: a root that is a server's, or a server's that was given for a root.
    fn vouches_for(&self, certificate: &CertificateDer<'_>) -> bool {
        self.anchors.iter().any(|anchor| anchor.certificate == *certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let judge = |roots| verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms);
        // The library takes no notice of an authority's own dates; Go does.
        let are_valid = self.anchors.iter().all(|anchor| anchor.is_valid(now));
        let valid = if are_valid { None } else { Some(store(self.anchors.iter().filter(|anchor| anchor.is_valid(now)))) };
        match judge(valid.as_ref().unwrap_or(&self.roots)) {
            Ok(()) => {}
            // Dates and purpose are checked before the issuer, so only the name is left to check.
            Err(error) if may_be_its_own_root(&error) && self.vouches_for(end_entity) => {}
            Err(_) if !are_valid && judge(&self.roots).is_ok() => {
                return Err(CertificateError::Other(OtherError(Arc::new(Words(AUTHORITY_NOT_VALID)))).into());
            }
            Err(error) => return Err(error),
        }
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the issuer is what is wrong, or that a root stands in a server's place.
fn may_be_its_own_root(error: &Error) -> bool {
    let Error::InvalidCertificate(reason) = error else { return false };
    if let CertificateError::Other(other) = reason {
        return other.0.to_string() == CA_AS_SERVER;
    }
    matches!(reason, CertificateError::UnknownIssuer | CertificateError::BadSignature)
}

/// The library's word for a root that stands in a server's place.
pub(super) const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

const AUTHORITY_NOT_VALID: &str = "the authority that signed the server's certificate has expired or is not valid yet; renew \
     certificate-authority of the cluster, or check this machine's clock";

/// Accepts any certificate: `insecure-skip-tls-verify`. What the server signs with it proves nothing, as anyone may have made it.
#[derive(Debug)]
pub(super) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// All that Go offers a server to sign with.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
        ]
    }
}
