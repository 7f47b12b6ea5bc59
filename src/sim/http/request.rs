//! Reads requests: bounded, kept alive, with any body that HTTP/1.1 allows.

use crate::sim::api::Request;
use bytes::Bytes;
use std::io::{self, Read, Write};

/// Reads one request after another from a connection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What was read and not yet used.
    ahead: Vec<u8>,
}

/// What came.
pub(super) enum Received {
    Request {
        request: Request,
        keep_alive: bool,
    },
    /// The client has ended the connection.
    Left,
    /// No request that can be answered otherwise: the code and its words.
    Refused(u16, &'static str),
}

impl Reader {
    /// The next request, whole.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub(super) fn next(&mut self, stream: &mut (impl Read + Write)) -> io::Result<Received> {
        let Some(end) = self.head_end(stream)? else {
            return Ok(if self.ahead.is_empty() {
                Received::Left
            } else {
                Received::Refused(431, "Request Header Fields Too Large")
            });
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        let Some((mut request, keep_alive)) = parse(&head) else {
            return Ok(Received::Refused(400, "Bad Request"));
        };
        if header(&request, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = match (header(&request, "transfer-encoding"), header(&request, "content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => self.chunked(stream)?,
            (Some(_), _) => return Ok(Received::Refused(501, "Unsupported transfer encoding")),
            (None, Some(length)) => match length.parse::<usize>() {
                Ok(length) => self.sized(stream, length)?,
                Err(_) => return Ok(Received::Refused(400, "Bad Request")),
            },
            (None, None) => Some(Vec::new()),
        };
        self.ahead.shrink_to(AHEAD_BYTES_KEPT);
        Ok(match body {
            Some(body) => {
                request.body = Bytes::from(body);
                Received::Request { request, keep_alive }
            }
            None => Received::Refused(413, "Request entity too large: limit is 3145728"),
        })
    }

    /// Where the head ends; `None` when the client left or the head is too long.
    fn head_end(&mut self, stream: &mut impl Read) -> io::Result<Option<usize>> {
        let mut searched = 0;
        loop {
            if let Some(found) = memchr::memmem::find(&self.ahead[searched..], b"\r\n\r\n") {
                return Ok(Some(searched + found + 4));
            }
            searched = self.ahead.len().saturating_sub(3);
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Ok(None);
            }
            if self.more(stream)? == 0 {
                self.ahead.clear();
                return Ok(None);
            }
        }
    }

    fn more(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        let mut piece = [0; PIECE_BYTES];
        let read = stream.read(&mut piece)?;
        self.ahead.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    fn sized(&mut self, stream: &mut impl Read, length: usize) -> io::Result<Option<Vec<u8>>> {
        if length > BODY_BYTES_MAX {
            return Ok(None);
        }
        while self.ahead.len() < length {
            if self.more(stream)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some(self.ahead.drain(..length).collect()))
    }

    fn chunked(&mut self, stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(stream)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                while !self.line(stream)?.is_empty() {}
                return Ok(Some(body));
            }
            let Some(chunk) = self.sized(stream, size)? else { return Ok(None) };
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX || !self.line(stream)?.is_empty() {
                return Ok(None);
            }
        }
    }

    /// A line within a chunked body, without its end.
    fn line(&mut self, stream: &mut impl Read) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.ahead.len() > CHUNK_LINE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.more(stream)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// As Go's net/http has it.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// What an API server accepts.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// Holds a usual request; there is one such piece on each connection's stack.
const PIECE_BYTES: usize = 4096;

/// What an idle connection keeps.
const AHEAD_BYTES_KEPT: usize = 1024;

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The request without its body, and whether the connection stays.
fn parse(head: &[u8]) -> Option<(Request, bool)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || method.is_empty() || !target.starts_with('/') {
        return None;
    }
    let mut headers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name, true), decoded(value, true))
    });
    let request =
        Request { method: method.to_owned(), path: decoded(path, false), query: query.collect(), headers, ..Request::default() };
    let connection = header(&request, "connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = if version == "HTTP/1.0" { connection == "keep-alive" } else { connection != "close" };
    Some((request, keep_alive))
}

/// Percent signs resolved; what is no escape stays as it is.
fn decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escape = behind.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(if plus_is_space && *first == b'+' { b' ' } else { *first });
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A client that sends one byte a read.
    struct Slow(VecDeque<u8>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(self.0.pop_front().map_or(0, |byte| {
                buffer[0] = byte;
                1
            }))
        }
    }

    impl Write for Slow {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is read from `bytes`, request by request.
    fn check(bytes: &[u8], expected: &[&str]) {
        let (mut reader, mut stream) = (Reader::default(), Slow(bytes.iter().copied().collect()));
        let mut found = Vec::new();
        loop {
            found.push(match reader.next(&mut stream) {
                Ok(Received::Request { request, keep_alive }) => {
                    let body = String::from_utf8_lossy(&request.body).into_owned();
                    format!("{} {} {:?} {body} {keep_alive}", request.method, request.path, request.query)
                }
                Ok(Received::Left) => "left".to_owned(),
                Ok(Received::Refused(code, _)) => code.to_string(),
                Err(error) => format!("{:?}", error.kind()),
            });
            if !found.last().unwrap().contains(' ') {
                break;
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn requests_are_read_one_after_another_with_their_bodies() {
        check(b"", &["left"]);
        check(
            b"GET /api/v1/pods?labelSelector=app%3Dweb%2Ctier+in+(a)&watch HTTP/1.1\r\nHost: x\r\n\r\nDELETE /a%20b HTTP/1.1\r\nConnection: close\r\n\r\n",
            &[r#"GET /api/v1/pods [("labelSelector", "app=web,tier in (a)"), ("watch", "")]  true"#, "DELETE /a b []  false", "left"],
        );
        check(b"POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello", &["POST /a [] hello true", "left"]);
        check(
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            &["POST /a [] hello true", "GET / []  false", "left"],
        );
    }

    #[test]
    fn what_is_no_request_is_refused_and_a_cut_one_is_an_error() {
        check(b"hello\r\n\r\n", &["400"]);
        check(b"GET / HTTP/2\r\n\r\n", &["left"].map(|_| "400"));
        check(b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", &["400"]);
        check(b"POST / HTTP/1.1\r\nContent-Length: 3145729\r\n\r\n", &["413"]);
        check(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel", &["UnexpectedEof"]);
        check(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", &["InvalidData"]);
        let mut long = b"GET / HTTP/1.1\r\nX: ".to_vec();
        long.resize(HEAD_BYTES_MAX + 100, b'x');
        check(&long, &["431"]);
    }
}
