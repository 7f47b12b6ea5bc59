//! Proxies that quote everything back, and handshakes that fail, with each kind of credential.

use super::both_fail;
use super::login::Login;
use super::search::Search;
use crate::api::{Api, Release};
use crate::support::daemon::Setup;
use crate::support::pki::{Pki, stranger};
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faro::lifecycle::{Joined, Stop};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers every `CONNECT` so.
struct Quoting {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Stop,
    _acceptor: Joined,
}

impl Quoting {
    fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::<AtomicUsize>::default(), Stop::new());
        let (counted, stopped) = (Arc::clone(&asked), stop.clone());
        let acceptor = Joined::spawn("proxy", move || {
            for client in listener.incoming() {
                if stopped.is_requested() {
                    return;
                }
                let (mut client, mut head) = (client.unwrap(), Vec::new());
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if client.read_exact(&mut byte).is_err() {
                        break;
                    }
                    head.push(byte[0]);
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = client.write_all(answer.as_bytes());
                let _ = client.shutdown(Shutdown::Write);
            }
        });
        Self { address, asked, stop, _acceptor: acceptor.unwrap() }
    }
}

impl Drop for Quoting {
    fn drop(&mut self) {
        self.stop.request();
        drop(TcpStream::connect(self.address));
    }
}

/// A run and a check that cannot begin.
fn look_at_both(search: &mut Search, kubeconfig: &Path) {
    let setup = Setup::with_config("resources: [{gvr: v1/configmaps}]").kubeconfig(kubeconfig);
    for ended in both_fail(&setup, "") {
        search.look_at(&ended, &setup);
    }
}

#[test]
fn a_proxy_that_quotes_everything_back_shows_no_credential() {
    // A proxy is shown no credential but its own; that it knows others all the same is the worse case.
    for login in Login::ALL {
        let quoted = login.quoted();
        let (credential, header) = login.shown().unwrap_or(("nothing", "Basic bm90aGluZw==".to_owned()));
        let shown = header.split_once(' ').unwrap().1;
        let answers = [
            format!("HTTP/1.1 407 {quoted}\r\nX: {quoted}\r\n\r\n{quoted}"),
            format!("HTTP/1.1 403 {shown}\r\nProxy-Authenticate: {shown}\r\n\r\n{shown}"),
            format!("HTTP/1.1 502 {quoted}\r\nContent-Type: text/html\r\n\r\n<html>{quoted}</html>"),
            format!("HTTP/1.1 {shown} {shown}\r\n\r\n"),
            format!("HTTP/1.1 {credential}\r\n\r\n"),
            format!("Proxy-Authorization: {header}\r\n\r\n"),
            format!("HTTP/1.1 200 {shown}\r\n\r\n{quoted}"),
        ];
        let mut search = Search::of(login);
        for answer in &answers {
            let is_its_own = matches!(login, Login::Proxy);
            for tls in if is_its_own { &[false, true][..] } else { &[false] } {
                let proxy = Quoting::start(answer.clone());
                let api = Api::new(Release::V1_36);
                let cluster = format!("proxy-url: http://{}{}", login.userinfo(), proxy.address);
                let url = if *tls { "https://127.0.0.1:1".to_owned() } else { api.server.url() };
                let kubeconfig = api.write_kubeconfig_for(&url, &cluster, &login.user(&api));
                look_at_both(&mut search, &kubeconfig);
                let asked = proxy.asked.load(Ordering::SeqCst);
                assert!(asked >= 2, "{asked}");
                search.quotes += asked;
            }
        }
        search.check(&format!("proxies with {login:?}"), 4 * answers.len(), 2 * answers.len());
    }
}

#[test]
fn a_handshake_that_fails_shows_no_credential() {
    let (ours, expired) = (Login::pki(), Pki::expired());
    let authority = |pem: &str| format!("certificate-authority-data: {}", STANDARD.encode(pem));
    for login in Login::ALL {
        let mut search = Search::of(login);
        for (pki, cluster) in [
            (ours, String::new()),
            (ours, authority(&stranger())),
            (ours, format!("{}\ntls-server-name: elsewhere.test", authority(&ours.ca))),
            (ours, authority("no certificate")),
            (&expired, authority(&expired.ca)),
        ] {
            let api = Api::on(tls::server(pki), Release::V1_36);
            let kubeconfig = api.write_kubeconfig_with_user(&cluster, &login.user(&api));
            look_at_both(&mut search, &kubeconfig);
            assert!(api.server.requests().is_empty(), "no request, and so no credential, reaches a server that is not trusted");
        }
        // One that speaks no TLS, and one that is not there.
        let api = Api::new(Release::V1_36);
        for url in [api.server.url().replace("http:", "https:"), "https://127.0.0.1:1".to_owned()] {
            let kubeconfig = api.write_kubeconfig_for(&url, "", &login.user(&api));
            look_at_both(&mut search, &kubeconfig);
        }
        search.check(&format!("handshakes with {login:?}"), 28, 0);
    }
}
