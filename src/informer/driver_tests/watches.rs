//! When a watch is opened again, from where, and what is made of its silence and its ends.

use super::*;

#[test]
fn a_silent_watch_is_reopened_from_before_its_newest_event() {
    let limits = Limits::default();
    let surely = ticks(limits.watch_timeout_max + limits.silence_margin);
    check(vec![streamed(&["a@10"], "10", vec![Read::Quiet(surely)])], &["stream", "watch 9"], &["ADDED(initial) a@10"]);
    let not_yet = ticks(limits.watch_timeout_min + limits.silence_margin) - 1;
    check(vec![streamed(&[], "10", vec![Read::Quiet(not_yet)])], &["stream"], &[]);
}

#[test]
fn bytes_that_say_nothing_are_no_sign_of_life() {
    let limits = Limits::default();
    let surely = ticks(limits.watch_timeout_max + limits.silence_margin);
    let beats = || vec![Read::Heartbeats(surely)];
    check(vec![streamed(&["a@10"], "10", beats())], &["stream", "watch 9"], &["ADDED(initial) a@10"]);
    let spoken = vec![Read::Quiet(10), Read::Line(bookmark("12", false)), Read::Heartbeats(surely)];
    check(vec![streamed(&[], "10", spoken)], &["stream", "watch 12"], &[]);
    let not_yet = ticks(limits.watch_timeout_min + limits.silence_margin) - 1;
    check(vec![streamed(&[], "10", vec![Read::Heartbeats(not_yet)])], &["stream"], &[]);
}

#[test]
fn a_watch_with_heartbeats_alone_was_not_heard() {
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Watch(vec![Read::Heartbeats(100)])]).collect();
    let Stage { informer, status, .. } = Stage::new("v1/configmaps", answers, testing::hasty());
    informer.run();
    assert_eq!(status.standing(Instant::now()), Standing::Stale);
}

#[test]
fn a_cut_goes_on_at_once_and_without_a_look_at_the_history_or_a_word() {
    let cut = |version: &str| Answer::Watch(vec![Read::Quiet(1), Read::Line(line("MODIFIED", version)), Read::Cut]);
    let answers =
        vec![streamed(&["a@7"], "10", vec![Read::Quiet(1), Read::Cut]), cut("a@11"), cut("a@12"), Answer::Watch(vec![])];
    let limits = Limits { backoff_first: HOUR, backoff_max: HOUR, ..testing::hasty() };
    let stage = Stage::new("v1/configmaps", answers, limits);
    let status = Arc::clone(&stage.status);
    assert_eq!(stage.run().0, ["stream", "watch 10", "watch 11", "watch 12"]);
    assert_eq!(status.get().0, Condition::Synced);
}

#[test]
fn of_events_that_come_together_the_newest_is_hashed_and_gone_on_from() {
    let change = |object: &str| Read::Line(line("MODIFIED", object));
    let many = (11..11 + 40).map(|version| change(&format!("a@{version}")));
    let surely = ticks(Limits::default().watch_timeout_max + Limits::default().silence_margin);
    for (reads, newest, sealed) in [
        (vec![Read::Quiet(1), change("a@11"), change("a@12"), Read::Quiet(surely)], "watch 11", 1),
        // What nobody is told moves the place, too; a delete proves nothing.
        (vec![Read::Quiet(1), change("a@11"), Read::Line(line("DELETED", "b@12")), Read::Quiet(surely)], "watch 12", 1),
        (vec![Read::Quiet(1), Read::Line(line("DELETED", "b@11")), change("a@12"), Read::Quiet(surely)], "watch 11", 1),
        (vec![Read::Quiet(1), change("a@11"), Read::Line(bookmark("13", false)), Read::Quiet(surely)], "watch 10", 1),
        (many.chain([Read::Quiet(surely)]).collect(), "watch 49", 3),
    ] {
        let stage = Stage::new("v1/configmaps", vec![streamed(&["a@7"], "10", reads)], testing::hasty());
        let outbox = stage.outbox.clone();
        assert_eq!((stage.run().0.last().map(String::as_str), outbox.sealed()), (Some(newest), sealed));
    }
}

#[test]
fn a_cut_that_is_made_good_late_or_after_a_refusal_is_followed_by_a_look_at_the_history() {
    let cut = || streamed(&["a@10"], "10", vec![Read::Quiet(1), Read::Cut]);
    check(vec![cut(), Answer::Refusal], &["stream", "watch 10", "watch 9"], &["ADDED(initial) a@10"]);
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let answers = vec![cut(), Answer::Watch(vec![Read::Line(line("MODIFIED", "a@11"))])];
    let (asked, told) = Stage::new("v1/configmaps", answers, limits).run();
    assert_eq!((asked, told.len()), (["stream", "watch 10", "watch 9"].map(str::to_owned).to_vec(), 1), "nothing of it is read");
}

#[test]
fn a_connection_that_breaks_at_once_and_brought_nothing_is_a_failure() {
    let answers = listed_by_pages(&["a@10"], "10").into_iter().chain([Answer::Watch(vec![Read::Cut])]).collect();
    check(answers, &["stream", "page 500", "watch 10", "watch 9"], &["ADDED(initial) a@10"]);
}

#[test]
fn a_version_that_a_server_has_no_more_is_asked_for_once_more_over_a_new_connection() {
    let expired = || Read::Line(br#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#.to_vec());
    let in_stream = || streamed(&["a@7"], "10", vec![expired()]);
    let brings = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@11"))]);
    check(vec![in_stream(), brings], &["stream", "watch 10, anew"], &["ADDED(initial) a@7", "UPDATED a@11"]);
    check(
        vec![in_stream(), Answer::Status(410, ""), streamed(&["a@12"], "12", vec![])],
        &["stream", "watch 10, anew", "stream, anew"],
        &["ADDED(initial) a@7", "UPDATED(inferred) a@12"],
    );
}

#[test]
fn a_head_that_is_held_back_is_asked_for_with_a_short_end_and_is_no_trouble() {
    let held = Limits { held_calm: Duration::ZERO, held_together: HOUR, backoff_first: HOUR, ..testing::hasty() };
    let short = || Answer::Watch(vec![Read::Quiet(4), Read::Line(line("MODIFIED", "a@11")), Read::End]);
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Nothing, short(), Answer::Watch(vec![])]).collect();
    let stage = Stage::new("v1/configmaps", answers, held);
    let (status, server) = (Arc::clone(&stage.status), stage.informer.context.server.clone());
    let (asked, told) = stage.run();
    assert_eq!(asked, ["stream", "page 500", "watch 10", "watch 10, short", "watch 11, short"]);
    assert_eq!((told, status.get().0), (vec!["ADDED(initial) a@7".to_owned(), "UPDATED a@11".to_owned()], Condition::Synced));
    assert!(server.holds_back(Instant::now()));
}

#[test]
fn a_watch_after_a_list_that_gave_no_byte_ends_soon_so_that_what_is_held_back_is_not_late() {
    let silent = Answer::Watch(vec![Read::Quiet(ticks(Limits::default().first_byte))]);
    check(vec![silent, listed(&[], "10")], &["stream", "page 500", "watch 10, short"], &[]);
}

#[test]
fn a_server_that_gives_no_head_though_the_answer_had_to_end_is_out_of_reach() {
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Nothing, Answer::Nothing]).collect();
    let stage = Stage::new("v1/configmaps", answers, Limits { backoff_first: HOUR, ..testing::hasty() });
    let status = Arc::clone(&stage.status);
    stage.stop_when(|status, _| status.get().0 == Condition::Retrying);
    assert!(status.get().1.contains("no answer came in time"), "{status:?}");
}

#[test]
fn an_idle_watch_that_ends_when_it_was_asked_to_is_opened_again_without_a_look_at_the_history() {
    let limits = Limits { watch_timeout_min: Limits::default().watch_timeout_max, ..testing::hasty() };
    let check = |quiet, expected: &str| {
        let answers =
            listed_by_pages(&["a@10"], "10").into_iter().chain([Answer::Watch(vec![Read::Quiet(quiet), Read::End])]).collect();
        let (asked, _) = Stage::new("v1/configmaps", answers, limits.clone()).run();
        assert_eq!(asked[3], expected, "after {quiet} quiet reads");
    };
    check(ticks(limits.watch_timeout_max), "watch 10");
    check(1, "watch 9");
}

#[test]
fn a_watch_that_fell_silent_is_not_relied_on_until_it_is_heard_again() {
    let standing_after = |reads: Vec<Read>| {
        let surely = ticks(Limits::default().watch_timeout_max + Limits::default().silence_margin);
        let silent = streamed(&["a@10"], "10", vec![Read::Quiet(surely)]);
        let answers = vec![silent, Answer::Watch(reads)];
        let Stage { informer, status, .. } = Stage::new("v1/configmaps", answers, testing::hasty());
        informer.run();
        status.standing(Instant::now())
    };
    assert_eq!(standing_after(vec![]), Standing::Stale, "the server answers, and that is all");
    assert_eq!(standing_after(vec![Read::Line(line("MODIFIED", "a@10"))]), Standing::Healthy, "what was told comes again");
}

/// What is asked behind a watch that ended when it was asked to, where every answer to it is late.
fn asked_after_an_end_in_time(limits: &Limits, then: Vec<Answer>) -> Vec<String> {
    let limits = Limits { end_tolerance: HOUR, unchecked: Duration::ZERO, ..limits.clone() };
    let changes = vec![Read::Line(line("MODIFIED", "a@11")), Read::Quiet(1), Read::End];
    let answers = [streamed(&["a@7"], "10", changes)].into_iter().chain(then).collect();
    Stage::new("v1/configmaps", answers, limits).run().0.split_off(1)
}

#[test]
fn a_watch_that_opens_late_after_an_end_in_time_is_followed_by_a_look_at_the_history() {
    let opened = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@12"))]);
    assert_eq!(asked_after_an_end_in_time(&testing::hasty(), vec![opened]), ["watch 11", "watch 10"]);
    assert_eq!(asked_after_an_end_in_time(&testing::hasty(), vec![Answer::Nothing]), ["watch 11", "watch 10, short"]);
}

#[test]
fn an_answer_that_is_held_back_until_it_ends_in_time_was_on_its_way_all_the_time() {
    // As a proxy does that holds answers back: each head comes with the end.
    let held = || Limits { held_calm: Duration::ZERO, held_together: HOUR, ..testing::hasty() };
    let short = |change: &str| Answer::Watch(vec![Read::Line(line("MODIFIED", change)), Read::Quiet(1), Read::End]);
    let asked = asked_after_an_end_in_time(&held(), vec![short("a@12"), short("a@13")]);
    assert_eq!(asked, ["watch 11, short", "watch 12, short", "watch 13, short"]);
    // One that goes on was not held back, and one that breaks says nothing.
    let long = "a".repeat(64 * 1024);
    for (broken, why) in [(Read::Cut, "broken"), (Read::Line(long.into_bytes()), "too long for a proxy to hold")] {
        let open = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@12")), broken]);
        let asked = asked_after_an_end_in_time(&held(), vec![open]);
        assert_eq!(asked, ["watch 11, short", "watch 10, short"], "{why}");
    }
}
