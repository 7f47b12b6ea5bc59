//! Servers that are silent, slow, gone, or break off.

use crate::api::Fault;
use crate::chain::chain;
use crate::client::testing::{Authority, PATIENCE, Server, answer, client, endpoint, fetch, get, read_head, server_config, tls};
use crate::client::transport::Get;
use crate::client::{Client, Error};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Short, so that a test waits for it; whatever happens in time is proved by channels and not by the clock.
const SHORT: Duration = Duration::from_millis(50);

/// A server that sends the head and each part of a body when it is told to, plain or in TLS.
fn in_parts(secure: bool, parts: Vec<&'static [u8]>) -> (Server, Client, Sender<()>) {
    let (go, gone): (Sender<()>, Receiver<()>) = bounded(8);
    let authority = Authority::new();
    let config = Arc::new(server_config(&authority.server(), None));
    let server = Server::start(move |_, stream| {
        let mut stream: Box<dyn crate::client::testing::Stream> =
            if secure { Box::new(tls(&config, stream)) } else { Box::new(stream) };
        if read_head(&mut stream).is_none() {
            return;
        }
        for part in &parts {
            stream.write_all(part).unwrap();
            stream.flush().unwrap();
            let _ = gone.recv_timeout(PATIENCE);
        }
    });
    let mut endpoint = endpoint(&format!("{}://{}", if secure { "https" } else { "http" }, server.address));
    endpoint.trust.insecure = true;
    (server, client(endpoint), go)
}

#[test]
fn a_read_that_times_out_goes_on_without_losing_a_byte() {
    for secure in [false, true] {
        let parts: Vec<&[u8]> =
            vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"cde\r\n4", b"\r\nfghi\r\n", b"0\r\n\r\n"];
        let (_server, client, go) = in_parts(secure, parts);
        let transport = client.transport();
        let mut response = transport.get(&Get { read_limit: SHORT, ..get("/x") }).unwrap();
        let (mut seen, mut quiet, mut buffer) = (Vec::new(), 0, [0; 64]);
        loop {
            match response.read(&mut buffer) {
                Ok(0) => break,
                Ok(amount) => seen.extend_from_slice(&buffer[..amount]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
                    quiet += 1;
                    go.send(()).unwrap();
                }
            }
        }
        assert_eq!((seen.as_slice(), quiet), (&b"abcdefghi"[..], 3), "secure: {secure}");
    }
}

#[test]
fn a_chunk_extension_of_any_length_is_passed_over() {
    for secure in [false, true] {
        let parts: Vec<&[u8]> = vec![
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ieof=a-very-long-extension\r\nabcde\r\n4;chunk-signa",
            b"ture=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            b"\r\nfghi\r\n0;x\r\n\r\n",
        ];
        let (_server, client, go) = in_parts(secure, parts);
        (0..3).for_each(|_| go.send(()).unwrap());
        let mut body = String::new();
        client.transport().get(&get("/x")).unwrap().read_to_string(&mut body).unwrap();
        assert_eq!(body, "abcdefghi", "secure: {secure}");
    }
}

#[test]
fn the_limit_of_reads_does_not_cut_the_wait_for_a_head() {
    let (_server, client, go) = in_parts(false, vec![b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\nin"]);
    let waiting = client.clone();
    let (give, take) = bounded(1);
    let _thread = crate::lifecycle::Joined::spawn("test-get", move || {
        let transport = waiting.transport();
        give.send(transport.get(&Get { read_limit: Duration::from_millis(1), ..get("/x") }).map(|_| ())).unwrap();
    });
    assert!(take.recv_timeout(SHORT).is_err(), "the head is not there yet");
    go.send(()).unwrap();
    take.recv_timeout(PATIENCE).unwrap().unwrap();
    go.send(()).unwrap();
}

#[test]
fn a_head_that_does_not_come_is_an_error_in_time() {
    for secure in [false, true] {
        let (_server, client, go) = in_parts(secure, vec![b"HTTP/1.1 200 OK\r\nContent"]);
        let error = client.transport().get(&Get { head_limit: SHORT, ..get("/x") }).unwrap_err();
        assert!(chain(&error).ends_with("no answer came in time"), "{}", chain(&error));
        go.send(()).unwrap();
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_a_silent_end() {
    for secure in [false, true] {
        for head in ["Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", "Content-Length: 9\r\n\r\nabcde"] {
            let bytes: &'static [u8] = format!("HTTP/1.1 200 OK\r\n{head}").leak().as_bytes();
            let (_server, client, go) = in_parts(secure, vec![bytes]);
            let mut response = client.transport().get(&get("/x")).unwrap();
            go.send(()).unwrap();
            let error = response.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error} after {head:?}, secure: {secure}");
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = fetch(&client(endpoint(&format!("https://{closed}")))).unwrap_err();
    assert!(error.starts_with(&format!("get a test: no answer from https://{closed}: cannot connect to {closed}: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn a_name_that_is_not_known_is_named() {
    // Longer than a label may be, so that the look-up fails without asking the network.
    let host = format!("{}.test", "a".repeat(64));
    let error = client(endpoint(&format!("http://{host}"))).transport().get(&get("/x")).unwrap_err();
    assert!(matches!(error, Error::Connection { .. }));
    assert!(chain(&error).contains(&format!("host {host} is not found")), "{}", chain(&error));
}

#[test]
fn a_second_address_is_tried_when_the_first_refuses() {
    // `localhost` is ::1 and 127.0.0.1 on most machines, and only the latter listens here.
    let server = Server::http(|_| crate::client::testing::ok("in"));
    assert_eq!(fetch(&client(endpoint(&format!("http://localhost:{}", server.address.port())))), Ok("in".to_owned()));
}

#[test]
fn the_address_that_answered_is_tried_first_the_next_time() {
    let server = Server::http(|_| crate::client::testing::ok("in"));
    let port = server.address.port();
    let transport = client(endpoint(&format!("http://localhost:{port}"))).transport();
    transport.get(&get("/x")).unwrap();
    let [dead, other] = [(Ipv4Addr::new(127, 0, 0, 2), port), (Ipv4Addr::new(127, 0, 0, 3), port)].map(SocketAddr::from);
    let mut addresses = [dead, other, server.address];
    transport.shared.resolver.prefer(&mut addresses);
    assert_eq!(addresses, [server.address, dead, other]);
    transport.shared.resolver.answered(([127, 0, 0, 9], port).into());
    transport.shared.resolver.prefer(&mut addresses);
    assert_eq!(addresses, [server.address, dead, other], "an address that the name no longer has is not asked");
}

#[test]
fn an_html_page_is_called_what_it_is() {
    let page = |status: &'static str| {
        let server =
            Server::http(move |_| answer(status, "Content-Type: Text/HTML; charset=utf-8\r\n", "<html>please log in</html>"));
        let error = client(endpoint(&server.url())).transport().get(&get("/x")).unwrap_err();
        (error.fault(), chain(&error))
    };
    let (fault, words) = page("200 OK");
    assert_eq!(fault, Fault::Server, "of the API server it says nothing");
    assert!(words.contains("answered with an HTML page (200): a proxy or a login page is between"), "{words}");
    assert_eq!(page("404 Not Found").0, Fault::NotFound);
}
