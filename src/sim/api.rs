//! Answers one request as a real API server does.
//!
//! Takes requests from the HTTP layer, asks the state, gives back documents and streams. The transcripts of real servers in
//! `tests/golden/http` say what is right.

mod accept;
mod discovery;
#[cfg(test)]
mod fidelity;
mod list;
pub(crate) mod patch;
mod path;
mod protobuf;
mod reply;
mod review;
mod selectors;
#[cfg(test)]
mod tests;
mod watch;
mod write;

use self::path::{Place, Target};
use super::state::State;
use super::state::access::{Action, Caller};
use super::state::json::Json;
use super::state::refusal::Refusal;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// One request, parsed from HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(crate) method: String,
    /// Decoded, without the query.
    pub(crate) path: String,
    /// Decoded, in the order of the request.
    pub(crate) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The whole body.
    pub(crate) body: Bytes,
    /// The common name and organisations of the client's certificate, when it showed one.
    pub(crate) certificate: Option<(String, Vec<String>)>,
}

/// What is sent back.
pub(crate) enum Reply {
    /// A whole document.
    Document {
        /// The HTTP code.
        code: u16,
        /// Besides `Content-Length` and `Date`, which the HTTP layer adds.
        headers: Vec<(&'static str, String)>,
        /// Not compressed; the HTTP layer compresses large lists when asked.
        body: Bytes,
    },
    /// 200, then lines as they come, chunked.
    Stream {
        /// Besides `Transfer-Encoding` and `Date`.
        headers: Vec<(&'static str, String)>,
        /// The lines.
        lines: Box<dyn Lines>,
    },
}

/// The lines of a watch.
pub(crate) trait Lines: Send {
    /// The next lines, each with its newline, or nothing within `wait`.
    fn next(&mut self, wait: Duration) -> Next;
}

/// What came.
pub(crate) enum Next {
    /// One event, with its newline.
    Line(Bytes),
    /// Nothing came in time.
    Quiet,
    /// The watch ends cleanly.
    End,
}

/// Answers `request`.
pub(crate) fn answer(state: &Arc<State>, request: &Request) -> Reply {
    let release = state.lock().settings.release;
    let reply = route(state, request);
    reply::finish(reply, request, release)
}

impl Request {
    /// The last value of a query parameter; empty when there is none.
    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.iter().rev().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether a query parameter says yes, as Go reads it.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let found = self.query.iter().rev().find(|(key, _)| key == name);
        found.is_some_and(|(_, value)| !matches!(value.to_lowercase().as_str(), "false" | "0"))
    }

    /// A header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// The token of a list's next page as one that gives the rest as it is now; `None` where it is none.
pub(crate) fn inconsistent_token(token: &str) -> Option<String> {
    list::inconsistent(token).ok()
}

/// Finds out who asks for what, and whether they may.
fn route(state: &Arc<State>, request: &Request) -> Result<Reply, Refusal> {
    let token = request.header("authorization").strip_prefix("Bearer ");
    let caller = state.lock().access.caller(token, request.certificate.as_ref());
    let caller = caller.ok_or_else(|| Refusal::new(401, "Unauthorized", "Unauthorized"))?;
    match path::parse(&request.path) {
        Place::Health => Ok(reply::text("ok")),
        Place::Version => Ok(reply::indented(&discovery::version(state.lock().settings.release))),
        Place::OpenApi(version) => Ok(discovery::open_api(version)),
        Place::Discovery(document) => discovery::answer(state, request, &document),
        Place::Objects(target) => objects(state, request, &caller, &target),
        Place::Unknown => Err(Refusal::no_page()),
    }
}

fn objects(state: &Arc<State>, request: &Request, caller: &Caller, target: &Target) -> Result<Reply, Refusal> {
    let verb = target.verb(request);
    if target.resource == "selfsubjectaccessreviews" && verb == "create" {
        return review::answer(state, request, caller, target);
    }
    check_access(state, caller, verb, target)?;
    let catalog = Arc::clone(&state.lock().catalog);
    let Some(resource) = catalog.find(&target.group, &target.version, &target.resource) else {
        let is_built_in = catalog.of(&target.group, &target.version).any(|resource| !resource.custom);
        return Err(if is_built_in { Refusal::no_resource() } else { Refusal::no_page() });
    };
    // Of the subresources only these can be written; the others need a kubelet or a controller.
    if target.subresource.as_deref().is_some_and(|name| !matches!(name, "status" | "finalize")) {
        return Err(Refusal::no_resource());
    }
    if !resource.verbs.iter().any(|known| known == verb) || target.namespace.is_some() && !resource.namespaced {
        return Err(if resource.namespaced { not_allowed() } else { Refusal::no_resource() });
    }
    check_ready(state, resource)?;
    match verb {
        "list" => list::answer(state, request, resource, target),
        "watch" => watch::answer(state, request, resource, target),
        "get" => list::get(state, request, resource, target),
        _ => write::answer(state, request, resource, target, verb),
    }
}

fn not_allowed() -> Refusal {
    Refusal::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        .with(Json::object([]))
}

fn check_access(state: &State, caller: &Caller, verb: &str, target: &Target) -> Result<(), Refusal> {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let qualified = target.qualified();
    if state.lock().access.allows(caller, Action { verb, resource: &qualified, namespace }).is_some() {
        return Ok(());
    }
    let subject = if target.name.is_empty() { qualified } else { format!("{qualified} \"{}\"", target.name) };
    let place =
        if namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace \"{namespace}\"") };
    let (user, resource, group) = (&caller.name, &target.resource, &target.group);
    let message =
        format!("{subject} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}");
    let mut details = Json::object([]);
    for (key, value) in [("name", &target.name), ("group", group), ("kind", resource)] {
        if !value.is_empty() {
            details.set(key, Json::text(value));
        }
    }
    Err(Refusal::new(403, "Forbidden", message).with(details))
}

/// Refuses while the storage of a new definition starts.
fn check_ready(state: &State, resource: &super::state::catalog::Resource) -> Result<(), Refusal> {
    let mut inner = state.lock();
    match inner.initializing.get_mut(&resource.storage()) {
        Some(left) if *left > 0 => {
            *left -= 1;
            Err(Refusal::new(429, "TooManyRequests", "storage is (re)initializing").after(1))
        }
        Some(_) | None => Ok(()),
    }
}
