//! Certificates and keys as people have them, against real handshakes.

use super::public_key;
use super::{Material, Named, client_config};
use crate::client::endpoint::{Identity, Pem, PemSource, Trust};
use crate::client::testing::{
    Authority, Leaf, Server, client, endpoint, fetch, lenient_server_config, ok, read_head, server_config, tls,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::version::TLS13;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;

macro_rules! pki {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pki/", $name))
    };
}

fn pem(what: &str, text: &str) -> Pem {
    Pem { what: what.to_owned(), source: PemSource::Inline(text.as_bytes().to_vec()) }
}

fn material(certificate: &str, key: &str) -> Material {
    Material { authority: None, certificate: Some(named("cert.pem", certificate)), key: Some(named("key.pem", key)) }
}

/// Logs in with a certificate at a server that speaks this version of TLS.
fn check_login(certificate: &str, key: &str, version: &'static SupportedProtocolVersion) {
    let authority = Authority::new();
    let server = Server::start(measuring(lenient_server_config(&authority.server(), &[version])));
    let mut endpoint = endpoint(&format!("https://{}", server.address));
    endpoint.trust.authority = Some(pem("ca", &authority.pem()));
    endpoint.identity = Some(Identity { certificate: pem("cert", certificate), key: pem("key", key) });
    let expected =
        format!("{} bytes", public_key(&CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap().len());
    assert_eq!(fetch(&client(endpoint)), Ok(expected), "{}", key.lines().next().unwrap());
}

/// Answers with the length of the client's public key.
fn measuring(config: ServerConfig) -> impl FnMut(usize, std::net::TcpStream) + Send + 'static {
    let config = Arc::new(config);
    move |_, stream| {
        let mut stream = tls(&config, stream);
        if read_head(&mut stream).is_some() {
            let length = stream.conn.peer_certificates().map_or(0, |chain| public_key(&chain[0]).unwrap().len());
            let _ = stream.write_all(&ok(&format!("{length} bytes"))).and_then(|()| stream.flush());
        }
    }
}

#[test]
fn every_usual_kind_of_client_key_logs_in() {
    let relabelled = |key: &str, from: &str, to: &str| key.replace(&format!("{from}PRIVATE KEY"), &format!("{to}PRIVATE KEY"));
    for (certificate, key) in [
        (pki!("rsa.crt"), pki!("rsa.pkcs1.key").to_owned()),
        (pki!("rsa.crt"), pki!("rsa.pkcs8.key").to_owned()),
        (pki!("p256.crt"), pki!("p256.sec1.key").to_owned()),
        (pki!("p256.crt"), pki!("p256.pkcs8.key").to_owned()),
        (pki!("p384.crt"), pki!("p384.pkcs8.key").to_owned()),
        (pki!("ed25519.crt"), pki!("ed25519.pkcs8.key").to_owned()),
        // Without its public part.
        (pki!("p256.crt"), pki!("p256.no-public.key").to_owned()),
        // Of X.509 version 1.
        (pki!("v1.crt"), pki!("v1.pkcs8.key").to_owned()),
        // Under another label.
        (pki!("rsa.crt"), relabelled(pki!("rsa.pkcs1.key"), "RSA ", "")),
        (pki!("rsa.crt"), relabelled(pki!("rsa.pkcs8.key"), "", "RSA ")),
        (pki!("rsa.crt"), relabelled(pki!("rsa.pkcs8.key"), "", "ANY ")),
        (pki!("p256.crt"), relabelled(pki!("p256.pkcs8.key"), "", "EC ")),
        (pki!("p256.crt"), relabelled(pki!("p256.sec1.key"), "EC ", "")),
    ] {
        check_login(certificate, &key, &TLS13);
    }
}

#[cfg(feature = "every-key")]
#[test]
fn every_rare_kind_of_client_key_logs_in() {
    for (certificate, key) in [
        (pki!("p521.crt"), pki!("p521.pkcs8.key")),
        (pki!("e3.crt"), pki!("e3.pkcs8.key")),
        (pki!("e17.crt"), pki!("e17.pkcs8.key")),
        (pki!("rsa2056.crt"), pki!("rsa2056.pkcs8.key")),
    ] {
        rustls::ALL_VERSIONS.iter().for_each(|version| check_login(certificate, key, version));
    }
}

#[cfg(feature = "every-key")]
#[test]
fn a_server_with_a_key_on_p521_is_judged_like_any_other() {
    let leaf = |certificate: &str| Leaf { certificate: certificate.to_owned(), key: pki!("p521.pkcs8.key").to_owned() };
    let check = |certificate: &str, trust: Trust, expected: Result<&str, &str>| {
        let server = Server::https(lenient_server_config(&leaf(certificate), rustls::ALL_VERSIONS), |_| ok("in"));
        let mut endpoint = endpoint(&format!("https://{}", server.address));
        endpoint.trust = trust;
        match (fetch(&client(endpoint)), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    };
    let (itself, signed) = (pki!("p521-server.crt"), pki!("p521-leaf.crt"));
    check(itself, trusting(itself), Ok("in"));
    check(signed, trusting(itself), Ok("in"));
    check(signed, trusting(pki!("p521.crt")), Err("authority that is not trusted"));
    check(itself, trusting(pki!("p521.crt")), Err("authority that is not trusted"));
    check(itself, Trust { insecure: true, ..Trust::default() }, Ok("in"));
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
    if !cfg!(feature = "every-key") {
        check(pki!("p521.crt"), pki!("p521.pkcs8.key"), "key.pem: a key of this kind or size is not supported");
    }
    check(pki!("p521.crt"), pki!("p256.pkcs8.key"), "key.pem: ");
    check(pki!("p384.crt"), pki!("p256.pkcs8.key"), "key.pem: it is not the key of the certificate (cert.pem)");
    check(pki!("v1.crt"), pki!("p256.pkcs8.key"), "key.pem: it is not the key of the certificate (cert.pem)");
    check(pki!("e3.crt"), pki!("rsa.pkcs8.key"), "key.pem: it is not the key of the certificate (cert.pem)");
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
fn an_authority_vouches_while_it_is_valid_and_a_leaf_for_itself() {
    let authority = Authority::new();
    let leaf = authority.server();
    check_trust(&leaf, trusting(&leaf.certificate), Ok(()));
    let wrong_name = Trust { server_name: Some("other.test".to_owned()), ..trusting(&leaf.certificate) };
    check_trust(&leaf, wrong_name, Err("is not for other.test but for"));
    let expired = Authority::until(2020);
    check_trust(
        &expired.server(),
        trusting(&expired.pem()),
        Err("the authority that signed the server's certificate has expired"),
    );
    check_trust(&leaf, trusting(&format!("{}{}", expired.pem(), authority.pem())), Ok(()));
    let broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    let damaged = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    check_trust(&leaf, trusting(&format!("{broken}{damaged}{}", authority.pem())), Ok(()));
    let error =
        client_config(&trusting(broken), &Material { authority: Some(named("ca", broken)), certificate: None, key: None });
    assert_eq!(error.unwrap_err().to_string(), "ca: it holds no certificate that can be read");
}

fn named(what: &str, text: &str) -> Named {
    Named { what: what.to_owned(), text: text.as_bytes().to_vec() }
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
