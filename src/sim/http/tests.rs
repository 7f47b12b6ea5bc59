//! The port, with an API of three paths behind it.

use super::*;
use crate::client::Client;
use crate::client::Get;
use crate::sim::api::{Lines, Next};
use crate::sim::faults::{Fault, Faults, Hidden};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::io::{Read, Write};

/// `/who` says who asks, `/large` is a large document, `/watch` ten lines and then silence, `/lines` ten lines and the end.
fn tiny(request: &Request) -> Reply {
    let document = |code, text: String| Reply::Document { code, headers: vec![], body: text.into() };
    match request.path.as_str() {
        "/who" => document(200, format!("{:?}", request.certificate)),
        "/large" => document(200, "0123456789abcdef".repeat(20_000)),
        "/echo" => document(201, String::from_utf8_lossy(&request.body).into_owned()),
        "/watch" => Reply::Stream { headers: vec![], lines: Box::new(Ten { told: 0, stays: true }) },
        "/lines" => Reply::Stream { headers: vec![], lines: Box::new(Ten { told: 0, stays: false }) },
        "/endless" => Reply::Stream { headers: vec![], lines: Box::new(Endless) },
        path => document(404, format!("{path} not found")),
    }
}

struct Ten {
    told: u32,
    stays: bool,
}

impl Lines for Ten {
    fn next(&mut self, wait: Duration) -> Next {
        if self.told < 10 {
            self.told += 1;
            return Next::Line(Bytes::from(format!("{{\"line\":{}}}\n", self.told)));
        }
        if !self.stays {
            return Next::End;
        }
        Stop::new().wait(wait);
        Next::Quiet
    }
}

fn ten() -> String {
    (1..=10).map(|line| format!("{{\"line\":{line}}}\n")).collect()
}

fn start(with_tls: bool, faults: Faults) -> (Server, Client) {
    start_with(with_tls, faults, Duration::from_secs(20))
}

fn start_with(with_tls: bool, faults: Faults, slow_limit: Duration) -> (Server, Client) {
    let authority = Authority::new(with_tls).unwrap();
    let server = Server::start(Site {
        answer: Box::new(tiny),
        end_streams: Box::new(|| {}),
        authority,
        lists: Lists::default(),
        watches: Watches::default(),
        injector: Arc::new(Injector::new(faults)),
        slow_limit,
    })
    .unwrap();
    let url = format!("{}://{}", if with_tls { "https" } else { "http" }, server.address());
    let kubeconfig = server.site().authority.kubeconfig(&url, "ada", &["masters"]).unwrap();
    let client = Client::from_kubeconfig(&kubeconfig, None).unwrap();
    (server, client)
}

/// The whole answer, or why there is none.
fn get(client: &Client, path: &str, gzip: bool) -> Result<String, String> {
    let limit = Duration::from_secs(20);
    let get = Get { request: "test", path_and_query: path, accept: "*/*", gzip, head_limit: limit, read_limit: limit };
    let mut response = client.transport().get(&get).map_err(|error| error.to_string())?;
    let mut text = String::new();
    response.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Lines without end.
struct Endless;

impl Lines for Endless {
    fn next(&mut self, _: Duration) -> Next {
        Next::Line(Bytes::from(vec![b'\n'; 16 * 1024]))
    }
}

/// How a stream ends for a client that stops reading again and again.
fn end_of_a_slow_read(server: &Server, path: &str) -> &'static str {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let (mut buffer, mut last, mut left) = (vec![0; 64 * 1024], Vec::new(), 0);
    loop {
        if left == 0 {
            // Once it was long enough: the server filled what is between in time, and was kept waiting by two writes, as one
            // that was taken in part ends without an error.
            Stop::new().wait(SLOW_LIMIT * 4);
            left = MORE_THAN_BUFFERED;
        }
        let read = stream.read(&mut buffer).unwrap_or(0);
        left = left.saturating_sub(read);
        last.extend_from_slice(&buffer[..read]);
        last.drain(..last.len().saturating_sub(reply::LAST_CHUNK.len() + 1));
        match read {
            _ if last.ends_with(reply::LAST_CHUNK) => return "ended",
            0 => return "cut",
            _ => {}
        }
    }
}

/// More than the system keeps for a connection in both directions.
const MORE_THAN_BUFFERED: usize = 32 * 1024 * 1024;

const SLOW_LIMIT: Duration = Duration::from_millis(50);

#[test]
fn a_client_that_stops_reading_is_ended_cleanly_and_in_a_streaming_list_is_cut() {
    let (server, _) = start_with(false, Faults::none(), SLOW_LIMIT);
    assert_eq!(end_of_a_slow_read(&server, "/endless"), "ended");
    assert_eq!(end_of_a_slow_read(&server, "/endless?sendInitialEvents=true"), "cut");
}

#[test]
fn users_are_known_by_certificate_and_by_token() {
    for with_tls in [false, true] {
        let (server, client) = start(with_tls, Faults::none());
        assert_eq!(get(&client, "/who", true).unwrap(), r#"Some(("ada", ["masters"]))"#, "TLS {with_tls}");
        let url = client.server();
        let kubeconfig = server.site().authority.kubeconfig_with_token(url, "bob", &[]).unwrap();
        let client = Client::from_kubeconfig(&kubeconfig, None).unwrap();
        assert_eq!(get(&client, "/who", true).unwrap(), r#"Some(("bob", []))"#, "TLS {with_tls}");
    }
}

#[test]
fn large_documents_and_streams_come_whole_plain_and_in_tls() {
    for with_tls in [false, true] {
        let (_server, client) = start(with_tls, Faults::none());
        for gzip in [false, true] {
            assert_eq!(get(&client, "/large", gzip).unwrap().len(), 320_000);
        }
        assert_eq!(get(&client, "/lines", false).unwrap(), ten());
    }
}

#[test]
fn one_connection_serves_request_after_request() {
    let (server, _client) = start(false, Faults::none());
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /lines HTTP/1.1\r\n\r\nGET /no HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let heads: Vec<_> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(heads, ["201", "200", "404"], "{text}");
    assert!(text.contains("\r\nc\r\n{\"line\":10}\n\r\n0\r\n\r\n"), "{text}");
    assert!(text.ends_with("/no not found"), "{text}");
}

#[test]
fn a_closed_server_refuses_and_an_open_one_is_found_again() {
    let (server, client) = start(true, Faults::none());
    server.down();
    assert_eq!(server.connections(), 0);
    assert!(get(&client, "/who", true).is_err());
    server.up().unwrap();
    assert!(get(&client, "/who", true).is_ok());
}

#[test]
fn five_hundred_watches_stay_open_at_once_and_end_at_once() {
    let (server, _client) = start(false, Faults::none());
    let open = (0..500).map(|_| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET /watch HTTP/1.1\r\n\r\n").unwrap();
        stream
    });
    let mut open: Vec<_> = open.collect();
    for stream in &mut open {
        let mut text = Vec::new();
        while !text.ends_with(b"{\"line\":10}\n\r\n") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..read]);
        }
    }
    assert_eq!(server.connections(), 500);
    drop(server);
    for mut stream in open {
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    }
}

/// What a client gets of `path` in a hundred tries while `fault` strikes every time, and that all is well afterwards.
fn check(fault: Fault, path: &str, with_tls: bool) -> BTreeSet<String> {
    let pause = Duration::from_millis(1);
    let faults = Faults::only(&[fault]).one_in(1).pause(pause).half_open_limit(pause).long_line_bytes(40);
    let (server, client) = start(with_tls, faults);
    let got = (0..40).map(|_| get(&client, path, false).unwrap_or_else(|error| format!("error {error}"))).collect();
    assert_ne!(server.site().injector.tally().get(&fault), None, "{fault:?} never struck {path}");
    server.site().injector.end();
    assert_eq!(get(&client, "/lines", false).unwrap(), ten(), "after {fault:?}");
    got
}

#[test]
fn faults_of_the_connection_break_answers_or_delay_them_but_change_no_byte() {
    for with_tls in [false, true] {
        for fault in [Fault::Cut, Fault::Reset, Fault::HalfOpen] {
            let got = check(fault, "/lines?watch=1", with_tls);
            assert!(got.iter().all(|text| text.starts_with("error ") || *text == ten()), "{fault:?} {got:?}");
            assert!(got.iter().any(|text| text.starts_with("error ")), "{fault:?} {got:?}");
        }
        for fault in [Fault::Stall, Fault::Drip] {
            assert_eq!(check(fault, "/lines?watch=1", with_tls), [ten()].into(), "{fault:?}");
        }
    }
}

#[test]
fn faults_of_lines_strike_at_one_line() {
    let half = |text: &str| ten().starts_with(text) && !text.ends_with('\n') || *text == ten();
    let got = check(Fault::CutInLine, "/lines?watch=1", false);
    assert!(got.len() > 5 && got.iter().all(|text| half(text)), "{got:?}");
    let got = check(Fault::CutInChunk, "/lines?watch=1", false);
    assert!(got.iter().any(|text| text.starts_with("error ")), "{got:?}");
    let got = check(Fault::Gone, "/lines?watch=1", false);
    assert!(got.iter().any(|text| text.starts_with("{\"type\":\"ERROR\"")), "{got:?}");
    let got = check(Fault::Garbage, "/lines?watch=1", false);
    assert!(got.iter().any(|text| text.contains("\nnull\n") && text.ends_with("{\"line\":10}\n")), "{got:?}");
    let got = check(Fault::LongLine, "/lines?watch=1", false);
    let long = format!("\n{}\n", "x".repeat(40));
    assert!(got.iter().any(|text| text.contains(&long) && text.ends_with("{\"line\":10}\n")), "{got:?}");
}

#[test]
fn what_is_held_back_or_glued_together_is_whole_in_the_end() {
    assert_eq!(check(Fault::HeldHead, "/lines?watch=1", false), [ten()].into());
    let got = check(Fault::GluedEvents, "/lines?watch=1", false);
    assert!(got.iter().all(|text| text.replace('\n', "") == ten().replace('\n', "")), "{got:?}");
    assert!(got.iter().any(|text| text.contains("}{")) && got.iter().any(|text| text.contains("\n\n")), "{got:?}");
}

#[test]
fn heartbeats_go_on_after_the_faults_until_the_client_leaves() {
    let faults = Faults::only(&[Fault::Heartbeats]).one_in(1).heartbeat(Duration::from_millis(1));
    let (server, _) = start(false, faults);
    let mut beats = BTreeSet::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /endless?watch=1 HTTP/1.1\r\n\r\n").unwrap();
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        let beat = loop {
            let read = stream.read(&mut piece).unwrap();
            assert_ne!(read, 0, "the watch ended");
            text.extend_from_slice(&piece[..read]);
            let beats = ["1\r\n\n\r\n", "1\r\n \r\n"];
            if let Some(beat) = beats.into_iter().find(|beat| text.ends_with(beat.repeat(3).as_bytes())) {
                break beat;
            }
        };
        beats.insert(beat);
    }
    assert!(beats.contains("1\r\n\n\r\n") && beats.contains("1\r\n \r\n"), "{beats:?}");
}

#[test]
fn something_between_hides_everything_or_one_group() {
    let (server, client) = start(false, Faults::none());
    for (hidden, path, is_hidden) in [
        (Hidden::Everything, "/lines", true),
        (Hidden::Group("example.com".to_owned()), "/apis/example.com/v1/things", true),
        (Hidden::Group("example.com".to_owned()), "/apis/example.community", false),
        (Hidden::Group(String::new()), "/api/v1", true),
        (Hidden::Group(String::new()), "/api", false),
    ] {
        server.site().injector.hide(Some(hidden.clone()));
        let got = get(&client, path, false).unwrap_or_else(|error| error);
        assert_eq!(got.contains("nginx"), is_hidden, "{hidden:?} {path}: {got}");
    }
    server.site().injector.hide(None);
    assert_eq!(get(&client, "/lines", false).unwrap(), ten());
}

#[test]
fn refusals_come_instead_of_answers() {
    for (fault, words) in [
        (Fault::ProxyNotFound, "404"),
        (Fault::TooManyRequests, "429"),
        (Fault::InternalError, "500"),
        (Fault::Unavailable, "503"),
        (Fault::GatewayTimeout, "504"),
    ] {
        let got = check(fault, "/lines?watch=1", false);
        assert!(got.len() == 1 && got.iter().all(|text| text.starts_with("error ") && text.contains(words)), "{got:?}");
    }
    let got = check(Fault::ExpiredContinue, "/lines?limit=1&continue=x", false);
    assert!(got.iter().all(|text| text.contains("410")), "{got:?}");
    let got = check(Fault::Unauthorized, "/lines?watch=1", false);
    assert!(got.iter().any(|text| text.contains("401")), "{got:?}");
}
