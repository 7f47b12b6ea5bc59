//! What can go wrong between Faro and an API server.

use super::{Blotter, SetupError};
use crate::api::{Fault, Status};
use crate::chain::chain;
use std::time::Duration;

/// Why a request, or the way to one, failed. Texts never hold credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error status.
    #[error("{request}: {} {}{}", status.code, status.message, cure(status))]
    Status {
        /// What was asked, as in `list v1/pods`.
        request: String,
        /// What the server said.
        status: Status,
        /// The header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The connection could not be made, broke, or stayed silent for too long.
    #[error("{request}: no answer from {server}")]
    Connection {
        /// What was asked.
        request: String,
        /// The server's URL.
        server: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A page for people came where the API was asked: the server was not reached.
    #[error(
        "{request}: {server} answered with an HTML page ({code}): a proxy or a login page is between here and the API server; \
         go through it by proxy-url or a login that it accepts, or past it"
    )]
    Page {
        /// What was asked.
        request: String,
        /// The server's URL.
        server: String,
        /// The status of the answer.
        code: u16,
    },
    /// An answer came but could not be understood.
    #[error("{request}: cannot read the answer: {reason}")]
    Undecodable {
        /// What was asked.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An answer was longer than its limit.
    #[error("{request}: the answer is longer than {limit_bytes} bytes")]
    TooLong {
        /// What was asked.
        request: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// An answer had not come whole when its time was over.
    #[error("{request}: the answer did not come whole in time")]
    TooSlow {
        /// What was asked.
        request: String,
    },
    /// No credentials could be had to send the request with.
    #[error("{request}: no credentials for {server}")]
    Credentials {
        /// What was asked.
        request: String,
        /// The server's URL.
        server: String,
        /// Why not.
        source: SetupError,
    },
    /// Faro stops, and ended the request.
    #[error("{request}: ended because Faro stops")]
    Stopped {
        /// What was asked.
        request: String,
    },
}

impl Error {
    /// What kind of failure this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Status { status, retry_after, .. } => status.fault(*retry_after),
            Self::Connection { .. } => Fault::Connection,
            // Whoever answers so in its place, of the server itself it says nothing.
            Self::Page { .. } => Fault::Server,
            Self::Undecodable { .. } => Fault::Undecodable,
            Self::TooLong { .. } | Self::TooSlow { .. } => Fault::TooLong,
            Self::Credentials { .. } => Fault::Unauthorized,
            Self::Stopped { .. } => Fault::Stopped,
        }
    }

    /// The same error without what the request carried. What is read of a status has nothing of it any more.
    pub(crate) fn blotted(self, blotter: &Blotter) -> Self {
        match self {
            Self::Connection { request, server, source } => {
                let source = blotter.blot(&chain(&*source)).map_or(source, Into::into);
                Self::Connection { request, server, source }
            }
            Self::Undecodable { request, reason } => Self::Undecodable { request, reason: blotter.blotted(reason) },
            other @ (Self::Status { .. }
            | Self::Page { .. }
            | Self::TooLong { .. }
            | Self::TooSlow { .. }
            | Self::Credentials { .. }
            | Self::Stopped { .. }) => other,
        }
    }

    /// Whether the request was sent and then nothing came, not even the head of an answer: the server may be gone, or something on
    /// the way may hold its answer back.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.is::<NoHead>(),
            Self::Status { .. }
            | Self::Page { .. }
            | Self::Undecodable { .. }
            | Self::TooLong { .. }
            | Self::TooSlow { .. }
            | Self::Credentials { .. }
            | Self::Stopped { .. } => false,
        }
    }
}

/// The head of an answer did not come in time, over a sound connection.
#[derive(Debug, thiserror::Error)]
#[error("no answer came in time")]
pub(crate) struct NoHead;

/// What to do about an answer whose own words do not say it.
fn cure(status: &Status) -> &'static str {
    match status.code {
        401 => "; the server does not accept these credentials: log in again, or correct the user of the context",
        403 if status.message.contains("cannot get path") => {
            "; bind the ClusterRole system:discovery, by which clients learn what is served"
        }
        400 if status.message.contains("HTTP request to an HTTPS server") => "; write https:// in the kubeconfig's server",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, message: &str, expected: &str) {
        let status = Status::from_body(code, message.as_bytes());
        let error = Error::Status { request: "discover /api".to_owned(), status, retry_after: None };
        assert_eq!(error.to_string(), format!("discover /api: {code} {message}{expected}"));
    }

    #[test]
    fn an_answer_that_leaves_people_alone_is_told_with_its_cure() {
        check(
            401,
            "Unauthorized",
            "; the server does not accept these credentials: log in again, or correct the user of the context",
        );
        let path = "forbidden: User \"u\" cannot get path \"/api\"";
        check(403, path, "; bind the ClusterRole system:discovery, by which clients learn what is served");
        let scheme = "Client sent an HTTP request to an HTTPS server.";
        check(400, scheme, "; write https:// in the kubeconfig's server");
        check(403, "pods is forbidden: User \"u\" cannot list resource \"pods\"", "");
        check(500, "boom", "");
    }
}
