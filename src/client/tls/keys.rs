//! Private keys as people have them: under any label, in any of three forms, with or without the public part.
//!
//! Takes a key's PEM text and the certificate that it belongs to; gives what signs handshakes, or the reason in words.

use super::der::{self, Certificate, INTEGER, OCTET_STRING, SEQUENCE};
use super::{pem, rare};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;

/// The first private key of `text`, as the key of `certificate`. The error says what is wrong with it, and quotes nothing.
pub(super) fn signing_key(text: &[u8], certificate: &Certificate<'_>) -> Result<Arc<dyn SigningKey>, String> {
    let der = private_key(text)?;
    let is_ec = !certificate.public_key.curve.is_empty();
    if is_ec && let Some(scalar) = der::ec_scalar(&der) {
        return ec_key(scalar, certificate);
    }
    let key = PrivateKeyDer::try_from(&*der).map_err(|_| "its PEM text holds no private key in PKCS#1, PKCS#8 or SEC1")?;
    let Ok(key) = any_supported_type(&key) else {
        return rare::rsa_key(&der, certificate.public_key.bytes)
            .ok_or_else(|| if is_ec { MISMATCH.to_owned() } else { unsupported() });
    };
    let public = key.public_key();
    let bytes = public.as_ref().and_then(|public| der::subject_public_key(public)).map(|public| public.bytes);
    if bytes.is_some_and(|bytes| bytes != certificate.public_key.bytes) { Err(MISMATCH.to_owned()) } else { Ok(key) }
}

/// As Go does: the first block whose label ends so, whatever stands before it, as `EC PARAMETERS`.
fn private_key(text: &[u8]) -> Result<Vec<u8>, String> {
    if memchr::memmem::find(text, b"Proc-Type: 4,ENCRYPTED").is_some() {
        return Err(ENCRYPTED.to_owned());
    }
    let blocks = pem::blocks(text);
    let block = blocks.into_iter().find(|block| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY"));
    match block {
        None => Err("it holds no private key (-----BEGIN PRIVATE KEY-----)".to_owned()),
        Some(block) if block.label.starts_with("ENCRYPTED") => Err(ENCRYPTED.to_owned()),
        Some(block) => block.der.ok_or_else(|| "its PEM text is damaged".to_owned()),
    }
}

/// With the public part of the certificate: the key itself may lack it, and ring demands it.
fn ec_key(scalar: &[u8], certificate: &Certificate<'_>) -> Result<Arc<dyn SigningKey>, String> {
    let public = certificate.public_key;
    let scalar_bytes: usize = match public.curve {
        P256 => 32,
        P384 => 48,
        _ => return rare::ec_key(public.curve, scalar, public.bytes).ok_or_else(unsupported),
    };
    let Some(scalar) = der::padded(scalar, scalar_bytes) else { return Err(MISMATCH.to_owned()) };
    let point = der::wrap(BIT_STRING_IN_1, &[&der::wrap(0x03, &[&[0], public.bytes])]);
    let sec1 = der::wrap(SEQUENCE, &[&der::wrap(INTEGER, &[&[1]]), &der::wrap(OCTET_STRING, &[&scalar]), &point]);
    let algorithm = der::wrap(SEQUENCE, &[&der::wrap(0x06, &[EC_PUBLIC_KEY]), &der::wrap(0x06, &[public.curve])]);
    let pkcs8 = der::wrap(SEQUENCE, &[&der::wrap(INTEGER, &[&[0]]), &algorithm, &der::wrap(OCTET_STRING, &[&sec1])]);
    // ring refuses a public part that is not the scalar's.
    any_supported_type(&PrivateKeyDer::Pkcs8(pkcs8.into())).map_err(|_| MISMATCH.to_owned())
}

fn unsupported() -> String {
    format!("a key of this kind or size is not supported; use {}", rare::KINDS)
}

const ENCRYPTED: &str = "the key is encrypted; store it without a passphrase";
pub(super) const MISMATCH: &str = "it is not the key of the certificate";
/// 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34.
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// The public part of a SEC1 key.
const BIT_STRING_IN_1: u8 = 0xa1;
