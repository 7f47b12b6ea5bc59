//! The writer over many files: where they end, where each line is, and what a failing sync costs.

use super::Position;
use super::tests::{Bench, content, full};
use crate::config::RotateConfig;
use crate::dispatch::tests::DEADLINE;
use crate::files::Layer;
use crate::files::memory::{MemoryDisk, Step, everything};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Closes files before they grow beyond `max_bytes`, at any age.
fn by_size(max_bytes: u64) -> RotateConfig {
    RotateConfig { max_bytes, max_age: None }
}

fn bench(disk: &MemoryDisk, rotate: RotateConfig) -> Bench {
    Bench::with(Some(disk), rotate, None)
}

/// The length of each line of [`Bench::export`] with a version of one digit.
fn line_bytes() -> u64 {
    let mut bench = Bench::on(&MemoryDisk::default());
    bench.export(0);
    bench.expected.len() as u64
}

/// How many lines each file has, the oldest first.
fn lines_per_file(disk: &MemoryDisk) -> Vec<usize> {
    disk.paths().iter().map(|path| disk.content(path).unwrap().iter().filter(|byte| **byte == b'\n').count()).collect()
}

/// Every line is found where its position says.
fn check_positions(disk: &MemoryDisk, bench: &Bench, context: &str) {
    let starts = bench.expected.match_indices('\n').map(|(at, _)| at + 1);
    for start in std::iter::once(0).chain(starts).filter(|start| *start < bench.expected.len()) {
        let place = bench.writer.locate(Position(start as u64)).unwrap();
        let file = disk.content(&PathBuf::from("memory").join(&place.file)).unwrap();
        let line = bench.expected[start..].split_inclusive('\n').next().unwrap();
        let found = &file[usize::try_from(place.offset).unwrap()..];
        assert!(found.starts_with(line.as_bytes()), "{context}: byte {start} is at {place}");
    }
}

#[test]
fn a_file_is_closed_before_it_grows_too_large_and_is_synced_before_the_next_begins() {
    let disk = MemoryDisk::default();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&steps);
    disk.set_plan(move |step| {
        kept.lock().unwrap().push(step);
        everything(step)
    });
    let mut bench = bench(&disk, by_size(3 * line_bytes() + 1));
    (0..100).for_each(|version| bench.export(version % 10));
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!(content(&disk, true), bench.expected);
    assert_eq!(lines_per_file(&disk), [vec![3; 33], vec![1]].concat());
    check_positions(&disk, &bench, "at the end");
    assert_eq!(bench.writer.position(), Position(bench.expected.len() as u64));
    for (n, step) in steps.lock().unwrap().windows(2).enumerate().skip(2) {
        assert!(step[1] != Step::Create || step[0] == Step::Sync, "step {n}: {step:?}");
        assert!(step[0] != Step::Create || step[1] == Step::SyncFolder, "step {n}: {step:?}");
    }
}

#[test]
fn a_line_longer_than_a_file_may_be_gets_one_of_its_own() {
    let disk = MemoryDisk::default();
    let mut bench = bench(&disk, by_size(1));
    (0..5).for_each(|version| bench.export(version));
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!(content(&disk, true), bench.expected);
    assert_eq!(lines_per_file(&disk), [1; 5]);
}

#[test]
fn an_old_file_is_closed_though_nothing_more_comes_and_an_empty_one_is_kept() {
    let disk = MemoryDisk::default();
    let rotate = RotateConfig { max_age: Some(Duration::from_millis(1)), ..RotateConfig::default() };
    let mut bench = bench(&disk, rotate);
    let first = bench.writer.path().unwrap();
    bench.export(0);
    bench.wait_until(|bench| bench.writer.path().unwrap() != first);
    let second = bench.writer.path().unwrap();
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!((lines_per_file(&disk), disk.is_synced(&first)), (vec![1, 0], true));
    bench.export(1);
    bench.wait_until(|bench| bench.writer.path().unwrap() != second);
    assert_eq!(lines_per_file(&disk), [1, 1, 0]);
}

#[test]
fn a_next_file_that_cannot_be_made_is_waited_for() {
    let disk = MemoryDisk::default();
    let mut bench = bench(&disk, by_size(2 * line_bytes()));
    disk.set_plan(|step| if step == Step::Create { Err(full()) } else { everything(step) });
    (0..7).for_each(|version| bench.export(version));
    bench.wait_until(|bench| bench.health.readiness().sink_failure.is_some());
    let reason = bench.health.readiness().sink_failure.unwrap();
    assert!(reason.contains("cannot begin the next file in memory: no storage space"), "{reason}");
    assert!(bench.health.liveness().alive);
    disk.set_plan(everything);
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!((content(&disk, true), bench.ledger.unfinished()), (bench.expected.clone(), 0));
    assert_eq!(lines_per_file(&disk), [2, 2, 2, 1]);
}

#[test]
fn a_folder_whose_names_cannot_be_synced_does_not_fill_with_files() {
    let disk = MemoryDisk::default();
    let mut bench = bench(&disk, by_size(line_bytes()));
    let mut failures = 100;
    disk.set_plan(move |step| {
        if step == Step::SyncFolder && failures > 0 {
            failures -= 1;
            return Err(full());
        }
        everything(step)
    });
    (0..3).for_each(|version| bench.export(version));
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!((content(&disk, true), lines_per_file(&disk)), (bench.expected.clone(), vec![1, 1, 1]));
}

#[test]
fn what_a_sync_fails_to_keep_is_moved_and_each_line_is_there_once() {
    // Every step after the failed sync fails once, too.
    for failing in 0..14 {
        let disk = MemoryDisk::default();
        let mut bench = bench(&disk, by_size(20 * line_bytes()));
        (0..3).for_each(|version| bench.export(version));
        assert!(bench.writer.sync(DEADLINE));
        (3..6).for_each(|version| bench.export(version));
        let mut step_number = None;
        disk.set_plan(move |step| {
            if step_number.is_none() && step == Step::Sync {
                step_number = Some(0);
                return Err(ErrorKind::Other.into());
            }
            step_number = step_number.map(|number| number + 1);
            if step_number == Some(failing) && step != Step::Read { Err(full()) } else { everything(step) }
        });
        assert!(bench.writer.sync(DEADLINE), "failing at {failing}");
        assert_eq!(content(&disk, true), bench.expected, "failing at {failing}");
        assert!(matches!(lines_per_file(&disk)[..], [3, 3]), "failing at {failing}: {:?}", lines_per_file(&disk));
        check_positions(&disk, &bench, &format!("failing at {failing}"));
        (6..9).for_each(|version| bench.export(version));
        assert!(bench.writer.stop(Instant::now() + DEADLINE));
        assert_eq!((content(&disk, true), bench.health.readiness().sink_failure), (bench.expected.clone(), None));
        check_positions(&disk, &bench, &format!("after failing at {failing}"));
    }
}

#[test]
fn a_disk_whose_syncs_fail_at_random_loses_and_doubles_nothing() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::default();
        let mut bench = bench(&disk, by_size(7 * line_bytes()));
        disk.set_plan(move |step| {
            if let Step::Write { offered, .. } = step
                && random.bool()
            {
                return Ok(random.usize(1..=offered));
            }
            if step == Step::Read || random.u8(..4) > 0 { everything(step) } else { Err(ErrorKind::Other.into()) }
        });
        for version in 0..100 {
            bench.export(version);
            assert!(version % 9 > 0 || bench.writer.sync(DEADLINE), "seed {seed}");
        }
        assert!(bench.writer.stop(Instant::now() + DEADLINE), "seed {seed}");
        disk.set_plan(everything);
        assert_eq!(content(&disk, true), bench.expected, "seed {seed}");
        check_positions(&disk, &bench, &format!("seed {seed}"));
    }
}

#[test]
fn lines_that_can_neither_be_synced_nor_read_back_end_the_sink() {
    let read_fails = |step| {
        let is_failing = step == Step::Sync || step == Step::Read;
        if is_failing { Err(io::Error::from_raw_os_error(5)) } else { everything(step) }
    };
    let disk = MemoryDisk::default();
    let mut bench = bench(&disk, by_size(20 * line_bytes()));
    bench.export(0);
    bench.wait_until(|bench| bench.ledger.unfinished() == 0);
    disk.set_plan(read_fails);
    assert!(!bench.writer.sync(DEADLINE));
    bench.wait_until(|bench| bench.stop.is_requested());
    bench.export(1);
    assert!(!bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!(bench.ledger.unfinished(), 1);
    let error = bench.writer.failure().unwrap().to_string();
    assert!(error.starts_with("cannot tell which lines of memory/events-") && error.contains("start faro again"), "{error}");
}

#[test]
fn blank_pages_after_a_failed_sync_are_noticed() {
    let disk = MemoryDisk::default();
    let mut bench = bench(&disk, by_size(20 * line_bytes()));
    bench.export(0);
    bench.wait_until(|bench| bench.ledger.unfinished() == 0);
    let path = bench.writer.path().unwrap();
    disk.blank(&path, 10..20);
    disk.set_plan(|step| if step == Step::Sync { Err(full()) } else { everything(step) });
    assert!(!bench.writer.sync(DEADLINE));
    bench.wait_until(|bench| bench.stop.is_requested());
    assert!(bench.writer.failure().is_some());
}

#[test]
fn a_deleted_file_costs_what_it_held_and_nothing_that_comes_after() {
    let disk = MemoryDisk::default();
    let mut bench = bench(&disk, by_size(3 * line_bytes()));
    (0..4).for_each(|version| bench.export(version));
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!(lines_per_file(&disk), [3, 1]);
    disk.delete(&bench.writer.path().unwrap());
    (4..9).for_each(|version| bench.export(version));
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    let lines: Vec<&str> = bench.expected.split_inclusive('\n').collect();
    assert_eq!(content(&disk, true), [&lines[..3], &lines[4..]].concat().concat());
}

#[test]
fn a_file_that_takes_the_place_of_a_deleted_one_has_a_name_of_its_own_that_sorts_after_it() {
    let disk = MemoryDisk::default();
    // What the clock shows sorts before this, as the second does of a file that was deleted within it.
    let newest = PathBuf::from("memory/events-29990101-000000.json");
    drop(disk.create(&newest).unwrap());
    let mut bench = bench(&disk, RotateConfig::default());
    bench.export(0);
    assert!(bench.writer.sync(DEADLINE));
    let first = bench.writer.path().unwrap();
    disk.delete(&newest);
    disk.delete(&first);
    bench.export(1);
    assert!(bench.writer.sync(DEADLINE));
    assert!(bench.writer.path().unwrap() > first, "{:?} comes after {first:?}", bench.writer.path());
    let position = bench.writer.locate(bench.writer.position()).unwrap();
    assert_eq!(position.offset, disk.content(&bench.writer.path().unwrap()).unwrap().len() as u64);
}
