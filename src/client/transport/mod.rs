//! HTTP to one API server. The only module that uses ureq, whose `unversioned` part is outside its version promise.
//!
//! ureq speaks HTTP/1.1 and keeps connections; how a connection is made, from the name to TLS, is ours: see [`connector`].
//! What it does not bear although servers may send it is taken out before it gets there: see [`chunks`].

mod buffers;
mod chunks;
mod connector;
mod link;
mod resolve;
mod response;
mod socket;
mod tunnel;

pub(crate) use resolve::Resolver;
pub use response::Response;

use super::connect::Shared;
use super::credentials::{Login, Tls};
use super::interrupt::Ending;
use super::{Blotter, Error, SetupError};
use connector::{Connector, NoLookup, Trouble};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use ureq::Agent;
use ureq::http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{HeaderValue, Method, Request, StatusCode};

/// The connections of one watch. Requests are made one at a time.
pub struct Transport {
    shared: Arc<Shared>,
    state: Arc<State>,
    /// The longest request head that must fit into a connection's output buffer.
    output_bytes: Arc<AtomicUsize>,
    /// How many connections were made, to tell a kept one from a new one.
    connections: Arc<AtomicU64>,
}

/// Ends a transport's requests from another thread, for good.
#[derive(Clone, Debug)]
pub struct Interrupt {
    state: Arc<State>,
}

/// A GET request.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// What is asked, for errors: `list v1/pods in default`.
    pub request: &'a str,
    /// Path and query, percent-encoded, as in `/api/v1/pods?limit=500`.
    pub path_and_query: &'a str,
    /// The header `Accept`.
    pub accept: &'a str,
    /// Whether the answer may be compressed.
    pub gzip: bool,
    /// How long to wait for the head of the answer.
    pub head_limit: Duration,
    /// A read of the body that gets no byte for this long fails with [`TimedOut`](std::io::ErrorKind::TimedOut) and may be repeated.
    pub read_limit: Duration,
}

#[derive(Debug)]
struct State {
    ending: Ending,
    slot: Mutex<Option<Slot>>,
}

/// The agent in use, and the TLS configuration that its connections were made with.
#[derive(Debug)]
struct Slot {
    agent: Agent,
    tls: Option<Arc<Tls>>,
}

type Answer = ureq::http::Response<ureq::Body>;

impl Transport {
    pub(crate) fn new(shared: Arc<Shared>, ending: Ending) -> Self {
        let state = Arc::new(State { ending, slot: Mutex::new(None) });
        Self { shared, state, output_bytes: Arc::default(), connections: Arc::default() }
    }

    /// Sends the request with credentials; refreshes them once on a 401.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] for an error answer, with at most 64 KiB of its body read; [`Error::Credentials`] when none could be had;
    /// [`Error::Undecodable`] for a redirect, which is not followed; [`Error::Stopped`] once interrupted; else [`Error::Connection`].
    ///
    /// # Blocking
    ///
    /// Until the head of the answer is there: at most 10 s each to resolve, connect and shake hands, then `head_limit`, and however
    /// long an exec plugin takes.
    pub fn get(&self, get: &Get<'_>) -> Result<Response, Error> {
        self.exchange(get, None)
    }

    /// As [`get`](Self::get), with the method POST and a JSON document as the body. It may be sent twice, so that only questions
    /// are asked like this.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Blocking
    ///
    /// As for [`get`](Self::get).
    pub(super) fn post(&self, get: &Get<'_>, json: &[u8]) -> Result<Response, Error> {
        self.exchange(get, Some(json))
    }

    /// No error quotes what the request carried, whatever the server answers.
    fn exchange(&self, get: &Get<'_>, json: Option<&[u8]>) -> Result<Response, Error> {
        self.exchange_unblotted(get, json).map_err(|error| error.blotted(self.blotter()))
    }

    fn exchange_unblotted(&self, get: &Get<'_>, json: Option<&[u8]>) -> Result<Response, Error> {
        let login = self.login(get)?;
        let mut answer = self.send(get, json, &login)?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.shared.session.refuse(&login) {
            let renewed = self.login(get)?;
            if renewed != login {
                // Read to its end, so that the connection can be used again.
                response::read_error_body(&mut answer, get.head_limit);
                answer = self.send(get, json, &renewed)?;
            }
        }
        response::judge(get, answer, self.shared.server(), &self.state.ending, self.blotter())
    }

    /// The server's URL, without credentials.
    pub fn server(&self) -> &str {
        self.shared.server()
    }

    /// Takes what requests carry out of texts.
    pub(super) fn blotter(&self) -> &Blotter {
        self.shared.session.blotter()
    }

    /// Gives up the connection that is kept for the next request.
    pub(super) fn renew(&self) {
        *self.state.slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A handle that ends requests from another thread.
    pub fn interrupt(&self) -> Interrupt {
        Interrupt { state: self.state.clone() }
    }

    fn login(&self, get: &Get<'_>) -> Result<Login, Error> {
        self.shared.session.login(&self.state.ending).map_err(|source| {
            let request = get.request.to_owned();
            if matches!(source, SetupError::Interrupted) {
                return Error::Stopped { request };
            }
            Error::Credentials { request, server: self.shared.server().to_owned(), source }
        })
    }

    /// Sends the request; once more when a kept connection turns out to have been closed by the server meanwhile.
    fn send(&self, get: &Get<'_>, json: Option<&[u8]>, login: &Login) -> Result<Answer, Error> {
        let request_bytes = login.authorization.as_ref().map_or(0, |secret| secret.reveal().len()) + get.path_and_query.len();
        self.output_bytes.store((request_bytes + OTHER_HEAD_BYTES).max(OUTPUT_BYTES_MIN), Ordering::Relaxed);
        let agent = self.agent(get, login)?;
        let before = self.connections.load(Ordering::Relaxed);
        let run = || {
            let request = self.request(get, login, json.is_some())?;
            Ok(match json {
                None => agent.run(request),
                Some(json) => agent.run(request.map(|()| json)),
            })
        };
        let answer = match run()? {
            Err(ureq::Error::Io(_)) if self.connections.load(Ordering::Relaxed) == before && !self.state.ending.has_come() => {
                run()?
            }
            answer => answer,
        };
        answer.map_err(|error| {
            if is_tls_trouble(&error) {
                self.shared.session.doubt();
            }
            response::failure(get.request, self.shared.server(), &self.state.ending, error)
        })
    }

    /// Its head. The body comes to it afterwards, so that one code is made for all of them.
    fn request(&self, get: &Get<'_>, login: &Login, has_body: bool) -> Result<Request<()>, Error> {
        let endpoint = self.shared.session.endpoint();
        let uri = format!("{}{}", self.shared.server(), get.path_and_query);
        let encoding = if get.gzip && cfg!(feature = "gzip") { "gzip" } else { "identity" };
        let method = if has_body { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(uri).header(ACCEPT, get.accept).header(ACCEPT_ENCODING, encoding);
        if has_body {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &login.authorization {
            let value = Some(authorization.reveal()).filter(|value| value.is_ascii()).map(HeaderValue::from_str);
            let mut value = value.and_then(Result::ok).ok_or_else(|| self.not_a_header(get, "the token"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in &endpoint.impersonation {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|_| self.not_a_header(get, "the path, or as, as-groups or as-user-extra,"))?;
        let slot = self.state.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Slot { agent, .. }) = slot.as_ref() else { return Ok(request) };
        let limits = agent.configure_request(request).timeout_send_request(Some(get.head_limit));
        Ok(limits.timeout_recv_response(Some(get.head_limit)).timeout_per_read(Some(get.read_limit)).build())
    }

    fn not_a_header(&self, get: &Get<'_>, what: &str) -> Error {
        Error::Credentials {
            request: get.request.to_owned(),
            server: self.shared.server().to_owned(),
            source: SetupError::kubeconfig(
                &self.shared.session.endpoint().origin,
                format!("{what} holds characters that no HTTP request may carry"),
            ),
        }
    }

    /// The agent for `login`: a new one, without connections, when the TLS configuration changed.
    fn agent(&self, get: &Get<'_>, login: &Login) -> Result<Agent, Error> {
        let mut slot = self.state.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.ending.has_come() {
            return Err(Error::Stopped { request: get.request.to_owned() });
        }
        if let Some(Slot { agent, tls }) = &*slot
            && tls.as_ref().map(Arc::as_ptr) == login.tls.as_ref().map(Arc::as_ptr)
        {
            return Ok(agent.clone());
        }
        let connector = Connector {
            shared: self.shared.clone(),
            tls: login.tls.clone(),
            ending: self.state.ending.clone(),
            output_bytes: self.output_bytes.clone(),
            connections: self.connections.clone(),
        };
        let agent = Agent::with_parts(config(), connector, NoLookup);
        *slot = Some(Slot { agent: agent.clone(), tls: login.tls.clone() });
        Ok(agent)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("server", &self.shared.server()).finish_non_exhaustive()
    }
}

impl Interrupt {
    /// Ends the request under way, if there is one, as if its connection had broken. Later ones are made over new connections.
    pub fn cut(&self) {
        let slot = self.state.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Slot { agent, .. }) = slot {
            agent.shutdown();
        }
    }

    /// Ends the request under way, and every later one, with [`Error::Stopped`].
    pub fn interrupt(&self) {
        self.state.ending.come();
        let slot = self.state.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot { agent, .. }) = slot.as_ref() {
            agent.clone().shutdown();
        }
    }
}

/// Whether client and server could not agree on certificates, or anything else of TLS.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; TLS trouble is always wrapped in our own type")]
fn is_tls_trouble(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Other(inner) => inner.downcast_ref::<Trouble>().is_some_and(|trouble| trouble.is_tls),
        _ => false,
    }
}

fn config() -> ureq::config::Config {
    Agent::config_builder()
        // Never the default, which reads the environment in its own way; our connector knows the proxy.
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(user_agent())
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .max_idle_age(IDLE_AGE_MAX)
        .build()
}

fn user_agent() -> String {
    // The names that Kubernetes clients use for them.
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("faro/{} ({}/{arch})", env!("CARGO_PKG_VERSION"), std::env::consts::OS)
}

/// Room for the request line's verb and all headers but `Authorization`.
const OTHER_HEAD_BYTES: usize = 4 * 1024;
/// Room for a request head with a usual token.
const OUTPUT_BYTES_MIN: usize = 16 * 1024;
/// Longest accepted head of an answer. API servers send 1 KB; proxies add cookies and policies.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long an unused connection is kept. API servers close theirs after 2 to 3 minutes.
const IDLE_AGE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
