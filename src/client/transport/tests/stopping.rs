//! Whatever a transport waits for, an interrupt ends it.

use crate::client::testing::{Authority, PATIENCE, Server, client, endpoint, get, notes, read_head, server_config, tls};
use crate::client::{Client, Error};
use crate::lifecycle::Joined;
use crossbeam_channel::bounded;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// Starts a request, interrupts it once `reached` returns because it waits where it should, and expects the end of it.
fn check(client: &Client, reached: impl FnOnce()) {
    let transport = client.transport();
    let interrupt = transport.interrupt();
    let (give, take) = bounded(1);
    let _thread = Joined::spawn("test-get", move || {
        let result = transport.get(&get("/x")).and_then(|mut response| {
            let read = response.read_to_end(&mut Vec::new());
            read.map_err(|error| error.downcast::<Error>().expect("an interrupted read carries what happened"))
        });
        let again = transport.get(&get("/x")).map(|_| 0);
        give.send((result, again)).unwrap();
    });
    reached();
    interrupt.interrupt();
    let (result, again) = take.recv_timeout(PATIENCE / 2).expect("the interrupt ends the request");
    assert!(matches!(result, Err(Error::Stopped { .. })), "{result:?}");
    assert!(matches!(again, Err(Error::Stopped { .. })), "{again:?}");
}

#[test]
fn an_interrupt_ends_a_tls_handshake() {
    let (note, reached) = notes();
    let server = Server::start(move |_, mut stream| {
        stream.read_exact(&mut [0; 5]).unwrap();
        note.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut endpoint = endpoint(&format!("https://{}", server.address));
    endpoint.trust.insecure = true;
    check(&client(endpoint), || reached.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn an_interrupt_ends_the_wait_for_a_head_and_for_a_body() {
    let heads = ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "HTTP/1.1 200 OK\r\n\r\nabc"];
    for (secure, head) in [false, true].into_iter().flat_map(|secure| heads.map(|head| (secure, head))) {
        let (note, reached) = notes();
        let config = Arc::new(server_config(&Authority::new().server(), None));
        let server = Server::start(move |_, stream| {
            let mut stream: Box<dyn crate::client::testing::Stream> =
                if secure { Box::new(tls(&config, stream)) } else { Box::new(stream) };
            if read_head(&mut stream).is_some() {
                stream.write_all(head.as_bytes()).unwrap();
                stream.flush().unwrap();
                note.send(()).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let mut endpoint = endpoint(&format!("{}://{}", if secure { "https" } else { "http" }, server.address));
        endpoint.trust.insecure = true;
        check(&client(endpoint), || reached.recv_timeout(PATIENCE).unwrap());
    }
}

/// A listener on loopback whose queue is full: whoever connects now waits for an answer that does not come.
fn full() -> (OwnedFd, SocketAddr, Vec<TcpStream>) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &free).unwrap();
    listen(&listener, 0).unwrap();
    let waiting = (0..8).map_while(|_| TcpStream::connect_timeout(&free, std::time::Duration::from_millis(50)).ok()).collect();
    (listener, free, waiting)
}

#[test]
fn an_interrupt_ends_a_connect() {
    let (_listener, address, waiting) = full();
    assert!(waiting.len() < 8, "the queue fills up");
    drop(waiting);
    let before = connecting_to(address.port());
    check(&client(endpoint(&format!("http://{address}"))), || {
        let deadline = Instant::now() + PATIENCE;
        while connecting_to(address.port()) == before {
            assert!(Instant::now() < deadline, "the connect does not begin");
            std::thread::yield_now();
        }
    });
}

/// How many sockets of this machine wait for an answer from `port`.
fn connecting_to(port: u16) -> usize {
    // Columns of proc(5): number, local address, remote address, state; 02 is SYN_SENT.
    let waiting = format!("0100007F:{port:04X} 02");
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(|line| line.contains(&waiting)).count()
}
