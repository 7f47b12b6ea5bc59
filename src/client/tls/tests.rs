//! Certificates and keys as people have them, against real handshakes.

use super::{Material, Named, client_config};
use crate::client::endpoint::{Identity, Pem, PemSource, Trust};
use crate::client::testing::{Authority, Leaf, Server, client, endpoint, fetch, ok, server_config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType, date_time_ymd};
use std::io::{Read, Write};
use std::net::Ipv4Addr;

macro_rules! pki {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pki/", $name))
    };
}

fn pem(what: &str, text: &str) -> Pem {
    Pem { what: what.to_owned(), source: PemSource::Inline(text.as_bytes().to_vec()) }
}

fn material(certificate: &str, key: &str) -> Material {
    let named = |what: &str, text: &str| Some(Named { what: what.to_owned(), text: text.as_bytes().to_vec() });
    Material { authority: None, certificate: named("cert.pem", certificate), key: named("key.pem", key) }
}

#[test]
fn every_usual_kind_of_client_key_logs_in() {
    let authority = Authority::new();
    for (certificate, key) in [
        (pki!("rsa.crt"), pki!("rsa.pkcs1.key")),
        (pki!("rsa.crt"), pki!("rsa.pkcs8.key")),
        (pki!("p256.crt"), pki!("p256.sec1.key")),
        (pki!("p256.crt"), pki!("p256.pkcs8.key")),
        (pki!("p384.crt"), pki!("p384.pkcs8.key")),
        (pki!("ed25519.crt"), pki!("ed25519.pkcs8.key")),
    ] {
        let server = Server::https(server_config(&authority.server(), Some(certificate)), |_| ok("in"));
        let mut endpoint = endpoint(&format!("https://{}", server.address));
        endpoint.trust.authority = Some(pem("ca", &authority.pem()));
        endpoint.identity = Some(Identity { certificate: pem("cert", certificate), key: pem("key", key) });
        assert_eq!(fetch(&client(endpoint)), Ok("in".to_owned()), "{}", key.lines().next().unwrap());
    }
}

#[test]
fn a_key_that_does_not_fit_is_an_error_that_names_it() {
    fn check(certificate: &str, key: &str, expected: &str) {
        let insecure = Trust { insecure: true, ..Trust::default() };
        let error = client_config(&insecure, &material(certificate, key)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        let secret = key.lines().nth(1).unwrap_or("none of these");
        assert!(!error.contains(secret), "{error}");
    }
    check(pki!("p521.crt"), pki!("p521.pkcs8.key"), "key.pem: a key of this kind or size is not supported");
    check(pki!("rsa1024.crt"), pki!("rsa1024.pkcs8.key"), "key.pem: a key of this kind or size is not supported");
    check(pki!("rsa.crt"), pki!("p256.pkcs8.key"), "key.pem: it is not the key of the certificate (cert.pem)");
    check(pki!("rsa.crt"), pki!("rsa.encrypted.key"), "key.pem: the key is encrypted");
    check(pki!("rsa.crt"), pki!("rsa.crt"), "key.pem: it holds no private key");
    check(pki!("rsa.pkcs8.key"), pki!("rsa.pkcs8.key"), "cert.pem: it holds no certificate");
    check("", pki!("rsa.pkcs8.key"), "cert.pem: it holds no certificate");
    check("-----BEGIN CERTIFICATE-----\n%%%", pki!("rsa.pkcs8.key"), "cert.pem: its PEM text is damaged");
    check(
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
        pki!("rsa.pkcs8.key"),
        "cert.pem: it is not a valid X.509 certificate",
    );
}

/// Connects to a server with `leaf` and expects the answer, or the words of the error.
fn check_trust(leaf: &Leaf, trust: Trust, expected: Result<(), &str>) {
    let server = Server::https(server_config(leaf, None), |_| ok("in"));
    let mut endpoint = endpoint(&format!("https://{}", server.address));
    endpoint.trust = trust;
    match (fetch(&client(endpoint)), expected) {
        (Ok(body), Ok(())) => assert_eq!(body, "in"),
        (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
        (found, expected) => panic!("{found:?} where {expected:?} was expected"),
    }
}

fn trusting(authority: &str) -> Trust {
    Trust { authority: Some(pem("ca", authority)), ..Trust::default() }
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_plain_words() {
    let (one, other) = (Authority::new(), Authority::new());
    check_trust(&one.server(), trusting(&one.pem()), Ok(()));
    check_trust(&one.server(), trusting(&other.pem()), Err("authority that is not trusted; check certificate-authority"));
    check_trust(&one.server(), trusting(&format!("{}{}", other.pem(), one.pem())), Ok(()));
    check_trust(&one.server(), Trust { insecure: true, ..Trust::default() }, Ok(()));
}

#[test]
fn an_expired_certificate_and_a_wrong_name_say_what_to_do() {
    let authority = Authority::new();
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    params.not_after = date_time_ymd(2020, 1, 1);
    let expired = authority.sign(&params, &KeyPair::generate().unwrap());
    check_trust(&expired, trusting(&authority.pem()), Err("has expired"));
    let other = CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
    let other = authority.sign(&other, &KeyPair::generate().unwrap());
    check_trust(&other, trusting(&authority.pem()), Err("is not for 127.0.0.1 but for"));
    check_trust(&other, trusting(&authority.pem()), Err("tls-server-name"));
    let named = Trust { server_name: Some("other.test".to_owned()), ..trusting(&authority.pem()) };
    check_trust(&other, named, Ok(()));
    let nameless = authority.sign(&CertificateParams::default(), &KeyPair::generate().unwrap());
    check_trust(&nameless, trusting(&authority.pem()), Err("a CN alone does not count"));
}

#[test]
fn a_self_signed_server_certificate_is_its_own_root() {
    for ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        params.is_ca = ca;
        let leaf = Leaf { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
        check_trust(&leaf, trusting(&leaf.certificate), Ok(()));
        let wrong = Trust { server_name: Some("other.test".to_owned()), ..trusting(&leaf.certificate) };
        check_trust(&leaf, wrong, Err("is not for other.test"));
    }
}

#[test]
fn a_server_that_wants_a_client_certificate_says_so() {
    let authority = Authority::new();
    let server = Server::https(server_config(&authority.server(), Some(pki!("rsa.crt"))), |_| ok("in"));
    let mut endpoint = endpoint(&format!("https://{}", server.address));
    endpoint.trust = trusting(&authority.pem());
    let error = fetch(&client(endpoint.clone())).unwrap_err();
    assert!(error.contains("asks for a client certificate and none is configured"), "{error}");
    endpoint.identity = Some(Identity { certificate: pem("c", pki!("p256.crt")), key: pem("k", pki!("p256.pkcs8.key")) });
    let error = fetch(&client(endpoint)).unwrap_err();
    assert!(error.contains("does not accept the client certificate"), "{error}");
}

#[test]
fn a_server_without_tls_is_told_from_a_broken_one() {
    let server = Server::start(|_, mut stream| {
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Waits for the client to close; a reset would overtake the answer.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut endpoint = endpoint(&format!("https://{}", server.address));
    endpoint.trust.insecure = true;
    let error = fetch(&client(endpoint)).unwrap_err();
    assert!(error.contains("does not speak TLS on this port"), "{error}");
}
