//! TLS as clusters have it: an authority of their own, client certificates, and what goes wrong with them.

use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, page, refused_streaming_list};
use crate::capture::start;
use crate::server::Server;
use crate::support::daemon::Setup;
use crate::support::pki::{Pki, stranger};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// A server that asks for a client certificate of its own authority, and takes clients without one.
pub fn server(pki: &Pki) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.allow_unauthenticated().build().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(pki.serving.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pki.serving.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Server::https(config.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap())
}

/// One that takes whatever certificate a client shows, also of kinds and authorities that nobody knows.
pub fn server_of_anyone(pki: &Pki) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(pki.serving.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pki.serving.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Server::https(config.with_client_cert_verifier(Arc::new(Anyone)).with_single_cert(chain, key).unwrap())
}

#[derive(Debug)]
struct Anyone;

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls13_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme::*;
        vec![
            ECDSA_NISTP256_SHA256,
            ECDSA_NISTP384_SHA384,
            ECDSA_NISTP521_SHA512,
            ED25519,
            RSA_PSS_SHA256,
            RSA_PSS_SHA384,
            RSA_PSS_SHA512,
            RSA_PKCS1_SHA256,
            RSA_PKCS1_SHA384,
            RSA_PKCS1_SHA512,
        ]
    }
}

fn api(pki: &Pki) -> Api {
    let api = Api::on(server(pki), Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)])]);
    api
}

fn data(pem: &str) -> String {
    STANDARD.encode(pem)
}

#[test]
fn client_certificate_logs_in_inline_and_from_files() {
    let pki = Pki::new();
    for inline in [true, false] {
        let api = api(&pki);
        let (cluster, user) = if inline {
            (
                format!("certificate-authority-data: {}", data(&pki.ca)),
                format!("client-certificate-data: {}\nclient-key-data: {}", data(&pki.admin.cert), data(&pki.admin.key)),
            )
        } else {
            for (name, text) in [("ca.crt", &pki.ca), ("admin.crt", &pki.admin.cert), ("admin.key", &pki.admin.key)] {
                std::fs::write(api.folder().join(name), text).unwrap();
            }
            ("certificate-authority: ca.crt".to_owned(), "client-certificate: admin.crt\nclient-key: admin.key".to_owned())
        };
        api.write_kubeconfig_with_user(&cluster, &user);
        let daemon = start(&api, WATCH_CONFIGMAPS);
        daemon.wait_for("ADDED demo/a initial");
        assert!(api.server.requests().iter().all(|request| request.certificate), "inline: {inline}");
        daemon.stop();
    }
}

/// Runs against a server with this authority and serving certificate; gives what was said.
fn refused(api: &Api) -> String {
    let ended = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&api.kubeconfig()).run_to_end();
    assert_ne!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.lines.is_empty());
    assert!(api.server.requests().is_empty(), "no request, and so no credential, reaches a server that is not trusted");
    ended.log
}

#[test]
fn unknown_authority_is_refused_with_the_cure() {
    let pki = Pki::new();
    let api = api(&pki);
    api.write_kubeconfig(&format!("certificate-authority-data: {}", data(&stranger())));
    let log = refused(&api);
    assert!(log.contains("certificate-authority"), "{log}");
}

#[test]
fn expired_certificate_is_refused_and_called_expired() {
    let pki = Pki::expired();
    let api = api(&pki);
    api.write_kubeconfig(&format!("certificate-authority-data: {}", data(&pki.ca)));
    let log = refused(&api);
    assert!(log.contains("expired"), "{log}");
}

#[test]
fn name_that_the_certificate_lacks_is_refused_unless_told_otherwise() {
    let pki = Pki::new();
    let api = api(&pki);
    let ca = format!("certificate-authority-data: {}", data(&pki.ca));
    api.write_kubeconfig(&format!("{ca}\ntls-server-name: elsewhere.test"));
    let log = refused(&api);
    assert!(log.contains("elsewhere.test"), "{log}");
    api.write_kubeconfig(&format!("{ca}\ntls-server-name: localhost"));
    let daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("ADDED demo/a initial");
    daemon.stop();
}
