//! The server as its clients see it: over real sockets, the hostile ones included.

use super::connection::{Connection, HEAD_BYTES_MAX, HEAD_LIMIT};
use super::guard::CONNECTIONS_MAX;
use super::wire::Wire;
use super::*;
use crate::health::tests::watch;
use crate::health::{Condition, Reason};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything that is bound to come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Fixture {
    pub(super) server: HttpServer,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
}

pub(super) fn serve() -> Fixture {
    let (metrics, health) = (Metrics::default(), Health::default());
    let settings = HttpSettings { bind_addr: Ipv4Addr::LOCALHOST.into(), port: 0, ..HttpSettings::default() };
    Fixture { server: HttpServer::start(&settings, &metrics, &health).unwrap(), metrics, health }
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Everything the server says to `request`, up to its end.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = connect(address);
    client.write_all(request.as_bytes()).unwrap();
    read_all(client)
}

fn read_all(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

pub(super) fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: faro\r\n\r\n"))
}

pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Not ready, as no run has begun: but answered.
fn assert_answers(address: SocketAddr) {
    let answer = get(address, "/ready");
    assert_eq!((status(&answer), body(&answer)), ("503", "{\"ready\":false,\"watches\":0,\"not_synced\":[]}\n"));
}

#[test]
fn each_path_has_its_page_and_type() {
    let fixture = serve();
    let check = |path: &str, expected: &str, content_type: &str, part: &str| {
        let answer = get(fixture.server.local_addr(), path);
        assert_eq!(status(&answer), expected, "{path}");
        assert!(answer.contains(&format!("\r\nContent-Type: {content_type}\r\n")), "{path}: {answer}");
        assert!(answer.contains(&format!("\r\nContent-Length: {}\r\n", body(&answer).len())), "{path}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{path}: {answer}");
        assert!(body(&answer).contains(part), "{path}: {answer}");
    };
    fixture.metrics.written(3, 100);
    check("/metrics", "200", "text/plain; version=0.0.4; charset=utf-8", "\nfaro_written_lines_total 3\n");
    check("/metrics?x=1", "200", "text/plain; version=0.0.4; charset=utf-8", "# HELP faro_build_info ");
    check("/health", "200", "application/json", "{\"alive\":true,\"threads\":1,\"failing\":[]}\n");
    check("/ready", "503", "application/json", "{\"ready\":false,");
    check("/", "200", "text/plain; charset=utf-8", "/metrics ");
    check("/healthz", "404", "text/plain; charset=utf-8", "no such page");
    check("/ready/", "404", "text/plain; charset=utf-8", "/ready ");
}

#[test]
fn head_gets_the_same_answer_without_its_body() {
    let fixture = serve();
    for path in ["/health", "/ready", "/ready?verbose=1", "/", "/nothing"] {
        let full = get(fixture.server.local_addr(), path);
        let head = ask(fixture.server.local_addr(), &format!("HEAD {path} HTTP/1.1\r\nHost: faro\r\n\r\n"));
        let without_date =
            |answer: &str| answer.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n");
        assert_eq!(without_date(&head).trim_end(), without_date(full.split_once("\r\n\r\n").unwrap().0), "{path}");
        assert_eq!(body(&head), "", "{path}");
    }
    let head = ask(fixture.server.local_addr(), "HEAD /metrics HTTP/1.1\r\nHost: faro\r\n\r\n");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4") && body(&head).is_empty(), "{head}");
}

#[test]
fn the_port_may_be_asked_for_at_any_address_and_the_path_may_be_any() {
    let check = |bind_addr: &str, metrics_path: &str| {
        let (bind_addr, metrics_path) = (bind_addr.parse().unwrap(), metrics_path.to_owned());
        let settings = HttpSettings { bind_addr, port: 0, metrics_path: metrics_path.clone(), ..HttpSettings::default() };
        let server = HttpServer::start(&settings, &Metrics::default(), &Health::default()).unwrap();
        let mut address = server.local_addr();
        assert_ne!(address.port(), 0);
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { "127.0.0.1" } else { "::1" }.parse().unwrap());
        }
        assert_eq!(status(&get(address, &metrics_path)), "200", "{metrics_path} on {bind_addr}");
    };
    check("127.0.0.1", "/metrics");
    check("0.0.0.0", "/internal/faro-metrics");
    check("127.0.0.1", "/");
    // Not every machine has IPv6.
    if TcpListener::bind("[::1]:0").is_ok() {
        check("::1", "/metrics");
        check("::", "/metrics");
    }
}

#[test]
fn what_cannot_be_served_is_said_with_the_way_out() {
    let check = |settings: &HttpSettings, text: &str| {
        let error = HttpServer::start(settings, &Metrics::default(), &Health::default()).unwrap_err();
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        assert_eq!(format!("{error}{cause}"), text);
    };
    let other = serve();
    let port = other.server.local_addr().port();
    let settings = HttpSettings { bind_addr: Ipv4Addr::LOCALHOST.into(), port, ..HttpSettings::default() };
    check(
        &settings,
        &format!(
            "cannot serve metrics and probes on 127.0.0.1:{port}; choose another `metrics.port` or `metrics.bind_addr`, \
             or switch it off with `metrics: {{enabled: false}}`: Address already in use (os error 98)"
        ),
    );
    for path in ["metrics", "", "/health", "/ready", "/a b", "/a?b", "/\u{e9}"] {
        check(
            &HttpSettings { port: 0, metrics_path: path.to_owned(), ..settings.clone() },
            &format!("metrics.path: expected a path such as /metrics, other than /health and /ready, found {path:?}"),
        );
    }
}

#[test]
fn ready_names_each_watch_that_is_not_synced_and_why() {
    let fixture = serve();
    fixture.health.begun();
    let check = |path: &str, expected: &str, parts: &[&str]| {
        let answer = get(fixture.server.local_addr(), path);
        assert_eq!(status(&answer), expected, "{answer}");
        let body: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        let watches = body["not_synced"].as_array().unwrap().iter();
        let told = watches.map(|watch| format!("{} {} {}", watch["target"], watch["condition"], watch["reason"]));
        assert_eq!(told.collect::<Vec<_>>(), parts, "{answer}");
    };
    let pods = fixture.health.add_watch(watch("v1/pods"));
    let nodes = fixture.health.add_watch(watch("v1/nodes"));
    pods.set(Condition::Synced, Reason::None, "");
    nodes.set(Condition::Listing, Reason::None, "");
    check("/ready", "503", &[r#""v1/nodes" "listing" null"#]);
    nodes.set(Condition::Forbidden, Reason::Forbidden, "needs \"list\" on nodes");
    check("/ready", "200", &[r#""v1/nodes" "forbidden" "forbidden""#]);
    check("/ready?strict=1", "503", &[r#""v1/nodes" "forbidden" "forbidden""#]);
    nodes.set(Condition::Synced, Reason::None, "");
    check("/ready?strict=1", "200", &[]);
    fixture.health.sink_failed("no space left");
    check("/ready", "503", &[]);
    assert!(get(fixture.server.local_addr(), "/ready").contains(r#""sink_failure":"no space left""#));
    assert_eq!(status(&get(fixture.server.local_addr(), "/health")), "200", "waiting for a disk is not stuck");
}

#[test]
fn ready_names_every_watch_when_asked_to() {
    let fixture = serve();
    fixture.health.begun();
    fixture.health.add_watch(watch("v1/pods")).set(Condition::Synced, Reason::None, "");
    fixture.health.add_watch(watch("v1/nodes")).set(Condition::Forbidden, Reason::Forbidden, "needs \"list\" on nodes");
    let told = |path: &str| {
        let answer = get(fixture.server.local_addr(), path);
        let body: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        let watches = body["every_watch"].as_array().cloned().unwrap_or_default();
        let told = watches.iter().map(|watch| format!("{} {} {}", watch["target"], watch["condition"], watch["reason"]));
        (status(&answer).to_owned(), body["not_synced"].as_array().unwrap().len(), told.collect::<Vec<_>>())
    };
    let nodes = r#""v1/nodes" "forbidden" "forbidden""#;
    let every = vec![r#""v1/pods" "synced" null"#.to_owned(), nodes.to_owned()];
    assert_eq!(told("/ready"), ("200".to_owned(), 1, vec![]));
    assert_eq!(told("/ready?verbose=1"), ("200".to_owned(), 1, every.clone()));
    assert_eq!(told("/ready?strict=1&verbose=1"), ("503".to_owned(), 1, every));
}

#[test]
fn health_fails_with_the_name_of_a_dead_thread() {
    let fixture = serve();
    drop(fixture.health.add_thread("lane-3"));
    let answer = get(fixture.server.local_addr(), "/health");
    assert_eq!(status(&answer), "503");
    assert!(body(&answer).contains(r#""failing":[{"thread":"lane-3","failure":"dead","#), "{answer}");
}

#[test]
fn malformed_requests_are_refused_and_leave_the_server_well() {
    let fixture = serve();
    let address = fixture.server.local_addr();
    let check = |request: &str, expected: &str| {
        assert_eq!(status(&ask(address, request)), expected, "{request:?}");
    };
    check("\r\n\r\n", "400");
    check("\u{16}\u{3}\u{1}\u{2}\0\n\n", "400");
    check("GET /ready\r\n\r\n", "400");
    check("GET /ready HTTP/1.1\r\n\r\n", "400");
    check("GET /ready HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "400");
    check("DELETE /ready HTTP/1.1\r\nHost: a\r\n\r\n", "405");
    check("GET /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "413");
    check("GET /ready HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "413");
    check(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX)), "431");
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505");
    assert!(ask(address, "POST / HTTP/1.1\r\nHost: a\r\n\r\n").contains("\r\nAllow: GET, HEAD\r\n"));
    // The largest head that is allowed, and a second request behind the first, which is not read.
    let filler = "a".repeat(HEAD_BYTES_MAX - "GET / HTTP/1.0\r\nX: \r\n\r\n".len());
    check(&format!("GET / HTTP/1.0\r\nX: {filler}\r\n\r\n"), "200");
    let twice = ask(address, &"GET /health HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2));
    assert_eq!((status(&twice), twice.matches("HTTP/1.1 ").count()), ("200", 1));
    assert_answers(address);
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let fixture = serve();
    let mut client = connect(fixture.server.local_addr());
    client.set_nodelay(true).unwrap();
    for byte in b"GET /health HTTP/1.1\r\nHost: faro\r\n\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(status(&read_all(client)), "200");
}

#[test]
fn attack_a_body_of_a_terabyte_is_refused_unread() {
    let fixture = serve();
    let address = fixture.server.local_addr();
    for _ in 0..10 {
        let answer = ask(address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\nabc");
        assert_eq!(status(&answer), "405");
        let answer = ask(address, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\nabc");
        assert_eq!(status(&answer), "413");
    }
    assert_answers(address);
}

#[test]
fn attack_resets_at_any_moment_end_their_own_connection_only() {
    let fixture = serve();
    let address = fixture.server.local_addr();
    let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    for sent in (0..=request.len()).chain([request.len(); 100]) {
        let mut client = connect(address);
        client.write_all(&request.as_bytes()[..sent]).unwrap();
        // Closing then resets the connection.
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
    }
    assert_answers(address);
    assert_eq!(status(&get(address, "/health")), "200");
}

#[test]
fn attack_a_header_without_end_is_cut_off() {
    let fixture = serve();
    let address = fixture.server.local_addr();
    let mut client = connect(address);
    client.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    let (chunk, goal) = ([b'a'; 64 * 1024], 200 * 1024 * 1024);
    let mut sent = 0;
    while sent < goal && client.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < goal, "the server took {sent} bytes");
    assert_answers(address);
}

#[test]
fn attack_two_thousand_half_open_clients_take_no_threads_and_give_way() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let room = limit.maximum.map_or(usize::MAX, |most| most as usize);
    let half_open = 2000.min(room.saturating_sub(500));
    let fixture = serve();
    let address = fixture.server.local_addr();
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let threads_before = threads();
    let mut clients = Vec::new();
    for number in 0..half_open {
        let mut client = connect(address);
        // Who was displaced already cannot be written to.
        let _ = client.write_all(b"GET /ready HTTP/1.1\r\nHost: ");
        clients.push(client);
        if number % 50 == 0 {
            assert_answers(address);
        }
    }
    assert_answers(address);
    // Other tests run beside this one, each with a few threads.
    assert!(threads() < threads_before + half_open / 4, "{threads_before} threads before, {} now", threads());
    let open = clients.iter().filter(|client| is_open(client)).count();
    assert!(open <= CONNECTIONS_MAX && half_open > CONNECTIONS_MAX, "{open} of {half_open} are still held");
}

/// Whether the server has not closed the connection.
fn is_open(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let mut client = client;
    matches!(client.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn attack_no_descriptor_is_left_and_clients_are_still_served() {
    if std::env::var_os(CHILD).is_some() {
        return serve_without_descriptors();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::tests::attack_no_descriptor_is_left_and_clients_are_still_served", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let port_of = |line: io::Result<String>| line.unwrap().split_once("port=")?.1.parse().ok();
    let port: u16 = output.by_ref().lines().find_map(port_of).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for _ in 0..10 {
        assert_answers(address);
    }
    // Takes the last descriptor, and gives way.
    let mut idle = connect(address);
    idle.write_all(b"GET /").unwrap();
    for _ in 0..10 {
        assert_answers(address);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Set in the process whose descriptors are used up, so that other tests keep theirs.
const CHILD: &str = "FARO_TEST_WITHOUT_DESCRIPTORS";

fn serve_without_descriptors() {
    let fixture = serve();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!hoard.is_empty() && File::open("/dev/null").is_err());
    writeln!(io::stdout(), "port={}", fixture.server.local_addr().port()).unwrap();
    let mut until_closed = String::new();
    io::stdin().read_to_string(&mut until_closed).unwrap();
    drop(hoard);
    assert_answers(fixture.server.local_addr());
    assert!(fixture.health.liveness().alive);
}

#[test]
fn a_head_that_does_not_come_in_time_is_answered_with_408() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().unwrap());
    let mut site =
        Site::new("/metrics", Access::of(&HttpSettings::default()).unwrap(), Metrics::default(), Health::default()).unwrap();
    let start = Instant::now();
    let mut connection = Connection::new(Wire::new(listener.accept().unwrap().0, None).unwrap(), start);
    connection.advance(start, &mut site);
    connection.expire(start + HEAD_LIMIT / 2);
    assert!(is_open(&client));
    client.set_nonblocking(false).unwrap();
    connection.expire(start + HEAD_LIMIT);
    assert_eq!(status(&read_all(client)), "408");
    connection.expire(connection.deadline());
    assert!(connection.is_closed());
}

#[test]
fn a_slow_reader_gets_its_whole_answer_and_holds_up_nobody() {
    let fixture = serve();
    let address = fixture.server.local_addr();
    let watches: Vec<_> = (0..1000).map(|number| fixture.metrics.watch(&watch(&format!("v1/kind{number}")))).collect();
    let ask_without_reading = || {
        let mut client = connect(address);
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client
    };
    let slow = ask_without_reading();
    assert_answers(address);
    let answer = read_all(slow);
    assert!(answer.contains(&format!("\r\nContent-Length: {}\r\n", body(&answer).len())), "{} bytes came", answer.len());
    assert!(answer.len() > watches.len() * 1000, "{} bytes are no large answer", answer.len());
    let _never_reading: Vec<_> = (0..2 * CONNECTIONS_MAX).map(|_| ask_without_reading()).collect();
    assert_answers(address);
}

#[test]
fn dropping_the_server_frees_the_port_and_its_clients() {
    let fixture = serve();
    let address = fixture.server.local_addr();
    let client = connect(address);
    assert_answers(address);
    drop(fixture.server);
    assert!(!matches!((&client).read(&mut [0]), Ok(1..)), "the client was told something");
    drop(TcpListener::bind(address).unwrap());
    assert_eq!(fixture.health.liveness().threads, 0, "the thread ended as it should");
}
