//! Answers one request as a real API server does.

use super::state::State;
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
    let _ = (state, request);
    Reply::Document { code: 404, headers: Vec::new(), body: Bytes::new() }
}
