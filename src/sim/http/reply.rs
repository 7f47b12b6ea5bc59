//! Puts answers into bytes: heads, documents whole or chunked or compressed, the lines of a watch.

use crate::sim::api::Request;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::io::Write as _;

/// The head of a stream.
pub(super) fn stream_head(headers: &[(&'static str, String)]) -> Vec<u8> {
    let mut head = head(200, headers);
    head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    head.into_bytes()
}

/// A whole answer.
pub(super) fn document(
    request: &Request,
    code: u16,
    headers: &[(&'static str, String)],
    body: &Bytes,
    keep_alive: bool,
) -> Vec<u8> {
    let mut head = head(code, headers);
    if !keep_alive {
        head.push_str("Connection: close\r\n");
    }
    let is_compressed = code == 200 && body.len() > GZIP_BYTES_MIN && accepts_gzip(request);
    if is_compressed {
        head.push_str("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
    }
    if body.len() <= LENGTH_KNOWN_BYTES_MAX {
        let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        return bytes;
    }
    head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    if is_compressed {
        push_chunk(&mut bytes, &compressed(body));
    } else {
        push_chunk(&mut bytes, body);
    }
    bytes.extend_from_slice(LAST_CHUNK);
    bytes
}

/// One chunk, whole.
pub(super) fn push_chunk(bytes: &mut Vec<u8>, data: &[u8]) {
    push_chunk_size(bytes, data.len());
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
}

/// Says that a chunk of `size` bytes follows.
pub(super) fn push_chunk_size(bytes: &mut Vec<u8>, size: usize) {
    write!(bytes, "{size:x}\r\n").expect("memory takes every write");
}

/// A short answer in plain words, for what never reaches the API.
pub(super) fn refusal(code: u16, words: &str) -> Vec<u8> {
    let headers = [("Content-Type", "text/plain; charset=utf-8".to_owned())];
    document(&Request::default(), code, &headers, &Bytes::from(format!("{code} {words}")), false)
}

/// Ends a chunked answer.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A real server compresses longer lists when asked.
const GZIP_BYTES_MIN: usize = 128 * 1024;

/// Go's net/http knows the length of what fits its first buffer, and chunks the rest.
const LENGTH_KNOWN_BYTES_MAX: usize = 2048;

fn accepts_gzip(request: &Request) -> bool {
    let mut accepted = request.headers.iter().filter(|(name, _)| name == "accept-encoding");
    accepted.any(|(_, value)| value.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip")))
}

fn compressed(body: &[u8]) -> Vec<u8> {
    // The level of a real server.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes every write")
}

/// Status line and headers, without the empty line.
fn head(code: u16, headers: &[(&'static str, String)]) -> String {
    let mut head = format!("HTTP/1.1 {code} {}\r\n", reason(code));
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Date: {}\r\n", Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT"));
    head
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head's lines that say how the body comes, of a document of `bytes` asked for with `accept_encoding`.
    fn check(bytes: usize, accept_encoding: &str, expected: &[&str]) {
        let headers = vec![("accept-encoding".to_owned(), accept_encoding.to_owned())];
        let request = Request { headers, ..Request::default() };
        let answer = document(&request, 200, &[], &Bytes::from(vec![b'x'; bytes]), true);
        let text = String::from_utf8_lossy(&answer);
        let head = text.split("\r\n\r\n").next().unwrap();
        let lines: Vec<_> = head.split("\r\n").skip(1).filter(|line| !line.starts_with("Date: ")).collect();
        assert_eq!(lines, expected, "{bytes} {accept_encoding}");
    }

    #[test]
    fn bodies_come_as_a_real_server_sends_them() {
        check(0, "", &["Content-Length: 0"]);
        check(2048, "gzip", &["Content-Length: 2048"]);
        check(2049, "gzip", &["Transfer-Encoding: chunked"]);
        check(200_000, "identity", &["Transfer-Encoding: chunked"]);
        let compressed = ["Content-Encoding: gzip", "Vary: Accept-Encoding", "Transfer-Encoding: chunked"];
        check(200_000, "gzip", &compressed);
        check(200_000, "deflate, gzip;q=0.5", &compressed);
    }
}
