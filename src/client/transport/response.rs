//! What a request gives: a body to read, or an error that says what to do.

use super::{Answer, Get};
use crate::api::Status;
use crate::client::error::NoHead;
use crate::client::interrupt::Ending;
use crate::client::url::Url;
use crate::client::{Blotter, Error};
use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime};
use ureq::http::header::{CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER};

/// A successful answer (2xx); the body is read from it. Dropped before its end, it closes the connection.
pub struct Response {
    /// The header `Content-Type`, empty when absent.
    pub content_type: String,
    request: Box<str>,
    body: ureq::BodyReader<'static>,
    ending: Ending,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

impl Read for Response {
    /// Fails with [`TimedOut`](io::ErrorKind::TimedOut) when no byte came for the read limit; the next read goes on from there.
    /// Fails with [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the connection breaks before the answer has ended, and with
    /// [`Error::Stopped`] inside once interrupted.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.body.read(buffer);
        if self.ending.has_come() {
            // An end that our own shutdown made must not look like the server's.
            return Err(io::Error::other(Error::Stopped { request: self.request.to_string() }));
        }
        result.map_err(plain_io)
    }
}

/// Splits answers into successes and errors.
pub(super) fn judge(
    get: &Get<'_>,
    mut answer: Answer,
    server: &str,
    ending: &Ending,
    blotter: &Blotter,
) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        let content_type = header(&answer, &CONTENT_TYPE).to_owned();
        // No API server answers so to anything that is asked here.
        if content_type.trim_start().get(..HTML.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(HTML)) {
            return Err(Error::Page { request: get.request.to_owned(), server: server.to_owned(), code: status.as_u16() });
        }
        let body = answer.into_body().into_reader();
        return Ok(Response { content_type, request: get.request.into(), body, ending: ending.clone() });
    }
    if status.is_redirection() {
        // Whole, as it is cut afterwards.
        let location = shown_location(&blotter.blotted(header(&answer, &LOCATION).to_owned()));
        let reason = format!("{server} redirects to {location} ({}); write the API server's own URL as server", status.as_u16());
        return Err(Error::Undecodable { request: get.request.to_owned(), reason });
    }
    let retry_after = retry_after(header(&answer, &RETRY_AFTER), header(&answer, &DATE), SystemTime::now());
    let body = read_error_body(&mut answer, get.head_limit);
    let status = Status::from_body(status.as_u16(), &blotter.blot_bytes(&body).unwrap_or(body));
    Err(Error::Status { request: get.request.to_owned(), status, retry_after })
}

/// How long `Retry-After` asks to wait: seconds, or until a date by the server's clock, which the header `Date` tells (RFC 9110,
/// section 10.2.3).
fn retry_after(value: &str, date: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let parse = |text: &str| httpdate::parse_http_date(text.trim()).ok();
    let until = parse(value)?;
    Some(until.duration_since(parse(date).unwrap_or(now)).unwrap_or_default())
}

/// As much of an error's body as is of use; a body that breaks off is used as far as it came.
pub(super) fn read_error_body(answer: &mut Answer, limit: Duration) -> Vec<u8> {
    let deadline = Instant::now() + limit;
    let mut reader = answer.body_mut().as_reader();
    let mut body = Vec::new();
    let mut chunk = [0; 4096];
    while body.len() < ERROR_BYTES_MAX && Instant::now() < deadline {
        match reader.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(amount) => body.extend_from_slice(&chunk[..amount]),
        }
    }
    body.truncate(ERROR_BYTES_MAX);
    body
}

/// Names a request that failed before its answer was there.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
pub(super) fn failure(request: &str, server: &str, ending: &Ending, error: ureq::Error) -> Error {
    let request = request.to_owned();
    if ending.has_come() {
        return Error::Stopped { request };
    }
    let source: Box<dyn std::error::Error + Send + Sync> = match error {
        ureq::Error::Other(inner) => inner,
        ureq::Error::Io(inner) if inner.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection without an answer".into()
        }
        ureq::Error::Io(inner) => inner.into(),
        ureq::Error::Timeout(ureq::Timeout::RecvResponse) => Box::new(NoHead),
        ureq::Error::Timeout(_) => "no answer came in time".into(),
        ureq::Error::Protocol(inner) => format!("what answers there does not speak HTTP: {inner}").into(),
        other => other.into(),
    };
    Error::Connection { request, server: server.to_owned(), source }
}

/// The error of a read without ureq's wrapping, its kind as callers branch on it.
fn plain_io(error: io::Error) -> io::Error {
    match error.downcast::<ureq::Error>() {
        Ok(ureq::Error::Timeout(_)) => io::Error::new(io::ErrorKind::TimedOut, "no byte came in time"),
        Ok(ureq::Error::Io(inner)) => inner,
        Ok(ureq::Error::Other(inner)) => io::Error::other(inner),
        Ok(other) => io::Error::new(io::ErrorKind::InvalidData, other),
        Err(error) => error,
    }
}

/// Where a redirect leads, without what may be secret in it.
fn shown_location(location: &str) -> String {
    let plain = location.split(['?', '#']).next().unwrap_or_default();
    match Url::parse(plain, "") {
        Ok(url) => format!("{}://{}", url.scheme, url.authority(if url.scheme == "http" { 80 } else { 443 })),
        Err(_) if plain.starts_with('/') => plain.chars().filter(|c| !c.is_control()).take(LOCATION_CHARS_MAX).collect(),
        Err(_) => "another place".to_owned(),
    }
}

fn header<'a>(answer: &'a Answer, name: &HeaderName) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The type of a page for people.
const HTML: &str = "text/html";
/// How much of an error's body is read. A `Status` takes 1 KB, a proxy's page some more.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// How much of a redirect's path goes into an error.
const LOCATION_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_by_the_servers_clock() {
        let now = httpdate::parse_http_date("Fri, 27 Nov 2026 12:00:00 GMT").unwrap();
        for (value, date, expected) in [
            ("7", "", Some(7)),
            (" 7 ", "Fri, 27 Nov 2026 13:00:00 GMT", Some(7)),
            ("Fri, 27 Nov 2026 12:00:20 GMT", "", Some(20)),
            ("Fri, 27 Nov 2026 13:00:05 GMT", "Fri, 27 Nov 2026 13:00:00 GMT", Some(5)),
            ("Fri, 27 Nov 2026 11:00:00 GMT", "", Some(0)),
            ("Friday, 27-Nov-26 12:00:20 GMT", "", Some(20)),
            ("Tue, 31 Feb 2026 12:00:20 GMT", "", None),
            ("soon", "", None),
            ("", "", None),
        ] {
            assert_eq!(retry_after(value, date, now), expected.map(Duration::from_secs), "{value:?} at {date:?}");
        }
    }
}
