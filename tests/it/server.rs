//! A server that answers as it was told, byte for byte, over real sockets, and remembers what it was asked.
//!
//! Every request is looked up by what it wants (`list /api/v1/pods`). Answers told for it are given in order; after the
//! last one a watch stays open and silent, and everything else gets the last one again.

use faro::lifecycle::{Joined, Stop};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Listens on a free loopback port until dropped.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    acceptor: Option<Joined>,
}

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    /// Whether the client showed a certificate.
    pub certificate: bool,
}

/// What is sent, and what happens to the connection then.
#[derive(Clone, Debug)]
pub struct Answer {
    wire: Vec<u8>,
    piece_bytes: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    NextRequest,
    Close,
    StayOpen,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    open: Mutex<Vec<TcpStream>>,
    stop: Stop,
}

/// Longest wait for a request; generous, since only a failure reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

impl Server {
    pub fn http() -> Self {
        Self::start(None)
    }

    pub fn https(config: ServerConfig) -> Self {
        Self::start(Some(Arc::new(config)))
    }

    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared::default());
        let acceptor = Joined::spawn("acceptor", {
            let shared = Arc::clone(&shared);
            move || accept(&listener, tls.as_ref(), &shared)
        });
        Self { address, scheme, shared, acceptor: Some(acceptor.unwrap()) }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Closes every connection that is open now.
    pub fn cut_all(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Adds answers to requests for `what`, as in `watch /api/v1/pods`.
    pub fn on(&self, what: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.shared.answers.lock().unwrap().entry(what.to_owned()).or_default().extend(answers);
        self
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until `enough` holds of the requests, and returns them.
    pub fn wait_for(&self, what: &str, enough: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        let (requests, timeout) =
            self.shared.arrived.wait_timeout_while(requests, DEADLINE, |requests| !enough(requests)).unwrap();
        assert!(!timeout.timed_out(), "waited in vain for {what}; requests: {:#?}", *requests);
        requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.request();
        for stream in self.shared.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor, which sees the stop.
        drop(TcpStream::connect(self.address));
        self.acceptor.take();
    }
}

impl Request {
    /// The kind of request and its path: `list`, `watch` or `probe` for collections, `get` for documents.
    pub fn what(&self) -> String {
        let kind = if self.query.contains("watch=1") {
            "watch"
        } else if self.query.contains("resourceVersion=") {
            "probe"
        } else if self.query.contains("limit=") {
            "list"
        } else {
            "get"
        };
        format!("{kind} {}", self.path)
    }

    /// A parameter of the query, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// A JSON document.
    pub fn json(code: u16, body: impl AsRef<str>) -> Self {
        Self::with_headers(code, &[("Content-Type", "application/json")], body.as_ref())
    }

    pub fn with_headers(code: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut wire = format!("HTTP/1.1 {code} Told\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.push_str("\r\n");
        wire.push_str(body);
        Self { wire: wire.into_bytes(), piece_bytes: usize::MAX, then: Then::NextRequest }
    }

    /// A watch that tells these lines, each its own chunk, and ends cleanly.
    pub fn watch<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wire = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for line in lines {
            wire.extend_from_slice(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).as_bytes());
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        Self { wire, piece_bytes: usize::MAX, then: Then::NextRequest }
    }

    /// The head of a document that never comes.
    pub fn stalled() -> Self {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n".to_vec();
        Self { wire, piece_bytes: usize::MAX, then: Then::StayOpen }
    }

    /// What a real server answered, chunk sizes included.
    pub fn recorded(name: &str) -> Self {
        let path = format!("{}/tests/golden/http/{name}.http", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let dashes = memchr::memmem::find(&bytes, b"\n----------").unwrap() + 1;
        let end_of_dashes = dashes + memchr::memchr(b'\n', &bytes[dashes..]).unwrap();
        Self { wire: bytes[end_of_dashes + 1..].to_vec(), piece_bytes: usize::MAX, then: Then::NextRequest }
    }

    /// Written in pieces of so many bytes.
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece_bytes = bytes;
        self
    }

    /// Only so many bytes are sent, then the connection is closed.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.wire.truncate(bytes);
        self.then = Then::Close;
        self
    }

    /// The end is never sent: a watch that goes on in silence.
    pub fn left_open(mut self) -> Self {
        let end = b"0\r\n\r\n";
        assert!(self.wire.ends_with(end), "only a chunked answer can be left open");
        self.wire.truncate(self.wire.len() - end.len());
        self.then = Then::StayOpen;
        self
    }

    pub fn len(&self) -> usize {
        self.wire.len()
    }
}

fn accept(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.stop.is_requested() {
            break;
        }
        let Ok(stream) = stream else { continue };
        stream.set_nodelay(true).unwrap();
        shared.open.lock().unwrap().push(stream.try_clone().unwrap());
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        let kept = stream.try_clone().unwrap();
        let serve = move || {
            // A client that goes away, or refuses our certificate, ends its connection and nothing else.
            let _ = match tls {
                Some(config) => serve_tls(stream, config, &shared),
                None => serve(BufReader::new(stream), false, &shared),
            };
            // The list of open connections keeps the socket: only this ends it for the client.
            let _ = kept.shutdown(Shutdown::Both);
        };
        connections.push(Joined::spawn("connection", serve).unwrap());
    }
}

fn serve_tls(mut stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let certificate = session.peer_certificates().is_some();
    serve(BufReader::new(StreamOwned::new(session, stream)), certificate, shared)
}

fn serve<S: Read + Write>(mut stream: BufReader<S>, certificate: bool, shared: &Shared) -> io::Result<()> {
    loop {
        let Some(request) = read_request(&mut stream, certificate)? else { return Ok(()) };
        let what = request.what();
        let answer = next_answer(shared, &what);
        shared.requests.lock().unwrap().push(request);
        shared.arrived.notify_all();
        let pieces = answer.wire.chunks(answer.piece_bytes.min(answer.wire.len().max(1)));
        for piece in pieces {
            stream.get_mut().write_all(piece)?;
            stream.get_mut().flush()?;
        }
        match answer.then {
            Then::NextRequest => {}
            Then::Close => return Ok(()),
            // Until the client leaves or the server is dropped.
            Then::StayOpen => return stream.read_exact(&mut [0]),
        }
    }
}

fn next_answer(shared: &Shared, what: &str) -> Answer {
    let mut answers = shared.answers.lock().unwrap();
    match answers.get_mut(what) {
        Some(told) if told.len() > 1 => told.pop_front().expect("there are several"),
        Some(told) if what.starts_with("watch ") => told.pop_front().unwrap_or_else(|| Answer::watch([]).left_open()),
        Some(told) => told.front().expect("an answer was told").clone(),
        None => Answer::with_headers(404, &[("Content-Type", "text/plain; charset=utf-8")], "404 page not found\n"),
    }
}

fn read_request(stream: &mut impl BufRead, certificate: bool) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(Request { path: path.to_owned(), query: query.to_owned(), headers, certificate }));
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
}
