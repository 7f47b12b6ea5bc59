//! The daemon's own port: where it is had, and the descriptors that it is served with.

use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::SOON;
use faro::sim::Cluster;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

const WATCH: &str = "resources: [{gvr: v1/configmaps}]\n";

/// A daemon that serves as `metrics` says.
fn serving(cluster: &Cluster, metrics: &str) -> Setup {
    let setup = Setup::bare().kubeconfig(cluster.kubeconfig());
    let output = setup.output().display().to_string();
    setup.config(&format!("output_dir: {output}\nlog_level: debug\nmetrics: {metrics}\n{WATCH}"))
}

fn cluster() -> Cluster {
    Cluster::builder().tls(false).start().unwrap()
}

/// The address that the log names.
fn bound(daemon: &Daemon) -> SocketAddr {
    let line = daemon.wait_for_log(&["serving /metrics, /health and /ready on http://"]);
    line.rsplit_once("http://").unwrap().1.trim().parse().unwrap()
}

fn health(address: SocketAddr) -> String {
    let mut client = TcpStream::connect_timeout(&address, SOON).unwrap();
    client.write_all(b"GET /health HTTP/1.1\r\nHost: faro\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn port_0_takes_a_free_port_at_any_address_and_the_log_names_it() {
    let cluster = cluster();
    let check = |bind_addr: &str, asked_at: &str| {
        // Not every machine has IPv6.
        if TcpListener::bind((asked_at, 0)).is_err() {
            return;
        }
        let daemon = serving(&cluster, &format!("{{port: 0, bind_addr: '{bind_addr}'}}")).start();
        let address = bound(&daemon);
        assert_eq!(address.ip(), bind_addr.parse::<IpAddr>().unwrap());
        let asked = SocketAddr::new(asked_at.parse().unwrap(), address.port());
        assert_eq!(health(asked), "HTTP/1.1 200 OK", "{bind_addr} at {asked}");
        daemon.stop();
    };
    check("127.0.0.1", "127.0.0.1");
    check("0.0.0.0", "127.0.0.1");
    check("::1", "::1");
    check("::", "::1");
}

#[test]
fn daemon_raises_its_soft_limit_of_descriptors_to_the_hard_one() {
    let cluster = cluster();
    let daemon = serving(&cluster, "{port: 0, bind_addr: 127.0.0.1}").descriptors_max(100).start();
    bound(&daemon);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let [soft, hard, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert!(soft == hard && soft != "100", "{line}");
    daemon.wait_for_log(&["debug", &format!("file descriptors: {hard} at most, raised from 100")]);
    daemon.stop();
}
