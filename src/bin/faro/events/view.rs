//! Lines on stdout: as they are, or as rows of a table whose columns stay aligned.
//!
//! A stdout that was closed ends the showing, and is no failure: whoever read it has seen enough.

use super::flags::Output;
use faro::cli::shown;
use faro::sink::EventLine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Stdout, Write};

/// What stdout is given, in large writes.
pub(super) struct View {
    output: Output,
    out: Stdout,
    buffer: Vec<u8>,
    /// How wide the columns of resource and object are. They grow, so that a table needs no second pass.
    widths: [usize; 2],
}

/// A buffer beyond this is written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Wide enough for the usual: `apps/v1/deployments`, and a pod of a deployment.
const WIDTHS: [usize; 2] = [20, 40];

/// A longer text pushes what follows it aside in its own row only.
const WIDTH_MAX: usize = 80;

impl View {
    pub(super) fn new(output: Output) -> Self {
        Self { output, out: io::stdout(), buffer: Vec::with_capacity(2 * BUFFER_BYTES), widths: WIDTHS }
    }

    /// Shows a line. Returns whether stdout takes more.
    pub(super) fn show(&mut self, line: &EventLine<'_>, bytes: &[u8]) -> io::Result<bool> {
        match self.output {
            Output::Json => self.buffer.extend_from_slice(bytes),
            Output::Table => row(&mut self.buffer, &mut self.widths, line),
        }
        if self.buffer.len() < BUFFER_BYTES { Ok(true) } else { self.flush() }
    }

    /// Writes what was shown. Returns whether stdout takes more.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Whether nobody reads stdout any more: a pipe tells without a write.
    pub(super) fn is_closed(&self) -> bool {
        let mut polled = [PollFd::new(&self.out, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }
}

fn row(buffer: &mut Vec<u8>, widths: &mut [usize; 2], line: &EventLine<'_>) {
    let begin = buffer.len();
    push(buffer, line.timestamp);
    pad(buffer, begin, TIMESTAMP_WIDTH);
    let begin = buffer.len();
    push(buffer, line.event_type);
    pad(buffer, begin, EVENT_TYPE_WIDTH);
    let begin = buffer.len();
    push(buffer, line.gvr);
    widths[0] = pad(buffer, begin, widths[0]);
    let begin = buffer.len();
    if !line.namespace.is_empty() {
        push(buffer, line.namespace);
        buffer.push(b'/');
    }
    push(buffer, line.name);
    let end = buffer.len();
    widths[1] = pad(buffer, begin, widths[1]);
    match (line.initial, line.inferred) {
        (false, false) => buffer.truncate(end),
        (true, false) => buffer.extend_from_slice(b"initial"),
        (false, true) => buffer.extend_from_slice(b"inferred"),
        (true, true) => buffer.extend_from_slice(b"initial inferred"),
    }
    buffer.push(b'\n');
}

const TIMESTAMP_WIDTH: usize = "2025-11-10T14:33:02.123456Z".len();
const EVENT_TYPE_WIDTH: usize = "UPDATED".len();

/// A text without what could move a terminal's cursor or reverse its writing; JSON has escaped most of that already.
fn push(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend_from_slice(shown(text).as_bytes());
}

/// Fills the column that begins at `begin` up to `width`, and adds two blanks. Returns how wide the next row's column is to be.
fn pad(buffer: &mut Vec<u8>, begin: usize, width: usize) -> usize {
    let length = buffer.len() - begin;
    buffer.resize(begin + length.max(width) + 2, b' ');
    if length > WIDTH_MAX { width } else { length.max(width) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_cannot_move_a_cursor() {
        let (mut buffer, mut widths) = (Vec::new(), [7, 5]);
        let long = "x".repeat(WIDTH_MAX + 1);
        for (namespace, name, marks) in [
            ("shop", "web-0", r#","initial":true"#),
            ("", "n1", ""),
            ("shop", "a", r#","inferred":true"#),
            ("", &long, r#","inferred":true"#),
            ("", "e\u{202e}\u{9b}\\n\u{e9}", r#","initial":true"#),
        ] {
            let namespace = if namespace.is_empty() { String::new() } else { format!(r#""namespace":"{namespace}","#) };
            let line = format!(
                r#"{{"timestamp":"2025-11-10T14:33:02.123456Z","eventType":"ADDED","gvr":"v1/pods",{namespace}"name":"{name}"{marks}}}"#
            );
            row(&mut buffer, &mut widths, &EventLine::parse(line.as_bytes()).unwrap());
        }
        let begin = "2025-11-10T14:33:02.123456Z  ADDED    v1/pods  ";
        let expected = [
            "shop/web-0  initial",
            "n1",
            "shop/a      inferred",
            &format!("{long}  inferred"),
            "e\\u{202e}\\u{9b}\\n\u{e9}  initial",
        ];
        let expected: String = expected.iter().map(|row| format!("{begin}{row}\n")).collect();
        assert_eq!(String::from_utf8(buffer).unwrap(), expected);
    }
}
