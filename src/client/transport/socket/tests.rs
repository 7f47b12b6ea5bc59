//! What the kernel is told about a connection. A half-open link cannot be made without root; that these settings find one within
//! their sum is the kernel's promise.

use super::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, Socket, USER_TIMEOUT};
use rustix::net::sockopt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

#[test]
fn a_dead_peer_is_found_within_a_minute() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let socket = Socket::connect::<io::Error>(listener.local_addr().unwrap(), deadline, |_| Ok(())).unwrap();
    let stream = socket.stream();
    assert!(sockopt::socket_keepalive(stream).unwrap());
    assert!(sockopt::tcp_nodelay(stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(stream).unwrap(), KEEPALIVE_IDLE);
    assert_eq!(sockopt::tcp_keepintvl(stream).unwrap(), KEEPALIVE_INTERVAL);
    assert_eq!(sockopt::tcp_keepcnt(stream).unwrap(), KEEPALIVE_PROBES);
    assert_eq!(u128::from(sockopt::tcp_user_timeout(stream).unwrap()), USER_TIMEOUT.as_millis());
    assert!(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES < Duration::from_secs(60));
    assert!(USER_TIMEOUT < Duration::from_secs(60));
    assert_eq!(sockopt::socket_timeout(stream, sockopt::Timeout::Send).unwrap(), None);
}
