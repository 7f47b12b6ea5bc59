//! Keys that ring does not know: EC P-521, and RSA of any size and exponent, at the cost of 154 KB and, for RSA, of tens of
//! milliseconds a handshake.
//!
//! Gives a [`CryptoProvider`] that judges P-521 beside what ring judges, and keys that sign with P-521 or RSA. Secrets are computed
//! with in constant time, by the crates of `RustCrypto`; hashes are ring's.

use super::der::{self, Elements, INTEGER};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use p521::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p521::ecdsa::{DerSignature, SigningKey as Scalar, VerifyingKey as Point};
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// What the keys of this build are, for messages.
pub(super) const KINDS: &str = "RSA of 2048 to 8192 bits, EC P-256, P-384 or P-521, or Ed25519";

/// ring's, and P-521.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.signature_verification_algorithms = *ALGORITHMS;
    provider
}

type Verifiers = &'static [&'static dyn SignatureVerificationAlgorithm];

static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let own: Vec<&'static dyn SignatureVerificationAlgorithm> = vec![&P521_SHA512, &P521_SHA384, &P521_SHA256];
    // The library wants them for as long as the process lives.
    let all = [known.all, &*own].concat().leak();
    let first: Verifiers = &own.leak()[..1];
    let tls = (SignatureScheme::ECDSA_NISTP521_SHA512, first);
    WebPkiSupportedAlgorithms { all, mapping: [known.mapping, &[tls]].concat().leak() }
});

static P521_SHA512: P521 = P521 { hash: &SHA512, id: alg_id::ECDSA_SHA512 };
static P521_SHA384: P521 = P521 { hash: &SHA384, id: alg_id::ECDSA_SHA384 };
static P521_SHA256: P521 = P521 { hash: &SHA256, id: alg_id::ECDSA_SHA256 };

/// Judges signatures of P-521 keys.
#[derive(Debug)]
struct P521 {
    hash: &'static Algorithm,
    id: AlgorithmIdentifier,
}

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let point = Point::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = DerSignature::try_from(signature).map_err(|_| InvalidSignature)?;
        point.verify_prehash(&hash_as_field(self.hash, message), &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

/// The hash as a number of the field's length: the library refuses hashes of less than half of it.
fn hash_as_field(algorithm: &'static Algorithm, message: &[u8]) -> [u8; P521_BYTES] {
    let mut field = [0; P521_BYTES];
    let hash = digest(algorithm, message);
    field[P521_BYTES - hash.as_ref().len()..].copy_from_slice(hash.as_ref());
    field
}

const P521_BYTES: usize = 66;
/// 1.3.132.0.35.
const P521_CURVE: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

/// The key of this scalar on this curve; `None` where it is another curve's or not the one of `public`.
pub(super) fn ec_key(curve: &[u8], scalar: &[u8], public: &[u8]) -> Option<Arc<dyn SigningKey>> {
    if curve != P521_CURVE {
        return None;
    }
    let scalar = Scalar::from_slice(&der::padded(scalar, P521_BYTES)?).ok()?;
    let point = scalar.verifying_key().to_sec1_point(false);
    (point.as_bytes() == public).then(|| Arc::new(P521Key(Arc::new(scalar))) as Arc<dyn SigningKey>)
}

#[derive(Clone)]
struct P521Key(Arc<Scalar>);

impl fmt::Debug for P521Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P521Key(..)")
    }
}

impl SigningKey for P521Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme()).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let hash = hash_as_field(&SHA512, message);
        let signature: DerSignature =
            self.0.sign_prehash(&hash).map_err(|_| Error::General("signing with P-521 failed".to_owned()))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

/// The RSA key of this DER, in PKCS#1 or PKCS#8; `None` where it is none, or not the one of `public`.
pub(super) fn rsa_key(der: &[u8], public: &[u8]) -> Option<Arc<dyn SigningKey>> {
    let mut known = Elements(Elements(public).take(der::SEQUENCE)?);
    let key = rsa(der)?;
    (known.take(INTEGER).map(der::significant) == Some(&*key.modulus)).then(|| Arc::new(key) as Arc<dyn SigningKey>)
}

fn rsa(der: &[u8]) -> Option<RsaKey> {
    let mut fields = Elements(der::rsa_private_key(der)?);
    fields.take(INTEGER)?;
    let [modulus, public_exponent, exponent] = [fields.take(INTEGER)?, fields.take(INTEGER)?, fields.take(INTEGER)?];
    let modulus = der::significant(modulus);
    let bits = u32::try_from(modulus.len()).ok()? * 8 - modulus.first()?.leading_zeros();
    if !RSA_BITS.contains(&bits) {
        return None;
    }
    let number = |bytes: &[u8]| Some(BoxedUint::from_be_slice_truncated(&der::padded(bytes, modulus.len())?, bits));
    let odd = Option::from(Odd::new(number(modulus)?))?;
    let key = RsaKey {
        modulus: modulus.to_vec(),
        bits,
        params: Arc::new(BoxedMontyParams::new(odd)),
        exponent: Arc::new(number(exponent)?),
    };
    // (2^d)^e is 2 only with the exponents of this modulus.
    let two = BoxedUint::from_be_slice_truncated(&[2], bits);
    let raised = key.raise(two.clone(), &key.exponent);
    (key.raise(raised, &number(public_exponent)?) == two).then_some(key)
}

/// What servers accept, as Go's do.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// An RSA key that signs slowly, without the primes.
#[derive(Clone)]
struct RsaKey {
    modulus: Vec<u8>,
    bits: u32,
    params: Arc<BoxedMontyParams>,
    exponent: Arc<BoxedUint>,
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey(..)")
    }
}

impl RsaKey {
    fn raise(&self, base: BoxedUint, exponent: &BoxedUint) -> BoxedUint {
        BoxedMontyForm::new(base, &self.params).pow(exponent).retrieve()
    }

    /// The private operation on an encoded message.
    fn private(&self, encoded: &[u8]) -> Vec<u8> {
        let base = BoxedUint::from_be_slice_truncated(encoded, self.bits);
        let bytes = self.raise(base, &self.exponent).to_be_bytes();
        bytes[bytes.len() - self.modulus.len()..].to_vec()
    }
}

impl SigningKey for RsaKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let (scheme, hash) = RSA_SCHEMES.iter().find(|(scheme, _)| offered.contains(scheme))?;
        Some(Box::new(RsaSigner { key: self.clone(), scheme: *scheme, hash }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

/// In the order of preference of ring's keys. PKCS#1 is for TLS 1.2.
const RSA_SCHEMES: [(SignatureScheme, &Algorithm); 6] = [
    (SignatureScheme::RSA_PSS_SHA512, &SHA512),
    (SignatureScheme::RSA_PSS_SHA384, &SHA384),
    (SignatureScheme::RSA_PSS_SHA256, &SHA256),
    (SignatureScheme::RSA_PKCS1_SHA512, &SHA512),
    (SignatureScheme::RSA_PKCS1_SHA384, &SHA384),
    (SignatureScheme::RSA_PKCS1_SHA256, &SHA256),
];

#[derive(Debug)]
struct RsaSigner {
    key: RsaKey,
    scheme: SignatureScheme,
    hash: &'static Algorithm,
}

impl Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let hash = digest(self.hash, message);
        let is_pkcs1 = RSA_SCHEMES[3..].iter().any(|(scheme, _)| *scheme == self.scheme);
        let encoded = if is_pkcs1 {
            pkcs1(self.hash, hash.as_ref(), self.key.modulus.len())
        } else {
            let mut salt = vec![0; hash.as_ref().len()];
            SystemRandom::new().fill(&mut salt).map_err(|_| Error::FailedToGetRandomBytes)?;
            pss(self.hash, hash.as_ref(), &salt, self.key.bits - 1)
        };
        Ok(self.key.private(&encoded))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// EMSA-PKCS1-v1_5 of RFC 8017, 9.2.
fn pkcs1(algorithm: &'static Algorithm, hash: &[u8], length: usize) -> Vec<u8> {
    // 2.16.840.1.101.3.4.2.1 to 3, with NULL parameters.
    let last = if *algorithm == SHA256 {
        1
    } else if *algorithm == SHA384 {
        2
    } else {
        3
    };
    let id = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last, 0x05, 0x00];
    let info = der::wrap(der::SEQUENCE, &[&id, &der::wrap(der::OCTET_STRING, &[hash])]);
    [&[0, 1], &*vec![0xff; length - info.len() - 3], &[0], &*info].concat()
}

/// EMSA-PSS of RFC 8017, 9.1.1, with MGF1 and the same hash, as TLS has it.
fn pss(algorithm: &'static Algorithm, hash: &[u8], salt: &[u8], bits: u32) -> Vec<u8> {
    let length = usize::try_from(bits.div_ceil(8)).expect("an RSA key has some thousand bits");
    let last = digest(algorithm, &[&[0; 8], hash, salt].concat());
    let last = last.as_ref();
    let mut masked = vec![0; length - last.len() - 1];
    let one = masked.len() - salt.len() - 1;
    masked[one] = 1;
    masked[one + 1..].copy_from_slice(salt);
    for (counter, part) in (0_u32..).zip(masked.chunks_mut(last.len())) {
        let mask = digest(algorithm, &[last, &counter.to_be_bytes()].concat());
        part.iter_mut().zip(mask.as_ref()).for_each(|(byte, mask)| *byte ^= mask);
    }
    masked[0] &= 0xff >> (length * 8 - bits as usize);
    [&*masked, last, &[0xbc]].concat()
}
