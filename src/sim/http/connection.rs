//! Serves one connection: requests one after another, each answered as the API says and as the faults will have it.

use super::reply;
use super::request::{Reader, Received};
use super::socket::{Socket, Wire};
use super::stream::Stream;
use super::{Connection, Site, distort};
use crate::sim::api::{Reply, Request};
use crate::sim::faults::{Fault, Plan};
use std::io::{self, Write};
use std::sync::Arc;

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
pub(super) enum Then {
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
            wire.socket().be_patient();
            Stream::new(site, connection, wire, &plan, &request).send(&headers, lines)?
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
    if site.injector.hides(&request.path) {
        return proxy_not_found();
    }
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
            Fault::ProxyNotFound => Some(proxy_not_found()),
            Fault::Unauthorized => {
                site.authority.replace_token(request);
                None
            }
            Fault::WholeObjects => {
                if distort::asks_for_whole_objects(request) {
                    site.injector.struck(fault);
                }
                None
            }
            Fault::NewerPage => {
                if distort::asks_for_a_newer_page(request) {
                    site.injector.struck(fault);
                }
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
            | Fault::LongLine
            | Fault::HeldHead
            | Fault::Heartbeats
            | Fault::EndlessList
            | Fault::GluedEvents
            | Fault::OldBookmark
            | Fault::UnreadableObject
            | Fault::SamePage => None,
        };
        if let Some(instead) = instead {
            site.injector.struck(fault);
            return instead;
        }
    }
    match site.authority.identify(request, wire.certificate()) {
        Ok(who) => {
            request.certificate = who;
            distorted((site.answer)(request), site, request, plan)
        }
        Err(()) => {
            if let Some((Fault::Unauthorized, _)) = plan.fault {
                site.injector.struck(Fault::Unauthorized);
            }
            status(401, "Unauthorized", "Unauthorized")
        }
    }
}

/// A document as its fault leaves it; a stream meets its own on the way.
fn distorted(reply: Reply, site: &Site, request: &Request, plan: &Plan) -> Reply {
    let (Reply::Document { code: 200, headers, body }, Some((fault, place))) = (&reply, plan.fault) else { return reply };
    let distorted = match fault {
        Fault::UnreadableObject => distort::unreadable(body, place),
        Fault::SamePage => distort::same_page(body, request.query("continue")),
        Fault::Cut
        | Fault::CutInChunk
        | Fault::CutInLine
        | Fault::Stall
        | Fault::HalfOpen
        | Fault::Reset
        | Fault::Refuse
        | Fault::Drip
        | Fault::Gone
        | Fault::TooManyRequests
        | Fault::InternalError
        | Fault::Unavailable
        | Fault::GatewayTimeout
        | Fault::Unauthorized
        | Fault::NoBookmarks
        | Fault::NoInitialEventsEnd
        | Fault::ExpiredContinue
        | Fault::Garbage
        | Fault::LongLine
        | Fault::HeldHead
        | Fault::Heartbeats
        | Fault::EndlessList
        | Fault::GluedEvents
        | Fault::OldBookmark
        | Fault::WholeObjects
        | Fault::NewerPage
        | Fault::ProxyNotFound => None,
    };
    let Some(body) = distorted else { return reply };
    site.injector.struck(fault);
    Reply::Document { code: 200, headers: headers.clone(), body: body.into() }
}

/// As nginx words it.
fn proxy_not_found() -> Reply {
    let body = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
                <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
    Reply::Document { code: 404, headers: vec![("Content-Type", "text/html".to_owned())], body: body.into() }
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let mut headers = vec![("Cache-Control", "no-cache, private".to_owned()), ("Content-Type", "application/json".to_owned())];
    if code == 429 {
        headers.push(("Retry-After", "1".to_owned()));
    }
    Reply::Document { code, headers, body: status_body(code, reason, message).into() }
}

pub(super) fn status_body(code: u16, reason: &str, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    )
}
