//! Takes chunk extensions out of an answer before ureq reads it, and makes one chunk of those that come at once.
//!
//! ureq-proto 0.7.1 gives up on a chunk whose size line is longer than 20 bytes (`SANITY_CHECK` in its `chunk.rs`), while RFC 9112,
//! section 7.1.1, has every recipient ignore extensions that it does not know. API servers send each event in a chunk of its own, and
//! each chunk costs ureq-proto as much as scanning a kilobyte. Takes the bytes of a connection as they come, however they are cut, and
//! gives the same body in fewer chunks without extensions. Everything else, errors included, is left for ureq to judge.

use std::io::{self, Write};

/// How far the answer under way has come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// How many bytes in a row belonged to one extension.
    extension: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// The head is not there yet.
    #[default]
    Head,
    /// The digits of a chunk's size; so large it is by those that have come.
    Size(u64),
    /// Whatever follows the digits of the size, up to the end of the line.
    Extension(u64),
    /// The end of the line of a chunk's size.
    SizeEnd(u64),
    /// So much is left of a chunk.
    Data(u64),
    /// The end of a chunk's line.
    DataEnd,
    /// The body is not chunked, or its last chunk has come.
    Through,
}

/// A chunk whose size line came with the bytes that are followed now, so that nobody has read it yet.
#[derive(Debug)]
struct Open {
    /// Where the digits of its size are.
    at: usize,
    digits: usize,
    size: u64,
}

impl Chunks {
    /// Follows the bytes of `input` from `fresh` on, which have just come behind those that are not read yet. Takes extensions and the
    /// bounds between chunks out, and gives how many bytes `input` has then.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) when an extension does not end.
    pub(super) fn follow(&mut self, input: &mut [u8], fresh: usize) -> io::Result<usize> {
        let mut at = fresh;
        if matches!(self.state, State::Head) {
            let Some((body, is_chunked)) = find_body(input) else { return Ok(input.len()) };
            self.state = if is_chunked { State::Size(0) } else { State::Through };
            at = body;
        }
        let mut kept = at;
        let (mut size_at, mut open) = (matches!(self.state, State::Size(0)).then_some(at).filter(|at| *at > fresh), None::<Open>);
        while at < input.len() {
            if let (State::DataEnd, Some(chunk)) = (self.state, &mut open)
                && let Some((size, bytes)) = bound(&input[at..])
                && let Some(sum) = chunk.size.checked_add(size)
            {
                self.state = State::Data(size);
                at += bytes;
                kept += chunk.widen(sum, &mut input[..at], kept);
                continue;
            }
            let before = self.state;
            let (keep, drop) = self.step(&input[at..]);
            if kept < at {
                input.copy_within(at..at + keep, kept);
            }
            (kept, at) = (kept + keep, at + keep + drop);
            match (before, self.state) {
                (State::DataEnd, State::Size(_)) => size_at = Some(kept),
                (State::SizeEnd(size), State::Data(_)) => open = size_at.take().map(|at| Open::new(at, &input[at..kept], size)),
                _ => {}
            }
            self.extension = if keep > 0 { drop } else { self.extension + drop };
            if self.extension > EXTENSION_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk's extension is too long"));
            }
        }
        Ok(kept)
    }

    /// How many bytes at the front of `bytes` stay, and how many behind them do not. At least one of either.
    fn step(&mut self, bytes: &[u8]) -> (usize, usize) {
        match self.state {
            State::Head | State::Through => (bytes.len(), 0),
            State::Size(mut size) => {
                let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                for digit in &bytes[..digits] {
                    size = size.saturating_mul(16).saturating_add(char::from(*digit).to_digit(16).unwrap_or(0).into());
                }
                self.state = if digits == bytes.len() { State::Size(size) } else { State::Extension(size) };
                (digits, 0)
            }
            State::Extension(size) => match memchr::memchr2(b'\r', b'\n', bytes) {
                Some(end) => {
                    self.state = State::SizeEnd(size);
                    (0, end)
                }
                None => (0, bytes.len()),
            },
            State::SizeEnd(size) => self.line_end(bytes, if size == 0 { State::Through } else { State::Data(size) }),
            State::Data(left) => {
                let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - here as u64;
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                (here, 0)
            }
            State::DataEnd => self.line_end(bytes, State::Size(0)),
        }
    }

    fn line_end(&mut self, bytes: &[u8], next: State) -> (usize, usize) {
        match memchr::memchr(b'\n', bytes) {
            Some(newline) => {
                self.state = next;
                (newline + 1, 0)
            }
            None => (bytes.len(), 0),
        }
    }
}

impl Open {
    fn new(at: usize, line: &[u8], size: u64) -> Self {
        Self { at, digits: line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count(), size }
    }

    /// Says `size` in the size line, behind which data is up to `end`. Gives by how many bytes that moved: the bound that was taken out
    /// left room for them.
    fn widen(&mut self, size: u64, input: &mut [u8], end: usize) -> usize {
        let wanted = (u64::BITS - size.leading_zeros()).div_ceil(4) as usize;
        let more = wanted.saturating_sub(self.digits);
        if more > 0 {
            input.copy_within(self.at + self.digits..end, self.at + self.digits + more);
        }
        (self.digits, self.size) = (self.digits + more, size);
        let width = self.digits;
        write!(&mut input[self.at..self.at + width], "{size:0width$x}").expect("the digits have this room");
        more
    }
}

/// The end of one chunk and the size line of the next, when both are at the front of `bytes` as everybody writes them: the size, which
/// is not that of the last chunk, and how many bytes they take.
fn bound(bytes: &[u8]) -> Option<(u64, usize)> {
    let line = bytes.strip_prefix(b"\r\n")?;
    let digits = line.iter().take(SIZE_DIGITS_MAX).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = u64::from_str_radix(str::from_utf8(&line[..digits]).ok()?, 16).ok().filter(|size| *size > 0)?;
    line[digits..].starts_with(b"\r\n").then_some((size, 2 + digits + 2))
}

/// Of larger chunks, which nobody sends, the bounds stay.
const SIZE_DIGITS_MAX: usize = 8;

/// Where the body begins behind the head of an answer, and whether it is chunked; `None` while the head is not whole.
fn find_body(input: &[u8]) -> Option<(usize, bool)> {
    let mut start = 0;
    loop {
        let end = start + memchr::memmem::find(&input[start..], HEAD_END)?;
        let head = &input[start..end];
        start = end + HEAD_END.len();
        // Heads that only announce the answer.
        if !head.starts_with(b"HTTP/1.1 1") {
            return Some((start, is_chunked(head)));
        }
    }
}

/// As ureq sees it: chunks are of HTTP/1.1, and named in any of the headers `Transfer-Encoding`.
fn is_chunked(head: &[u8]) -> bool {
    let says_so = |line: &[u8]| {
        let line = line.to_ascii_lowercase();
        line.starts_with(b"transfer-encoding:") && memchr::memmem::find(&line, b"chunked").is_some()
    };
    head.starts_with(b"HTTP/1.1 ") && head.split(|&byte| byte == b'\n').any(says_so)
}

const HEAD_END: &[u8] = b"\r\n\r\n";

/// Longest extension. Go's `net/http` allows no longer line (`maxLineLength` of its `chunked.go`).
const EXTENSION_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of `answer` when it comes in parts that end at `cuts`, and nothing of it is read meanwhile.
    fn strip(answer: &str, cuts: &[usize]) -> io::Result<String> {
        let (mut chunks, mut input, mut from) = (Chunks::default(), Vec::new(), 0);
        for &to in cuts.iter().chain([&answer.len()]) {
            let fresh = input.len();
            input.extend_from_slice(&answer.as_bytes()[from..to]);
            let kept = chunks.follow(&mut input, fresh)?;
            input.truncate(kept);
            from = to;
        }
        Ok(String::from_utf8(input).unwrap())
    }

    fn check(answer: &str, expected: &str) {
        for first in 0..=answer.len() {
            for second in first..=answer.len() {
                let stripped = strip(answer, &[first, second]).unwrap();
                assert_eq!(in_one_chunk(&stripped), in_one_chunk(expected), "cut at {first} and {second}: {stripped:?}");
            }
        }
    }

    /// `answer` with all that is whole of its body in one chunk, which does not say its size.
    fn in_one_chunk(answer: &str) -> String {
        let Some(mut rest) = answer.strip_prefix(CHUNKED) else { return answer.to_owned() };
        let mut body = String::new();
        while let Some((line, behind)) = rest.split_once("\r\n")
            && let Some(size @ 1..) = usize::from_str_radix(line, 16).ok()
            && let (Some(data), Some(next)) = (behind.get(..size), behind.get(size..).and_then(|end| end.strip_prefix("\r\n")))
        {
            body.push_str(data);
            rest = next;
        }
        format!("{CHUNKED}{body}\r\n{rest}")
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\n\r\n";

    #[test]
    fn extensions_of_any_length_are_taken_out_and_nothing_else() {
        let long = "x".repeat(60);
        let with =
            format!("{CHUNKED}5;a={long}\r\nab;\r\n\r\nA ; b=\"c;d\"\r\n0;1\r\n2345\n\r\n0;{long}\r\nTrailer: a;b\r\n\r\n");
        check(&with, &format!("{CHUNKED}5\r\nab;\r\n\r\nA\r\n0;1\r\n2345\n\r\n0\r\nTrailer: a;b\r\n\r\n"));
    }

    #[test]
    fn chunks_that_come_at_once_are_one() {
        let (small, large) = ("x".repeat(0xf), "y".repeat(0x1000));
        let answer = format!("{CHUNKED}f\r\n{small}\r\n1\r\nz\r\n1000\r\n{large}\r\n0\r\n\r\n");
        assert_eq!(strip(&answer, &[]).unwrap(), format!("{CHUNKED}1010\r\n{small}z{large}\r\n0\r\n\r\n"));
        // Of the first chunk the size may have been read already.
        let cut = CHUNKED.len() + 5;
        assert_eq!(strip(&answer, &[cut]).unwrap(), format!("{CHUNKED}f\r\n{small}\r\n1001\r\nz{large}\r\n0\r\n\r\n"));
        let padded = format!("{CHUNKED}0001\r\na\r\n2;b\r\ncd\r\n2\r\nef");
        assert_eq!(strip(&padded, &[]).unwrap(), format!("{CHUNKED}0001\r\na\r\n4\r\ncdef"));
    }

    #[test]
    fn a_bound_that_is_written_otherwise_stays_as_it_is() {
        for end in ["\r\n\r\n", "abc\n", "\n2\r\nbc\r\n", "\r\n2\nbc\r\n", "\r\n123456789\r\nbc", "\r\n0\r\n\r\n"] {
            let answer = format!("{CHUNKED}1\r\na{end}");
            assert_eq!(strip(&answer, &[]).unwrap(), answer, "{end:?}");
        }
    }

    #[test]
    fn answers_without_chunks_stay_as_they_are() {
        for head in ["HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
            let answer = format!("{head}5;a=b\r\nabcd\r\n");
            check(&answer, &answer);
        }
        let announced = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{CHUNKED}");
        check(&format!("{announced}1;a\r\nb\r\n"), &format!("{announced}1\r\nb\r\n"));
    }

    #[test]
    fn an_extension_that_does_not_end_is_an_error() {
        let answer = format!("{CHUNKED}5;{}", "x".repeat(2 * EXTENSION_BYTES_MAX));
        let cuts: Vec<usize> = (0..answer.len()).step_by(100).collect();
        assert_eq!(strip(&answer, &cuts).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
