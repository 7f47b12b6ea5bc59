//! Servers for the client's tests: scripted, on loopback, plain or TLS.

use super::Client;
use super::endpoint::{Endpoint, LoginSource, Trust};
use super::transport::Get;
use super::url::Url;
use crate::chain::chain;
use crate::lifecycle::Joined;
use crossbeam_channel::{Receiver, Sender, bounded};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The one deadline of all tests: long enough for a busy machine, so that a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A bidirectional stream of a test server.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A server that hands each connection, in order of arrival, to one thread.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<Sender<()>>,
    thread: Option<Joined>,
}

impl Server {
    /// `serve` gets the number of the connection, from 0, and the connection.
    pub(crate) fn start(serve: impl FnMut(usize, TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = bounded(0);
        let mut serve = serve;
        let thread = Joined::spawn("test-server", move || {
            for (number, stream) in listener.incoming().enumerate() {
                if stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                    return;
                }
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                serve(number, stream);
            }
        });
        Self { address, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// Answers every request of every connection with what `answer` makes of its head; an empty answer closes the connection.
    pub(crate) fn http(answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Self {
        let mut answer = answer;
        Self::start(move |_, mut stream| serve_http(&mut stream, &mut answer))
    }

    /// As [`http`](Self::http), inside TLS. A client whose handshake fails is let go.
    pub(crate) fn https(config: ServerConfig, answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Self {
        let (config, mut answer) = (Arc::new(config), answer);
        Self::start(move |_, stream| serve_http(&mut tls(&config, stream), &mut answer))
    }

    /// `http://…`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        // Wakes the accept.
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join_until(std::time::Instant::now() + PATIENCE);
    }
}

pub(crate) fn tls(config: &Arc<ServerConfig>, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
}

/// Serves one connection until the client or an empty answer ends it.
pub(crate) fn serve_http(stream: &mut impl Stream, answer: &mut impl FnMut(&str) -> Vec<u8>) {
    while let Some(head) = read_head(stream) {
        let bytes = answer(&head);
        if bytes.is_empty() || stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// One request head, in text; `None` when the client ends the connection.
pub(crate) fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// An answer with a length.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The value of a header of a request head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A way to `url` without any login.
pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        server: Url::parse(url, "https").unwrap(),
        trust: Trust::default(),
        identity: None,
        login: LoginSource::Nothing,
        impersonation: Vec::new(),
        proxy: None,
        origin: "a test".to_owned(),
        secrets_in: None,
        again: None,
    }
}

pub(crate) fn client(endpoint: Endpoint) -> Client {
    Client::new(endpoint).unwrap()
}

/// A request that waits as long as a test may.
pub(crate) fn get(path_and_query: &str) -> Get<'_> {
    Get {
        request: "get a test",
        path_and_query,
        accept: "application/json",
        gzip: false,
        head_limit: PATIENCE,
        read_limit: PATIENCE,
    }
}

/// The body of a successful request, or its error with all causes.
pub(crate) fn fetch(client: &Client) -> Result<String, String> {
    let transport = client.transport();
    let mut body = String::new();
    transport.get(&get("/x")).map_err(|error| chain(&error))?.read_to_string(&mut body).map_err(|error| chain(&error))?;
    Ok(body)
}

/// A certificate authority for one test.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// PEM texts of a certificate and its key.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::until(4096)
    }

    /// One that expires when this year begins.
    pub(crate) fn until(year: i32) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for 127.0.0.1 and the name `api.test`.
    pub(crate) fn server(&self) -> Leaf {
        let mut params = CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        self.sign(&params, &KeyPair::generate().unwrap())
    }

    pub(crate) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Leaf {
        Leaf { certificate: params.signed_by(key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A server's TLS with `leaf`; with `clients`, it demands a certificate that they vouch for.
pub(crate) fn server_config(leaf: &Leaf, clients: Option<&str>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).map(Result::unwrap).collect();
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap()).unwrap()
}

/// As [`server_config`], with every kind of key that this build knows, of X.509 version 1, too; asks for a certificate, and takes
/// any whose key the client holds.
pub(crate) fn lenient_server_config(leaf: &Leaf, versions: &[&'static rustls::SupportedProtocolVersion]) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(super::tls::provider()).with_protocol_versions(versions).unwrap();
    builder.with_client_cert_verifier(Arc::new(AnyClient)).with_cert_resolver(super::tls::server_certificate(leaf))
}

/// Takes any client; only the signature is judged.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
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

    /// Also of certificates that the library does not read.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = super::tls::provider().signature_verification_algorithms;
        let (_, fitting) = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).unwrap();
        let key = super::tls::public_key(certificate).unwrap();
        let is_valid = fitting.iter().any(|algorithm| algorithm.verify_signature(key, message, signed.signature()).is_ok());
        if is_valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(rustls::CertificateError::BadSignature.into()) }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        super::tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// An executable script in `directory`.
#[cfg(feature = "exec")]
pub(crate) fn script(directory: &std::path::Path, name: &str, body: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    // Written by another process: a file that this one has open for writing, or a child of it just started, cannot be run.
    let writer = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#;
    let done = std::process::Command::new("sh").args(["-c", writer, "sh", body]).arg(&path).status().unwrap();
    assert!(done.success());
    path
}

/// What a server noted, one item at a time.
pub(crate) fn notes<T: Send>() -> (Sender<T>, Receiver<T>) {
    bounded(64)
}
