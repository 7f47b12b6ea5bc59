//! A proxy between Faro and the server: `CONNECT`, its credentials, and the variables as kubectl reads them.

use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, refused_streaming_list};
use crate::support::daemon::{Daemon, Setup};
use crate::support::pki::Pki;
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faro::lifecycle::{Joined, Stop};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Leads every `CONNECT` to one server, whatever it asks for, and remembers its lines.
struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Stop,
    acceptor: Option<Joined>,
}

struct Shared {
    server: SocketAddr,
    heads: Mutex<Vec<Vec<String>>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { server, heads: Mutex::default(), open: Mutex::default() });
        let stop = Stop::new();
        let (sharing, stopped) = (Arc::clone(&shared), stop.clone());
        let acceptor = Joined::spawn("proxy", move || sharing.accept(&listener, &stopped));
        Self { address, shared, stop, acceptor: Some(acceptor.unwrap()) }
    }

    /// What was asked, as in `CONNECT 127.0.0.1:6443`.
    fn asked(&self) -> Vec<String> {
        let heads = self.shared.heads.lock().unwrap();
        heads.iter().map(|head| head[0].trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.request();
        drop(TcpStream::connect(self.address));
        self.acceptor.take();
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener, stop: &Stop) {
        let mut pumps = Vec::new();
        for client in listener.incoming() {
            if stop.is_requested() {
                break;
            }
            // A client that goes away in the middle of its words is none.
            pumps.extend(client.and_then(|client| self.tunnel(client)).into_iter().flatten());
        }
        for stream in self.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn tunnel(&self, client: TcpStream) -> io::Result<[Joined; 2]> {
        let mut head = Vec::new();
        let mut reader = BufReader::new(client.try_clone()?);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        self.heads.lock().unwrap().push(head);
        let server = TcpStream::connect(self.server)?;
        (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        self.open.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
        let back = (server.try_clone()?, client.try_clone()?);
        Ok([Joined::spawn("up", move || pump(client, server))?, Joined::spawn("down", move || pump(back.0, back.1))?])
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    // An error is the end of a connection, as its end is.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// A TLS server, and the lines of a kubeconfig's cluster that trust it under any name.
fn server() -> (Api, String) {
    let pki = Pki::new();
    let api = Api::on(tls::server(&pki), Release::V1_20);
    api.serves_a_and_b();
    (api, format!("certificate-authority-data: {}\ntls-server-name: localhost", STANDARD.encode(&pki.ca)))
}

fn stop(daemon: Daemon) -> String {
    daemon.wait_for("ADDED demo/b initial");
    daemon.stop().log
}

#[test]
fn proxy_url_leads_every_connection_and_its_password_goes_nowhere_else() {
    let (api, ca) = server();
    let proxy = Proxy::to(api.server.address());
    let kubeconfig = api.write_kubeconfig(&format!("{ca}\nproxy-url: http://joe:proxy-pass%3Aword@{}", proxy.address));
    // The kubeconfig's proxy comes before the variables, and NO_PROXY is for those.
    let setup = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&kubeconfig).variable("NO_PROXY", "*");
    let daemon = setup.keeping_secret(vec!["proxy-pass".to_owned(), STANDARD.encode("joe:proxy-pass:word")]).start();
    stop(daemon);
    let asked = proxy.asked();
    let connect = format!("CONNECT {}", api.server.address());
    assert!(!asked.is_empty() && asked.iter().all(|asked| *asked == connect), "{asked:?}");
    let credentials = format!("Proxy-Authorization: Basic {}", STANDARD.encode("joe:proxy-pass:word"));
    for head in proxy.shared.heads.lock().unwrap().iter() {
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case(&credentials)), "{head:?}");
        assert!(!head.iter().any(|line| line.contains("sesame")), "the server's token is not the proxy's business");
    }
    for request in api.server.requests() {
        assert_eq!(request.header("Proxy-Authorization"), None);
        assert_eq!(request.header("Authorization"), Some("Bearer sesame-opens-this"));
    }
}

#[test]
fn proxy_variables_mean_what_they_mean_to_kubectl() {
    let (api, ca) = server();
    let port = api.server.address().port();
    // On Linux 0.0.0.0 leads to this machine, and is no loopback address, which no variable sends to a proxy.
    let check = |url: &str, variables: &[(&str, &str)], expected: Option<&str>| {
        let proxy = Proxy::to(api.server.address());
        let kubeconfig = api.write_kubeconfig_for(url, &ca, "token: sesame-opens-this");
        let address = proxy.address.to_string();
        let setup = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&kubeconfig);
        let setup = variables.iter().fold(setup, |setup, (name, value)| setup.variable(name, &value.replace("PROXY", &address)));
        stop(setup.start());
        let asked = proxy.asked();
        assert_eq!(asked.first().map(String::as_str), expected, "{variables:?}");
        api.server.instead(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    };
    let (elsewhere, any) = (format!("https://0.0.0.0:{port}"), format!("CONNECT 0.0.0.0:{port}"));
    check(&elsewhere, &[("HTTPS_PROXY", "http://PROXY")], Some(&any));
    check(&elsewhere, &[("https_proxy", "PROXY"), ("NO_PROXY", "10.0.0.0/8, example.com")], Some(&any));
    check(&elsewhere, &[("HTTPS_PROXY", "http://PROXY"), ("no_proxy", "example.com, 0.0.0.0/8")], None);
    check(&elsewhere, &[("HTTP_PROXY", "http://PROXY")], None);
    check(&format!("https://127.0.0.1:{port}"), &[("HTTPS_PROXY", "http://PROXY")], None);
    // A name that nobody knows but the proxy.
    let name = "https://api.cluster.test:6443";
    check(name, &[("HTTPS_PROXY", "http://PROXY")], Some("CONNECT api.cluster.test:6443"));
}

#[test]
fn proxy_that_does_not_answer_is_named() {
    let (api, ca) = server();
    let gone = Proxy::to(api.server.address()).address;
    let kubeconfig = api.write_kubeconfig(&format!("{ca}\nproxy-url: http://joe:proxy-password@{gone}"));
    let setup = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&kubeconfig);
    let ended = setup.keeping_secret(vec!["proxy-password".to_owned()]).run_to_end();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains(&gone.to_string()), "{}", ended.log);
    assert!(api.server.requests().is_empty());
}
