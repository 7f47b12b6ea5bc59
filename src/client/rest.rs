//! Lists and watches one target over HTTP, and reads its past.
//!
//! Takes a [`WatchTarget`] and a [`Transport`] of its own; gives pages object by object and watches as lines. Promises that
//! of `v1/secrets` nothing but metadata is ever asked, kept or handed on.

use super::address::Address;
use super::http::{ACCEPT_JSON, ACCEPT_METADATA, ACCEPT_METADATA_LIST, Http, read_error, undecodable};
use super::lookup::{self, lookup};
use super::metadata_only::{FRONT_BYTES, begins_metadata_list};
use super::page_reader::slow_or_broken;
use super::version::server_version;
use super::{
    Blotter, Content, Error, Get, Interrupt, Line, Lines, ListWatch, PageReader, PageRequest, PastPage, Proof, READ_TICK, Served,
    ServerVersion, Transport, WatchLines, WatchStart,
};
use crate::api::{Scope, WatchTarget};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// [`ListWatch`] on a real server.
pub struct RestListWatch {
    http: Box<dyn Http>,
    target: WatchTarget,
    scope: Option<Scope>,
    address: Address,
    content: Content,
    received: Arc<AtomicU64>,
    /// By what the cluster is known, where that can be read.
    cluster_uid: Option<String>,
    /// The namespaces that are asked for, also while the kind has none.
    namespaces: Vec<String>,
}

impl RestListWatch {
    /// Opens no connection yet. `scope` is what discovery said, `None` where it was not asked; a lookup fills it in.
    /// For `v1/secrets` the content is [`Content::Metadata`], whatever is asked.
    pub fn new(transport: Transport, target: &WatchTarget, scope: Option<Scope>, content: Content) -> Self {
        Self::over(Box::new(transport), target, scope, content)
    }

    /// Says by which uid of `kube-system` the cluster is known, where that can be read: a lookup believes no other cluster.
    #[must_use]
    pub fn in_cluster(mut self, uid: Option<String>) -> Self {
        self.cluster_uid = uid;
        self
    }

    /// Says which namespaces are asked for, also while the kind has none: where it is one, its path is asked for as soon as the kind
    /// is namespaced. Without this it is that of the target, if it has one.
    #[must_use]
    pub fn confined_to(mut self, namespaces: Vec<String>) -> Self {
        self.namespaces = namespaces;
        self.address = self.address();
        self
    }

    /// A handle that ends the request under way, and every later one, from another thread.
    pub fn interrupt(&self) -> Interrupt {
        self.http.interrupt()
    }

    /// What is asked of each object.
    pub fn content(&self) -> Content {
        self.content
    }

    pub(super) fn over(http: Box<dyn Http>, target: &WatchTarget, scope: Option<Scope>, content: Content) -> Self {
        let content = if target.gvr.is_secrets() { Content::Metadata } else { content };
        let address = Address::new(target, scope);
        Self {
            http,
            target: target.clone(),
            scope,
            address,
            content,
            received: Arc::default(),
            cluster_uid: None,
            namespaces: target.namespace.iter().cloned().collect(),
        }
    }

    /// Reads so much of a list that its kind shows, and no more.
    fn read_metadata_front(&self, request: &str, response: &mut dyn Read) -> Result<Vec<u8>, Error> {
        let mut front = Vec::new();
        let read = response.take(FRONT_BYTES as u64).read_to_end(&mut front);
        read.map_err(|error| read_error(request, self.http.server(), error))?;
        if begins_metadata_list(&front) { Ok(front) } else { Err(undecodable(request, &NOT_METADATA)) }
    }

    fn counted(&self, response: Box<dyn Read>) -> Counted {
        self.received.fetch_add(1, Ordering::Relaxed);
        Counted { response, received: Arc::clone(&self.received) }
    }

    /// Over a connection of its own where another one is in use.
    fn past(&self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        let request = format!("list {} as it was at version {}", self.target, page.version);
        let path = self.address.past(page);
        let response = self.http.get(&Get {
            request: &request,
            path_and_query: &path,
            accept: ACCEPT_METADATA_LIST,
            gzip: true,
            head_limit: LIST_HEAD_LIMIT,
            read_limit: LIST_READ_LIMIT,
        })?;
        let mut response = self.counted(response);
        let front = self.read_metadata_front(&request, &mut response)?;
        Ok(PageReader::new(request, self.http.server(), Box::new(response)).after(front))
    }

    fn address(&self) -> Address {
        let namespace = self.namespace().map(str::to_owned);
        Address::new(&WatchTarget { namespace, ..self.target.clone() }, self.scope)
    }

    /// The namespace whose path is asked for.
    fn namespace(&self) -> Option<&str> {
        match (self.scope, &self.target.namespace, self.namespaces.as_slice()) {
            (Some(Scope::Cluster), _, _) => None,
            (Some(Scope::Namespaced) | None, Some(namespace), _) => Some(namespace),
            (Some(Scope::Namespaced), None, [namespace]) => Some(namespace),
            (Some(Scope::Namespaced) | None, None, _) => None,
        }
    }

    fn list_accept(&self) -> &'static str {
        match self.content {
            Content::Metadata => ACCEPT_METADATA_LIST,
            Content::Object => ACCEPT_JSON,
        }
    }

    fn watch_accept(&self) -> &'static str {
        match self.content {
            Content::Metadata => ACCEPT_METADATA,
            Content::Object => ACCEPT_JSON,
        }
    }
}

impl ListWatch for RestListWatch {
    fn list(&mut self, page: &PageRequest<'_>) -> Result<PageReader<'_>, Error> {
        let request = format!("list {}", self.target);
        let path = self.address.list(page);
        let get = Get {
            request: &request,
            path_and_query: &path,
            accept: self.list_accept(),
            gzip: true,
            head_limit: LIST_HEAD_LIMIT,
            read_limit: LIST_READ_LIMIT,
        };
        // No head comes from a server that needs longer for so many objects than it may.
        let response = self
            .http
            .get(&get)
            .map_err(|error| if error.is_unanswered() { Error::TooSlow { request: request.clone() } } else { error })?;
        let mut response = self.counted(response);
        // Of secrets nothing but metadata is read; of other kinds the metadata in whole objects is what was asked for.
        let is_secrets = self.target.gvr.is_secrets();
        let front =
            if is_secrets { self.read_metadata_front(&request, &mut response).map_err(slow_or_broken)? } else { Vec::new() };
        Ok(PageReader::new(request, self.http.server(), Box::new(response)).after(front))
    }

    fn watch(&mut self, start: &WatchStart, timeout: Duration) -> Result<Box<dyn WatchLines + '_>, Error> {
        let request = format!("watch {}", self.target);
        let path = self.address.watch(start, timeout);
        let response = self.http.get(&Get {
            request: &request,
            path_and_query: &path,
            accept: self.watch_accept(),
            gzip: false,
            head_limit: match start {
                WatchStart::InitialEvents => STREAMING_LIST_HEAD_LIMIT,
                WatchStart::After(_) => WATCH_HEAD_LIMIT,
            },
            read_limit: READ_TICK,
        })?;
        let response = match start {
            WatchStart::InitialEvents => Box::new(self.counted(response)),
            WatchStart::After(_) => response,
        };
        Ok(Box::new(RestLines { lines: Lines::new(response), request, source: self }))
    }

    fn asks_everywhere(&self) -> bool {
        !self.namespaces.is_empty() && self.namespace().is_none()
    }

    fn lookup(&mut self, proof: Proof) -> Result<Served, Error> {
        let path = self.address.list(&PageRequest { limit: 1, token: None });
        let proof = match proof {
            Proof::Documents => None,
            Proof::Server => Some(lookup::Proof { cluster_uid: self.cluster_uid.as_deref(), path_and_query: &path }),
        };
        let (served, scope) = lookup(self.http.as_ref(), &self.target.gvr, proof)?;
        if let Some(scope) = scope
            && self.scope != Some(scope)
        {
            self.scope = Some(scope);
            self.address = self.address();
        }
        Ok(served)
    }

    fn version(&mut self) -> Result<Option<ServerVersion>, Error> {
        server_version(self.http.as_ref())
    }

    fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    fn interrupter(&self) -> Option<Interrupt> {
        Some(self.http.interrupt())
    }

    fn blotter(&self) -> Blotter {
        self.http.blotter()
    }

    fn renew(&mut self) {
        self.http.renew();
    }
}

/// Counts what is read of an answer.
struct Counted {
    response: Box<dyn Read>,
    received: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.response.read(buffer)?;
        self.received.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl std::fmt::Debug for RestListWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestListWatch")
            .field("server", &self.http.server())
            .field("target", &self.target)
            .field("scope", &self.scope)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// The lines of one watch, and what to call it in errors.
struct RestLines<'a> {
    lines: Lines<Box<dyn Read>>,
    request: String,
    source: &'a RestListWatch,
}

impl WatchLines for RestLines<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        self.lines.next_line().map_err(|error| read_error(&self.request, self.source.http.server(), error))
    }

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.source.past(page)
    }

    fn is_ready(&mut self) -> bool {
        self.lines.is_ready()
    }

    fn bytes_received(&self) -> u64 {
        self.lines.bytes_received()
    }
}

const NOT_METADATA: &str = "metadata was asked for and something else came; it was dropped unread";

/// Longest wait for the head of a list: the time after which kube-apiserver itself gives up (`--request-timeout`), and some.
const LIST_HEAD_LIMIT: Duration = Duration::from_secs(70);

/// Longest silence within a list: by then the server has written what it holds in memory, or is gone.
const LIST_READ_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for the head of a watch, which the server sends before the first event.
const WATCH_HEAD_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for the head of a streaming list. A proxy that holds a stream back may hold its head back too; after 10 s
/// without a byte the informer lists by pages.
const STREAMING_LIST_HEAD_LIMIT: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests;
