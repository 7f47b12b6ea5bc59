//! Recorded answers of real servers, and readers that cut them into arbitrary reads. For tests.

use super::http::Http;
use super::{Error, Get, Interrupt};
use crate::api::Status;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One recorded request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    /// Path and query of the request line.
    pub(crate) path: String,
    /// The request's header `Accept`.
    pub(crate) accept: String,
    pub(crate) code: u16,
    /// The answer's header `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// Without its chunk sizes.
    pub(crate) body: Vec<u8>,
}

impl Transcript {
    /// Reads `tests/golden/http/NAME.http`.
    pub(crate) fn golden(name: &str) -> Self {
        let path = format!("{}/tests/golden/http/{name}.http", env!("CARGO_MANIFEST_DIR"));
        Self::parse(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    /// An answer that no server was recorded giving.
    pub(crate) fn made(path: &str, code: u16, body: &str) -> Self {
        Self { path: path.to_owned(), accept: String::new(), code, retry_after: None, body: body.into() }
    }

    fn parse(bytes: &[u8]) -> Self {
        let dashes = memchr::memmem::find(bytes, b"\n--------").unwrap();
        let request = std::str::from_utf8(&bytes[..dashes]).unwrap();
        let request_line = request.lines().find(|line| !line.starts_with('#')).unwrap();
        let answer = &bytes[dashes + 1..];
        let answer = &answer[memchr::memchr(b'\n', answer).unwrap() + 1..];
        let end = memchr::memmem::find(answer, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        let body = &answer[end + 4..];
        let chunked = header(head, "transfer-encoding").is_some();
        Self {
            path: request_line.split(' ').nth(1).unwrap().to_owned(),
            accept: header(request, "accept").unwrap_or_default().to_owned(),
            code: head.split(' ').nth(1).unwrap().parse().unwrap(),
            retry_after: header(head, "retry-after").map(|seconds| Duration::from_secs(seconds.parse().unwrap())),
            body: if chunked { dechunk(body) } else { body.to_vec() },
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = memchr::memmem::find(bytes, b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        let chunk = &bytes[line + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
        bytes = &chunk[size + 2..];
    }
}

/// A server that gives the answers it was told to, by path, and remembers what it was asked. Clones share both.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Played>>);

#[derive(Default)]
struct Played {
    answers: Vec<(String, Answer)>,
    asked: Vec<(String, String, bool)>,
}

#[derive(Clone)]
enum Answer {
    Recorded(Transcript),
    /// The connection breaks before the head.
    Broken,
    /// Reads fail so after these bytes of the body.
    BrokenAfter(Vec<u8>, io::ErrorKind),
}

impl Script {
    /// Answers each transcript's path with it; the last one given for a path wins.
    pub(crate) fn new(answers: impl IntoIterator<Item = Transcript>) -> Self {
        let script = Self::default();
        for answer in answers {
            script.0.lock().unwrap().answers.insert(0, (answer.path.clone(), Answer::Recorded(answer)));
        }
        script
    }

    /// Answers `path` by closing the connection.
    pub(crate) fn broken(self, path: &str) -> Self {
        self.0.lock().unwrap().answers.insert(0, (path.to_owned(), Answer::Broken));
        self
    }

    /// Answers `path` with a body whose rest never comes.
    pub(crate) fn broken_after(self, path: &str, body: &str) -> Self {
        self.breaking(path, body, io::ErrorKind::ConnectionReset)
    }

    /// Answers `path` with a body whose rest does not come in time.
    pub(crate) fn stalled_after(self, path: &str, body: &str) -> Self {
        self.breaking(path, body, io::ErrorKind::TimedOut)
    }

    fn breaking(self, path: &str, body: &str, kind: io::ErrorKind) -> Self {
        self.0.lock().unwrap().answers.insert(0, (path.to_owned(), Answer::BrokenAfter(body.into(), kind)));
        self
    }

    /// Each request so far: path and query, `Accept`, whether the answer might be compressed.
    pub(crate) fn asked(&self) -> Vec<(String, String, bool)> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Http for Script {
    fn get(&self, get: &Get<'_>) -> Result<Box<dyn Read>, Error> {
        let mut played = self.0.lock().unwrap();
        played.asked.push((get.path_and_query.to_owned(), get.accept.to_owned(), get.gzip));
        let found = played.answers.iter().find(|(path, _)| path == get.path_and_query);
        let missing = Transcript::made(get.path_and_query, 404, "404 page not found\n");
        let answer = match found {
            Some((_, Answer::Recorded(transcript))) => transcript.clone(),
            Some((_, Answer::Broken)) => {
                let source = io::Error::from(io::ErrorKind::ConnectionReset).into();
                return Err(Error::Connection { request: get.request.to_owned(), server: self.server().to_owned(), source });
            }
            Some((_, Answer::BrokenAfter(body, kind))) => return Ok(Box::new(Cut::at(body, &[]).failing_between(*kind))),
            None => missing,
        };
        if answer.code / 100 != 2 {
            let status = Status::from_body(answer.code, &answer.body);
            return Err(Error::Status { request: get.request.to_owned(), status, retry_after: answer.retry_after });
        }
        Ok(Box::new(Cut::anywhere(&answer.body, 7)))
    }

    fn server(&self) -> &str {
        "https://script.test:6443"
    }

    fn interrupt(&self) -> Interrupt {
        unreachable!("a script never blocks")
    }
}

/// Bytes that arrive in reads of given sizes, with a failure between each two where one is asked for.
#[derive(Debug)]
pub(crate) struct Cut {
    parts: VecDeque<io::Result<Vec<u8>>>,
}

impl Cut {
    /// Cut at these offsets, which ascend.
    pub(crate) fn at(bytes: &[u8], offsets: &[usize]) -> Self {
        let mut parts = VecDeque::new();
        let mut from = 0;
        for to in offsets.iter().copied().chain([bytes.len()]) {
            if to > from {
                parts.push_back(Ok(bytes[from..to].to_vec()));
                from = to;
            }
        }
        Self { parts }
    }

    /// Cut every `step` bytes.
    pub(crate) fn every(bytes: &[u8], step: usize) -> Self {
        Self { parts: bytes.chunks(step).map(|part| Ok(part.to_vec())).collect() }
    }

    /// Cut at random offsets, which `seed` decides.
    pub(crate) fn anywhere(bytes: &[u8], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let largest = 1 << random.u32(1..14);
        let mut offsets = Vec::new();
        let mut offset = 0;
        while offset < bytes.len() {
            offset += random.usize(1..=largest);
            offsets.push(offset.min(bytes.len()));
        }
        Self::at(bytes, &offsets)
    }

    /// Fails with `kind` between each two reads, and after the last one where that is not a failure to go on after.
    pub(crate) fn failing_between(self, kind: io::ErrorKind) -> Self {
        let fatal = !matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::Interrupted);
        let mut parts = VecDeque::new();
        for part in self.parts {
            if !parts.is_empty() {
                parts.push_back(Err(kind.into()));
            }
            parts.push_back(part);
        }
        if fatal || parts.len() == 1 {
            parts.push_back(Err(kind.into()));
        }
        Self { parts }
    }
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(part) = self.parts.pop_front() else { return Ok(0) };
        let part = part?;
        let now = part.len().min(buffer.len());
        buffer[..now].copy_from_slice(&part[..now]);
        if now < part.len() {
            self.parts.push_front(Ok(part[now..].to_vec()));
        }
        Ok(now)
    }
}
