//! One client: its head comes in, its answer goes out, what it still sends is dropped, it is closed.
//!
//! Never waits. Each state has a deadline, each read and buffer a limit.

use super::answer::{self, Site};
use super::head::{self, Refusal};
use super::wire::Wire;
use bytes::Bytes;
use rustix::event::PollFlags;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    state: State,
    deadline: Instant,
    /// When bytes last moved.
    active: Instant,
}

#[derive(Debug)]
enum State {
    /// The head is not complete yet.
    Reading(Vec<u8>),
    /// This much of the answer has been taken by the socket.
    Writing { answer: Bytes, written: usize },
    /// The answer is with the system; this much was sent by the client since, and dropped. Closing a socket that holds
    /// unread bytes would reset it, and a reset may overtake the answer.
    Lingering { dropped: usize },
    /// Nothing is left to do.
    Closed,
}

/// Longest head. Scrapers and probes send 100 to 500 bytes, behind some proxies 2 KB.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Time for the head, as long as the longest usual probe timeout.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// Time for the answer: Prometheus gives up on a scrape after 10 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Time for the client to close its side.
const LINGER_LIMIT: Duration = Duration::from_secs(1);

/// What is read from a client that goes on sending after its answer.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Largest read. A client gets one a turn, so that nobody's flood holds up the others.
const READ_BYTES: usize = 4 * 1024;

impl Connection {
    pub(super) fn new(wire: Wire, now: Instant) -> Self {
        Self { wire, state: State::Reading(Vec::new()), deadline: now + HEAD_LIMIT, active: now }
    }

    /// Goes on as far as the socket allows.
    pub(super) fn advance(&mut self, now: Instant, site: &mut Site) {
        match self.state {
            State::Reading(_) => self.read(now, site),
            State::Lingering { .. } => self.drop_rest(),
            State::Writing { .. } | State::Closed => {}
        }
        if matches!(self.state, State::Writing { .. }) {
            self.write_answer(now);
        }
    }

    /// Ends what has lasted too long.
    pub(super) fn expire(&mut self, now: Instant) {
        if now < self.deadline {
            return;
        }
        match self.state {
            State::Reading(_) if self.wire.can_answer() => {
                self.begin_answer(answer::refuse(Refusal::TooSlow), now);
                self.write_answer(now);
            }
            State::Reading(_) | State::Writing { .. } | State::Lingering { .. } | State::Closed => self.state = State::Closed,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When bytes last moved.
    pub(super) fn active(&self) -> Instant {
        self.active
    }

    /// How much memory the answer takes.
    pub(super) fn answer_bytes(&self) -> usize {
        match &self.state {
            State::Writing { answer, .. } => answer.len(),
            State::Reading(_) | State::Lingering { .. } | State::Closed => 0,
        }
    }

    /// What it waits for.
    pub(super) fn interest(&self) -> PollFlags {
        match self.state {
            State::Reading(_) => self.wire.interest_in_reading(),
            State::Lingering { .. } => PollFlags::IN,
            State::Writing { .. } => PollFlags::OUT,
            State::Closed => PollFlags::empty(),
        }
    }

    /// Reads what has come, and what came with it: of that no poll tells.
    fn read(&mut self, now: Instant, site: &mut Site) {
        self.read_head(now, site);
        while matches!(self.state, State::Reading(_)) && self.wire.has_read_ahead() {
            self.read_head(now, site);
        }
    }

    fn read_head(&mut self, now: Instant, site: &mut Site) {
        let State::Reading(head) = &mut self.state else { return };
        let searched = head.len();
        let mut chunk = [0; READ_BYTES];
        let room = (HEAD_BYTES_MAX - searched).min(READ_BYTES);
        match self.wire.read(&mut chunk[..room]) {
            Ok(0) => self.state = State::Closed,
            Ok(count) => {
                self.active = now;
                head.extend_from_slice(&chunk[..count]);
                if let Some(answer) = answer_to(head, searched, self.wire.has_certificate(), site) {
                    self.begin_answer(answer, now);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn begin_answer(&mut self, answer: Bytes, now: Instant) {
        self.state = State::Writing { answer, written: 0 };
        self.deadline = now + ANSWER_LIMIT;
    }

    fn write_answer(&mut self, now: Instant) {
        while let State::Writing { answer, written } = &mut self.state {
            if *written == answer.len() {
                self.begin_lingering(now);
                return;
            }
            match self.wire.write(&answer[*written..]) {
                Ok(0) => self.state = State::Closed,
                Ok(count) => {
                    *written += count;
                    self.active = now;
                }
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn begin_lingering(&mut self, now: Instant) {
        match self.wire.finish() {
            Ok(()) => (self.deadline, self.state) = (now + LINGER_LIMIT, State::Lingering { dropped: 0 }),
            Err(error) => self.fail(&error),
        }
    }

    fn drop_rest(&mut self) {
        let State::Lingering { dropped } = &mut self.state else { return };
        match self.wire.read_raw(&mut [0; READ_BYTES]) {
            Ok(0) => self.state = State::Closed,
            Ok(count) if *dropped + count > LINGER_BYTES_MAX => self.state = State::Closed,
            Ok(count) => *dropped += count,
            Err(error) => self.fail(&error),
        }
    }

    /// A socket that only has nothing to say or no room right now goes on; any other failure is the client's end.
    fn fail(&mut self, error: &io::Error) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            self.state = State::Closed;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

/// The answer to what has come so far; `None` when more of the head is to come.
fn answer_to(head: &[u8], searched: usize, has_certificate: bool, site: &mut Site) -> Option<Bytes> {
    match head::end(head, searched) {
        Some(end) => {
            Some(head::parse(&head[..end]).map_or_else(answer::refuse, |request| site.answer(&request, has_certificate)))
        }
        None if head.len() == HEAD_BYTES_MAX => Some(answer::refuse(Refusal::TooLarge)),
        None => None,
    }
}
