//! Transcripts, read back into requests and answers.

use super::super::Request;
use std::io::Read;

/// A recorded request and its answer.
pub(super) struct Recorded {
    pub(super) name: String,
    pub(super) request: Request,
    pub(super) code: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Without chunk sizes and not compressed.
    pub(super) body: Vec<u8>,
}

impl Recorded {
    /// Reads one transcript.
    pub(super) fn read(path: &std::path::Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let place = memchr::memmem::find(&bytes, b"\n-----").unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let answer = &bytes[place + 1..];
        let answer = &answer[memchr::memchr(b'\n', answer).unwrap() + 1..];
        let end = memchr::memmem::find(answer, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        let headers: Vec<(String, String)> = head.lines().skip(1).map(pair).collect();
        let has = |name: &str| headers.iter().any(|(key, _)| key == name);
        let mut body = answer[end + 4..].to_vec();
        if has("Transfer-Encoding") {
            body = dechunk(&body);
        }
        if has("Content-Encoding") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
            body = plain;
        }
        let request = request(&name, std::str::from_utf8(&bytes[..place]).unwrap());
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { name, request, code, headers, body }
    }
}

/// The request, with the credentials that the record leaves out.
fn request(name: &str, text: &str) -> Request {
    let mut lines = text.lines().skip_while(|line| line.starts_with('#'));
    let mut words = lines.next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).map(pair).collect();
    headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    let token = match name {
        "unauthorized" => Some("wrong"),
        "forbidden-secrets-list" | "forbidden-secrets-watch" | "access-review-allowed" | "access-review-denied" => Some("reader"),
        _ => None,
    };
    headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(|(key, value)| (key.to_owned(), value.replace("%3D", "="))).collect(),
        headers,
        body: lines.collect::<String>().into(),
        certificate: None,
    }
}

fn pair(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").unwrap();
    (name.to_owned(), value.trim().to_owned())
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = memchr::memmem::find(bytes, b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..][..size]);
        bytes = &bytes[line + 2 + size + 2..];
    }
}
