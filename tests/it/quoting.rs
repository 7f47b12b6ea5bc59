//! Servers, gateways and proxies that quote the request in whatever they answer: what Faro logs in with shows in no output.

use crate::answer::Answer;
use crate::api::{Api, Release, watch};
use crate::support::daemon::{Ended, Setup};
use crate::support::wait::{SOON, eventually};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faro::lifecycle::{Joined, Stop};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TOKEN: &str = "mk.TOKEN_q7w8/e9r0+t1y2-u3i4o5p6a7s8d9f0g1h2j3k4";
const PASSWORD: &str = "mk-PASSWORD:z9x8c7v6b5%41n4m3";
const USER: &str = "a-user-name";
const PROXY_PASSWORD: &str = "mk-PROXYPASS-l1k2j3h4g5f6d7";

/// So many characters of a credential in a row are one too many.
const PART_CHARS: usize = 8;

/// A credential in all the ways in which it is quoted, one after the other.
fn quoted(credential: &str, header: &str) -> String {
    let percent: String = credential.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let units: String = credential.bytes().map(|byte| format!("\\\\u{byte:04x}")).collect();
    let (front, back) = (&credential[..20], &credential[credential.len() - 20..]);
    let encoded = STANDARD.encode(credential);
    let whole = STANDARD.encode(format!("authorization: {header}"));
    format!("authorization: {header} {credential} {percent} {units} {encoded} {whole} [{front}] [{back}] {front}")
}

/// What Faro logs in with in one run, and what a header has of it.
#[derive(Clone, Copy, Debug)]
enum Login {
    Token,
    Password,
    Proxy,
}

impl Login {
    /// As lines of a kubeconfig's user.
    fn user(self) -> String {
        match self {
            Self::Token => format!("token: {TOKEN}"),
            Self::Password => format!("username: {USER}\npassword: \"{PASSWORD}\""),
            Self::Proxy => "token: another-token-than-that-which-is-looked-for".to_owned(),
        }
    }

    fn credential(self) -> &'static str {
        match self {
            Self::Token => TOKEN,
            Self::Password => PASSWORD,
            Self::Proxy => PROXY_PASSWORD,
        }
    }

    fn pair(self) -> Option<String> {
        match self {
            Self::Token => None,
            Self::Password => Some(format!("{USER}:{PASSWORD}")),
            Self::Proxy => Some(format!("joe:{PROXY_PASSWORD}")),
        }
    }

    fn quoted(self) -> String {
        let header = self.pair().map_or_else(|| format!("Bearer {TOKEN}"), |pair| format!("Basic {}", STANDARD.encode(pair)));
        quoted(self.credential(), &header)
    }

    /// The same as the message of a status.
    fn status(self, code: u16) -> String {
        let quoted = self.quoted();
        format!(
            r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"{quoted}","message":"{quoted}","code":{code}}}"#
        )
    }

    /// Every part of it, plain and in base64, that no output may hold.
    fn parts(self) -> Vec<Vec<u8>> {
        let credential = self.credential();
        let mut parts: Vec<_> = credential.as_bytes().windows(PART_CHARS).map(<[u8]>::to_vec).collect();
        parts.push(credential.bytes().take(4).flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect());
        parts.push(credential.bytes().take(4).flat_map(|byte| format!("\\u{byte:04x}").into_bytes()).collect());
        for text in [Some(credential.to_owned()), self.pair(), Some(format!("Bearer {credential}"))].into_iter().flatten() {
            // What is before the credential in it is known to everybody.
            parts.extend(STANDARD.encode(text).as_bytes()[16..].windows(PART_CHARS).map(<[u8]>::to_vec));
        }
        parts
    }
}

/// Looks through outputs, and counts how many bytes it saw.
#[derive(Default)]
struct Search {
    bytes: usize,
    outputs: usize,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, name: &str, bytes: &[u8], parts: &[Vec<u8>]) {
        self.bytes += bytes.len();
        self.outputs += 1;
        for part in parts.iter().filter(|part| memchr::memmem::find(bytes, part).is_some()) {
            self.found.push(format!("{} in {name}", String::from_utf8_lossy(part)));
        }
    }

    fn look_below(&mut self, folder: &Path, parts: &[Vec<u8>]) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                self.look_below(&path, parts);
            } else {
                self.look(&path.display().to_string(), &fs::read(&path).unwrap(), parts);
            }
        }
    }

    fn look_at(&mut self, ended: &Ended, setup: &Setup, parts: &[Vec<u8>]) {
        self.look("stderr", ended.log.as_bytes(), parts);
        self.look("stdout", ended.stdout.as_bytes(), parts);
        if setup.output().is_dir() {
            self.look_below(&setup.output(), parts);
        }
    }

    #[track_caller]
    fn check(self, outputs_min: usize) {
        assert_eq!(self.found, Vec::<String>::new(), "{} outputs, {} bytes", self.outputs, self.bytes);
        assert!(
            self.outputs >= outputs_min && self.bytes > 1000,
            "{} outputs, {} bytes were looked at",
            self.outputs,
            self.bytes
        );
    }
}

/// Each answer by the namespace whose objects are asked for.
fn answers(login: Login) -> Vec<(String, Answer)> {
    let mut answers: Vec<_> = [400, 401, 403, 404, 405, 410, 422, 429, 500, 501, 502, 503, 504]
        .into_iter()
        .flat_map(|code| {
            let page = format!("<html>{}</html>", login.quoted());
            let page = Answer::with_headers(code, &[("Content-Type", "text/html")], &page);
            [(format!("status-{code}"), Answer::json(code, login.status(code))), (format!("page-{code}"), page)]
        })
        .collect();
    let quoted = login.quoted();
    let line = |code: u16| format!(r#"{{"type":"ERROR","object":{}}}"#, login.status(code));
    for code in [401, 403, 410, 500, 504] {
        answers.push((format!("line-{code}"), watch(&[line(code)])));
    }
    let object =
        format!(r#"{{"type":"ADDED","object":{{"metadata":{{"name":"a","resourceVersion":"1","labels":{{"{quoted}":7}}}}}}}}"#);
    answers.extend([
        ("garbage".to_owned(), watch(std::slice::from_ref(&quoted))),
        ("object".to_owned(), watch(&[object])),
        (
            "redirect".to_owned(),
            Answer::with_headers(302, &[("Location", &format!("/{}", login.credential().replace('+', "%2B")))], ""),
        ),
        (
            "redirect-away".to_owned(),
            Answer::with_headers(307, &[("Location", &format!("https://{}.example.com/x", login.credential()))], ""),
        ),
        ("ok-page".to_owned(), Answer::with_headers(200, &[("Content-Type", "text/html")], &quoted)),
        ("ok-garbage".to_owned(), Answer::json(200, &quoted)),
        ("ok-status".to_owned(), Answer::json(200, login.status(403))),
        ("cut".to_owned(), Answer::json(500, login.status(500)).cut_after(700)),
        (
            "retry-after".to_owned(),
            Answer::with_headers(503, &[("Retry-After", login.credential()), ("Date", login.credential())], &quoted),
        ),
    ]);
    answers
}

fn check(login: Login) {
    let api = Api::new(Release::V1_36);
    let answers = answers(login);
    let path = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    for (namespace, answer) in &answers {
        for verb in ["watch", "list"] {
            api.server.on(&format!("{verb} {}", path(namespace)), [answer.clone()]);
        }
        api.server.on(&format!("get /api/v1/namespaces/{namespace}"), [Answer::json(403, login.status(403))]);
    }
    api.server.on("get /apis/apps/v1", [Answer::json(503, login.status(503))]);
    api.server.instead(
        "get /version",
        [Answer::json(200, format!(r#"{{"gitVersion":"v1.36.0-{}","major":"1","minor":"36"}}"#, login.credential()))],
    );
    let namespaces: Vec<_> = answers.iter().map(|(namespace, _)| namespace.as_str()).collect();
    let config = format!(
        "resources: [{{gvr: v1/configmaps, namespace_names: [{}]}}]\nmax_concurrent_lists: 64\njson_stdout: true",
        namespaces.join(", ")
    );
    let kubeconfig = api.write_kubeconfig_with_user("", &login.user());
    let setup = Setup::with_config(&config).kubeconfig(&kubeconfig);
    let daemon = setup.clone().start();
    for (namespace, _) in &answers {
        daemon.wait_for_log(&[&format!("v1/configmaps in {namespace}: ")]);
        let asked = |verb: &str| api.server.asked(&format!("{verb} {}", path(namespace)));
        eventually(SOON, &format!("{namespace} is asked for"), || asked("watch") + asked("list") > 0);
    }
    let (parts, mut search) = (login.parts(), Search::default());
    for page in ["/ready", "/ready?verbose=1", "/ready?strict=1", "/health", "/metrics", "/"] {
        let (_, body) = daemon.http(page).unwrap();
        search.look(page, body.as_bytes(), &parts);
        assert!(!body.contains("(..)") && !body.contains("authorization"), "no words of a server: {body}");
    }
    let ended = daemon.stop();
    assert!(ended.log.contains("(..)") && ended.log.contains("authorization: B"), "what is said otherwise is in the log");
    search.look_at(&ended, &setup, &parts);
    search.check(10);
}

#[test]
fn a_token_that_servers_quote_is_in_no_output() {
    check(Login::Token);
}

#[test]
fn a_password_that_servers_quote_is_in_no_output() {
    check(Login::Password);
}

#[test]
fn what_ends_a_start_or_a_check_quotes_no_credential() {
    let (mut search, mut ended_with) = (Search::default(), Vec::new());
    for login in [Login::Token, Login::Password] {
        let (parts, credential) = (login.parts(), login.credential());
        for path in ["/version", "/api", "/apis", "/api/v1/namespaces/kube-system"] {
            let mut answers: Vec<_> = [400, 401, 403, 500, 502].map(|code| Answer::json(code, login.status(code))).into();
            answers.extend([
                Answer::json(200, login.quoted()),
                Answer::json(
                    200,
                    format!(r#"{{"gitVersion":"{credential}","resources":"{credential}","kind":"{credential}","metadata":"{credential}"}}"#),
                ),
            ]);
            for (number, answer) in answers.into_iter().enumerate() {
                let api = Api::new(Release::V1_36);
                api.server.instead(&format!("get {path}"), [answer]);
                api.server
                    .on("post /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", [Answer::json(500, login.status(500))]);
                let kubeconfig = api.write_kubeconfig_with_user("", &login.user());
                let setup = Setup::with_config("resources: [{gvr: v1/configmaps}]\nauto_shutdown_sec: 1").kubeconfig(&kubeconfig);
                // Every answer by the check, which asks for all that a start asks for; some of them by a start, too.
                let subcommand = setup.clone().subcommand("check").run_to_end();
                search.look_at(&subcommand, &setup, &parts);
                ended_with.push(subcommand.code);
                if number == 0 {
                    search.look_at(&setup.clone().run_to_end(), &setup, &parts);
                }
            }
        }
    }
    assert!(ended_with.iter().filter(|code| **code == Some(1)).count() > 30, "{ended_with:?}");
    search.check(100);
}

/// Answers every `CONNECT` with one of these, in turn.
struct Quoting {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Stop,
    _acceptor: Joined,
}

impl Quoting {
    fn start(answers: Vec<String>) -> Self {
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
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let _ = client.write_all(answers[number % answers.len()].as_bytes());
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

#[test]
fn a_proxy_that_quotes_everything_back_shows_no_credential() {
    let pair = STANDARD.encode(format!("joe:{PROXY_PASSWORD}"));
    let login = Login::Proxy;
    let quoted = login.quoted();
    let answers: Vec<String> = vec![
        format!("HTTP/1.1 407 {quoted}\r\nX: {quoted}\r\n\r\n{quoted}"),
        format!("HTTP/1.1 403 {pair}\r\nProxy-Authenticate: {pair}\r\n\r\n{pair}"),
        format!("HTTP/1.1 {pair} {pair}\r\n\r\n"),
        format!("HTTP/1.1 {PROXY_PASSWORD}\r\n\r\n"),
        format!("Proxy-Authorization: Basic {pair}\r\n\r\n"),
        format!("HTTP/1.1 200 {pair}\r\n\r\n{quoted}"),
    ];
    let (parts, mut search) = (login.parts(), Search::default());
    for answer in &answers {
        let proxy = Quoting::start(vec![answer.clone()]);
        let api = Api::new(Release::V1_36);
        let cluster = format!("proxy-url: http://joe:{PROXY_PASSWORD}@{}", proxy.address);
        let kubeconfig = api.write_kubeconfig_with_user(&cluster, &login.user());
        let setup = Setup::with_config("resources: [{gvr: v1/configmaps}]").kubeconfig(&kubeconfig);
        for ended in [setup.clone().run_to_end(), setup.clone().subcommand("check").run_to_end()] {
            assert_eq!(ended.code, Some(1), "{}", ended.log);
            search.look_at(&ended, &setup, &parts);
        }
        assert!(proxy.asked.load(Ordering::SeqCst) >= 2);
    }
    search.check(20);
}
