//! What is sent, and what an answer means.

use crate::api::Fault;
use crate::chain::chain;
use crate::client::endpoint::LoginSource;
use crate::client::secret::Secret;
use crate::client::testing::{Server, answer, client, endpoint, fetch, get, header, notes, ok, serve_http};
use crate::client::{Client, Error};
use crossbeam_channel::Receiver;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_transport_keeps_its_connection() {
    let (note, noted) = notes();
    let server = Server::start(move |number, mut stream| {
        serve_http(&mut stream, &mut |head: &str| {
            note.send((number, head.to_owned())).unwrap();
            ok("{}")
        });
    });
    let transport = client(endpoint(&format!("{}/base/", server.url()))).transport();
    for _ in 0..3 {
        let mut body = String::new();
        let mut response = transport.get(&get("/api?x=1")).unwrap();
        assert_eq!(response.content_type, "application/json");
        response.read_to_string(&mut body).unwrap();
        assert_eq!(body, "{}");
    }
    drop(transport);
    let seen: Vec<_> = noted.try_iter().collect();
    assert_eq!(seen.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 0, 0]);
    let head = &seen[0].1;
    assert!(head.starts_with("GET /base/api?x=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(head, "accept-encoding"), Some("identity"));
    assert_eq!(header(head, "accept"), Some("application/json"));
    assert!(header(head, "user-agent").unwrap().starts_with("faro/"), "{head}");
    assert_eq!(header(head, "host"), Some(server.address.to_string().as_str()));
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced_unseen() {
    // Closes each connection after one answer, and does not say so.
    let server = Server::start(|_, mut stream| {
        let mut answers = 0;
        serve_http(&mut stream, &mut |_: &str| {
            answers += 1;
            if answers == 1 { ok("{}") } else { Vec::new() }
        });
    });
    let transport = client(endpoint(&server.url())).transport();
    for _ in 0..3 {
        transport.get(&get("/x")).unwrap().read_to_end(&mut Vec::new()).unwrap();
    }
}

fn logged_in(login: LoginSource, headers: &[(&str, &str)]) -> (Server, Client, Receiver<String>) {
    let (note, noted) = notes();
    let server = Server::http(move |head| {
        note.send(head.to_owned()).unwrap();
        ok("{}")
    });
    let mut endpoint = endpoint(&server.url());
    endpoint.login = login;
    endpoint.impersonation = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let client = client(endpoint);
    (server, client, noted)
}

#[test]
fn a_token_of_12_kb_is_sent_whole() {
    let token = "t".repeat(12 * 1024);
    let (_server, client, noted) = logged_in(LoginSource::Token(Secret::new(&token)), &[]);
    fetch(&client).unwrap();
    assert_eq!(header(&noted.recv().unwrap(), "authorization"), Some(format!("Bearer {token}").as_str()));
}

#[test]
fn a_name_and_password_and_impersonation_are_sent() {
    let login = LoginSource::Basic { user: "joe".to_owned(), password: Secret::new("hunter2") };
    let (_server, client, noted) = logged_in(login, &[("Impersonate-User", "jane"), ("Impersonate-Group", "ops")]);
    fetch(&client).unwrap();
    let head = noted.recv().unwrap();
    assert_eq!(header(&head, "authorization"), Some("Basic am9lOmh1bnRlcjI="));
    assert_eq!((header(&head, "impersonate-user"), header(&head, "impersonate-group")), (Some("jane"), Some("ops")));
}

#[cfg(feature = "gzip")]
#[test]
fn a_compressed_answer_is_asked_for_and_unpacked() {
    // `printf '{"kind":"PodList"}' | gzip -n`
    const PACKED: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xab, 0x56, 0xca, 0xce, 0xcc, 0x4b, 0x51, 0xb2, 0x52, 0x0a,
        0xc8, 0x4f, 0xf1, 0xc9, 0x2c, 0x2e, 0x51, 0xaa, 0x05, 0x00, 0x70, 0x51, 0x2a, 0x49, 0x12, 0x00, 0x00, 0x00,
    ];
    let (note, noted) = notes();
    let server = Server::http(move |head| {
        note.send(header(head, "accept-encoding").unwrap().to_owned()).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", PACKED.len());
        [head.as_bytes(), PACKED].concat()
    });
    let transport = client(endpoint(&server.url())).transport();
    let mut body = String::new();
    transport.get(&crate::client::transport::Get { gzip: true, ..get("/x") }).unwrap().read_to_string(&mut body).unwrap();
    assert_eq!(body, r#"{"kind":"PodList"}"#);
    assert_eq!(noted.recv().unwrap(), "gzip");
}

fn check_refusal(status: &str, headers: &str, body: &str, fault: Fault, text: &str) {
    let bytes = answer(status, headers, body);
    let server = Server::http(move |_| bytes.clone());
    let error = client(endpoint(&server.url())).transport().get(&get("/x")).unwrap_err();
    assert_eq!(error.fault(), fault, "{error}");
    assert!(chain(&error).contains(text), "{}", chain(&error));
}

#[test]
fn error_answers_keep_their_code_message_and_patience() {
    check_refusal("403 Forbidden", "", r#"{"message":"no list on pods"}"#, Fault::Forbidden, "403 no list on pods");
    let later = Fault::Busy { retry_after: Some(Duration::from_secs(7)) };
    check_refusal("429 Too Many Requests", "Retry-After: 7\r\n", "{}", later, "get a test: 429");
    check_refusal("401 Unauthorized", "", "{}", Fault::Unauthorized, "401");
    let page = "x".repeat(200_000);
    check_refusal("502 Bad Gateway", "", &page, Fault::Server, "502 xxx");
}

#[test]
fn a_redirect_is_named_and_not_followed() {
    let location = |to: &str| format!("Location: {to}\r\n");
    let text = "redirects to https://sso.test:443 (302)";
    check_refusal("302 Found", &location("https://joe:hunter2@sso.test/login?token=hunter2"), "", Fault::Undecodable, text);
    check_refusal("307 Temporary", &location("/login?token=hunter2"), "", Fault::Undecodable, "redirects to /login (307)");
}

#[test]
fn a_refused_token_file_is_read_again_and_the_request_repeated_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let (note, noted) = notes();
    let (server_path, accept_new) = (path.clone(), Arc::new(AtomicBool::new(true)));
    let accept = accept_new.clone();
    let server = Server::http(move |head| {
        let sent = header(head, "authorization").unwrap().to_owned();
        note.send(sent.clone()).unwrap();
        std::fs::write(&server_path, "new\n").unwrap();
        let accepted = sent == "Bearer new" && accept.load(Ordering::SeqCst);
        if accepted { ok("in") } else { answer("401 Unauthorized", "", "{}") }
    });
    let mut endpoint = endpoint(&server.url());
    endpoint.login = LoginSource::TokenFile { path, meanwhile: None };
    let client = client(endpoint);
    assert_eq!(fetch(&client), Ok("in".to_owned()));
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), ["Bearer old", "Bearer new"]);
    accept_new.store(false, Ordering::SeqCst);
    let error = client.transport().get(&get("/x")).unwrap_err();
    assert_eq!(error.fault(), Fault::Unauthorized);
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), ["Bearer new"], "the file says nothing else, so nothing else is tried");
}

#[test]
fn a_head_that_is_too_long_is_an_error_and_a_long_one_is_not() {
    let headers = |bytes: usize| format!("X-Cookie: {}\r\n", "c".repeat(bytes));
    let server =
        Server::http(move |head| answer("200 OK", &headers(if head.contains("/long") { 40_000 } else { 100_000 }), "in"));
    let transport = client(endpoint(&server.url())).transport();
    transport.get(&get("/long")).unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(matches!(transport.get(&get("/endless")), Err(Error::Connection { .. })));
}

#[test]
fn many_small_and_large_chunks_come_out_whole() {
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = body.clone();
    let server = Server::start(move |_, mut stream| {
        serve_http(&mut stream, &mut |_: &str| {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let (mut rest, mut size) = (&body[..], 1);
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(size.min(rest.len()));
                write!(bytes, "{:x}\r\n", chunk.len()).unwrap();
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
                (rest, size) = (after, size * 3 % 40_009);
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            bytes
        });
    });
    let transport = client(endpoint(&server.url())).transport();
    for _ in 0..2 {
        let mut seen = Vec::new();
        transport.get(&get("/x")).unwrap().read_to_end(&mut seen).unwrap();
        assert!(seen == expected);
    }
}

#[test]
fn a_url_is_as_long_as_the_longest_selectors_make_it() {
    let server = Server::http(|head| ok(&head.lines().next().unwrap().len().to_string()));
    let path = format!("/api/v1/pods?fieldSelector={}&continue={}", "x".repeat(crate::api::SELECTOR_BYTES_MAX), "t".repeat(2048));
    let mut body = String::new();
    client(endpoint(&server.url())).transport().get(&get(&path)).unwrap().read_to_string(&mut body).unwrap();
    assert_eq!(body, (path.len() + "GET  HTTP/1.1".len()).to_string());
}
