//! The keyed digest that stands in the place of a value: equal values have equal digests, so that a change shows and the value does not.

use ring::hmac;
use std::fmt::{self, Write as _};

/// The key of an HMAC-SHA-256. Whoever does not have it cannot try values until one fits.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

/// Of the 32 that the HMAC has: no two values of one cluster share them by chance.
const DIGEST_BYTES: usize = 8;

/// How every digest begins.
const PREFIX: &str = "redacted:";

impl DigestKey {
    /// Of the bytes of a secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// What stands for `value`: `redacted:` and 16 hex digits.
    pub fn digest(&self, value: &[u8]) -> String {
        let tag = hmac::sign(&self.0, value);
        let mut text = String::with_capacity(PREFIX.len() + 2 * DIGEST_BYTES);
        text.push_str(PREFIX);
        for byte in &tag.as_ref()[..DIGEST_BYTES] {
            write!(text, "{byte:02x}").expect("a string takes every write");
        }
        text
    }

    /// The same for a value that is left out because of its length, which is said, too: `redacted:` and 16 hex digits, a colon, and
    /// the number of its bytes.
    pub fn digest_with_length(&self, value: &[u8]) -> String {
        let mut text = self.digest(value);
        write!(text, ":{}", value.len()).expect("a string takes every write");
        text
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_front_of_the_hmac_and_depends_on_the_key() {
        // RFC 4231, test case 2.
        assert_eq!(DigestKey::new(b"Jefe").digest(b"what do ya want for nothing?"), "redacted:5bdcc146bf60754e");
        assert_eq!(DigestKey::new(b"Jefe").digest_with_length(b"what do ya want for nothing?"), "redacted:5bdcc146bf60754e:28");
        assert_ne!(DigestKey::new(b"a").digest(b"v"), DigestKey::new(b"b").digest(b"v"));
        assert_eq!(format!("{:?}", DigestKey::new(b"Jefe")), "DigestKey(..)");
    }
}
