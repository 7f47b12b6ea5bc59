//! Kinds that custom resource definitions bring, take away and move to other versions.

use crate::answer::Answer;
use crate::api::{Api, Release, bookmark, line, watch};
use crate::capture::{briefs, start};
use crate::support::daemon::Daemon;
use crate::support::wait::{SOON, eventually};

const WIDGETS: &str = "/apis/example.com/v1/widgets";
const WATCH_WIDGETS: &str = "resources: [{gvr: example.com/v1/widgets}]";
const SERVED: &str = r#"{"kind":"APIResourceList","apiVersion":"v1","resources":[{"name":"widgets","singularName":"widget","namespaced":true,"kind":"Widget","verbs":["list","watch"]}]}"#;
const BOTH_VERSIONS: &str = r#"{"kind":"APIGroup","apiVersion":"v1","name":"example.com","versions":[{"groupVersion":"example.com/v2","version":"v2"},{"groupVersion":"example.com/v1","version":"v1"}]}"#;

fn served() -> Answer {
    Answer::json(200, SERVED)
}

fn not_found() -> Answer {
    Answer::recorded("crd-list-before-it-exists")
}

/// A server whose first streaming list holds the widgets `a` and `b`.
fn with_widgets() -> (Api, Daemon) {
    let api = Api::new(Release::V1_36);
    let list = watch(&[line("ADDED", "a", 7), line("ADDED", "b", 8), bookmark(10, true), line("DELETED", "b", 11)]);
    api.server.on(&format!("watch {WIDGETS}"), [list, Answer::recorded("crd-list-after-delete")]);
    let daemon = start(&api, WATCH_WIDGETS);
    daemon.wait_for("DELETED demo/b");
    (api, daemon)
}

fn reported(daemon: &Daemon, condition: &str) {
    eventually(SOON, condition, || daemon.http("/ready").is_some_and(|(_, body)| body.contains(condition)));
    assert_eq!(daemon.http("/ready").unwrap().0, 200, "the server was asked, and there is nothing to list");
    assert_eq!(daemon.http("/ready?strict=1").unwrap().0, 503);
}

#[test]
fn kind_that_is_defined_later_is_waited_for() {
    let api = Api::new(Release::V1_36);
    // Its storage is busy when it has just been defined, as recorded.
    let list = watch(&[line("ADDED", "a", 7), bookmark(10, true)]).left_open();
    api.server.on(&format!("watch {WIDGETS}"), [not_found(), Answer::recorded("crd-list-empty"), list]);
    let mut daemon = start(&api, WATCH_WIDGETS);
    daemon.wait_for_log(&["warn", "example.com/v1/widgets", "not served"]);
    reported(&daemon, "absent");
    assert!(daemon.lines().is_empty());
    api.server.on("get /apis/example.com/v1", [served()]);
    daemon.wait_for("ADDED demo/a initial");
    eventually(SOON, "all is well", || daemon.http("/ready?strict=1").unwrap().0 == 200);
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn kind_that_goes_away_takes_its_objects_along_and_comes_back_with_others() {
    let (api, daemon) = with_widgets();
    daemon.wait_for("DELETED demo/a inferred");
    reported(&daemon, "absent");
    let anew = line("ADDED", "a", 27).replace("uid-a", "uid-of-another");
    api.server.instead(&format!("watch {WIDGETS}"), [watch(&[anew, bookmark(30, true)]).left_open()]);
    api.server.on("get /apis/example.com/v1", [served()]);
    let lines = daemon.wait_for_lines("five lines", |lines| lines.len() >= 5);
    assert_eq!(briefs(&lines)[2..4], ["DELETED demo/b", "DELETED demo/a inferred"]);
    assert_eq!((lines[4].brief().as_str(), lines[4].uid.as_str()), ("ADDED demo/a inferred", "uid-of-another"));
    daemon.stop();
}

#[test]
fn version_that_is_served_no_longer_tells_nothing_as_deleted_and_names_the_next() {
    let api = Api::new(Release::V1_36);
    let list = watch(&[line("ADDED", "a", 7), bookmark(10, true), line("MODIFIED", "a", 11)]);
    api.server.on(&format!("watch {WIDGETS}"), [list, Answer::recorded("crd-list-after-delete")]);
    api.server.on("get /apis/example.com", [Answer::json(200, BOTH_VERSIONS)]);
    api.server.on("get /apis/example.com/v2", [served()]);
    let daemon = start(&api, WATCH_WIDGETS);
    daemon.wait_for_log(&["example.com/v1/widgets is no longer served", "watch example.com/v2/widgets instead"]);
    reported(&daemon, "version_gone");
    // A version that is served again goes on with what was known.
    api.server.instead(&format!("watch {WIDGETS}"), [watch(&[line("ADDED", "a", 11), bookmark(30, true)]).left_open()]);
    api.server.on("get /apis/example.com/v1", [served()]);
    eventually(SOON, "all is well", || daemon.http("/ready?strict=1").unwrap().0 == 200);
    assert_eq!(briefs(&daemon.stop().lines), ["ADDED demo/a initial", "UPDATED demo/a"]);
}

#[test]
fn group_whose_server_is_down_is_unknown_and_tells_nothing_as_deleted() {
    let down = Answer::json(503, r#"{"kind":"Status","message":"service unavailable","code":503}"#);
    let api = Api::new(Release::V1_36);
    let list = watch(&[line("ADDED", "a", 7), bookmark(10, true), line("MODIFIED", "a", 11)]);
    let again = watch(&[line("ADDED", "a", 11), bookmark(20, true)]).left_open();
    api.server.on(&format!("watch {WIDGETS}"), [list, Answer::recorded("crd-list-after-delete"), again]);
    api.server.on("get /apis/example.com/v1", [down.clone(), down, served()]);
    let daemon = start(&api, WATCH_WIDGETS);
    daemon.wait_for_log(&["discovery cannot tell why", "503"]);
    api.server.wait_for("the list after it", |requests| {
        requests.iter().filter(|request| request.parameter("sendInitialEvents").is_some()).count() >= 2
    });
    eventually(SOON, "all is well", || daemon.http("/ready?strict=1").unwrap().0 == 200);
    assert_eq!(briefs(&daemon.stop().lines), ["ADDED demo/a initial", "UPDATED demo/a"]);
}

/// A page of a load balancer that has no server to ask.
fn nobody() -> Answer {
    Answer::json(404, "<html><body>404 Not Found</body></html>")
}

#[test]
fn load_balancer_that_answers_404_to_everything_tells_nothing_as_deleted() {
    let everything = ["/version", "/api", "/apis", "/apis/example.com", "/apis/example.com/v1"];
    let api = Api::new(Release::V1_36);
    let list = watch(&[line("ADDED", "a", 7), bookmark(10, true), line("MODIFIED", "a", 11)]);
    api.server.on(&format!("watch {WIDGETS}"), [list, nobody()]);
    api.server.on(&format!("list {WIDGETS}"), [nobody()]);
    let daemon = start(&api, WATCH_WIDGETS);
    daemon.wait_for("UPDATED demo/a");
    everything.iter().for_each(|path| api.server.instead(&format!("get {path}"), [nobody()]));
    daemon.wait_for_log(&["discovery cannot tell why"]);
    let looked = api.server.asked("get /apis/example.com/v1");
    api.server.wait_for("three more looks", |requests| {
        requests.iter().filter(|request| request.what() == "get /apis/example.com/v1").count() >= looked + 3
    });
    // The server is back; its discovery holds the kind.
    api.server.instead(&format!("watch {WIDGETS}"), [watch(&[line("ADDED", "a", 11), bookmark(20, true)]).left_open()]);
    api.server.instead("get /apis/example.com/v1", [served()]);
    eventually(SOON, "all is well", || daemon.http("/ready?strict=1").unwrap().0 == 200);
    assert_eq!(briefs(&daemon.stop().lines), ["ADDED demo/a initial", "UPDATED demo/a"]);
}

#[test]
fn forbidden_discovery_tells_nothing_as_deleted_and_the_log_names_the_role() {
    let api = Api::new(Release::V1_36);
    let list = watch(&[line("ADDED", "a", 7), bookmark(10, true), line("MODIFIED", "a", 11)]);
    api.server.on(&format!("watch {WIDGETS}"), [list, not_found()]);
    api.server.on("get /apis/example.com/v1", [Answer::json(403, "no")]);
    let daemon = start(&api, WATCH_WIDGETS);
    let is_looked_into = |(_, body): (u16, String)| body.contains(r#""reason":"not_found""#);
    eventually(SOON, "it is looked into", || daemon.http("/ready").is_some_and(is_looked_into));
    daemon.wait_for_log(&["ClusterRole system:discovery"]);
    assert_eq!(daemon.http("/ready?strict=1").unwrap().0, 503);
    assert_eq!(briefs(&daemon.stop().lines), ["ADDED demo/a initial", "UPDATED demo/a"]);
}
