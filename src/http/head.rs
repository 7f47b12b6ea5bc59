//! Reads the head of a request: strict, without I/O, and only as much of HTTP/1.1 (RFC 9112) as an answer depends on.

use std::fmt;

/// A request that is answered: GET or HEAD, without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// HEAD: the answer goes without its body.
    pub(super) head_only: bool,
    /// Begins with a slash; not decoded.
    pub(super) path: String,
    /// What follows the question mark; empty when nothing does.
    pub(super) query: String,
    /// The token of the header `Authorization`, where there is one.
    pub(super) bearer: Option<Bearer>,
}

/// A token that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bearer(Vec<u8>);

impl Bearer {
    pub(super) fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// RFC 6750; the word before it in any case.
    fn of(value: &[u8]) -> Option<Self> {
        let (scheme, token) = value.split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| Self(token.trim_ascii().to_vec()))
    }
}

const BEARER: &[u8] = b"Bearer ";

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This is no HTTP.
    Malformed(&'static str),
    /// Neither GET nor HEAD.
    Method,
    /// The head did not come in time.
    TooSlow,
    /// A body was announced.
    Body,
    /// The head is longer than allowed.
    TooLarge,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

/// Where the head in `bytes` ends, behind its empty line. `searched` bytes were there when last asked.
pub(super) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // The empty line may have begun among those: its first two bytes at most.
    let from = searched.saturating_sub(2);
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at + 1).find_map(|next| match &bytes[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

/// Reads a whole head, its empty line included.
pub(super) fn parse(head: &[u8]) -> Result<Request, Refusal> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.next().unwrap_or_default();
    let (head_only, target, version) = parse_request_line(request_line)?;
    let (mut hosts, mut bearer) = (0, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = parse_field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"authorization") {
            bearer = Bearer::of(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(Refusal::Body);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            refuse_body(value)?;
        }
    }
    if hosts > 1 || (hosts == 0 && version == Version::Http11) {
        return Err(Refusal::Malformed("exactly one Host is expected"));
    }
    let (path, query) = split_target(target)?;
    Ok(Request { head_only, path: path.to_owned(), query: query.to_owned(), bearer })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// Whether it is HEAD, the target, and the version.
fn parse_request_line(line: &[u8]) -> Result<(bool, &str, Version), Refusal> {
    let malformed = Refusal::Malformed("a request line is expected, such as `GET /ready HTTP/1.1`");
    let line = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let parts: Vec<&str> = line.ok_or(malformed)?.split(' ').collect();
    let [method, target, version] = parts[..] else { return Err(malformed) };
    if !is_token(method.as_bytes()) || target.is_empty() {
        return Err(malformed);
    }
    let version = match version {
        "HTTP/1.0" => Version::Http10,
        "HTTP/1.1" => Version::Http11,
        other if other.starts_with("HTTP/") => return Err(Refusal::Version),
        _ => return Err(malformed),
    };
    match method {
        "GET" => Ok((false, target, version)),
        "HEAD" => Ok((true, target, version)),
        _ => Err(Refusal::Method),
    }
}

/// A header's name and its value, without the blanks around it.
fn parse_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let malformed = Refusal::Malformed("a header is expected, such as `Host: example.com`");
    let colon = memchr::memchr(b':', line).ok_or(malformed)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    if is_token(name) && is_value { Ok((name, value.trim_ascii())) } else { Err(malformed) }
}

fn refuse_body(content_length: &[u8]) -> Result<(), Refusal> {
    if content_length.is_empty() || !content_length.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed("Content-Length is a number"));
    }
    if content_length.iter().all(|digit| *digit == b'0') { Ok(()) } else { Err(Refusal::Body) }
}

/// Path and query of a target, be it `/path?query` or `http://host/path?query`, as proxies send it.
fn split_target(target: &str) -> Result<(&str, &str), Refusal> {
    let origin = match target.strip_prefix("http://") {
        Some(rest) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    match path {
        "" => Ok(("/", query)),
        _ if path.starts_with('/') => Ok((path, query)),
        _ => Err(Refusal::Malformed("a path that begins with a slash is expected")),
    }
}

/// As RFC 9110 defines it: the characters of methods and header names.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: &str) {
        let found = match parse(head.as_bytes()) {
            Ok(request) => {
                let method = if request.head_only { "HEAD" } else { "GET" };
                format!("{method} {} {}", request.path, request.query).trim_end().to_owned()
            }
            Err(Refusal::Malformed(_)) => "malformed".to_owned(),
            Err(refusal) => format!("{refusal:?}"),
        };
        assert_eq!(found, expected, "{head:?}");
    }

    #[test]
    fn heads_are_read_as_the_standard_says() {
        check("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n", "GET /ready");
        check("HEAD /ready?strict=1 HTTP/1.1\r\nhost:a\r\n\r\n", "HEAD /ready strict=1");
        check("GET / HTTP/1.0\r\n\r\n", "GET /");
        check("GET / HTTP/1.1\nHost: a\n\n", "GET /");
        check("GET http://a:80/ready?strict=1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /ready strict=1");
        check("GET http://a?strict=1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / strict=1");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "GET /");
        check("GET / HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\t1\r\n\r\n", "GET /");
        check("GET ///../ HTTP/1.1\r\nHost: a\r\n\r\n", "GET ///../");
    }

    #[test]
    fn what_is_not_a_request_without_a_body_is_refused() {
        check("\r\n\r\n", "malformed");
        check("\n\n", "malformed");
        check("GET /\r\n\r\n", "malformed");
        check("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "malformed");
        check("GET / http/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("GET ready HTTP/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "Body");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", "Body");
        check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", "Body");
        check("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "Body");
        check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", "Method");
        check("get / HTTP/1.1\r\nHost: a\r\n\r\n", "Method");
        check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "Method");
        check("PRI * HTTP/2.0\r\n\r\n", "Version");
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        for head in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\nHost: a\n\r\n"] {
            let bytes = [head.as_bytes(), b"GET /next HTTP/1.1\r\n\r\n"].concat();
            for cut in 0..head.len() {
                assert_eq!(end(&bytes[..cut], 0), None, "{head:?} up to {cut}");
                assert_eq!(end(&bytes, cut), Some(head.len()), "{head:?} after {cut}");
            }
        }
    }
}
