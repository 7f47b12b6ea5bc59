//! The judge of chaos scenarios itself: a whole story passes, and each way in which one can be broken is found and named.

use crate::chaos::judge::{Forgetting, Verdict, judge};
use crate::chaos::story::Story;
use crate::chaos::truth::{Act, Deed, Selection, Truth};
use crate::runner::Stage;
use std::fs;
use std::time::Duration;

/// What was written: one act a line, `at name deed uid version label`, a dash for the version of a delete.
const ACTS: &str = "
    1 a create a1 10 front
    2 b create b1 11 back
    3 a update a1 12 front
    4 b update b1 13 front
    5 a delete a1 - front
    6 a create a2 20 front
    7 b update b1 21 back
    8 a update a2 22 front
    9 a update a2 23 front";

/// What a watch of everything tells of it, `type name uid version`, and what one of the label `front` does.
const ALL: &str = "
    ADDED a a1 10 all
    ADDED b b1 11 all
    UPDATED a a1 12 all
    UPDATED b b1 13 all
    DELETED a a1 15 all
    ADDED a a2 20 all
    UPDATED b b1 21 all
    UPDATED a a2 22 all
    UPDATED a a2 23 all";
const FRONT: &str = "
    ADDED a a1 10 front
    UPDATED a a1 12 front
    ADDED b b1 13 front
    DELETED a a1 15 front
    ADDED a a2 20 front
    DELETED b b1 21 front
    UPDATED a a2 22 front
    UPDATED a a2 23 front";

/// Replaces `from` by `to` in the whole story; the judge finds what `expected` counts.
fn check(from: &str, to: &str, expected: &str) {
    check_within(from, to, &Forgetting::default(), expected);
}

/// The same where the server forgot everything of these times, in seconds.
fn check_forgotten(times: std::ops::RangeInclusive<u64>, from: &str, to: &str, expected: &str) {
    let window = Duration::from_secs(*times.start())..=Duration::from_secs(*times.end());
    check_within(from, to, &Forgetting { windows: vec![window], ..Forgetting::default() }, expected);
}

fn check_within(from: &str, to: &str, forgetting: &Forgetting, expected: &str) {
    let whole = format!("{ALL}{FRONT}\n");
    assert!(from.is_empty() || whole.matches(from).count() == 1, "{from:?} must stand in the story once");
    let text: String = if from.is_empty() { whole } else { whole.replacen(from, to, 1) };
    let lines: String = text.lines().filter(|line| !line.trim().is_empty()).map(line).collect();
    let verdict = verdict(&lines, forgetting);
    assert_eq!(faults(&verdict), expected, "{from:?} -> {to:?}: {:#?}", verdict.findings);
}

/// The faults alone: `lost 1, doubled 2`.
fn faults(verdict: &Verdict) -> String {
    let text = verdict.to_string();
    let (_, counts) = text.split_once(", ").expect("a verdict begins with the lines");
    counts.split(", ").filter(|count| !count.ends_with(" 0")).collect::<Vec<_>>().join(", ")
}

fn verdict(lines: &str, forgetting: &Forgetting) -> Verdict {
    let folder = tempfile::tempdir().expect("a folder for made-up lines");
    // Two files, so that their order counts.
    let half = lines[..lines.len() / 2].rfind('\n').map_or(0, |end| end + 1);
    fs::write(folder.path().join("events-20261123-120000.json"), &lines[..half]).expect("the folder is ours");
    fs::write(folder.path().join("events-20261123-120001.json"), &lines[half..]).expect("the folder is ours");
    let watches = [None, Some("front")].map(|label| Selection { gvr: "v1/configmaps", namespace: None, label });
    judge(&Story::read(&[folder.path()]), &Truth::new(acts()), &watches, forgetting)
}

fn acts() -> Vec<Act> {
    let act = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let deed = match words[2] {
            "create" => Deed::Create,
            "update" => Deed::Update,
            _ => Deed::Delete,
        };
        Act {
            key: ("v1/configmaps".to_owned(), "ns".to_owned(), words[1].to_owned()),
            deed,
            uid: words[3].to_owned(),
            version: words[4].parse().ok(),
            label: words[5].to_owned(),
            at: Duration::from_secs(words[0].parse().expect("times are numbers")),
        }
    };
    ACTS.trim().lines().map(act).collect()
}

/// A line of JSON; what does not read as one of ours is put there as it stands.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [event_type, name, uid, version, watch, rest @ ..] = words.as_slice() else { return text.trim().to_owned() };
    let flags: String = rest.iter().map(|flag| format!(r#""{flag}":true,"#)).collect();
    let watch = match *watch {
        "all" => "aaaaaaaaaaaaaaaa",
        "front" => "ffffffffffffffff",
        _ => "eeeeeeeeeeeeeeee",
    };
    format!(
        r#"{{"timestamp":"2026-11-23T12:00:00.000000Z","eventType":"{event_type}","gvr":"v1/configmaps","namespace":"ns","name":"{name}","uid":"{uid}","resourceVersion":"{version}",{flags}"watch":"{watch}"}}"#
    ) + "\n"
}

pub(super) fn the_judge_passes_a_whole_story(_: &Stage) {
    check("", "", "");
    // The versions of deletes are not known, but where they lie.
    check("DELETED a a1 15 all", "DELETED a a1 19 all", "");
}

pub(super) fn the_judge_finds_what_is_lost(_: &Stage) {
    check("UPDATED a a1 12 all", "", "lost 1");
    check("DELETED a a1 15 all", "", "lost 1");
    check("UPDATED a a2 23 front", "", "lost 1");
    check("UPDATED a a2 22 all\n    UPDATED a a2 23 all", "", "lost 2");
    check(FRONT, "", "lost 8");
    // That the server forgot is no excuse for an end that is missing, nor for a gap that no comparison closed.
    check_forgotten(7..=9, "UPDATED a a2 23 front", "", "lost 1");
    check_forgotten(1..=9, "UPDATED a a1 12 all", "", "lost 1");
}

pub(super) fn the_judge_finds_what_is_doubled(_: &Stage) {
    check("UPDATED a a1 12 all", "UPDATED a a1 12 all\nUPDATED a a1 12 all", "doubled 1 (1 told though unchanged)");
    check("DELETED a a1 15 all", "DELETED a a1 15 all\nDELETED a a1 15 all", "doubled 1");
    // A restart that tells all anew.
    check(
        "UPDATED a a2 23 all",
        "UPDATED a a2 23 all\nADDED a a2 23 all initial\nADDED b b1 21 all initial",
        "doubled 2 (2 told though unchanged)",
    );
    // Told before, and changed since.
    check("UPDATED a a2 23 all", "UPDATED a a2 23 all\nADDED a a2 22 all initial", "doubled 1");
    // The same end under another version.
    check("DELETED a a1 15 all", "DELETED a a1 15 all\nDELETED a a1 16 all", "disordered 1");
    check("DELETED a a1 15 all", "DELETED a a1 15 all\nDELETED a a1 12 all inferred", "disordered 1");
}

pub(super) fn the_judge_finds_what_is_out_of_order(_: &Stage) {
    check("ADDED b b1 11 all\n    UPDATED a a1 12 all", "UPDATED a a1 12 all\nADDED b b1 11 all", "");
    check("UPDATED a a2 22 all\n    UPDATED a a2 23 all", "UPDATED a a2 23 all\nUPDATED a a2 22 all", "lost 1, disordered 1");
    check("ADDED a a2 20 front", "UPDATED a a2 20 front", "disordered 1");
    check_forgotten(1..=9, "UPDATED a a1 12 all", "ADDED a a1 12 all inferred", "disordered 1");
    check("ADDED a a2 20 all", "ADDED a a2 20 all initial", "disordered 1");
}

pub(super) fn the_judge_finds_what_never_was(_: &Stage) {
    check("UPDATED a a2 23 all", "UPDATED a a2 23 all\nUPDATED a a2 24 all", "invented 1");
    check("DELETED a a1 15 all", "DELETED a a1 13 all", "invented 1");
    check("UPDATED a a2 23 all", "UPDATED a a2 23 all\nDELETED a a2 30 all", "invented 1");
    check_forgotten(1..=9, "UPDATED a a2 23 all", "UPDATED a a2 23 all\nDELETED a a2 23 all inferred", "invented 1");
}

pub(super) fn the_judge_finds_what_is_torn(_: &Stage) {
    check("UPDATED a a2 23 front", "UPDATED a a2 23 front\n{\"timestamp\":\"2026", "torn 1");
    // What is written behind a torn line is lost with it.
    check(
        "UPDATED a a1 12 all",
        "UPDATED a a1 12 all
{\"timestamp\":\"2026-",
        "lost 1, torn 1",
    );
}

pub(super) fn the_judge_finds_a_watch_that_changed_its_name(_: &Stage) {
    check("UPDATED a a2 23 all", "UPDATED a a2 23 all\nADDED a a2 23 other initial", "strange watches 1");
}

/// What a comparison finds stands for all that the server forgot, and for no more.
pub(super) fn the_judge_lets_comparison_stand_in_for_what_was_forgotten(_: &Stage) {
    let (two, one) = ("UPDATED a a2 22 all\n    UPDATED a a2 23 all", "UPDATED a a2 23 all inferred");
    check_forgotten(8..=9, two, one, "");
    check(two, one, "lost 1");
    check_forgotten(9..=9, two, one, "lost 1");
    // An object that came and went, unseen.
    check_forgotten(4..=7, "ADDED b b1 13 front", "", "lost 1");
    check_forgotten(
        1..=9,
        "DELETED a a1 15 all\n    ADDED a a2 20 all",
        "DELETED a a1 12 all inferred\nADDED a a2 20 all inferred",
        "",
    );
    check_forgotten(1..=9, "DELETED a a1 15 all\n    ADDED a a2 20 all", "ADDED a a2 20 all inferred", "disordered 1");
    let first = Forgetting { beginning: Duration::from_secs(4), ..Forgetting::default() };
    check_within(
        "ADDED a a1 10 all\n    ADDED b b1 11 all\n    UPDATED a a1 12 all\n    UPDATED b b1 13 all",
        "ADDED a a1 12 all initial\nADDED b b1 13 all initial",
        &first,
        "",
    );
}
