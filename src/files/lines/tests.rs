//! Folders of made files, read while they change.

use super::*;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::fs::OpenOptions;
use std::io::Write;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn packed(name: &str, text: &[u8]) -> Vec<u8> {
    if name.ends_with(".gz") {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    } else if name.ends_with(".zst") {
        compress_to_vec(text, CompressionLevel::Fastest)
    } else {
        text.to_vec()
    }
}

/// Writes a file, compressed as its name says.
fn put(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.path().join(name), packed(name, text.as_ref())).unwrap();
}

fn append(folder: &TempDir, name: &str, text: &str) {
    OpenOptions::new().append(true).create(true).open(folder.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
}

fn open(folder: &TempDir) -> Lines {
    Lines::open(folder.path(), FileKind::Events).unwrap()
}

/// What comes until there is no more for now: lines as they are, damage in angle brackets without the folder.
fn rest(lines: &mut Lines) -> String {
    let folder = format!("{}/", lines.folder.display());
    let mut told = String::new();
    while let Some(piece) = lines.next().unwrap() {
        match piece {
            Piece::Line(line) => told += std::str::from_utf8(line.bytes).unwrap(),
            Piece::Damage(damage) => told += &format!("<{}>", damage.to_string().replace(&folder, "")),
        }
    }
    told
}

#[test]
fn the_lines_of_all_files_are_what_was_written_in_order() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..40 {
        let (folder, mut written) = (folder(), Vec::new());
        for number in 0..random.usize(1..8) {
            let counter = if random.bool() { format!("_{:03}", random.u32(1..9)) } else { String::new() };
            let ending = random.choice(["", ".gz", ".zst"]).unwrap();
            let count = random.usize(0..400);
            let longest = random.usize(2..4000);
            let lines: Vec<u8> = (0..count)
                .flat_map(|_| {
                    let line: String = (0..random.usize(0..longest)).map(|_| random.alphanumeric()).collect();
                    format!("{line}\n").into_bytes()
                })
                .collect();
            put(&folder, &format!("events-20251110-14330{number}{counter}.json{ending}"), &lines);
            written.extend(lines);
        }
        assert!(rest(&mut open(&folder)).into_bytes() == written);
        let places: Vec<usize> = memchr::memchr_iter(b'\n', &written).map(|newline| newline + 1).collect();
        for count in [0, 1, 2, random.usize(0..2000), places.len()] {
            let mut lines = open(&folder);
            lines.seek_last(count, |_| true);
            let missing = places.len().saturating_sub(count);
            let begin = if missing == 0 { 0 } else { places[missing - 1] };
            assert!(rest(&mut lines).into_bytes() == written[begin..], "the last {count} of {}", places.len());
        }
    }
}

#[test]
fn files_of_other_names_and_kinds_are_not_looked_at() {
    let folder = folder();
    for other in ["notes.txt", "events.json", "faro-20251110-143302.log", "events-20251110-143302.json.gz.tmp", "events-x.json"] {
        put(&folder, other, "no\n");
    }
    fs::create_dir(folder.path().join("events-20251110-143303.json")).unwrap();
    put(&folder, "events-20251110-143302_001.json", "two\n");
    put(&folder, "events-20251110-143302.json", "one\n");
    assert_eq!(rest(&mut open(&folder)), "one\ntwo\n");
    assert_eq!(rest(&mut Lines::open(folder.path(), FileKind::Log).unwrap()), "no\n");
    assert_eq!(Lines::open(&folder.path().join("missing"), FileKind::Log).map(|_| ()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_damaged_is_told_once_and_the_rest_is_read() {
    let folder = folder();
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let gzipped = packed("x.gz", text.as_bytes());
    fs::write(folder.path().join("events-20251110-143301.json.gz"), &gzipped[..gzipped.len() / 2]).unwrap();
    fs::write(folder.path().join("events-20251110-143302.json.zst"), "not zstd").unwrap();
    put(&folder, "events-20251110-143303.json", "three\nto");
    put(&folder, "events-20251110-143304.json.gz", "four\nto");
    put(&folder, "events-20251110-143305.json", "five\nto");
    let told = rest(&mut open(&folder));
    let (begin, end) = told.split_once('<').unwrap();
    assert!(begin.len() > 1000 && text.starts_with(begin), "{begin}");
    assert_eq!(
        format!("<{end}"),
        format!(
            "<cannot read events-20251110-143301.json.gz from byte {} of its text on>\
             <cannot read events-20251110-143302.json.zst from byte 0 of its text on>three\n\
             <events-20251110-143303.json ends within a line, of which 2 bytes are there, from byte 6 of its text on>four\n\
             <events-20251110-143304.json.gz ends within a line, of which 2 bytes are there, from byte 5 of its text on>five\n",
            begin.len()
        )
    );
    let mut lines = open(&folder);
    lines.seek_last(3, |_| true);
    assert!(rest(&mut lines).starts_with("three\n<"));
}

#[test]
fn whoever_follows_gets_each_line_once_across_rotation_and_compression() {
    let folder = folder();
    let (first, second) = ("events-20251110-143301.json", "events-20251110-143302.json");
    let mut lines = open(&folder);
    assert_eq!(rest(&mut lines), "");
    append(&folder, first, "a\nb");
    assert_eq!(rest(&mut lines), "a\n");
    append(&folder, first, "b\n");
    assert_eq!(rest(&mut lines), "bb\n");
    // Written, closed and compressed before the next look; the next file comes in the same moment.
    append(&folder, first, "c\n");
    put(&folder, &format!("{first}.gz"), "a\nbb\nc\n");
    fs::remove_file(folder.path().join(first)).unwrap();
    append(&folder, second, "d\n");
    assert_eq!(rest(&mut lines), "c\nd\n");
    // Whole files pass by between two looks, one of them there twice for a moment.
    for (number, text) in [(3, "e\n"), (4, "f\n"), (5, "g\n")] {
        put(&folder, &format!("events-20251110-14330{number}.json.zst"), text);
    }
    put(&folder, "events-20251110-143304.json", "f\n");
    fs::remove_file(folder.path().join(second)).unwrap();
    assert_eq!(rest(&mut lines), "e\nf\ng\n");
    // The folder is removed, and made anew by whoever writes.
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(rest(&mut lines), "");
    fs::create_dir(folder.path()).unwrap();
    append(&folder, "events-20251110-143306.json", "h\n");
    assert_eq!(rest(&mut lines), "h\n");
}

#[test]
fn files_that_are_compressed_or_removed_while_others_are_read_are_still_found_or_passed_over() {
    let folder = folder();
    let name = |number| format!("events-20251110-14330{number}.json");
    (1..5).for_each(|number| put(&folder, &name(number), format!("{number}\n")));
    let mut lines = open(&folder);
    assert!(matches!(lines.next().unwrap(), Some(Piece::Line(line)) if line.bytes == b"1\n" && line.offset == 0));
    put(&folder, &format!("{}.zst", name(2)), "2\n");
    (1..4).for_each(|number| fs::remove_file(folder.path().join(name(number))).unwrap());
    assert_eq!(rest(&mut lines), "2\n4\n");
}

#[test]
fn the_last_lines_are_found_in_a_file_that_is_compressed_meanwhile() {
    let folder = folder();
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    put(&folder, "events-20251110-143301.json", &text);
    put(&folder, "events-20251110-143302.json", "last\n");
    let mut lines = open(&folder);
    put(&folder, "events-20251110-143301.json.gz", &text);
    fs::remove_file(folder.path().join("events-20251110-143301.json")).unwrap();
    lines.seek_last(3, |_| true);
    assert_eq!(rest(&mut lines), "line 19998\nline 19999\nlast\n");
}

#[test]
fn only_lines_that_pass_count_for_the_last_ones() {
    let folder = folder();
    let text =
        |from: u32| (from..from + 30_000).map(|n| format!("{n} {}\n", if n % 1000 == 0 { "x" } else { "y" })).collect::<String>();
    put(&folder, "events-20251110-143301.json.gz", text(0));
    put(&folder, "events-20251110-143302.json", text(30_000));
    for (count, first) in [(1, 59_000), (2, 58_000), (30, 30_000), (31, 29_000), (60, 0), (99, 0)] {
        let mut lines = open(&folder);
        lines.seek_last(count, |line| line.ends_with(b"x\n"));
        let first = format!("{first} ");
        assert!(rest(&mut lines).starts_with(&first), "the last {count}");
    }
}

#[test]
fn lines_that_a_failed_disk_moved_to_the_next_file_are_given_once() {
    let folder = folder();
    append(&folder, "events-20251110-143301.json", "a\nb\nc\n");
    let mut lines = open(&folder);
    assert_eq!(rest(&mut lines), "a\nb\nc\n");
    put(&folder, "events-20251110-143302.json", "b\nc\nd\n");
    put(&folder, "events-20251110-143301.json", "a\n");
    assert_eq!(rest(&mut lines), "d\n");
}

#[test]
fn closed_files_from_before_a_time_are_passed_over_and_the_newest_never() {
    let folder = folder();
    let now = SystemTime::now();
    for (number, age) in [(1, 100), (2, 20), (3, 90)] {
        let name = format!("events-20251110-14330{number}.json");
        put(&folder, &name, format!("{number}\n"));
        let file = OpenOptions::new().append(true).open(folder.path().join(name)).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    for (age, expected) in [(200, "1\n2\n3\n"), (50, "2\n3\n"), (21, "2\n3\n"), (10, "3\n")] {
        let mut lines = open(&folder);
        lines.skip_written_before(now - Duration::from_secs(age));
        assert_eq!(rest(&mut lines), expected, "{age}");
    }
}
