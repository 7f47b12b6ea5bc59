//! How a list is asked for, and what happens where it does not end.

use super::*;
use crate::client::{OBJECT_BYTES_MAX, WINDOW_BYTES};

#[test]
fn a_streaming_list_without_a_byte_for_10_s_goes_on_by_pages() {
    let enough = ticks(Limits::default().first_byte);
    check(
        vec![Answer::Watch(vec![Read::Quiet(enough)]), listed(&["a@7"], "10")],
        &["stream", "page 500", "watch 10, short"],
        &["ADDED(initial) a@7"],
    );
    check(vec![Answer::Watch(vec![Read::Quiet(enough - 1)])], &["stream"], &[]);
}

#[test]
fn a_streaming_list_that_does_not_end_goes_on_by_pages() {
    let enough = ticks(Limits::default().initial_events_end);
    let begun = |quiet| Answer::Watch(vec![Read::Line(line("ADDED", "a@7")), Read::Quiet(quiet)]);
    check(vec![begun(enough), listed(&["a@7"], "10")], &["stream", "page 500", "watch 10"], &["ADDED(initial) a@7"]);
    check(vec![begun(enough - 1)], &["stream"], &["ADDED(initial) a@7"]);
}

#[test]
fn a_streaming_list_that_does_not_end_goes_on_by_pages_whatever_keeps_coming() {
    let changes =
        ["a@9", "a@10"].map(|object| [Read::Quiet(ticks(Duration::from_secs(30))), Read::Line(line("MODIFIED", object))]);
    let initial = ["a@7", "b@8"].map(|object| Read::Line(line("ADDED", object)));
    let answers =
        vec![Answer::Watch(initial.into_iter().chain(changes.into_iter().flatten()).collect()), listed(&["a@9", "b@8"], "10")];
    check(answers, &["stream", "page 500", "watch 10"], &["ADDED(initial) a@7", "ADDED(initial) b@8", "UPDATED a@9"]);
}

/// A kind, what its server answers, and which versions it says to be.
type Run<'a> = (&'a str, Vec<Answer>, &'a [Result<&'static str, u16>]);

/// Runs watches one after the other behind one gate, and gives what each asked.
fn asked_in_turn(runs: Vec<Run<'_>>) -> Vec<Vec<String>> {
    let gate = ListGate::new(1);
    let run = |(gvr, answers, versions)| {
        let mut stage = Stage::of_versions(gvr, answers, testing::hasty(), versions);
        stage.informer.context.gate = gate.clone();
        stage.run().0
    };
    runs.into_iter().map(run).collect()
}

#[test]
fn a_streaming_list_without_end_is_remembered_for_its_group() {
    let endless =
        || Answer::Watch(vec![Read::Line(line("ADDED", "a@7")), Read::Quiet(ticks(Limits::default().initial_events_end))]);
    let asked = asked_in_turn(vec![
        ("v1/configmaps", vec![endless(), listed(&["a@7"], "10")], &[]),
        ("v1/pods", vec![listed(&[], "10")], &[]),
        ("apps/v1/deployments", vec![streamed(&[], "10", vec![])], &[]),
    ]);
    assert_eq!(asked, [vec!["stream", "page 500", "watch 10"], vec!["page 500", "watch 10"], vec!["stream"]]);
}

#[test]
fn a_422_holds_for_all_watches_of_a_server_until_its_version_changes() {
    let page = || listed(&[], "10");
    let asked = asked_in_turn(vec![
        ("v1/configmaps", vec![Answer::Status(422, ""), page()], &[Ok("v1.31.4")]),
        ("v1/pods", vec![page()], &[Err(500)]),
        // The server was out of reach, and comes back as another.
        ("v1/pods", vec![Answer::Status(503, ""), page()], &[Ok("v1.32.0")]),
        ("v1/configmaps", vec![streamed(&[], "10", vec![])], &[Err(500)]),
    ]);
    let by_pages = ["page 500", "watch 10"];
    assert_eq!(asked[..2], [["stream"].iter().chain(&by_pages).copied().collect::<Vec<_>>(), by_pages.to_vec()]);
    assert_eq!(asked[2..], [vec!["page 500", "page 500", "watch 10"], vec!["stream"]]);
}

#[test]
fn only_a_server_that_says_to_be_1_27_or_newer_is_asked_for_a_streaming_list() {
    let asked = |versions: &[Result<&'static str, u16>]| {
        let answers = vec![listed(&["a@7"], "10")];
        Stage::of_versions("v1/configmaps", answers, testing::hasty(), versions).run().0
    };
    for version in [Ok("v1.26.15+k3s1"), Ok("v1.20.2"), Ok("unreadable"), Err(403), Err(404), Err(400)] {
        assert_eq!(asked(&[version]), ["page 500", "watch 10"], "{version:?}");
    }
    assert_eq!(asked(&[Err(500), Err(503), Err(500)]), ["page 500", "watch 10"], "a version that is withheld for ever");
    let streams = |versions: &[Result<&'static str, u16>]| {
        let answers = vec![streamed(&["a@7"], "10", vec![])];
        Stage::of_versions("v1/configmaps", answers, testing::hasty(), versions).run().0
    };
    for versions in
        [&[Ok("v1.27.0-eks-1a2b3c")][..], &[Ok("v2.0.0")], &[Err(500), Ok("v1.36.0")], &[Err(429), Err(429), Err(429)]]
    {
        assert_eq!(streams(versions), ["stream"], "{versions:?}");
    }
}

#[test]
fn each_ten_thousand_objects_earn_a_streaming_list_more_time() {
    let limits = Limits::default();
    let list = crate::informer::stream::ListSilence {
        first_byte: limits.first_byte,
        end: limits.initial_events_end,
        step: limits.initial_events_step,
    };
    for (objects, seconds) in [(0, 60), (9_999, 60), (10_000, 70), (250_000, 310)] {
        assert_eq!(list.end_after(objects), Duration::from_secs(seconds), "{objects}");
    }
}

#[test]
fn what_is_created_while_a_streaming_list_does_not_end_is_told_also_where_initial_objects_are_skipped() {
    let initial = ["a@7", "b@8"].map(|object| Read::Line(line("ADDED", object)));
    let live = [Read::Quiet(1), Read::Line(line("ADDED", "c@9")), Read::Quiet(ticks(Limits::default().initial_events_end))];
    let endless = Answer::Watch(initial.into_iter().chain(live).collect());
    let mut stage = Stage::new("v1/configmaps", vec![endless, listed(&["a@7", "c@9", "d@6"], "10")], testing::hasty());
    stage.informer.context.skip_initial = true;
    let outbox = stage.outbox.clone();
    assert_eq!(stage.run().1, ["ADDED c@9"], "and b, which no list that ended has named, is not told as deleted");
    assert_eq!(outbox.kept(), ["known a@7", "known d@6"]);
}

#[test]
fn the_same_token_twice_ends_the_list_as_a_fault() {
    let led = |object: &str| Answer::Body(page("ConfigMapList", &[testing::object(object)], "10", Some("again")));
    check(
        vec![Answer::Status(422, ""), led("a@7"), led("b@8"), listed(&["a@7", "c@9"], "20")],
        &["stream", "page 500", "page 500", "page 500", "watch 20"],
        &["ADDED(initial) a@7", "ADDED(initial) c@9"],
    );
}

/// An object of more than a window.
fn large(name: &str) -> String {
    let filler = "x".repeat(WINDOW_BYTES);
    testing::object(&format!("{name}@5")).replace("value", &filler)
}

/// The members of a list behind its objects, where a server may write them, too.
fn page_backwards(objects: &[String], version: &str, next: Option<&str>) -> Vec<u8> {
    let next = next.map(|token| format!(r#","continue":"{token}""#)).unwrap_or_default();
    let items = objects.join(",");
    format!(r#"{{"items":[{items}],"metadata":{{"resourceVersion":"{version}"{next}}},"kind":"ConfigMapList"}}"#).into_bytes()
}

#[test]
fn of_a_page_that_breaks_off_nothing_counts_as_listed() {
    let objects = [testing::object("a@7"), testing::object("b@8"), large("c"), testing::object("d@9")];
    let mut torn = page("ConfigMapList", &objects, "10", None);
    torn.truncate(torn.len() - 100);
    check(
        vec![Answer::Status(422, ""), Answer::Torn(torn), listed(&["a@7"], "20")],
        &["stream", "page 500", "page 500", "watch 20"],
        &["ADDED(initial) a@7", "ADDED(initial) b@8", "DELETED(inferred) b@8"],
    );
}

#[test]
fn a_page_may_say_its_version_and_the_next_page_behind_its_objects() {
    let first = page_backwards(&[testing::object("a@7"), large("b")], "10", Some("t"));
    // Of a later version: its object is told again by the watch from the first page's, and so is what it lacks.
    let second = page_backwards(&[testing::object("c@12")], "12", None);
    let changes = [line("DELETED", "a@11"), line("ADDED", "c@12")].map(Read::Line).into();
    check(
        vec![Answer::Status(422, ""), Answer::Body(first), Answer::Body(second), Answer::Watch(changes)],
        &["stream", "page 500", "page 500", "watch 10"],
        &["ADDED(initial) a@7", "ADDED(initial) b@5", "ADDED(initial) c@12", "DELETED a@11"],
    );
}

#[test]
fn receivers_without_room_let_go_of_a_page_that_has_not_come_whole_and_it_is_asked_for_again() {
    let objects = [testing::object("a@7"), testing::object("b@8"), large("c"), testing::object("d@9")];
    let body = || Answer::Body(page("ConfigMapList", &objects, "10", None));
    let stage = Stage::new("v1/configmaps", vec![Answer::Status(422, ""), body(), body()], testing::hasty());
    stage.outbox.refuse_after(Some(1), 3);
    let expected = ["ADDED(initial) a@7", "ADDED(initial) b@8", "ADDED(initial) c@5", "ADDED(initial) d@9"];
    let (asked, told) = stage.run();
    assert_eq!(
        (asked, told),
        (["stream", "page 500", "page 500", "watch 10"].map(str::to_owned).to_vec(), expected.map(str::to_owned).to_vec())
    );
}

#[test]
fn the_right_to_hold_a_large_object_is_given_back_with_the_object() {
    let gate = ListGate::new(2);
    let objects = [large("a"), testing::object("b@8"), large("c")];
    let mut stage = Stage::new(
        "v1/configmaps",
        vec![Answer::Status(422, ""), Answer::Body(page("ConfigMapList", &objects, "10", None))],
        testing::hasty(),
    );
    stage.informer.context.gate = gate.clone();
    let held = gate.widen(&Stop::new()).unwrap();
    let outbox = stage.outbox.clone();
    let told = stage.stop_when(|_, asked| asked.len() == 2);
    assert!(told.is_empty(), "another list holds one");
    assert!(outbox.events().is_empty());
    drop(held);
    let mut stage = Stage::new(
        "v1/configmaps",
        vec![Answer::Status(422, ""), Answer::Body(page("ConfigMapList", &objects, "10", None))],
        testing::hasty(),
    );
    stage.informer.context.gate = gate.clone();
    assert_eq!(stage.run().1.len(), 3);
    assert!(gate.widen(&Stop::new()).is_some());
}

#[test]
fn an_object_over_the_limit_counts_as_unreadable_and_is_not_told_as_deleted() {
    let too_large = testing::object("b@9").replace("value", &"x".repeat(OBJECT_BYTES_MAX));
    let body = page("ConfigMapList", &[testing::object("a@7"), too_large], "10", None);
    let mut stage = Stage::new("v1/configmaps", vec![Answer::Status(422, ""), Answer::Body(body)], testing::hasty());
    let known = ["b@8", "c@8"].map(|text| Identity::of(&ObjectRef::scan(testing::object(text).as_bytes()).unwrap()));
    stage.informer =
        stage.informer.resume(Resume { known: known.into_iter().collect(), listed_before: true, ..Resume::default() });
    assert_eq!(stage.run().1, ["ADDED(inferred) a@7", "DELETED(inferred) c@8"]);
}
