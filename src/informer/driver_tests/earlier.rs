//! How a watch goes on from what an earlier run has told, or what its first list has not.

use super::*;

/// What an earlier run has stored: these objects, this version, and this newest event, a change.
pub(super) fn earlier(known: &[&str], version: &str, newest: &str) -> Resume {
    let known = known.iter().map(|known| Identity::of(&ObjectRef::scan(object(known).as_bytes()).unwrap())).collect();
    let anchor = Some(changed(&object(newest)));
    Resume { known, version: ResourceVersion::new(version), anchor, listed_before: true, ..Resume::default() }
}

fn changed(object: &str) -> Anchor {
    Anchor::of_event(WatchKind::Modified, &ObjectRef::scan(object.as_bytes()).unwrap(), None)
}

fn listed_last(text: &str) -> Anchor {
    Anchor::of_listed(&ObjectRef::scan(object(text).as_bytes()).unwrap())
}

#[test]
fn an_earlier_run_is_gone_on_from_when_its_newest_event_comes_again() {
    let changes = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@7")), Read::Line(line("DELETED", "a@11"))]);
    let mut stage = Stage::new("v1/configmaps", vec![changes], testing::hasty());
    stage.informer = stage.informer.resume(earlier(&["a@7"], "10", "a@7"));
    let (asked, told) = stage.run();
    assert_eq!((asked, told), (vec!["watch 6".to_owned()], vec!["DELETED a@11".to_owned()]));
}

#[test]
fn where_the_newest_event_is_a_delete_what_was_told_is_compared_as_another_history_may_have_the_same_delete() {
    let gone = Anchor::of_event(WatchKind::Deleted, &ObjectRef::scan(object("b@13").as_bytes()).unwrap(), None);
    let run = |past: &[&str], rest: Vec<Answer>| {
        let changes = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@14"))]);
        let answers = [changes, listed(past, "13")].into_iter().chain(rest).collect();
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        let before = Resume { anchor: Some(gone.clone()), ..earlier(&["a@7", "c@12"], "13", "a@7") };
        stage.informer = stage.informer.resume(before);
        stage.run()
    };
    let (asked, told) = run(&["a@7", "c@12"], vec![]);
    assert_eq!((asked, told), (vec!["watch 13".to_owned(), "past 13 500".to_owned()], vec!["UPDATED a@14".to_owned()]));
    // After the backup b was deleted at the same number, and c was never made.
    let (asked, told) = run(&["a@7"], vec![streamed(&["a@14"], "15", vec![])]);
    assert_eq!(asked, ["watch 13", "past 13 500", "stream"]);
    assert_eq!(told, ["UPDATED(inferred) a@14", "DELETED(inferred) c@12"]);
}

#[test]
fn after_a_list_what_was_told_is_compared_as_its_newest_object_says_nothing_of_the_deletes_behind_it() {
    let run = |past: &[&str], rest: Vec<Answer>| {
        // As a server would that is asked for what came after the version before that object.
        let changes = Answer::Watch(["a@7", "c@16"].map(|object| Read::Line(line("MODIFIED", object))).into());
        let answers = [changes, listed(past, "15")].into_iter().chain(rest).collect();
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        stage.informer = stage.informer.resume(Resume { anchor: Some(listed_last("a@7")), ..earlier(&["a@7"], "15", "a@7") });
        stage.run()
    };
    let compared = ["watch 15", "past 15 500"];
    let (asked, told) = run(&["a@7"], vec![]);
    assert_eq!((asked, told), (compared.map(str::to_owned).to_vec(), vec!["ADDED c@16".to_owned()]));
    // b was deleted before the list, and lives again in what was restored.
    let (asked, told) = run(&["a@7", "b@8"], vec![streamed(&["a@7", "b@8"], "20", vec![])]);
    assert_eq!(asked, ["watch 15", "past 15 500", "stream"]);
    assert_eq!(told, ["ADDED(inferred) b@8"]);
}

#[test]
fn another_object_in_the_place_of_the_newest_of_a_list_is_told_though_its_uid_and_version_are_the_same() {
    let of_kind = |object: &str, kind: &str| object.replacen('{', &format!(r#"{{"kind":"{kind}","#), 1);
    let run = |content_is_metadata, past_kind: &str, past: String| {
        let kind = if content_is_metadata { "PartialObjectMetadata" } else { "ConfigMap" };
        let list = [rewritten("a@10"), object("z@5")].map(|text| watched("ADDED", &of_kind(&text, kind)));
        let list = Answer::Watch(list.into_iter().chain([Read::Line(bookmark("20", true))]).collect());
        let past = Answer::Body(page(past_kind, &[past, object("z@5")], "15", None));
        let opened = Answer::Watch(vec![Read::Quiet(1)]);
        let mut stage = Stage::new("v1/configmaps", vec![opened, past, list], testing::hasty());
        stage.informer.context.content_is_metadata = content_is_metadata;
        let anchor = Some(listed_last("a@10").of_metadata(content_is_metadata));
        stage.informer = stage.informer.resume(Resume { anchor, ..earlier(&["a@10", "z@5"], "15", "a@10") });
        stage.run()
    };
    let found = (3, vec!["UPDATED(inferred) a@10".to_owned()]);
    for (content_is_metadata, kind) in [(true, "PartialObjectMetadataList"), (false, "ConfigMapList")] {
        let (asked, told) = run(content_is_metadata, kind, rewritten("a@10"));
        assert_eq!((asked.len(), told), found, "{kind}");
        let (asked, _) = run(content_is_metadata, kind, object("a@10"));
        assert_eq!(asked, ["watch 15", "past 15 500"], "{kind}");
    }
    // In another form it cannot be told apart.
    let (asked, _) = run(false, "PartialObjectMetadataList", rewritten("a@10"));
    assert_eq!(asked, ["watch 15", "past 15 500"]);
}

#[test]
fn what_an_earlier_run_told_beyond_its_version_is_passed_over_when_it_comes_again() {
    let replay = ["a@10", "a@11", "b@12", "a@13"].map(|object| Read::Line(line("MODIFIED", object)));
    let gone = ["b@14", "c@15"].map(|object| Read::Line(line("DELETED", object)));
    let changes = Answer::Watch(replay.into_iter().chain(gone).collect());
    let mut stage = Stage::new("v1/configmaps", vec![changes], testing::hasty());
    let told = vec![ToldId::new("u-a", "11", false), ToldId::new("u-b", "12", false), ToldId::new("u-c", "15", true)];
    stage.informer = stage.informer.resume(Resume { told, ..earlier(&["a@11", "b@12"], "10", "a@10") });
    let outbox = stage.outbox.clone();
    // What nobody wanted was not remembered.
    outbox.be_choosy();
    assert_eq!(stage.run().1, ["UPDATED a@13", "DELETED b@14"]);
    assert_eq!(outbox.kept(), ["replayed Pu-a\u{0}11 at 11", "replayed Pu-b\u{0}12 at 12", "replayed Du-c\u{0}15 at 15"]);
}

#[test]
fn what_an_earlier_run_told_beyond_its_version_is_of_another_history_where_it_does_not_come_again() {
    let newest = || Read::Line(line("MODIFIED", "a@10"));
    let silent = vec![newest(), Read::Line(line("MODIFIED", "a@11")), Read::Quiet(1)];
    let overtaken = vec![newest(), Read::Line(line("ADDED", "d@16"))];
    let in_its_place = vec![newest(), Read::Line(line("ADDED", "d@11"))];
    for reads in [silent, overtaken, in_its_place] {
        let answers = vec![Answer::Watch(reads), streamed(&["a@11", "d@16"], "20", vec![])];
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        let told = vec![ToldId::new("u-a", "11", false), ToldId::new("u-b", "12", false)];
        stage.informer = stage.informer.resume(Resume { told, ..earlier(&["a@11", "b@12"], "10", "a@10") });
        let (asked, told) = stage.run();
        assert_eq!(asked, ["watch 9", "stream"]);
        assert_eq!(told, ["ADDED(inferred) d@16", "DELETED(inferred) b@12"]);
    }
}

/// The object, and what it would be in another history: of the same uid, version and labels.
fn rewritten(text: &str) -> String {
    object(text).replace(r#""resourceVersion""#, r#""generation":2,"resourceVersion""#)
}

fn watched(kind: &str, object: &str) -> Read {
    Read::Line(format!(r#"{{"type":"{kind}","object":{object}}}"#).into_bytes())
}

fn hash_of(object: &str) -> u64 {
    Anchor::of_listed(&ObjectRef::scan(object.as_bytes()).unwrap()).metadata_hash()
}

#[test]
fn an_event_of_the_uid_and_version_of_one_that_was_told_is_of_another_history_where_its_metadata_is_another() {
    let stage = |reads: Vec<Read>, list: &[&str]| {
        let list = list.iter().map(|object| watched("ADDED", object)).chain([Read::Line(bookmark("20", true))]).collect();
        let mut stage = Stage::new("v1/configmaps", vec![Answer::Watch(reads), Answer::Watch(list)], testing::hasty());
        let told = vec![ToldId::new("u-a", "11", false), ToldId::new("u-b", "12", false)];
        let hashes = told.iter().cloned().zip([hash_of(&object("a@11")), hash_of(&object("b@12"))]).collect();
        stage.informer = stage.informer.resume(Resume { told, hashes, ..earlier(&["a@11", "b@12", "z@5"], "10", "a@10") });
        stage.run()
    };
    let newest = || watched("MODIFIED", &object("a@10"));
    let (a, b, z) = (object("a@11"), object("b@12"), object("z@5"));
    // As it was: nothing is asked but to go on.
    let (asked, told) = stage(vec![newest(), watched("MODIFIED", &a), watched("MODIFIED", &b)], &[]);
    assert_eq!((&*asked[0], told), ("watch 9", Vec::<String>::new()));
    // Each that is another one is found by the list, also the one behind the first.
    let (other_a, other_b) = (rewritten("a@11"), rewritten("b@12"));
    let overtaken = vec![newest(), watched("MODIFIED", &other_a)];
    let (asked, told) = stage(overtaken, &[&other_a, &other_b, &z]);
    assert_eq!(asked, ["watch 9", "stream"]);
    assert_eq!(told, ["UPDATED(inferred) a@11", "UPDATED(inferred) b@12"]);
    let (asked, told) = stage(vec![newest(), watched("MODIFIED", &a), watched("MODIFIED", &other_b)], &[&a, &other_b, &z]);
    assert_eq!((asked.len(), told), (2, vec!["UPDATED(inferred) b@12".to_owned()]));
}

#[test]
fn another_object_in_the_place_of_the_newest_event_is_told_though_its_uid_and_version_are_the_same() {
    let other = rewritten("a@10");
    let list = vec![watched("ADDED", &other), watched("ADDED", &object("z@5")), Read::Line(bookmark("20", true))];
    let answers = vec![Answer::Watch(vec![watched("MODIFIED", &other)]), Answer::Watch(list)];
    let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
    stage.informer = stage.informer.resume(earlier(&["a@10", "z@5"], "10", "a@10"));
    let (asked, told) = stage.run();
    assert_eq!(asked, ["watch 9", "stream"]);
    assert_eq!(told, ["UPDATED(inferred) a@10"]);
}

#[test]
fn an_object_that_comes_whole_once_and_as_metadata_then_is_the_same() {
    let of_kind = |kind: &str| rewritten("a@10").replacen('{', &format!(r#"{{"kind":"{kind}","#), 1);
    let whole = Answer::Watch(vec![watched("MODIFIED", &of_kind("ConfigMap"))]);
    let list = Answer::Watch(vec![watched("ADDED", &of_kind("PartialObjectMetadata")), Read::Line(bookmark("20", true))]);
    let mut stage = Stage::new("v1/configmaps", vec![whole, list], testing::hasty());
    stage.informer.context.content_is_metadata = true;
    stage.informer = stage.informer.resume(earlier(&["a@10"], "10", "a@10"));
    let (asked, told) = stage.run();
    assert_eq!((asked.len(), told), (2, Vec::<String>::new()));
}

#[test]
fn an_object_whose_metadata_comes_in_another_order_since_an_earlier_run_asked_for_whole_ones_is_the_same() {
    let metadata =
        r#"{"kind":"PartialObjectMetadata","metadata":{"name":"a","namespace":"demo","uid":"u-a","resourceVersion":"10"}}"#;
    let whole = r#"{"metadata":{"namespace":"demo","name":"a","resourceVersion":"10","uid":"u-a"}}"#;
    let list = Answer::Watch(vec![watched("ADDED", metadata), Read::Line(bookmark("20", true))]);
    let mut stage = Stage::new("v1/configmaps", vec![Answer::Watch(vec![watched("MODIFIED", metadata)]), list], testing::hasty());
    stage.informer.context.content_is_metadata = true;
    let anchor = Some(changed(whole));
    stage.informer = stage.informer.resume(Resume { anchor, ..earlier(&["a@10"], "10", "a@10") });
    let (asked, told) = stage.run();
    assert_eq!((asked, told), (vec!["watch 9".to_owned(), "stream".to_owned()], Vec::<String>::new()));
}

#[test]
fn a_resumed_watch_is_not_synced_when_the_server_no_longer_has_its_version() {
    let expired = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
    let watch = || Answer::Watch(vec![Read::Line(expired.to_vec())]);
    let answers = vec![watch(), watch(), Answer::Status(500, "")];
    let mut stage = Stage::new("v1/configmaps", answers, Limits { backoff_first: HOUR, ..testing::hasty() });
    stage.informer = stage.informer.resume(earlier(&["a@7"], "10", "a@7"));
    let status = Arc::clone(&stage.status);
    stage.stop_when(|status, _| status.get().0 == Condition::Retrying);
    assert!(!status.ever_synced());
}

#[test]
fn a_list_that_was_cut_short_goes_on_with_what_was_told_of_it() {
    let list = streamed(&["a@7", "b@9"], "10", vec![Read::Line(line("DELETED", "b@11"))]);
    let mut stage = Stage::new("v1/configmaps", vec![list], testing::hasty());
    let known = ["a@7", "b@8", "c@8"].map(|known| Identity::of(&ObjectRef::scan(object(known).as_bytes()).unwrap()));
    stage.informer = stage.informer.resume(Resume { known: known.into_iter().collect(), ..Resume::default() });
    assert_eq!(stage.run().1, ["UPDATED(inferred) b@9", "DELETED(inferred) c@8", "DELETED b@11"]);
}

#[test]
fn where_initial_objects_are_skipped_they_are_known_and_changes_are_told() {
    let changes =
        vec![Read::Line(line("MODIFIED", "a@11")), Read::Line(line("ADDED", "c@12")), Read::Line(line("DELETED", "b@13"))];
    let list = streamed(&["a@7", "b@8"], "10", changes);
    let mut stage = Stage::new("v1/configmaps", vec![list], testing::hasty());
    stage.informer.context.skip_initial = true;
    let outbox = stage.outbox.clone();
    assert_eq!(stage.run().1, ["UPDATED a@11", "ADDED c@12", "DELETED b@13"]);
    assert_eq!(outbox.kept(), ["known a@7", "known b@8"]);
}

#[test]
fn where_initial_objects_are_skipped_one_that_took_the_name_of_a_known_one_is_told_and_is_not_initial() {
    let run = |skips| {
        let list = streamed(&["a/new@9", "b@8"], "10", vec![]);
        let mut stage = Stage::new("v1/configmaps", vec![list], testing::hasty());
        stage.informer.context.skip_initial = skips;
        let known = vec![Identity::of(&ObjectRef::scan(object("a@7").as_bytes()).unwrap())];
        stage.informer = stage.informer.resume(Resume { known: known.into_iter().collect(), ..Resume::default() });
        stage.run().1
    };
    assert_eq!(run(true), ["DELETED(inferred) a@7", "ADDED(inferred) a/new@9"]);
    assert_eq!(run(false), ["DELETED(inferred) a@7", "ADDED(initial) a/new@9", "ADDED(initial) b@8"]);
}
