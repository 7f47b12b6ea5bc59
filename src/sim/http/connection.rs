//! Serves one connection: requests one after another, each answered as the API says and as the faults will have it.

use super::reply::{self, LAST_CHUNK};
use super::request::{Reader, Received};
use super::socket::{Socket, Wire};
use super::{Connection, Site};
use crate::sim::api::{Lines, Next, Reply, Request};
use crate::sim::faults::{Fault, Plan};
use bytes::Bytes;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// Serves until either side ends.
pub(super) fn serve(site: &Arc<Site>, connection: &Connection) {
    let socket = Socket::new(Arc::clone(&connection.stream), Arc::clone(&site.injector));
    if site.injector.refuses() {
        site.injector.struck(Fault::Refuse);
        socket.reset_on_close();
        return;
    }
    let wire = match site.authority.server_config() {
        Some(config) => Wire::tls(socket, config),
        None => Ok(Wire::plain(socket)),
    };
    // A client that refuses our certificate ends its own connection and nothing else.
    let Ok(mut wire) = wire else { return };
    let mut reader = Reader::default();
    while let Ok(Then::Next) = next(site, connection, &mut wire, &mut reader) {}
}

/// What follows an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    Close,
}

fn next(site: &Site, connection: &Connection, wire: &mut Wire, reader: &mut Reader) -> io::Result<Then> {
    let (mut request, keep_alive) = match reader.next(wire)? {
        Received::Request { request, keep_alive } => (request, keep_alive),
        Received::Left => return Ok(Then::Close),
        Received::Refused(code, words) => {
            wire.write_all(&reply::refusal(code, words))?;
            wire.flush()?;
            wire.close();
            return Ok(Then::Close);
        }
    };
    let plan = site.injector.plan(&request);
    let reply = answer(site, wire, &mut request, &plan);
    site.lists.pass(&request, &connection.stop);
    wire.socket().arm(&plan);
    let then = match reply {
        Reply::Document { code, headers, body } => {
            wire.write_all(&reply::document(&request, code, &headers, &body, keep_alive))?;
            wire.flush()?;
            if keep_alive { Then::Next } else { Then::Close }
        }
        Reply::Stream { headers, lines } => {
            site.watches.note(&request);
            wire.write_all(&reply::stream_head(&headers))?;
            wire.flush()?;
            wire.socket().be_patient();
            let is_listing = request.flag("sendInitialEvents");
            Stream { site, connection, wire, plan: &plan, sent: 0, batch: Vec::new(), owes_end: false, is_listing }.send(lines)?
        }
    };
    wire.socket().disarm();
    if then == Then::Close {
        wire.close();
    }
    Ok(then)
}

/// The answer, or what a fault puts in its place.
fn answer(site: &Site, wire: &Wire, request: &mut Request, plan: &Plan) -> Reply {
    if let Some((fault, _)) = plan.fault {
        let instead = match fault {
            Fault::TooManyRequests => Some(status(429, "TooManyRequests", "the server has received too many requests")),
            Fault::InternalError => {
                Some(status(500, "InternalError", "an error on the server has prevented the request from succeeding"))
            }
            Fault::Unavailable => Some(status(503, "ServiceUnavailable", "the server is currently unable to handle the request")),
            Fault::GatewayTimeout => Some(status(504, "Timeout", "the request timed out")),
            Fault::ExpiredContinue => Some(status(410, "Expired", "The provided continue parameter is too old")),
            Fault::Gone if request.query.iter().all(|(name, _)| name != "watch") => {
                Some(status(410, "Expired", "The resourceVersion for the provided list is too old."))
            }
            Fault::Unauthorized => {
                site.authority.replace_token(request);
                None
            }
            Fault::Cut
            | Fault::CutInChunk
            | Fault::CutInLine
            | Fault::Stall
            | Fault::HalfOpen
            | Fault::Reset
            | Fault::Refuse
            | Fault::Drip
            | Fault::Gone
            | Fault::NoBookmarks
            | Fault::NoInitialEventsEnd
            | Fault::Garbage
            | Fault::LongLine => None,
        };
        if let Some(instead) = instead {
            site.injector.struck(fault);
            return instead;
        }
    }
    match site.authority.identify(request, wire.certificate()) {
        Ok(who) => {
            request.certificate = who;
            (site.answer)(request)
        }
        Err(()) => {
            if let Some((Fault::Unauthorized, _)) = plan.fault {
                site.injector.struck(Fault::Unauthorized);
            }
            status(401, "Unauthorized", "Unauthorized")
        }
    }
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let mut headers = vec![("Cache-Control", "no-cache, private".to_owned()), ("Content-Type", "application/json".to_owned())];
    if code == 429 {
        headers.push(("Retry-After", "1".to_owned()));
    }
    Reply::Document { code, headers, body: status_body(code, reason, message).into() }
}

fn status_body(code: u16, reason: &str, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    )
}

/// A watch on its way.
struct Stream<'a> {
    site: &'a Site,
    connection: &'a Connection,
    wire: &'a mut Wire,
    plan: &'a Plan,
    /// How many lines were there so far.
    sent: usize,
    batch: Vec<u8>,
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
}

impl Stream<'_> {
    fn send(mut self, mut lines: Box<dyn Lines>) -> io::Result<Then> {
        let mut quiet = QUIET_MIN;
        loop {
            let wait = if self.batch.is_empty() { quiet } else { Duration::ZERO };
            let go = match lines.next(wait) {
                Next::Line(line) => {
                    quiet = QUIET_MIN;
                    self.push(&line)
                }
                Next::End => Go::End,
                Next::Quiet if self.batch.is_empty() => {
                    let owes_end = self.owes_end && self.plan.over.is_requested();
                    if owes_end || self.connection.stop.is_requested() || self.wire.socket().has_input() {
                        return Ok(Then::Close);
                    }
                    quiet = (quiet * 2).min(QUIET_MAX);
                    self.batch.shrink_to(BATCH_BYTES_KEPT);
                    continue;
                }
                Next::Quiet => self.flush()?,
            };
            let go = match go {
                Go::On if self.batch.len() < BATCH_BYTES => continue,
                Go::On => self.flush()?,
                Go::End | Go::Break => go,
            };
            match go {
                Go::On => {}
                Go::End => {
                    self.batch.extend_from_slice(LAST_CHUNK);
                    self.flush()?;
                    return Ok(Then::Next);
                }
                Go::Break => {
                    self.flush()?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    }

    /// A client that was too slow for this much gets no more.
    fn flush(&mut self) -> io::Result<Go> {
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
        let (fault, withholds) = if memchr::memmem::find(line, INITIAL_EVENTS_END).is_some() {
            (Fault::NoInitialEventsEnd, self.plan.withholds_initial_events_end)
        } else {
            (Fault::NoBookmarks, self.plan.withholds_bookmarks)
        };
        if withholds {
            self.site.injector.struck(fault);
            self.owes_end |= fault == Fault::NoInitialEventsEnd;
        }
        withholds
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
            | Fault::ExpiredContinue => {
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

/// What a watch keeps when it is quiet.
const BATCH_BYTES_KEPT: usize = 1024;

const BOOKMARK: &[u8] = br#"{"type":"BOOKMARK""#;

const INITIAL_EVENTS_END: &[u8] = b"k8s.io/initial-events-end";
