//! TLS, certificates of clients and the token, as clients see them.

use super::tests::{Fixture, connect, status};
use super::*;
use crate::health::tests::watch;
use crate::health::{Condition, Health, Reason};
use crate::metrics::Metrics;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOKEN: &str = "a-token-of-many-letters";

/// An authority, and a folder for what it signs.
struct Pki {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { folder: tempfile::tempdir().unwrap(), authority };
        fs::write(pki.path("ca.crt"), pki.authority.pem()).unwrap();
        pki.issue("server");
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate and its key.
    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        fs::write(self.path(&format!("{name}.crt")), params.signed_by(&key, &self.authority).unwrap().pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn settings(&self, has_client_ca: bool) -> HttpSettings {
        let client_ca_file = has_client_ca.then(|| self.path("ca.crt"));
        let tls = Some(TlsFiles { cert_file: self.path("server.crt"), key_file: self.path("server.key"), client_ca_file });
        HttpSettings { port: 0, tls, ..HttpSettings::default() }
    }

    /// A client that trusts the authority, and shows this certificate, where one is named.
    fn client(&self, address: SocketAddr, shown: Option<(&Pki, &str)>) -> StreamOwned<ClientConnection, std::net::TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((pki, name)) => {
                let read = |ending: &str| fs::read(pki.path(&format!("{name}.{ending}"))).unwrap();
                let chain = CertificateDer::pem_slice_iter(&read("crt")).map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&read("key")).unwrap()).unwrap()
            }
        };
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(connection, connect(address))
    }
}

fn serve(settings: &HttpSettings) -> Fixture {
    let (metrics, health) = (Metrics::default(), Health::default());
    health.begun();
    health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
    Fixture { server: HttpServer::start(settings, &metrics, &health).unwrap(), metrics, health }
}

fn ask(mut client: impl Read + Write, path: &str, token: Option<&str>) -> String {
    let header = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: faro\r\n{header}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

const OPEN: [&str; 3] = ["/health", "/ready", "/ready?strict=1"];
const CLOSED: [&str; 5] = ["/metrics", "/ready?verbose=1", "/ready?strict=1&verbose=1", "/", "/nothing"];

#[test]
fn without_a_client_authority_everything_is_served_over_tls() {
    let pki = Pki::new();
    let fixture = serve(&pki.settings(false));
    for path in OPEN.iter().chain(&CLOSED[..4]) {
        assert_eq!(status(&ask(pki.client(fixture.server.local_addr(), None), path, None)), "200", "{path}");
    }
}

#[test]
fn probes_need_no_certificate_and_all_else_needs_one_that_the_authority_vouches_for() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("client");
    other.issue("client");
    let fixture = serve(&pki.settings(true));
    let address = fixture.server.local_addr();
    for path in OPEN {
        assert_eq!(status(&ask(pki.client(address, None), path, None)), "200", "{path}");
    }
    for path in CLOSED {
        let answer = ask(pki.client(address, None), path, None);
        assert!(status(&answer) == "403" && answer.contains("client_ca_file"), "{path}: {answer}");
    }
    for path in OPEN.iter().chain(&CLOSED[..4]) {
        assert_eq!(status(&ask(pki.client(address, Some((&pki, "client"))), path, None)), "200", "{path}");
    }
    let mut stranger = pki.client(address, Some((&other, "client")));
    let refused = stranger.write_all(b"GET /health HTTP/1.1\r\nHost: faro\r\n\r\n").and_then(|()| stranger.read(&mut [0; 100]));
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn a_token_is_asked_for_but_by_probes_and_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let settings = HttpSettings { port: 0, bearer_token_file: Some(file.clone()), ..HttpSettings::default() };
    let fixture = serve(&settings);
    let address = fixture.server.local_addr();
    let get = |path: &str, token: Option<&str>| ask(connect(address), path, token);
    for path in OPEN {
        assert_eq!(status(&get(path, None)), "200", "{path}");
    }
    for path in CLOSED {
        for wrong in [None, Some("another-token-of-letters"), Some(&TOKEN[1..]), Some("")] {
            let answer = get(path, wrong);
            assert!(status(&answer) == "401" && answer.contains("WWW-Authenticate: Bearer"), "{path} {wrong:?}: {answer}");
            assert!(!answer.contains(TOKEN));
        }
    }
    assert_eq!(status(&get("/metrics", Some(TOKEN))), "200");
    let newer = "another-token-of-letters";
    fs::write(folder.path().join("next"), newer).unwrap();
    fs::rename(folder.path().join("next"), &file).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while status(&get("/metrics", Some(newer))) != "200" {
        assert!(Instant::now() < deadline, "the new token is not taken");
    }
    assert_eq!(status(&get("/metrics", Some(TOKEN))), "401");
    // What cannot be read keeps what was.
    fs::remove_file(&file).unwrap();
    let until = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < until {
        assert_eq!(status(&get("/metrics", Some(newer))), "200");
    }
}

#[test]
fn a_new_certificate_is_served_without_a_restart() {
    let pki = Pki::new();
    let fixture = serve(&pki.settings(false));
    let served = || {
        let mut client = pki.client(fixture.server.local_addr(), None);
        client.write_all(b"GET /health HTTP/1.1\r\nHost: faro\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        client.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let first = served();
    // The two files are replaced one after the other: between the two they are no pair.
    pki.issue("server");
    let deadline = Instant::now() + Duration::from_secs(60);
    while served() == first {
        assert!(Instant::now() < deadline, "the new certificate is not served");
    }
}

#[test]
fn large_answers_and_slow_hands_lose_nothing() {
    let pki = Pki::new();
    let fixture = serve(&pki.settings(false));
    for number in 0..3000 {
        fixture.health.add_watch(watch(&format!("example.com/v1/kind{number}s")));
    }
    let mut client = pki.client(fixture.server.local_addr(), None);
    for byte in b"GET /ready?verbose=1 HTTP/1.1\r\nHost: faro\r\n\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.len() > 500_000 && answer.ends_with("}\n"), "{}", answer.len());
    assert_eq!(answer.matches("example.com/v1/kind").count() % 3000, 0);
}

#[test]
fn who_speaks_no_tls_to_it_is_sent_away_and_holds_up_nobody() {
    let pki = Pki::new();
    let fixture = serve(&pki.settings(false));
    let address = fixture.server.local_addr();
    let silent = connect(address);
    let mut plain = connect(address);
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: faro\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert, or a reset.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(status(&ask(pki.client(address, None), "/health", None)), "200");
    drop(silent);
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_their_name() {
    let pki = Pki::new();
    let error = |settings: HttpSettings| {
        crate::chain::chain(&HttpServer::start(&settings, &Metrics::default(), &Health::default()).unwrap_err())
    };
    fs::write(pki.path("short"), "secret").unwrap();
    fs::write(pki.path("empty"), "").unwrap();
    let told = error(HttpSettings { bearer_token_file: Some(pki.path("short")), ..HttpSettings::default() });
    assert!(told.contains("short: expected a token of 16 or more") && !told.contains("secret"), "{told}");
    let of = |change: fn(&mut TlsFiles, PathBuf), name: &str| {
        let mut settings = pki.settings(true);
        change(settings.tls.as_mut().unwrap(), pki.path(name));
        error(settings)
    };
    assert!(of(|tls, path| tls.cert_file = path, "empty").contains("empty holds no certificate"));
    assert!(of(|tls, path| tls.key_file = path, "ca.crt").contains("ca.crt holds no private key"));
    assert!(of(|tls, path| tls.client_ca_file = Some(path), "none").contains("none: No such file"));
    pki.issue("other");
    assert!(of(|tls, path| tls.key_file = path, "other.key").contains("other.key is not the key of the certificate"));
}
