//! What a server answers when it does not do what was asked, and what kind of failure that is.

use crate::shown::push_shown;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::time::Duration;

/// A `Status` object: the body of an HTTP error and of an in-stream `ERROR`. Every field may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// The HTTP code, also of an error inside a stream.
    pub code: u16,
    /// A word for machines, as in `Expired`.
    #[serde(deserialize_with = "bounded")]
    pub reason: String,
    /// A sentence for people, cut off where it is very long.
    #[serde(deserialize_with = "bounded")]
    pub message: String,
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
    causes: Vec<Cause>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

/// The kind of a failure: what the informer decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 410: the server no longer has that version.
    Expired,
    /// The server does not know that version yet, and after a restore from a backup never will.
    UnknownVersion,
    /// 400, 405, 406, 422, 501: the server does not do what was asked in the form it was asked.
    Refused,
    /// 401, after credentials were refreshed once.
    Unauthorized,
    /// 403: the credentials do not allow it.
    Forbidden,
    /// 404: the path is not served, for now or for ever.
    NotFound,
    /// 429, 503: later, and when the server said so, not before.
    Busy {
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Any other error answer.
    Server,
    /// The connection could not be made, broke, or the answer did not come in time.
    Connection,
    /// An answer came but could not be understood.
    Undecodable,
    /// An answer was longer than its limit, or had not come whole in time; a smaller page may fit.
    TooLong,
    /// Faro itself ended the request because it stops.
    Stopped,
}

impl Status {
    /// Reads a status from an error body, or makes one from `code` where the body is none (a plain 404, a proxy's page).
    pub fn from_body(code: u16, body: &[u8]) -> Self {
        let mut status: Self = serde_json::from_slice(body).unwrap_or_default();
        if status.message.is_empty() {
            status.message = front(&String::from_utf8_lossy(body), MESSAGE_CHARS_MAX);
        }
        status.code = code;
        status
    }

    /// The kind of this failure. `retry_after` is the header of that name, which outranks the body's.
    pub fn fault(&self, retry_after: Option<Duration>) -> Fault {
        match self.code {
            410 => Fault::Expired,
            _ if self.is_of_a_future_version() => Fault::UnknownVersion,
            400 | 405 | 406 | 422 | 501 => Fault::Refused,
            401 => Fault::Unauthorized,
            403 => Fault::Forbidden,
            404 => Fault::NotFound,
            429 | 503 => Fault::Busy { retry_after: retry_after.or_else(|| self.retry_after()) },
            _ => Fault::Server,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// The server's own word for it: a load balancer says 504, too, and knows nothing of versions. Before 1.34 an exact list asks
    /// etcd itself, whose error comes as a 500 (`ErrFutureRev` of its API).
    fn is_of_a_future_version(&self) -> bool {
        let mut causes = self.details.iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
            || (self.code == 500 && self.message.contains("required revision is a future revision"))
    }
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(front(&Option::<Cow<'de, str>>::deserialize(deserializer)?.unwrap_or_default(), STATUS_CHARS_MAX))
}

/// On one line, and as people may see it.
fn front(text: &str, chars_max: usize) -> String {
    let mut front = String::new();
    text.trim().chars().take(chars_max).for_each(|c| push_shown(&mut front, c));
    front
}

/// How much of a `Status` is kept of each of its texts: they go into logs, and into what probes are told.
const STATUS_CHARS_MAX: usize = 2000;

/// How much of a body that is no `Status` is kept for the message.
const MESSAGE_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, body: &str, expected: Fault) {
        assert_eq!(Status::from_body(code, body.as_bytes()).fault(None), expected, "{code} {body}");
    }

    #[test]
    fn texts_are_bounded_and_stay_on_one_line() {
        let body = format!(r#"{{"code":500,"reason":null,"message":"a\n\u001b[31mb{}"}}"#, "x".repeat(1 << 20));
        let status = Status::from_body(500, body.as_bytes());
        assert!(status.message.starts_with("a\\n\\u{1b}[31mbxxx"), "{}", &status.message[..20]);
        assert_eq!(status.message.len(), STATUS_CHARS_MAX + "\\n\\u{1b}".len() - 2, "two characters are escaped");
        assert_eq!(status.reason, "");
    }

    #[test]
    fn tells_the_kind_of_each_failure() {
        check(410, "", Fault::Expired);
        check(504, r#"{"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#, Fault::UnknownVersion);
        check(500, r#"{"message":"etcdserver: mvcc: required revision is a future revision"}"#, Fault::UnknownVersion);
        check(504, "<html>Gateway Timeout</html>", Fault::Server);
        check(504, r#"{"kind":"Status","message":"Timeout: Too large resource version: 9, current: 3"}"#, Fault::Server);
        check(501, "{}", Fault::Refused);
        check(422, "{}", Fault::Refused);
        check(401, "{}", Fault::Unauthorized);
        check(403, "{}", Fault::Forbidden);
        check(404, "404 page not found\n", Fault::NotFound);
        check(429, r#"{"details":{"retryAfterSeconds":3}}"#, Fault::Busy { retry_after: Some(Duration::from_secs(3)) });
        check(503, "<html>", Fault::Busy { retry_after: None });
        check(500, "", Fault::Server);
    }

    #[test]
    fn keeps_a_plain_body_as_the_message() {
        let status = Status::from_body(404, b"404 page not found\n");
        assert_eq!((status.code, status.message.as_str()), (404, "404 page not found"));
    }
}
