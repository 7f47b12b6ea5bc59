//! Proxies of each kind, with and without credentials.

use crate::client::Client;
use crate::client::proxy::Proxy;
use crate::client::testing::{
    Authority, Server, client, endpoint, fetch, header, notes, ok, read_head, serve_http, server_config, tls,
};
use crossbeam_channel::Receiver;
use std::io::{Read, Write};
use std::sync::Arc;

/// A client of `https://api.test:6443` behind `proxy`, whose certificate it accepts.
fn behind(proxy: &str, authority: &Authority) -> Client {
    let mut endpoint = endpoint("https://api.test:6443");
    endpoint.trust.authority = Some(crate::client::endpoint::Pem {
        what: "ca".to_owned(),
        source: crate::client::endpoint::PemSource::Inline(authority.pem().into_bytes()),
    });
    endpoint.proxy = Some(Proxy::parse(proxy, "proxy-url").unwrap());
    client(endpoint)
}

/// A proxy that answers a CONNECT with `line` and then plays the API server itself.
fn connect_proxy(authority: &Authority, secure: bool, line: &'static str) -> (Server, Receiver<String>) {
    let (note, noted) = notes();
    let config = Arc::new(server_config(&authority.server(), None));
    let server = Server::start(move |_, stream| {
        let mut stream: Box<dyn crate::client::testing::Stream> =
            if secure { Box::new(tls(&config, stream)) } else { Box::new(stream) };
        let Some(head) = read_head(&mut stream) else { return };
        note.send(head).unwrap();
        write!(stream, "HTTP/1.1 {line}\r\n\r\n").unwrap();
        let mut inner = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream);
        serve_http(&mut inner, &mut |head: &str| {
            note.send(head.to_owned()).unwrap();
            ok("in")
        });
    });
    (server, noted)
}

#[test]
fn a_connect_proxy_gets_the_target_and_its_credentials_only() {
    let authority = Authority::new();
    for secure in [false, true] {
        let (server, noted) = connect_proxy(&authority, secure, "200 Connection established");
        let scheme = if secure { "https" } else { "http" };
        let proxy = format!("{scheme}://joe:p%40ss@{}", server.address);
        assert_eq!(fetch(&behind(&proxy, &authority)), Ok("in".to_owned()), "{scheme}");
        let (connect, request) = (noted.recv().unwrap(), noted.recv().unwrap());
        assert!(connect.starts_with("CONNECT api.test:6443 HTTP/1.1\r\n"), "{connect}");
        assert_eq!(header(&connect, "host"), Some("api.test:6443"));
        assert_eq!(header(&connect, "proxy-authorization"), Some("Basic am9lOnBAc3M="));
        assert_eq!(header(&request, "host"), Some("api.test:6443"));
        assert_eq!(header(&request, "proxy-authorization"), None);
    }
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let authority = Authority::new();
    for (line, expected) in [
        ("407 Proxy Authentication Required", "asks for a user name and password that it accepts (407)"),
        ("403 Forbidden", "refuses to connect to api.test:6443 (403)"),
    ] {
        let (server, _noted) = connect_proxy(&authority, false, line);
        let error = fetch(&behind(&format!("http://joe:hunter2@{}", server.address), &authority)).unwrap_err();
        assert!(error.contains(&format!("the proxy http://{}: it {expected}", server.address)), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// A SOCKS5 proxy that plays the API server too; notes what it was asked.
fn socks_proxy(authority: &Authority, password: bool) -> (Server, Receiver<Vec<u8>>) {
    let (note, noted) = notes();
    let config = Arc::new(server_config(&authority.server(), None));
    let server = Server::start(move |_, mut stream| {
        let take = |stream: &mut std::net::TcpStream, length: usize| {
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        let greeting = take(&mut stream, 2);
        take(&mut stream, greeting[1].into());
        stream.write_all(&[5, if password { 2 } else { 0 }]).unwrap();
        if password {
            let login = take(&mut stream, 1 + 1 + 3 + 1 + 4);
            note.send(login).unwrap();
            stream.write_all(&[1, 0]).unwrap();
        }
        let request = take(&mut stream, 4 + 1 + "api.test".len() + 2);
        note.send(request).unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        serve_http(&mut tls(&config, stream), &mut |_: &str| ok("in"));
    });
    (server, noted)
}

#[test]
fn a_socks5_proxy_resolves_the_name_itself() {
    let authority = Authority::new();
    let request = [&[5, 1, 0, 3, 8][..], b"api.test", &6443_u16.to_be_bytes()].concat();
    for scheme in ["socks5", "socks5h"] {
        let (server, noted) = socks_proxy(&authority, false);
        assert_eq!(fetch(&behind(&format!("{scheme}://{}", server.address), &authority)), Ok("in".to_owned()));
        assert_eq!(noted.recv().unwrap(), request, "{scheme}");
        let (server, noted) = socks_proxy(&authority, true);
        assert_eq!(fetch(&behind(&format!("{scheme}://joe:p%40ss@{}", server.address), &authority)), Ok("in".to_owned()));
        assert_eq!(noted.recv().unwrap(), b"\x01\x03joe\x04p@ss");
        assert_eq!(noted.recv().unwrap(), request, "{scheme}");
    }
}

#[test]
fn a_socks5_proxy_that_wants_a_password_says_so() {
    let authority = Authority::new();
    let server = Server::start(|_, mut stream| {
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(&[5, 0xff]).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = fetch(&behind(&format!("socks5://{}", server.address), &authority)).unwrap_err();
    assert!(error.contains("it asks for a user name and password"), "{error}");
}
