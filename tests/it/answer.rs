//! What the server sends, byte for byte, and in which pieces, when, and how it ends.

use faro::lifecycle::Stop;
use flate2::Compression;
use flate2::read::GzEncoder;
use std::io::{self, Read, Write};
use std::time::Duration;

/// What is sent, and what happens to the connection then.
#[derive(Clone, Debug)]
pub struct Answer {
    wire: Vec<u8>,
    piece_bytes: usize,
    held: Option<(usize, Gate)>,
    then: Then,
}

/// What happens to a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    NextRequest,
    Close,
    StayOpen,
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Stop);

impl Gate {
    /// Lets go what it holds, now and later.
    pub fn open(&self) {
        self.0.request();
    }

    fn wait(&self, stop: &Stop) {
        while !self.0.wait(STOP_POLL) && !stop.is_requested() {}
    }
}

/// How soon a held answer sees that its server is closed.
const STOP_POLL: Duration = Duration::from_millis(20);

impl Answer {
    fn new(wire: Vec<u8>, then: Then) -> Self {
        Self { wire, piece_bytes: usize::MAX, held: None, then }
    }

    /// A JSON document.
    pub fn json(code: u16, body: impl AsRef<str>) -> Self {
        Self::with_headers(code, &[("Content-Type", "application/json")], body.as_ref())
    }

    pub fn with_headers(code: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut wire = format!("HTTP/1.1 {code} Told\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.push_str("\r\n");
        wire.push_str(body);
        Self::new(wire.into_bytes(), Then::NextRequest)
    }

    /// A JSON document as a server compresses it.
    pub fn gzipped(body: impl Read) -> Self {
        let mut packed = Vec::new();
        GzEncoder::new(body, Compression::fast()).read_to_end(&mut packed).unwrap();
        let length = packed.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip";
        let mut wire = format!("{head}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        wire.append(&mut packed);
        Self::new(wire, Then::NextRequest)
    }

    /// A watch that tells these lines, each its own chunk, and ends cleanly.
    pub fn watch<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wire = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for line in lines {
            wire.extend_from_slice(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).as_bytes());
        }
        wire.extend_from_slice(END);
        Self::new(wire, Then::NextRequest)
    }

    /// The head of a document that never comes.
    pub fn stalled() -> Self {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n".to_vec();
        Self::new(wire, Then::StayOpen)
    }

    /// What a real server answered, chunk sizes included.
    pub fn recorded(name: &str) -> Self {
        let path = format!("{}/tests/golden/http/{name}.http", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let dashes = memchr::memmem::find(&bytes, b"\n----------").unwrap() + 1;
        let end_of_dashes = dashes + memchr::memchr(b'\n', &bytes[dashes..]).unwrap();
        Self::new(bytes[end_of_dashes + 1..].to_vec(), Then::NextRequest)
    }

    /// Written in pieces of so many bytes.
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece_bytes = bytes;
        self
    }

    /// Only so many bytes are sent, then the connection is closed.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.wire.truncate(bytes);
        self.then = Then::Close;
        self
    }

    /// The connection is closed after everything up to and with `words`.
    pub fn cut_behind(self, words: &str) -> Self {
        let begin = memchr::memmem::find(&self.wire, words.as_bytes()).expect("the answer has these words");
        self.cut_after(begin + words.len())
    }

    /// Nothing is sent before `gate` is open, not even the head.
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.held = Some((0, gate.clone()));
        self
    }

    /// Everything before `words` is sent, the rest when `gate` is open.
    pub fn held_at(mut self, words: &str, gate: &Gate) -> Self {
        let begin = memchr::memmem::find(&self.wire, words.as_bytes()).expect("the answer has these words");
        self.held = Some((begin, gate.clone()));
        self
    }

    /// The end is never sent: a watch that goes on in silence.
    pub fn left_open(mut self) -> Self {
        assert!(self.wire.ends_with(END), "only a chunked answer can be left open");
        self.wire.truncate(self.wire.len() - END.len());
        self.then = Then::StayOpen;
        self
    }

    pub fn len(&self) -> usize {
        self.wire.len()
    }

    /// Sends it, unless `stop` comes first.
    pub fn send(&self, to: &mut impl Write, stop: &Stop) -> io::Result<Then> {
        let (held, gate) = self.held.as_ref().map_or((self.wire.len(), None), |(at, gate)| (*at, Some(gate)));
        let (first, rest) = self.wire.split_at(held);
        self.send_pieces(first, to)?;
        if let Some(gate) = gate {
            gate.wait(stop);
            self.send_pieces(rest, to)?;
        }
        Ok(self.then)
    }

    fn send_pieces(&self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        for piece in bytes.chunks(self.piece_bytes) {
            to.write_all(piece)?;
            to.flush()?;
        }
        Ok(())
    }
}

/// The last chunk.
const END: &[u8] = b"0\r\n\r\n";
