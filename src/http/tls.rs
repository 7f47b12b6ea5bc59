//! The server's side of TLS: certificate and key from files, and whose certificates of clients are believed.
//!
//! A client that shows none is served as one that shows none: probes of a kubelet have none. One that shows a certificate that nobody
//! vouches for is refused in the handshake.

use super::TlsFiles;
use super::files::Made;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// # Errors
///
/// When a file cannot be read, or is not what it is named as.
pub(super) fn config_of(files: &TlsFiles) -> io::Result<Made<Arc<ServerConfig>>> {
    let TlsFiles { cert_file, key_file, client_ca_file } = files.clone();
    let paths = [Some(cert_file), Some(key_file), client_ca_file].into_iter().flatten().collect();
    let files = files.clone();
    Made::of(paths, move |texts| config(&files, texts).map(Arc::new))
}

fn config(files: &TlsFiles, texts: &[Vec<u8>]) -> io::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions");
    let builder = match (&files.client_ca_file, texts.get(2)) {
        (Some(path), Some(text)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, text)? {
                roots.add(authority).map_err(|error| wrong(path, &format!("is no authority: {error}")))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, &error.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let chain = certificates(&files.cert_file, &texts[0])?;
    let key = PrivateKeyDer::from_pem_slice(&texts[1]);
    let key = key.map_err(|_| wrong(&files.key_file, "holds no private key (-----BEGIN PRIVATE KEY-----)"))?;
    // What the library says of a key is not passed on.
    let unfit = |_| wrong(&files.key_file, "is not the key of the certificate, or of a kind that is not supported");
    let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path, text: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(wrong(path, "holds no certificate (-----BEGIN CERTIFICATE-----)")),
    }
}

fn wrong(path: &Path, problem: &str) -> io::Error {
    io::Error::other(format!("{} {problem}", path.display()))
}
