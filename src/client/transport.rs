//! HTTP to one API server. The only module that uses ureq, whose `unversioned` part is outside its version promise.

use super::Error;
use std::io::{self, Read};
use std::time::Duration;

/// One API server and how to log in. Cheap to clone; holds no connection.
#[derive(Clone, Debug)]
pub struct Client {}

/// The connections of one watch. Requests are made one at a time.
#[derive(Debug)]
pub struct Transport {}

/// Ends a transport's requests from another thread, for good.
#[derive(Clone, Debug)]
pub struct Interrupt {}

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
    /// A read of the body that gets no byte for this long fails with [`io::ErrorKind::TimedOut`] and may be repeated.
    pub read_limit: Duration,
}

/// A successful answer (2xx); the body is read from it.
pub struct Response {
    /// The header `Content-Type`, empty when absent.
    pub content_type: String,
}

impl Client {
    /// Opens no connection yet.
    pub fn transport(&self) -> Transport {
        todo!()
    }

    /// The server's URL, without credentials.
    pub fn server(&self) -> &str {
        todo!()
    }
}

impl Transport {
    /// Sends the request with credentials; refreshes them once on a 401.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] for any answer but 2xx, with at most 64 KiB of its body read.
    pub fn get(&self, get: &Get<'_>) -> Result<Response, Error> {
        todo!()
    }

    /// The server's URL, without credentials.
    pub fn server(&self) -> &str {
        todo!()
    }

    /// A handle that ends requests from another thread.
    pub fn interrupt(&self) -> Interrupt {
        todo!()
    }
}

impl Interrupt {
    /// Ends the request under way, and every later one, with [`Error::Stopped`].
    pub fn interrupt(&self) {
        todo!()
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
