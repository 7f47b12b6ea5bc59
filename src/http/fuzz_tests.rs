//! A thousand clients that send anything: none of them ends the server, holds it up, or gets what is no answer.

use super::connection::HEAD_BYTES_MAX;
use super::tests::{connect, get, serve, status};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const CLIENTS: usize = 1000;

/// So many at once, as many as the server holds and a few that displace others.
const BATCH: usize = 80;

/// What a client does once it has sent its bytes.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Says that nothing more comes, and reads.
    Read,
    /// Closes.
    Leave,
    /// Closes so that the connection is reset.
    Reset,
}

#[test]
fn a_thousand_random_clients_leave_the_server_well() {
    let seed = std::env::var("HTTP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let (mut rng, fixture) = (Rng::with_seed(seed), serve());
    let address = fixture.server.local_addr();
    let mut statuses = BTreeMap::new();
    for _ in 0..CLIENTS.div_ceil(BATCH) {
        let clients: Vec<_> = (0..BATCH).map(|_| send(address, &mut rng)).collect();
        for (client, then, sent) in clients {
            let Some(answer) = end(client, then) else { continue };
            // A client that was displaced, or left before its head was whole, gets none.
            let status = if answer.is_empty() { "none" } else { check_answer(&answer, &sent, seed) };
            *statuses.entry(status.to_owned()).or_insert(0) += 1;
        }
        assert_eq!(status(&get(address, "/health")), "200", "run `HTTP_SEED={seed} cargo test random_clients`");
    }
    assert_eq!(fixture.health.liveness().threads, 1, "seed {seed}");
    assert!(statuses.len() > 2, "seed {seed}: clients got {statuses:?} alone");
    for (sent, expected) in [("GET / ", "200"), ("GET / /", "400"), ("GET /nothing ", "404"), ("PUT / ", "405")] {
        let answer = end(connect_and_send(address, &format!("{sent}HTTP/1.1\r\nHost: faro\r\n\r\n")), Then::Read).unwrap();
        assert_eq!(check_answer(&answer, sent.as_bytes(), seed), expected, "{sent}");
    }
}

/// Connects and sends bytes, in pieces or at once.
fn send(address: SocketAddr, rng: &mut Rng) -> (TcpStream, Then, Vec<u8>) {
    let mut client = connect(address);
    let bytes = request(rng);
    let pieces = if rng.u8(..4) == 0 { 1 + bytes.len() / 8 } else { bytes.len().max(1) };
    for piece in bytes.chunks(pieces) {
        // Who was refused or displaced already cannot be written to.
        if client.write_all(piece).is_err() {
            break;
        }
    }
    let then = [Then::Read, Then::Read, Then::Read, Then::Leave, Then::Reset][rng.usize(..5)];
    (client, then, bytes)
}

fn connect_and_send(address: SocketAddr, request: &str) -> TcpStream {
    let mut client = connect(address);
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// What the client is told, where it listens.
fn end(mut client: TcpStream, then: Then) -> Option<Vec<u8>> {
    match then {
        Then::Read => {
            let mut answer = Vec::new();
            // A server that gave the connection up may have reset it; what it must not do is leave it unanswered.
            let _ = client.shutdown(Shutdown::Write);
            let read = client.read_to_end(&mut answer);
            assert!(!matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock), "a client waits in vain");
            Some(answer)
        }
        Then::Leave => None,
        Then::Reset => {
            rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
            None
        }
    }
}

/// Its status, when it is one whole answer.
fn check_answer<'a>(answer: &'a [u8], sent: &[u8], seed: u64) -> &'a str {
    let sent = String::from_utf8_lossy(sent);
    let text = std::str::from_utf8(answer).unwrap_or_else(|error| panic!("seed {seed}: {error} after {sent:?}"));
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("seed {seed}: {text:?} after {sent:?}"));
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let is_whole = head.starts_with("HTTP/1.1 ") && (body.is_empty() || Some(body.len()) == length);
    assert!(is_whole, "seed {seed}: {text:?} after {sent:?}");
    let status = status(text);
    let known = ["200", "400", "404", "405", "408", "413", "431", "503", "505"];
    assert!(known.contains(&status), "seed {seed}: {status} after {sent:?}");
    status
}

/// A request that is right, one with something wrong in it, or no request at all.
fn request(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = well_formed(rng);
    match rng.u8(..5) {
        0 => {}
        1 => (0..rng.usize(1..8)).for_each(|_| mutate(&mut bytes, rng)),
        2 => bytes.truncate(rng.usize(..=bytes.len())),
        3 => bytes = (0..rng.usize(..2 * HEAD_BYTES_MAX)).map(|_| rng.u8(..)).collect(),
        _ => {
            let body: Vec<u8> = (0..rng.usize(..4096)).map(|_| rng.u8(..)).collect();
            bytes.extend(body);
        }
    }
    bytes
}

fn well_formed(rng: &mut Rng) -> Vec<u8> {
    let methods = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", "G\u{e9}T"];
    let targets = [
        "/",
        "/health",
        "/ready",
        "/ready?strict=1",
        "/metrics",
        "/ready?verbose=1&x=%00",
        "/nothing",
        "*",
        "//",
        "http://a/health",
        "a:80",
    ];
    let versions = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "ICY", ""];
    let headers = [
        "Host: faro",
        "Accept: */*",
        "Connection: keep-alive",
        "Content-Length: 0",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "X-Long: ",
        " folded",
        ":",
        "Host: other",
    ];
    let end = ["\r\n", "\r\n", "\n"][rng.usize(..3)];
    let mut pick = |choice: &[&str]| choice[rng.usize(..choice.len())].to_owned();
    let mut text = format!("{} {} {}{end}Host: a{end}", pick(&methods), pick(&targets), pick(&versions));
    for _ in 0..rng.usize(..3) {
        let filler = if rng.u8(..8) == 0 { "a".repeat(rng.usize(..2 * HEAD_BYTES_MAX)) } else { String::new() };
        text += &format!("{}{filler}{end}", headers[rng.usize(..headers.len())]);
    }
    (text + end).into_bytes()
}

/// Changes, removes or adds a byte.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..bytes.len().max(1)).min(bytes.len());
    match rng.u8(..3) {
        0 if at < bytes.len() => bytes[at] = rng.u8(..),
        1 if at < bytes.len() => drop(bytes.remove(at)),
        _ => bytes.insert(at, rng.u8(..)),
    }
}
