//! What a build without the feature `every-key` has in place of [`rare`](super::rare): the keys that ring knows.

use rustls::crypto::CryptoProvider;
use rustls::sign::SigningKey;
use std::sync::Arc;

/// What the keys of this build are, for messages.
pub(super) const KINDS: &str = "RSA of 2048, 3072 or 4096 bits, EC P-256 or P-384, or Ed25519; \
     others take a build with faro's feature `every-key`";

/// ring's.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// None.
pub(super) fn ec_key(_: &[u8], _: &[u8], _: &[u8]) -> Option<Arc<dyn SigningKey>> {
    None
}

/// None.
pub(super) fn rsa_key(_: &[u8], _: &[u8]) -> Option<Arc<dyn SigningKey>> {
    None
}
