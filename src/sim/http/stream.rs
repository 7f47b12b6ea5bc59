//! Sends one watch, line by line, as the faults will have it.
//!
//! Takes the lines of the API and the plan of the injector; writes chunks. Promises that a client that leaves, or a server
//! that stops, ends it within [`QUIET_MAX`].

use super::connection::{Then, status_body};
use super::reply::{self, LAST_CHUNK};
use super::socket::Wire;
use super::{Connection, Site, distort};
use crate::sim::api::{Lines, Next, Request};
use crate::sim::faults::{Fault, Plan};
use bytes::Bytes;
use std::io::{self, Write};
use std::time::Duration;

/// A watch on its way.
pub(super) struct Stream<'a> {
    site: &'a Site,
    connection: &'a Connection,
    wire: &'a mut Wire,
    plan: &'a Plan,
    /// How many lines were there so far.
    sent: usize,
    batch: Vec<u8>,
    /// The last line came without its newline.
    owes_newline: bool,
    /// The version that the watch began after.
    started: &'a str,
    /// The end of the initial events was withheld: nobody would say it when the faults end.
    owes_end: bool,
    /// A streaming list that has not ended: it cannot end cleanly either.
    is_listing: bool,
}

/// What follows a line.
enum Go {
    On,
    /// The stream ends, and HTTP is kept.
    End,
    /// The connection breaks here.
    Break,
    /// From here on only heartbeats come.
    Beat,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        site: &'a Site,
        connection: &'a Connection,
        wire: &'a mut Wire,
        plan: &'a Plan,
        request: &'a Request,
    ) -> Self {
        Self {
            site,
            connection,
            wire,
            plan,
            sent: 0,
            batch: Vec::new(),
            owes_newline: false,
            started: request.query("resourceVersion"),
            owes_end: false,
            is_listing: request.flag("sendInitialEvents"),
        }
    }

    pub(super) fn send(mut self, headers: &[(&'static str, String)], mut lines: Box<dyn Lines>) -> io::Result<Then> {
        self.batch = reply::stream_head(headers);
        if self.is_held() {
            self.site.injector.struck(Fault::HeldHead);
        }
        self.flush()?;
        let mut quiet = QUIET_MIN;
        loop {
            let wait = if self.batch.is_empty() || self.is_held() { quiet } else { Duration::ZERO };
            let go = match lines.next(wait) {
                Next::Line(line) => {
                    quiet = QUIET_MIN;
                    self.push(&line)
                }
                Next::End => Go::End,
                Next::Quiet if self.owes_newline => {
                    self.owes_newline = false;
                    reply::push_chunk(&mut self.batch, b"\n");
                    continue;
                }
                Next::Quiet if self.batch.is_empty() || self.is_held() => {
                    let owes_end = self.owes_end && self.plan.over.is_requested();
                    if owes_end || self.connection.stop.is_requested() || self.wire.socket().has_input() {
                        return Ok(Then::Close);
                    }
                    quiet = if self.is_held() { QUIET_MIN } else { (quiet * 2).min(QUIET_MAX) };
                    self.batch.shrink_to(BATCH_BYTES_KEPT);
                    continue;
                }
                Next::Quiet => self.flush()?,
            };
            let go = match go {
                Go::On if self.batch.len() < BATCH_BYTES => continue,
                Go::On => self.flush()?,
                Go::End | Go::Break | Go::Beat => go,
            };
            match go {
                Go::On => {}
                Go::End => {
                    if self.owes_newline {
                        reply::push_chunk(&mut self.batch, b"\n");
                    }
                    self.batch.extend_from_slice(LAST_CHUNK);
                    self.write()?;
                    return Ok(Then::Next);
                }
                Go::Break => {
                    self.write()?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Go::Beat => return self.beat(),
            }
        }
    }

    /// Whether everything waits for the end.
    fn is_held(&self) -> bool {
        let holds = self.plan.fault.is_some_and(|(fault, _)| fault == Fault::HeldHead);
        holds && !self.plan.over.is_requested() && self.batch.len() < HELD_BYTES_MAX
    }

    /// Blank lines for some, blanks within an object that never ends for others, until the client leaves.
    fn beat(mut self) -> io::Result<Then> {
        let beat: &[u8] = if self.sent.is_multiple_of(2) {
            b"\n"
        } else {
            reply::push_chunk(&mut self.batch, b"{");
            b" "
        };
        while !self.connection.stop.wait(self.plan.heartbeat) && !self.wire.socket().has_input() {
            reply::push_chunk(&mut self.batch, beat);
            self.write()?;
        }
        Ok(Then::Close)
    }

    fn flush(&mut self) -> io::Result<Go> {
        if self.is_held() { Ok(Go::On) } else { self.write() }
    }

    /// A client that was too slow for this much gets no more.
    fn write(&mut self) -> io::Result<Go> {
        self.wire.write_all(&self.batch)?;
        self.wire.flush()?;
        self.batch.clear();
        Ok(match (self.wire.socket().is_slow(), self.is_listing) {
            (false, _) => Go::On,
            (true, false) => Go::End,
            (true, true) => Go::Break,
        })
    }

    fn push(&mut self, line: &Bytes) -> Go {
        self.is_listing &= !(line.starts_with(BOOKMARK) && memchr::memmem::find(line, INITIAL_EVENTS_END).is_some());
        if self.plan.over.is_requested() {
            reply::push_chunk(&mut self.batch, line);
            return Go::On;
        }
        if self.is_withheld(line) {
            return Go::On;
        }
        self.sent += 1;
        match self.plan.fault {
            Some((Fault::GluedEvents, place)) if place < self.sent => self.push_glued(line),
            Some((fault, place)) if place + 1 == self.sent => self.push_faulty(fault, line),
            Some(_) | None => {
                reply::push_chunk(&mut self.batch, line);
                Go::On
            }
        }
    }

    fn is_withheld(&mut self, line: &[u8]) -> bool {
        if !line.starts_with(BOOKMARK) {
            return false;
        }
        let is_endless = self.plan.fault.is_some_and(|(fault, _)| fault == Fault::EndlessList);
        let (fault, withholds) = if memchr::memmem::find(line, INITIAL_EVENTS_END).is_some() {
            let fault = if is_endless { Fault::EndlessList } else { Fault::NoInitialEventsEnd };
            (fault, is_endless || self.plan.withholds_initial_events_end)
        } else {
            (Fault::NoBookmarks, self.plan.withholds_bookmarks)
        };
        if withholds {
            self.site.injector.struck(fault);
            self.owes_end |= fault == Fault::NoInitialEventsEnd;
        }
        withholds
    }

    /// In turn: a line that the next one follows without a newline, that next one, and a line with a newline inside its event.
    fn push_glued(&mut self, line: &[u8]) -> Go {
        self.site.injector.struck(Fault::GluedEvents);
        self.owes_newline = self.sent.is_multiple_of(3);
        if self.owes_newline {
            reply::push_chunk(&mut self.batch, line.trim_ascii_end());
        } else if self.sent % 3 == 2 {
            let after_type = memchr::memchr(b',', line).map_or(0, |comma| comma + 1);
            reply::push_chunk(&mut self.batch, &[&line[..after_type], b"\n", &line[after_type..]].concat());
        } else {
            reply::push_chunk(&mut self.batch, line);
        }
        Go::On
    }

    /// The line at which the fault strikes, or what comes instead of it.
    fn push_faulty(&mut self, fault: Fault, line: &Bytes) -> Go {
        let half = &line[..line.len() / 2];
        let go = match fault {
            Fault::CutInChunk => {
                reply::push_chunk_size(&mut self.batch, line.len());
                self.batch.extend_from_slice(half);
                Go::Break
            }
            Fault::CutInLine => {
                reply::push_chunk(&mut self.batch, half);
                Go::End
            }
            Fault::Gone => {
                let status = status_body(410, "Expired", "The resourceVersion for the provided watch is too old.");
                reply::push_chunk(&mut self.batch, format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n").as_bytes());
                Go::End
            }
            Fault::Garbage => {
                let garbage = [half, b"{}", b"\xff\xfe\x00", b"null"][self.sent % 4];
                reply::push_chunk(&mut self.batch, &[garbage, b"\n"].concat());
                Go::On
            }
            Fault::LongLine => {
                let mut long = vec![b'x'; self.plan.long_line_bytes];
                long.push(b'\n');
                reply::push_chunk(&mut self.batch, &long);
                Go::On
            }
            Fault::Heartbeats => Go::Beat,
            Fault::OldBookmark => {
                reply::push_chunk(&mut self.batch, line);
                let Some(bookmark) = distort::bookmark(line, self.started) else { return Go::On };
                reply::push_chunk(&mut self.batch, &bookmark);
                Go::End
            }
            Fault::UnreadableObject => {
                let Some(unreadable) = distort::unreadable(line, 0) else {
                    reply::push_chunk(&mut self.batch, line);
                    return Go::On;
                };
                reply::push_chunk(&mut self.batch, &unreadable);
                Go::On
            }
            Fault::Cut
            | Fault::Stall
            | Fault::HalfOpen
            | Fault::Reset
            | Fault::Refuse
            | Fault::Drip
            | Fault::TooManyRequests
            | Fault::InternalError
            | Fault::Unavailable
            | Fault::GatewayTimeout
            | Fault::Unauthorized
            | Fault::NoBookmarks
            | Fault::NoInitialEventsEnd
            | Fault::ExpiredContinue
            | Fault::HeldHead
            | Fault::EndlessList
            | Fault::GluedEvents
            | Fault::WholeObjects
            | Fault::NewerPage
            | Fault::SamePage
            | Fault::ProxyNotFound => {
                reply::push_chunk(&mut self.batch, line);
                return Go::On;
            }
        };
        self.site.injector.struck(fault);
        go
    }
}

/// How long a watch is quiet before it looks whether its client is still there.
const QUIET_MIN: Duration = Duration::from_millis(200);

/// The longer it is quiet the less often it looks. Five hundred watches cost a few hundred looks a second.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// Lines that are ready go out together, so many bytes at once.
const BATCH_BYTES: usize = 64 * 1024;

/// As much as a proxy may buffer.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// What a watch keeps when it is quiet.
const BATCH_BYTES_KEPT: usize = 1024;

const BOOKMARK: &[u8] = br#"{"type":"BOOKMARK""#;

const INITIAL_EVENTS_END: &[u8] = b"k8s.io/initial-events-end";
