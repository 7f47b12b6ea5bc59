//! How a list is asked for, and what happens where it does not end.

use super::*;

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
