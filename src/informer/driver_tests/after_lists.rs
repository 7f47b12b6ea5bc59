//! What lies between a list by pages and the watch after it: pages of other versions, and time in which the server may become another.

use super::*;

/// A list by two pages, of which each has a version of its own.
fn two_pages(first: (&str, &[&str]), second: (&str, &[&str])) -> Vec<Answer> {
    let page = |(version, objects): (&str, &[&str]), next| {
        let objects: Vec<String> = objects.iter().map(|text| object(text)).collect();
        Answer::Body(page("ConfigMapList", &objects, version, next))
    };
    vec![Answer::Status(422, ""), page(first, Some("rest")), page(second, None)]
}

fn watch(lines: &[(&str, &str)], then: Vec<Read>) -> Answer {
    Answer::Watch(lines.iter().map(|(kind, text)| Read::Line(line(kind, text))).chain(then).collect())
}

/// Runs a watch that knows these objects, and gives what it asked and everything that left it.
fn run(known: &[&str], answers: Vec<Answer>) -> (Vec<String>, Vec<String>) {
    let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
    let known = known.iter().map(|known| Identity::of(&ObjectRef::scan(object(known).as_bytes()).unwrap())).collect();
    stage.informer = stage.informer.resume(Resume { known, ..Resume::default() });
    let outbox = stage.outbox.clone();
    stage.informer.run();
    let asked = stage.asked.lock().unwrap().clone();
    (asked, outbox.take().iter().map(testing::Told::words).collect())
}

#[test]
fn what_a_later_page_brought_does_not_go_back_and_no_version_counts_before_the_watch_has_reached_it() {
    let older = [("MODIFIED", "b@12"), ("DELETED", "c/old@12"), ("ADDED", "c@13"), ("MODIFIED", "b@14")];
    let answers = two_pages(("10", &["a@7"]), ("15", &["b@14", "c@13"]))
        .into_iter()
        .chain([watch(&older, vec![Read::Line(line("MODIFIED", "b@16"))])])
        .collect();
    let (asked, left) = run(&[], answers);
    assert_eq!(asked, ["stream", "page 500", "page 500", "watch 10"]);
    let list = ["mark listing", "ADDED(initial) a@7", "ADDED(initial) b@14", "ADDED(initial) c@13", "mark first listed 10"];
    assert_eq!(left, list.into_iter().chain(["mark listed 14", "UPDATED b@16"]).collect::<Vec<_>>());
}

#[test]
fn what_a_newer_page_lacks_is_told_by_its_own_events_and_inferred_only_where_none_came() {
    let events = [("MODIFIED", "x@11"), ("DELETED", "x@12"), ("ADDED", "z/new@13"), ("MODIFIED", "b@14")];
    let answers = two_pages(("10", &["a@7"]), ("15", &["b@14"])).into_iter().chain([watch(&events, vec![])]).collect();
    let (_, left) = run(&["a@7", "x@9", "y@9", "z@9"], answers);
    let told = ["UPDATED x@11", "DELETED x@12", "DELETED(inferred) z@9", "ADDED z/new@13", "DELETED(inferred) y@9"];
    let list = ["mark listing", "ADDED(initial) b@14", "mark first listed 10"];
    assert_eq!(left, list.into_iter().chain(told).chain(["mark listed 14"]).collect::<Vec<_>>());
}

#[test]
fn a_bookmark_reaches_what_a_later_page_brought_as_an_event_does() {
    let answers = two_pages(("10", &["a@7"]), ("15", &["b@14"]))
        .into_iter()
        .chain([watch(&[], vec![Read::Line(bookmark("12", false)), Read::Line(bookmark("15", false))])])
        .collect();
    let (_, left) = run(&["a@7", "y@9"], answers);
    assert_eq!(left, ["mark listing", "ADDED(initial) b@14", "mark first listed 10", "DELETED(inferred) y@9", "mark listed 15"]);
}

#[test]
fn while_pages_disagree_an_outage_is_followed_by_a_replay_of_what_the_first_page_had_or_by_a_list() {
    let list = || two_pages(("10", &["a@10"]), ("15", &["b@14"])).into_iter();
    let replayed = watch(&[("MODIFIED", "a@10"), ("MODIFIED", "b@12"), ("MODIFIED", "b@14")], vec![]);
    let (asked, left) = run(&[], list().chain([Answer::Refusal, replayed]).collect());
    assert_eq!(asked[3..], ["watch 10", "watch 9"]);
    assert_eq!(left[1..], ["ADDED(initial) a@10", "ADDED(initial) b@14", "mark first listed 10", "mark listed 14"]);

    let forgotten = [Answer::Refusal, Answer::Status(410, ""), listed(&["a@10", "b@14"], "20")];
    let (asked, left) = run(&[], list().chain(forgotten).collect());
    assert_eq!(asked[3..], ["watch 10", "watch 9", "page 500", "watch 20, anew"], "no past is the one that was told");
    assert_eq!(
        left[1..],
        ["ADDED(initial) a@10", "ADDED(initial) b@14", "mark first listed 10", "mark listed 20"],
        "of no other history"
    );
}

#[test]
fn a_list_that_broke_between_two_pages_is_compared_with_what_the_server_had_then() {
    let list = || two_pages(("10", &["a@7"]), ("10", &["b@8"]));
    let broken = |then: Vec<Answer>| {
        let mut answers = list();
        answers.insert(2, Answer::Refusal);
        answers.into_iter().chain(then).collect::<Vec<_>>()
    };
    let opened = || watch(&[("MODIFIED", "b@11")], vec![]);
    let (asked, left) = run(&[], broken(vec![opened(), listed(&["a@7", "b@8"], "10")]));
    assert_eq!(asked[1..], ["page 500", "page 500", "page 500", "watch 10", "past 10 500"]);
    assert_eq!(left[1..], ["ADDED(initial) a@7", "ADDED(initial) b@8", "mark listed 10", "UPDATED b@11"]);

    let mixed = vec![opened(), listed(&["b@8"], "10"), listed(&["b@11"], "12")];
    let (asked, left) = run(&[], broken(mixed));
    assert_eq!(asked[4..], ["watch 10", "past 10 500", "page 500", "watch 12"]);
    assert_eq!(left[4..], ["mark history 2", "UPDATED(inferred) b@11", "DELETED(inferred) a@7", "mark listed 12"]);

    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let late = list().into_iter().chain([opened(), listed(&["a@7", "b@8"], "10")]).collect();
    let (asked, _) = Stage::new("v1/configmaps", late, limits).run();
    assert_eq!(asked[3..], ["watch 10", "past 10 500"]);
    let (asked, _) = run(&[], list().into_iter().chain([opened()]).collect());
    assert_eq!(asked[3..], ["watch 10"]);
}

#[test]
fn a_first_watch_that_opens_late_after_its_list_is_followed_by_a_look_at_the_history() {
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let opened = watch(&[("MODIFIED", "a@11")], vec![]);
    let answers = listed_by_pages(&["a@10"], "10").into_iter().chain([opened]).collect();
    let (asked, told) = Stage::new("v1/configmaps", answers, limits.clone()).run();
    assert_eq!(asked[2..], ["watch 10", "watch 9"]);
    assert_eq!(told, ["ADDED(initial) a@10"], "nothing of it is read");
    check(
        listed_by_pages(&["a@10"], "10").into_iter().chain([watch(&[("MODIFIED", "a@11")], vec![])]).collect(),
        &["stream", "page 500", "watch 10"],
        &["ADDED(initial) a@10", "UPDATED a@11"],
    );
}

#[test]
fn a_first_watch_whose_head_is_held_back_for_long_is_followed_by_a_look_at_the_history() {
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let replayed = watch(&[("MODIFIED", "a@10"), ("MODIFIED", "a@11")], vec![]);
    let answers = listed_by_pages(&["a@10"], "10").into_iter().chain([Answer::Nothing, replayed]).collect();
    let (asked, told) = Stage::new("v1/configmaps", answers, limits).run();
    assert_eq!(asked[2..], ["watch 10", "watch 9, short"]);
    assert_eq!(told, ["ADDED(initial) a@10", "UPDATED a@11"]);
}

#[test]
fn a_watch_after_a_streaming_list_that_waited_for_its_receivers_opens_late() {
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let list = [Read::Line(line("ADDED", "a@10")), Read::Refuse(0, 2), Read::Line(bookmark("10", true))];
    let answers = vec![Answer::Watch(list.into()), watch(&[("MODIFIED", "a@11")], vec![])];
    let mut stage = Stage::new("v1/configmaps", answers, limits);
    stage.informer = stage.informer.resume(earlier::earlier(&["x@6"], "5", "x@5"));
    stage.informer.resume.version = None;
    let (asked, told) = stage.run();
    assert_eq!(asked, ["stream", "watch 10", "watch 9"]);
    assert_eq!(told, ["ADDED(inferred) a@10", "DELETED(inferred) x@6"]);
}

#[test]
fn that_a_first_list_has_ended_is_marked_also_where_no_version_counts_yet() {
    let ended = ["mark listing", "ADDED(initial) a@7", "ADDED(initial) b@14", "mark first listed 10"];
    let pages = two_pages(("10", &["a@7"]), ("15", &["b@14"]));
    let (_, left) = run(&[], pages.into_iter().chain([watch(&[], vec![Read::Line(bookmark("12", false))])]).collect());
    assert_eq!(left, ended, "of pages that disagree");

    let unread = two_pages(("10", &["a@7"]), ("10", &["b@14", "?"])).into_iter();
    let (_, left) = run(&[], unread.chain([watch(&[], vec![])]).collect());
    assert_eq!(left[..4], ended, "of one that holds what cannot be read");

    let limits = Limits { dirty_delay: Duration::from_secs(3600), ..testing::hasty() };
    let mut stage = Stage::new("v1/configmaps", two_pages(("10", &["a@7"]), ("15", &["?"])), limits);
    stage.informer = stage.informer.resume(Resume { listed_before: true, ..Resume::default() });
    let outbox = stage.outbox.clone();
    stage.informer.run();
    let left: Vec<_> = outbox.take().iter().map(testing::Told::words).collect();
    assert_eq!(left, ["mark listing", "ADDED(inferred) a@7"], "a later one is marked where its version counts");
}
