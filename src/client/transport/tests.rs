//! The transport against scripted servers on loopback.

use crate::client::testing::{Server, client, endpoint, fetch, get, header, notes, ok};
use std::io::Read;

#[test]
fn a_transport_keeps_its_connection() {
    let (note, noted) = notes();
    let server = Server::start(move |number, mut stream| {
        crate::client::testing::serve_http(&mut stream, &mut |head: &str| {
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
    assert!(header(head, "user-agent").unwrap().starts_with("faro/"), "{head}");
    assert_eq!(header(head, "host"), Some(server.address.to_string().as_str()));
}

#[test]
fn a_plain_request_is_answered() {
    let server = Server::http(|_| ok("hello"));
    assert_eq!(fetch(&client(endpoint(&server.url()))), Ok("hello".to_owned()));
}
