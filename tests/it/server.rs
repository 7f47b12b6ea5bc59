//! A server that answers as it was told, byte for byte, over real sockets, and remembers what it was asked.
//!
//! Every request is looked up by what it wants (`list /api/v1/pods`). Answers told for it are given in order; after the
//! last one a watch stays open and silent, and everything else gets the last one again.

use crate::answer::{Answer, Then};
use crate::support::ports::free_port;
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
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    listening: Option<Listening>,
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

/// What outlives a closed server.
#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

/// One stretch of listening.
struct Listening {
    stop: Stop,
    _acceptor: Joined,
}

/// Longest wait for a request; generous, since only a failure reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

impl Server {
    pub fn http() -> Self {
        Self::start(0, None)
    }

    /// One that can be closed and opened again.
    pub fn http_on_a_port_of_its_own() -> Self {
        Self::start(free_port(), None)
    }

    pub fn https(config: ServerConfig) -> Self {
        Self::start(0, Some(Arc::new(config)))
    }

    fn start(port: u16, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, tls, shared: Arc::default(), listening: None };
        server.listen(listener);
        server
    }

    fn listen(&mut self, listener: TcpListener) {
        let (stop, shared, tls) = (Stop::new(), Arc::clone(&self.shared), self.tls.clone());
        let stopped = stop.clone();
        let acceptor = Joined::spawn("acceptor", move || accept(&listener, tls.as_ref(), &shared, &stopped));
        self.listening = Some(Listening { stop, _acceptor: acceptor.unwrap() });
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection and listens no more, as a server that was killed.
    pub fn close(&mut self) {
        if let Some(listening) = &self.listening {
            listening.stop.request();
            self.cut_all();
            // Wakes the acceptor, which sees the stop.
            drop(TcpStream::connect(self.address));
        }
        self.listening = None;
    }

    /// Listens again where it did before.
    pub fn reopen(&mut self) {
        self.listen(TcpListener::bind(self.address).unwrap());
    }

    /// Closes every connection that is open now.
    pub fn cut_all(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Adds answers to requests for `what`, as in `watch /api/v1/pods`; `?name=value` behind it means those requests
    /// alone that have this parameter in their query.
    pub fn on(&self, what: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.shared.answers.lock().unwrap().entry(what.to_owned()).or_default().extend(answers);
        self
    }

    /// Forgets what was told for `what`, and answers so from now on.
    pub fn instead(&self, what: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.answers.lock().unwrap().insert(what.to_owned(), answers.into_iter().collect());
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How often it was asked for `what`.
    pub fn asked(&self, what: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.what() == what).count()
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
        self.close();
    }
}

impl Request {
    /// The kind of request and its path: `list`, `watch` or `past` for collections, `get` for documents.
    pub fn what(&self) -> String {
        let kind = if self.query.contains("watch=1") {
            "watch"
        } else if self.query.contains("resourceVersion=") {
            "past"
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

fn accept(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>, shared: &Arc<Shared>, stop: &Stop) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        stream.set_nodelay(true).unwrap();
        shared.open.lock().unwrap().push(stream.try_clone().unwrap());
        // Asked after the connection was listed: whoever closes the server cuts it, or it is seen here.
        if stop.is_requested() {
            let _ = stream.shutdown(Shutdown::Both);
            break;
        }
        let (shared, tls, stop) = (Arc::clone(shared), tls.cloned(), stop.clone());
        let kept = stream.try_clone().unwrap();
        let serve = move || {
            // A client that goes away, or refuses our certificate, ends its connection and nothing else.
            let _ = match tls {
                Some(config) => serve_tls(stream, config, &shared, &stop),
                None => serve(BufReader::new(stream), false, &shared, &stop),
            };
            // The list of open connections keeps the socket: only this ends it for the client.
            let _ = kept.shutdown(Shutdown::Both);
        };
        connections.push(Joined::spawn("connection", serve).unwrap());
    }
}

fn serve_tls(mut stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared, stop: &Stop) -> io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let certificate = session.peer_certificates().is_some();
    serve(BufReader::new(StreamOwned::new(session, stream)), certificate, shared, stop)
}

fn serve<S: Read + Write>(mut stream: BufReader<S>, certificate: bool, shared: &Shared, stop: &Stop) -> io::Result<()> {
    while let Some(request) = read_request(&mut stream, certificate)? {
        let answer = next_answer(shared, &request);
        shared.requests.lock().unwrap().push(request);
        shared.arrived.notify_all();
        match answer.send(stream.get_mut(), stop)? {
            Then::NextRequest => {}
            Then::Close => break,
            // Until the client leaves or the server is closed.
            Then::StayOpen => return stream.read_exact(&mut [0]),
        }
    }
    Ok(())
}

fn next_answer(shared: &Shared, request: &Request) -> Answer {
    let what = request.what();
    let mut answers = shared.answers.lock().unwrap();
    let parameters = request.query.split('&').map(|pair| format!("{what}?{pair}"));
    let key = parameters.into_iter().find(|key| answers.contains_key(key)).unwrap_or_else(|| what.clone());
    match answers.get_mut(&key) {
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
            // Nobody here reads a question's body, but the next request begins behind it.
            let length = headers.iter().find(|(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or_default();
            io::copy(&mut stream.take(length), &mut io::sink())?;
            return Ok(Some(Request { path: path.to_owned(), query: query.to_owned(), headers, certificate }));
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
}
