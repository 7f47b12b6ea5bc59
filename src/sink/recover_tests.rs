//! Reading back what an earlier run left, in whatever shape.

use super::ToldLine;
use super::recover::recover_on;
use crate::api::FilePosition;
use crate::event::EventType;
use crate::files::Layer;
use crate::files::memory::{MemoryDisk, Step, everything};
use std::io::ErrorKind;
use std::path::Path;

const FIRST: &str = "events-20251110-143301.json";
const SECOND: &str = "events-20251110-143302.json";
const THIRD: &str = "events-20251110-143302_001.json";

/// A line that tells the object `version`.
pub(super) fn line(version: u64) -> String {
    format!(
        "{{\"timestamp\":\"2025-11-10T14:33:02.000000Z\",\"eventType\":\"UPDATED\",\"gvr\":\"v1/pods\",\"name\":\"web-0\",\"resourceVersion\":\"{version}\",\"watch\":\"0000000000c0ffee\"}}\n"
    )
}

fn lines(versions: std::ops::Range<u64>) -> String {
    versions.map(line).collect()
}

fn disk(files: &[(&str, &str)]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    files.iter().for_each(|(name, content)| disk.put(&Path::new("memory").join(name), content.as_bytes()));
    disk
}

fn place(file: &str, offset: usize) -> FilePosition {
    FilePosition { file: file.to_owned(), offset: offset as u64 }
}

fn recover(disk: &MemoryDisk, since: Option<&FilePosition>) -> (Option<FilePosition>, Vec<u64>) {
    let mut versions = Vec::new();
    let mut told = |line: ToldLine| {
        assert_eq!(line.event_type, EventType::Updated);
        versions.push(line.identity.version().parse().unwrap());
    };
    let end = recover_on(disk, Path::new("memory"), since, &mut told).unwrap();
    (end, versions)
}

/// Reads back twice: the second pass finds nothing to cut.
fn check(files: &[(&str, &str)], since: &FilePosition, end: Option<&FilePosition>, versions: impl IntoIterator<Item = u64>) {
    let disk = disk(files);
    let expected = (end.cloned(), versions.into_iter().collect());
    assert_eq!(recover(&disk, Some(since)), expected, "{files:?} since {since}");
    disk.paths().iter().for_each(|path| assert!(disk.is_synced(path)));
    disk.set_plan(|step| if step == Step::Cut { Err(ErrorKind::PermissionDenied.into()) } else { everything(step) });
    assert_eq!(recover(&disk, Some(since)), expected, "{files:?} since {since}, again");
}

#[test]
fn every_line_past_the_place_is_told_in_the_order_of_the_files() {
    let files = [(FIRST, &*lines(0..3)), (SECOND, &*lines(3..5)), (THIRD, &*lines(5..6))];
    let end = Some(place(THIRD, line(5).len()));
    check(&files, &FilePosition::default(), end.as_ref(), 0..6);
    check(&files, &place(FIRST, 0), end.as_ref(), 0..6);
    check(&files, &place(FIRST, lines(0..2).len()), end.as_ref(), 2..6);
    check(&files, &place(SECOND, lines(3..5).len()), end.as_ref(), 5..6);
    check(&files, &place(THIRD, line(5).len()), end.as_ref(), []);
    check(&[], &place(FIRST, 0), None, []);
    check(&[("notes.txt", "mine"), ("events-20251110-143302.json.tmp", "half")], &place(FIRST, 0), None, []);
}

#[test]
fn a_torn_end_is_cut_wherever_it_was_torn() {
    let whole = lines(0..2);
    let torn = lines(0..3);
    for cut in whole.len()..torn.len() {
        let end = Some(place(SECOND, whole.len()));
        check(&[(SECOND, &torn[..cut])], &place(SECOND, 0), end.as_ref(), 0..2);
        check(&[(FIRST, &torn[..cut]), (SECOND, &whole)], &place(FIRST, 0), end.as_ref(), [0, 1, 0, 1]);
    }
}

#[test]
fn what_is_no_line_of_ours_is_cut_with_all_that_comes_after_it() {
    let end = Some(place(SECOND, lines(0..2).len()));
    let long = "x".repeat(40 * 1024 * 1024);
    for wrong in
        ["\0\0\0\0\0\0", "\0\0\0\n", "\n", "{}\n", "{\"eventType\":7}\n", "{\"eventType\":\"GAP\"\n", "\u{fffd}\n", &long]
    {
        check(&[(SECOND, &(lines(0..2) + wrong))], &place(SECOND, 0), end.as_ref(), 0..2);
        check(&[(SECOND, &(lines(0..2) + wrong + &line(3)))], &place(SECOND, line(0).len()), end.as_ref(), 1..2);
    }
    // A page that was lost in the middle: what comes after it was not synced either.
    let mut blank = lines(0..5).into_bytes();
    blank[line(0).len() + 10..line(0).len() + 20].fill(0);
    check(&[(SECOND, std::str::from_utf8(&blank).unwrap())], &place(SECOND, 0), Some(&place(SECOND, line(0).len())), 0..1);
}

#[test]
fn a_whole_line_of_an_event_type_that_is_not_known_is_kept_and_so_is_all_that_follows_it() {
    let gap = r#"{"timestamp":"2025-11-10T14:33:02.000000Z","eventType":"GAP","reason":"down","lines":7,"gvr":"v1/pods"}"#;
    let other_id = line(9).replace("0000000000c0ffee", "00c0ffee");
    for kept in [gap, other_id.trim_end(), r#"{"eventType":"ADDED"}"#] {
        let content = lines(0..2) + kept + "\n" + &lines(3..5);
        check(&[(SECOND, &content)], &place(SECOND, 0), Some(&place(SECOND, content.len())), [0, 1, 3, 4]);
        let torn = content.clone() + kept;
        check(&[(SECOND, &torn)], &place(SECOND, 0), Some(&place(SECOND, content.len())), [0, 1, 3, 4]);
    }
}

#[test]
fn a_line_of_any_allowed_length_is_read() {
    let long = line(7).replace("\"gvr\"", &format!("\"more\":\"{}\",\"gvr\"", "x".repeat(17 * 1024 * 1024)));
    let content = lines(0..2) + &long + &line(8);
    check(&[(SECOND, &content)], &place(SECOND, 0), Some(&place(SECOND, content.len())), [0, 1, 7, 8]);
}

#[test]
fn a_file_that_is_missing_or_shorter_than_its_place_has_nothing_to_tell() {
    check(&[(SECOND, &lines(0..2))], &place(FIRST, 700), Some(&place(SECOND, lines(0..2).len())), 0..2);
    check(&[(FIRST, &line(0))], &place(FIRST, 7000), Some(&place(FIRST, line(0).len())), []);
    check(&[(FIRST, &line(0)), (SECOND, &line(1))], &place(FIRST, 7000), Some(&place(SECOND, line(1).len())), 1..2);
    check(&[(FIRST, &line(0))], &place(SECOND, 10), Some(&place(FIRST, line(0).len())), []);
}

#[test]
fn what_is_compressed_was_committed() {
    let gz = "events-20251110-143301.json.gz";
    check(&[(gz, "binary")], &place(FIRST, 0), Some(&place(gz, 6)), []);
    check(&[(gz, "binary"), (SECOND, &line(1))], &place(FIRST, 0), Some(&place(SECOND, line(1).len())), 1..2);
}

#[test]
fn without_a_place_only_the_newest_torn_line_is_cut_and_nothing_told() {
    let torn = lines(0..2) + "{\"eventType";
    let disk = disk(&[(FIRST, &torn), (SECOND, &torn)]);
    assert_eq!(recover(&disk, None), (Some(place(SECOND, lines(0..2).len())), Vec::new()));
    assert_eq!(disk.content(&Path::new("memory").join(FIRST)).unwrap(), torn.as_bytes());
    for (content, end) in [("", 0), ("no newline at all", 0), (&*lines(0..2), lines(0..2).len())] {
        assert_eq!(recover(&super::recover_tests::disk(&[(SECOND, content)]), None), (Some(place(SECOND, end)), Vec::new()));
    }
}

#[test]
fn a_file_that_another_process_writes_is_left_alone() {
    let disk = disk(&[(FIRST, &line(0))]);
    let mut open = disk.create(&Path::new("memory").join(SECOND)).unwrap();
    open.write(b"{\"half").unwrap();
    assert_eq!(recover(&disk, Some(&place(FIRST, 0))), (Some(place(FIRST, line(0).len())), vec![0]));
    assert_eq!(disk.content(&Path::new("memory").join(SECOND)).unwrap(), b"{\"half");
}

#[test]
fn a_file_that_cannot_be_read_or_cut_is_an_error_with_its_cure() {
    for failing in [Step::Read, Step::Cut, Step::Sync] {
        let disk = disk(&[(SECOND, &(line(0) + "torn"))]);
        disk.set_plan(move |step| if step == failing { Err(ErrorKind::PermissionDenied.into()) } else { everything(step) });
        let error = recover_on(&disk, Path::new("memory"), Some(&place(SECOND, 0)), &mut |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot go on from the events in memory/{SECOND}; make them readable and writable for the user that runs faro"
            )
        );
    }
}
