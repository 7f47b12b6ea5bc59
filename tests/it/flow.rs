//! A long watch on recorded bytes, in one piece after the other: list, changes, bookmarks, expiry, silence.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, bookmark, line, page, refused_streaming_list, watch};
use crate::capture::{briefs, start};
use crate::server::Server;
use crate::support::wait::{SOON, eventually};

#[test]
fn recorded_life_of_a_watch_is_told_change_by_change() {
    let api = Api::new(Release::V1_36);
    let list = Answer::recorded("watch-list-streaming-metadata-only");
    api.server.on(
        &format!("watch {CONFIGMAPS}"),
        [
            list.clone(),
            // The recorded changes of `live`, then its versions expire.
            Answer::recorded("watch-metadata-only"),
            watch(&[bookmark(260, false), bookmark(270, false)]),
            // It is believed the second time, over a new connection.
            Answer::recorded("watch-expired-410"),
            Answer::recorded("watch-expired-410"),
            list.left_open(),
        ],
    );
    let mut daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_for("DELETED demo/live");
    let requests = api.server.wait_for("the list after the expiry", |requests| {
        requests.iter().filter(|request| request.parameter("sendInitialEvents").is_some()).count() >= 2
    });
    // After the list, after the delete, after a bookmark.
    assert_eq!(Api::resumed_from(&requests, CONFIGMAPS), ["250", "246", "270", "270"]);
    daemon.wait_for_log(&["listing again", "410"]);
    daemon.wait_until_ready();
    eventually(SOON, "the second list is counted", || daemon.metric("faro_relists_total", r#"reason="expired""#) == 1.0);
    let told = briefs(&daemon.stop().lines);
    let listed = (0..7).map(|n| format!("ADDED demo/cm-{n} initial"));
    let changes = ["ADDED demo/live", "UPDATED demo/live", "UPDATED demo/live", "DELETED demo/live"].map(str::to_owned);
    assert_eq!(told, listed.chain(changes).collect::<Vec<_>>(), "the second list found nothing new");
}

#[test]
fn object_recreated_under_its_name_is_deleted_before_it_is_added() {
    let api = Api::with_a_and_b();
    let anew = |kind| line(kind, "a", 20).replace("uid-a", "uid-of-another");
    // Once told by a watch; once found by a list, as its delete had come in the gap.
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&[line("DELETED", "a", 19), anew("ADDED")])]);
    let daemon = start(&api, WATCH_CONFIGMAPS);
    let lines = daemon.wait_for_lines("four lines", |lines| lines.len() >= 4);
    assert_eq!(briefs(&lines[2..]), ["DELETED demo/a", "ADDED demo/a"]);
    assert_eq!([&lines[2].uid, &lines[3].uid], ["uid-a", "uid-of-another"]);
    api.server.instead(&format!("list {CONFIGMAPS}"), [page(30, &[("a", 28), ("b", 8)])]);
    let expired = || Answer::recorded("watch-expired-410");
    api.server.instead(&format!("watch {CONFIGMAPS}"), [expired(), expired()]);
    api.server.cut_all();
    let lines = daemon.wait_for_lines("six lines", |lines| lines.len() >= 6);
    assert_eq!(briefs(&lines[4..]), ["DELETED demo/a inferred", "ADDED demo/a inferred"]);
    assert_eq!([&lines[4].uid, &lines[5].uid], ["uid-of-another", "uid-a"]);
    daemon.stop();
}

#[test]
fn silent_watch_is_not_ended_while_another_goes_on() {
    let api = Api::with_a_and_b();
    let secrets = "/api/v1/namespaces/demo/secrets";
    api.server.on(&format!("list {secrets}"), [page(10, &[])]);
    // Of configmaps comes a head and nothing after it; secrets change, break and change again.
    let changes = (11..14).map(|version| watch(&[line("ADDED", "s", version), line("DELETED", "s", version + 10)]));
    api.server.on(&format!("watch {secrets}"), [refused_streaming_list()].into_iter().chain(changes));
    let config = "resources: [{gvr: v1/configmaps, namespace_names: [demo]}, {gvr: v1/secrets, namespace_names: [demo]}]";
    let mut daemon = start(&api, config);
    daemon.wait_for_lines("eight lines", |lines| lines.len() >= 8);
    daemon.wait_until_ready();
    assert_eq!(daemon.metric("faro_watch_restarts_total", r#"gvr="v1/configmaps""#), 0.0);
    assert!(daemon.metric("faro_watch_restarts_total", r#"gvr="v1/secrets""#) >= 3.0);
    let told = briefs(&daemon.stop().lines);
    assert!(!told.contains(&"DELETED demo/a".to_owned()), "{told:?}");
}

#[test]
fn server_that_was_killed_and_comes_back_loses_nothing() {
    let mut api = Api::on(Server::http_on_a_port_of_its_own(), Release::V1_20);
    api.write_kubeconfig("");
    api.serves_a_and_b();
    let mut daemon = start(&api, WATCH_CONFIGMAPS);
    daemon.wait_until_ready();
    api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    api.server.close();
    eventually(SOON, "the trouble is known", || daemon.http("/ready?strict=1").unwrap().0 == 503);
    daemon.wait_for_log(&["warn", "v1/configmaps", "retry_after"]);
    let (code, body) = daemon.http("/ready").unwrap();
    assert_eq!(code, 200, "the first list has ended, and stays so: {body}");
    assert!(body.contains("v1/configmaps"), "{body}");
    // While it was away `a` changed and `b` went; the version is still known, and so is what was there then.
    let changes = [line("MODIFIED", "a", 11), line("DELETED", "b", 12)];
    api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&changes).left_open()]);
    api.server.on(&format!("past {CONFIGMAPS}"), [page(10, &[("a", 7), ("b", 8)])]);
    api.server.reopen();
    let lines = daemon.wait_for_lines("both changes", |lines| lines.len() >= 4);
    assert_eq!(briefs(&lines[2..]), ["UPDATED demo/a", "DELETED demo/b"]);
    daemon.wait_for_log(&["the server answers again"]);
    eventually(SOON, "all is well again", || daemon.http("/ready?strict=1").unwrap().0 == 200);
    let asked = |what: &str| api.server.asked(&format!("{what} {CONFIGMAPS}"));
    assert_eq!((asked("list"), asked("past")), (1, 1), "nothing had to be listed again but what was there");
    daemon.stop();
}
