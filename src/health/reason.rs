//! Why a watch is not as it should be, in words of which there are few: probes are open to everyone.
//!
//! What a server, a proxy or a plugin says about it is in the log, and never here.

use serde::{Serialize, Serializer};
use std::fmt;

/// One of a closed set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The condition says it all.
    #[default]
    None,
    /// A stream ended in a way in which it should not.
    Ended,
    /// The server no longer has the version to go on from (410).
    Expired,
    /// The right to list or watch is missing (403).
    Forbidden,
    /// No credentials could be had: a file, a plugin or a login is at fault.
    NoCredentials,
    /// The first list was read, and not accepted yet by every handler and output that it is for.
    NotAccepted,
    /// The server does not find what was asked for (404), which is looked into.
    NotFound,
    /// The kind is not served; it is waited for.
    NotServed,
    /// The server does not accept what is asked for, and will not later: a selector is wrong.
    Refused,
    /// The server answers with an error of its own (5xx).
    ServerError,
    /// Neither event, bookmark nor end came in time.
    Silent,
    /// The server is starting to serve the kind.
    Starting,
    /// The server asks to be left alone (429).
    Throttled,
    /// The server does not accept the credentials (401).
    Unauthorized,
    /// The server or a proxy says that it is not there for now (503).
    Unavailable,
    /// What came is not what an API server answers, or too long, or too slow.
    Undecodable,
    /// No connection can be made, or it breaks.
    Unreachable,
    /// The list holds objects of which not even the names can be read.
    UnreadableObjects,
    /// Another version of the kind is served.
    VersionGone,
}

impl Reason {
    /// Of an error answer with this code.
    pub fn of_code(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Expired,
            429 => Self::Throttled,
            503 => Self::Unavailable,
            400 | 405 | 406 | 422 | 501 => Self::Refused,
            _ => Self::ServerError,
        }
    }

    /// As probes have it; empty where the condition says it all.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::NoCredentials => "no_credentials",
            Self::NotAccepted => "not_accepted",
            Self::NotFound => "not_found",
            Self::NotServed => "not_served",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Silent => "silent",
            Self::Starting => "starting",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Undecodable => "undecodable",
            Self::Unreachable => "unreachable",
            Self::UnreadableObjects => "unreadable_objects",
            Self::VersionGone => "version_gone",
        }
    }

    /// Whether there is nothing to say.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
